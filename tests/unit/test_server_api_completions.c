/* completions.c, completion_reply.c on the tiny models, without HTTP. */
#include "server/api/completions.h"
#include "tests/json_look.h"
#include "tests/suite.h"
#include "tests/unit/api_server.h"

#include <math.h>

static struct api_server api;

static json_t *complete(const char *body)
{
    return api_json(&api, "POST", "/v1/completions", body, 200);
}

static json_t *choice(json_t *reply, size_t i)
{
    json_t *value = json_array_get(at(reply, "choices"), i);
    ck_assert_msg(value != NULL, "no choice %zu", i);
    return value;
}

static const char *text_of(json_t *reply, size_t i)
{
    return json_string_value(at(choice(reply, i), "text"));
}

static json_int_t usage_of(json_t *reply, const char *what)
{
    return json_integer_value(at(at(reply, "usage"), what));
}

static void check_error(const char *body, unsigned status, const char *param)
{
    json_t *reply = api_json(&api, "POST", "/v1/completions", body, status);
    const char *got = json_string_value(at(at(reply, "error"), "param"));
    ck_assert_msg(got && strcmp(got, param) == 0, "%s: param is %s, not %s", body, got,
                  param);
    json_decref(reply);
    ck_assert_uint_eq(atomic_load(&api.s.generating), 0);
}

START_TEST(refusals_name_the_field)
{
    api_start(&api);
    check_error("{}", 400, "prompt");
    check_error("{\"prompt\":[]}", 422, "prompt");
    check_error("{\"prompt\":5}", 400, "prompt");
    check_error("{\"prompt\":[\"a\",5]}", 400, "prompt[1]");
    check_error("{\"prompt\":[5,\"a\"]}", 400, "prompt[1]");
    check_error("{\"prompt\":[[5],[]]}", 422, "prompt[1]");
    check_error("{\"prompt\":[[5],[-1]]}", 422, "prompt[1][0]");
    check_error("{\"prompt\":[[5],[31,32]],\"model\":\"tiny-lstm\"}", 422, "prompt[1]");
    check_error("{\"prompt\":[320]}", 422, "prompt");
    check_error("{\"prompt\":\"a\",\"n\":0}", 422, "n");
    check_error("{\"prompt\":\"a\",\"n\":3,\"best_of\":2}", 422, "best_of");
    check_error("{\"prompt\":\"a\",\"n\":1,\"best_of\":2,\"stream\":true}", 422,
                "best_of");
    check_error("{\"prompt\":[\"a\",\"b\",\"a\"],\"n\":100}", 413, "n");
    check_error("{\"prompt\":\"a\",\"model\":\"tiny-lstm\",\"max_tokens\":2000000}", 413,
                "max_tokens");
    check_error("{\"prompt\":\"a\",\"max_tokens\":-1}", 422, "max_tokens");
    check_error("{\"prompt\":\"a\",\"temperature\":2.5}", 422, "temperature");
    check_error("{\"prompt\":\"a\",\"logprobs\":6}", 422, "logprobs");
    check_error("{\"prompt\":\"a\",\"logprobs\":true}", 400, "logprobs");
    check_error("{\"prompt\":\"a\",\"stop\":[\"b\",\"\"]}", 422, "stop");
    check_error("{\"prompt\":\"a\",\"stop\":5}", 400, "stop");
    check_error("{\"prompt\":\"a\",\"logit_bias\":{\"1\":101}}", 422, "logit_bias.1");
    check_error("{\"prompt\":\"a\",\"logit_bias\":{\"x\":1}}", 422, "logit_bias.x");
    check_error("{\"prompt\":\"a\",\"logit_bias\":{\"320\":1}}", 422, "logit_bias");
    check_error("{\"prompt\":\"a\",\"suffix\":\"b\"}", 422, "suffix");
    check_error("{\"prompt\":\"a\",\"stream_options\":{\"include_usage\":true}}", 422,
                "stream_options");
    check_error("{\"prompt\":\"a\",\"stream_options\":{\"include_usage\":1}}", 400,
                "stream_options.include_usage");
    check_error("{\"prompt\":\"a\",\"model\":\"tiny-bert\"}", 422, "model");
    check_error("{\"prompt\":\"a\",\"model\":\"none\"}", 404, "model");
    check_error("{\"prompt\":\"a\",\"max_token\":3}", 400, "max_token");
    api_stop(&api);
}
END_TEST

