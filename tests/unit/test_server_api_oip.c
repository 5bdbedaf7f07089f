/* oip*.c: the Open Inference Protocol: metadata, tensors as JSON and as bytes, what is
 * refused, and bodies of all kinds that must do no harm. */
#include "server/api/oip.h"
#include "tests/json_look.h"
#include "tests/suite.h"
#include "tests/unit/api_server.h"

#include <stdio.h>
#include <string.h>

#define INFER "/v2/models/tiny-bert/infer"
#define GPT2  "/v2/models/tiny-gpt2/infer"

static struct api_server api;

/* ---- binary requests ------------------------------------------------------------- */

static const char *header_value;

static const char *header(const struct request *q, const char *name)
{
    (void)q;
    return strcmp(name, "Inference-Header-Content-Length") == 0 ? header_value : NULL;
}

/* The body in a block of its own size, so that reading beyond it is noticed. */
static unsigned ask(const char *path, const char *length, const void *body, size_t n,
                    struct reply *r)
{
    struct router_match match;
    struct answer answer = {0};
    struct err err = {0};
    router_find(api.s.routes, api.s.n_routes, "POST", path, &match);
    ck_assert_ptr_nonnull(match.route);
    header_value = length;
    char *copy = n ? mem_alloc(n, 1) : NULL;
    if (n)
        memcpy(copy, body, n);
    struct request q = {
        .route = match.route, .path = path, .body = copy, .body_n = n, .header = header};
    memcpy(q.args, match.args, sizeof q.args);
    answer.dialect = match.dialect;
    *r = (struct reply){0};
    enum err_code code = match.route->handle(&api.s, &q, &answer, &err);
    mem_free(copy);
    if (code != ERR_OK) {
        reply_err(r, answer.dialect, &err);
    } else {
        api_run(&api, answer.job);
        api_finish(answer.job, answer.dialect, r);
    }
    return r->status ? r->status : 200;
}

/* JSON, then bytes, with the header that says so. */
static unsigned ask_binary(const char *json, const void *bytes, size_t n, struct reply *r)
{
    char body[2000], length[20];
    size_t head = strlen(json);
    ck_assert_uint_le(head + n, sizeof body);
    snprintf(body, sizeof body, "%s", json);
    if (n)
        memcpy(body + head, bytes, n);
    snprintf(length, sizeof length, "%zu", head);
    return ask(INFER, length, body, head + n, r);
}

static json_t *output(json_t *reply, size_t i)
{
    return json_array_get(at(reply, "outputs"), i);
}

static double number(json_t *tensor, size_t i)
{
    return json_number_value(json_array_get(at(tensor, "data"), i));
}

/* The request is refused with 400, and the message has this in it. */
static void refused(const char *path, const char *body, const char *wanted)
{
    json_t *reply = api_json(&api, "POST", path, body, 400);
    const char *message = json_string_value(at(reply, "error"));
    ck_assert_msg(message && strstr(message, wanted), "%s: %s", body, message);
    json_decref(reply);
}

/* ---- metadata -------------------------------------------------------------------- */

START_TEST(server_and_models_tell_what_they_are)
{
    api_start(&api);
    json_t *r = api_json(&api, "GET", "/v2", NULL, 200);
    ck_assert_str_eq(json_string_value(at(r, "name")), "seqd");
    json_decref(r);
    r = api_json(&api, "GET", "/v2/models", NULL, 200);
    ck_assert_uint_eq(json_array_size(at(r, "models")), 4);
    json_decref(r);
    r = api_json(&api, "GET", "/v2/models/tiny-bert/versions/1", NULL, 200);
    ck_assert_uint_eq(json_array_size(at(r, "outputs")), 8);
    ck_assert_str_eq(json_string_value(at(output(r, 2), "name")), "probabilities");
    ck_assert_int_eq(json_integer_value(json_array_get(at(output(r, 2), "shape"), 1)),
                     (json_int_t)models_find(api.models, "tiny-bert", 9)->info->n_labels);
    json_decref(r);
    json_decref(api_json(&api, "GET", "/v2/models/tiny-bert/versions/2", NULL, 404));
    r = api_json(&api, "GET", "/v2/models/nobody/ready", NULL, 404);
    ck_assert(json_is_string(at(r, "error")));
    json_decref(r);
    json_decref(api_json(&api, "GET", "/v2/health/live", NULL, 200));
    json_decref(api_json(&api, "GET", "/v2/health/ready", NULL, 200));
    json_decref(api_json(&api, "GET", "/v2/models/tiny-bert/ready", NULL, 200));
    atomic_store(&api.s.ready, false);
    json_decref(api_json(&api, "GET", "/v2/health/live", NULL, 200));
    json_decref(api_json(&api, "GET", "/v2/health/ready", NULL, 503));
    json_decref(api_json(&api, "GET", "/v2/models/tiny-bert/ready", NULL, 503));
    api_stop(&api);
}
END_TEST

