/* texts.c, next_word.c, sentiment.c, attention.c on the tiny models, without HTTP: what
 * belongs to the handlers rather than to the models. */
#include "server/api/texts.h"
#include "tests/json_look.h"
#include "tests/suite.h"
#include "tests/unit/api_server.h"

#include <math.h>

static struct api_server api;

static json_t *result(json_t *reply, size_t i)
{
    json_t *value = json_array_get(at(reply, "results"), i);
    ck_assert_ptr_nonnull(value);
    return value;
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

START_TEST(refusals_name_the_field)
{
    api_start(&api);
    check_error("/v1/sentiment", "{\"text\":\"a\",\"texts\":[\"b\"]}", 400, "texts");
    check_error("/v1/sentiment", "{\"model\":\"tiny-bert\"}", 400, "text");
    check_error("/v1/sentiment", "{\"text\":null,\"texts\":null}", 400, "text");
    check_error("/v1/sentiment", "{\"texts\":[]}", 422, "texts");
    check_error("/v1/sentiment", "{\"texts\":[\"a\",1]}", 400, "texts[1]");
    check_error("/v1/sentiment", "{\"texts\":[\"a\",\"\"],\"model\":\"tiny-bilstm\"}",
                422, "texts[1]");
    check_error("/v1/sentiment", "{\"text\":\"\",\"model\":\"tiny-bilstm\"}", 422,
                "text");
    check_error("/v1/sentiment", "{\"text\":\"a\",\"model\":\"none\"}", 404, "model");
    check_error("/v1/sentiment", "{\"text\":\"a\",\"model\":\"tiny-gpt2\"}", 422,
                "model");
    check_error("/v1/next-word", "{\"text\":\"a\",\"top_k\":0}", 422, "top_k");
    check_error("/v1/next-word", "{\"text\":\"a\",\"top_k\":101}", 422, "top_k");
    check_error("/v1/next-word", "{\"text\":\"a\",\"unit\":\"line\"}", 422, "unit");
    check_error("/v1/next-word", "{\"text\":\"a\",\"prefix\":\" b\"}", 422, "prefix");
    check_error("/v1/next-word", "{\"text\":\"a\",\"prefix\":\"b\",\"unit\":\"token\"}",
                422, "prefix");
    check_error("/v1/attention", "{\"text\":\"a\",\"layers\":[7]}", 422, "layers[0]");
    check_error("/v1/attention", "{\"text\":\"a\",\"heads\":[0,0]}", 422, "heads[1]");
    check_error("/v1/attention", "{\"text\":\"a\",\"queries\":[99]}", 422, "queries[0]");
    check_error("/v1/attention", "{\"text\":\"a\",\"layers\":\"last\"}", 400, "layers");
    check_error("/v1/attention", "{\"text\":\"a\",\"decimals\":10}", 422, "decimals");
    check_error("/v1/attention", "{\"text\":\"a\",\"model\":\"tiny-lstm\"}", 422,
                "model");
    api_stop(&api);
}
END_TEST

START_TEST(pairs_are_read_by_those_that_can)
{
    api_start(&api);
    check_error("/v1/sentiment", "{\"text\":\"a\",\"text_pairs\":[\"b\"]}", 400,
                "text_pairs");
    check_error("/v1/sentiment", "{\"texts\":[\"a\"],\"text_pair\":\"b\"}", 400,
                "text_pair");
    check_error("/v1/sentiment", "{\"texts\":[\"a\"],\"text_pairs\":[\"b\",\"c\"]}", 422,
                "text_pairs");
    check_error("/v1/sentiment",
                "{\"text\":\"a\",\"text_pair\":\"b\",\"model\":\"tiny-bilstm\"}", 422,
                "text_pair");
    check_error("/v1/sentiment",
                "{\"texts\":[\"a\"],\"text_pairs\":[\"b\"],\"model\":\"tiny-bilstm\"}",
                422, "text_pairs");
    check_error("/v1/attention",
                "{\"text\":\"a\",\"text_pair\":\"b\",\"model\":\"tiny-gpt2\"}", 422,
                "text_pair");
    check_error("/v1/next-word", "{\"text\":\"a\",\"text_pair\":\"b\"}", 400,
                "text_pair");
    json_t *one = api_json(&api, "POST", "/v1/sentiment",
                           "{\"text\":\"a cat\",\"text_pair\":\"not great\"}", 200);
    json_t *all = api_json(&api, "POST", "/v1/sentiment",
                           "{\"texts\":[\"the\",\"a cat\"],"
                           "\"text_pairs\":[\"\",\"not great\"]}",
                           200);
    ck_assert(json_equal(result(one, 0), result(all, 1)));
    ck_assert_int_eq((int)json_integer_value(at(at(one, "usage"), "tokens")), 2 + 2 + 3);
    json_decref(one);
    json_decref(all);
    api_stop(&api);
}
END_TEST

/* Offsets count in each token's own text, in the unit asked for. */
START_TEST(tokens_of_a_pair_know_their_text)
{
    static const char *const texts[] = {"a caf\xc3\xa9, great", "\xc3\xa9 cat"};
    api_start(&api);
    json_t *reply = api_json(&api, "POST", "/v1/attention",
                             "{\"text\":\"a caf\xc3\xa9, great\",\"text_pair\":"
                             "\"\xc3\xa9 cat\",\"layers\":[0],\"heads\":[0]}",
                             200);
    json_t *tokens = at(reply, "tokens");
    size_t specials = 0, part = 0, i;
    json_t *t;
    json_array_foreach(tokens, i, t)
    {
        if (json_is_true(at(t, "special"))) {
            ck_assert(json_is_null(at(t, "part")));
            specials++;
            continue;
        }
        ck_assert_uint_ge((size_t)json_integer_value(at(t, "part")), part);
        part = (size_t)json_integer_value(at(t, "part"));
        size_t start = (size_t)json_integer_value(at(t, "start"));
        size_t end = (size_t)json_integer_value(at(t, "end"));
        ck_assert_uint_le(end, strlen(texts[part]));
        ck_assert_uint_eq(json_string_length(at(t, "text")), end - start);
        ck_assert_mem_eq(json_string_value(at(t, "text")), texts[part] + start,
                         end - start);
    }
    ck_assert_uint_eq(part, 1);
    ck_assert_uint_eq(specials, 3);
    json_decref(reply);
    reply = api_json(&api, "POST", "/v1/attention", "{\"text\":\"a cat\"}", 200);
    ck_assert_ptr_null(json_object_get(json_array_get(at(reply, "tokens"), 1), "part"));
    json_decref(reply);
    api_stop(&api);
}
END_TEST

/* A body of `times` words, {HEAD"word word ... "TAIL}. */
static char *long_body(const char *head, size_t times, const char *tail)
{
    size_t n = strlen(head) + 6 * times + strlen(tail) + 1, at;
    char *body = malloc(n);
    at = (size_t)snprintf(body, n, "%s", head);
    for (size_t i = 0; i < times; i++)
        at += (size_t)snprintf(body + at, n - at, "great ");
    snprintf(body + at, n - at, "%s", tail);
    return body;
}

START_TEST(what_is_too_long_is_cut_or_refused)
{
    static const struct {
        const char *path, *head, *cut, *whole, *param;
    } rows[] = {
        {"/v1/sentiment", "{\"text\":\"", "\"}", "\",\"truncate\":false}", "text"},
        {"/v1/sentiment", "{\"texts\":[\"a\",\"", "\"]}", "\"],\"truncate\":false}",
         "texts[1]"},
        {"/v1/sentiment", "{\"text_pair\":\"a\",\"text\":\"", "\"}",
         "\",\"truncate\":false}", "text"},
        {"/v1/next-word", "{\"text\":\"", "\"}", "\",\"truncate\":false}", "text"},
        {"/v1/attention", "{\"heads\":[0],\"text\":\"", "\"}", "\",\"truncate\":false}",
         "text"},
    };
    api_start(&api);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *cut = long_body(rows[i].head, 200, rows[i].cut);
        char *whole = long_body(rows[i].head, 200, rows[i].whole);
        json_t *reply = api_json(&api, "POST", rows[i].path, cut, 200);
        ck_assert(json_is_true(at(at(reply, "usage"), "truncated")));
        json_decref(reply);
        check_error(rows[i].path, whole, 413, rows[i].param);
        free(cut);
        free(whole);
    }
    api_stop(&api);
}
END_TEST

