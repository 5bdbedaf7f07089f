/* states.c and what it is made of, on the tiny models, without HTTP: every selector,
 * rankings and figures, what is said step by step and layer by layer, encodings, and
 * what is refused. Numbers against PyTorch: test_server_api_states_golden.c. */
#include "server/api/states.h"
#include "tests/json_look.h"
#include "tests/suite.h"
#include "tests/unit/api_server.h"

#include <math.h>
#include <stdlib.h>

static struct api_server api;
static const char *const PATH = "/v1/states";

enum { MOST = 60000, AXES = 5 };

static json_t *ask(const char *body)
{
    return api_json(&api, "POST", PATH, body, 200);
}

static json_t *data_of(json_t *reply)
{
    return at(at(reply, "states"), "data");
}

static size_t axis(json_t *reply, size_t i)
{
    return (size_t)json_integer_value(item(at(at(reply, "states"), "shape"), i));
}

/* The value at five places. */
static double value(json_t *reply, const size_t at_[AXES])
{
    json_t *v = data_of(reply);
    for (size_t i = 0; i < AXES; i++)
        v = item(v, at_[i]);
    return json_number_value(v);
}

/* The u-th unit of a layer and direction. */
static size_t unit(json_t *reply, size_t l, size_t d, size_t u)
{
    json_t *units = at(at(reply, "states"), "units");
    return (size_t)json_integer_value(item(item(item(units, l), d), u));
}

static double figure(json_t *reply, size_t l, size_t d, size_t u, const char *field)
{
    json_t *stats = at(reply, "stats"), *fields = at(stats, "fields");
    size_t f = 0;
    while (strcmp(json_string_value(item(fields, f)), field) != 0)
        f++;
    json_t *v = item(item(item(item(at(stats, "data"), l), d), u), f);
    return json_is_null(v) ? NAN : json_number_value(v);
}

/* ---- selectors and shapes -------------------------------------------------------- */

static const char *pick(const char *const *list, size_t n)
{
    return list[(size_t)rand() % n];
}
#define PICK(list) pick(list, sizeof(list) / sizeof *(list))

static void random_body(char *to, size_t cap)
{
    static const char *const models[] = {"tiny-gpt2", "tiny-bert", "tiny-bilstm",
                                         "tiny-lstm"};
    static const char *const inputs[] = {"\"text\":\"the cat sat on the mat, great\"",
                                         "\"text\":\"a\"",
                                         "\"input_ids\":[5,6,7,8,5,6,7,8,9]"};
    static const char *const layers[] = {"",
                                         "",
                                         ",\"layers\":[-1]",
                                         ",\"layers\":[]",
                                         ",\"layers\":[1,0]",
                                         ",\"layers\":[9]"};
    static const char *const signals[] = {
        "",
        "",
        ",\"signals\":\"all\"",
        ",\"signals\":\"h\"",
        ",\"signals\":[\"tanh_c\",\"f\"]",
        ",\"signals\":\"hidden\"",
        ",\"signals\":[\"h\",\"h\"]",
        ",\"signals\":[]",
    };
    static const char *const directions[] = {"", "", "", ",\"directions\":[\"backward\"]",
                                             ",\"directions\":\"forward\""};
    static const char *const units[] = {"",
                                        ",\"units\":\"all\"",
                                        ",\"units\":[3,-1]",
                                        ",\"units\":[99]",
                                        ",\"units\":{\"top\":3,\"by\":\"delta\"}",
                                        ",\"units\":{\"by\":\"corr_output\"}",
                                        ",\"units\":{\"top\":0}",
                                        ",\"units\":{\"top\":70}"};
    static const char *const steps[] = {"",
                                        "",
                                        ",\"steps\":\"last\"",
                                        ",\"steps\":[]",
                                        ",\"steps\":[-1,0]",
                                        ",\"steps\":[40]"};
    static const char *const more[] = {"",
                                       "",
                                       ",\"per_step\":{\"top_k\":2}",
                                       ",\"per_step\":{\"top_k\":0}",
                                       ",\"stats\":false",
                                       ",\"predict\":false",
                                       ",\"decimals\":2",
                                       ",\"dtype\":\"float16\""};
    static const char *const lens[] = {"", "", "", ",\"lens\":{\"top_k\":3}"};
    snprintf(to, cap, "{\"model\":\"%s\",%s%s%s%s%s%s%s%s}", PICK(models), PICK(inputs),
             PICK(layers), PICK(signals), PICK(directions), PICK(units), PICK(steps),
             PICK(more), PICK(lens));
}

