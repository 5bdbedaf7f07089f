/* json_read: request bodies into structs, and everything that is refused. */
#include "server/json_read.h"
#include "tests/suite.h"

#include <stdio.h>
#include <string.h>

#include "model/seq.h"
#include "server/errors.h"

struct body {
    struct json_text text;
    struct json_texts texts;
    struct json_ints layers;
    int64_t top_k;
    double floor;
    bool raw;
    int unit;
};

/* Fields that take several forms. */
struct forms {
    struct json_texts stop;
    struct json_prompts prompt;
    struct json_number_map bias;
    bool usage;
    struct json_ints units;
    int64_t top;
};

static const struct json_field OPTIONS[] = {
    {.name = "usage", .type = JSON_FIELD_BOOL, .offset = offsetof(struct forms, usage)},
};
static const struct json_field TOP[] = {
    {.name = "top",
     .type = JSON_FIELD_INT,
     .offset = offsetof(struct forms, top),
     .required = true,
     .max = 9},
};
static const struct json_field FORMS[] = {
    {.name = "stop",
     .type = JSON_FIELD_TEXT_OR_TEXTS,
     .offset = offsetof(struct forms, stop),
     .max = 2},
    {.name = "prompt",
     .type = JSON_FIELD_PROMPTS,
     .offset = offsetof(struct forms, prompt),
     .min = 1,
     .max = 3},
    {.name = "bias",
     .type = JSON_FIELD_NUMBER_MAP,
     .offset = offsetof(struct forms, bias),
     .min = -1,
     .max = 1,
     .most = 3},
    {.name = "options", .type = JSON_FIELD_OBJECT, .members = OPTIONS, .n_members = 1},
    {.name = "units",
     .type = JSON_FIELD_INTS_OR_OBJECT,
     .offset = offsetof(struct forms, units),
     .members = TOP,
     .n_members = 1},
};
enum { N_FORMS = sizeof FORMS / sizeof FORMS[0] };

static const char *const UNITS[] = {"word", "token", NULL};

static const struct json_field FIELDS[] = {
    {.name = "text",
     .type = JSON_FIELD_TEXT,
     .offset = offsetof(struct body, text),
     .max = 100},
    {.name = "texts",
     .type = JSON_FIELD_TEXTS,
     .offset = offsetof(struct body, texts),
     .min = 1,
     .max = 3},
    {.name = "layers",
     .type = JSON_FIELD_INTS,
     .offset = offsetof(struct body, layers),
     .min = 1},
    {.name = "top_k",
     .type = JSON_FIELD_INT,
     .offset = offsetof(struct body, top_k),
     .min = 1,
     .max = 100},
    {.name = "floor",
     .type = JSON_FIELD_NUMBER,
     .offset = offsetof(struct body, floor),
     .min = 0,
     .max = 1},
    {.name = "raw", .type = JSON_FIELD_BOOL, .offset = offsetof(struct body, raw)},
    {.name = "unit",
     .type = JSON_FIELD_CHOICE,
     .offset = offsetof(struct body, unit),
     .choices = UNITS},
};
enum { N = sizeof FIELDS / sizeof FIELDS[0] };

static enum err_code read_n(const char *json, size_t n, struct body *b, struct err *err)
{
    *err = (struct err){0};
    *b = (struct body){.top_k = 5};
    return json_read(json, n, FIELDS, N, b, err);
}

/* The body is refused with that code and param, and leaves nothing allocated. */
static void refused(const char *json, enum err_code code, const char *param)
{
    struct body b;
    struct err err;
    ck_assert_msg(read_n(json, strlen(json), &b, &err) == code, "%s: %s %s", json,
                  err_name(err.code), err.msg);
    ck_assert_str_eq(err.param, param);
    ck_assert_ptr_null(b.text.at);
    ck_assert_ptr_null(b.texts.at);
    ck_assert_ptr_null(b.layers.at);
}

