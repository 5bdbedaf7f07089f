#include "server/api/map_format.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

const char *const MAP_ENCODINGS[] = {
    [MAP_JSON] = "json", [MAP_BINARY] = "binary", [MAP_NPY] = "npy", NULL};
const char *const MAP_DTYPES[] = {
    [MAP_FLOAT32] = "float32", [MAP_FLOAT16] = "float16", [MAP_UINT8] = "uint8", NULL};

const char *const MAP_MEDIA[] = {MAP_TYPE_BINARY, MAP_TYPE_NPY, NULL};

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
    float share = x > 0 ? x : 0;
    return (uint8_t)((share < 1 ? share : 1) * 255 + 0.5f);
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

/* ---- what replies say ------------------------------------------------------------ */

enum map_encoding map_encoding_accepted(const struct request *q)
{
    const char *accept = q->header ? q->header(q, "Accept") : NULL;
    const char *binary = accept ? strstr(accept, MAP_TYPE_BINARY) : NULL;
    const char *npy = accept ? strstr(accept, MAP_TYPE_NPY) : NULL;
    const char *json = accept ? strstr(accept, "application/json") : NULL;
    if (binary && (!npy || binary < npy) && (!json || binary < json))
        return MAP_BINARY;
    return npy && (!json || npy < json) ? MAP_NPY : MAP_JSON;
}

static void write_shape(struct json_writer *w, const struct map_axis *axes, size_t rank)
{
    json_write_key(w, "shape");
    json_write_array(w);
    for (size_t i = 0; i < rank; i++)
        json_write_uint(w, axes[i].n);
    json_write_end(w);
}

void map_axes_write(struct json_writer *w, const struct map_axis *axes, size_t rank)
{
    json_write_key(w, "axes");
    json_write_array(w);
    for (size_t i = 0; i < rank; i++)
        json_write_string(w, axes[i].name);
    json_write_end(w);
    write_shape(w, axes, rank);
}

static const struct doc_shape PARAMETERS[] = {
    {"binary_data_size", DOC_INTEGER, .help = "Its bytes"}, {0}};

const struct doc_shape map_output_shape[] = {
    {"name", DOC_STRING,
     .help = "attention; indices, residual, values with top_k; or states"},
    {"datatype", DOC_STRING, .help = "FP32, FP16, UINT8, INT32"},
    {"shape", DOC_INTEGERS, .help = "Length of each axis"},
    {"parameters", DOC_OBJECT, .of = PARAMETERS},
    {0}};

void map_output_write(struct json_writer *w, const char *name, const char *datatype,
                      const struct map_axis *axes, size_t rank, size_t bytes)
{
    json_write_object(w);
    json_write_key_string(w, "name", name);
    json_write_key_string(w, "datatype", datatype);
    write_shape(w, axes, rank);
    json_write_key(w, "parameters");
    json_write_object(w);
    json_write_key_uint(w, "binary_data_size", bytes);
    json_write_end(w);
    json_write_end(w);
}

/* ---- frames ---------------------------------------------------------------------- */

/* Blanks up to a multiple of `to`, `more` bytes still to come. */
static void pad(struct buf *b, size_t to, size_t more)
{
    while (!b->failed && (b->n + more) % to)
        buf_put(b, " ", 1);
}

/* head, then the n bytes, as the reply's body; both are taken. */
static void join(struct reply *r, struct buf *take_head, unsigned char *take_bytes,
                 size_t n)
{
    size_t head = take_head->n, all = 0;
    unsigned char *at = NULL;
    if (!take_head->failed && mem_add(head, n, &all))
        at = mem_resize(take_bytes, all, 1);
    buf_done(&r->body);
    if (at) {
        memmove(at + head, at, n);
        memcpy(at, take_head->at, head);
        r->body = (struct buf){.at = (char *)at, .n = all, .cap = all};
    } else {
        mem_free(take_bytes);
        r->body.failed = true;
    }
    buf_done(take_head);
}

void map_frame_binary(struct reply *r, struct json_writer *take_head,
                      unsigned char *take_bytes, size_t n)
{
    enum { ALIGN = 8 };
    pad(&take_head->buf, ALIGN, 0);
    r->content_type = MAP_TYPE_BINARY;
    r->inference_header_n = take_head->buf.n;
    join(r, &take_head->buf, take_bytes, n);
    json_write_done(take_head);
}

void map_frame_npy(struct reply *r, enum map_dtype dtype, const size_t *shape,
                   size_t rank, unsigned char *take_bytes, size_t n)
{
    enum { ALIGN = 64, LENGTH = 8, PREFIX = 10 };
    static const char MAGIC[PREFIX] = "\x93NUMPY\x01"; /* version 1.0, length to come */
    struct buf head = {0};
    buf_put(&head, MAGIC, PREFIX);
    buf_printf(&head, "{'descr': '%s', 'fortran_order': False, 'shape': (",
               DTYPES[dtype].numpy);
    for (size_t i = 0; i < rank; i++)
        buf_printf(&head, "%zu,%s", shape[i], i + 1 < rank ? " " : "");
    buf_puts(&head, "), }");
    pad(&head, ALIGN, 1);
    buf_put(&head, "\n", 1);
    if (!head.failed) {
        head.at[LENGTH] = (char)((head.n - PREFIX) & 0xff);
        head.at[LENGTH + 1] = (char)((head.n - PREFIX) >> 8);
    }
    r->content_type = MAP_TYPE_NPY;
    join(r, &head, take_bytes, n);
}