/* ---- answers --------------------------------------------------------------------- */

START_TEST(labels_are_those_of_sentiment)
{
    api_start(&api);
    json_t *ours =
        api_json(&api, "POST", "/v1/sentiment",
                 "{\"texts\":[\"great\",\"not great\"],\"model\":\"tiny-bert\"}", 200);
    json_t *r =
        api_json(&api, "POST", INFER,
                 "{\"id\":\"7\",\"inputs\":[{\"name\":\"x\",\"shape\":[2,1],"
                 "\"datatype\":\"BYTES\",\"data\":[[\"great\"],[\"not great\"]]}],"
                 "\"parameters\":{\"priority\":1,\"anything\":[]}}",
                 200);
    ck_assert_str_eq(json_string_value(at(r, "id")), "7");
    ck_assert_uint_eq(json_array_size(at(r, "outputs")), 4);
    for (size_t i = 0; i < 2; i++) {
        json_t *one = json_array_get(at(ours, "results"), i);
        ck_assert_str_eq(json_string_value(json_array_get(at(output(r, 0), "data"), i)),
                         json_string_value(at(one, "label")));
        ck_assert_double_eq_tol(number(output(r, 1), i),
                                json_number_value(at(one, "score")), 1e-6);
    }
    json_decref(r);
    json_decref(ours);
    api_stop(&api);
}
END_TEST

START_TEST(second_texts_go_with_the_first)
{
    static const char *const dirs[] = {"tests/fixtures/models/tiny-roberta-regression"};
    api_start_with(&api, dirs, 1);
    json_t *ours =
        api_json(&api, "POST", "/v1/sentiment",
                 "{\"texts\":[\"a\",\"b\"],\"text_pairs\":[\"c\",\"d e\"]}", 200);
    json_t *r =
        api_json(&api, "POST", "/v2/models/tiny-roberta-regression/infer",
                 "{\"inputs\":[{\"name\":\"text_pair\",\"shape\":[2],\"datatype\":"
                 "\"BYTES\",\"data\":[\"c\",\"d e\"]},{\"name\":\"x\",\"shape\":"
                 "[1,2],\"datatype\":\"BYTES\",\"data\":[\"a\",\"b\"]}],\"outputs\":"
                 "[{\"name\":\"score\"}]}",
                 200);
    for (size_t i = 0; i < 2; i++)
        ck_assert_double_eq_tol(
            number(output(r, 0), i),
            json_number_value(at(json_array_get(at(ours, "results"), i), "score")), 1e-5);
    json_decref(r);
    json_decref(ours);
    api_stop(&api);
}
END_TEST

START_TEST(next_tokens_are_those_of_next_word)
{
    api_start(&api);
    json_t *ours = api_json(&api, "POST", "/v1/next-word",
                            "{\"text\":\"the cat\",\"unit\":\"token\",\"top_k\":3,"
                            "\"model\":\"tiny-gpt2\"}",
                            200);
    json_t *r = api_json(&api, "POST", GPT2,
                         "{\"inputs\":[{\"name\":\"x\",\"shape\":[1],\"datatype\":"
                         "\"BYTES\",\"data\":[\"the cat\"]}],\"outputs\":[{\"name\":"
                         "\"next_logprobs\"},{\"name\":\"next_token_id\"}],"
                         "\"parameters\":{\"top_k\":3}}",
                         200);
    ck_assert_uint_eq(json_array_size(at(output(r, 0), "data")), 3);
    for (size_t i = 0; i < 3; i++) {
        json_t *p =
            json_array_get(at(json_array_get(at(ours, "results"), 0), "predictions"), i);
        ck_assert_double_eq_tol(number(output(r, 0), i),
                                json_number_value(at(p, "logprob")), 1e-6);
        ck_assert_double_eq(number(output(r, 1), i), json_number_value(at(p, "id")));
    }
    json_decref(r);
    json_decref(ours);
    api_stop(&api);
}
END_TEST

