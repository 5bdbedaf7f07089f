#include "model/load/dtype.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "elements are copied as stored");

/* Rows in the order of enum dtype. */
static const struct {
    const char *name;
    unsigned bits;
} table[] = {
    {"F32", 32},    {"F16", 16},        {"BF16", 16},       {"BOOL", 8},
    {"U8", 8},      {"I8", 8},          {"F8_E5M2", 8},     {"F8_E4M3", 8},
    {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
    {"U16", 16},    {"I32", 32},        {"U32", 32},        {"F64", 64},
    {"I64", 64},    {"U64", 64},        {"C64", 64},        {"F4", 4},
    {"F6_E2M3", 6}, {"F6_E3M2", 6},
};

bool dtype_find(const char *name, enum dtype *out)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcmp(table[i].name, name) == 0) {
            *out = (enum dtype)i;
            return true;
        }
    }
    return false;
}

const char *dtype_name(enum dtype d)
{
    return table[d].name;
}

unsigned dtype_bits(enum dtype d)
{
    return table[d].bits;
}

bool dtype_is_float(enum dtype d)
{
    return d <= DTYPE_BF16;
}

/* Elements are converted in blocks of fixed length: the compiler turns such loops into
 * vector code at -O2. Each returns non-zero if any element was not finite. */
enum { BLOCK = 64 };

static uint32_t is_not_finite(uint32_t bits)
{
    return (bits & 0x7f800000u) == 0x7f800000u;
}

static uint32_t convert_f32(const unsigned char *bytes, float *restrict out)
{
    uint32_t in[BLOCK], bad = 0;
    memcpy(in, bytes, sizeof in);
    for (int i = 0; i < BLOCK; i++)
        bad |= is_not_finite(in[i]);
    memcpy(out, in, sizeof in);
    return bad;
}

/* The upper half of a float. */
static uint32_t convert_bf16(const unsigned char *bytes, float *restrict out)
{
    uint16_t in[BLOCK];
    uint32_t wide[BLOCK], bad = 0;
    memcpy(in, bytes, sizeof in);
    for (int i = 0; i < BLOCK; i++) {
        wide[i] = (uint32_t)in[i] << 16;
        bad |= is_not_finite(wide[i]);
    }
    memcpy(out, wide, sizeof wide);
    return bad;
}

/* The bits shifted into place read as a float that is 2^112 (the difference of the
 * exponent biases, 127 - 15) too small; multiplying is exact and normalises denormals. */
static uint32_t convert_f16(const unsigned char *bytes, float *restrict out)
{
    uint16_t in[BLOCK];
    uint32_t wide[BLOCK], bad = 0;
    float value[BLOCK];
    memcpy(in, bytes, sizeof in);
    for (int i = 0; i < BLOCK; i++) {
        wide[i] = ((uint32_t)in[i] & 0x8000u) << 16 | ((uint32_t)in[i] & 0x7fffu) << 13;
        bad |= (in[i] & 0x7c00u) == 0x7c00u;
    }
    memcpy(value, wide, sizeof value);
    for (int i = 0; i < BLOCK; i++)
        out[i] = value[i] * 0x1p112f;
    return bad;
}

static uint32_t convert(enum dtype d, const unsigned char *bytes, float *restrict out)
{
    if (d == DTYPE_F32)
        return convert_f32(bytes, out);
    return d == DTYPE_BF16 ? convert_bf16(bytes, out) : convert_f16(bytes, out);
}

/* The index of the first of n stored elements that is not finite, n if there is none. */
static size_t first_bad(enum dtype d, const unsigned char *bytes, size_t n)
{
    const uint16_t exponent = d == DTYPE_F16 ? 0x7c00 : 0x7f80;
    size_t width = dtype_bits(d) / 8;
    for (size_t i = 0; i < n; i++) {
        uint16_t high; /* sign and exponent are in the last two bytes of every format */
        memcpy(&high, bytes + (i + 1) * width - 2, 2);
        if ((high & exponent) == exponent)
            return i;
    }
    return n;
}

/* Blocks again: no branch for each element. */
static uint32_t has_bad(enum dtype d, const unsigned char *bytes)
{
    uint32_t in[BLOCK], bad = 0;
    uint16_t halves[BLOCK], all_ones = d == DTYPE_F16 ? 0x7c00 : 0x7f80;
    if (d == DTYPE_F32) {
        memcpy(in, bytes, sizeof in);
        for (int i = 0; i < BLOCK; i++)
            bad |= is_not_finite(in[i]);
        return bad;
    }
    memcpy(halves, bytes, sizeof halves);
    for (int i = 0; i < BLOCK; i++)
        bad |= (halves[i] & all_ones) == all_ones;
    return bad;
}

size_t dtype_find_bad(enum dtype d, const unsigned char *bytes, size_t n)
{
    assert(dtype_is_float(d));
    size_t width = dtype_bits(d) / 8, at = 0;
    while (n - at >= BLOCK && !has_bad(d, bytes + at * width))
        at += BLOCK;
    return at + first_bad(d, bytes + at * width, n - at);
}

size_t dtype_to_float(enum dtype d, const unsigned char *bytes, size_t n, float *out)
{
    assert(dtype_is_float(d));
    size_t width = dtype_bits(d) / 8, bad = n, at = 0;
    for (; n - at >= BLOCK; at += BLOCK)
        if (convert(d, bytes + at * width, out + at) && bad == n)
            bad = at + first_bad(d, bytes + at * width, BLOCK);
    if (at < n) { /* the rest, padded with zeros to a block */
        unsigned char last[BLOCK * sizeof(float)] = {0};
        float values[BLOCK];
        memcpy(last, bytes + at * width, (n - at) * width);
        if (convert(d, last, values) && bad == n)
            bad = at + first_bad(d, last, n - at);
        memcpy(out + at, values, (n - at) * sizeof *out);
    }
    return bad;
}
