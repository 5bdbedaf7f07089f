/* embedding.c, embeddings.c, embed.c: vectors of texts as the clients of OpenAI and of
 * text-embeddings-inference ask for them. */
#include "server/api/embed.h"
#include "model/base/base64.h"
#include "tests/json_look.h"
#include "tests/suite.h"
#include "tests/unit/api_server.h"

#include <math.h>

static struct api_server api;

static const char PATH[] = "/v1/embeddings";

static void begin(void)
{
    static const char *const dirs[] = {
        "tests/fixtures/models/tiny-bert", "tests/fixtures/models/tiny-bert-bare",
        "tests/fixtures/models/tiny-bert-sentences", "tests/fixtures/models/tiny-gpt2",
        "tests/fixtures/models/tiny-lstm"};
    api_start_with(&api, dirs, sizeof dirs / sizeof *dirs);
}

static void end(void)
{
    api_stop(&api);
}

static json_t *ask(const char *body)
{
    return api_json(&api, "POST", PATH, body, 200);
}

static json_t *vector(json_t *reply, size_t i)
{
    json_t *one = json_array_get(at(reply, "data"), i);
    ck_assert_str_eq(json_string_value(at(one, "object")), "embedding");
    ck_assert_uint_eq((size_t)json_integer_value(at(one, "index")), i);
    return at(one, "embedding");
}

static double number(const json_t *list, size_t i)
{
    ck_assert(json_is_number(json_array_get(list, i)));
    return json_number_value(json_array_get(list, i));
}

static double norm_of(const json_t *list)
{
    double sum = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        sum += number(list, i) * number(list, i);
    return sqrt(sum);
}

static void check_error(const char *body, unsigned status, const char *param)
{
    json_t *reply = api_json(&api, "POST", PATH, body, status);
    const char *got = json_string_value(at(at(reply, "error"), "param"));
    ck_assert_msg(got && strcmp(got, param) == 0, "%s: param is %s, not %s", body, got,
                  param);
    json_decref(reply);
}

/* The vectors are those that PyTorch makes of the folder. */
START_TEST(who_names_no_model_gets_the_one_made_for_vectors)
{
    begin();
    json_t *all =
        json_load_file("tests/fixtures/models/tiny-bert-sentences/expect.json", 0, NULL);
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *row = json_array_get(all, i), *want = at((json_t *)row, "values");
        json_t *body = json_pack("{s:O}", "input", at((json_t *)row, "text"));
        char *text = json_dumps(body, 0);
        json_t *reply = ask(text);
        ck_assert_str_eq(json_string_value(at(reply, "object")), "list");
        ck_assert_str_eq(json_string_value(at(reply, "model")), "tiny-bert-sentences");
        ck_assert_uint_eq(json_array_size(at(reply, "data")), 1);
        ck_assert_uint_eq(json_array_size(vector(reply, 0)), json_array_size(want));
        for (size_t j = 0; j < json_array_size(want); j++)
            ck_assert_double_eq_tol(number(vector(reply, 0), j), number(want, j), 1e-6);
        json_t *usage = at(reply, "usage");
        ck_assert_int_eq(json_integer_value(at(usage, "prompt_tokens")),
                         (json_int_t)json_array_size(at((json_t *)row, "ids")));
        ck_assert(json_equal(at(usage, "prompt_tokens"), at(usage, "total_tokens")));
        json_decref(reply);
        json_decref(body);
        free(text);
    }
    json_decref(all);
    end();
}
END_TEST

START_TEST(the_list_of_models_tells_what_their_vectors_are)
{
    begin();
    json_t *list = api_json(&api, "GET", "/v1/models", NULL, 200), *want, *got;
    want = json_pack("[{s:i,s:s,s:b,s:i,s:b},{s:i,s:s,s:b,s:n,s:b}]", "dimensions", 16,
                     "pooling", "cls", "normalized", 1, "context", 12, "trained", 1,
                     "dimensions", 24, "pooling", "mean", "normalized", 0, "context",
                     "trained", 0);
    for (size_t i = 0; i < 2; i++) {
        got = json_array_get(at(list, "data"), 2 + 2 * i);
        ck_assert(json_equal(at(got, "embeddings"), json_array_get(want, i)));
    }
    json_decref(want);
    json_decref(list);
    end();
}
END_TEST

