/* json_write: whatever goes in, valid JSON comes out. */
#include "server/json_write.h"
#include "tests/suite.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "model/seq.h"

/* The text so far equals `wanted`. */
static void is(const struct json_writer *w, const char *wanted)
{
    ck_assert(!w->buf.failed);
    ck_assert_msg(w->buf.n == strlen(wanted) && memcmp(w->buf.at, wanted, w->buf.n) == 0,
                  "got %.*s, want %s", (int)w->buf.n, w->buf.at, wanted);
}

START_TEST(commas_stand_between_elements_only)
{
    struct json_writer w = {0};
    json_write_object(&w);
    json_write_key(&w, "a");
    json_write_array(&w);
    json_write_end(&w);
    json_write_key(&w, "b");
    json_write_array(&w);
    json_write_int(&w, -5);
    json_write_object(&w);
    json_write_end(&w);
    json_write_null(&w);
    json_write_end(&w);
    json_write_key_bool(&w, "c", true);
    json_write_key_uint(&w, "d", UINT64_MAX);
    json_write_key_string(&w, "e", NULL);
    json_write_end(&w);
    is(&w,
       "{\"a\":[],\"b\":[-5,{},null],\"c\":true,\"d\":18446744073709551615,\"e\":null}");
    json_write_done(&w);
}
END_TEST

START_TEST(strings_are_escaped_and_repaired)
{
    struct json_writer w = {0};
    json_write_array(&w);
    json_write_text(&w, "a\"\\\n\t\x01\x7f\0b", 9);
    json_write_string(&w, "caf\xc3\xa9 \xf0\x9f\x98\x80");
    json_write_string(&w, "x\xff\xc3"); /* not UTF-8, then cut short */
    json_write_end(&w);
    is(&w, "[\"a\\\"\\\\\\n\\t\\u0001\\u007f\\u0000b\",\"caf\xc3\xa9 \xf0\x9f\x98\x80\","
           "\"x\xef\xbf\xbd\xef\xbf\xbd\"]");
    json_write_done(&w);
}
END_TEST

START_TEST(every_byte_string_reads_back)
{
    char all[256];
    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    struct json_writer w = {0};
    json_write_array(&w);
    json_write_text(&w, all, 256);
    json_write_end(&w);
    json_t *back = json_loadb(w.buf.at, w.buf.n, JSON_ALLOW_NUL, NULL);
    ck_assert_ptr_nonnull(back);
    const json_t *s = json_array_get(back, 0);
    ck_assert_uint_eq(json_string_length(s), 128 + 128 * 3);
    ck_assert_int_eq(memcmp(json_string_value(s), all, 128), 0);
    json_decref(back);
    json_write_done(&w);
}
END_TEST

START_TEST(doubles_and_floats_read_back_as_the_same_number)
{
    static const double doubles[] = {
        0,    0.1,      1.0 / 3, 1e300, 5e-324, 1e17, 1e-7, 123456.75, 4503599627370497.5,
        -2.5, 0.3 + 0.6};
    for (size_t i = 0; i < sizeof doubles / sizeof doubles[0]; i++) {
        struct json_writer w = {0};
        json_write_double(&w, doubles[i]);
        buf_put(&w.buf, "", 1);
        ck_assert(strtod(w.buf.at, NULL) == doubles[i]);
        json_write_done(&w);
    }
    struct json_writer w = {0};
    json_write_array(&w);
    json_write_double(&w, 0.1);
    json_write_float(&w, 0.1f);
    json_write_float(&w, 1.0f / 3);
    json_write_double(&w, NAN);
    json_write_float(&w, INFINITY);
    json_write_fixed(&w, -INFINITY, 3);
    json_write_end(&w);
    is(&w, "[0.1,0.1,0.33333334,null,null,null]");
    json_write_done(&w);
}
END_TEST

START_TEST(fixed_numbers_are_rounded_and_trimmed)
{
    struct json_writer w = {0};
    json_write_array(&w);
    json_write_fixed(&w, 0, 6);
    json_write_fixed(&w, -0.0, 6);
    json_write_fixed(&w, -1e-9, 6);
    json_write_fixed(&w, 1, 6);
    json_write_fixed(&w, 0.25, 6);
    json_write_fixed(&w, -0.000001, 6);
    json_write_fixed(&w, 0.9999996, 6);
    json_write_fixed(&w, 2.0 / 3, 9);
    json_write_fixed(&w, 1234.5678, 2);
    json_write_fixed(&w, 7.5, 0);
    json_write_fixed(&w, 999999999.999999999, 9);
    json_write_fixed(&w, 1e15, 3);
    json_write_end(&w);
    is(&w, "[0,0,0,1,0.25,-0.000001,1,0.666666667,1234.57,8,1000000000,1e+15]");
    json_write_done(&w);
}
END_TEST