/* Nested as `shape` says, with numbers or null at the end. */
static void check_nesting(json_t *shape, size_t axis_, json_t *v)
{
    size_t i, n = (size_t)json_integer_value(item(shape, axis_));
    json_t *element;
    ck_assert(json_is_array(v));
    ck_assert_uint_eq(json_array_size(v), n);
    json_array_foreach(v, i, element)
    {
        if (axis_ + 1 < json_array_size(shape))
            check_nesting(shape, axis_ + 1, element);
        else
            ck_assert(json_is_number(element) || json_is_null(element));
    }
}

static void check_shape(json_t *reply)
{
    json_t *states = at(reply, "states"), *stats = json_object_get(reply, "stats");
    json_t *steps = at(reply, "steps"), *lens = json_object_get(reply, "lens");
    ck_assert_uint_eq(json_array_size(at(states, "axes")), AXES);
    check_nesting(at(states, "shape"), 0, at(states, "data"));
    ck_assert_uint_eq(json_array_size(at(states, "signals")), axis(reply, 0));
    ck_assert_uint_eq(json_object_size(at(states, "ranges")), axis(reply, 0));
    ck_assert_uint_eq(json_array_size(at(states, "layers")), axis(reply, 1));
    ck_assert_uint_eq(json_array_size(at(states, "directions")), axis(reply, 2));
    ck_assert_uint_eq(json_array_size(steps), axis(reply, 3));
    for (size_t l = 0; l < axis(reply, 1); l++)
        for (size_t d = 0; d < axis(reply, 2); d++)
            ck_assert_uint_eq(json_array_size(item(item(at(states, "units"), l), d)),
                              axis(reply, 4));
    if (stats) {
        check_nesting(at(stats, "shape"), 0, at(stats, "data"));
        ck_assert_uint_eq(json_array_size(at(stats, "fields")),
                          json_integer_value(item(at(stats, "shape"), 3)));
    }
    if (json_object_get(reply, "per_step"))
        ck_assert_uint_eq(json_array_size(at(reply, "per_step")), axis(reply, 3));
    if (lens)
        ck_assert_uint_eq(json_array_size(at(lens, "top")), axis(reply, 1));
}

/* Any combination is refused by the name of a field, or has the declared shape. */
START_TEST(every_selector_is_refused_or_gives_the_declared_shape)
{
    size_t good = 0, refused = 0;
    api_start(&api);
    for (size_t i = 0; i < 3000; i++) {
        char body[700];
        struct reply r;
        random_body(body, sizeof body);
        unsigned status = api_ask(&api, "POST", PATH, body, &r);
        json_t *reply = json_loadb(r.body.at, r.body.n, JSON_REJECT_DUPLICATES, NULL);
        ck_assert_msg(reply != NULL, "%s", body);
        if (status == 200) {
            check_shape(reply);
            good++;
        } else {
            bool ours = status == 400 || status == 422;
            ck_assert_msg(ours, "%u: %s: %.*s", status, body, (int)r.body.n, r.body.at);
            ck_assert_msg(json_is_string(at(at(reply, "error"), "param")), "%s", body);
            refused++;
        }
        json_decref(reply);
        reply_done(&r);
    }
    ck_assert_uint_gt(good, 300);
    ck_assert_uint_gt(refused, 300);
    api_stop(&api);
}
END_TEST

#define BILSTM "\"model\":\"tiny-bilstm\",\"text\":\"a cat sat, great\""

START_TEST(a_part_is_the_part_of_the_whole)
{
    static const size_t signals[] = {6, 1}, steps[] = {4, 0}, units[] = {7, 11};
    api_start(&api);
    json_t *whole = ask("{" BILSTM ",\"units\":\"all\"}");
    json_t *part = ask("{" BILSTM ",\"units\":[7,-1],\"signals\":[\"h\",\"f\"],\"steps\":"
                       "[-1,0],\"directions\":\"backward\",\"layers\":[-1]}");
    ck_assert_uint_eq(axis(whole, 3), 5);
    for (size_t s = 0; s < 2; s++)
        for (size_t t = 0; t < 2; t++)
            for (size_t u = 0; u < 2; u++)
                ck_assert(value(part, (const size_t[AXES]){s, 0, 0, t, u}) ==
                          value(whole, (const size_t[AXES]){signals[s], 0, 1, steps[t],
                                                            units[u]}));
    ck_assert_uint_eq(unit(part, 0, 0, 1), 11);
    /* Figures are of all steps, whichever are shown. */
    ck_assert(figure(part, 0, 0, 0, "variance") == figure(whole, 0, 1, 7, "variance"));
    json_decref(whole);
    json_decref(part);
    whole = ask("{\"model\":\"tiny-gpt2\",\"text\":\"a cat\",\"units\":\"all\"}");
    part = ask("{\"model\":\"tiny-gpt2\",\"text\":\"a cat\",\"units\":[5],\"layers\":"
               "[1],\"predict\":false,\"steps\":\"last\"}");
    ck_assert(value(part, (const size_t[AXES]){0, 0, 0, 0, 0}) ==
              value(whole, (const size_t[AXES]){0, 1, 0, axis(whole, 3) - 1, 5}));
    ck_assert_ptr_null(json_object_get(part, "prediction"));
    json_decref(whole);
    json_decref(part);
    api_stop(&api);
}
END_TEST