START_TEST(classification_is_ordered)
{
    api_start(&api);
    json_t *r = api_json(&api, "POST", INFER,
                         "{\"inputs\":[{\"name\":\"x\",\"shape\":[1],\"datatype\":"
                         "\"BYTES\",\"data\":[\"great\"]}],\"outputs\":[{\"name\":"
                         "\"logits\",\"parameters\":{\"classification\":99}},"
                         "{\"name\":\"probabilities\"}]}",
                         200);
    size_t n = json_array_size(at(output(r, 0), "data"));
    ck_assert_uint_eq(n, json_array_size(at(output(r, 1), "data")));
    double last = 2;
    for (size_t i = 0; i < n; i++) {
        double value;
        unsigned index;
        const char *text = json_string_value(json_array_get(at(output(r, 0), "data"), i));
        ck_assert_int_eq(sscanf(text, "%lf:%u:", &value, &index), 2);
        ck_assert_uint_lt(index, n);
        ck_assert_double_le(number(output(r, 1), index), last);
        last = number(output(r, 1), index);
    }
    json_decref(r);
    api_stop(&api);
}
END_TEST

START_TEST(bytes_say_the_same_as_json)
{
    static const char bytes[] = "\x05\0\0\0great\x09\0\0\0not great";
    struct reply r;
    float binary[2];
    json_error_t e;
    api_start(&api);
    json_t *plain = api_json(&api, "POST", INFER,
                             "{\"inputs\":[{\"name\":\"x\",\"shape\":[2],\"datatype\":"
                             "\"BYTES\",\"data\":[\"great\",\"not great\"]}],"
                             "\"outputs\":[{\"name\":\"score\"}]}",
                             200);
    ck_assert_uint_eq(
        ask_binary("{\"inputs\":[{\"name\":\"x\",\"shape\":[2],\"datatype\":\"BYTES\","
                   "\"parameters\":{\"binary_data_size\":22}}],\"outputs\":[{\"name\":"
                   "\"score\"},{\"name\":\"label\",\"parameters\":{\"binary_data\":"
                   "false}}],\"parameters\":{\"binary_data_output\":true}}",
                   bytes, sizeof bytes - 1, &r),
        200);
    json_t *head = json_loadb(r.body.at, r.inference_header_n, 0, &e);
    ck_assert_ptr_nonnull(head);
    ck_assert_uint_eq(r.body.n - r.inference_header_n, sizeof binary);
    memcpy(binary, r.body.at + r.inference_header_n, sizeof binary);
    ck_assert_int_eq(
        json_integer_value(at(at(output(head, 0), "parameters"), "binary_data_size")),
        sizeof binary);
    ck_assert_uint_eq(json_array_size(at(output(head, 1), "data")), 2);
    for (size_t i = 0; i < 2; i++)
        ck_assert_double_eq_tol((double)binary[i], number(output(plain, 0), i), 1e-7);
    reply_done(&r);
    ck_assert_uint_eq(ask(INFER, "0", "great", 5, &r), 200);
    ck_assert_uint_gt(r.inference_header_n, 0);
    reply_done(&r);
    json_decref(head);
    json_decref(plain);
    api_stop(&api);
}
END_TEST

/* ---- what is refused ------------------------------------------------------------- */

#define ONE(shape, type, data)                                                           \
    "{\"inputs\":[{\"name\":\"x\",\"shape\":" shape ",\"datatype\":\"" type              \
    "\",\"data\":" data "}]}"

