/* err, mem, arena, utf8 and json_scan of model/base. */
#include "model/base/arena.h"
#include "model/base/err.h"
#include "model/base/json_scan.h"
#include "model/base/mem.h"
#include "model/base/utf8.h"
#include "tests/suite.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* ---- err ------------------------------------------------------------------------- */

START_TEST(first_error_stays)
{
    struct err err = {0};
    ck_assert_int_eq(err_set(&err, ERR_IO, "disk %d", 7), ERR_IO);
    ck_assert_int_eq(err_set(&err, ERR_BUG, "later"), ERR_BUG);
    ck_assert_int_eq(err.code, ERR_IO);
    ck_assert_str_eq(err.msg, "disk 7");
}
END_TEST

START_TEST(hostile_text_becomes_printable)
{
    struct err err = {0};
    err_param(&err, ERR_INPUT, "a\nb", "name '%s'", "\xff\x01 caf\xc3\xa9 \xed\xa0\x80");
    ck_assert_str_eq(err.param, "a?b");
    ck_assert_str_eq(err.msg, "name '?"
                              "? caf\xc3\xa9 ??"
                              "?'");
}
END_TEST

START_TEST(long_messages_are_cut_to_valid_text)
{
    struct err err = {0};
    char big[2 * ERR_MSG_BYTES + 1];
    for (size_t i = 0; i + 1 < sizeof big; i += 2)
        memcpy(big + i, "\xc3\xa9", 2);
    big[sizeof big - 1] = '\0';
    err_set(&err, ERR_INPUT, "x%s", big);
    ck_assert_uint_eq(strlen(err.msg), ERR_MSG_BYTES - 1);
    ck_assert_uint_eq(utf8_valid(err.msg, strlen(err.msg)), strlen(err.msg));
    err_prefix(&err, "weights/model");
    ck_assert_uint_eq(utf8_valid(err.msg, strlen(err.msg)), strlen(err.msg));
    ck_assert_int_eq(strncmp(err.msg, "weights/model: x", 16), 0);
}
END_TEST

START_TEST(every_code_has_a_name)
{
    for (int code = ERR_OK; code <= ERR_BUG; code++)
        ck_assert_str_ne(err_name((enum err_code)code), "unknown");
    ck_assert_str_eq(err_name((enum err_code)999), "unknown");
}
END_TEST

/* ---- mem ------------------------------------------------------------------------- */

START_TEST(sizes_that_wrap_fail)
{
    ck_assert_ptr_null(mem_alloc(SIZE_MAX / 2, 3));
    ck_assert_ptr_null(mem_zero(SIZE_MAX / 2, 3));
    ck_assert_ptr_null(mem_aligned(SIZE_MAX, 1));
    ck_assert_ptr_null(mem_resize(NULL, SIZE_MAX / 2, 3));
    ck_assert_ptr_null(mem_copy("", SIZE_MAX));
    size_t out = 5;
    ck_assert(!mem_mul(SIZE_MAX, 2, &out));
    ck_assert(!mem_add(SIZE_MAX, 2, &out));
    ck_assert_uint_eq(out, 5); /* untouched */
    ck_assert(mem_add(2, 3, &out));
    ck_assert_uint_eq(out, 5);
}
END_TEST

START_TEST(aligned_blocks_are_aligned_and_zero)
{
    for (size_t n = 0; n < 200; n += 13) {
        unsigned char *block = mem_aligned(n, 1);
        ck_assert_ptr_nonnull(block);
        ck_assert_uint_eq((uintptr_t)block % 64, 0);
        for (size_t i = 0; i < n; i++)
            ck_assert_uint_eq(block[i], 0);
        mem_free(block);
    }
}
END_TEST

START_TEST(fault_hook_strikes_once)
{
    mem_fail_after(1);
    void *first = mem_alloc(8, 1);
    ck_assert_ptr_nonnull(first);
    ck_assert(mem_fail_pending());
    ck_assert_ptr_null(mem_alloc(8, 1));
    ck_assert(!mem_fail_pending());
    void *third = mem_alloc(8, 1);
    ck_assert_ptr_nonnull(third);
    mem_fail_after(-1);
    mem_free(first);
    mem_free(third);
}
END_TEST

/* ---- arena ----------------------------------------------------------------------- */

