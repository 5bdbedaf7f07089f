#include "server/api/map_format.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

const char *const MAP_ENCODINGS[] = {
    [MAP_JSON] = "json", [MAP_BINARY] = "binary", [MAP_NPY] = "npy", NULL};
const char *const MAP_DTYPES[] = {
    [MAP_FLOAT32] = "float32", [MAP_FLOAT16] = "float16", [MAP_UINT8] = "uint8", NULL};

static const struct dtype_row {
    size_t bytes;
    const char *tensor, *numpy;
} DTYPES[] = {[MAP_FLOAT32] = {4, "FP32", "<f4"},
              [MAP_FLOAT16] = {2, "FP16", "<f2"},
              [MAP_UINT8] = {1, "UINT8", "|u1"}};

const double MAP_UINT8_SCALE = 1.0 / 255;

size_t map_dtype_bytes(enum map_dtype dtype)
{
    return DTYPES[dtype].bytes;
}

const char *map_dtype_tensor(enum map_dtype dtype)
{
    return DTYPES[dtype].tensor;
}

double map_dtype_row_error(enum map_dtype dtype, size_t n)
{
    if (dtype == MAP_UINT8)
        return 0.5 * MAP_UINT8_SCALE * (double)n;
    /* Half a unit of the last of 11 digits, and of what has no leading digit. */
    return dtype == MAP_FLOAT16 ? 0x1p-11 + 0x1p-25 * (double)n : 0;
}

/* ---- numbers --------------------------------------------------------------------- */

/* To nearest, ties to even. The lowest normal half is 2^-14: below it the 10 digits stand
 * for steps of 2^-24, which adding a float of that step's size rounds to. */
static uint16_t half_of(float x)
{
    enum { INFINITE = 0x7c00, QUIET = 0x200 };
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
    if (rest > 0x7f800000)
        return (uint16_t)(sign | INFINITE | QUIET);
    if (rest >= 0x477ff000) /* 65520, half way to what would be the next */
        return (uint16_t)(sign | INFINITE);
    if (rest < 0x38800000) {
        float small = fabsf(x) + 0.5f;
        memcpy(&bits, &small, sizeof bits);
        return (uint16_t)(sign | (bits - 0x3f000000));
    }
    rest += 0xfff + (rest >> 13 & 1);
    return (uint16_t)(sign | ((rest - 0x38000000) >> 13));
}

static uint8_t steps_of(float x)
{
    return (uint8_t)lrintf(fminf(fmaxf(x, 0), 1) * 255);
}

void map_encode(enum map_dtype dtype, size_t n, const float *x, void *to)
{
    if (dtype == MAP_FLOAT32) {
        memcpy(to, x, n * sizeof *x);
    } else if (dtype == MAP_UINT8) {
        uint8_t *bytes = to;
        for (size_t i = 0; i < n; i++)
            bytes[i] = steps_of(x[i]);
    } else {
        unsigned char *bytes = to;
        for (size_t i = 0; i < n; i++) {
            uint16_t half = half_of(x[i]);
            memcpy(bytes + i * sizeof half, &half, sizeof half);
        }
    }
}

void map_encode_json(struct json_writer *w, enum map_dtype dtype, unsigned decimals,
                     size_t n, const float *x)
{
    if (dtype != MAP_UINT8) {
        json_write_floats(w, x, n, decimals);
        return;
    }
    json_write_array(w);
    for (size_t i = 0; i < n; i++)
        json_write_fixed(w, steps_of(x[i]), 0);
    json_write_end(w);
}

/* ---- frames ---------------------------------------------------------------------- */

/* Blanks up to a multiple of `to`, `more` bytes still to come. */
static void pad(struct buf *b, size_t to, size_t more)
{
    while (!b->failed && (b->n + more) % to)
        buf_put(b, " ", 1);
}

void map_frame_binary(struct reply *r, struct json_writer *take_head, const void *bytes,
                      size_t n)
{
    enum { ALIGN = 8 };
    reply_take_json(r, take_head);
    pad(&r->body, ALIGN, 0);
    r->content_type = MAP_TYPE_BINARY;
    r->inference_header_n = r->body.n;
    buf_put(&r->body, bytes, n);
}

void map_frame_npy(struct reply *r, enum map_dtype dtype, const size_t *shape,
                   size_t rank, const void *bytes, size_t n)
{
    enum { ALIGN = 64, PREFIX = 10 };
    static const char MAGIC[] = "\x93NUMPY\x01"; /* and the version's second byte, 0 */
    struct buf head = {0};
    buf_printf(&head, "{'descr': '%s', 'fortran_order': False, 'shape': (",
               DTYPES[dtype].numpy);
    for (size_t i = 0; i < rank; i++)
        buf_printf(&head, "%zu,%s", shape[i], i + 1 < rank ? " " : "");
    buf_puts(&head, "), }");
    pad(&head, ALIGN, PREFIX + 1);
    buf_put(&head, "\n", 1);
    const unsigned char length[] = {head.n & 0xff, (head.n >> 8) & 0xff};
    buf_put(&r->body, MAGIC, sizeof MAGIC);
    buf_put(&r->body, (const char *)length, sizeof length);
    buf_put(&r->body, head.at, head.n);
    buf_put(&r->body, bytes, n);
    r->body.failed |= head.failed;
    r->content_type = MAP_TYPE_NPY;
    buf_done(&head);
}