START_TEST(tensors_that_do_not_fit_are_refused)
{
    api_start(&api);
    refused(INFER, "{}", "inputs");
    refused(INFER, "{\"inputs\":[]}", "inputs");
    refused(INFER, "{\"inputs\":[1]}", "inputs[0]");
    refused(INFER, "{\"inputs\":[{\"name\":\"x\"}]}", "shape");
    refused(INFER, ONE("[2]", "BYTES", "[\"a\"]"), "shape [2] has 2 elements");
    refused(INFER, ONE("[-1]", "BYTES", "[\"a\"]"), "length -1");
    refused(INFER, ONE("[0]", "BYTES", "[]"), "length 0");
    refused(INFER, ONE("[]", "BYTES", "[\"a\"]"), "shape");
    refused(INFER, ONE("[4294967296,4294967296,4294967296]", "BYTES", "[\"a\"]"),
            "too large");
    refused(INFER, ONE("[1]", "FP32", "[\"a\"]"), "FP32");
    refused(INFER, ONE("[1]", "BYTES", "[1]"), "list of strings");
    refused(INFER, ONE("[2]", "BYTES", "[\"a\",[\"b\"]]"), "equally deep");
    refused(INFER, ONE("[1]", "BYTES", "[[[[[[[[[\"a\"]]]]]]]]]"), "deep");
    refused(INFER, ONE("[2,2]", "BYTES", "[[\"a\",\"b\"],[\"c\"]]"),
            "lists of 2 and of 1");
    refused(INFER, ONE("[1,4]", "BYTES", "[[\"a\",\"b\"],[\"c\",\"d\"]]"),
            "nested as [2,2]");
    refused(INFER,
            "{\"inputs\":[{\"name\":\"a\",\"shape\":[1],\"datatype\":\"BYTES\","
            "\"data\":[\"a\"]},{\"name\":\"b\",\"shape\":[1],\"datatype\":\"BYTES\","
            "\"data\":[\"a\"]}]}",
            "text_pair");
    refused(INFER,
            "{\"inputs\":[{\"name\":\"a\",\"shape\":[1],\"datatype\":\"BYTES\","
            "\"data\":[\"a\"]}],\"outputs\":[{\"name\":\"bogus\"}]}",
            "label, score, probabilities, logits");
    refused(INFER,
            "{\"inputs\":[{\"name\":\"a\",\"shape\":[1],\"datatype\":\"BYTES\","
            "\"data\":[\"a\"]}],\"outputs\":[{\"name\":\"label\"},{\"name\":\"label\"}]}",
            "twice");
    refused(INFER,
            "{\"inputs\":[{\"name\":\"a\",\"shape\":[1],\"datatype\":\"BYTES\","
            "\"data\":[\"a\"]}],\"outputs\":[{\"name\":\"label\",\"parameters\":"
            "{\"classification\":1}}]}",
            "classification");
    refused(INFER,
            "{\"inputs\":[{\"name\":\"a\",\"shape\":[1],\"datatype\":\"BYTES\","
            "\"data\":[\"a\"]}],\"parameters\":{\"sequence_id\":5,\"sequence_start\":"
            "true,\"sequence_end\":false}}",
            "sequences");
    json_decref(api_json(&api, "POST", "/v2/models/no/infer", "{}", 404));
    json_decref(
        api_json(&api, "POST", "/v2/models/tiny-bert/versions/01/infer", "{}", 404));
    api_stop(&api);
}
END_TEST

static void refused_binary(const char *json, const void *bytes, size_t n)
{
    struct reply r;
    ck_assert_uint_eq(ask_binary(json, bytes, n, &r), 400);
    reply_done(&r);
}

#define SIZED(n)                                                                         \
    "{\"inputs\":[{\"name\":\"x\",\"shape\":[1],\"datatype\":\"BYTES\",\"parameters\":"  \
    "{\"binary_data_size\":" #n "}}]}"