START_TEST(arena_hands_out_what_was_reserved_and_no_more)
{
    struct arena a;
    struct err err = {0};
    arena_init(&a);
    ck_assert_ptr_null(arena_floats(&a, 1));
    size_t bytes = arena_float_cost(3) + arena_byte_cost(65);
    ck_assert_int_eq(arena_reserve(&a, bytes, &err), ERR_OK);
    size_t mark = arena_mark(&a);
    float *x = arena_floats(&a, 3);
    unsigned char *y = arena_bytes(&a, 65);
    ck_assert_ptr_nonnull(x);
    ck_assert_ptr_nonnull(y);
    ck_assert_uint_eq((uintptr_t)y % 64, 0);
    ck_assert_ptr_null(arena_bytes(&a, 1));
    ck_assert_uint_eq(a.peak, bytes);
    arena_rewind(&a, mark);
    ck_assert_ptr_eq(arena_floats(&a, 3), x);
    ck_assert_ptr_null(arena_floats(&a, SIZE_MAX / 2));
    arena_rewind(&a, 0);
    ck_assert_int_eq(arena_reserve(&a, SIZE_MAX, &err), ERR_NOMEM);
    arena_done(&a);
}
END_TEST

/* ---- utf8 ------------------------------------------------------------------------ */

START_TEST(every_scalar_value_round_trips)
{
    for (uint32_t cp = 0; cp <= 0x10ffff; cp++) {
        char s[4];
        if (cp >= 0xd800 && cp <= 0xdfff)
            continue;
        size_t n = utf8_put(cp, s), len = 0;
        ck_assert_uint_eq(utf8_valid(s, n), n);
        ck_assert_uint_eq(utf8_get(s, n, &len), cp);
        ck_assert_uint_eq(len, n);
        ck_assert_uint_eq(utf8_valid(s, n - 1), 0);
        ck_assert_uint_eq(utf8_count(s, n, UTF8_CODE_POINTS), 1);
        ck_assert_uint_eq(utf8_count(s, n, UTF16_UNITS), cp > 0xffff ? 2 : 1);
    }
}
END_TEST

START_TEST(refuses_what_is_not_utf8)
{
    static const char *const bad[] = {"\x80",
                                      "\xc0\xaf",
                                      "\xc1\xbf",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xe2\x82",
                                      "\xff"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[64];
        int n = snprintf(text, sizeof text, "abcdefghi%szzzzzzzzzzz", bad[i]);
        ck_assert_uint_eq(utf8_valid(text, (size_t)n), 9);
    }
    ck_assert_uint_eq(utf8_valid("a\0b", 3), 3);
}
END_TEST

/* ---- json_scan ------------------------------------------------------------------- */

static enum err_code scan(const char *text, size_t depth, size_t values)
{
    struct json_limits limits = {.max_depth = depth, .max_values = values};
    struct err err = {0};
    return json_scan(text, strlen(text), &limits, &err);
}

START_TEST(counts_depth_and_values)
{
    ck_assert_int_eq(scan("[[[]]]", 3, 3), ERR_OK);
    ck_assert_int_eq(scan("[[[]]]", 2, 9), ERR_LIMIT);
    ck_assert_int_eq(scan("{\"a\": [1, true, null, \"x\"]}", 2, 7), ERR_OK);
    ck_assert_int_eq(scan("{\"a\": [1, true, null, \"x\"]}", 2, 6), ERR_LIMIT);
    ck_assert_int_eq(scan("\"[[[[{{{{\\\"[[[[\"", 0, 1), ERR_OK);
    ck_assert_int_eq(scan("\"unterminated \\", 1, 1), ERR_OK);
    ck_assert_int_eq(scan("]]]][", 1, 1), ERR_OK);
    ck_assert_int_eq(scan("[\"\xff\"]", 9, 9), ERR_FORMAT);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        first_error_stays,
        hostile_text_becomes_printable,
        long_messages_are_cut_to_valid_text,
        every_code_has_a_name,
        sizes_that_wrap_fail,
        aligned_blocks_are_aligned_and_zero,
        fault_hook_strikes_once,
        arena_hands_out_what_was_reserved_and_no_more,
        every_scalar_value_round_trips,
        refuses_what_is_not_utf8,
        counts_depth_and_values,
        NULL,
    };
    return suite_run("base", tests, 60);
}
