/* A trained model of another project in the Llama layout (8 heads on 4 key heads), if it
 * lies beside the checkout in ../shared/cases/stories260K: its tokens, logits, one
 * attention map and a story told greedily, by the net and by seq_generate, are those of
 * reference.json, which an independent program computed. */
#include "model/seq.h"
#include "model/text/tokenizer.h"
#include "tests/suite.h"
#include "tests/unit/fixture.h"
#include "tests/unit/net_fixture.h"

#include <jansson.h>
#include <math.h>
#include <unistd.h>

static const char *const FOLDER = "../shared/cases/stories260K";

enum { PROMPT_MAX = 64 };

/* The recorded answers, and what a pass shows of them. */
struct story {
    json_t *want;
    size_t n; /* tokens of the prompt */
    int32_t ids[PROMPT_MAX];
    double worst_attention;
    size_t seen_rows;
};

static const json_t *recorded(const struct story *s, const char *key)
{
    const json_t *v = json_object_get(s->want, key);
    ck_assert_msg(v, "reference.json: no %s", key);
    return v;
}

static double number_at(const json_t *list, size_t i)
{
    ck_assert(json_is_number(json_array_get(list, i)));
    return json_number_value(json_array_get(list, i));
}

static void see_attention(void *arg, size_t seq, size_t layer, size_t head, size_t query,
                          size_t n_keys, const float *p)
{
    struct story *s = arg;
    if (layer != 0 || head != 0)
        return;
    const json_t *row = json_array_get(recorded(s, "attention_layer0_head0"), query);
    ck_assert_uint_eq(seq, 0);
    ck_assert_uint_eq(json_array_size(row), s->n);
    for (size_t i = 0; i < n_keys; i++)
        s->worst_attention = fmax(s->worst_attention, fabs(p[i] - number_at(row, i)));
    s->seen_rows++;
}

static size_t largest_at(const float *logits, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        best = logits[i] > logits[best] ? i : best;
    return best;
}

/* The logits [V] behind n more tokens of a sequence; state may be NULL. */
static void logits_after(struct loaded *l, struct net_state *state, const int32_t *ids,
                         size_t n, float *logits)
{
    struct err err = {0};
    size_t starts[2] = {0, n};
    struct net_batch batch = {
        .B = 1, .starts = starts, .ids = ids, .states = state ? &state : NULL};
    float *h = loaded_run(l, &batch, NET_ONE);
    ck_assert_int_eq(l->net->ops->logits(l->net, 1, h, logits, &l->x, &err), ERR_OK);
    free(h);
}

/* Recorded with five decimals. */
static void check_logits(struct loaded *l, struct story *s)
{
    const json_t *want = recorded(s, "last_logits");
    struct trace trace = {.arg = s, .attention = see_attention};
    size_t V = l->net->cfg.vocab;
    float *logits = malloc(V * sizeof *logits);
    double worst = 0;
    ck_assert_ptr_nonnull(logits);
    ck_assert_uint_eq(json_array_size(want), V);
    s->worst_attention = 0;
    s->seen_rows = 0;
    l->x.trace = &trace;
    logits_after(l, NULL, s->ids, s->n, logits);
    l->x.trace = NULL;
    for (size_t i = 0; i < V; i++)
        worst = fmax(worst, fabs(logits[i] - number_at(want, i)));
    ck_assert_msg(worst < 1e-4, "%s: logits off by %g", l->net->k->name, worst);
    ck_assert_uint_eq(s->seen_rows, s->n);
    ck_assert_msg(s->worst_attention < 1e-5, "%s: attention off by %g", l->net->k->name,
                  s->worst_attention);
    free(logits);
}

/* One token after the other through a state, from BOS on. */
static void check_greedy(struct loaded *l, const struct story *s)
{
    const json_t *want = recorded(s, "greedy_ids_from_bos");
    struct err err = {0};
    struct net_state *state = NULL;
    float *logits = malloc(l->net->cfg.vocab * sizeof *logits);
    ck_assert_ptr_nonnull(logits);
    ck_assert_int_eq(l->net->ops->state_new(l->net, &state, &err), ERR_OK);
    ck_assert_uint_eq(json_array_size(want), 121);
    for (size_t i = 0; i + 1 < json_array_size(want); i++) {
        int32_t id = (int32_t)number_at(want, i);
        logits_after(l, state, &id, 1, logits);
        size_t next = largest_at(logits, l->net->cfg.vocab);
        ck_assert_msg(next == (size_t)number_at(want, i + 1),
                      "%s: token %zu of the story is %zu", l->net->k->name, i + 1, next);
    }
    l->net->ops->state_free(state);
    free(logits);
}

