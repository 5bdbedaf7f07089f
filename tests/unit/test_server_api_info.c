/* info.c: what clients of servers of one model are told. */
#include "tests/json_look.h"
#include "tests/suite.h"
#include "tests/unit/api_server.h"

static struct api_server api;

static json_t *info_of(const char *model)
{
    char dir[200];
    const char *const dirs[] = {dir, "tests/fixtures/models/tiny-lstm"};
    snprintf(dir, sizeof dir, "tests/fixtures/models/%s", model);
    api_start_with(&api, dirs, 2);
    json_t *reply = api_json(&api, "GET", "/info", NULL, 200);
    ck_assert_str_eq(json_string_value(at(reply, "model_id")), model);
    ck_assert_str_eq(json_string_value(at(reply, "served_model_name")), model);
    ck_assert(json_is_null(at(reply, "model_sha")));
    return reply;
}

static void done(json_t *reply)
{
    json_decref(reply);
    api_stop(&api);
}

static void check_text(json_t *reply, const char *key, const char *want)
{
    ck_assert_str_eq(json_string_value(at(reply, key)), want);
}

static void check_number(json_t *reply, const char *key, int64_t want)
{
    ck_assert_msg(json_integer_value(at(reply, key)) == want, "%s", key);
}

START_TEST(a_classifier_tells_its_labels_both_ways)
{
    json_t *reply = info_of("tiny-bert"), *want;
    want =
        json_pack("{s:{s:{s:s,s:s},s:{s:i,s:i}}}", "classifier", "id2label", "0",
                  "negative", "1", "positive", "label2id", "negative", 0, "positive", 1);
    ck_assert(json_equal(at(reply, "model_type"), want));
    json_decref(want);
    check_text(reply, "model_pipeline_tag", "text-classification");
    check_text(reply, "model_dtype", "float32");
    check_number(reply, "max_input_length", 64);
    check_number(reply, "max_concurrent_requests", api.options.queue_limit);
    check_number(reply, "max_client_batch_size", api.options.max_texts);
    check_number(reply, "max_batch_tokens", api.options.batch_tokens);
    check_number(reply, "tokenization_workers", (int64_t)options_workers(&api.options));
    ck_assert(json_is_true(at(reply, "auto_truncate")));
    done(reply);
}
END_TEST

START_TEST(a_single_label_ranks)
{
    json_t *reply = info_of("tiny-bert-one");
    json_t *labels = at(at(at(reply, "model_type"), "reranker"), "id2label");
    ck_assert_uint_eq(json_object_size(labels), 1);
    done(reply);
}
END_TEST

START_TEST(others_tell_how_they_pool_and_what_they_do)
{
    static const struct {
        const char *model, *pooling, *pipeline;
        int context;
    } rows[] = {{"tiny-bert-sentences", "cls", "feature-extraction", 32},
                {"tiny-bert-mlm", "mean", "fill-mask", 32},
                {"tiny-gpt2", "mean", "text-generation", 64}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *reply = info_of(rows[i].model);
        check_text(at(at(reply, "model_type"), "embedding"), "pooling", rows[i].pooling);
        check_text(reply, "model_pipeline_tag", rows[i].pipeline);
        check_number(reply, "max_total_tokens", rows[i].context);
        done(reply);
    }
}
END_TEST

/* Without a context of its own a text may be as long as a request. */
START_TEST(a_recurrent_net_reads_what_a_request_may_have)
{
    static const char *const dirs[] = {"tests/fixtures/models/tiny-bilstm"};
    api_start_with(&api, dirs, 1);
    json_t *reply = api_json(&api, "GET", "/info", NULL, 200);
    check_number(reply, "max_input_tokens", api.options.max_tokens);
    done(reply);
}
END_TEST

START_TEST(the_version_is_that_of_health)
{
    api_start(&api);
    json_t *reply = api_json(&api, "GET", "/version", NULL, 200);
    ck_assert_uint_eq(json_object_size(reply), 1);
    check_text(reply, "version", SEQD_VERSION);
    done(reply);
}
END_TEST

START_TEST(exhausted_memory_is_reported)
{
    static const char *const paths[] = {"/info", "/version"};
    static const unsigned statuses[] = {429, 503}; /* each in its own dialect */
    api_start(&api);
    for (size_t i = 0; i < 2; i++) {
        struct reply r;
        mem_fail_after(0);
        ck_assert_uint_eq(api_ask(&api, "GET", paths[i], NULL, &r), statuses[i]);
        mem_fail_after(-1);
        reply_done(&r);
    }
    api_stop(&api);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_classifier_tells_its_labels_both_ways,
                                  a_single_label_ranks,
                                  others_tell_how_they_pool_and_what_they_do,
                                  a_recurrent_net_reads_what_a_request_may_have,
                                  the_version_is_that_of_health,
                                  exhausted_memory_is_reported,
                                  NULL};
    return suite_run("server_api_info", tests, 60);
}