START_TEST(all_types_arrive)
{
    static const char json[] =
        "{\"text\":\"a\\u0000\xc3\xa9\",\"texts\":[\"x\",\"\",\"yz\"],"
        "\"layers\":[0,-1],\"top_k\":7,\"floor\":0.5,\"raw\":true,"
        "\"unit\":\"token\"}";
    struct body b;
    struct err err;
    ck_assert_int_eq(read_n(json, sizeof json - 1, &b, &err), ERR_OK);
    ck_assert_uint_eq(b.text.n, 4);
    ck_assert_int_eq(memcmp(b.text.at, "a\0\xc3\xa9", 5), 0);
    ck_assert_uint_eq(b.texts.n, 3);
    ck_assert_str_eq(b.texts.at[0].at, "x");
    ck_assert_uint_eq(b.texts.at[1].n, 0);
    ck_assert_str_eq(b.texts.at[2].at, "yz");
    ck_assert_uint_eq(b.layers.n, 2);
    ck_assert_int_eq(b.layers.at[1], -1);
    ck_assert(!b.layers.all);
    ck_assert_int_eq(b.top_k, 7);
    ck_assert(b.floor == 0.5);
    ck_assert(b.raw);
    ck_assert_int_eq(b.unit, 1);
    json_read_done(FIELDS, N, &b);
    ck_assert_ptr_null(b.text.at);
}
END_TEST

START_TEST(absent_and_null_fields_keep_their_defaults)
{
    static const char json[] = " {\"text\":null,\"top_k\":null,\"layers\":\"all\"} ";
    struct body b;
    struct err err;
    ck_assert_int_eq(read_n(json, sizeof json - 1, &b, &err), ERR_OK);
    ck_assert_ptr_null(b.text.at);
    ck_assert_int_eq(b.top_k, 5);
    ck_assert(b.layers.all);
    json_read_done(FIELDS, N, &b);
}
END_TEST

static enum err_code read_forms(const char *json, struct forms *f, struct err *err)
{
    *err = (struct err){0};
    *f = (struct forms){0};
    return json_read(json, strlen(json), FORMS, N_FORMS, f, err);
}

static void refused_form(const char *json, enum err_code code, const char *param)
{
    struct forms f;
    struct err err;
    ck_assert_msg(read_forms(json, &f, &err) == code, "%s: %s %s", json,
                  err_name(err.code), err.msg);
    ck_assert_str_eq(err.param, param);
    ck_assert_ptr_null(f.stop.at);
    ck_assert_ptr_null(f.prompt.at);
    ck_assert_ptr_null(f.bias.at);
}

START_TEST(fields_of_several_forms_arrive)
{
    struct forms f;
    struct err err;
    ck_assert_int_eq(read_forms("{\"stop\":\"a\\u0000b\",\"prompt\":\"\","
                                "\"options\":{\"usage\":true}}",
                                &f, &err),
                     ERR_OK);
    ck_assert_uint_eq(f.stop.n, 1);
    ck_assert_uint_eq(f.stop.at[0].n, 3);
    ck_assert_uint_eq(f.prompt.n, 1);
    ck_assert(!f.prompt.list && f.usage);
    ck_assert_str_eq(f.prompt.at[0].text.at, "");
    json_read_done(FORMS, N_FORMS, &f);
    ck_assert_int_eq(read_forms("{\"stop\":[],\"prompt\":[\"x\",\"yz\"],"
                                "\"bias\":{\"10\":-1,\"9\":0.5,\"2147483647\":1},"
                                "\"options\":{\"usage\":null}}",
                                &f, &err),
                     ERR_OK);
    ck_assert_uint_eq(f.stop.n, 0);
    ck_assert(f.prompt.list && f.prompt.n == 2);
    ck_assert_str_eq(f.prompt.at[1].text.at, "yz");
    ck_assert_uint_eq(f.bias.n, 3);
    ck_assert_int_eq(f.bias.at[0].key, 9); /* in the order of keys */
    ck_assert_int_eq(f.bias.at[1].key, 10);
    ck_assert(f.bias.at[1].value == -1);
    ck_assert_int_eq(f.bias.at[2].key, INT32_MAX);
    json_read_done(FORMS, N_FORMS, &f);
    ck_assert_int_eq(read_forms("{\"prompt\":[3,2147483647]}", &f, &err), ERR_OK);
    ck_assert(!f.prompt.list && f.prompt.n == 1 && f.prompt.at[0].n_ids == 2);
    ck_assert_ptr_null(f.prompt.at[0].text.at);
    ck_assert_int_eq(f.prompt.at[0].ids[1], INT32_MAX);
    json_read_done(FORMS, N_FORMS, &f);
    ck_assert_int_eq(read_forms("{\"prompt\":[[3],[4,5]],\"bias\":{}}", &f, &err),
                     ERR_OK);
    ck_assert(f.prompt.list && f.prompt.n == 2 && f.prompt.at[1].n_ids == 2);
    ck_assert_int_eq(f.prompt.at[1].ids[1], 5);
    ck_assert_ptr_null(f.bias.at);
    json_read_done(FORMS, N_FORMS, &f);
    ck_assert_ptr_null(f.prompt.at);
}
END_TEST

