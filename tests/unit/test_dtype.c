/* dtype: every 16-bit pattern against the definition of its format. */
#include "model/load/dtype.h"
#include "tests/suite.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { ALL = 1 << 16 };

/* The value of a binary float with the given widths, by its definition. */
static double value_of(unsigned bits, int exponent_bits, int mantissa_bits)
{
    int exponent = (int)(bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
    int mantissa = (int)bits & ((1 << mantissa_bits) - 1);
    int bias = (1 << (exponent_bits - 1)) - 1;
    double sign = bits >> (exponent_bits + mantissa_bits) & 1 ? -1 : 1;
    if (exponent == 0)
        return sign * ldexp(mantissa, 1 - bias - mantissa_bits);
    return sign * ldexp((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits);
}

/* Converts all finite patterns in one call, from a block of exactly their size that
 * begins at an odd address, and compares bit for bit. */
static void check_every_pattern(enum dtype d, int exponent_bits, int mantissa_bits)
{
    unsigned top = (1u << exponent_bits) - 1;
    unsigned char *bytes = malloc(2 * ALL + 1);
    unsigned *patterns = malloc(ALL * sizeof *patterns);
    float *out = malloc(ALL * sizeof *out);
    size_t n = 0;
    for (unsigned bits = 0; bits < ALL; bits++) {
        if ((bits >> mantissa_bits & top) == top)
            continue;
        bytes[1 + 2 * n] = (unsigned char)(bits & 0xff);
        bytes[2 + 2 * n] = (unsigned char)(bits >> 8);
        patterns[n++] = bits;
    }
    ck_assert_uint_eq(n, ALL - (2u << mantissa_bits));
    ck_assert_uint_eq(dtype_to_float(d, bytes + 1, n, out), n);
    for (size_t i = 0; i < n; i++) {
        double want = value_of(patterns[i], exponent_bits, mantissa_bits);
        ck_assert_msg((double)out[i] == want && !signbit(out[i]) == !signbit(want),
                      "%s %04x: got %a, want %a", dtype_name(d), patterns[i], out[i],
                      want);
    }
    free(bytes);
    free(patterns);
    free(out);
}

START_TEST(every_finite_f16_is_exact)
{
    check_every_pattern(DTYPE_F16, 5, 10);
}
END_TEST

START_TEST(every_finite_bf16_is_exact)
{
    check_every_pattern(DTYPE_BF16, 8, 7);
}
END_TEST

START_TEST(f32_is_copied_bit_for_bit)
{
    static const uint32_t bits[] = {0,          0x80000000, 1,          0x807fffff,
                                    0x00800000, 0x7f7fffff, 0xff7fffff, 0x3eaaaaab};
    enum { N = 1000 };
    unsigned char *bytes = malloc(4 * N + 3);
    float *out = malloc(N * sizeof *out);
    for (size_t i = 0; i < N; i++)
        memcpy(bytes + 3 + 4 * i, &bits[i % 8], 4);
    ck_assert_uint_eq(dtype_to_float(DTYPE_F32, bytes + 3, N, out), N);
    ck_assert_mem_eq(out, bytes + 3, N * sizeof *out);
    free(bytes);
    free(out);
}
END_TEST

/* A pattern at each place of each length: blocks, their borders, and the rest. */
static void check_found(enum dtype d, const void *pattern, const void *finite)
{
    size_t width = dtype_bits(d) / 8;
    for (size_t n = 1; n < 150; n += n < 8 ? 1 : 13) {
        unsigned char *bytes = malloc(n * width);
        float *out = malloc(n * sizeof *out);
        for (size_t i = 0; i < n; i++)
            memcpy(bytes + i * width, finite, width);
        ck_assert_uint_eq(dtype_to_float(d, bytes, n, out), n);
        ck_assert_uint_eq(dtype_find_bad(d, bytes, n), n);
        for (size_t bad = n; bad-- > 0;) { /* those behind stay bad: the first counts */
            memcpy(bytes + bad * width, pattern, width);
            ck_assert_uint_eq(dtype_to_float(d, bytes, n, out), bad);
            ck_assert_uint_eq(dtype_find_bad(d, bytes, n), bad);
        }
        free(bytes);
        free(out);
    }
}

START_TEST(first_value_that_is_not_finite_is_found)
{
    static const uint32_t f32[] = {0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001,
                                   0xffffffff};
    static const uint16_t f16[] = {0x7c00, 0xfc00, 0x7e00, 0x7c01, 0xffff};
    static const uint16_t bf16[] = {0x7f80, 0xff80, 0x7fc0, 0x7f81, 0xffff};
    const uint32_t max32 = 0x7f7fffff;
    const uint16_t max16 = 0x7bff, max_b16 = 0xff7f;
    for (int i = 0; i < 5; i++) {
        check_found(DTYPE_F32, &f32[i], &max32);
        check_found(DTYPE_F16, &f16[i], &max16);
        check_found(DTYPE_BF16, &bf16[i], &max_b16);
    }
}
END_TEST

START_TEST(nothing_converts_to_nothing)
{
    float out = 5;
    ck_assert_uint_eq(dtype_to_float(DTYPE_F16, (const unsigned char *)"", 0, &out), 0);
    ck_assert(out == 5);
}
END_TEST

START_TEST(names_and_sizes_agree)
{
    static const struct {
        const char *name;
        enum dtype dtype;
        unsigned bits;
    } rows[] = {
        {"F32", DTYPE_F32, 32},        {"F16", DTYPE_F16, 16},
        {"BF16", DTYPE_BF16, 16},      {"BOOL", DTYPE_BOOL, 8},
        {"I64", DTYPE_I64, 64},        {"F4", DTYPE_F4, 4},
        {"U16", DTYPE_U16, 16},        {"C64", DTYPE_C64, 64},
        {"F6_E3M2", DTYPE_F6_E3M2, 6}, {"F8_E4M3", DTYPE_F8_E4M3, 8},
    };
    enum dtype d = DTYPE_F32;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ck_assert(dtype_find(rows[i].name, &d));
        ck_assert_int_eq(d, rows[i].dtype);
        ck_assert_str_eq(dtype_name(d), rows[i].name);
        ck_assert_uint_eq(dtype_bits(d), rows[i].bits);
        ck_assert_int_eq(dtype_is_float(d), i < 3);
    }
    ck_assert(!dtype_find("f32", &d));
    ck_assert(!dtype_find("", &d));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        every_finite_f16_is_exact,
        every_finite_bf16_is_exact,
        f32_is_copied_bit_for_bit,
        first_value_that_is_not_finite_is_found,
        nothing_converts_to_nothing,
        names_and_sizes_agree,
        NULL,
    };
    return suite_run("dtype", tests, 60);
}