START_TEST(masked_models_do_not_continue_texts)
{
    static const char *const dirs[] = {"tests/fixtures/models/tiny-bert-mlm"};
    api_start_with(&api, dirs, 1);
    check_error("{\"prompt\":\"the [MASK]\"}", 422, "model");
    api_stop(&api);
}
END_TEST

START_TEST(what_openai_clients_send_is_read)
{
    api_start(&api);
    json_t *r =
        complete("{\"model\":\"tiny-gpt2\",\"prompt\":\"the cat\",\"suffix\":null,"
                 "\"max_tokens\":4,\"n\":1,\"best_of\":1,\"user\":\"me\","
                 "\"stream\":false,\"stream_options\":null,\"logprobs\":null,"
                 "\"echo\":false,\"stop\":null,\"presence_penalty\":0,"
                 "\"frequency_penalty\":0,\"logit_bias\":{},\"seed\":1,"
                 "\"temperature\":1,\"top_p\":1}");
    ck_assert_str_eq(json_string_value(at(r, "id")), "cmpl-test");
    ck_assert_str_eq(json_string_value(at(r, "object")), "text_completion");
    ck_assert_str_eq(json_string_value(at(r, "model")), "tiny-gpt2");
    ck_assert_int_gt((int)(json_integer_value(at(r, "created")) / 1000000), 1000);
    ck_assert_int_eq((int)json_integer_value(at(r, "seed")), 1);
    ck_assert(json_is_null(at(choice(r, 0), "logprobs")));
    ck_assert_str_eq(json_string_value(at(choice(r, 0), "finish_reason")), "length");
    ck_assert_int_eq((int)usage_of(r, "completion_tokens"), 4);
    ck_assert_int_eq((int)usage_of(r, "total_tokens"),
                     (int)usage_of(r, "prompt_tokens") + 4);
    json_decref(r);
    api_stop(&api);
}
END_TEST

START_TEST(a_list_is_answered_like_its_prompts_one_by_one)
{
    api_start(&api);
    json_t *all = complete("{\"prompt\":[\"the cat\",\"a dog\"],\"n\":2,\"seed\":11,"
                           "\"model\":\"tiny-lstm\"}");
    json_t *one[2] = {complete("{\"prompt\":\"the cat\",\"n\":2,\"seed\":11,"
                               "\"model\":\"tiny-lstm\"}"),
                      complete("{\"prompt\":\"a dog\",\"n\":3,\"seed\":11,"
                               "\"model\":\"tiny-lstm\"}")};
    ck_assert_uint_eq(json_array_size(at(all, "choices")), 4);
    for (size_t i = 0; i < 4; i++) {
        ck_assert_int_eq((int)json_integer_value(at(choice(all, i), "index")), (int)i);
        ck_assert_str_eq(text_of(all, i), text_of(one[i / 2], i % 2));
    }
    ck_assert_str_ne(text_of(all, 0), text_of(all, 1)); /* seeds of their own */
    ck_assert_int_eq((int)usage_of(all, "completion_tokens"), 4 * 16);
    json_decref(all);
    json_decref(one[0]);
    json_decref(one[1]);
    api_stop(&api);
}
END_TEST

START_TEST(a_prompt_of_ids_is_the_text_of_its_tokens)
{
    api_start(&api);
    json_t *ids = complete("{\"prompt\":[1,7,4,9],\"echo\":true,\"logprobs\":2,"
                           "\"seed\":3,\"model\":\"tiny-lstm\"}");
    json_t *text = complete("{\"prompt\":\"not , on\",\"echo\":true,\"logprobs\":2,"
                            "\"seed\":3,\"model\":\"tiny-lstm\"}");
    json_t *a = at(choice(ids, 0), "logprobs"), *b = at(choice(text, 0), "logprobs");
    ck_assert_str_eq(text_of(ids, 0) + 1, text_of(text, 0)); /* begins with a blank */
    ck_assert(json_equal(at(a, "tokens"), at(b, "tokens")));
    ck_assert(json_equal(at(a, "token_logprobs"), at(b, "token_logprobs")));
    ck_assert(json_equal(at(a, "top_logprobs"), at(b, "top_logprobs")));
    ck_assert_str_eq(json_string_value(json_array_get(at(a, "tokens"), 0)), "<s>");
    json_decref(text);
    json_decref(ids);
    api_stop(&api);
}
END_TEST

