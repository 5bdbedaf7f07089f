/* Builder: takes the tensors of one net from a model folder, checks their shapes, reads
 * the vectors and lists the matrices and tables, which packing_run then packs for the
 * kernels in use. Load time only, one thread.
 *
 * The first failure stays in `rc` (and in *err); every later call does nothing, so that a
 * loader reads as a list of tensors with one check at its end. Names are looked up behind
 * the scope, "h.3." + "attn.c_proj.weight". Vectors, floats and arrays belong to the
 * net, which frees them with mem_free; matrices and tables lie in its `packed` (net.h).
 * They are filled after the loader has returned, so it must not read one, and must not
 * move the structs they are in.
 *
 * A survey (weights of weights_survey) runs the same loaders to find out all that is
 * wrong: every tensor is checked, every failure told, and `rc` stays ERR_OK. Vectors,
 * floats and arrays are there as ever, but all zero; matrices and embeddings have their
 * sizes but no data. So a loader needs no care. */
#ifndef SEQ_NETS_BUILDER_H
#define SEQ_NETS_BUILDER_H

#include "model/base/err.h"
#include "model/kernels/kernels.h"
#include "model/load/weights.h"
#include "model/nets/layers.h"
#include "model/nets/packing.h"

#include <stdbool.h>
#include <stddef.h>

enum { BUILDER_NAME_BYTES = 128 };

struct builder {
    struct weights *w;
    const struct kernels *k;
    struct packing *packing;  /* NULL in a survey */
    enum precision precision; /* of packed matrices */
    bool exact;               /* those of now are f32 all the same */
    struct err *err;
    enum err_code rc;
    size_t bytes;      /* of vectors and floats */
    size_t int8_width; /* K of the widest int8 matrix; 0: there is none */
    char scope[48];
    const struct weights_tensor *tied; /* that of builder_tied, for builder_copy */
};

void builder_fail(struct builder *b, enum err_code code, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void builder_scope(struct builder *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
bool builder_has(const struct builder *b, const char *name);

/* n zeroed floats, n elements of `size` bytes that aren't weights; NULL on failure. */
float *builder_floats(struct builder *b, size_t n);
void *builder_array(struct builder *b, size_t n, size_t size);

/* Tensor [n] into out. */
void builder_read(struct builder *b, const char *name, size_t n, float *out);
/* Tensor [rows,columns] into out, now. */
void builder_read_table(struct builder *b, const char *name, size_t rows, size_t columns,
                        float *out);
/* Tensor [n] as a vector of its own. */
float *builder_vector(struct builder *b, const char *name, size_t n);

/* Memory for a packed W [N,K], all zero. It is f32 while `exact` is set, as it is for the
 * heads of classifiers: they take no time, and no layer behind them makes up for what
 * rounding them does to the scores. */
void builder_matrix(struct builder *b, struct matrix *m, size_t N, size_t K);
/* Tensor [n,K] becomes rows first..first+n-1 of m. */
void builder_rows(struct builder *b, struct matrix *m, const char *name, size_t first,
                  size_t n);
/* Tensor [N,K] as a packed matrix of its own. */
void builder_packed(struct builder *b, struct matrix *m, const char *name, size_t N,
                    size_t K);
/* name.weight [N,K] and name.bias [N]. */
void builder_linear(struct builder *b, struct linear *l, const char *name, size_t N,
                    size_t K);
/* The same with name.bias only if `bias`. */
void builder_linear_with(struct builder *b, struct linear *l, const char *name, size_t N,
                         size_t K, bool bias);
/* Several of them as one product: parts[i].name.weight [rows,K] below each other, and
 * with `bias` their biases. */
struct builder_part {
    const char *name;
    size_t rows;
};
void builder_stack(struct builder *b, struct linear *l, const struct builder_part *parts,
                   size_t n, size_t K, bool bias);
/* GPT-2's Conv1D: name.weight [K,N] and name.bias [N]. */
void builder_conv1d(struct builder *b, struct linear *l, const char *name, size_t N,
                    size_t K);
/* name.weight and name.bias [D], or gamma and beta, as BERT's first files call them. */
void builder_norm(struct builder *b, struct norm *n, const char *name, size_t D,
                  float eps);
/* name.weight alone: a norm without bias, by root mean square if `rms`. */
void builder_norm_plain(struct builder *b, struct norm *n, const char *name, size_t D,
                        float eps, bool rms);
/* Tensor [V,D] as a plain table, of the file's numbers. */
void builder_embedding(struct builder *b, struct embedding *e, const char *name, size_t V,
                       size_t D);
/* A packed matrix [V,D] that is the look-up table `name` and an output layer as well. */
void builder_tied(struct builder *b, struct embedding *e, struct matrix *m,
                  const char *name, size_t V, size_t D);
/* A file that holds the tied matrix m, the tensor `name` of builder_tied, a second time,
 * as `copy`, must hold the same values there. */
void builder_copy(struct builder *b, const struct matrix *m, const char *name,
                  const char *copy);

#endif