/* ---- figures and rankings -------------------------------------------------------- */

/* What the figures of one unit should be, from all its values. */
struct figures {
    double mean, variance, abs_mean, delta, f_low, f_high, f_mean;
};

static struct figures figures_of(json_t *whole, size_t d, size_t u)
{
    struct figures f = {0};
    size_t T = axis(whole, 3);
    double before = 0;
    for (size_t t = 0; t < T; t++) {
        double h = value(whole, (const size_t[AXES]){6, 0, d, t, u});
        double gate = value(whole, (const size_t[AXES]){1, 0, d, t, u});
        f.mean += h / (double)T;
        f.abs_mean += fabs(h) / (double)T;
        f.delta += t ? fabs(h - before) / (double)(T - 1) : 0;
        f.f_low += (gate < 0.1) / (double)T;
        f.f_high += (gate > 0.9) / (double)T;
        f.f_mean += gate / (double)T;
        before = h;
    }
    for (size_t t = 0; t < T; t++) {
        double h = value(whole, (const size_t[AXES]){6, 0, d, t, u});
        f.variance += (h - f.mean) * (h - f.mean) / (double)T;
    }
    return f;
}

START_TEST(figures_are_those_of_the_values)
{
    api_start(&api);
    json_t *whole = ask("{" BILSTM ",\"units\":\"all\",\"decimals\":9}");
    for (size_t d = 0; d < 2; d++)
        for (size_t u = 0; u < axis(whole, 4); u++) {
            struct figures f = figures_of(whole, d, u);
            ck_assert_double_eq_tol(figure(whole, 0, d, u, "mean"), f.mean, 1e-6);
            ck_assert_double_eq_tol(figure(whole, 0, d, u, "variance"), f.variance, 1e-6);
            ck_assert_double_eq_tol(figure(whole, 0, d, u, "abs_mean"), f.abs_mean, 1e-6);
            ck_assert_double_eq_tol(figure(whole, 0, d, u, "delta"), f.delta, 1e-6);
            ck_assert_double_eq_tol(figure(whole, 0, d, u, "f_low"), f.f_low, 1e-6);
            ck_assert_double_eq_tol(figure(whole, 0, d, u, "f_high"), f.f_high, 1e-6);
            ck_assert_double_eq_tol(figure(whole, 0, d, u, "memory"), 1 / (1 - f.f_mean),
                                    1e-4);
        }
    json_decref(whole);
    api_stop(&api);
}
END_TEST

/* The units asked for by a ranking come in its order, and no other is ahead of them. */
static void check_ranking(const char *by, const char *field)
{
    char body[300];
    snprintf(body, sizeof body, "{" BILSTM ",\"units\":{\"top\":12,\"by\":\"%s\"}}", by);
    json_t *all = ask(body);
    snprintf(body, sizeof body, "{" BILSTM ",\"units\":{\"top\":5,\"by\":\"%s\"}}", by);
    json_t *some = ask(body);
    ck_assert_uint_eq(axis(all, 4), 12);
    ck_assert_uint_eq(axis(some, 4), 5);
    for (size_t d = 0; d < 2; d++)
        for (size_t u = 0; u < 12; u++) {
            double here = fabs(figure(all, 0, d, u, field));
            if (u > 0)
                ck_assert_double_le(here, fabs(figure(all, 0, d, u - 1, field)));
            for (size_t t = 0; u < 5 && t < axis(all, 3); t++)
                ck_assert(value(all, (const size_t[AXES]){4, 0, d, t, u}) ==
                          value(some, (const size_t[AXES]){4, 0, d, t, u}));
            if (u < 5)
                ck_assert_uint_eq(unit(all, 0, d, u), unit(some, 0, d, u));
        }
    json_decref(all);
    json_decref(some);
}

START_TEST(rankings_put_the_first_first)
{
    api_start(&api);
    check_ranking("variance", "variance");
    check_ranking("abs_mean", "abs_mean");
    check_ranking("delta", "delta");
    check_ranking("corr_output", "corr_output");
    json_t *plain = ask("{" BILSTM "}");
    json_t *said = ask("{" BILSTM ",\"units\":{\"top\":32,\"by\":\"variance\"}}");
    ck_assert(json_equal(plain, said));
    json_decref(plain);
    json_decref(said);
    api_stop(&api);
}
END_TEST