START_TEST(bytes_that_do_not_fit_are_refused)
{
    static const char *const lengths[] = {"3", "99999999999999999999", "-1", "x", ""};
    struct reply r;
    api_start(&api);
    refused_binary(SIZED(5), "\x01\0\0\0a\0", 6); /* one left over */
    refused_binary(SIZED(9), "\x01\0\0\0a", 5);   /* too few */
    refused_binary(SIZED(5), "\x02\0\0\0a", 5);   /* element cut off */
    refused_binary(SIZED(5),
                   "\xff\xff\xff\xff"
                   "a",
                   5);
    refused_binary(SIZED(3), "\x01\0\0", 3); /* length cut off */
    refused_binary(SIZED(0), "", 0);
    refused_binary(SIZED(-4), "", 0);
    refused_binary(SIZED(8), "\0\0\0\0\0\0\0\0", 8); /* two elements, shape [1] */
    refused_binary(SIZED(5), "\x01\0\0\0\xff", 5);   /* no UTF-8 */
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        ck_assert_uint_eq(ask(INFER, lengths[i], "{}", 2, &r), 400);
        reply_done(&r);
    }
    ck_assert_uint_eq(ask(INFER, "0", NULL, 0, &r), 400);
    reply_done(&r);
    api_stop(&api);
}
END_TEST

/* ---- hostile bodies -------------------------------------------------------------- */

/* Good requests with bytes changed, cut and repeated, from a fixed seed: whatever comes
 * of them is an answer or 400, and no byte is read that isn't there. */
START_TEST(changed_bodies_do_no_harm)
{
    static const char json[] =
        "{\"id\":\"1\",\"inputs\":[{\"name\":\"x\",\"shape\":[2,1],\"datatype\":"
        "\"BYTES\","
        "\"parameters\":{\"binary_data_size\":13}}],\"outputs\":[{\"name\":\"logits\","
        "\"parameters\":{\"classification\":2,\"binary_data\":true}}]}";
    static const char bytes[] = "\x03\0\0\0cat\x02\0\0\0an";
    enum { N = sizeof json - 1 + sizeof bytes - 1, ROUNDS = 4000 };
    uint64_t seed = 1;
    size_t good = 0;
    api_start(&api);
    for (size_t round = 0; round < ROUNDS; round++) {
        char body[N], length[24];
        struct reply r;
        memcpy(body, json, sizeof json - 1);
        memcpy(body + sizeof json - 1, bytes, sizeof bytes - 1);
        size_t changes = round % 4, n = N;
        for (size_t c = 0; c < changes; c++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            size_t where = (size_t)(seed >> 33) % n;
            body[where] =
                seed >> 20 & 1 ? (char)(seed >> 24) : "0129-[]{}\":,"[seed % 12];
            if ((seed >> 21) % 7 == 0)
                n = where + 1;
        }
        size_t head = sizeof json - 1;
        if (round % 16 == 9)
            head = (size_t)(seed >> 40) % (N + 3);
        snprintf(length, sizeof length, "%zu", head);
        unsigned status = ask(INFER, length, body, n, &r);
        ck_assert_msg(status == 200 || status == 400, "%u", status);
        good += status == 200;
        reply_done(&r);
    }
    ck_assert_uint_gt(good, ROUNDS / 8);
    ck_assert_uint_lt(good, ROUNDS / 2);
    api_stop(&api);
}
END_TEST

/* ---- outputs that look inside ----------------------------------------------------- */

static json_t *infer(const char *model, const char *body)
{
    char path[80];
    snprintf(path, sizeof path, "/v2/models/%s/infer", model);
    return api_json(&api, "POST", path, body, 200);
}

static json_t *output_named(json_t *reply, const char *name)
{
    size_t i;
    json_t *o;
    json_array_foreach(at(reply, "outputs"), i, o)
    {
        if (strcmp(json_string_value(at(o, "name")), name) == 0)
            return o;
    }
    ck_abort_msg("no output %s", name);
    return NULL;
}

/* The JSON in front of a reply's tensors; *behind gets these. */
static json_t *head_of(const struct reply *r, const char **behind)
{
    json_t *tree = json_loadb(r->body.at, r->inference_header_n, JSON_ALLOW_NUL, NULL);
    ck_assert_ptr_nonnull(tree);
    *behind = r->body.at + r->inference_header_n;
    return tree;
}

