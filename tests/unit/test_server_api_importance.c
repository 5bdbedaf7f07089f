/* importance.c, explain.c, importance_job.c on the tiny models, without HTTP. */
#include "tests/json_look.h"
#include "tests/suite.h"
#include "tests/unit/api_server.h"

#include <math.h>

static struct api_server api;

static const char ROUTE[] = "/v1/importance";

static double number(json_t *object, const char *key)
{
    json_t *value = at(object, key);
    ck_assert_msg(json_is_number(value), "%s is no number", key);
    return json_number_value(value);
}

static const char *text_of(json_t *object, const char *key)
{
    const char *text = json_string_value(at(object, key));
    ck_assert_msg(text != NULL, "%s is no string", key);
    return text;
}

static json_t *ask(const char *body)
{
    return api_json(&api, "POST", ROUTE, body, 200);
}

static void check_error(const char *path, const char *body, unsigned status,
                        const char *param)
{
    json_t *reply = api_json(&api, "POST", path, body, status);
    const char *got = json_string_value(at(at(reply, "error"), "param"));
    ck_assert_msg(got && strcmp(got, param) == 0, "%s: param is %s, not %s", body, got,
                  param);
    json_decref(reply);
}

/* The score that /v1/sentiment gives a text for a label. */
static double sentiment(const char *model, const char *text, const char *label)
{
    char body[300];
    snprintf(body, sizeof body, "{\"model\":\"%s\",\"text\":\"%s\"}", model, text);
    json_t *reply = api_json(&api, "POST", "/v1/sentiment", body, 200);
    double score = number(at(item(at(reply, "results"), 0), "scores"), label);
    json_decref(reply);
    return score;
}

/* Units are words of the text, and without one the label has the probability that
 * /v1/sentiment gives the text without it. */
START_TEST(probabilities_are_those_of_the_edited_text)
{
    static const char *const without[] = {
        "was great, not bad",      "movie great, not bad", "movie was, not bad",
        "movie was great not bad", "movie was great, bad", "movie was great, not"};
    static const char *const words[] = {"movie", "was", "great", ",", "not", "bad"};
    static const char *const models[] = {"tiny-bert", "tiny-bilstm"};
    api_start(&api);
    for (size_t m = 0; m < 2; m++) {
        char body[200];
        snprintf(body, sizeof body,
                 "{\"text\":\"movie was great, not bad\",\"model\":\"%s\"}", models[m]);
        json_t *reply = ask(body), *units = at(reply, "units");
        json_t *target = at(reply, "target");
        const char *label = text_of(target, "label");
        ck_assert_str_eq(label, text_of(at(reply, "prediction"), "label"));
        int tokens = (int)number(at(reply, "usage"), "tokens"), computed = tokens;
        ck_assert_uint_eq(json_array_size(units), 6);
        for (size_t i = 0; i < 6; i++) {
            json_t *u = item(units, i);
            computed += tokens - 1 -
                        (int)(json_integer_value(item(at(u, "tokens"), 1)) -
                              json_integer_value(item(at(u, "tokens"), 0)));
            double p = number(u, "probability");
            ck_assert_str_eq(text_of(u, "text"), words[i]);
            ck_assert_double_eq(p, sentiment(models[m], without[i], label));
            ck_assert_double_eq_tol(number(u, "importance"),
                                    log(number(target, "probability") / p), 2e-6);
        }
        ck_assert_int_eq((int)number(at(reply, "usage"), "computed_tokens"), computed);
        json_decref(reply);
    }
    api_stop(&api);
}
END_TEST

