/* What the handlers make of masked models, bare ones, and classifiers whose scores are no
 * shares of 1; on the tiny models, without HTTP. */
#include "tests/json_look.h"
#include "tests/suite.h"
#include "tests/unit/api_server.h"

#include <math.h>

static struct api_server api;

#define FOLDER "tests/fixtures/models/"
/* The masked ones first, so that no default is theirs by order alone. */
static const char *const dirs[] = {
    FOLDER "tiny-bert-mlm",        FOLDER "tiny-roberta-mlm",
    FOLDER "tiny-bert-bare",       FOLDER "tiny-llama",
    FOLDER "tiny-gpt2-labels",     FOLDER "tiny-roberta-regression",
    FOLDER "tiny-distilbert-multi"};
enum { MODELS = sizeof dirs / sizeof *dirs };

static void begin(void)
{
    api_start_with(&api, dirs, MODELS);
}

static const char *text(json_t *object, const char *key)
{
    return json_string_value(at(object, key));
}

static json_t *result(json_t *reply, size_t i)
{
    json_t *value = json_array_get(at(reply, "results"), i);
    ck_assert_ptr_nonnull(value);
    return value;
}

static void check_error(const char *path, const char *body, unsigned status,
                        const char *param, const char *says)
{
    json_t *reply = api_json(&api, "POST", path, body, status), *error;
    error = at(reply, "error");
    ck_assert_str_eq(text(error, "param"), param);
    ck_assert_msg(strstr(text(error, "message"), says) != NULL, "%s: %s", body,
                  text(error, "message"));
    json_decref(reply);
}

/* ---- what is told of them -------------------------------------------------------- */

START_TEST(the_list_tells_what_a_model_takes_and_gives)
{
    static const struct {
        const char *id, *mask_token, *scores;
        bool pairs;
        const char *tasks[5];
    } rows[MODELS] = {
        {"tiny-bert-mlm",
         "[MASK]",
         NULL,
         true,
         {"next-word", "embeddings", "attention", "states", "importance"}},
        {"tiny-roberta-mlm",
         "<mask>",
         NULL,
         true,
         {"next-word", "embeddings", "attention", "states", "importance"}},
        {"tiny-bert-bare", NULL, NULL, true, {"embeddings", "attention", "states"}},
        {"tiny-llama",
         NULL,
         NULL,
         true,
         {"next-word", "embeddings", "attention", "states", "importance"}},
        {"tiny-gpt2-labels",
         NULL,
         "softmax",
         false,
         {"sentiment", "embeddings", "attention", "states", "importance"}},
        {"tiny-roberta-regression",
         NULL,
         "raw",
         true,
         {"sentiment", "embeddings", "attention", "states", "importance"}},
        {"tiny-distilbert-multi",
         NULL,
         "sigmoid",
         true,
         {"sentiment", "embeddings", "attention", "states", "importance"}}};
    begin();
    json_t *all = api_json(&api, "GET", "/v1/models", NULL, 200);
    for (size_t i = 0; i < MODELS; i++) {
        json_t *m = json_array_get(at(all, "data"), i), *tasks = at(m, "tasks");
        const char *mask = text(m, "mask_token"), *scores = text(m, "scores");
        ck_assert_str_eq(text(m, "id"), rows[i].id);
        ck_assert(mask ? rows[i].mask_token && strcmp(mask, rows[i].mask_token) == 0
                       : rows[i].mask_token == NULL);
        ck_assert(scores ? rows[i].scores && strcmp(scores, rows[i].scores) == 0
                         : rows[i].scores == NULL);
        ck_assert_int_eq(json_is_true(at(m, "pairs")), rows[i].pairs);
        size_t n = json_array_size(tasks);
        for (size_t k = 0; k < n; k++)
            ck_assert_str_eq(json_string_value(json_array_get(tasks, k)),
                             rows[i].tasks[k]);
        ck_assert(n == 5 || rows[i].tasks[n] == NULL);
    }
    json_decref(all);
    api_stop(&api);
}
END_TEST

START_TEST(a_masked_model_is_the_last_choice_for_next_words)
{
    begin();
    json_t *reply = api_json(&api, "POST", "/v1/next-word", "{\"text\":\"the\"}", 200);
    ck_assert_str_eq(text(reply, "model"), "tiny-llama");
    json_decref(reply);
    api_stop(&api);
    api_start_with(&api, dirs, 3);
    reply = api_json(&api, "POST", "/v1/next-word", "{\"text\":\"the [MASK].\"}", 200);
    ck_assert_str_eq(text(reply, "model"), "tiny-bert-mlm");
    json_decref(reply);
    api_stop(&api);
}
END_TEST