START_TEST(every_model_gives_vectors_of_length_one)
{
    static const char *const models[] = {"tiny-bert", "tiny-bert-bare", "tiny-gpt2",
                                         "tiny-lstm"};
    begin();
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char body[200];
        snprintf(body, sizeof body, "{\"input\":\"a great cat\",\"model\":\"%s\"}",
                 models[i]);
        json_t *reply = ask(body);
        ck_assert_str_eq(json_string_value(at(reply, "model")), models[i]);
        ck_assert_double_eq_tol(norm_of(vector(reply, 0)), 1, 1e-6);
        json_decref(reply);
    }
    end();
}
END_TEST

START_TEST(a_list_is_answered_as_its_texts_one_by_one)
{
    begin();
    json_t *all = ask("{\"input\":[\"a great cat\",\"the dog\",\"a great cat\"]}");
    json_t *one = ask("{\"input\":\"the dog\"}");
    json_t *list = ask("{\"input\":[\"the dog\"]}");
    ck_assert_uint_eq(json_array_size(at(all, "data")), 3);
    ck_assert(json_equal(vector(all, 1), vector(one, 0)));
    ck_assert(json_equal(vector(all, 0), vector(all, 2)));
    ck_assert(!json_equal(vector(all, 0), vector(all, 1)));
    ck_assert(json_equal(one, list));
    json_decref(all);
    json_decref(one);
    json_decref(list);
    end();
}
END_TEST

/* The ids of a text, its special tokens among them, are that text. */
START_TEST(ids_are_read_as_they_are)
{
    begin();
    json_t *all =
        json_load_file("tests/fixtures/models/tiny-bert-sentences/expect.json", 0, NULL);
    json_t *row = json_array_get(all, 0), *ids = at(row, "ids");
    json_t *texts = json_pack("{s:O}", "input", at(row, "text"));
    json_t *bare = json_pack("{s:O}", "input", ids);
    json_t *lists = json_pack("{s:[O,[i]]}", "input", ids, 5);
    char *body = json_dumps(texts, 0);
    json_t *want = ask(body);
    free(body);
    body = json_dumps(bare, 0);
    json_t *got = ask(body);
    free(body);
    body = json_dumps(lists, 0);
    json_t *two = ask(body);
    free(body);
    ck_assert(json_equal(want, got));
    ck_assert(json_equal(vector(want, 0), vector(two, 0)));
    ck_assert_uint_eq(json_array_size(at(two, "data")), 2);
    ck_assert_int_eq(json_integer_value(at(at(two, "usage"), "total_tokens")),
                     (json_int_t)json_array_size(ids) + 1);
    json_t *const trees[] = {all, texts, bare, lists, want, got, two, NULL};
    for (size_t i = 0; trees[i]; i++)
        json_decref(trees[i]);
    end();
}
END_TEST

START_TEST(base64_holds_the_same_floats)
{
    begin();
    json_t *floats = ask("{\"input\":\"a great cat\",\"encoding_format\":\"float\"}");
    json_t *packed = ask("{\"input\":\"a great cat\",\"encoding_format\":\"base64\"}");
    const json_t *want = vector(floats, 0), *text = vector(packed, 0);
    unsigned char bytes[1000];
    size_t n = 0;
    ck_assert_uint_le(base64_room(json_string_length(text)), sizeof bytes);
    ck_assert(
        base64_decode(json_string_value(text), json_string_length(text), bytes, &n));
    ck_assert_uint_eq(n, 4 * json_array_size(want));
    for (size_t i = 0; i < json_array_size(want); i++) {
        uint32_t bits = 0;
        float v;
        for (unsigned b = 0; b < 4; b++)
            bits |= (uint32_t)bytes[4 * i + b] << 8 * b;
        memcpy(&v, &bits, sizeof v);
        ck_assert(v == (float)number(want, i));
    }
    json_decref(floats);
    json_decref(packed);
    end();
}
END_TEST

START_TEST(fewer_dimensions_are_the_first_ones_of_length_one)
{
    begin();
    json_t *whole = ask("{\"input\":\"a great cat\"}");
    json_t *cut = ask("{\"input\":\"a great cat\",\"dimensions\":3}");
    json_t *all = ask("{\"input\":\"a great cat\",\"dimensions\":16}");
    const json_t *w = vector(whole, 0), *c = vector(cut, 0);
    ck_assert_uint_eq(json_array_size(c), 3);
    ck_assert_double_eq_tol(norm_of(c), 1, 1e-6);
    for (size_t i = 1; i < 3; i++)
        ck_assert_double_eq_tol(number(c, i) * number(w, 0), number(c, 0) * number(w, i),
                                1e-6);
    ck_assert(json_equal(whole, all));
    json_decref(whole);
    json_decref(cut);
    json_decref(all);
    end();
}
END_TEST

