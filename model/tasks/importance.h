/* Importance: what an answer owes to each part of a text, by occlusion: the part is left
 * out, or replaced, the text read again, and the answer compared. Forward passes only;
 * what an occluded text is said to be is what the model says of those tokens in any
 * other call, bit for bit. Language models with states begin where the texts begin to
 * differ, so that these cost half as much. Beside it what attention gives each part,
 * since the two often disagree (Jain & Wallace 2019).
 *
 * A text takes many passes, which are computed a bounded part at a time, so that others
 * can have their turns in between. One owner at a time. */
#ifndef SEQ_TASKS_IMPORTANCE_H
#define SEQ_TASKS_IMPORTANCE_H

#include "model/base/err.h"
#include "model/text/token.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seq_model;
struct seq_worker;
struct importance;

enum importance_unit { IMPORTANCE_WORD, IMPORTANCE_TOKEN };
enum importance_mode { IMPORTANCE_DELETE, IMPORTANCE_REPLACE };
enum { IMPORTANCE_UNITS_MAX = 256 };

struct importance_ask {
    enum importance_unit unit;
    /* Replaced by as many mask tokens, or unknown tokens where the model has no mask. */
    enum importance_mode mode;
    /* A label, or what the next token adds to the text, or puts in the mask's place; its
     * blank in front may be left out. NULL: the model's own answer. */
    const char *target;
    size_t target_n;
};

/* How many units the text has: words, or tokens; special tokens are none, nor is the mask
 * token of a masked language model. */
size_t importance_count(const struct seq_model *m, const struct seq_tokens *text,
                        enum importance_unit unit);

/* The text, of seq_tokenize (SEQ_CLASSIFY, or SEQ_NEXT_TOKEN) or of ids, is borrowed.
 * ERR_TASK unless the model has labels or predicts tokens; ERR_INPUT, naming mode or
 * target, for what this model lacks, and as seq_next_word for masks; ERR_LIMIT for more
 * than IMPORTANCE_UNITS_MAX units. */
enum err_code importance_new(const struct seq_model *m, const struct seq_tokens *text,
                             const struct importance_ask *ask, struct importance **out,
                             struct err *err) MUST_CHECK;
void importance_free(struct importance *im); /* NULL is fine */

/* Tokens that all its passes read, and those that are still to be read. */
size_t importance_tokens(const struct importance *im);
size_t importance_tokens_left(const struct importance *im);

/* Reads on: the text itself first, then so many occluded ones that all have at most
 * `most` tokens, in one ragged batch; at least one text. Nothing is left to do once
 * importance_tokens_left is 0. ERR_BUG for numbers that are not finite. On failure it can
 * only be freed. */
enum err_code importance_step(struct importance *im, struct seq_worker *w, size_t most,
                              struct err *err) MUST_CHECK;

struct importance_part {
    size_t first, last; /* tokens of the text */
    /* What is said of the target without this part; NAN where nothing would be left. */
    double logprob;
    float score;
    /* By how much that is less than with it: the log probability, of a regression the
     * score. NAN likewise. */
    double drop;
    double attention; /* its share of what all parts get; 0 without maps */
};

struct importance_view {
    int32_t target; /* label or token */
    /* Of the whole text, as seq_classify or seq_next_word gives it; of a regression there
     * is no log probability (NAN). */
    double logprob;
    float score;
    size_t n;
    const struct importance_part *parts; /* [n] in the order of the text */
    const float *answer; /* scores [L], or log probabilities [V] of the next token */
    /* Whose weights `attention` is, in words; NULL: the model has no maps, or nothing of
     * them falls on the parts. */
    const char *attention_of;
    /* Rank correlation (Kendall's tau-b) of attention and |drop|, NAN if one of them is
     * the same everywhere. */
    double tau;
};

/* When nothing is left to do; valid until it is freed. */
void importance_look(const struct importance *im, struct importance_view *out);

/* Kendall's tau-b of n pairs; pairs with a NAN are left out. NAN without two different
 * numbers on both sides. */
double importance_tau(size_t n, const double *a, const double *b);

#endif