/* ---- in place of a mask token ---------------------------------------------------- */

/* What is answered goes into the text where the mask token stood. */
static void check_mask(const char *model, const char *mask)
{
    char body[200];
    for (size_t unit = 0; unit < 2; unit++) {
        snprintf(body, sizeof body,
                 "{\"model\":\"%s\",\"text\":\"the cat sat on the %s.\",\"top_k\":20%s}",
                 model, mask, unit ? ",\"unit\":\"token\"" : "");
        json_t *reply = api_json(&api, "POST", "/v1/next-word", body, 200), *one;
        json_t *list = at(result(reply, 0), "predictions");
        size_t i;
        ck_assert_uint_eq(json_array_size(list), 20);
        json_array_foreach(list, i, one)
        {
            const char *shown = text(one, "text");
            ck_assert(!shown || shown[0] != ' ');
            ck_assert_double_eq_tol(exp(json_number_value(at(one, "logprob"))),
                                    json_number_value(at(one, "score")), 1e-5);
            if (unit == 0) {
                ck_assert_str_eq(shown, text(one, "word"));
                ck_assert_uint_eq(json_array_size(at(one, "tokens")), 1);
            }
        }
        json_decref(reply);
    }
}

START_TEST(next_word_tells_what_the_mask_stands_for)
{
    begin();
    check_mask("tiny-bert-mlm", "[MASK]");
    check_mask("tiny-roberta-mlm", "<mask>");
    json_t *reply = api_json(&api, "POST", "/v1/next-word",
                             "{\"model\":\"tiny-bert-mlm\",\"text\":\"the [MASK]\","
                             "\"prefix\":\"c\",\"top_k\":2}",
                             200);
    json_t *list = at(result(reply, 0), "predictions");
    ck_assert_uint_eq(json_array_size(list), 2);
    ck_assert_int_eq(text(json_array_get(list, 0), "word")[0], 'c');
    json_decref(reply);
    api_stop(&api);
}
END_TEST

START_TEST(a_missing_mask_is_named)
{
    begin();
    check_error("/v1/next-word", "{\"model\":\"tiny-bert-mlm\",\"text\":\"the cat\"}",
                422, "text", "[MASK]");
    check_error("/v1/next-word",
                "{\"model\":\"tiny-roberta-mlm\",\"text\":\"the [MASK]\"}", 422, "text",
                "<mask>");
    check_error("/v1/next-word",
                "{\"model\":\"tiny-bert-mlm\",\"texts\":[\"[MASK]\",\"[MASK] [MASK]\"]}",
                422, "texts[1]", "2 mask tokens");
    api_stop(&api);
}
END_TEST