/* As unit token of /v1/next-word says it, which reads the same texts. */
START_TEST(next_tokens_are_those_of_next_word)
{
    api_start(&api);
    json_t *reply = ask("{\"text\":\"the cat sat\",\"model\":\"tiny-lstm\"}");
    json_t *next = api_json(&api, "POST", "/v1/next-word",
                            "{\"text\":\"the sat\",\"model\":\"tiny-lstm\",\"unit\":"
                            "\"token\",\"top_k\":100}",
                            200);
    json_t *list = at(item(at(next, "results"), 0), "predictions"), *p;
    json_t *unit = item(at(reply, "units"), 1);
    double id = number(at(reply, "target"), "id");
    size_t i, found = 0;
    ck_assert_str_eq(text_of(unit, "text"), "cat");
    json_array_foreach(list, i, p)
    {
        if (number(p, "id") != id)
            continue;
        found++;
        ck_assert_double_eq(number(p, "score"), number(unit, "probability"));
        ck_assert_str_eq(text_of(p, "text"), text_of(at(reply, "target"), "token"));
    }
    ck_assert_uint_eq(found, 1);
    ck_assert(json_is_null(at(reply, "attention")));
    ck_assert(json_is_null(at(unit, "attention")));
    ck_assert_uint_eq(json_array_size(at(at(reply, "prediction"), "next")), 5);
    json_decref(next);
    json_decref(reply);
    api_stop(&api);
}
END_TEST

START_TEST(offsets_cut_the_units_out)
{
    static const struct {
        const char *unit, *word, *at;
        int start, end;
    } rows[] = {{"byte", "caf\xc3\xa9", "great", 9, 14},
                {"codepoint", "caf\xc3\xa9", "great", 8, 13}};
    api_start(&api);
    for (size_t i = 0; i < 2; i++) {
        char body[200];
        snprintf(body, sizeof body,
                 "{\"text\":\"a caf\xc3\xa9, great\",\"offset_unit\":\"%s\"}",
                 rows[i].unit);
        json_t *reply = ask(body), *units = at(reply, "units"), *u;
        double sum = 0;
        size_t k;
        ck_assert_str_eq(text_of(item(units, 1), "text"), rows[i].word);
        u = item(units, json_array_size(units) - 1);
        ck_assert_str_eq(text_of(u, "text"), rows[i].at);
        ck_assert_int_eq((int)number(u, "start"), rows[i].start);
        ck_assert_int_eq((int)number(u, "end"), rows[i].end);
        json_array_foreach(units, k, u)
        {
            json_t *tokens = at(u, "tokens");
            ck_assert_int_le((int)json_integer_value(item(tokens, 0)),
                             (int)json_integer_value(item(tokens, 1)));
            sum += number(u, "attention");
        }
        ck_assert_double_eq_tol(sum, 1, 5e-6);
        double tau = number(at(reply, "attention"), "kendall_tau");
        ck_assert_double_le(fabs(tau), 1);
        json_decref(reply);
    }
    json_t *pair = ask("{\"text\":\"a cat\",\"text_pair\":\"not great\"}");
    json_t *last = item(at(pair, "units"), 3);
    ck_assert_int_eq((int)number(item(at(pair, "units"), 1), "part"), 0);
    ck_assert_int_eq((int)number(last, "part"), 1);
    ck_assert_int_eq((int)number(last, "start"), 4);
    json_decref(pair);
    api_stop(&api);
}
END_TEST

START_TEST(targets_are_told_by_name)
{
    api_start(&api);
    json_t *a = ask("{\"text\":\"not great\",\"target\":\"positive\"}");
    json_t *b = ask("{\"text\":\"not great\",\"target\":\"negative\"}");
    ck_assert_str_eq(text_of(at(a, "target"), "label"), "positive");
    ck_assert(json_equal(at(a, "prediction"), at(b, "prediction")));
    for (size_t i = 0; i < 2; i++)
        ck_assert_double_eq_tol(number(item(at(a, "units"), i), "probability") +
                                    number(item(at(b, "units"), i), "probability"),
                                1, 1e-6);
    json_decref(a);
    json_decref(b);
    a = ask("{\"text\":\"the cat\",\"model\":\"tiny-gpt2\",\"target\":\"cat\"}");
    ck_assert_str_eq(text_of(at(a, "target"), "token"), " cat");
    json_decref(a);
    api_stop(&api);
}
END_TEST