#define TEXTS(list, n)                                                                   \
    "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"BYTES\",\"shape\":[" #n                 \
    "],\"data\":" list "}]"

START_TEST(attentions_are_those_of_our_own_route)
{
    api_start(&api);
    enum { MOST = 100000 };
    static double want[MOST];
    json_t *ours = api_json(&api, "POST", "/v1/attention",
                            "{\"text\":\"a bad é film\",\"model\":\"tiny-bert\","
                            "\"decimals\":9}",
                            200);
    size_t n = flatten(at(at(ours, "attention"), "data"), want, 0, MOST);
    static const char body[] =
        TEXTS("[\"a bad é film\"]",
              1) ",\"outputs\":[{\"name\":\"attentions\",\"parameters\":{\"binary_data\":"
                 "true}},"
                 "{\"name\":\"tokens\"},{\"name\":\"offsets\"},{\"name\":\"label\"}]}";
    struct reply r;
    const char *behind;
    ck_assert_uint_eq(ask("/v2/models/tiny-bert/infer", NULL, body, sizeof body - 1, &r),
                      200);
    json_t *head = head_of(&r, &behind);
    size_t bytes = (size_t)json_integer_value(
        at(at(output_named(head, "attentions"), "parameters"), "binary_data_size"));
    ck_assert_uint_eq(bytes, n * sizeof(float));
    ck_assert_uint_eq(r.inference_header_n + bytes, r.body.n);
    for (size_t i = 0; i < n; i++) {
        float value;
        memcpy(&value, behind + i * sizeof value, sizeof value);
        ck_assert_double_eq_tol((double)value, want[i], 1e-8);
    }
    json_t *tokens = at(ours, "tokens"),
           *offsets = at(output_named(head, "offsets"), "data");
    for (size_t i = 0; i < json_array_size(tokens); i++) {
        json_t *t = item(tokens, i), *start = json_object_get(t, "start");
        if (!json_is_integer(start))
            continue;
        ck_assert_int_eq(json_equal(item(offsets, 2 * i), start), 1);
        ck_assert_int_eq(json_equal(item(offsets, 2 * i + 1), at(t, "end")), 1);
    }
    ck_assert_uint_eq(json_array_size(at(output_named(head, "tokens"), "data")),
                      json_array_size(tokens));
    ck_assert_int_eq(json_equal(item(at(output_named(head, "label"), "data"), 0),
                                at(at(ours, "prediction"), "label")),
                     1);
    reply_done(&r);
    json_decref(head);
    json_decref(ours);
    api_stop(&api);
}
END_TEST

START_TEST(sixteen_bits_are_half_as_many)
{
    api_start(&api);
    static const char body[] = TEXTS(
        "[\"a film\"]",
        1) ",\"outputs\":[{\"name\":\"attentions\",\"parameters\":{\"datatype\":\"FP16\","
           "\"binary_data\":true}}]}";
    struct reply r;
    ck_assert_uint_eq(ask("/v2/models/tiny-gpt2/infer", NULL, body, sizeof body - 1, &r),
                      200);
    const char *behind;
    json_t *head = head_of(&r, &behind), *o = output_named(head, "attentions");
    size_t n = 2;
    for (size_t i = 0; i < 4; i++)
        n *= (size_t)json_integer_value(item(at(o, "shape"), i));
    ck_assert_str_eq(json_string_value(at(o, "datatype")), "FP16");
    ck_assert_uint_eq(r.body.n - r.inference_header_n, n);
    reply_done(&r);
    json_decref(head);
    api_stop(&api);
}
END_TEST

START_TEST(metadata_lists_what_infer_gives)
{
    api_start(&api);
    static const char *const models[] = {"tiny-bert", "tiny-bilstm", "tiny-gpt2"};
    for (size_t i = 0; i < 3; i++) {
        char path[80], body[200];
        size_t k;
        json_t *o;
        snprintf(path, sizeof path, "/v2/models/%s", models[i]);
        json_t *meta = api_json(&api, "GET", path, NULL, 200);
        json_array_foreach(at(meta, "outputs"), k, o)
        {
            const char *name = json_string_value(at(o, "name"));
            snprintf(body, sizeof body,
                     TEXTS("[\"a film\"]", 1) ",\"outputs\":[{\"name\":\"%s\"}]}", name);
            json_t *r = infer(models[i], body), *got = output_named(r, name);
            ck_assert_int_eq(json_equal(at(got, "datatype"), at(o, "datatype")), 1);
            ck_assert_uint_eq(json_array_size(at(got, "shape")),
                              json_array_size(at(o, "shape")));
            json_decref(r);
        }
        ck_assert_uint_ge(k, 3);
        json_decref(meta);
    }
    api_stop(&api);
}
END_TEST