/* ---- log probabilities ----------------------------------------------------------- */

START_TEST(log_probabilities_are_four_lists)
{
    api_start(&api);
    json_t *r = complete("{\"prompt\":\"the cat\",\"echo\":true,\"logprobs\":3,"
                         "\"max_tokens\":6,\"seed\":2,\"model\":\"tiny-lstm\"}");
    json_t *l = at(choice(r, 0), "logprobs"), *tokens = at(l, "tokens");
    json_t *own = at(l, "token_logprobs"), *top = at(l, "top_logprobs");
    json_t *offsets = at(l, "text_offset");
    size_t n = (size_t)usage_of(r, "total_tokens");
    size_t n_prompt = (size_t)usage_of(r, "prompt_tokens");
    ck_assert_uint_eq(json_array_size(tokens), n);
    ck_assert_uint_eq(json_array_size(own), n);
    ck_assert_uint_eq(json_array_size(top), n);
    ck_assert_uint_eq(json_array_size(offsets), n);
    ck_assert(json_is_null(json_array_get(own, 0)));
    ck_assert(json_is_null(json_array_get(top, 0)));
    for (size_t i = 1; i < n; i++) {
        const char *token = json_string_value(json_array_get(tokens, i));
        json_t *best = json_array_get(top, i);
        double p = json_number_value(json_array_get(own, i));
        ck_assert_double_lt(p, 0);
        ck_assert_uint_ge(json_object_size(best), 3);
        ck_assert_uint_le(json_object_size(best), 4);
        ck_assert_double_eq(json_number_value(at(best, token)), p);
        size_t offset = (size_t)json_integer_value(json_array_get(offsets, i));
        token += i < n_prompt; /* its blank stands before the word */
        ck_assert_msg(strncmp(text_of(r, 0) + offset, token, strlen(token)) == 0,
                      "token %zu, \"%s\", is not at %zu", i, token, offset);
    }
    json_decref(r);
    api_stop(&api);
}
END_TEST

START_TEST(log_probabilities_are_what_next_word_says)
{
    api_start(&api);
    json_t *r = complete("{\"prompt\":\"the cat\",\"logprobs\":5,\"max_tokens\":1,"
                         "\"temperature\":0,\"model\":\"tiny-lstm\"}");
    json_t *words = api_json(&api, "POST", "/v1/next-word",
                             "{\"text\":\"the cat\",\"unit\":\"token\",\"top_k\":5,"
                             "\"model\":\"tiny-lstm\"}",
                             200);
    json_t *best = json_array_get(at(at(choice(r, 0), "logprobs"), "top_logprobs"), 0);
    json_t *list = at(json_array_get(at(words, "results"), 0), "predictions");
    for (size_t i = 0; i < 5; i++) {
        json_t *word = json_array_get(list, i);
        const char *text = json_string_value(at(word, "text"));
        if (*text)
            ck_assert_double_eq_tol(json_number_value(at(best, text)),
                                    json_number_value(at(word, "logprob")), 1e-5);
    }
    json_decref(words);
    json_decref(r);
    api_stop(&api);
}
END_TEST

START_TEST(offsets_count_characters_and_bytes_are_spelled)
{
    api_start(&api);
    json_t *r = complete("{\"prompt\":\"\xc3\xa9\xf0\x9f\x98\x80x\",\"echo\":true,"
                         "\"logprobs\":0,\"max_tokens\":0,\"model\":\"tiny-gpt2\"}");
    json_t *l = at(choice(r, 0), "logprobs");
    json_t *tokens = at(l, "tokens"), *offsets = at(l, "text_offset");
    size_t n = json_array_size(tokens), spelled = 0;
    ck_assert(json_is_null(at(l, "top_logprobs")));
    for (size_t i = 0; i < n; i++)
        spelled +=
            strncmp(json_string_value(json_array_get(tokens, i)), "bytes:\\x", 8) == 0;
    ck_assert_uint_ge(spelled, 4); /* the emoji is four tokens */
    ck_assert_str_eq(json_string_value(json_array_get(tokens, n - 1)), "x");
    ck_assert_int_eq((int)json_integer_value(json_array_get(offsets, n - 1)), 2);
    ck_assert_str_eq(text_of(r, 0), "\xc3\xa9\xf0\x9f\x98\x80x");
    json_decref(r);
    api_stop(&api);
}
END_TEST

