/* Oip_tensor: tensors of the Open Inference Protocol, version 2: outputs as they are
 * filled and written, and BYTES as its binary extension sends them. Pure; any thread. */
#ifndef SERVER_API_OIP_TENSOR_H
#define SERVER_API_OIP_TENSOR_H

#include "server/buf.h"
#include "server/json_read.h"
#include "server/json_write.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum oip_datatype { OIP_BYTES, OIP_FP32, OIP_INT64, OIP_FP16 };
enum { OIP_RANK = 4 };

/* The protocol's word, "FP32". */
const char *oip_datatype_name(enum oip_datatype t);

/* An output. Its elements are kept as the binary form has them: little-endian, row by
 * row, each of BYTES behind its length. */
struct oip_tensor {
    const char *name;
    enum oip_datatype datatype;
    size_t rank, shape[OIP_RANK];
    bool binary; /* stands behind the JSON, not in it */
    struct buf data;
};

void oip_put_text(struct oip_tensor *t, const char *at, size_t n);
void oip_put_float(struct oip_tensor *t, float x);
void oip_put_int(struct oip_tensor *t, int64_t x);

/* Each row of FP32 becomes the `most` largest as texts "value:index:label", the largest
 * first, ties by the lower index. */
void oip_classify(struct oip_tensor *t, size_t most, const char *const *labels);

/* Its object in the list of outputs; FP16 goes in binary only. Text that is no UTF-8 has
 * U+FFFD in JSON. */
void oip_tensor_write(struct json_writer *w, const struct oip_tensor *t);

/* The elements of BYTES at[0..n): one block, the caller's. ERR_FORMAT if the last one is
 * cut off. `name` is the tensor's. */
enum err_code oip_read_bytes(const char *name, const char *at, size_t n,
                             struct json_text **out, size_t *count,
                             struct err *err) MUST_CHECK;

#endif
