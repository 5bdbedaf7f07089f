/* map_format.c and the encodings of POST /v1/attention: bytes, frames, Accept. */
#include "server/api/map_format.h"
#include "server/api/attention_request.h"
#include "tests/json_look.h"
#include "tests/suite.h"
#include "tests/unit/api_server.h"

#include <math.h>
#include <stdlib.h>

static struct api_server api;
static const char *const PATH = "/v1/attention";

static json_t *ask(const char *body)
{
    return api_json(&api, "POST", PATH, body, 200);
}

static json_t *maps_of(json_t *reply)
{
    return at(at(reply, "attention"), "data");
}

enum { MOST = 40000 };

static double half(uint16_t bits)
{
    int exponent = bits >> 10 & 31, digits = bits & 1023;
    double value = exponent ? ldexp(1024 + digits, exponent - 25) : ldexp(digits, -24);
    return bits >> 15 ? -value : value;
}

/* The tensor's bytes as numbers. */
static void decode(const char *dtype, const unsigned char *from, size_t n, double *to)
{
    for (size_t i = 0; i < n; i++) {
        float single;
        uint16_t bits;
        if (strcmp(dtype, "float32") == 0) {
            memcpy(&single, from + 4 * i, 4);
            to[i] = (double)single;
        } else if (strcmp(dtype, "float16") == 0) {
            memcpy(&bits, from + 2 * i, 2);
            to[i] = half(bits);
        } else {
            to[i] = from[i] / 255.0;
        }
    }
}

static size_t bytes_of(const char *dtype)
{
    return strcmp(dtype, "float32") == 0 ? 4 : strcmp(dtype, "float16") == 0 ? 2 : 1;
}

static void check_close(const double *have, const double *want, size_t n, double bound)
{
    for (size_t i = 0; i < n; i++)
        ck_assert_double_le(fabs(have[i] - want[i]), bound);
}

static void check_binary(const char *text, const char *dtype, const double *want,
                         size_t n, double bound)
{
    char body[300];
    struct reply r;
    json_error_t e;
    static double have[MOST];
    snprintf(body, sizeof body,
             "{\"text\":\"%s\",\"encoding\":\"binary\",\"dtype\":\"%s\"}", text, dtype);
    ck_assert_uint_eq(api_ask(&api, "POST", PATH, body, &r), 200);
    ck_assert_str_eq(r.content_type, "application/octet-stream");
    ck_assert_uint_eq(r.inference_header_n % 8, 0);
    json_t *head = json_loadb(r.body.at, r.inference_header_n, 0, &e);
    ck_assert_msg(head != NULL, "%s", e.text);
    json_t *output = item(at(head, "outputs"), 0);
    size_t size =
        (size_t)json_integer_value(at(at(output, "parameters"), "binary_data_size"));
    ck_assert_uint_eq(size, n * bytes_of(dtype));
    ck_assert_uint_eq(r.body.n, r.inference_header_n + size);
    ck_assert(json_equal(at(output, "shape"), at(at(head, "attention"), "shape")));
    ck_assert_ptr_null(json_object_get(at(head, "attention"), "data"));
    decode(dtype, (unsigned char *)r.body.at + r.inference_header_n, n, have);
    check_close(have, want, n, bound);
    json_decref(head);
    reply_done(&r);
}

static void check_npy(const char *text, const char *dtype, const double *want, size_t n,
                      double bound)
{
    char body[300];
    struct reply r;
    static double have[MOST];
    snprintf(body, sizeof body, "{\"text\":\"%s\",\"encoding\":\"npy\",\"dtype\":\"%s\"}",
             text, dtype);
    ck_assert_uint_eq(api_ask(&api, "POST", PATH, body, &r), 200);
    ck_assert_mem_eq(r.body.at, "\x93NUMPY\x01\x00", 8);
    size_t head = (size_t)(unsigned char)r.body.at[8] +
                  256 * (size_t)(unsigned char)r.body.at[9] + 10;
    ck_assert_uint_eq(head % 64, 0);
    ck_assert_uint_eq(r.body.n, head + n * bytes_of(dtype));
    ck_assert_int_eq(r.body.at[head - 1], '\n');
    decode(dtype, (unsigned char *)r.body.at + head, n, have);
    check_close(have, want, n, bound);
    reply_done(&r);
}