/* ---- sampling -------------------------------------------------------------------- */

START_TEST(best_of_answers_those_with_the_highest_mean)
{
    api_start(&api);
    json_t *all = complete("{\"prompt\":\"the cat\",\"n\":6,\"seed\":4,\"logprobs\":0,"
                           "\"model\":\"tiny-lstm\"}");
    json_t *best = complete("{\"prompt\":\"the cat\",\"n\":2,\"best_of\":6,\"seed\":4,"
                            "\"model\":\"tiny-lstm\"}");
    double mean[6];
    size_t first = 0, second;
    for (size_t i = 0; i < 6; i++) {
        json_t *own = at(at(choice(all, i), "logprobs"), "token_logprobs");
        mean[i] = 0;
        for (size_t t = 0; t < 16; t++)
            mean[i] += json_number_value(json_array_get(own, t)) / 16;
        if (mean[i] > mean[first])
            first = i;
    }
    second = first ? 0 : 1;
    for (size_t i = 0; i < 6; i++)
        if (i != first && mean[i] > mean[second])
            second = i;
    ck_assert_uint_eq(json_array_size(at(best, "choices")), 2);
    ck_assert_str_eq(text_of(best, 0), text_of(all, first));
    ck_assert_str_eq(text_of(best, 1), text_of(all, second));
    ck_assert_int_eq((int)usage_of(best, "completion_tokens"), 6 * 16);
    json_decref(best);
    json_decref(all);
    api_stop(&api);
}
END_TEST

START_TEST(a_seed_is_told_and_makes_the_same_text_again)
{
    api_start(&api);
    json_t *a = complete("{\"prompt\":\"the\",\"model\":\"tiny-lstm\"}");
    json_t *b = complete("{\"prompt\":\"the\",\"model\":\"tiny-lstm\"}");
    char body[200];
    snprintf(body, sizeof body,
             "{\"prompt\":\"the\",\"model\":\"tiny-lstm\",\"seed\":%lld}",
             (long long)json_integer_value(at(a, "seed")));
    json_t *again = complete(body);
    ck_assert(!json_equal(at(a, "seed"), at(b, "seed")));
    ck_assert_str_eq(text_of(a, 0), text_of(again, 0));
    ck_assert_str_ne(text_of(a, 0), text_of(b, 0)); /* 16 words of 32 */
    json_decref(again);
    json_decref(b);
    json_decref(a);
    api_stop(&api);
}
END_TEST

START_TEST(a_bias_a_share_of_nothing_and_a_stop_do_what_they_say)
{
    api_start(&api);
    json_t *r = complete("{\"prompt\":[7],\"max_tokens\":3,\"logit_bias\":{\"9\":100},"
                         "\"logprobs\":0,\"model\":\"tiny-lstm\"}");
    json_t *tokens = at(at(choice(r, 0), "logprobs"), "tokens");
    json_t *prompt = complete("{\"prompt\":[9],\"echo\":true,\"logprobs\":0,"
                              "\"max_tokens\":0,\"model\":\"tiny-lstm\"}");
    json_t *nine = json_array_get(at(at(choice(prompt, 0), "logprobs"), "tokens"), 0);
    for (size_t i = 0; i < 3; i++)
        ck_assert(json_equal(json_array_get(tokens, i), nine));
    json_decref(prompt);
    json_decref(r);
    json_t *greedy = complete("{\"prompt\":\"the cat\",\"temperature\":0,"
                              "\"max_tokens\":12,\"model\":\"tiny-lstm\"}");
    json_t *narrow = complete("{\"prompt\":\"the cat\",\"top_p\":0,\"temperature\":2,"
                              "\"max_tokens\":12,\"model\":\"tiny-lstm\"}");
    ck_assert_str_eq(text_of(greedy, 0), text_of(narrow, 0));
    const char *text = text_of(greedy, 0);
    const char *word = strrchr(text, ' ');
    ck_assert_ptr_nonnull(word);
    char body[300];
    snprintf(body, sizeof body,
             "{\"prompt\":\"the cat\",\"temperature\":0,\"max_tokens\":12,\"stop\":"
             "\"%s\",\"model\":\"tiny-lstm\"}",
             word);
    json_t *stopped = complete(body);
    ck_assert_str_eq(json_string_value(at(choice(stopped, 0), "finish_reason")), "stop");
    size_t n = (size_t)(strstr(text, word) - text);
    ck_assert_uint_eq(strlen(text_of(stopped, 0)), n);
    ck_assert_int_eq(strncmp(text_of(stopped, 0), text, n), 0);
    json_decref(stopped);
    json_decref(narrow);
    json_decref(greedy);
    api_stop(&api);
}
END_TEST