START_TEST(a_regression_has_scores_in_place_of_probabilities)
{
    static const char *const dirs[] = {"tests/fixtures/models/tiny-roberta-regression"};
    api_start_with(&api, dirs, 1);
    json_t *reply = ask("{\"text\":\"the cat sat\",\"decimals\":9}");
    ck_assert_str_eq(text_of(reply, "measure"), "score");
    ck_assert(json_is_null(at(at(reply, "target"), "probability")));
    ck_assert(json_is_null(at(at(reply, "target"), "logprob")));
    json_t *u = item(at(reply, "units"), 0);
    ck_assert(json_is_null(at(u, "probability")));
    ck_assert_double_eq_tol(number(at(reply, "target"), "score") - number(u, "score"),
                            number(u, "importance"), 1e-6);
    json_decref(reply);
    api_stop(&api);
}
END_TEST

START_TEST(nothing_left_is_null)
{
    api_start(&api);
    json_t *reply = ask("{\"text\":\"great\",\"model\":\"tiny-bilstm\"}");
    json_t *u = item(at(reply, "units"), 0);
    ck_assert(json_is_null(at(u, "importance")));
    ck_assert(json_is_null(at(u, "probability")));
    ck_assert(json_is_null(at(at(reply, "attention"), "kendall_tau")));
    json_decref(reply);
    reply = ask("{\"text\":\"\"}");
    ck_assert_uint_eq(json_array_size(at(reply, "units")), 0);
    ck_assert(json_is_null(at(reply, "attention")));
    json_decref(reply);
    api_stop(&api);
}
END_TEST

START_TEST(refusals_name_the_field)
{
    api_start(&api);
    check_error(ROUTE, "{\"unit\":\"word\"}", 400, "text");
    check_error(ROUTE, "{\"text\":1}", 400, "text");
    check_error(ROUTE, "{\"text\":\"a\",\"input_ids\":[1]}", 400, "input_ids");
    check_error(ROUTE, "{\"text\":\"a\",\"unit\":\"line\"}", 422, "unit");
    check_error(ROUTE, "{\"text\":\"a\",\"method\":\"shap\"}", 422, "method");
    check_error(ROUTE, "{\"text\":\"a\",\"mode\":\"swap\"}", 422, "mode");
    check_error(ROUTE, "{\"text\":\"a\",\"decimals\":0}", 422, "decimals");
    check_error(ROUTE, "{\"text\":\"a\",\"target\":\"\"}", 422, "target");
    check_error(ROUTE, "{\"text\":\"a\",\"target\":\"happy\"}", 422, "target");
    check_error(ROUTE, "{\"text\":\"a\",\"targets\":\"b\"}", 400, "targets");
    check_error(ROUTE, "{\"text\":\"a\",\"mode\":\"replace\",\"model\":\"tiny-gpt2\"}",
                422, "mode");
    check_error(ROUTE, "{\"text\":\"a\",\"target\":\"zzzz\",\"model\":\"tiny-gpt2\"}",
                422, "target");
    check_error(ROUTE, "{\"text\":\"a\",\"text_pair\":\"b\",\"model\":\"tiny-gpt2\"}",
                422, "text_pair");
    check_error(ROUTE, "{\"text\":\"a\",\"model\":\"none\"}", 404, "model");
    check_error(ROUTE, "{\"input_ids\":[99999]}", 422, "input_ids[0]");
    check_error(ROUTE, "{\"text\":\"\",\"model\":\"tiny-bilstm\"}", 422, "text");
    api_stop(&api);
    static const char *const dirs[] = {"tests/fixtures/models/tiny-bert-bare",
                                       "tests/fixtures/models/tiny-bert-mlm"};
    api_start_with(&api, dirs, 2);
    check_error(ROUTE, "{\"text\":\"a\",\"model\":\"tiny-bert-bare\"}", 422, "model");
    check_error(ROUTE, "{\"text\":\"a\"}", 422, "text");
    check_error(ROUTE, "{\"text\":\"[MASK] [MASK]\"}", 422, "text");
    check_error(ROUTE, "{\"input_ids\":[5,6]}", 422, "input_ids");
    check_error("/v1/models/tiny-bert-mlm:explain", "{\"instances\":[\"a\"]}", 422,
                "instances[0]");
    api_stop(&api);
}
END_TEST

