/* Weights: the tensors of one model folder, from safetensors files.
 *
 * Opens model.safetensors, or the shards of model.safetensors.index.json, and proves
 * every offset; bytes are read when a tensor is, so that loading takes no memory but the
 * net's. The rules are those of the format (https://github.com/huggingface/safetensors,
 * see safetensors.h). Never mmaps, never reads pickles. Every tensor a net needs is asked
 * for by name and shape; at the end weights_finish refuses the folder if a tensor is left
 * that nobody asked for. Messages begin with the name of the file; the caller knows the
 * folder. One thread, at load, if not said otherwise. */
#ifndef SEQ_LOAD_WEIGHTS_H
#define SEQ_LOAD_WEIGHTS_H

#include "model/base/err.h"
#include "model/base/problems.h"
#include "model/load/dtype.h"

#include <stdbool.h>
#include <stddef.h>

struct weights;

/* ERR_IO, ERR_FORMAT, ERR_UNSUPPORTED (e.g. only pytorch_model.bin is there: the message
 * says how to convert), ERR_MISMATCH (index and shards disagree), ERR_LIMIT, ERR_NOMEM.
 */
enum err_code weights_open(const char *dir, struct weights **out,
                           struct err *err) MUST_CHECK;

/* The same to be looked through, not to be loaded: failures go into *p, and *out stays
 * NULL if the tensors can't be listed. What such weights are asked for afterwards is
 * checked by name, shape and dtype and counts as used, but nothing is converted or
 * written, and every failure goes into *p too. */
enum err_code weights_survey(const char *dir, struct problems *p, struct weights **out,
                             struct err *err) MUST_CHECK;
struct problems *weights_problems(const struct weights *w); /* NULL: for loading */
void weights_close(struct weights *w);

enum { WEIGHTS_PREFIX_BYTES = 32 };

/* All later names are looked up as prefix+name if any tensor begins with the prefix, else
 * as they stand ("transformer." of GPT-2, "bert." of BERT may be present or absent). ""
 * ends that, for the names of heads. Below WEIGHTS_PREFIX_BYTES bytes. */
void weights_prefix(struct weights *w, const char *prefix);
/* The prefix in use now, "" if none. Its bytes change with the next call of the above. */
const char *weights_prefix_now(const struct weights *w);

bool weights_has(const struct weights *w, const char *name);

/* Rows of the tensor's first dimension, 0 if absent (to size heads). */
size_t weights_rows(const struct weights *w, const char *name);

/* A tensor that fits; borrowed from the weights. */
struct weights_tensor;

/* The tensor must exist with exactly this shape (rank 1 to 4) and a float dtype, and is
 * marked as used. ERR_MISMATCH names the tensor and both shapes. A survey gives none. */
enum err_code weights_find(struct weights *w, const char *name, size_t rank,
                           const size_t *shape, const struct weights_tensor **out,
                           struct err *err) MUST_CHECK;

/* Its elements first..first+n-1 as f32. Values that are not finite are refused
 * (ERR_FORMAT). ERR_IO, also if the file is shorter now. Several threads at once. */
enum err_code weights_read(const struct weights_tensor *t, size_t first, size_t n,
                           float *out, struct err *err) MUST_CHECK;

/* How its elements stand in the file, and those from `first` on as they do, in out:
 * weights_read without the conversion. */
enum dtype weights_tensor_dtype(const struct weights_tensor *t);
enum err_code weights_read_stored(const struct weights_tensor *t, size_t first, size_t n,
                                  void *out, struct err *err) MUST_CHECK;

/* Finds a tensor and reads it whole; out is left alone in a survey. */
enum err_code weights_get(struct weights *w, const char *name, size_t rank,
                          const size_t *shape, float *out, struct err *err) MUST_CHECK;

/* Marks tensors as known to be ignorable: names ending in `suffix` (".attn.bias"
 * buffers). */
void weights_ignore(struct weights *w, const char *suffix);

/* ERR_MISMATCH naming the first tensor that nobody asked for. In a survey: each of them.
 */
enum err_code weights_finish(const struct weights *w, struct err *err) MUST_CHECK;

/* After the last tensor was read: ERR_IO if a file has changed since it was opened. */
enum err_code weights_check_end(const struct weights *w, struct err *err) MUST_CHECK;

/* Totals over all tensors used, for reports: number of parameters, bytes in the file, and
 * the dtype they share ("F32", "BF16", "F16", "mixed", or "none" before the first use).
 */
size_t weights_params(const struct weights *w);
size_t weights_bytes(const struct weights *w);
const char *weights_dtype(const struct weights *w);

#endif