/* All multiples of 1/4096 against printf. */
START_TEST(fixed_numbers_agree_with_printf)
{
    for (int i = -8192; i <= 8192; i++) {
        struct json_writer w = {0};
        char wanted[32];
        json_write_fixed(&w, i / 4096.0 + 1e-8, 7);
        buf_put(&w.buf, "", 1);
        snprintf(wanted, sizeof wanted, "%.7f", i / 4096.0 + 1e-8);
        ck_assert(strtod(w.buf.at, NULL) == strtod(wanted, NULL));
        json_write_done(&w);
    }
}
END_TEST

START_TEST(a_list_of_floats)
{
    static const float values[] = {0.5f, 0, 1, 0.125f};
    struct json_writer w = {0};
    json_write_object(&w);
    json_write_key(&w, "p");
    json_write_floats(&w, values, 4, 2);
    json_write_key(&w, "none");
    json_write_floats(&w, values, 0, 2);
    json_write_end(&w);
    is(&w, "{\"p\":[0.5,0,1,0.12],\"none\":[]}");
    json_write_done(&w);
}
END_TEST

START_TEST(failing_memory_is_latched_not_crashed_on)
{
    bool failed_once = false;
    for (long n = 0; n < 20; n++) {
        struct json_writer w = {0};
        mem_fail_after(n);
        json_write_array(&w);
        for (int i = 0; i < 500; i++)
            json_write_string(&w, "some text that makes the buffer grow");
        json_write_end(&w);
        bool struck = !mem_fail_pending();
        mem_fail_after(-1);
        ck_assert(w.buf.failed == struck);
        failed_once |= struck;
        json_write_done(&w);
    }
    ck_assert(failed_once);
}
END_TEST

START_TEST(too_deep_and_too_many_ends_are_failures)
{
    struct json_writer w = {0};
    for (int i = 0; i < JSON_WRITE_DEPTH; i++)
        json_write_array(&w);
    ck_assert(!w.buf.failed);
    json_write_array(&w);
    ck_assert(w.buf.failed);
    json_write_done(&w);
    json_write_end(&w);
    ck_assert(w.buf.failed);
    json_write_done(&w);
}
END_TEST

START_TEST(a_buffer_stops_at_its_limit)
{
    struct buf b = {.limit = 10};
    buf_puts(&b, "12345");
    buf_puts(&b, "67890");
    ck_assert(!b.failed);
    buf_puts(&b, "x");
    ck_assert(b.failed);
    buf_puts(&b, "");
    ck_assert_uint_eq(b.n, 10);
    buf_clear(&b);
    buf_printf(&b, "%d", 42);
    ck_assert(!b.failed && b.n == 2);
    buf_done(&b);
    buf_printf(&b, "%0400d", 1); /* longer than the buffer on the stack */
    ck_assert(!b.failed && b.n == 400 && b.at[399] == '1');
    buf_done(&b);
}
END_TEST

START_TEST(lists_of_floats_are_their_values_one_by_one)
{
    enum { MANY = 700 };
    static float values[MANY];
    for (size_t i = 0; i < MANY; i++)
        values[i] = i % 97 == 5   ? NAN
                    : i % 89 == 7 ? -INFINITY
                    : i % 83 == 11
                        ? 3e12f
                        : (float)((double)(i * 2654435761u % 20011) / 7919 - 1);
    for (unsigned decimals = 0; decimals <= JSON_WRITE_DECIMALS; decimals++)
        for (size_t n = 0; n < MANY; n += n < 5 ? 1 : 127) {
            struct json_writer fast = {0}, slow = {0};
            json_write_array(&fast);
            json_write_array(&slow);
            json_write_floats(&fast, values, n, decimals);
            json_write_floats(&fast, values, n, decimals);
            for (size_t twice = 0; twice < 2; twice++) {
                json_write_array(&slow);
                for (size_t i = 0; i < n; i++)
                    json_write_fixed(&slow, (double)values[i], decimals);
                json_write_end(&slow);
            }
            ck_assert_uint_eq(fast.buf.n, slow.buf.n);
            ck_assert_mem_eq(fast.buf.at, slow.buf.at, slow.buf.n);
            json_write_done(&fast);
            json_write_done(&slow);
        }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {commas_stand_between_elements_only,
                                  strings_are_escaped_and_repaired,
                                  every_byte_string_reads_back,
                                  doubles_and_floats_read_back_as_the_same_number,
                                  fixed_numbers_are_rounded_and_trimmed,
                                  fixed_numbers_agree_with_printf,
                                  a_list_of_floats,
                                  failing_memory_is_latched_not_crashed_on,
                                  too_deep_and_too_many_ends_are_failures,
                                  a_buffer_stops_at_its_limit,
                                  lists_of_floats_are_their_values_one_by_one,
                                  NULL};
    return suite_run("json_write", tests, 30);
}
