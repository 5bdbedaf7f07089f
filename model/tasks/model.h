/* Model: what a loaded folder is to the tasks. Internal to model/; the server sees the
 * incomplete types of seq.h. */
#ifndef SEQ_TASKS_MODEL_H
#define SEQ_TASKS_MODEL_H

#include "model/load/modules.h"
#include "model/nets/net.h"
#include "model/seq.h"
#include "model/tasks/words.h"
#include "model/text/tokenizer.h"

#include <stdatomic.h>

struct prefixes; /* prefixes.h */

struct seq_model {
    atomic_size_t refs;
    struct net *net;
    struct tokenizer *tok;
    struct seq_info info;
    struct modules modules;    /* how it makes vectors */
    struct words words;        /* empty unless it predicts words */
    int32_t mask_id;           /* -1 unless a masked language model */
    size_t n_before, n_after;  /* special tokens around one text */
    struct prefixes *prefixes; /* states of texts read; NULL = none kept */
};

struct seq_worker {
    struct arena tmp;
    struct crew *crew;
    const struct breaks *breaks; /* NULL: none */
};

struct seq_state {
    const struct seq_model *model; /* borrowed: a state is freed before its model */
    struct net_state *net;
};

/* The kernels that the options (or NULL) ask for. ERR_UNSUPPORTED. */
enum err_code model_kernels(const struct seq_load_options *opt,
                            const struct kernels **out, struct err *err) MUST_CHECK;

/* What the tokenizer has to agree on with the net, and with how vectors are made. p: as
 * in problems_take. */
enum err_code model_check_fit(const struct config *cfg, const struct tokenizer *tok,
                              struct problems *p, struct err *err) MUST_CHECK;
enum err_code model_check_modules(const struct modules *m, const struct tokenizer *tok,
                                  struct problems *p, struct err *err) MUST_CHECK;

/* The exec of this worker for this model, trace may be NULL. */
struct exec model_exec(const struct seq_model *m, struct seq_worker *w,
                       const struct trace *trace);

/* What the caller gives as `param` must be UTF-8 and no longer than offsets can say:
 * ERR_INPUT, ERR_LIMIT. */
enum err_code tokenize_check(const char *param, const char *text, size_t n,
                             struct err *err) MUST_CHECK;

/* Where the one mask token of the text stands. ERR_INPUT if there is none, or more. */
enum err_code tokenize_find_mask(const struct seq_model *m, const struct seq_tokens *text,
                                 size_t *at, struct err *err) MUST_CHECK;

/* A ragged batch in the worker's arena, filled sequence by sequence; lives until the
 * arena is rewound. Costs batch_bytes(B, T). */
struct batch {
    struct net_batch net; /* of what has been added */
    size_t B, T;          /* room: sequences, tokens in all */
    size_t *starts, *picks;
    int32_t *ids;
    uint8_t *types;
    struct net_state **states;
};
size_t batch_bytes(size_t B, size_t T);
enum err_code batch_init(struct batch *b, struct arena *tmp, size_t B, size_t T,
                         struct err *err) MUST_CHECK; /* ERR_BUG on a short arena */
/* Adds a text; NET_ONE reads its token `pick`. A state (NULL: fresh) is given to all
 * sequences of a batch or to none. ERR_INPUT for an empty text. */
enum err_code batch_text(struct batch *b, const struct seq_tokens *text, size_t pick,
                         struct net_state *state, struct err *err) MUST_CHECK;
/* Adds n > 0 ids; NET_ONE reads the last. */
void batch_ids(struct batch *b, const int32_t *ids, size_t n, struct net_state *state);
/* A batch of B fresh texts. */
enum err_code batch_texts(struct batch *b, struct arena *tmp, size_t B,
                          const struct seq_tokens *const *texts,
                          struct err *err) MUST_CHECK;
/* Sum and maximum of the texts' lengths. */
void batch_size(size_t B, const struct seq_tokens *const *texts, size_t *T,
                size_t *longest);

/* The classifier's logits [B,L] with a trace (or NULL); B > 0. */
enum err_code classify_logits(const struct seq_model *m, struct seq_worker *w, size_t B,
                              const struct seq_tokens *const *texts,
                              const struct trace *trace, float *logits,
                              struct err *err) MUST_CHECK;
/* From one text's logits [L] to its scores, which may be the same block. */
void classify_scores(const struct seq_model *m, const float *logits, float *scores);
/* Both: seq_classify with a trace. */
enum err_code classify_traced(const struct seq_model *m, struct seq_worker *w, size_t B,
                              const struct seq_tokens *const *texts,
                              const struct trace *trace, float *scores,
                              struct err *err) MUST_CHECK;

/* Output layer over R hidden rows, a few at a time: each(arg, r, logits [V]) may
 * overwrite its row. Costs model_logits_bytes(m). */
size_t model_logits_bytes(const struct seq_model *m);
enum err_code model_logits(const struct seq_model *m, struct exec *x, size_t R,
                           const float *h,
                           void (*each)(void *arg, size_t r, float *logits), void *arg,
                           struct err *err) MUST_CHECK;

/* One pass over a batch: the hidden row of each sequence's pick and, if `each` is given,
 * the output layer over them. model_pass_bytes counts the batch as well. */
size_t model_pass_bytes(const struct seq_model *m, size_t B, size_t T, size_t longest);
enum err_code model_pass(const struct seq_model *m, struct exec *x,
                         const struct batch *batch,
                         void (*each)(void *arg, size_t r, float *logits), void *arg,
                         struct err *err) MUST_CHECK;

/* The log of the sum of e^logit over logits [V]: log p(i) = logit_i - that. See
 * forecast.h. */
double log_sum_exp(const struct seq_model *m, const float *logits);

#endif
