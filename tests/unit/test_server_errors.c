/* Errors in the words of every dialect, and whose words a path's errors are told in. */
#include "tests/suite.h"

#include <jansson.h>
#include <string.h>

#include "server/errors.h"
#include "server/json_read.h"
#include "server/router.h"

static json_t *told(enum dialect d, enum problem p, unsigned status)
{
    struct reply r = {0};
    reply_problem(&r, d, p, "text", "no \"text\"");
    ck_assert_uint_eq(r.status, status);
    ck_assert_uint_eq(r.retry_after_ms != 0, status == 429 || status == 503);
    json_t *tree = json_loadb(r.body.at, r.body.n, 0, NULL);
    ck_assert_ptr_nonnull(tree);
    reply_done(&r);
    return tree;
}

static const char *text_at(json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    ck_assert_msg(text != NULL, "no text at %s", key);
    return text;
}

START_TEST(objects_have_the_members_their_clients_read)
{
    json_t *ours = told(DIALECT_SEQD, PROBLEM_VALUE, 422);
    json_t *llama = told(DIALECT_LLAMA, PROBLEM_MODEL, 404);
    json_t *vllm = told(DIALECT_VLLM, PROBLEM_VALUE, 400);
    json_t *o = json_object_get(ours, "error"), *l = json_object_get(llama, "error"),
           *v = json_object_get(vllm, "error");
    ck_assert_str_eq(text_at(o, "message"), "no \"text\"");
    ck_assert_str_eq(text_at(o, "code"), "invalid_value");
    ck_assert_str_eq(text_at(o, "param"), "text");
    ck_assert_int_eq(json_integer_value(json_object_get(l, "code")), 404);
    ck_assert_str_eq(text_at(l, "type"), "not_found_error");
    ck_assert_int_eq(json_integer_value(json_object_get(v, "code")), 400);
    ck_assert_str_eq(text_at(v, "type"), "BadRequestError");
    ck_assert_str_eq(text_at(v, "param"), "text");
    json_decref(ours);
    json_decref(llama);
    json_decref(vllm);
}
END_TEST

START_TEST(texts_stand_alone_or_with_their_type)
{
    json_t *tei = told(DIALECT_TEI, PROBLEM_EMPTY, 400);
    json_t *oip = told(DIALECT_OIP, PROBLEM_LIMIT, 400);
    ck_assert_str_eq(text_at(tei, "error"), "no \"text\"");
    ck_assert_str_eq(text_at(tei, "error_type"), "Empty");
    ck_assert_str_eq(text_at(oip, "error"), "no \"text\"");
    ck_assert_uint_eq(json_object_size(oip), 1);
    json_decref(tei);
    json_decref(oip);
}
END_TEST

START_TEST(hugging_face_never_hears_503)
{
    for (int p = 0; p < PROBLEM_COUNT; p++) {
        struct problem_row row = problem_row(DIALECT_TEI, (enum problem)p);
        ck_assert_uint_ne(row.status, 503);
        ck_assert_ptr_nonnull(row.type);
        for (int d = 0; d < DIALECT_COUNT; d++) {
            row = problem_row((enum dialect)d, (enum problem)p);
            ck_assert_uint_ge(row.status, 400);
            ck_assert_str_eq(row.code, problem_row(DIALECT_SEQD, (enum problem)p).code);
        }
    }
    ck_assert_uint_eq(problem_row(DIALECT_TEI, PROBLEM_TASK).status, 424);
    ck_assert_uint_eq(problem_row(DIALECT_TEI, PROBLEM_LIMIT).status, 422);
    ck_assert_uint_eq(problem_row(DIALECT_TEI, PROBLEM_QUEUE_TIMEOUT).status, 429);
    ck_assert_uint_eq(problem_row(DIALECT_OIP, PROBLEM_QUEUE_TIMEOUT).status, 503);
}
END_TEST

START_TEST(a_path_tells_the_dialect)
{
    static const struct route routes[] = {
        {"POST", "/predict", NULL, .dialect = DIALECT_TEI},
        {"GET", "/v2/models/{model}", NULL, .dialect = DIALECT_OIP},
    };
    static const struct {
        const char *method, *path;
        enum dialect want;
    } cases[] = {
        {"POST", "/predict", DIALECT_TEI},    {"GET", "/predict", DIALECT_TEI},
        {"GET", "/v2/models/m", DIALECT_OIP}, {"GET", "/v2/nowhere", DIALECT_OIP},
        {"GET", "/v2", DIALECT_OIP},          {"GET", "/v22", DIALECT_SEQD},
        {"GET", "/nowhere", DIALECT_SEQD}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct router_match m;
        router_find(routes, 2, cases[i].method, cases[i].path, &m);
        ck_assert_msg(m.dialect == cases[i].want, "%s %s", cases[i].method,
                      cases[i].path);
    }
}
END_TEST

START_TEST(keys_tell_which_dialect_a_body_is_in)
{
    static const char *const keys[] = {"inputs", "parameters.top_k", "prompt", NULL};
    static const struct {
        const char *body;
        size_t want;
    } cases[] = {{"{\"inputs\":1,\"prompt\":2}", 0},
                 {"{\"parameters\":{\"top_k\":3}}", 1},
                 {"{\"parameters\":3,\"prompt\":[]}", 2},
                 {"{\"inputs\":null,\"prompt\":\"\"}", 2},
                 {"{\"parameters\":{}}", SIZE_MAX},
                 {"[\"inputs\"]", SIZE_MAX},
                 {"{\"inputs\":", SIZE_MAX},
                 {"", SIZE_MAX}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_msg(json_read_which(cases[i].body, strlen(cases[i].body), keys) ==
                          cases[i].want,
                      "%s", cases[i].body);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {objects_have_the_members_their_clients_read,
                                  texts_stand_alone_or_with_their_type,
                                  hugging_face_never_hears_503,
                                  a_path_tells_the_dialect,
                                  keys_tell_which_dialect_a_body_is_in,
                                  NULL};
    return suite_run("errors", tests, 30);
}