START_TEST(encodings_agree)
{
    static const char text[] = "not great, not terrible";
    static double want[MOST], have[MOST];
    char body[200];
    api_start(&api);
    snprintf(body, sizeof body, "{\"text\":\"%s\",\"decimals\":9}", text);
    json_t *all = ask(body);
    size_t n = flatten(maps_of(all), want, 0, MOST);
    for (int decimals = 1; decimals < 9; decimals++) {
        snprintf(body, sizeof body, "{\"text\":\"%s\",\"decimals\":%d}", text, decimals);
        json_t *some = ask(body);
        ck_assert_uint_eq(flatten(maps_of(some), have, 0, MOST), n);
        check_close(have, want, n, 0.5 * pow(10, -decimals) + 1e-9);
        json_decref(some);
    }
    check_binary(text, "float32", want, n, 1e-9);
    check_binary(text, "float16", want, n, 0x1p-12 + 1e-9);
    check_binary(text, "uint8", want, n, 0.5 / 255 + 1e-7);
    check_npy(text, "float32", want, n, 1e-9);
    check_npy(text, "float16", want, n, 0x1p-12 + 1e-9);
    check_npy(text, "uint8", want, n, 0.5 / 255 + 1e-7);
    json_decref(all);
    api_stop(&api);
}
END_TEST

/* All that stand in a binary reply are what the JSON says, one behind the other. */
static void check_sparse(const char *which, size_t n_outputs)
{
    struct reply r;
    json_error_t e;
    static double want[MOST];
    char body[200];
    snprintf(body, sizeof body, "{\"text\":\"a cat sat\",%s,\"decimals\":9}", which);
    json_t *json = ask(body), *sparse = at(at(json, "attention"), "sparse");
    snprintf(body, sizeof body, "{\"text\":\"a cat sat\",%s,\"encoding\":\"binary\"}",
             which);
    ck_assert_uint_eq(api_ask(&api, "POST", PATH, body, &r), 200);
    json_t *head = json_loadb(r.body.at, r.inference_header_n, 0, &e);
    ck_assert_ptr_nonnull(head);
    const char *from = r.body.at + r.inference_header_n;
    ck_assert_uint_eq(json_array_size(at(head, "outputs")), n_outputs);
    ck_assert(json_equal(at(head, "usage"), at(json, "usage")));
    for (size_t t = 0; t < n_outputs; t++) {
        json_t *output = item(at(head, "outputs"), t);
        const char *type = json_string_value(at(output, "datatype"));
        size_t n =
            flatten(at(sparse, json_string_value(at(output, "name"))), want, 0, MOST);
        size_t size = strcmp(type, "INT64") == 0 ? 8 : 4;
        ck_assert_int_eq(
            json_integer_value(at(at(output, "parameters"), "binary_data_size")),
            (json_int_t)(n * size));
        for (size_t i = 0; i < n; i++, from += size) {
            int64_t longer;
            int32_t whole;
            float single;
            memcpy(&whole, from, 4);
            memcpy(&single, from, 4);
            memcpy(&longer, from, size);
            double have = size == 8                    ? (double)longer
                          : strcmp(type, "INT32") == 0 ? whole
                                                       : (double)single;
            ck_assert_double_eq_tol(have, want[i], 1e-8);
        }
    }
    ck_assert_ptr_eq(from, r.body.at + r.body.n);
    json_decref(head);
    json_decref(json);
    reply_done(&r);
}