/* The prompt's tokens, and the story as text. */
static void check_tokens(struct story *s)
{
    const json_t *ids = recorded(s, "input_ids"),
                 *greedy = recorded(s, "greedy_ids_from_bos");
    const char *prompt = json_string_value(recorded(s, "prompt"));
    const char *told = json_string_value(recorded(s, "greedy_text"));
    struct tokenizer *t = NULL;
    struct seq_tokens got = {0};
    struct text text = {0};
    struct err err = {0};
    int32_t list[256];
    size_t n = json_array_size(greedy);
    ck_assert_msg(tokenizer_load(FOLDER, &t, &err) == ERR_OK, "%s", err.msg);
    ck_assert_int_eq(tokenizer_encode(t, prompt, strlen(prompt), true, &got, &err),
                     ERR_OK);
    s->n = got.n;
    ck_assert_uint_eq(got.n, json_array_size(ids));
    ck_assert_uint_le(got.n, PROMPT_MAX);
    for (size_t i = 0; i < got.n; i++) {
        s->ids[i] = got.at[i].id;
        ck_assert_int_eq(got.at[i].id, (int32_t)number_at(ids, i));
    }
    ck_assert_uint_le(n, sizeof list / sizeof list[0]);
    for (size_t i = 0; i < n; i++)
        list[i] = (int32_t)number_at(greedy, i);
    ck_assert_int_eq(tokenizer_decode(t, list, n, true, &text, &err), ERR_OK);
    ck_assert_uint_eq(text.n, strlen(told));
    ck_assert_mem_eq(text.at, told, text.n);
    mem_free(got.at);
    text_done(&text);
    tokenizer_free(t);
}

static struct seq_generated finish(const struct seq_model *m, struct seq_worker *w,
                                   struct seq_generation *g)
{
    struct seq_generated r = {0};
    struct err err = {0};
    while (r.finish == SEQ_FINISH_NOT) {
        ck_assert_int_eq(seq_generate(m, w, 1, &g, &err), ERR_OK);
        seq_generation_view(g, &r);
    }
    return r;
}

/* The story as a client asks for it. */
static void check_generated(const struct story *s, const char *cpu)
{
    const json_t *want = recorded(s, "greedy_ids_from_bos");
    const char *told = json_string_value(recorded(s, "greedy_text"));
    struct seq_load_options load = {.cpu = cpu};
    struct seq_generate_options opt = {.max_tokens = json_array_size(want) - 1};
    struct seq_model *m = NULL;
    struct seq_worker *w = NULL;
    struct seq_generation *g = NULL;
    struct err err = {0};
    int32_t bos = (int32_t)number_at(want, 0);
    ck_assert_msg(seq_model_load(FOLDER, &load, &m, &err) == ERR_OK, "%s", err.msg);
    ck_assert_int_eq(seq_worker_new(NULL, &w, &err), ERR_OK);
    ck_assert_int_eq(seq_generation_new(m, &bos, 1, &opt, &g, &err), ERR_OK);
    struct seq_generated r = finish(m, w, g);
    ck_assert_int_eq(r.finish, SEQ_FINISH_LENGTH);
    ck_assert_uint_eq(r.n_tokens, opt.max_tokens);
    for (size_t i = 0; i < r.n_tokens; i++)
        ck_assert_int_eq(r.tokens[i].chosen.id, (int32_t)number_at(want, i + 1));
    ck_assert_uint_eq(r.n_text, strlen(told));
    ck_assert_mem_eq(r.text, told, r.n_text);
    seq_generation_free(g);
    seq_worker_free(w);
    seq_model_unref(m);
}

START_TEST(a_trained_model_tells_the_recorded_story)
{
    struct story s = {0};
    json_error_t error;
    if (access(FOLDER, R_OK) != 0) {
        printf("skipped: no cases folder (%s)\n", FOLDER);
        return;
    }
    s.want = json_load_file("../shared/cases/stories260K/reference.json", 0, &error);
    ck_assert_msg(s.want, "reference.json: %s", error.text);
    check_tokens(&s);
    for (const char *const *name = kernels_names(); *name; name++) {
        struct loaded l;
        loaded_open(&l, FOLDER, kernels_get(*name));
        check_logits(&l, &s);
        check_greedy(&l, &s);
        check_generated(&s, *name);
        loaded_close(&l);
    }
    json_decref(s.want);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_trained_model_tells_the_recorded_story, NULL};
    return suite_run("stories", tests, 60);
}
