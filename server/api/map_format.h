/* Map_format: the numbers of maps and states as bytes - float32, float16 or uint8,
 * little-endian, row by row - and the two frames around them: that of the Open Inference
 * Protocol's binary tensors, and numpy's. Pure; any thread. */
#ifndef SERVER_API_MAP_FORMAT_H
#define SERVER_API_MAP_FORMAT_H

#include "server/api/openapi.h"
#include "server/json_write.h"
#include "server/reply.h"

#include <stddef.h>

enum map_encoding { MAP_JSON, MAP_BINARY, MAP_NPY };
enum { MAP_ENCODING_UNSAID = -1 }; /* by the body: the Accept header decides */
enum map_dtype { MAP_FLOAT32, MAP_FLOAT16, MAP_UINT8 };
extern const char *const MAP_ENCODINGS[]; /* as requests and replies spell them */
extern const char *const MAP_DTYPES[];

/* Their media types. */
#define MAP_TYPE_BINARY "application/octet-stream"
#define MAP_TYPE_NPY    "application/x-npy"

/* Both, for struct route_doc. */
extern const char *const MAP_MEDIA[];

/* The first of our forms in the request's Accept header, JSON without one. */
enum map_encoding map_encoding_accepted(const struct request *q);

size_t map_dtype_bytes(enum map_dtype dtype);
/* The protocol's word, "FP32". */
const char *map_dtype_tensor(enum map_dtype dtype);
/* What one step of uint8 is worth. */
extern const double MAP_UINT8_SCALE;
/* Most that a row of n weights whose sum is 1 can be off by it. */
double map_dtype_row_error(enum map_dtype dtype, size_t n);

/* n values to bytes: float16 to nearest, ties to even, above 65504 infinite; uint8 the
 * nearest of 0, 1/255, ... 1. */
void map_encode(enum map_dtype dtype, size_t n, const float *x, void *to);

/* An array of n values as JSON: rounded to so many decimals, or uint8 steps. */
void map_encode_json(struct json_writer *w, enum map_dtype dtype, unsigned decimals,
                     size_t n, const float *x);

/* What the reply says of an array: the keys axes and shape. */
struct map_axis {
    const char *name;
    size_t n;
};
void map_axes_write(struct json_writer *w, const struct map_axis *axes, size_t rank);

/* One of the tensors behind a binary head, as `outputs` lists them. */
void map_output_write(struct json_writer *w, const char *name, const char *datatype,
                      const struct map_axis *axes, size_t rank, size_t bytes);
extern const struct doc_shape map_output_shape[];

/* Frames around n bytes of tensors, which the reply takes, also on failure (it has then
 * failed); they are moved, not copied, for they may be most of our memory.
 * Binary: the head (JSON text, which it takes too) padded with blanks to a multiple of 8;
 * a header of the reply tells where the tensors begin. */
void map_frame_binary(struct reply *r, struct json_writer *take_head,
                      unsigned char *take_bytes, size_t n);
/* Or numpy's header, version 1.0, padded to 64, and the one array. */
void map_frame_npy(struct reply *r, enum map_dtype dtype, const size_t *shape,
                   size_t rank, unsigned char *take_bytes, size_t n);

#endif