START_TEST(the_largest_weights_are_the_same_in_binary)
{
    api_start(&api);
    check_sparse("\"top_k\":2", 3);
    check_sparse("\"min_weight\":0.2", 4);
    check_sparse("\"min_weight\":0.1,\"top_k\":3,\"layers\":[0]", 4);
    check_sparse("\"min_weight\":2", 4); /* none is */
    api_stop(&api);
}
END_TEST

/* ---- Accept ---------------------------------------------------------------------- */

static const char *accept;

static const char *header(const struct request *q, const char *name)
{
    (void)q;
    return strcmp(name, "Accept") == 0 ? accept : NULL;
}

static enum map_encoding encoding_of(const char *value, const char *body)
{
    struct attention_request r;
    struct err err = {0};
    struct request q = {.body = body, .body_n = strlen(body), .header = header};
    accept = value;
    ck_assert_int_eq(attention_request_read(&q, &r, &err), ERR_OK);
    enum map_encoding encoding = (enum map_encoding)r.encoding;
    attention_request_done(&r);
    return encoding;
}

START_TEST(the_encoding_is_the_bodys_or_what_accept_says)
{
    static const char plain[] = "{\"text\":\"a\"}";
    ck_assert_int_eq(encoding_of(NULL, plain), MAP_JSON);
    ck_assert_int_eq(encoding_of("*/*", plain), MAP_JSON);
    ck_assert_int_eq(encoding_of("application/octet-stream", plain), MAP_BINARY);
    ck_assert_int_eq(encoding_of("application/x-npy, */*", plain), MAP_NPY);
    ck_assert_int_eq(encoding_of("application/json, application/x-npy", plain), MAP_JSON);
    ck_assert_int_eq(
        encoding_of("application/x-npy", "{\"text\":\"a\",\"encoding\":\"json\"}"),
        MAP_JSON);
}
END_TEST

/* ---- bytes ----------------------------------------------------------------------- */

START_TEST(halves_are_the_nearest)
{
    float before = -1;
    for (uint32_t bits = 0; bits < 0x7c00; bits++) { /* every finite one is itself */
        float x = (float)half((uint16_t)bits), up, down;
        uint16_t got[3];
        up = (float)half((uint16_t)(bits + 1));
        down = bits ? before : 0;
        const float near[] = {x, x + (up - x) * 0.49f, x - (x - down) * 0.49f};
        map_encode(MAP_FLOAT16, bits == 0x7bff ? 1 : 3, near, got);
        for (size_t i = 0; i < (bits == 0x7bff ? 1 : 3); i++)
            ck_assert_uint_eq(got[i], bits);
        before = x;
    }
    const float odd[] = {65519, 65520, INFINITY, -INFINITY, -0.5f, -0.0f, NAN};
    const uint16_t want[] = {0x7bff, 0x7c00, 0x7c00, 0xfc00, 0xb800, 0x8000};
    uint16_t got[7];
    map_encode(MAP_FLOAT16, 7, odd, got);
    ck_assert_mem_eq(got, want, sizeof want);
    ck_assert(isnan(half(got[6]) * 0) || (got[6] & 0x7fff) > 0x7c00);
    const float ties[] = {2049, 2051, 0x1p-25f, 0x1.8p-24f}; /* to even */
    const uint16_t even[] = {0x6800, 0x6802, 0, 2};
    map_encode(MAP_FLOAT16, 4, ties, got);
    ck_assert_mem_eq(got, even, sizeof even);
}
END_TEST

START_TEST(steps_are_the_nearest)
{
    for (int i = 0; i <= 255; i++) {
        const float x[] = {(float)i / 255, ((float)i + 0.49f) / 255};
        uint8_t got[2];
        map_encode(MAP_UINT8, 2, x, got);
        ck_assert_int_eq(got[0], i);
        ck_assert_int_eq(got[1], i);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {encodings_agree,
                                  the_largest_weights_are_the_same_in_binary,
                                  the_encoding_is_the_bodys_or_what_accept_says,
                                  halves_are_the_nearest,
                                  steps_are_the_nearest,
                                  NULL};
    return suite_run("api_map_format", tests, 60);
}
