/* Reading: texts to the logits of what comes next, in one ragged batch. With states, each
 * text begins from the longest prefix that the model knows, and leaves what it has read
 * there. */
#ifndef SEQ_TASKS_READING_H
#define SEQ_TASKS_READING_H

#include "model/tasks/model.h"

struct reading {
    const struct seq_tokens *text;
    size_t pick;             /* the token that the logits are read from */
    struct net_state *state; /* fresh, then behind the text; or NULL, then for all of a
                                batch. With states pick is the last token. */
    const int32_t *ids;      /* [text->n] the rest belongs to reading_run */
    size_t body;             /* tokens before the last word */
    size_t done;             /* tokens that the state is behind */
};

/* n texts of T tokens in all, the longest of `longest`: bytes of arena. The array of
 * readings is counted as well. */
size_t reading_bytes(const struct seq_model *m, size_t n, size_t T, size_t longest);

/* each(arg, i, logits [V]) once for text i, in any order; it may overwrite its row. n >
 * 0. ERR_INPUT for a text without tokens. The arena is left as it is. */
enum err_code reading_run(const struct seq_model *m, struct seq_worker *w, size_t n,
                          struct reading *texts,
                          void (*each)(void *arg, size_t i, float *logits), void *arg,
                          struct err *err) MUST_CHECK;

#endif