START_TEST(what_is_too_long_is_cut_only_when_asked)
{
    static const char LONG[] = "a cat a cat a cat a cat a cat a cat a cat a cat";
    char body[200];
    begin();
    snprintf(body, sizeof body, "{\"input\":[\"a\",\"%s\"]}", LONG);
    check_error(body, 413, "input[1]");
    snprintf(body, sizeof body, "{\"input\":[\"a\",\"%s\"],\"truncate\":true}", LONG);
    json_t *reply = ask(body);
    ck_assert_int_eq(json_integer_value(at(at(reply, "usage"), "total_tokens")), 3 + 12);
    json_decref(reply);
    end();
}
END_TEST

START_TEST(refusals_name_the_field)
{
    begin();
    check_error("{}", 400, "input");
    check_error("{\"input\":null}", 400, "input");
    check_error("{\"input\":3}", 400, "input");
    check_error("{\"input\":[]}", 422, "input");
    check_error("{\"input\":[[]]}", 422, "input[0]");
    check_error("{\"input\":[\"a\",5]}", 400, "input[1]");
    check_error("{\"input\":[5,-1]}", 422, "input[1]");
    check_error("{\"input\":[5,999999]}", 422, "input");
    check_error("{\"input\":[[5],[999999]]}", 422, "input[1]");
    check_error("{\"input\":\"\",\"model\":\"tiny-lstm\",\"dimensions\":25}", 422,
                "dimensions");
    check_error("{\"input\":\"a\",\"dimensions\":0}", 422, "dimensions");
    check_error("{\"input\":\"a\",\"encoding_format\":\"int8\"}", 422, "encoding_format");
    check_error("{\"input\":\"a\",\"model\":\"none\"}", 404, "model");
    check_error("{\"input\":\"a\",\"normalize\":true}", 400, "normalize");
    end();
}
END_TEST

/* ---- POST /embed ----------------------------------------------------------------- */

static json_t *embed(const char *body)
{
    return api_json(&api, "POST", "/embed", body, 200);
}

START_TEST(embed_gives_lists_of_the_same_vectors)
{
    begin();
    json_t *openai = ask("{\"input\":[\"a great cat\",\"the dog\"]}");
    json_t *tei = embed("{\"inputs\":[\"a great cat\",\"the dog\"]}");
    json_t *one = embed("{\"inputs\":\"the dog\",\"normalize\":true,\"truncate\":null,"
                        "\"truncation_direction\":\"Right\",\"prompt_name\":null}");
    json_t *cut = embed("{\"inputs\":\"the dog\",\"dimensions\":3}");
    ck_assert_uint_eq(json_array_size(tei), 2);
    ck_assert_uint_eq(json_array_size(one), 1);
    for (size_t i = 0; i < 2; i++)
        ck_assert(json_equal(json_array_get(tei, i), vector(openai, i)));
    ck_assert(json_equal(json_array_get(one, 0), vector(openai, 1)));
    ck_assert_uint_eq(json_array_size(json_array_get(cut, 0)), 3);
    ck_assert_double_eq_tol(norm_of(json_array_get(cut, 0)), 1, 1e-6);
    json_decref(openai);
    json_decref(tei);
    json_decref(one);
    json_decref(cut);
    end();
}
END_TEST

START_TEST(embed_normalises_unless_told_otherwise)
{
    begin();
    json_t *raw = embed("{\"inputs\":\"the dog\",\"normalize\":false}");
    json_t *unit = embed("{\"inputs\":\"the dog\"}");
    const json_t *r = json_array_get(raw, 0), *u = json_array_get(unit, 0);
    double length = norm_of(r);
    ck_assert_double_gt(fabs(length - 1), 0.1);
    for (size_t i = 0; i < json_array_size(u); i++)
        ck_assert_double_eq_tol(number(u, i), number(r, i) / length, 1e-6);
    json_decref(raw);
    json_decref(unit);
    end();
}
END_TEST