START_TEST(integers_or_an_object_arrive)
{
    struct forms f;
    struct err err;
    ck_assert_int_eq(read_forms("{\"units\":[7,-1]}", &f, &err), ERR_OK);
    ck_assert(f.units.n == 2 && f.units.at[1] == -1);
    json_read_done(FORMS, N_FORMS, &f);
    ck_assert_int_eq(read_forms("{\"units\":\"all\"}", &f, &err), ERR_OK);
    ck_assert(f.units.all && !f.units.at);
    json_read_done(FORMS, N_FORMS, &f);
    ck_assert_int_eq(read_forms("{\"units\":{\"top\":5}}", &f, &err), ERR_OK);
    ck_assert(!f.units.all && !f.units.at && f.top == 5);
    json_read_done(FORMS, N_FORMS, &f);
    refused_form("{\"units\":5}", ERR_FORMAT, "units");
    refused_form("{\"units\":\"some\"}", ERR_FORMAT, "units");
    refused_form("{\"units\":{\"pot\":5}}", ERR_FORMAT, "units.pot");
    refused_form("{\"units\":{\"top\":10}}", ERR_INPUT, "units.top");
    refused_form("{\"units\":{\"top\":null}}", ERR_FORMAT, "units.top");
    refused_form("{\"units\":{}}", ERR_FORMAT, "units.top");
}
END_TEST

START_TEST(refuses_forms_by_their_path)
{
    refused_form("{\"stop\":[\"a\",\"b\",\"c\"]}", ERR_LIMIT, "stop");
    refused_form("{\"stop\":[\"a\",1]}", ERR_FORMAT, "stop[1]");
    refused_form("{\"stop\":{}}", ERR_FORMAT, "stop");
    refused_form("{\"prompt\":[]}", ERR_INPUT, "prompt");
    refused_form("{\"prompt\":[\"a\",\"b\",\"c\",\"d\"]}", ERR_LIMIT, "prompt");
    refused_form("{\"prompt\":[[]]}", ERR_INPUT, "prompt[0]");
    refused_form("{\"prompt\":[[1],[2,2147483648]]}", ERR_INPUT, "prompt[1][1]");
    refused_form("{\"prompt\":[1,-1]}", ERR_INPUT, "prompt[1]");
    refused_form("{\"prompt\":[1,1.5]}", ERR_FORMAT, "prompt[1]");
    refused_form("{\"prompt\":[1,[2]]}", ERR_FORMAT, "prompt[1]");
    refused_form("{\"prompt\":[[1],\"a\"]}", ERR_FORMAT, "prompt[1]");
    refused_form("{\"prompt\":[null]}", ERR_FORMAT, "prompt[0]");
    refused_form("{\"prompt\":{}}", ERR_FORMAT, "prompt");
    refused_form("{\"bias\":[]}", ERR_FORMAT, "bias");
    refused_form("{\"bias\":{\"1\":2}}", ERR_INPUT, "bias.1");
    refused_form("{\"bias\":{\"1\":\"2\"}}", ERR_FORMAT, "bias.1");
    refused_form("{\"bias\":{\"01\":1}}", ERR_INPUT, "bias.01");
    refused_form("{\"bias\":{\"\":1}}", ERR_INPUT, "bias.");
    refused_form("{\"bias\":{\"-1\":1}}", ERR_INPUT, "bias.-1");
    refused_form("{\"bias\":{\"2147483648\":1}}", ERR_INPUT, "bias.2147483648");
    refused_form("{\"bias\":{\"1\":1,\"1\":1}}", ERR_FORMAT, "1");
    refused_form("{\"bias\":{\"1\":1,\"2\":1,\"3\":1,\"4\":1}}", ERR_LIMIT, "bias");
    refused_form("{\"stop\":\"a\",\"options\":{\"usage\":1}}", ERR_FORMAT,
                 "options.usage");
    refused_form("{\"options\":{\"usages\":true}}", ERR_FORMAT, "options.usages");
    refused_form("{\"options\":[]}", ERR_FORMAT, "options");
}
END_TEST

