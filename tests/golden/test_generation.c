/* What is kept of rows of logits, with which shares, and what is written with tiny
 * models, greedily and by drawing: equal to transformers' (sampling.json,
 * generation.json, see make_sampling.py). */
#include "model/seq.h"
#include "model/tasks/sample.h"
#include "tests/suite.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ROW_MAX = 1024, LIST_MAX = 64 };

static json_t *load(const char *path)
{
    json_error_t error;
    json_t *all = json_load_file(path, 0, &error);
    ck_assert_msg(all, "%s: %s", path, error.text);
    return all;
}

static double number(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    ck_assert_msg(json_is_number(v), "%s is no number", key);
    return json_number_value(v);
}

static size_t read_ids(const json_t *list, int32_t *ids)
{
    size_t n = json_array_size(list);
    ck_assert_uint_le(n, LIST_MAX);
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    return n;
}

/* bias [LIST_MAX] holds what the sampling points to. */
static struct seq_sampling read_how(const json_t *how, struct seq_bias *bias)
{
    const json_t *list = json_object_get(how, "bias");
    struct seq_sampling s = {.temperature = number(how, "temperature"),
                             .top_k = (size_t)number(how, "top_k"),
                             .top_p = number(how, "top_p"),
                             .min_p = number(how, "min_p"),
                             .repetition_penalty = number(how, "repetition_penalty"),
                             .presence_penalty = number(how, "presence_penalty"),
                             .frequency_penalty = number(how, "frequency_penalty"),
                             .n_bias = json_array_size(list),
                             .bias = bias};
    ck_assert_uint_le(s.n_bias, LIST_MAX);
    for (size_t i = 0; i < s.n_bias; i++) {
        const json_t *pair = json_array_get(list, i), *v = json_array_get(pair, 1);
        bias[i].id = (int32_t)json_integer_value(json_array_get(pair, 0));
        bias[i].bias = json_is_null(v) ? -INFINITY : (float)json_number_value(v);
    }
    return s;
}

/* ---- rows ------------------------------------------------------------------------ */

static size_t read_row(const json_t *list, float *logits)
{
    size_t n = json_array_size(list);
    ck_assert_uint_le(n, ROW_MAX);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        logits[i] = json_is_null(v) ? -INFINITY : (float)json_number_value(v);
    }
    return n;
}

static void check_row(const json_t *all, const json_t *row, const struct kernels *k)
{
    static int32_t id[ROW_MAX];
    static float logits[ROW_MAX], before[ROW_MAX], logit[ROW_MAX], weight[ROW_MAX];
    struct sample_kept kept = {.id = id, .logit = logit, .weight = weight};
    const json_t *want = json_object_get(row, "kept"),
                 *shares = json_object_get(row, "share");
    const char *name = json_string_value(json_object_get(row, "row"));
    size_t V = read_row(json_object_get(json_object_get(all, "rows"), name), logits);
    int32_t prompt[LIST_MAX], generated[LIST_MAX];
    size_t n_prompt = read_ids(json_object_get(all, "prompt"), prompt);
    size_t n_generated = read_ids(json_object_get(all, "generated"), generated);
    struct seq_bias bias[LIST_MAX];
    struct seq_sampling how = read_how(json_object_get(row, "how"), bias);
    struct sampler s;
    struct err err = {0};
    ck_assert_int_eq(sampler_init(&s, &how, V, n_prompt + n_generated, &err), ERR_OK);
    for (size_t i = 0; i < n_prompt; i++)
        sampler_saw(&s, prompt[i], false);
    for (size_t i = 0; i < n_generated; i++)
        sampler_saw(&s, generated[i], true);
    memcpy(before, logits, V * sizeof *logits);
    sampler_keep(&s, k, V, logits, &kept);
    ck_assert_mem_eq(before, logits, V * sizeof *logits);
    double sum = 0;
    for (size_t i = 0; i < kept.n; i++)
        sum += kept.weight[i];
    ck_assert_uint_eq(kept.n, json_array_size(want));
    for (size_t i = 0; i < kept.n; i++) {
        double share = json_number_value(json_array_get(shares, i));
        /* exp is good to 2 ulp of a float, here and in the sum; its argument to half. */
        double bound = share * (0x1p-21 - log((double)kept.weight[i]) * 0x1p-24);
        ck_assert_int_eq(kept.id[i], json_integer_value(json_array_get(want, i)));
        ck_assert_msg(fabs(kept.weight[i] / sum - share) <= bound,
                      "%s: token %d has share %.9g, not %.9g", name, kept.id[i],
                      kept.weight[i] / sum, share);
    }
    sampler_done(&s);
}