START_TEST(without_inspection_the_outputs_that_look_inside_are_gone)
{
    api_start(&api);
    api.options.inspect = false;
    json_t *meta = api_json(&api, "GET", "/v2/models/tiny-bert", NULL, 200);
    ck_assert_uint_eq(json_array_size(at(meta, "outputs")), 4);
    json_decref(meta);
    json_t *r =
        api_json(&api, "POST", "/v2/models/tiny-bert/infer",
                 TEXTS("[\"a\"]", 1) ",\"outputs\":[{\"name\":\"tokens\"}]}", 400);
    json_decref(r);
    api_stop(&api);
}
END_TEST

START_TEST(what_does_not_go_with_looking_inside_is_refused)
{
    api_start(&api);
    static const char *const outputs[][2] = {
        {"{\"name\":\"tokens\"},{\"name\":\"logits\"}", "logits"},
        {"{\"name\":\"attentions\",\"parameters\":{\"datatype\":\"FP16\"}}", "FP16"},
        {"{\"name\":\"label\",\"parameters\":{\"datatype\":\"FP16\",\"binary_data\":"
         "true}}",
         "FP16"}};
    char body[300];
    for (size_t i = 0; i < 3; i++) {
        snprintf(body, sizeof body, TEXTS("[\"a\"]", 1) ",\"outputs\":[%s]}",
                 outputs[i][0]);
        json_t *r = api_json(&api, "POST", INFER, body, 400);
        const char *message = json_string_value(at(r, "error"));
        ck_assert_msg(strstr(message, outputs[i][1]) != NULL, "%s", message);
        json_decref(r);
    }
    json_t *r = api_json(&api, "POST", INFER,
                         TEXTS("[\"a\",\"b\"]", 2) ",\"outputs\":[{\"name\":"
                                                   "\"tokens\"}]}",
                         400);
    ck_assert_ptr_nonnull(strstr(json_string_value(at(r, "error")), "one text"));
    json_decref(r);
    api.options.attention_max_values = 1;
    r = api_json(&api, "POST", INFER,
                 TEXTS("[\"a longer text\"]", 1) ",\"outputs\":[{\"name\":"
                                                 "\"attentions\"}]}",
                 400);
    ck_assert_ptr_nonnull(strstr(json_string_value(at(r, "error")), "at most 16 go"));
    json_decref(r);
    api_stop(&api);
}
END_TEST

START_TEST(no_allocation_can_fail_unseen)
{
    api_start(&api);
    api_check_faults(&api, INFER, TEXTS("[\"good\",\"bad\"]", 2) "}");
    api_check_faults(&api, INFER,
                     TEXTS("[\"good\"]", 1) ",\"outputs\":[{\"name\":\"attentions\"},"
                                            "{\"name\":\"tokens\"}]}");
    api_stop(&api);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        server_and_models_tell_what_they_are,
        labels_are_those_of_sentiment,
        second_texts_go_with_the_first,
        next_tokens_are_those_of_next_word,
        classification_is_ordered,
        bytes_say_the_same_as_json,
        tensors_that_do_not_fit_are_refused,
        bytes_that_do_not_fit_are_refused,
        changed_bodies_do_no_harm,
        attentions_are_those_of_our_own_route,
        sixteen_bits_are_half_as_many,
        metadata_lists_what_infer_gives,
        without_inspection_the_outputs_that_look_inside_are_gone,
        what_does_not_go_with_looking_inside_is_refused,
        no_allocation_can_fail_unseen,
        NULL};
    return suite_run("api_oip", tests, 60);
}