START_TEST(refuses_what_is_not_a_json_object)
{
    refused("", ERR_FORMAT, "");
    refused("{\"text\":\"a\"", ERR_FORMAT, "");
    refused("{\"text\":\"a\"} x", ERR_FORMAT, "");
    refused("[]", ERR_FORMAT, "");
    refused("\"text\"", ERR_FORMAT, "");
    refused("null", ERR_FORMAT, "");
    refused("{\"text\":\"\xff\"}", ERR_FORMAT, "");
    refused("{\"text\":\"\\ud800\"}", ERR_FORMAT, "");
    refused("{'text':'a'}", ERR_FORMAT, "");
    refused("{\"floor\":NaN}", ERR_FORMAT, "");
    refused("{\"floor\":1e999}", ERR_FORMAT, "");
    refused("text=hello", ERR_FORMAT, "");
}
END_TEST

START_TEST(refuses_raw_nul_bytes)
{
    struct body b;
    struct err err;
    ck_assert_int_eq(read_n("{}\0{}", 5, &b, &err), ERR_FORMAT);
    ck_assert_int_eq(read_n("{\"text\":\"a\0b\"}", 14, &b, &err), ERR_FORMAT);
}
END_TEST

START_TEST(refuses_deep_and_huge_json_before_parsing)
{
    static char deep[200001];
    memset(deep, '[', 100000);
    memset(deep + 100000, ']', 100000);
    refused(deep, ERR_FORMAT, "");
    static char wide[400000];
    wide[0] = '[';
    for (size_t i = 1; i < sizeof wide; i++)
        wide[i] = i % 2 ? '1' : ',';
    wide[sizeof wide - 2] = ']';
    wide[sizeof wide - 1] = '\0';
    refused(wide, ERR_FORMAT, "");
}
END_TEST

START_TEST(names_unknown_fields_and_suggests)
{
    struct body b;
    struct err err;
    refused("{\"tpo_k\":5}", ERR_FORMAT, "tpo_k");
    refused("{\"text\":\"a\",\"\":1}", ERR_FORMAT, "");
    refused("{\"temperature\":1}", ERR_FORMAT, "temperature");
    ck_assert_int_eq(read_n("{\"tpo_k\":5}", 11, &b, &err), ERR_FORMAT);
    ck_assert_ptr_nonnull(strstr(err.msg, "did you mean \"top_k\"?"));
    ck_assert_int_eq(read_n("{\"zzzz\":5}", 10, &b, &err), ERR_FORMAT);
    ck_assert_ptr_null(strstr(err.msg, "did you mean"));
}
END_TEST

START_TEST(names_fields_given_twice)
{
    refused("{\"text\":\"a\",\"top_k\":1,\"text\":\"b\"}", ERR_FORMAT, "text");
}
END_TEST