/* Batches cut to one text each, and one batch of all: the same bytes. */
START_TEST(how_masked_texts_and_pairs_are_batched_changes_no_byte)
{
    static const char *const bodies[][2] = {
        {"/v1/next-word",
         "{\"model\":\"tiny-bert-mlm\",\"texts\":[\"the [MASK]\",\"[MASK] a cat sat\"]}"},
        {"/v1/sentiment",
         "{\"model\":\"tiny-roberta-regression\",\"texts\":[\"the cat\",\"a\"],"
         "\"text_pairs\":[\"not great\",\"a dog\"]}"}};
    begin();
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

START_TEST(failed_allocations_are_survived)
{
    json_set_alloc_funcs(malloc, free); /* jansson's own are not under test */
    begin();
    api_check_faults(&api, "/v1/next-word",
                     "{\"model\":\"tiny-roberta-mlm\",\"text\":\"the <mask>\"}");
    api_check_faults(&api, "/v1/attention",
                     "{\"model\":\"tiny-bert-bare\",\"text\":\"a\",\"text_pair\":\"b\"}");
    api_stop(&api);
}
END_TEST

/* ---- bare models, and scores of every kind --------------------------------------- */

/* The bytes of unknown characters all stand for the same long run. It is written once. */
START_TEST(a_long_run_of_unknown_characters_is_written_once)
{
    static const char *const one[] = {
        "tests/fixtures/folders/valid/micro-bytes-for-the-unknown"};
    enum { N = 5000 };
    char run[N + 1] = {0}, body[N + 64];
    memset(run, 'A', N);
    snprintf(body, sizeof body, "{\"text\":\"%s\"}", run);
    api_start_with(&api, one, 1);
    json_t *reply = api_json(&api, "POST", "/v1/attention", body, 200);
    json_t *tokens = at(reply, "tokens"), *token;
    size_t i;
    ck_assert_uint_eq(json_array_size(tokens), 16);
    json_array_foreach(tokens, i, token)
    {
        ck_assert_str_eq(text(token, "text"), i ? "A" : run);
        ck_assert_int_eq((int)json_integer_value(at(token, "end")), N);
    }
    json_decref(reply);
    api_stop(&api);
}
END_TEST

START_TEST(bare_models_serve_attention_only)
{
    begin();
    check_error("/v1/sentiment", "{\"model\":\"tiny-bert-bare\",\"text\":\"a\"}", 422,
                "model", "tiny-bert-bare");
    check_error("/v1/next-word", "{\"model\":\"tiny-bert-bare\",\"text\":\"a\"}", 422,
                "model", "tiny-bert-bare");
    static const char *const models[] = {"tiny-bert-bare", "tiny-bert-mlm", "tiny-llama"};
    for (size_t i = 0; i < 3; i++) {
        char body[200];
        snprintf(body, sizeof body,
                 "{\"model\":\"%s\",\"text\":\"the cat\",\"text_pair\":\"a dog\"}",
                 models[i]);
        json_t *reply = api_json(&api, "POST", "/v1/attention", body, 200);
        /* The decoder is a language model; the others say nothing of a whole text. */
        json_t *says = json_object_get(reply, "prediction");
        ck_assert_uint_eq(json_array_size(json_object_get(says, "next")), i == 2 ? 5 : 0);
        ck_assert_int_eq(says != NULL, i == 2);
        ck_assert_str_eq(text(reply, "mask"), i == 2 ? "causal" : "full");
        json_decref(reply);
    }
    api_stop(&api);
}
END_TEST

START_TEST(a_regression_answers_its_number)
{
    json_t *rows = json_load_file(
        "tests/fixtures/models/tiny-roberta-regression/expect.json", 0, NULL);
    ck_assert_ptr_nonnull(rows);
    begin();
    bool outside = false; /* of 0 to 1 */
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        json_t *body = json_pack("{ssss}", "model", "tiny-roberta-regression", "text",
                                 text(row, "text"));
        if (json_is_string(at(row, "pair")))
            json_object_set(body, "text_pair", at(row, "pair"));
        char *sent = json_dumps(body, 0);
        json_t *reply = api_json(&api, "POST", "/v1/sentiment", sent, 200);
        double want = json_number_value(json_array_get(at(row, "values"), 0));
        double got = json_number_value(at(result(reply, 0), "score"));
        ck_assert_str_eq(text(result(reply, 0), "label"), "LABEL_0");
        ck_assert_double_eq_tol(got, want, 2e-5);
        outside |= got < 0 || got > 1;
        json_decref(reply);
        free(sent);
        json_decref(body);
    }
    ck_assert(outside);
    json_decref(rows);
    api_stop(&api);
}
END_TEST

START_TEST(scores_of_several_labels_are_each_of_its_own)
{
    begin();
    json_t *reply =
        api_json(&api, "POST", "/v1/sentiment",
                 "{\"model\":\"tiny-distilbert-multi\",\"text\":\"a cat\"}", 200);
    json_t *scores = at(result(reply, 0), "scores"), *score;
    double sum = 0, best = 0;
    const char *key;
    json_object_foreach(scores, key, score)
    {
        sum += json_number_value(score);
        best = fmax(best, json_number_value(score));
    }
    ck_assert_uint_eq(json_object_size(scores), 3);
    ck_assert_double_gt(fabs(sum - 1), 1e-3);
    ck_assert_double_eq(best, json_number_value(at(result(reply, 0), "score")));
    json_decref(reply);
    api_stop(&api);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {the_list_tells_what_a_model_takes_and_gives,
                                  a_masked_model_is_the_last_choice_for_next_words,
                                  next_word_tells_what_the_mask_stands_for,
                                  a_missing_mask_is_named,
                                  how_masked_texts_and_pairs_are_batched_changes_no_byte,
                                  failed_allocations_are_survived,
                                  a_long_run_of_unknown_characters_is_written_once,
                                  bare_models_serve_attention_only,
                                  a_regression_answers_its_number,
                                  scores_of_several_labels_are_each_of_its_own,
                                  NULL};
    return suite_run("api_kinds", tests, 60);
}
