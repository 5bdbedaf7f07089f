/* Sample: from a row of logits to the next token, by a struct seq_sampling.
 *
 * What is kept and with which shares equals what transformers' logits processors and
 * warpers of the same names keep. Nothing is sorted: the last logit that is kept is found
 * by its bits, from the first to the last, in time linear in the vocabulary; and what the
 * maxima of blocks show to be out of the question is not looked at. All sums are doubles
 * in a fixed order, and a draw is a function of seed and step, so the same row
 * gives the same token wherever and beside whatever it is computed. One owner at a time.
 */
#ifndef SEQ_TASKS_SAMPLE_H
#define SEQ_TASKS_SAMPLE_H

#include "model/base/arena.h"
#include "model/base/err.h"
#include "model/kernels/kernels.h"
#include "model/seq.h"

#include <stddef.h>
#include <stdint.h>

/* A token whose logit is changed before anything else: biased, or seen with penalties. */
struct sampler_mark {
    int32_t id;
    uint32_t generated; /* times */
    bool seen;          /* in the prompt or generated */
    float bias;
    float was; /* its logit, while the row is changed */
};

/* Zeroed is fine for sampler_done only. */
struct sampler {
    struct seq_sampling how; /* bias is NULL: see marks */
    bool penalties;
    struct sampler_mark *mark; /* [room] in order of appearance */
    size_t n_marks, room;
    uint32_t *slot; /* [mask + 1] 1 + index of the mark of an id, 0 = empty */
    size_t mask;
};

/* For rows of V logits and at most `most` tokens seen; all memory is taken here.
 * ERR_INPUT for a value out of range, param names its field; ERR_NOMEM. */
enum err_code sampler_init(struct sampler *s, const struct seq_sampling *how, size_t V,
                           size_t most, struct err *err) MUST_CHECK;
void sampler_done(struct sampler *s);

/* A token of the prompt, or a generated one, for the penalties. */
void sampler_saw(struct sampler *s, int32_t id, bool generated);

/* Makes numbers of what is none: NaN becomes -INFINITY, INFINITY becomes FLT_MAX. */
void sample_clean(size_t V, float *logits);

/* Tokens with their weights, in ascending order of ids; a token's share is its weight
 * divided by the sum of all. */
struct sample_kept {
    size_t n;
    int32_t *id;   /* [n] */
    float *logit;  /* [n] as changed by bias and penalties */
    float *weight; /* [n] that of the largest logit is 1 */
};

/* The bytes of arena that three lists of V entries take; and the lists. ERR_BUG on a
 * short arena. */
size_t sample_bytes(size_t V);
enum err_code sample_take(struct sample_kept *kept, size_t V, struct arena *tmp,
                          struct err *err) MUST_CHECK;

/* What the next token is drawn from: all tokens that s keeps and that have a share at
 * all. With temperature 0 that is the lowest id among those of the largest logit. None (n
 * 0) if no logit is above -INFINITY. The row [V] is cleaned; it is changed by bias and
 * penalties, and put back. */
void sampler_keep(const struct sampler *s, const struct kernels *k, size_t V,
                  float *logits, struct sample_kept *out);

/* One of them, n > 0, by its share. */
int32_t sample_draw(const struct sample_kept *kept, uint64_t seed, uint64_t step);

/* Number `step` of the random numbers of `seed`, in [0,1) with 53 bits: Philox4x32-10
 * (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), the seed as key
 * and the step as counter. */
double sample_random(uint64_t seed, uint64_t step);
/* One block of it; counter and key lowest word first. */
void sample_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

#endif
