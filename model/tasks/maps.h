/* Maps: numbers about attention maps. Pure functions on row-major floats: no state, no
 * allocation, any thread; what is read is not changed, blocks don't overlap. A map is
 * [rows,keys]; one of self-attention over n tokens is [n,n], row q what token q looks at.
 */
#ifndef SEQ_TASKS_MAPS_H
#define SEQ_TASKS_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- several maps to one --------------------------------------------------------- */

enum maps_reduce { MAPS_NONE, MAPS_MEAN, MAPS_MAX, MAPS_MIN };

/* One map more, x [n], into acc [n], which the first map was copied to. MAPS_MEAN adds;
 * maps_mean_of divides by the number of maps in the end. */
void maps_fold(enum maps_reduce how, size_t n, const float *x, float *acc);
void maps_mean_of(size_t n, size_t n_maps, float *acc);

/* Rollout (Abnar & Zuidema 2020): out [n,n] = (a + I)/2 * before, a [n,n] the mean map of
 * a layer, before that of the layers below; NULL = I. Rows that sum to 1 do so again. */
void maps_rollout(size_t n, const float *a, const float *before, float *out);

/* How alike rows a [R,n] that sum to 1 are: the squared Frobenius norm of a a' - I (Lin
 * et al. 2017). 0 if each has all its weight where no other has any. */
double maps_redundancy(size_t R, size_t n, const float *a);

/* ---- fewer rows and keys --------------------------------------------------------- */

/* Words, by the rule of Clark et al. 2019: weights to the tokens of a word add up,
 * weights from them are averaged, so that rows keep their sum. word [T] ascends from 0 to
 * W-1. Keys: to [rows,W]. Queries: map [T,keys], to [W,keys]. */
void maps_word_keys(size_t rows, size_t T, const size_t *word, size_t W, const float *map,
                    float *to);
void maps_word_queries(size_t T, const size_t *word, size_t W, size_t keys,
                       const float *map, float *to);

/* to [n_rows,n_keys] = those rows and keys of map [.,ld]. */
void maps_pick(const float *map, size_t ld, const size_t *rows, size_t n_rows,
               const size_t *keys, size_t n_keys, float *to);

/* Every row divided by its sum, in place. False if there is one without any mass, which
 * stays as it is. */
bool maps_renormalize(size_t rows, size_t keys, float *map);

/* Thumbnail: to [P,P], cell (i,j) the largest of map [n,n] in rows i*n/P up to
 * (i+1)*n/P, and keys likewise; 0 < P <= n. */
void maps_pool(size_t n, size_t P, const float *map, float *to);
/* Where cell i begins. */
size_t maps_pool_start(size_t n, size_t P, size_t i);

/* The k <= n largest of row [n], largest first, ties to the lower index. Returns the sum
 * of the others. */
float maps_top(size_t n, size_t k, const float *row, int32_t *index, float *value);

/* ---- what a head does ------------------------------------------------------------ */

/* Numbers of one head's weights, each the mean over the queries for which it says
 * something: in causal maps the first two are left out, whose keys are hardly a choice.
 * NAN where there is no such query. */
enum maps_metric {
    MAPS_ENTROPY,      /* -sum p ln p */
    MAPS_ENTROPY_NORM, /* that, of the most it can be: ln(number of keys seen) */
    MAPS_FIRST,        /* weight on the first key, the "sink" (Xiao et al. 2024) */
    MAPS_PREVIOUS,     /* on the token before */
    MAPS_CURRENT,      /* on the token itself */
    MAPS_NEXT,         /* on the token behind; not causal */
    MAPS_SPECIAL,      /* on special tokens, the first key left out */
    MAPS_DISTANCE,     /* sum p * |query - key| */
    MAPS_LARGEST,      /* largest weight */
    MAPS_SAME,         /* on other tokens with the query's id, where there are any */
    MAPS_METRICS
};
extern const char *const MAPS_METRIC_NAMES[MAPS_METRICS];

/* What the metrics know of the text. */
struct maps_text {
    size_t n;
    bool causal;
    const float *special;       /* [n] 1 or 0 */
    const int32_t *same_before; /* [n] the nearest position before with this id, or -1 */
    const int32_t *same_behind; /* [n] and behind */
};
/* Fills same_before and same_behind [n] from ids [n]. */
void maps_find_same(size_t n, const int32_t *ids, int32_t *same_before,
                    int32_t *same_behind);

void maps_metrics(const struct maps_text *t, const float *map /* [n,n] */,
                  double out[MAPS_METRICS]);

/* What a head is called for (after Clark et al. 2019, Kovaleva et al. 2019): at least
 * half of its weight goes there; broad: 0.8 of the largest entropy; mixed: none of all.
 * They describe the head on this text. */
enum maps_label {
    MAPS_LABEL_FIRST,
    MAPS_LABEL_PREVIOUS,
    MAPS_LABEL_CURRENT,
    MAPS_LABEL_NEXT,
    MAPS_LABEL_SPECIAL,
    MAPS_LABEL_BROAD,
    MAPS_LABEL_SAME,
    MAPS_LABEL_MIXED,
    MAPS_LABELS
};
extern const char *const MAPS_LABEL_NAMES[MAPS_LABELS];

/* A bit per label; 0 if no query says anything. */
unsigned maps_labels(const double metrics[MAPS_METRICS]);

#endif
