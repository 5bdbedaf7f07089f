/* Safetensors: the header of one file, proved.
 *
 * The format (https://github.com/huggingface/safetensors): 8 bytes N little endian, N
 * bytes JSON, data. After a successful parse these hold, and nobody checks them again:
 * - every tensor's bytes lie inside the file and their number is the product of its shape
 *   times the size of its dtype;
 * - the tensors cover the data from its first to its last byte without hole or overlap;
 * - names are unique, without NUL, and __metadata__ holds strings only.
 * Any thread. */
#ifndef SEQ_LOAD_SAFETENSORS_H
#define SEQ_LOAD_SAFETENSORS_H

#include "model/base/err.h"
#include "model/load/dtype.h"

#include <stddef.h>

enum {
    SAFETENSORS_RANK = 8,                 /* most dimensions that are read */
    SAFETENSORS_HEADER_BYTES = 100000000, /* most bytes of JSON, as the format says */
    SAFETENSORS_SHAPE_BYTES = 24 * SAFETENSORS_RANK
};

struct safetensor {
    char *name;
    enum dtype dtype;
    size_t rank, shape[SAFETENSORS_RANK];
    size_t count;      /* product of the shape; 1 for rank 0 */
    size_t begin, end; /* within the file */
};

struct safetensors {
    struct safetensor *tensors; /* sorted by name (strcmp) */
    size_t n;
};

/* How many bytes at the front of a file of n bytes are its header. `bytes` are its first
 * SAFETENSORS_FIRST ones, or all n. name is what messages call it. ERR_FORMAT. */
enum { SAFETENSORS_FIRST = 9 };
enum err_code safetensors_front(const char *name, const unsigned char *bytes, size_t n,
                                size_t *front, struct err *err) MUST_CHECK;
/* Parses the header of a file of n bytes; `bytes` are as many as safetensors_front says,
 * or as it wants. ERR_FORMAT, ERR_UNSUPPORTED (a dtype nobody knows, too many
 * dimensions), ERR_LIMIT (a header that is not worth parsing), ERR_NOMEM. */
enum err_code safetensors_parse(const char *name, const unsigned char *bytes, size_t n,
                                struct safetensors *out, struct err *err) MUST_CHECK;
void safetensors_done(struct safetensors *s); /* a zeroed struct is fine */

/* "[768,2304]", for messages. Returns buf. */
const char *safetensors_shape(const size_t *shape, size_t rank,
                              char buf[SAFETENSORS_SHAPE_BYTES]);

#endif