/* Pearson's coefficient of x and y [n]. */
static double pearson(size_t n, const double *x, const double *y)
{
    double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
    for (size_t i = 0; i < n; i++) {
        mx += x[i] / (double)n;
        my += y[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        xx += (x[i] - mx) * (x[i] - mx);
        yy += (y[i] - my) * (y[i] - my);
        xy += (x[i] - mx) * (y[i] - my);
    }
    return xy / sqrt(xx * yy);
}

/* How unit u goes with what is said of steps from `first` on. */
static double follows(json_t *reply, size_t first, size_t u)
{
    double x[20], y[20];
    size_t n = 0, signal = axis(reply, 0) - 1;
    json_t *steps = at(reply, "per_step");
    const char *label =
        json_string_value(json_object_get(at(reply, "prediction"), "label"));
    for (size_t t = first; t < axis(reply, 3); t++, n++) {
        json_t *step = item(steps, t);
        x[n] = value(reply, (const size_t[AXES]){signal, 0, 0, t, u});
        y[n] = json_number_value(label ? at(at(at(step, "score"), "scores"), label)
                                       : at(step, "surprisal"));
    }
    return pearson(n, x, y);
}

START_TEST(corr_output_is_pearsons_coefficient)
{
    api_start(&api);
    json_t *reply =
        ask("{" BILSTM ",\"units\":{\"top\":12,\"by\":\"corr_output\"},\"per_step\":"
            "{\"top_k\":0},\"decimals\":9}");
    for (size_t u = 0; u < 12; u++)
        ck_assert_double_eq_tol(figure(reply, 0, 0, u, "corr_output"),
                                follows(reply, 0, u), 1e-3);
    json_decref(reply);
    reply = ask("{\"model\":\"tiny-lstm\",\"text\":\"the cat sat on the mat\",\"layers\":"
                "[1],\"units\":{\"top\":4,\"by\":\"corr_output\"},\"per_step\":"
                "{\"top_k\":0},\"decimals\":9}");
    for (size_t u = 0; u < 4; u++)
        ck_assert_double_eq_tol(figure(reply, 0, 0, u, "corr_output"),
                                follows(reply, 1, u), 1e-3);
    json_decref(reply);
    api_stop(&api);
}
END_TEST

/* ---- what is said step by step --------------------------------------------------- */

static void check_running(const char *model)
{
    char body[300];
    snprintf(body, sizeof body,
             "{\"model\":\"%s\",\"text\":\"a cat sat, not great\",\"steps\":[-1,2],"
             "\"per_step\":{\"top_k\":0}}",
             model);
    json_t *reply = ask(body);
    snprintf(body, sizeof body, "{\"model\":\"%s\",\"text\":\"a cat sat, not great\"}",
             model);
    json_t *other = api_json(&api, "POST", "/v1/sentiment", body, 200);
    json_t *want = item(at(other, "results"), 0), *steps = at(reply, "per_step");
    json_t *last = at(item(steps, 0), "score"), *said = at(reply, "prediction");
    static const char *const keys[] = {"label", "score", "scores"};
    for (size_t i = 0; i < 3; i++) {
        ck_assert(json_equal(at(last, keys[i]), at(want, keys[i])));
        ck_assert(json_equal(at(said, keys[i]), at(want, keys[i])));
    }
    ck_assert(!json_equal(at(item(steps, 1), "score"), last));
    ck_assert_int_eq(json_integer_value(at(item(steps, 1), "step")), 2);
    ck_assert_ptr_null(json_object_get(item(steps, 0), "top"));
    json_decref(reply);
    json_decref(other);
}

START_TEST(the_running_score_ends_with_the_sentiment)
{
    api_start(&api);
    check_running("tiny-bilstm");
    check_running("tiny-bert");
    api_stop(&api);
}
END_TEST

/* Each step's tokens are what /v1/next-word answers of the text up to there. */
static void check_next(const char *model, const char *const *texts, size_t n)
{
    char body[300];
    snprintf(body, sizeof body,
             "{\"model\":\"%s\",\"text\":\"%s\",\"per_step\":{\"top_k\":4}}", model,
             texts[n - 1]);
    json_t *reply = ask(body), *steps = at(reply, "per_step");
    size_t T = axis(reply, 3);
    ck_assert(json_is_null(at(item(steps, 0), "surprisal")));
    for (size_t i = 0; i < n; i++) {
        json_t *step = item(steps, T - n + i), *top = at(step, "top");
        snprintf(body, sizeof body,
                 "{\"model\":\"%s\",\"text\":\"%s\",\"unit\":\"token\",\"top_k\":4}",
                 model, texts[i]);
        json_t *other = api_json(&api, "POST", "/v1/next-word", body, 200);
        json_t *want = at(item(at(other, "results"), 0), "predictions");
        for (size_t k = 0; k < 4; k++) {
            double p = json_number_value(at(item(want, k), "score"));
            ck_assert_int_eq(json_integer_value(at(item(top, k), "id")),
                             json_integer_value(at(item(want, k), "id")));
            ck_assert_double_eq_tol(json_number_value(at(item(top, k), "probability")), p,
                                    1e-6);
        }
        json_decref(other);
    }
    json_decref(reply);
}

START_TEST(steps_say_what_the_beginnings_say)
{
    static const char *const texts[] = {"the", "the cat", "the cat sat"};
    api_start(&api);
    check_next("tiny-lstm", texts, 3);
    api_stop(&api);
}
END_TEST

/* One token's surprisal is minus the logarithm of its probability one step before. */
START_TEST(surprisal_is_of_the_token_that_came)
{
    static const char *const models[] = {"tiny-lstm", "tiny-gpt2"};
    api_start(&api);
    for (size_t i = 0; i < 2; i++) {
        char body[200];
        struct err err = {0};
        double logprob[40];
        const struct model *m = models_find(api.models, models[i], strlen(models[i]));
        struct seq_tokens t = {0};
        ck_assert_int_eq(seq_tokenize(m->seq, SEQ_NEXT_TOKEN, "the cat sat", 11,
                                      SEQ_KEEP_END, &t, &err),
                         ERR_OK);
        ck_assert_int_eq(seq_score(m->seq, api.worker, &t, -1, logprob, &err), ERR_OK);
        snprintf(body, sizeof body,
                 "{\"model\":\"%s\",\"text\":\"the cat sat\",\"per_step\":"
                 "{\"top_k\":0}}",
                 models[i]);
        json_t *reply = ask(body);
        ck_assert_uint_eq(axis(reply, 3), t.n);
        for (size_t k = 1; k < t.n; k++)
            ck_assert_double_eq_tol(
                json_number_value(at(item(at(reply, "per_step"), k), "surprisal")),
                -logprob[k], 1e-5);
        json_decref(reply);
        seq_tokens_done(&t);
    }
    api_stop(&api);
}
END_TEST

START_TEST(the_lens_ends_with_the_answer)
{
    api_start(&api);
    json_t *reply = ask("{\"model\":\"tiny-gpt2\",\"text\":\"the cat sat\",\"steps\":"
                        "[-1,0],\"layers\":[-1,0],\"lens\":{\"top_k\":3},\"per_step\":"
                        "{\"top_k\":3}}");
    json_t *top = at(at(reply, "lens"), "top"), *steps = at(reply, "per_step");
    json_t *next = at(at(reply, "prediction"), "next");
    for (size_t t = 0; t < 2; t++)
        ck_assert(json_equal(item(item(top, 0), t), at(item(steps, t), "top")));
    for (size_t k = 0; k < 3; k++) {
        json_t *one = item(item(item(top, 0), 0), k);
        ck_assert(json_equal(at(one, "id"), at(item(next, k), "id")));
        ck_assert_double_eq_tol(json_number_value(at(one, "probability")),
                                json_number_value(at(item(next, k), "score")), 1e-6);
    }
    ck_assert(!json_equal(item(top, 0), item(top, 1)));
    json_decref(reply);
    api_stop(&api);
}
END_TEST

START_TEST(a_masked_model_has_a_lens_and_no_steps)
{
    static const char *const dirs[] = {"tests/fixtures/models/tiny-bert-mlm",
                                       "tests/fixtures/models/tiny-bert-bare"};
    api_start_with(&api, dirs, 2);
    json_t *reply = ask("{\"text\":\"the [MASK] sat\",\"model\":\"tiny-bert-mlm\","
                        "\"lens\":{\"top_k\":1},\"layers\":[-1]}");
    json_t *other = api_json(&api, "POST", "/v1/next-word",
                             "{\"text\":\"the [MASK] sat\",\"unit\":\"token\"}", 200);
    json_t *best = item(at(item(at(other, "results"), 0), "predictions"), 0);
    json_t *lens = item(item(item(at(at(reply, "lens"), "top"), 0), 2), 0);
    ck_assert_double_eq_tol(json_number_value(at(lens, "probability")),
                            json_number_value(at(best, "score")), 1e-6);
    json_decref(reply);
    json_decref(other);
    api_stop(&api);
}
END_TEST

/* ---- what is watched changes nothing --------------------------------------------- */

START_TEST(what_is_watched_changes_no_answer)
{
    static const char *const models[] = {"tiny-gpt2", "tiny-bert", "tiny-bilstm"};
    static const char *const how[] = {"\"layers\":[],\"stats\":false",
                                      "\"per_step\":{\"top_k\":3},\"units\":\"all\"",
                                      "\"steps\":\"last\",\"signals\":\"all\""};
    api_start(&api);
    for (size_t m = 0; m < 3; m++) {
        char body[300];
        snprintf(body, sizeof body, "{\"model\":\"%s\",\"input_ids\":[5,9,7]}",
                 models[m]);
        json_t *other = api_json(&api, "POST", "/v1/attention", body, 200);
        for (size_t i = 0; i < 3; i++) {
            snprintf(body, sizeof body, "{\"model\":\"%s\",\"input_ids\":[5,9,7],%s}",
                     models[m], how[i]);
            json_t *reply = ask(body);
            ck_assert(json_equal(at(reply, "prediction"), at(other, "prediction")));
            ck_assert(json_equal(at(reply, "tokens"), at(other, "tokens")));
            json_decref(reply);
        }
        json_decref(other);
    }
    api_stop(&api);
}
END_TEST

START_TEST(offsets_cut_the_text)
{
    static const char text[] = "a caf\xc3\xa9 \xf0\x9f\x90\xb1 sat";
    char body[200];
    api_start(&api);
    snprintf(body, sizeof body, "{\"model\":\"tiny-bert\",\"text\":\"%s\"}", text);
    json_t *reply = ask(body), *token;
    size_t i;
    json_array_foreach(at(reply, "tokens"), i, token)
    {
        const char *part = json_string_value(at(token, "text"));
        size_t start = (size_t)json_integer_value(at(token, "start"));
        if (part)
            ck_assert_int_eq(memcmp(text + start, part, strlen(part)), 0);
    }
    json_decref(reply);
    snprintf(body, sizeof body,
             "{\"model\":\"tiny-bert\",\"text\":\"%s\",\"offset_unit\":\"utf16\"}", text);
    reply = ask(body);
    token = item(at(reply, "tokens"), json_array_size(at(reply, "tokens")) - 2);
    ck_assert_int_eq(json_integer_value(at(token, "end")), 13);
    json_decref(reply);
    api_stop(&api);
}
END_TEST

/* ---- encodings ------------------------------------------------------------------- */

static float half(const unsigned char *at_)
{
    unsigned bits = at_[0] | (unsigned)at_[1] << 8, e = bits >> 10 & 31;
    double m = bits & 1023;
    double x = e ? ldexp(1 + m / 1024, (int)e - 15) : ldexp(m, -24);
    return (float)(bits & 0x8000 ? -x : x);
}

START_TEST(encodings_agree)
{
    static double numbers[MOST];
    struct reply r;
    api_start(&api);
    json_t *reply = ask("{" BILSTM ",\"decimals\":4}");
    size_t n = flatten(data_of(reply), numbers, 0, MOST);
    static const char *const dtypes[] = {"float32", "float16"};
    for (size_t d = 0; d < 2; d++) {
        char body[200];
        size_t bytes = d ? 2 : 4;
        snprintf(body, sizeof body,
                 "{" BILSTM ",\"encoding\":\"binary\",\"dtype\":\"%s\"}", dtypes[d]);
        ck_assert_uint_eq(api_ask(&api, "POST", PATH, body, &r), 200);
        ck_assert_uint_eq(r.inference_header_n % 8, 0);
        ck_assert_uint_eq(r.body.n, r.inference_header_n + n * bytes);
        json_t *head = json_loadb(r.body.at, r.inference_header_n, 0, NULL);
        json_t *output = item(at(head, "outputs"), 0);
        ck_assert_str_eq(json_string_value(at(output, "name")), "states");
        ck_assert(json_equal(at(output, "shape"), at(at(reply, "states"), "shape")));
        ck_assert(json_equal(at(head, "stats"), at(reply, "stats")));
        ck_assert_ptr_null(json_object_get(at(head, "states"), "data"));
        for (size_t i = 0; i < n; i++) {
            const char *from = r.body.at + r.inference_header_n + i * bytes;
            float x;
            memcpy(&x, from, sizeof x * !d);
            if (d)
                x = half((const unsigned char *)from);
            ck_assert_double_eq_tol(x, numbers[i],
                                    0.5e-4 + (d ? 5e-4 * fabs((double)x) : 1e-7));
        }
        json_decref(head);
        reply_done(&r);
    }
    ck_assert_uint_eq(
        api_ask(&api, "POST", PATH, "{" BILSTM ",\"encoding\":\"npy\"}", &r), 200);
    ck_assert_int_eq(memcmp(r.body.at, "\x93NUMPY", 6), 0);
    ck_assert_ptr_nonnull(strstr(r.body.at + 10, "'shape': (7, 1, 2, 5, 12,)"));
    ck_assert_uint_eq(r.body.n % 64, n * 4 % 64);
    reply_done(&r);
    json_decref(reply);
    api_stop(&api);
}
END_TEST

/* ---- what is refused ------------------------------------------------------------- */

static const struct {
    const char *body;
    unsigned status;
    const char *param, *says;
} REFUSED[] = {
    {"{}", 400, "text", "missing"},
    {"{\"text\":\"a\",\"input_ids\":[1]}", 400, "input_ids", "one of them"},
    {"{\"text\":\"a\",\"bogus\":1}", 400, "bogus", "unknown"},
    {"{\"text\":\"a\",\"units\":7}", 400, "units", "object"},
    {"{\"text\":\"a\",\"units\":\"some\"}", 400, "units", "object"},
    {"{\"text\":\"a\",\"units\":{\"bottom\":7}}", 400, "units.bottom", "unknown"},
    {"{\"text\":\"a\",\"units\":{\"by\":\"luck\"}}", 422, "units.by", "variance"},
    {"{\"text\":\"a\",\"per_step\":{}}", 400, "per_step.top_k", "missing"},
    {"{\"text\":\"a\",\"per_step\":{\"top_k\":21}}", 422, "per_step.top_k", "20"},
    {"{\"text\":\"a\",\"signals\":[\"x\"]}", 422, "signals", "tanh_c"},
    {"{\"text\":\"a\",\"signals\":[\"h\\u0000\"]}", 422, "signals", "tanh_c"},
    {"{\"text\":\"a\",\"directions\":\"backward\"}", 422, "directions", "forward"},
    {"{\"text\":\"a\",\"layers\":[2]}", 422, "layers[0]", "there are 2"},
    {"{\"text\":\"a\",\"steps\":[1,1]}", 422, "steps[1]", "already"},
    {"{\"text\":\"a\",\"units\":[24]}", 422, "units[0]", "there are 24"},
    {"{\"text\":\"a\",\"dtype\":\"float16\"}", 422, "dtype", "binary"},
    {"{\"text\":\"a\",\"dtype\":\"uint8\"}", 422, "dtype", "float32"},
    {"{\"text\":\"a\",\"lens\":{\"top_k\":1}}", 422, "lens", "per_step"},
    {"{\"text\":\"a\",\"lens\":{\"top_k\":1},\"model\":\"tiny-bert\"}", 422, "lens",
     "no output head"},
    {"{\"text\":\"a\",\"per_step\":{\"top_k\":1},\"encoding\":\"npy\"}", 422, "per_step",
     "alone"},
    {"{\"text\":\"a\",\"lens\":{\"top_k\":1},\"encoding\":\"npy\",\"model\":"
     "\"tiny-gpt2\"}",
     422, "lens", "alone"},
    {"{\"input_ids\":[3,9999]}", 422, "input_ids[1]", "vocabulary"},
    {"{\"text\":\"a\",\"text_pair\":\"b\"}", 422, "text_pair", "pair"},
    {"{\"text\":\"a\",\"model\":\"nobody\"}", 404, "model", "tiny-lstm"},
};

START_TEST(refusals_name_the_field)
{
    api_start(&api);
    for (size_t i = 0; i < sizeof REFUSED / sizeof *REFUSED; i++) {
        json_t *reply = api_json(&api, "POST", PATH, REFUSED[i].body, REFUSED[i].status);
        json_t *error = at(reply, "error");
        const char *message = json_string_value(at(error, "message"));
        ck_assert_str_eq(json_string_value(at(error, "param")), REFUSED[i].param);
        ck_assert_msg(strstr(message, REFUSED[i].says) != NULL, "%s: %s", REFUSED[i].body,
                      message);
        json_decref(reply);
    }
    api_stop(&api);
    static const char *const bare[] = {"tests/fixtures/models/tiny-bert-bare",
                                       "tests/fixtures/models/tiny-bert-mlm"};
    api_start_with(&api, bare, 2);
    for (size_t i = 0; i < 2; i++) {
        char body[200];
        snprintf(body, sizeof body,
                 "{\"text\":\"a\",\"model\":\"%s\",\"per_step\":{\"top_k\":1}}",
                 api.models->at[i].name);
        json_t *reply = api_json(&api, "POST", PATH, body, 422);
        ck_assert_str_eq(json_string_value(at(at(reply, "error"), "param")), "per_step");
        json_decref(reply);
    }
    api_stop(&api);
}
END_TEST

/* A plain recurrent net has no maps, but states; who asks for the one hears of the other.
 */
START_TEST(attention_points_to_states)
{
    api_start(&api);
    json_t *reply = api_json(&api, "POST", "/v1/attention",
                             "{\"text\":\"the cat\",\"model\":\"tiny-lstm\"}", 422);
    const char *hint = json_string_value(at(at(reply, "error"), "hint"));
    ck_assert_ptr_nonnull(strstr(hint, PATH));
    json_decref(reply);
    reply = ask("{\"text\":\"the cat\"}");
    ck_assert_str_eq(json_string_value(at(reply, "model")), "tiny-lstm");
    json_decref(reply);
    api_stop(&api);
}
END_TEST

static void check_too_large(const char *body, const char *param)
{
    json_t *reply = api_json(&api, "POST", PATH, body, 413), *error = at(reply, "error");
    ck_assert_str_eq(json_string_value(at(error, "param")), param);
    ck_assert_int_gt(json_integer_value(at(error, "needed_values")),
                     json_integer_value(at(error, "limit")));
    ck_assert_uint_gt(json_string_length(at(error, "hint")), 10);
    json_decref(reply);
}

START_TEST(what_is_too_large_is_refused_before_it_is_computed)
{
    api_start(&api);
    api.options.attention_max_values = 50;
    check_too_large("{" BILSTM "}", "layers");
    check_too_large("{" BILSTM ",\"signals\":[],\"per_step\":{\"top_k\":0}}", "layers");
    check_too_large("{" BILSTM ",\"units\":\"all\",\"stats\":false,\"encoding\":"
                    "\"binary\"}",
                    "layers");
    api.options.attention_max_values = 2;
    check_too_large("{\"text\":\"a cat sat on the mat and the mat\",\"model\":"
                    "\"tiny-gpt2\",\"signals\":[],\"units\":[],\"layers\":[],\"lens\":"
                    "{\"top_k\":1},\"per_step\":{\"top_k\":0}}",
                    "layers");
    api.options.attention_max_values = 1000000;
    api.options.max_tokens = 8;
    check_too_large("{\"text\":\"cat cat cat cat cat cat cat cat\",\"model\":"
                    "\"tiny-bilstm\",\"per_step\":{\"top_k\":0}}",
                    "per_step");
    ck_assert_uint_eq(seq_worker_peak(api.worker), 0);
    json_decref(ask("{\"text\":\"cat cat cat cat cat cat cat cat\",\"model\":"
                    "\"tiny-bilstm\",\"per_step\":{\"top_k\":0},\"steps\":\"last\"}"));
    ck_assert_uint_gt(seq_worker_peak(api.worker), 0);
    api_stop(&api);
}
END_TEST

/* ---- memory ---------------------------------------------------------------------- */

START_TEST(memory_may_be_short_at_any_time)
{
    static const char *const bodies[] = {
        "{" BILSTM ",\"units\":{\"top\":2,\"by\":\"corr_output\"},\"per_step\":"
        "{\"top_k\":0}}",
        "{\"text\":\"a cat\",\"model\":\"tiny-lstm\",\"encoding\":\"binary\",\"units\":"
        "{\"top\":2,\"by\":\"corr_output\"},\"per_step\":{\"top_k\":2}}",
        "{\"text\":\"a\",\"model\":\"tiny-gpt2\",\"encoding\":\"npy\"}",
        "{\"text\":\"a\",\"model\":\"tiny-gpt2\",\"lens\":{\"top_k\":2},\"units\":[1]}"};
    api_start(&api);
    for (size_t i = 0; i < 4; i++)
        api_check_faults(&api, PATH, bodies[i]);
    api_stop(&api);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {every_selector_is_refused_or_gives_the_declared_shape,
                                  a_part_is_the_part_of_the_whole,
                                  figures_are_those_of_the_values,
                                  rankings_put_the_first_first,
                                  corr_output_is_pearsons_coefficient,
                                  the_running_score_ends_with_the_sentiment,
                                  steps_say_what_the_beginnings_say,
                                  surprisal_is_of_the_token_that_came,
                                  the_lens_ends_with_the_answer,
                                  a_masked_model_has_a_lens_and_no_steps,
                                  what_is_watched_changes_no_answer,
                                  offsets_cut_the_text,
                                  encodings_agree,
                                  refusals_name_the_field,
                                  attention_points_to_states,
                                  what_is_too_large_is_refused_before_it_is_computed,
                                  memory_may_be_short_at_any_time,
                                  NULL};
    return suite_run("api_states", tests, 120);
}