/* ---- jobs ------------------------------------------------------------------------ */

static struct job *job_of(const char *body)
{
    struct router_match match;
    struct answer answer = {0};
    struct err err = {0};
    router_find(api.s.routes, api.s.n_routes, "POST", "/v1/completions", &match);
    struct request q = {
        .route = match.route, .id = "test", .body = body, .body_n = strlen(body)};
    ck_assert_msg(match.route->handle(&api.s, &q, &answer, &err) == ERR_OK, "%s",
                  err.msg);
    ck_assert_ptr_nonnull(answer.job);
    return answer.job;
}

/* A stream's reader, who reads nothing until he has `limit` bytes. */
struct reader {
    struct buf text;
    size_t limit, n_parts;
};

static void take_part(void *arg, struct job *job)
{
    struct reader *r = arg;
    ck_assert_str_eq(job->reply.content_type, "text/event-stream");
    buf_put(&r->text, job->reply.body.at, job->reply.body.n);
    buf_clear(&job->reply.body);
    r->n_parts++;
    job->paused = r->text.n > r->limit;
}

START_TEST(a_paused_job_goes_on_where_it_left_off)
{
    static const char body[] = "{\"prompt\":\"the cat\",\"seed\":6,\"max_tokens\":40,"
                               "\"stream\":true,\"model\":\"tiny-lstm\"}";
    struct reply whole;
    struct reader r = {.limit = 1000};
    api_start(&api);
    struct job *job = job_of(body);
    ck_assert_uint_eq(api_ask(&api, "POST", "/v1/completions", body, &whole), 200);
    job->progress = take_part;
    job->arg = &r;
    api_run(&api, job);
    ck_assert(job->paused);
    ck_assert_int_eq(job->err.code, ERR_OK);
    ck_assert_uint_lt(r.text.n, whole.body.n);
    r.limit = SIZE_MAX;
    job->paused = false;
    api_run(&api, job);
    ck_assert(!job->paused);
    buf_put(&r.text, job->reply.body.at, job->reply.body.n);
    ck_assert_uint_gt(r.n_parts, 20);
    const char *choices = strstr(whole.body.at, "\"choices\"");
    ck_assert_ptr_nonnull(choices);
    ck_assert_uint_eq(r.text.n, whole.body.n);
    ck_assert_mem_eq(r.text.at + r.text.n - 200, whole.body.at + whole.body.n - 200, 200);
    job->kind->free(job);
    buf_done(&r.text);
    reply_done(&whole);
    ck_assert_uint_eq(atomic_load(&api.s.generating), 0);
    api_stop(&api);
}
END_TEST

START_TEST(a_job_with_an_error_leaves_its_batch_alone)
{
    static const char good[] = "{\"prompt\":\"the cat\",\"seed\":6,\"max_tokens\":10,"
                               "\"n\":3,\"model\":\"tiny-lstm\"}";
    struct reply got;
    api_start(&api);
    json_t *alone = complete(good);
    struct job *jobs[] = {job_of("{\"prompt\":[[4],[32]],\"model\":\"tiny-lstm\"}"),
                          job_of(good)};
    jobs[0]->kind->run(jobs, 2, api.worker);
    ck_assert_int_eq(jobs[0]->err.code, ERR_INPUT);
    ck_assert(!jobs[0]->again);
    ck_assert(jobs[1]->again);
    ck_assert_uint_ge(jobs[1]->cost, 3); /* the prompt is read; the others begin */
    jobs[0]->kind->free(jobs[0]);
    api_run(&api, jobs[1]);
    api_finish(jobs[1], DIALECT_SEQD, &got);
    json_t *beside = json_loadb(got.body.at, got.body.n, 0, NULL);
    ck_assert(json_equal(at(beside, "choices"), at(alone, "choices")));
    json_decref(beside);
    json_decref(alone);
    reply_done(&got);
    api_stop(&api);
}
END_TEST

