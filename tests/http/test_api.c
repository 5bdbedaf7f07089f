/* What the endpoints answer, on the tiny models. */
#include "tests/http/client.h"
#include "tests/http/daemon.h"
#include "tests/json_look.h"
#include "tests/suite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *text_of(json_t *all, const char *field)
{
    const char *text = json_string_value(at(all, field));
    ck_assert_msg(text != NULL, "'%s' is no string", field);
    return text;
}

static double number_of(json_t *all, const char *field)
{
    ck_assert_msg(json_is_number(at(all, field)), "'%s' is no number", field);
    return json_number_value(at(all, field));
}

START_TEST(next_word_gives_words_and_their_probabilities)
{
    struct daemon d;
    daemon_start(&d, NULL);
    json_t *all = ask_json(
        d.port, "POST", "/v1/next-word",
        "{\"model\":\"tiny-gpt2\",\"text\":\"the cat sat on the\",\"top_k\":4}", 200);
    ck_assert_str_eq(text_of(all, "object"), "next_word");
    ck_assert_str_eq(text_of(all, "model"), "tiny-gpt2");
    json_t *words = at(item(at(all, "results"), 0), "predictions");
    ck_assert_uint_eq(json_array_size(words), 4);
    for (size_t i = 0; i < 4; i++) {
        json_t *w = item(words, i);
        ck_assert_str_eq(text_of(w, "text") + 1, text_of(w, "word"));
        ck_assert_int_eq(text_of(w, "text")[0], ' ');
        ck_assert_double_eq_tol(exp(number_of(w, "logprob")), number_of(w, "score"),
                                1e-5);
        ck_assert_uint_gt(json_array_size(at(w, "tokens")), 0);
    }
    ck_assert_int_gt((int)number_of(at(all, "usage"), "tokens"), 5);
    json_decref(all);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

START_TEST(next_word_takes_several_texts_a_prefix_and_tokens)
{
    struct daemon d;
    daemon_start(&d, NULL);
    json_t *all = ask_json(d.port, "POST", "/v1/next-word",
                           "{\"model\":\"tiny-lstm\",\"texts\":[\"the\",\"a cat\",\"\"],"
                           "\"top_k\":2,\"prefix\":\"ca\"}",
                           200);
    ck_assert_uint_eq(json_array_size(at(all, "results")), 3);
    json_t *words = at(item(at(all, "results"), 1), "predictions");
    ck_assert_int_eq(strncmp(text_of(item(words, 0), "word"), "ca", 2), 0);
    json_decref(all);
    all = ask_json(
        d.port, "POST", "/v1/next-word",
        "{\"model\":\"tiny-gpt2\",\"text\":\"the\",\"unit\":\"token\",\"top_k\":100}",
        200);
    words = at(item(at(all, "results"), 0), "predictions");
    ck_assert_uint_eq(json_array_size(words), 100);
    json_decref(all);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

START_TEST(sentiment_gives_a_score_per_label)
{
    struct daemon d;
    daemon_start(&d, NULL);
    static const char *const models[] = {"tiny-bert", "tiny-bilstm"};
    for (size_t m = 0; m < 2; m++) {
        char body[200];
        snprintf(body, sizeof body,
                 "{\"model\":\"%s\",\"texts\":[\"I loved it\",\"terrible\"]}", models[m]);
        json_t *all = ask_json(d.port, "POST", "/v1/sentiment", body, 200);
        ck_assert_str_eq(text_of(all, "object"), "sentiment");
        ck_assert_str_eq(text_of(all, "model"), models[m]);
        for (size_t i = 0; i < 2; i++) {
            json_t *r = item(at(all, "results"), i), *scores = at(r, "scores");
            double negative = number_of(scores, "negative");
            double positive = number_of(scores, "positive");
            ck_assert_double_eq_tol(negative + positive, 1, 1e-5);
            ck_assert_str_eq(text_of(r, "label"),
                             positive > negative ? "positive" : "negative");
            ck_assert_double_eq_tol(number_of(r, "score"), fmax(positive, negative),
                                    1e-9);
        }
        json_decref(all);
    }
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

/* Rows of a [layers,heads,queries,keys] map sum to 1; causal maps are 0 past the query.
 */
static void check_maps(json_t *attention, size_t layers, size_t heads, size_t tokens,
                       bool causal)
{
    json_t *data = at(attention, "data");
    ck_assert_uint_eq(json_array_size(data), layers);
    for (size_t l = 0; l < layers; l++)
        for (size_t h = 0; h < heads; h++)
            for (size_t q = 0; q < tokens; q++) {
                json_t *row = item(item(item(data, l), h), q);
                double sum = 0;
                ck_assert_uint_eq(json_array_size(row), tokens);
                for (size_t k = 0; k < tokens; k++) {
                    double p = json_number_value(item(row, k));
                    ck_assert(!(causal && k > q) || p == 0);
                    sum += p;
                }
                ck_assert_double_eq_tol(sum, 1, 1e-5);
            }
}

START_TEST(attention_rows_sum_to_one_and_offsets_cut_the_words_out)
{
    struct daemon d;
    daemon_start(&d, NULL);
    const char *text = "a caf\xc3\xa9, not great";
    json_t *all =
        ask_json(d.port, "POST", "/v1/attention",
                 "{\"model\":\"tiny-bert\",\"text\":\"a caf\xc3\xa9, not great\"}", 200);
    json_t *tokens = at(all, "tokens");
    size_t n = json_array_size(tokens), covered = 0;
    ck_assert_str_eq(text_of(all, "mask"), "full");
    check_maps(at(all, "attention"), 2, 4, n, false);
    for (size_t i = 0; i < n; i++) {
        json_t *t = item(tokens, i);
        size_t start = (size_t)number_of(t, "start"), end = (size_t)number_of(t, "end");
        if (json_is_true(at(t, "special")))
            continue;
        ck_assert_uint_eq(strlen(text_of(t, "text")), end - start);
        ck_assert_mem_eq(text_of(t, "text"), text + start, end - start);
        covered += end - start;
    }
    ck_assert_uint_eq(covered, strlen(text) - 3); /* all but the blanks */
    json_decref(all);

    all = ask_json(d.port, "POST", "/v1/attention",
                   "{\"model\":\"tiny-bert\",\"text\":\"a caf\xc3\xa9, not great\","
                   "\"layers\":[-1],\"heads\":[3,0],\"queries\":\"last\","
                   "\"offset_unit\":\"codepoint\"}",
                   200);
    json_t *shape = at(at(all, "attention"), "shape");
    ck_assert_int_eq((int)json_integer_value(item(shape, 0)), 1);
    ck_assert_int_eq((int)json_integer_value(item(shape, 1)), 2);
    ck_assert_int_eq((int)json_integer_value(item(shape, 2)), 1);
    json_t *last = item(at(all, "tokens"), n - 2);
    ck_assert_int_eq((int)number_of(last, "end"), (int)strlen(text) - 1);
    json_decref(all);

    all = ask_json(d.port, "POST", "/v1/attention",
                   "{\"model\":\"tiny-gpt2\",\"text\":\"the cat sat on the mat\"}", 200);
    ck_assert_str_eq(text_of(all, "mask"), "causal");
    check_maps(at(all, "attention"), 2, 4, json_array_size(at(all, "tokens")), true);
    json_decref(all);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

START_TEST(selected_heads_are_slices_of_the_whole)
{
    struct daemon d;
    daemon_start(&d, NULL);
    json_t *whole = ask_json(d.port, "POST", "/v1/attention",
                             "{\"model\":\"tiny-bert\",\"text\":\"not great\"}", 200);
    json_t *part = ask_json(d.port, "POST", "/v1/attention",
                            "{\"model\":\"tiny-bert\",\"text\":\"not "
                            "great\",\"layers\":[1],\"heads\":[2,-4]}",
                            200);
    json_t *all_maps = item(at(at(whole, "attention"), "data"), 1);
    json_t *two = item(at(at(part, "attention"), "data"), 0);
    ck_assert(json_equal(item(two, 0), item(all_maps, 2)));
    ck_assert(json_equal(item(two, 1), item(all_maps, 0)));
    ck_assert(!json_equal(item(two, 0), item(two, 1)));
    json_decref(whole);
    json_decref(part);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

START_TEST(a_pooled_lstm_has_a_map_too)
{
    struct daemon d;
    daemon_start(&d, NULL);
    json_t *all =
        ask_json(d.port, "POST", "/v1/attention",
                 "{\"model\":\"tiny-bilstm\",\"text\":\"not great, not terrible\"}", 200);
    ck_assert_str_eq(text_of(all, "mask"), "pooling");
    json_t *data = at(at(all, "attention"), "data");
    ck_assert_uint_eq(json_array_size(data), 2);
    for (size_t hop = 0; hop < 2; hop++) {
        double sum = 0;
        for (size_t k = 0; k < json_array_size(item(data, hop)); k++)
            sum += json_number_value(item(item(data, hop), k));
        ck_assert_double_eq_tol(sum, 1, 1e-5);
        ck_assert_uint_eq(json_array_size(item(data, hop)),
                          json_array_size(at(all, "tokens")));
    }
    json_decref(all);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

START_TEST(too_many_values_are_refused_before_computing)
{
    struct daemon d;
    const char *const args[] = {"--attention-max-values=100", NULL};
    daemon_start(&d, args);
    json_t *all =
        ask_json(d.port, "POST", "/v1/attention",
                 "{\"model\":\"tiny-bert\",\"text\":\"not great, not terrible\"}", 413);
    json_t *error = at(all, "error");
    ck_assert_int_eq((int)number_of(error, "needed_values"), 2 * 4 * 7 * 7);
    ck_assert_int_eq((int)number_of(error, "limit"), 100);
    json_decref(all);
    json_decref(ask_json(d.port, "POST", "/v1/attention",
                         "{\"model\":\"tiny-bert\",\"text\":\"not great, not terrible\","
                         "\"queries\":\"last\"}",
                         200));
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

START_TEST(inspection_can_be_switched_off)
{
    struct daemon d;
    const char *const args[] = {"--inspect=off", NULL};
    static const char body[] = "{\"model\":\"tiny-bert\",\"text\":\"great\"}";
    daemon_start(&d, args);
    json_decref(ask_json(d.port, "POST", "/v1/attention", body, 404));
    json_decref(ask_json(d.port, "POST", "/v1/sentiment", body, 200));
    json_t *told = ask_json(d.port, "GET", "/openapi.json", NULL, 200);
    ck_assert_ptr_null(json_object_get(at(told, "paths"), "/v1/attention"));
    json_decref(told);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

START_TEST(models_are_listed)
{
    struct daemon d;
    daemon_start(&d, NULL);
    json_t *all = ask_json(d.port, "GET", "/v1/models", NULL, 200);
    json_t *data = at(all, "data");
    ck_assert_uint_eq(json_array_size(data), 4);
    ck_assert_str_eq(text_of(item(data, 0), "id"), "tiny-gpt2");
    ck_assert_str_eq(text_of(item(data, 0), "architecture"), "GPT2LMHeadModel");
    ck_assert_int_gt((int)number_of(item(data, 0), "parameters"), 30000);
    json_decref(all);
    all = ask_json(d.port, "GET", "/v1/models/tiny-bilstm", NULL, 200);
    ck_assert_str_eq(text_of(all, "id"), "tiny-bilstm");
    ck_assert_uint_eq(json_array_size(at(all, "labels")), 2);
    json_decref(all);
    json_decref(ask_json(d.port, "GET", "/v1/models/nothing", NULL, 404));
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

/* A list of --precision: for all models, and for some by name. */
START_TEST(weights_are_held_as_asked_for)
{
    static const char *const want[][2] = {
        {"tiny-bert", "int8"}, {"tiny-gpt2", "bf16"}, {"tiny-lstm", "f32"}};
    const char *const args[] = {"--precision", "tiny-lstm=f32,int8,tiny-gpt2=bf16", NULL};
    const char *const unknown[] = {"--precision", "int4", "--port", "0", NULL};
    const char *const nobody[] = {"--precision", "gpt=int8", "--port", "0", NULL};
    char text[4096];
    struct daemon d;
    daemon_start(&d, args);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        char path[64];
        snprintf(path, sizeof path, "/v1/models/%s", want[i][0]);
        json_t *all = ask_json(d.port, "GET", path, "", 200);
        ck_assert_str_eq(text_of(all, "precision"), want[i][1]);
        json_decref(all);
    }
    json_decref(ask_json(d.port, "POST", "/v1/sentiment", "{\"text\":\"great\"}", 200));
    ck_assert_int_eq(daemon_stop(&d), 0);
    ck_assert_int_eq(daemon_run(unknown, text, sizeof text), 1);
    ck_assert_ptr_nonnull(strstr(text, "no precision 'int4'"));
    ck_assert_int_eq(daemon_run(nobody, text, sizeof text), 1);
    ck_assert_ptr_nonnull(strstr(text, "no model is named gpt"));
}
END_TEST

START_TEST(masked_and_bare_models_and_pairs_are_served)
{
    static const char *const more[] = {"tests/fixtures/models/tiny-bert-mlm",
                                       "tests/fixtures/models/tiny-bert-bare",
                                       "tests/fixtures/models/tiny-bert-one", NULL};
    struct daemon d;
    daemon_start(&d, more);
    json_t *all = ask_json(d.port, "POST", "/v1/next-word",
                           "{\"model\":\"tiny-bert-mlm\",\"texts\":[\"the [MASK] sat\","
                           "\"a great [MASK]\"],\"top_k\":3}",
                           200);
    ck_assert_uint_eq(json_array_size(at(all, "results")), 2);
    json_t *words = at(item(at(all, "results"), 1), "predictions");
    ck_assert_uint_eq(json_array_size(words), 3);
    ck_assert_str_eq(text_of(item(words, 0), "text"), text_of(item(words, 0), "word"));
    json_decref(all);
    all = ask_json(d.port, "POST", "/v1/next-word",
                   "{\"model\":\"tiny-bert-mlm\",\"text\":\"the cat\"}", 422);
    ck_assert_ptr_nonnull(strstr(text_of(at(all, "error"), "message"), "[MASK]"));
    json_decref(all);
    all = ask_json(d.port, "POST", "/v1/sentiment",
                   "{\"model\":\"tiny-bert-one\",\"text\":\"a cat\",\"text_pair\":"
                   "\"a dog\"}",
                   200);
    double score = number_of(item(at(all, "results"), 0), "score");
    ck_assert(score > 0 && score < 1);
    json_decref(all);
    all = ask_json(d.port, "POST", "/v1/attention",
                   "{\"model\":\"tiny-bert-bare\",\"text\":\"a cat\",\"text_pair\":"
                   "\"a dog\"}",
                   200);
    json_t *tokens = at(all, "tokens");
    ck_assert_int_eq((int)number_of(item(tokens, json_array_size(tokens) - 2), "part"),
                     1);
    json_decref(all);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

START_TEST(probes_page_and_metrics_answer)
{
    static const char *const paths[] = {"/livez",   "/readyz",       "/health",
                                        "/metrics", "/openapi.json", "/"};
    struct daemon d;
    daemon_start(&d, NULL);
    json_decref(ask_json(d.port, "POST", "/v1/sentiment",
                         "{\"model\":\"tiny-bert\",\"text\":\"great\"}", 200));
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct reply r, head;
        ask(d.port, "GET", paths[i], NULL, &r);
        ck_assert_msg(r.status == 200, "%s: %d", paths[i], r.status);
        ask(d.port, "HEAD", paths[i], NULL, &head);
        ck_assert_int_eq(head.status, 200);
        ck_assert_uint_eq(head.body_n, 0);
        if (strcmp(paths[i], "/metrics") == 0)
            ck_assert_ptr_nonnull(strstr(r.body, "seqd_requests_total"));
        if (strcmp(paths[i], "/") == 0) {
            ck_assert_ptr_nonnull(strstr(r.body, "<html"));
            char policy[1024];
            snprintf(policy, sizeof policy, "%s",
                     reply_header(&r, "Content-Security-Policy"));
            ck_assert_ptr_nonnull(strstr(policy, "default-src 'none'"));
        }
        reply_done(&r);
        reply_done(&head);
    }
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

START_TEST(replies_carry_an_id_and_timings)
{
    struct daemon d;
    daemon_start(&d, NULL);
    struct client c;
    struct reply r;
    client_open(&c, d.port);
    const char *body = "{\"model\":\"tiny-bert\",\"text\":\"great\"}";
    client_sendf(&c,
                 "POST /v1/sentiment HTTP/1.1\r\nHost: x\r\nX-Request-Id: abc-123\r\n"
                 "Content-Length: %zu\r\n\r\n%s",
                 strlen(body), body);
    client_read(&c, &r, false, 10000);
    ck_assert_int_eq(r.status, 200);
    ck_assert_str_eq(reply_header(&r, "X-Request-Id"), "abc-123");
    const char *timing = reply_header(&r, "Server-Timing");
    ck_assert_ptr_nonnull(strstr(timing, "queue;dur="));
    ck_assert_ptr_nonnull(strstr(timing, "tokenize;dur="));
    ck_assert_ptr_nonnull(strstr(timing, "compute;dur="));
    reply_done(&r);
    client_close(&c);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

START_TEST(the_log_names_the_request_but_never_the_text)
{
    struct daemon d;
    daemon_start(&d, NULL);
    json_decref(ask_json(d.port, "POST", "/v1/sentiment",
                         "{\"model\":\"tiny-bert\",\"text\":\"secretword\"}", 200));
    usleep(200000);
    char log[8192];
    daemon_log(&d, log, sizeof log);
    ck_assert_ptr_nonnull(strstr(log, "/v1/sentiment"));
    ck_assert_ptr_null(strstr(log, "secretword"));
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

/* Whether that is what an empty object, or nothing, is answered there. */
static bool is_expected(const char *path, bool post, int status)
{
    if (strstr(path, "{session}")) /* there is none of that name */
        return status == 404 || (post && status == 400);
    bool whole = !post || strcmp(path, "/v1/sessions") == 0; /* nothing has to be said */
    /* Hugging Face's servers call what is missing 422. */
    return whole ? status == 200 : status == 400 || status == 422;
}

/* Every route is in the document, and the document names nothing that is not there. */
START_TEST(openapi_paths_answer)
{
    struct daemon d;
    daemon_start(&d, NULL);
    json_t *doc = ask_json(d.port, "GET", "/openapi.json", NULL, 200), *path;
    const char *name;
    ck_assert_int_eq(strncmp(text_of(doc, "openapi"), "3.1", 3), 0);
    ck_assert_uint_ge(json_object_size(at(doc, "paths")), 8);
    json_object_foreach(at(doc, "paths"), name, path)
    {
        bool post = json_object_get(path, "post") != NULL;
        char concrete[200];
        client_path(name, concrete, sizeof concrete);
        struct reply r;
        ask(d.port, post ? "POST" : "GET", concrete, post ? "{}" : NULL, &r);
        ck_assert_msg(is_expected(name, post, r.status), "%s: %d", concrete, r.status);
        reply_done(&r);
    }
    json_decref(doc);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

/* The frame of binary tensors is exact, and so is what a client may ask by Accept. */
START_TEST(binary_maps_begin_where_the_header_says)
{
    struct daemon d;
    struct client c;
    struct reply r;
    static const char body[] = "{\"model\":\"tiny-bert\",\"text\":\"the cat sat\"}";
    daemon_start(&d, NULL);
    client_open(&c, d.port);
    client_sendf(&c,
                 "POST /v1/attention HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n"
                 "Content-Type: application/json\r\nAccept: application/octet-stream\r\n"
                 "\r\n%s",
                 strlen(body), body);
    client_read(&c, &r, false, 5000);
    ck_assert_int_eq(r.status, 200);
    ck_assert_str_eq(reply_header(&r, "Content-Type"), "application/octet-stream");
    size_t head =
        (size_t)strtoul(reply_header(&r, "Inference-Header-Content-Length"), NULL, 10);
    ck_assert_uint_eq(head % 8, 0);
    ck_assert_uint_eq((size_t)strtoul(reply_header(&r, "Content-Length"), NULL, 10),
                      r.body_n);
    json_t *all = json_loadb(r.body, head, 0, NULL);
    ck_assert_ptr_nonnull(all);
    size_t bytes = (size_t)number_of(at(item(at(all, "outputs"), 0), "parameters"),
                                     "binary_data_size");
    ck_assert_uint_eq(head + bytes, r.body_n);
    ck_assert_uint_eq(bytes, sizeof(float) * 2 * 4 * 5 * 5);
    json_decref(all);
    reply_done(&r);
    client_close(&c);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {next_word_gives_words_and_their_probabilities,
                                  next_word_takes_several_texts_a_prefix_and_tokens,
                                  sentiment_gives_a_score_per_label,
                                  attention_rows_sum_to_one_and_offsets_cut_the_words_out,
                                  binary_maps_begin_where_the_header_says,
                                  selected_heads_are_slices_of_the_whole,
                                  a_pooled_lstm_has_a_map_too,
                                  too_many_values_are_refused_before_computing,
                                  inspection_can_be_switched_off,
                                  models_are_listed,
                                  weights_are_held_as_asked_for,
                                  masked_and_bare_models_and_pairs_are_served,
                                  probes_page_and_metrics_answer,
                                  replies_carry_an_id_and_timings,
                                  the_log_names_the_request_but_never_the_text,
                                  openapi_paths_answer,
                                  NULL};
    return suite_run("api", tests, 120);
}