START_TEST(names_wrong_types)
{
    refused("{\"text\":5}", ERR_FORMAT, "text");
    refused("{\"text\":[\"a\"]}", ERR_FORMAT, "text");
    refused("{\"texts\":\"a\"}", ERR_FORMAT, "texts");
    refused("{\"texts\":[\"a\",5]}", ERR_FORMAT, "texts[1]");
    refused("{\"texts\":[null]}", ERR_FORMAT, "texts[0]");
    refused("{\"layers\":5}", ERR_FORMAT, "layers");
    refused("{\"layers\":\"some\"}", ERR_FORMAT, "layers");
    refused("{\"layers\":[1,2.5]}", ERR_FORMAT, "layers[1]");
    refused("{\"top_k\":5.5}", ERR_FORMAT, "top_k");
    refused("{\"top_k\":\"5\"}", ERR_FORMAT, "top_k");
    refused("{\"top_k\":true}", ERR_FORMAT, "top_k");
    refused("{\"floor\":\"x\"}", ERR_FORMAT, "floor");
    refused("{\"raw\":1}", ERR_FORMAT, "raw");
    refused("{\"unit\":{}}", ERR_FORMAT, "unit");
}
END_TEST

/* In a JSON schema 5.0 is an integer, and so it is for some clients' languages. */
START_TEST(whole_numbers_are_integers)
{
    static const struct {
        const char *json;
        int64_t top_k;
    } cases[] = {{"{\"text\":\"a\",\"top_k\":7.0}", 7},
                 {"{\"text\":\"a\",\"top_k\":1e2}", 100},
                 {"{\"text\":\"a\",\"top_k\":0.3e1}", 3}};
    struct body b;
    struct err err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_int_eq(read_n(cases[i].json, strlen(cases[i].json), &b, &err), ERR_OK);
        ck_assert_int_eq(b.top_k, cases[i].top_k);
        json_read_done(FIELDS, N, &b);
    }
    refused("{\"top_k\":101.0}", ERR_INPUT, "top_k");
    refused("{\"top_k\":1e300}", ERR_FORMAT, "top_k");
    refused("{\"top_k\":9223372036854775808.0}", ERR_FORMAT, "top_k");
}
END_TEST

START_TEST(names_values_out_of_range)
{
    refused("{\"top_k\":0}", ERR_INPUT, "top_k");
    refused("{\"top_k\":101}", ERR_INPUT, "top_k");
    refused("{\"top_k\":9223372036854775807}", ERR_INPUT, "top_k");
    refused("{\"floor\":-0.1}", ERR_INPUT, "floor");
    refused("{\"floor\":2}", ERR_INPUT, "floor");
    refused("{\"unit\":\"letter\"}", ERR_INPUT, "unit");
    refused("{\"unit\":\"word\\u0000\"}", ERR_INPUT, "unit");
    refused("{\"texts\":[]}", ERR_INPUT, "texts");
    refused("{\"texts\":[\"\",\"\",\"\",\"\"]}", ERR_LIMIT, "texts");
    refused("{\"layers\":[]}", ERR_INPUT, "layers");
}
END_TEST

START_TEST(a_later_fault_frees_earlier_fields)
{
    refused("{\"text\":\"a\",\"texts\":[\"b\"],\"layers\":[1],\"top_k\":0}", ERR_INPUT,
            "top_k");
}
END_TEST

START_TEST(required_fields_are_missed)
{
    static const struct json_field fields[] = {{.name = "text",
                                                .type = JSON_FIELD_TEXT,
                                                .offset = offsetof(struct body, text),
                                                .required = true,
                                                .min = 1}};
    struct body b = {0};
    struct err err = {0};
    ck_assert_int_eq(json_read("{}", 2, fields, 1, &b, &err), ERR_FORMAT);
    ck_assert_str_eq(err.param, "text");
    err = (struct err){0};
    ck_assert_int_eq(json_read("{\"text\":\"\"}", 11, fields, 1, &b, &err), ERR_INPUT);
}
END_TEST

START_TEST(failing_memory_is_reported)
{
    static const char json[] = "{\"text\":\"a\",\"texts\":[\"b\"],\"layers\":[1]}";
    enum err_code code = ERR_NOMEM;
    json_read_init();
    for (long n = 0; n < 200 && code != ERR_OK; n++) {
        struct body b;
        struct err err;
        mem_fail_after(n);
        code = read_n(json, sizeof json - 1, &b, &err);
        mem_fail_after(-1);
        if (code == ERR_OK)
            json_read_done(FIELDS, N, &b);
        else
            ck_assert_ptr_null(b.text.at);
        ck_assert(code == ERR_OK || code == ERR_NOMEM || code == ERR_FORMAT);
        ck_assert_int_ge(n, code == ERR_OK ? 3 : 0);
    }
    ck_assert_int_eq(code, ERR_OK);
}
END_TEST