START_TEST(small_batches_change_no_choice)
{
    static const char body[] = "{\"prompt\":[\"the cat sat on the mat\",\"a\"],\"n\":5,"
                               "\"seed\":6,\"logprobs\":2,\"model\":\"tiny-lstm\"}";
    api_start(&api);
    json_t *large = complete(body);
    api.options.batch_tokens = 2;
    json_t *small = complete(body);
    ck_assert(json_equal(at(large, "choices"), at(small, "choices")));
    json_decref(small);
    json_decref(large);
    api_stop(&api);
}
END_TEST

START_TEST(errors_end_a_stream)
{
    static const char json[] = "{\"error\":{\"message\":\"m\"}}\n";
    struct job *job;
    struct buf to = {0};
    api_start(&api);
    job = job_of("{\"prompt\":\"a\",\"stream\":true}");
    buf_puts(&to, "data: {}\n\n");
    struct buf error = {.at = (char *)json, .n = sizeof json - 1};
    job->kind->put_error(job, &to, &error);
    buf_put(&to, "", 1);
    ck_assert_str_eq(to.at, "data: {}\n\ndata: {\"error\":{\"message\":\"m\"}}\n\n"
                            "data: [DONE]\n\n");
    job->kind->free(job);
    buf_done(&to);
    api_stop(&api);
}
END_TEST

/* What the same request must give again. */
static size_t lasting(const struct reply *r, const char **from)
{
    const char *end = memmem(r->body.at, r->body.n, "\"usage\"", 7);
    *from = memmem(r->body.at, r->body.n, "\"choices\"", 9);
    ck_assert(*from && end);
    return (size_t)(end - *from);
}

START_TEST(every_failed_allocation_is_survived)
{
    static const char body[] =
        "{\"prompt\":[\"the cat\",\"a\"],\"seed\":6,\"max_tokens\":3,\"best_of\":2,"
        "\"echo\":true,\"logprobs\":1,\"stop\":[\"xyz\"],\"logit_bias\":{\"3\":1}}";
    struct reply good, r;
    const char *want, *got;
    bool struck = true;
    json_set_alloc_funcs(malloc, free); /* jansson's own are not under test */
    api_start(&api);
    ck_assert_uint_eq(api_ask(&api, "POST", "/v1/completions", body, &good), 200);
    size_t n_want = lasting(&good, &want);
    for (long n = 0; struck; n++) {
        ck_assert_int_lt((int)n, 20000);
        mem_fail_after(n);
        unsigned status = api_ask(&api, "POST", "/v1/completions", body, &r);
        struck = !mem_fail_pending();
        mem_fail_after(-1);
        ck_assert_msg(status == 200 || status == 503, "allocation %ld: %u", n, status);
        if (status == 200) {
            ck_assert_uint_eq(lasting(&r, &got), n_want);
            ck_assert_mem_eq(got, want, n_want);
        }
        reply_done(&r);
        ck_assert_uint_eq(atomic_load(&api.s.generating), 0);
    }
    reply_done(&good);
    api_stop(&api);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {refusals_name_the_field,
                                  masked_models_do_not_continue_texts,
                                  what_openai_clients_send_is_read,
                                  a_list_is_answered_like_its_prompts_one_by_one,
                                  a_prompt_of_ids_is_the_text_of_its_tokens,
                                  log_probabilities_are_four_lists,
                                  log_probabilities_are_what_next_word_says,
                                  offsets_count_characters_and_bytes_are_spelled,
                                  best_of_answers_those_with_the_highest_mean,
                                  a_seed_is_told_and_makes_the_same_text_again,
                                  a_bias_a_share_of_nothing_and_a_stop_do_what_they_say,
                                  a_paused_job_goes_on_where_it_left_off,
                                  a_job_with_an_error_leaves_its_batch_alone,
                                  small_batches_change_no_choice,
                                  errors_end_a_stream,
                                  every_failed_allocation_is_survived,
                                  NULL};
    return suite_run("api_completions", tests, 60);
}