START_TEST(limits_of_texts_and_tokens_hold)
{
    api_start(&api);
    api.options.max_texts = 2;
    check_error("/v1/sentiment", "{\"texts\":[\"a\",\"b\",\"c\"]}", 413, "texts");
    api.options.max_tokens = 5;
    check_error("/v1/sentiment", "{\"texts\":[\"a cat\",\"a cat\"]}", 413, "texts");
    check_error("/v1/sentiment", "{\"text\":\"a cat a cat a cat\"}", 413, "text");
    check_error("/v1/attention", "{\"text\":\"a cat a cat a cat\"}", 413, "text");
    api_stop(&api);
}
END_TEST

START_TEST(defaults_are_the_first_that_serve_and_an_encoder_for_attention)
{
    static const char *const expected[][2] = {{"/v1/next-word", "tiny-gpt2"},
                                              {"/v1/sentiment", "tiny-bert"},
                                              {"/v1/attention", "tiny-bert"}};
    api_start(&api);
    for (size_t i = 0; i < 3; i++) {
        json_t *reply =
            api_json(&api, "POST", expected[i][0], "{\"text\":\"a cat\"}", 200);
        ck_assert_str_eq(json_string_value(at(reply, "model")), expected[i][1]);
        json_decref(reply);
    }
    api_stop(&api);
}
END_TEST