/* ---- errors.c -------------------------------------------------------------------- */

START_TEST(errors_have_one_shape)
{
    struct reply r = {0};
    struct err err = {0};
    err_param(&err, ERR_INPUT, "top_k", "\"top_k\" is %d", 0);
    reply_err(&r, DIALECT_SEQD, &err);
    buf_put(&r.body, "", 1);
    ck_assert_uint_eq(r.status, 422);
    ck_assert_str_eq(r.body.at,
                     "{\"error\":{\"message\":\"\\\"top_k\\\" is 0\",\"type\":"
                     "\"invalid_request_error\",\"code\":\"invalid_value\",\"param\":"
                     "\"top_k\"}}\n");
    reply_problem(&r, DIALECT_SEQD, PROBLEM_QUEUE_FULL, NULL, "busy");
    ck_assert_uint_eq(r.status, 429);
    ck_assert_uint_eq(r.retry_after_ms, 1000);
    reply_done(&r);
}
END_TEST

START_TEST(our_own_faults_are_not_told)
{
    struct reply r = {0};
    struct err err = {0};
    err_set(&err, ERR_BUG, "secret path /x");
    reply_err(&r, DIALECT_SEQD, &err);
    buf_put(&r.body, "", 1);
    ck_assert_uint_eq(r.status, 500);
    ck_assert_ptr_null(strstr(r.body.at, "secret"));
    reply_done(&r);
}
END_TEST

START_TEST(every_code_has_a_status)
{
    static const unsigned wanted[] = {
        [ERR_NOMEM] = 503,    [ERR_IO] = 500,          [ERR_FORMAT] = 400,
        [ERR_MISMATCH] = 500, [ERR_UNSUPPORTED] = 422, [ERR_INPUT] = 422,
        [ERR_LIMIT] = 413,    [ERR_NOT_FOUND] = 404,   [ERR_TASK] = 422,
        [ERR_STOPPED] = 503,  [ERR_BUG] = 500};
    for (int code = ERR_NOMEM; code <= ERR_BUG; code++) {
        struct err err = {.code = (enum err_code)code};
        ck_assert_uint_eq(problem_row(DIALECT_SEQD, problem_of_err(&err)).status,
                          wanted[code]);
    }
    for (int p = 0; p < PROBLEM_COUNT; p++) {
        ck_assert_uint_ge(problem_row(DIALECT_SEQD, (enum problem)p).status, 400);
        ck_assert_ptr_nonnull(problem_row(DIALECT_SEQD, (enum problem)p).code);
    }
}
END_TEST

START_TEST(an_error_reply_needs_no_memory)
{
    struct reply r = {0};
    mem_fail_after(0);
    reply_problem(&r, DIALECT_SEQD, PROBLEM_VALUE, "x", "y");
    mem_fail_after(-1);
    ck_assert_uint_eq(r.status, 503);
    ck_assert_ptr_nonnull(r.fixed);
    ck_assert_uint_eq(strlen(r.fixed), r.fixed_n);
    reply_done(&r);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {all_types_arrive,
                                  absent_and_null_fields_keep_their_defaults,
                                  fields_of_several_forms_arrive,
                                  integers_or_an_object_arrive,
                                  refuses_forms_by_their_path,
                                  refuses_what_is_not_a_json_object,
                                  refuses_raw_nul_bytes,
                                  refuses_deep_and_huge_json_before_parsing,
                                  names_unknown_fields_and_suggests,
                                  names_fields_given_twice,
                                  names_wrong_types,
                                  whole_numbers_are_integers,
                                  names_values_out_of_range,
                                  a_later_fault_frees_earlier_fields,
                                  required_fields_are_missed,
                                  failing_memory_is_reported,
                                  errors_have_one_shape,
                                  our_own_faults_are_not_told,
                                  every_code_has_a_status,
                                  an_error_reply_needs_no_memory,
                                  NULL};
    return suite_run("json_read", tests, 30);
}