/* 10 tokens of the text and two special ones are left of 14. */
START_TEST(embed_cuts_at_the_end_asked_for)
{
    static const char *const bodies[] = {"{\"inputs\":[\"dog dog a a a a a a a a a a cat "
                                         "cat\",\"dog dog a a a a a a a a\"]}",
                                         "{\"inputs\":[\"dog dog a a a a a a a a a a cat "
                                         "cat\",\"a a a a a a a a cat cat\"],"
                                         "\"truncation_direction\":\"left\"}"};
    begin();
    for (size_t i = 0; i < 2; i++) {
        json_t *both = embed(bodies[i]);
        ck_assert(json_equal(json_array_get(both, 0), json_array_get(both, 1)));
        json_decref(both);
    }
    json_t *error = api_json(&api, "POST", "/embed",
                             "{\"inputs\":\"dog dog a a a a a a a a a a cat cat\","
                             "\"truncate\":false}",
                             422);
    ck_assert_str_eq(json_string_value(at(error, "error_type")), "Validation");
    json_decref(error);
    end();
}
END_TEST

START_TEST(embed_refuses_as_its_clients_expect)
{
    static const char *const bad[] = {
        "{}",
        "{\"inputs\":[]}",
        "{\"inputs\":\"a\",\"prompt_name\":\"query\"}",
        "{\"inputs\":\"a\",\"dimensions\":17}",
        "{\"inputs\":\"a\",\"truncation_direction\":\"up\"}",
        "{\"inputs\":\"a\",\"normalize\":1}",
        "{\"inputs\":[[5,999999]]}",
        "{\"inputs\":\"a\",\"model\":\"tiny-bert\"}"};
    begin();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_t *reply = api_json(&api, "POST", "/embed", bad[i], 422);
        ck_assert(json_is_string(at(reply, "error")));
        ck_assert_str_eq(json_string_value(at(reply, "error_type")), "Validation");
        json_decref(reply);
    }
    end();
}
END_TEST

/* As a pipeline: the norm is the folder's own unless the body says otherwise. */
START_TEST(a_pipeline_of_one_model_has_its_own_norm)
{
    static const struct {
        const char *model, *body;
        bool unit;
    } asks[] = {{"tiny-bert-sentences", "{\"inputs\":\"the dog\"}", true},
                {"tiny-bert-bare", "{\"inputs\":\"the dog\"}", false},
                {"tiny-bert-bare", "{\"inputs\":\"the dog\",\"normalize\":true}", true}};
    begin();
    for (size_t i = 0; i < sizeof asks / sizeof *asks; i++) {
        const struct model *m =
            models_find(api.models, asks[i].model, strlen(asks[i].model));
        struct request q = {.body = asks[i].body, .body_n = strlen(asks[i].body)};
        struct answer answer = {0};
        struct reply r = {0};
        struct err err = {0};
        ck_assert_int_eq(embed_texts(&api.s, &q, m, &answer, &err), ERR_OK);
        api_run(&api, answer.job);
        api_finish(answer.job, DIALECT_TEI, &r);
        json_t *reply = json_loadb(r.body.at, r.body.n, 0, NULL);
        ck_assert(asks[i].unit == (fabs(norm_of(json_array_get(reply, 0)) - 1) < 1e-6));
        json_decref(reply);
        reply_done(&r);
    }
    end();
}
END_TEST

START_TEST(exhausted_memory_is_reported)
{
    begin();
    api_check_faults(&api, PATH, "{\"input\":[\"a great cat\",\"the\"]}");
    api_check_faults(&api, PATH,
                     "{\"input\":[[5,6],[7]],\"encoding_format\":\"base64\"}");
    api_check_faults(&api, PATH, "{\"input\":\"the cat\",\"model\":\"tiny-lstm\"}");
    api_check_faults(&api, "/embed", "{\"inputs\":[\"a great cat\",\"the\"]}");
    end();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {who_names_no_model_gets_the_one_made_for_vectors,
                                  the_list_of_models_tells_what_their_vectors_are,
                                  every_model_gives_vectors_of_length_one,
                                  a_list_is_answered_as_its_texts_one_by_one,
                                  ids_are_read_as_they_are,
                                  base64_holds_the_same_floats,
                                  fewer_dimensions_are_the_first_ones_of_length_one,
                                  what_is_too_long_is_cut_only_when_asked,
                                  refusals_name_the_field,
                                  embed_gives_lists_of_the_same_vectors,
                                  embed_normalises_unless_told_otherwise,
                                  embed_cuts_at_the_end_asked_for,
                                  embed_refuses_as_its_clients_expect,
                                  a_pipeline_of_one_model_has_its_own_norm,
                                  exhausted_memory_is_reported,
                                  NULL};
    return suite_run("server_api_embeddings", tests, 120);
}