START_TEST(several_texts_are_the_single_answers_in_order)
{
    api_start(&api);
    json_t *all =
        api_json(&api, "POST", "/v1/sentiment",
                 "{\"texts\":[\"great\",\"not great, not terrible\",\"\"]}", 200);
    static const char *const one[] = {"{\"text\":\"great\"}",
                                      "{\"text\":\"not great, not terrible\"}",
                                      "{\"text\":\"\"}"};
    int tokens = 0;
    for (size_t i = 0; i < 3; i++) {
        json_t *alone = api_json(&api, "POST", "/v1/sentiment", one[i], 200);
        ck_assert(json_equal(result(all, i), result(alone, 0)));
        json_t *scores = at(result(alone, 0), "scores"), *score;
        const char *label = json_string_value(at(result(alone, 0), "label")), *key;
        json_object_foreach(scores, key, score)
        {
            ck_assert_double_le(json_number_value(score),
                                json_number_value(at(scores, label)));
        }
        tokens += (int)json_integer_value(at(at(alone, "usage"), "tokens"));
        json_decref(alone);
    }
    ck_assert_int_eq((int)json_integer_value(at(at(all, "usage"), "tokens")), tokens);
    json_decref(all);
    api_stop(&api);
}
END_TEST

/* Batches cut to one text each, and one batch of all: the same bytes. */
START_TEST(how_batches_are_cut_changes_no_byte)
{
    static const char *const bodies[][2] = {
        {"/v1/next-word", "{\"texts\":[\"the cat\",\"a\",\"the dog sat\"],\"top_k\":9}"},
        {"/v1/sentiment", "{\"texts\":[\"the cat\",\"a\",\"not great\",\"terrible\"]}"}};
    api_start(&api);
    for (size_t i = 0; i < 2; i++) {
        struct reply whole, cut;
        api.options.batch_tokens = 8192;
        ck_assert_uint_eq(api_ask(&api, "POST", bodies[i][0], bodies[i][1], &whole), 200);
        api.options.batch_tokens = 1;
        ck_assert_uint_eq(api_ask(&api, "POST", bodies[i][0], bodies[i][1], &cut), 200);
        ck_assert_uint_eq(whole.body.n, cut.body.n);
        ck_assert_mem_eq(whole.body.at, cut.body.at, cut.body.n);
        reply_done(&whole);
        reply_done(&cut);
    }
    api_stop(&api);
}
END_TEST

