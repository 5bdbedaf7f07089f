#include "model/tasks/model.h"

#include <string.h>

/* Tokens that are classified together, unless one text alone has more. */
enum { PART_TOKENS = 2048 };

/* Where the special tokens begin that close the text. */
static size_t closing(const struct seq_tokens *t)
{
    size_t at = t->n;
    while (at > 0 && t->at[at - 1].special)
        at--;
    return at;
}

/* Tokens of the text up to a step: those, and the closing ones behind them. */
static size_t length(const struct seq_tokens *t, size_t close, size_t step)
{
    return step < close ? step + 1 + t->n - close : t->n;
}

size_t seq_classify_steps_tokens(const struct seq_tokens *tokens, const size_t *steps,
                                 size_t n)
{
    size_t sum = 0, close = closing(tokens);
    for (size_t i = 0; i < n; i++)
        sum += length(tokens, close, steps[i]);
    return sum;
}

/* Texts of one pass, in one block of tokens. */
struct part {
    struct seq_tokens *text;        /* [n] */
    const struct seq_tokens **list; /* [n] */
    struct seq_token *at;
};

static void part_done(struct part *p)
{
    mem_free(p->text);
    mem_free(p->list);
    mem_free(p->at);
}

static void fill_part(struct part *p, const struct seq_tokens *tokens,
                      const size_t *steps, size_t n)
{
    struct seq_token *at = p->at;
    size_t close = closing(tokens);
    for (size_t i = 0; i < n; i++) {
        size_t have = length(tokens, close, steps[i]);
        size_t behind = steps[i] < close ? tokens->n - close : 0;
        memcpy(at, tokens->at, (have - behind) * sizeof *at);
        memcpy(at + have - behind, tokens->at + close, behind * sizeof *at);
        p->text[i] = (struct seq_tokens){.at = at, .n = have};
        p->list[i] = &p->text[i];
        at += have;
    }
}

static enum err_code classify_part(const struct seq_model *m, struct seq_worker *w,
                                   const struct seq_tokens *tokens, const size_t *steps,
                                   size_t n, float *scores, struct err *err)
{
    size_t T = seq_classify_steps_tokens(tokens, steps, n);
    struct part p = {.text = mem_alloc(n, sizeof *p.text),
                     .list = mem_alloc(n, sizeof(void *)),
                     .at = mem_alloc(T, sizeof *p.at)};
    enum err_code code = ERR_OK;
    if (!p.text || !p.list || !p.at) {
        code = err_set(err, ERR_NOMEM, "out of memory for %zu tokens", T);
    } else {
        fill_part(&p, tokens, steps, n);
        code = classify_traced(m, w, n, p.list, NULL, scores, err);
    }
    part_done(&p);
    return code;
}

enum err_code seq_classify_steps(const struct seq_model *m, struct seq_worker *w,
                                 const struct seq_tokens *tokens, const size_t *steps,
                                 size_t n, float *scores, struct err *err)
{
    if (!(m->info.tasks & SEQ_CLASSIFY))
        return err_set(err, ERR_TASK, "a %s has no classifier", m->info.architecture);
    for (size_t i = 0; i < n; i++)
        if (steps[i] >= tokens->n)
            return err_set(err, ERR_INPUT, "step %zu of a text of %zu tokens", steps[i],
                           tokens->n);
    enum err_code code = ERR_OK;
    size_t close = closing(tokens);
    for (size_t i = 0, more; i < n && code == ERR_OK; i += more) {
        size_t T = length(tokens, close, steps[i]);
        for (more = 1; i + more < n; more++) {
            T += length(tokens, close, steps[i + more]);
            if (T > PART_TOKENS)
                break;
        }
        code = classify_part(m, w, tokens, steps + i, more, scores + i * m->info.n_labels,
                             err);
    }
    return code;
}
