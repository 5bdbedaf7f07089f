/* Dtype: the number formats of safetensors, and the three that become floats here.
 *
 * Pure functions; any thread. */
#ifndef SEQ_LOAD_DTYPE_H
#define SEQ_LOAD_DTYPE_H

#include <stdbool.h>
#include <stddef.h>

/* The order is that of the table in dtype.c. */
enum dtype {
    DTYPE_F32,
    DTYPE_F16,
    DTYPE_BF16, /* the formats up to here are read */
    DTYPE_BOOL,
    DTYPE_U8,
    DTYPE_I8,
    DTYPE_F8_E5M2,
    DTYPE_F8_E4M3,
    DTYPE_F8_E8M0,
    DTYPE_F8_E4M3FNUZ,
    DTYPE_F8_E5M2FNUZ,
    DTYPE_I16,
    DTYPE_U16,
    DTYPE_I32,
    DTYPE_U32,
    DTYPE_F64,
    DTYPE_I64,
    DTYPE_U64,
    DTYPE_C64,
    DTYPE_F4,
    DTYPE_F6_E2M3,
    DTYPE_F6_E3M2
};

/* False if no format has this name. */
bool dtype_find(const char *name, enum dtype *out);
const char *dtype_name(enum dtype d);
unsigned dtype_bits(enum dtype d); /* of one element; not always a multiple of 8 */
bool dtype_is_float(enum dtype d); /* F32, F16 or BF16: dtype_to_float takes it */

/* Converts n little-endian elements, at any alignment, to out [n]. Every finite value is
 * exact, denormals and -0 included. Returns the index of the first element that is NaN or
 * infinite, n if there is none; out is filled in any case. */
size_t dtype_to_float(enum dtype d, const unsigned char *bytes, size_t n, float *out);
/* The same index, and nothing converted. */
size_t dtype_find_bad(enum dtype d, const unsigned char *bytes, size_t n);

#endif