/* Makes a job without running it. */
static struct job *job_of(const char *path, const char *body)
{
    struct router_match match;
    struct answer out = {0};
    struct err err = {0};
    router_find(api.s.routes, api.s.n_routes, "POST", path, &match);
    struct request q = {.route = match.route, .body = body, .body_n = strlen(body)};
    ck_assert_int_eq(match.route->handle(&api.s, &q, &out, &err), ERR_OK);
    ck_assert_ptr_nonnull(out.job);
    return out.job;
}

START_TEST(one_bad_request_leaves_the_batch_of_others_alone)
{
    static const char *const good = "{\"text\":\"the cat\",\"model\":\"tiny-bilstm\"}";
    struct reply alone, got[4];
    api_start(&api);
    ck_assert_uint_eq(api_ask(&api, "POST", "/v1/sentiment", good, &alone), 200);
    api.options.max_tokens = 4;
    struct job *jobs[] = {
        job_of("/v1/sentiment", good),
        job_of("/v1/sentiment",
               "{\"text\":\"a cat a cat a cat\",\"model\":\"tiny-bilstm\"}"),
        job_of("/v1/sentiment", good),
        job_of("/v1/sentiment", "{\"texts\":[\"a\",\"\"],\"model\":\"tiny-bilstm\"}")};
    jobs[0]->kind->run(jobs, 4, api.worker);
    for (size_t i = 0; i < 4; i++) {
        got[i] = (struct reply){0};
        api_finish(jobs[i], DIALECT_SEQD, &got[i]);
    }
    ck_assert_uint_eq(got[1].status, 413);
    ck_assert_uint_eq(got[3].status, 422);
    for (size_t i = 0; i < 3; i += 2) {
        ck_assert_uint_eq(got[i].status, 0);
        ck_assert_uint_eq(got[i].body.n, alone.body.n);
        ck_assert_mem_eq(got[i].body.at, alone.body.at, alone.body.n);
    }
    for (size_t i = 0; i < 4; i++)
        reply_done(&got[i]);
    reply_done(&alone);
    api_stop(&api);
}
END_TEST

/* Can't tell the result of texts that begin with a b. */
static enum err_code compute_without_b(const struct seq_model *m,
                                       const struct text_ref *refs, size_t n,
                                       struct seq_worker *w, struct err *err)
{
    (void)m, (void)w, (void)err;
    for (size_t i = 0; i < n; i++) {
        if (refs[i].job->at[refs[i].i].at[0] == 'b') {
            texts_fail(&refs[i], "no word for it");
        } else {
            texts_open(&refs[i]);
            texts_close(&refs[i]);
        }
    }
    return ERR_OK;
}

START_TEST(one_bad_result_leaves_the_batch_of_others_alone)
{
    static const char *const bodies[] = {
        "{\"texts\":[\"a\"]}", "{\"texts\":[\"a\",\"b\",\"a\"]}", "{\"texts\":[\"a\"]}"};
    static const unsigned statuses[] = {0, 500, 0};
    struct job *jobs[3];
    struct text_task task;
    api_start(&api);
    for (size_t i = 0; i < 3; i++) {
        jobs[i] = job_of("/v1/sentiment", bodies[i]);
        struct text_job *j = (struct text_job *)jobs[i];
        task = *j->task;
        task.compute = compute_without_b;
        j->task = &task;
    }
    jobs[0]->kind->run(jobs, 3, api.worker);
    for (size_t i = 0; i < 3; i++) {
        struct reply r = {0};
        api_finish(jobs[i], DIALECT_SEQD, &r);
        ck_assert_uint_eq(r.status, statuses[i]);
        ck_assert_uint_gt(r.body.n, 0);
        reply_done(&r);
    }
    api_stop(&api);
}
END_TEST