/* `times` words in {HEAD"a a ... "TAIL}. */
static char *long_body(const char *head, size_t times, const char *tail)
{
    size_t n = strlen(head) + 2 * times + strlen(tail) + 1, to;
    char *body = malloc(n);
    to = (size_t)snprintf(body, n, "%s", head);
    for (size_t i = 0; i < times; i++)
        to += (size_t)snprintf(body + to, n - to, "a ");
    snprintf(body + to, n - to, "%s", tail);
    return body;
}

static void check_limit(const char *path, const char *body, const char *param, int needed,
                        int limit)
{
    json_t *reply = api_json(&api, "POST", path, body, 413), *error = at(reply, "error");
    ck_assert_str_eq(text_of(error, "param"), param);
    ck_assert_int_eq((int)number(error, "needed_values"), needed);
    ck_assert_int_eq((int)number(error, "limit"), limit);
    ck_assert_uint_gt(strlen(text_of(error, "hint")), 0);
    json_decref(reply);
}

START_TEST(what_is_too_much_is_refused_before_it_is_computed)
{
    static const char head[] = "{\"model\":\"tiny-lstm\",\"text\":\"";
    api_start(&api);
    char *most = long_body(head, 256, "\"}"), *more = long_body(head, 257, "\"}");
    char *list = long_body("{\"instances\":[\"a\",\"", 257, "\"]}");
    json_t *reply = ask(most);
    ck_assert_uint_eq(json_array_size(at(reply, "units")), 256);
    json_decref(reply);
    size_t peak = seq_worker_peak(api.worker);
    check_limit(ROUTE, more, "text", 257, 256);
    check_limit("/v1/models/tiny-lstm:explain", list, "instances[1]", 257, 256);
    ck_assert_uint_eq(seq_worker_peak(api.worker), peak);
    api.options.max_tokens = 10;
    check_error(ROUTE, most, 413, "text");
    /* 4 tokens with <s>, and behind the words in front 2, 1 and again 1 */
    api.options.max_tokens = 4;
    json_decref(ask("{\"model\":\"tiny-lstm\",\"text\":\"a cat sat\"}"));
    check_limit("/v1/models/tiny-lstm:explain",
                "{\"instances\":[\"a cat sat\",\"a cat sat\",\"a cat sat\",\"a cat sat\","
                "\"a cat sat\",\"a cat sat\",\"a cat sat\",\"a cat sat\",\"a\"]}",
                "instances[8]", 67, 64);
    api.options.max_texts = 1;
    check_error("/v1/models/tiny-lstm:explain", "{\"instances\":[\"a\",\"b\"]}", 413,
                "instances");
    free(most);
    free(more);
    free(list);
    api_stop(&api);
}
END_TEST

/* Another job's turn comes between the parts, and each is bounded. */
START_TEST(long_texts_are_computed_in_parts)
{
    struct router_match match;
    struct answer answer = {0};
    struct err err = {0};
    size_t runs = 0, before = 0;
    api_start(&api);
    char *body = long_body("{\"model\":\"tiny-lstm\",\"text\":\"", 100, "\"}");
    router_find(api.s.routes, api.s.n_routes, "POST", ROUTE, &match);
    struct request q = {.route = match.route, .body = body, .body_n = strlen(body)};
    ck_assert_int_eq(match.route->handle(&api.s, &q, &answer, &err), ERR_OK);
    struct job *job = answer.job;
    do {
        job->again = false;
        job->kind->run(&job, 1, api.worker);
        ck_assert_uint_gt(job->n_tokens, before);
        ck_assert_uint_le(job->n_tokens - before, 512);
        ck_assert(!job->again || (job->cost > 0 && job->cost <= 512));
        before = job->n_tokens;
        runs++;
    } while (job->again && job->err.code == ERR_OK);
    ck_assert_int_eq(job->err.code, ERR_OK);
    ck_assert_uint_eq(job->n_tokens, 101 + 99 * 100 / 2 + 1);
    ck_assert_uint_ge(runs, job->n_tokens / 512);
    job->kind->free(job);

    /* A client that has gone is noticed between two parts. */
    atomic_bool gone = false;
    ck_assert_int_eq(match.route->handle(&api.s, &q, &answer, &err), ERR_OK);
    job = answer.job;
    job->gone = &gone;
    job->kind->run(&job, 1, api.worker);
    ck_assert(job->again);
    atomic_store(&gone, true);
    job->again = false;
    job->kind->run(&job, 1, api.worker);
    ck_assert_int_eq(job->err.code, ERR_STOPPED);
    ck_assert(!job->again);
    job->kind->free(job);
    free(body);
    api_stop(&api);
}
END_TEST