START_TEST(what_is_kept_of_a_row_equals_transformers)
{
    json_t *all = load("tests/golden/sampling.json");
    const json_t *cases = json_object_get(all, "cases");
    ck_assert_uint_ge(json_array_size(cases), 30);
    for (const char *const *name = kernels_names(); *name; name++)
        for (size_t i = 0; i < json_array_size(cases); i++)
            check_row(all, json_array_get(cases, i), kernels_get(*name));
    json_decref(all);
}
END_TEST

/* ---- texts ----------------------------------------------------------------------- */

static void check_logprob(const struct seq_generated_token *token, const json_t *want,
                          size_t i)
{
    double exact = json_number_value(json_array_get(want, i));
    ck_assert_double_eq_tol(token->chosen.logprob, exact, 1e-4 * fabs(exact) + 1e-5);
}

static void check_generated(const struct seq_generated *r, const json_t *text)
{
    static const char *const finishes[] = {"not", "end", "stop", "length"};
    const json_t *logprobs = json_object_get(text, "logprobs");
    const char *want = json_string_value(json_object_get(text, "text"));
    int32_t ids[LIST_MAX];
    size_t n = read_ids(json_object_get(text, "ids"), ids);
    ck_assert_uint_eq(r->n_tokens, n);
    ck_assert_uint_eq(json_array_size(logprobs), r->n_prompt + n - 1);
    ck_assert_str_eq(json_string_value(json_object_get(text, "finish")),
                     finishes[r->finish]);
    for (size_t i = 0; i < n; i++) {
        ck_assert_int_eq(r->tokens[i].chosen.id, ids[i]);
        check_logprob(&r->tokens[i], logprobs, r->n_prompt - 1 + i);
    }
    for (size_t i = 1; i < r->n_prompt; i++)
        check_logprob(&r->prompt[i], logprobs, i - 1);
    ck_assert_uint_eq(r->n_text, strlen(want));
    ck_assert_mem_eq(r->text, want, r->n_text);
}

static void check_text(const json_t *text, const char *cpu)
{
    char dir[200];
    struct seq_load_options load_options = {.cpu = cpu};
    struct seq_model *m = NULL;
    struct seq_worker *w = NULL;
    struct err err = {0};
    snprintf(dir, sizeof dir, "%s", json_string_value(json_object_get(text, "folder")));
    ck_assert_msg(seq_model_load(dir, &load_options, &m, &err) == ERR_OK, "%s", err.msg);
    ck_assert_int_eq(seq_worker_new(NULL, &w, &err), ERR_OK);
    struct seq_bias bias[LIST_MAX];
    struct seq_generate_options opt = {.sampling =
                                           read_how(json_object_get(text, "how"), bias),
                                       .max_tokens = (size_t)number(text, "max_tokens"),
                                       .logprobs = true,
                                       .prompt_logprobs = true};
    opt.sampling.seed = (uint64_t)json_integer_value(json_object_get(text, "seed"));
    int32_t prompt[LIST_MAX];
    size_t n = read_ids(json_object_get(text, "prompt"), prompt);
    struct seq_generation *g = NULL;
    struct seq_generated r = {0};
    ck_assert_int_eq(seq_generation_new(m, prompt, n, &opt, &g, &err), ERR_OK);
    while (r.finish == SEQ_FINISH_NOT) {
        ck_assert_int_eq(seq_generate(m, w, 1, &g, &err), ERR_OK);
        seq_generation_view(g, &r);
    }
    check_generated(&r, text);
    seq_generation_free(g);
    seq_worker_free(w);
    seq_model_unref(m);
}

START_TEST(texts_equal_transformers)
{
    json_t *all = load("tests/golden/generation.json");
    ck_assert_uint_ge(json_array_size(all), 40);
    for (const char *const *cpu = seq_cpu_names(); *cpu; cpu++)
        for (size_t i = 0; i < json_array_size(all); i++)
            check_text(json_array_get(all, i), *cpu);
    json_decref(all);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {what_is_kept_of_a_row_equals_transformers,
                                  texts_equal_transformers, NULL};
    return suite_run("generation", tests, 60);
}