/* The scheduler cuts batches by cost, so that --batch-tokens bounds the memory of
 * searches as well: a decoder's states hold 16 positions each at least. */
START_TEST(a_search_costs_what_its_states_take)
{
    api_start(&api);
    struct job *narrow = job_of("/v1/next-word", "{\"text\":\"the cat\",\"top_k\":3}");
    struct job *wide = job_of("/v1/next-word", "{\"text\":\"the cat\",\"top_k\":100}");
    struct job *tokens = job_of(
        "/v1/next-word", "{\"text\":\"the cat\",\"top_k\":100,\"unit\":\"token\"}");
    struct job *words = job_of("/v1/next-word", "{\"text\":\"the cat\",\"top_k\":100,"
                                                "\"model\":\"tiny-lstm\"}");
    ck_assert_uint_ge(narrow->cost, 2 * 16 * 16);
    ck_assert_uint_gt(wide->cost, 5 * narrow->cost);
    ck_assert_uint_lt(3 * narrow->cost, (size_t)api.options.batch_tokens);
    ck_assert_uint_lt(tokens->cost, 16);
    ck_assert_uint_lt(words->cost, 16); /* its words are tokens */
    words->kind->free(words);
    tokens->kind->free(tokens);
    wide->kind->free(wide);
    narrow->kind->free(narrow);
    api_stop(&api);
}
END_TEST

START_TEST(a_job_nobody_waits_for_is_left_off)
{
    static const char *const good = "{\"texts\":[\"the cat\",\"a\"],\"top_k\":3}";
    atomic_bool gone = true, here = false;
    struct reply alone, got = {0};
    api_start(&api);
    ck_assert_uint_eq(api_ask(&api, "POST", "/v1/next-word", good, &alone), 200);
    struct job *jobs[] = {job_of("/v1/next-word", good), job_of("/v1/next-word", good)};
    jobs[0]->gone = &gone;
    jobs[1]->gone = &here;
    jobs[0]->kind->run(jobs, 2, api.worker);
    ck_assert_int_eq(jobs[0]->err.code, ERR_STOPPED);
    ck_assert_ptr_null(jobs[0]->reply.body.at);
    ck_assert_uint_eq(jobs[0]->compute_us, 0);
    jobs[0]->kind->free(jobs[0]);
    api_finish(jobs[1], DIALECT_SEQD, &got);
    ck_assert_uint_eq(got.body.n, alone.body.n);
    ck_assert_mem_eq(got.body.at, alone.body.at, alone.body.n);
    reply_done(&got);
    reply_done(&alone);
    api_stop(&api);
}
END_TEST

START_TEST(blanks_at_the_end_move_into_the_word)
{
    api_start(&api);
    json_t *tight =
        api_json(&api, "POST", "/v1/next-word", "{\"text\":\"the cat\"}", 200);
    json_t *loose =
        api_json(&api, "POST", "/v1/next-word", "{\"text\":\"the cat \\n\"}", 200);
    json_t *a = at(result(tight, 0), "predictions");
    json_t *b = at(result(loose, 0), "predictions");
    ck_assert_uint_eq(json_array_size(a), 5);
    for (size_t i = 0; i < 5; i++) {
        json_t *x = json_array_get(a, i), *y = json_array_get(b, i);
        ck_assert(json_equal(at(x, "word"), at(y, "word")));
        ck_assert(json_equal(at(x, "logprob"), at(y, "logprob")));
        ck_assert_str_eq(json_string_value(at(x, "text")) + 1,
                         json_string_value(at(y, "text")));
    }
    json_decref(tight);
    json_decref(loose);
    api_stop(&api);
}
END_TEST