/* Each instance is what /v1/importance says of it alone. */
START_TEST(explanations_are_importances)
{
    static const char *const bodies[] = {"{\"text\":\"not great, a caf\xc3\xa9\"}",
                                         "{\"text\":\"the cat\"}", "{\"text\":\"\"}"};
    api_start(&api);
    json_t *all = api_json(&api, "POST", "/v1/models/tiny-bert:explain",
                           "{\"instances\":[\"not great, a caf\xc3\xa9\","
                           "{\"text\":\"the cat\"},\"\"]}",
                           200);
    json_t *list = at(all, "explanations");
    ck_assert_uint_eq(json_array_size(list), 3);
    for (size_t i = 0; i < 3; i++) {
        json_t *one = ask(bodies[i]), *units = at(one, "units"), *e = item(list, i);
        ck_assert_uint_eq(json_array_size(at(e, "words")), json_array_size(units));
        ck_assert_uint_eq(json_array_size(at(e, "importances")), json_array_size(units));
        for (size_t u = 0; u < json_array_size(units); u++) {
            ck_assert(json_equal(item(at(e, "words"), u), at(item(units, u), "text")));
            ck_assert(json_equal(item(at(e, "importances"), u),
                                 at(item(units, u), "importance")));
        }
        ck_assert_str_eq(text_of(e, "method"), "occlusion");
        ck_assert(json_is_null(at(e, "delta")));
        json_decref(one);
    }
    json_decref(all);
    api_stop(&api);
}
END_TEST

START_TEST(instances_are_texts_or_objects_with_one)
{
    static const char path[] = "/v1/models/tiny-bert:explain";
    api_start(&api);
    check_error(path, "{}", 400, "instances");
    check_error(path, "{\"instances\":\"a\"}", 400, "instances");
    check_error(path, "{\"instances\":[]}", 422, "instances");
    check_error(path, "{\"instances\":[\"a\",7]}", 400, "instances[1]");
    check_error(path, "{\"instances\":[\"a\",null]}", 400, "instances[1]");
    check_error(path, "{\"instances\":[{}]}", 400, "instances[0].text");
    check_error(path, "{\"instances\":[{\"text\":7}]}", 400, "instances[0].text");
    check_error(path, "{\"instances\":[{\"text\":\"a\",\"data\":1}]}", 400,
                "instances[0].data");
    check_error(path, "{\"instances\":[\"a\"],\"inputs\":1}", 400, "inputs");
    check_error("/v1/models/none:explain", "{\"instances\":[\"a\"]}", 404, "model");
    api_stop(&api);
}
END_TEST

START_TEST(survives_failing_allocations)
{
    api_start(&api);
    api_check_faults(&api, ROUTE, "{\"text\":\"a caf\xc3\xa9, not great\"}");
    api_check_faults(&api, ROUTE,
                     "{\"text\":\"the cat\",\"model\":\"tiny-gpt2\",\"target\":\"cat\"}");
    api_check_faults(&api, "/v1/models/tiny-bilstm:explain",
                     "{\"instances\":[\"a cat\",{\"text\":\"great\"}]}");
    api_stop(&api);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {probabilities_are_those_of_the_edited_text,
                                  next_tokens_are_those_of_next_word,
                                  offsets_cut_the_units_out,
                                  targets_are_told_by_name,
                                  a_regression_has_scores_in_place_of_probabilities,
                                  nothing_left_is_null,
                                  refusals_name_the_field,
                                  what_is_too_much_is_refused_before_it_is_computed,
                                  long_texts_are_computed_in_parts,
                                  explanations_are_importances,
                                  instances_are_texts_or_objects_with_one,
                                  survives_failing_allocations,
                                  NULL};
    return suite_run("api_importance", tests, 60);
}