START_TEST(token_scores_are_a_distribution)
{
    api_start(&api);
    json_t *reply = api_json(&api, "POST", "/v1/next-word",
                             "{\"text\":\"the cat\",\"unit\":\"token\",\"top_k\":100,"
                             "\"model\":\"tiny-lstm\"}",
                             200);
    json_t *list = at(result(reply, 0), "predictions");
    double sum = 0, before = 2;
    for (size_t i = 0; i < json_array_size(list); i++) {
        double score = json_number_value(at(json_array_get(list, i), "score"));
        ck_assert_double_le(score, before);
        before = score;
        sum += score;
    }
    ck_assert_double_gt(sum, 0.2);
    ck_assert_double_le(sum, 1 + 1e-5);
    json_decref(reply);
    api_stop(&api);
}
END_TEST

START_TEST(more_decimals_only_add_digits)
{
    api_start(&api);
    for (int decimals = 1; decimals <= 9; decimals++) {
        char body[100];
        snprintf(body, sizeof body,
                 "{\"text\":\"not great, not terrible\",\"decimals\":%d}", decimals);
        json_t *reply = api_json(&api, "POST", "/v1/attention", body, 200);
        json_t *maps = at(reply, "attention");
        double tolerance = json_number_value(at(maps, "row_sum_tolerance"));
        json_t *rows =
            json_array_get(json_array_get(at(maps, "data"), 0), 0); /* [query][key] */
        for (size_t q = 0; q < json_array_size(rows); q++) {
            double sum = 0;
            json_t *row = json_array_get(rows, q);
            for (size_t k = 0; k < json_array_size(row); k++)
                sum += json_number_value(json_array_get(row, k));
            ck_assert_double_le(fabs(sum - 1), tolerance);
        }
        json_decref(reply);
    }
    api_stop(&api);
}
END_TEST

START_TEST(every_failed_allocation_is_survived)
{
    json_set_alloc_funcs(malloc, free); /* jansson's own are not under test */
    api_start(&api);
    api_check_faults(&api, "/v1/sentiment", "{\"texts\":[\"a cat\",\"great\"]}");
    api_check_faults(&api, "/v1/sentiment",
                     "{\"texts\":[\"a cat\",\"great\"],\"text_pairs\":[\"a\",\"b\"]}");
    api_check_faults(&api, "/v1/next-word", "{\"text\":\"the cat\",\"top_k\":2}");
    api_check_faults(&api, "/v1/next-word", "{\"text\":\"the\",\"unit\":\"token\"}");
    api_check_faults(&api, "/v1/attention", "{\"text\":\"a cat\",\"heads\":[1,0]}");
    api_check_faults(&api, "/v1/attention",
                     "{\"text\":\"a cat\",\"model\":\"tiny-bilstm\"}");
    api_stop(&api);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        refusals_name_the_field,
        pairs_are_read_by_those_that_can,
        tokens_of_a_pair_know_their_text,
        what_is_too_long_is_cut_or_refused,
        limits_of_texts_and_tokens_hold,
        defaults_are_the_first_that_serve_and_an_encoder_for_attention,
        several_texts_are_the_single_answers_in_order,
        how_batches_are_cut_changes_no_byte,
        one_bad_request_leaves_the_batch_of_others_alone,
        one_bad_result_leaves_the_batch_of_others_alone,
        a_search_costs_what_its_states_take,
        a_job_nobody_waits_for_is_left_off,
        blanks_at_the_end_move_into_the_word,
        token_scores_are_a_distribution,
        more_decimals_only_add_digits,
        every_failed_allocation_is_survived,
        NULL};
    return suite_run("api_tasks", tests, 120);
}
