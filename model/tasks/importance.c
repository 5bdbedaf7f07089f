#include "model/tasks/importance.h"

#include <math.h>
#include <string.h>

#include "model/tasks/model.h"

struct importance {
    const struct seq_model *m;
    const struct seq_tokens *text;
    int32_t replacement;           /* token id; -1: parts are left out */
    size_t pick;                   /* the token that a token is predicted at */
    struct importance_part *parts; /* [n] */
    size_t n, n_done;              /* parts whose text has been read */
    bool begun;                    /* the text itself has been */
    int32_t target;                /* -1: the best, when it is known */
    double logprob;
    float score, *answer; /* [L] or [V] */
    struct watched {
        size_t layer, heads, T;
        bool all_rows;
        size_t row;   /* else this one */
        double *sums; /* [heads,T] weights on each key; NULL: not watched */
        const char *of;
    } watched;
    /* Of models with states what is behind the tokens in front of each part [n], once the
     * text has been read: occluded texts are read from there. NULL: from the start. */
    struct net_state **before;
    double tau;
    size_t all, left; /* tokens */
};

/* Texts, or what their states are not behind yet, that are read together, in one block of
 * tokens. */
struct part {
    size_t B, T, longest;
    struct seq_tokens *text;         /* [B] */
    const struct seq_tokens **list;  /* [B] */
    size_t *picks;                   /* [B] */
    struct net_state *const *states; /* [B], or NULL */
    struct seq_token *at;            /* [T] */
};

/* ---- units ----------------------------------------------------------------------- */

static bool is_mask(const struct seq_model *m, const struct seq_token *t)
{
    return m->info.mask_token && t->id == m->mask_id;
}

/* Each unit's tokens into parts, which may be NULL; returns how many there are. */
static size_t find_units(const struct seq_model *m, const struct seq_tokens *text,
                         enum importance_unit unit, struct importance_part *parts)
{
    size_t n = 0;
    bool open = false; /* the token before is of a unit */
    for (size_t i = 0; i < text->n; i++) {
        const struct seq_token *t = &text->at[i];
        if (t->special || is_mask(m, t)) {
            open = false;
            continue;
        }
        bool more = open && unit == IMPORTANCE_WORD && seq_continues_word(m, text, i);
        if (!more) {
            if (parts)
                parts[n] = (struct importance_part){.first = i};
            n++;
        }
        if (parts)
            parts[n - 1].last = i;
        open = true;
    }
    return n;
}

size_t importance_count(const struct seq_model *m, const struct seq_tokens *text,
                        enum importance_unit unit)
{
    return find_units(m, text, unit, NULL);
}

static size_t tokens_of(const struct importance_part *p)
{
    return p->last - p->first + 1;
}

/* How many tokens the text has without, or with a replaced, part. */
static size_t occluded_length(const struct importance *im, size_t part)
{
    return im->text->n - (im->replacement < 0 ? tokens_of(&im->parts[part]) : 0);
}

static bool has_states(const struct importance *im)
{
    return im->m->net->cfg.head == HEAD_LM && im->m->net->ops->state_new;
}

/* How many of that text's first tokens are known from the whole one: those in front of
 * the part, but never all. */
static size_t known_length(const struct importance *im, size_t part)
{
    size_t first = im->parts[part].first, n = occluded_length(im, part);
    if (!has_states(im) || n == 0)
        return 0;
    return first < n ? first : n - 1;
}

static size_t read_length(const struct importance *im, size_t part)
{
    return occluded_length(im, part) - known_length(im, part);
}

/* What is read of that text into `to`, where there is room; the token that is predicted
 * at into *pick. */
static void occlude(const struct importance *im, size_t part, struct seq_tokens *to,
                    size_t *pick)
{
    const struct importance_part *p = &im->parts[part];
    size_t known = known_length(im, part), removed = im->text->n;
    bool removes = im->replacement < 0;
    to->n = 0;
    for (size_t i = known; i < im->text->n; i++) {
        bool inside = i >= p->first && i <= p->last;
        if (inside && removes)
            continue;
        to->at[to->n] = im->text->at[i];
        if (inside)
            to->at[to->n].id = im->replacement;
        to->n++;
    }
    removed -= known + to->n;
    *pick = im->pick - known - (im->pick >= p->first ? removed : 0);
}

/* ---- what is asked for ----------------------------------------------------------- */

static enum err_code find_replacement(struct importance *im, struct err *err)
{
    const struct tokenizer *tok = im->m->tok;
    int32_t id = tokenizer_role(tok, TOKENIZER_MASK);
    if (id < 0 || (size_t)id >= im->m->info.vocab)
        id = tokenizer_unk(tok);
    if (id < 0 || (size_t)id >= im->m->info.vocab)
        return err_param(err, ERR_INPUT, "mode",
                         "this model has neither a mask token nor an unknown token to "
                         "put in place of others; \"delete\" leaves them out");
    im->replacement = id;
    return ERR_OK;
}

static bool equal(const char *a, size_t n_a, const char *b, size_t n_b)
{
    return a && n_a == n_b && memcmp(a, b, n_b) == 0;
}

static enum err_code find_label(struct importance *im, const char *name, size_t n,
                                struct err *err)
{
    const struct seq_info *info = &im->m->info;
    for (size_t l = 0; l < info->n_labels; l++)
        if (equal(info->labels[l], strlen(info->labels[l]), name, n)) {
            im->target = (int32_t)l;
            return ERR_OK;
        }
    return err_param(err, ERR_INPUT, "target",
                     "no label is named \"%.*s\"; GET /v1/models lists the labels",
                     n < 80 ? (int)n : 80, name);
}

/* The first token that adds these bytes, with `blank` a blank in front of them. */
static int32_t find_bytes(const struct seq_model *m, bool blank, const char *s, size_t n)
{
    for (size_t id = 0; id < m->info.vocab; id++) {
        size_t has;
        const char *own = tokenizer_bytes(m->tok, (int32_t)id, &has);
        if (has == n + blank && (!blank || own[0] == ' ') && n > 0 &&
            memcmp(own + blank, s, n) == 0)
            return (int32_t)id;
    }
    return -1;
}

/* In a mask's place words stand without the blank that they have in the vocabulary; else
 * texts are taken as they are first. */
static enum err_code find_token(struct importance *im, const char *s, size_t n,
                                struct err *err)
{
    const struct seq_model *m = im->m;
    bool masked = m->info.mask_token;
    int32_t id = find_bytes(m, masked, s, n);
    if (id < 0)
        id = find_bytes(m, !masked, s, n);
    if (id < 0)
        id = tokenizer_id(m->tok, s, n);
    if (id < 0 || (size_t)id >= m->info.vocab)
        return err_param(err, ERR_INPUT, "target",
                         "no single token of this model reads \"%.*s\"",
                         n < 80 ? (int)n : 80, s);
    im->target = id;
    return ERR_OK;
}

static bool classifies(const struct importance *im)
{
    return im->m->info.tasks & SEQ_CLASSIFY;
}

static enum err_code find_target(struct importance *im, const struct importance_ask *ask,
                                 struct err *err)
{
    im->target = -1;
    if (!ask->target)
        return ERR_OK;
    return classifies(im) ? find_label(im, ask->target, ask->target_n, err)
                          : find_token(im, ask->target, ask->target_n, err);
}

/* ---- attention ------------------------------------------------------------------- */

/* Which row of a classifying decoder is read: of the last token that is no padding. */
static size_t last_word(const struct importance *im)
{
    size_t at = im->text->n - 1;
    int32_t pad = im->m->net->cfg.pad_id;
    while (pad >= 0 && at > 0 && im->text->at[at].id == pad)
        at--;
    return at;
}

/* What the answer was made of, in the last layer: the weights that are watched. */
static enum err_code watch(struct importance *im, struct err *err)
{
    const struct seq_info *info = &im->m->info;
    struct watched *a = &im->watched;
    if (!(info->tasks & SEQ_ATTENTION))
        return ERR_OK;
    *a = (struct watched){.layer = info->n_map_layers - 1,
                          .heads = info->n_map_heads,
                          .T = im->text->n,
                          .row = im->pick,
                          .of = "last layer, mean of heads, row of the prediction"};
    if (info->mask == SEQ_MASK_POOLING) {
        a->row = 0;
        a->of = "attention pooling, mean of hops";
    } else if (classifies(im) && info->mask == SEQ_MASK_CAUSAL) {
        a->row = last_word(im);
    } else if (classifies(im)) {
        a->row = 0;
        a->all_rows = im->m->net->cfg.pooling == POOL_MEAN;
        if (a->all_rows)
            a->of = "last layer, mean of heads, mean of rows";
    }
    a->sums = mem_zero(a->heads, a->T * sizeof *a->sums);
    return a->sums ? ERR_OK : err_set(err, ERR_NOMEM, "out of memory: attention");
}

static void see_row(void *arg, size_t seq, size_t layer, size_t head, size_t query,
                    size_t n_keys, const float *p)
{
    (void)seq;
    const struct watched *a = arg;
    double *to = a->sums + head * a->T;
    if (layer != a->layer || (!a->all_rows && query != a->row))
        return;
    for (size_t k = 0; k < n_keys; k++)
        to[k] += (double)p[k];
}

/* Each part's share of all weight that falls on parts. */
static void share_attention(struct importance *im)
{
    struct watched *a = &im->watched;
    double all = 0;
    if (!a->sums)
        return;
    for (size_t i = 0; i < im->n; i++) {
        struct importance_part *p = &im->parts[i];
        for (size_t h = 0; h < a->heads; h++)
            for (size_t t = p->first; t <= p->last; t++)
                p->attention += a->sums[h * a->T + t];
        all += p->attention;
    }
    for (size_t i = 0; i < im->n; i++)
        im->parts[i].attention = all > 0 ? im->parts[i].attention / all : 0;
    if (!(all > 0))
        a->of = NULL;
    mem_free(a->sums);
    a->sums = NULL;
}

/* ---- rank correlation ------------------------------------------------------------ */

static int sign(double x)
{
    return (x > 0) - (x < 0);
}

double importance_tau(size_t n, const double *a, const double *b)
{
    double agree = 0, in_a = 0, in_b = 0; /* pairs that differ in a, in b */
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++) {
            if (isnan(a[i]) || isnan(a[j]) || isnan(b[i]) || isnan(b[j]))
                continue;
            int da = sign(a[i] - a[j]), db = sign(b[i] - b[j]);
            agree += da * db;
            in_a += da != 0;
            in_b += db != 0;
        }
    return in_a > 0 && in_b > 0 ? agree / sqrt(in_a * in_b) : NAN;
}

static enum err_code rank(struct importance *im, struct err *err)
{
    im->tau = NAN;
    if (!im->watched.of || im->n == 0)
        return ERR_OK;
    double *a = mem_alloc(im->n, 2 * sizeof *a), *b = a + im->n;
    if (!a)
        return err_set(err, ERR_NOMEM, "out of memory: ranks");
    for (size_t i = 0; i < im->n; i++) {
        a[i] = im->parts[i].attention;
        b[i] = fabs(im->parts[i].drop);
    }
    im->tau = importance_tau(im->n, a, b);
    mem_free(a);
    return ERR_OK;
}

/* ---- answers --------------------------------------------------------------------- */

/* What is said of the target in one text: part `part`'s, or the whole one. */
static void note(struct importance *im, size_t text, double logprob, float score)
{
    if (text == 0) {
        im->logprob = logprob;
        im->score = score;
        return;
    }
    struct importance_part *p = &im->parts[im->n_done + text - 1];
    p->logprob = logprob;
    p->score = score;
    p->drop = isnan(im->logprob) ? (double)im->score - score : im->logprob - logprob;
}

static int32_t best_of(const float *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return (int32_t)best;
}

static enum err_code not_finite(struct err *err)
{
    return err_set(err, ERR_BUG, "what the model says is no number");
}

/* The log probability that a classifier's logits give to a label. */
static double log_share(enum problem problem, size_t L, const float *logits, size_t label)
{
    double x = logits[label], most = logits[0], sum = 0;
    if (problem == PROBLEM_REGRESSION)
        return NAN;
    if (problem == PROBLEM_MULTI_LABEL)
        return x < 0 ? x - log1p(exp(x)) : -log1p(exp(-x));
    for (size_t i = 1; i < L; i++)
        most = fmax(most, logits[i]);
    for (size_t i = 0; i < L; i++)
        sum += exp(logits[i] - most);
    return x - most - log(sum);
}

static enum err_code note_labels(struct importance *im, size_t text,
                                 float *logits /* [L] */, struct err *err)
{
    enum problem problem = im->m->net->cfg.problem;
    size_t L = im->m->info.n_labels;
    if (text == 0 && im->target < 0)
        im->target = best_of(logits, L);
    double logprob = log_share(problem, L, logits, (size_t)im->target);
    classify_scores(im->m, logits, logits);
    for (size_t l = 0; l < L; l++)
        if (!isfinite(logits[l]))
            return not_finite(err);
    if (text == 0)
        memcpy(im->answer, logits, L * sizeof *logits);
    note(im, text, logprob, logits[im->target]);
    return ERR_OK;
}

/* Who gets the logits of a part's texts. */
struct reader {
    struct importance *im;
    size_t first; /* of its texts */
};

static void note_logits(void *arg, size_t r, float *logits /* [V] */)
{
    const struct reader *reader = arg;
    struct importance *im = reader->im;
    size_t V = im->m->info.vocab, text = reader->first + r;
    double total = log_sum_exp(im->m, logits);
    for (size_t i = 0; text == 0 && i < V; i++)
        im->answer[i] = (float)(logits[i] - total);
    if (text == 0 && im->target < 0)
        im->target = best_of(logits, V);
    double logprob = logits[im->target] - total;
    note(im, text, logprob, (float)exp(logprob));
}

/* ---- passes ---------------------------------------------------------------------- */

static enum err_code read_labels(struct importance *im, struct seq_worker *w,
                                 const struct part *p, size_t first,
                                 const struct trace *trace, struct err *err)
{
    size_t L = im->m->info.n_labels;
    float *logits = mem_alloc(p->B, L * sizeof *logits); /* [B,L] */
    if (!logits)
        return err_set(err, ERR_NOMEM, "out of memory: scores");
    enum err_code code = classify_logits(im->m, w, p->B, p->list, trace, logits, err);
    for (size_t b = 0; b < p->B && code == ERR_OK; b++)
        code = note_labels(im, first + b, logits + b * L, err);
    mem_free(logits);
    return code;
}

static enum err_code read_tokens(struct importance *im, struct seq_worker *w,
                                 const struct part *p, size_t first, bool notes,
                                 const struct trace *trace, struct err *err)
{
    size_t bytes = model_pass_bytes(im->m, p->B, p->T, p->longest);
    enum err_code code = arena_reserve(&w->tmp, bytes, err);
    if (code != ERR_OK)
        return code;
    struct exec x = model_exec(im->m, w, trace);
    struct reader reader = {im, first};
    struct batch batch;
    size_t mark = arena_mark(&w->tmp);
    code = batch_init(&batch, &w->tmp, p->B, p->T, err);
    for (size_t b = 0; b < p->B && code == ERR_OK; b++)
        code = batch_text(&batch, p->list[b], p->picks[b],
                          p->states ? p->states[b] : NULL, err);
    if (code == ERR_OK)
        code = model_pass(im->m, &x, &batch, notes ? note_logits : NULL, &reader, err);
    arena_rewind(&w->tmp, mark);
    return code;
}

static enum err_code read_part(struct importance *im, struct seq_worker *w,
                               const struct part *p, size_t first,
                               const struct trace *trace, struct err *err)
{
    im->left -= p->T;
    return classifies(im) ? read_labels(im, w, p, first, trace, err)
                          : read_tokens(im, w, p, first, true, trace, err);
}

/* Tokens from..to-1 of the text, its next, from the state on; the last ones are noted. */
static enum err_code feed(struct importance *im, struct seq_worker *w,
                          struct net_state *state, size_t from, size_t to,
                          const struct trace *trace, struct err *err)
{
    const struct seq_tokens some = {.at = im->text->at + from, .n = to - from};
    const struct seq_tokens *list = &some;
    size_t pick = some.n - 1;
    const struct part p = {.B = 1,
                           .T = some.n,
                           .longest = some.n,
                           .list = &list,
                           .picks = &pick,
                           .states = &state};
    return read_tokens(im, w, &p, 0, to == im->text->n, trace, err);
}

/* im->before[part] = a copy of the state, or of its beginning. */
static enum err_code keep_state(struct importance *im, size_t part,
                                const struct net_state *state, struct err *err)
{
    const struct net *net = im->m->net;
    enum err_code code = net->ops->state_new(net, &im->before[part], err);
    if (code == ERR_OK)
        code = net->ops->state_copy(im->before[part], state, err);
    if (code == ERR_OK && net->ops->state_truncate)
        net->ops->state_truncate(im->before[part], known_length(im, part));
    return code;
}

/* The text, with the state in front of each part: a decoder's is cut back from the whole
 * one's, a recurrent net's is there when the text is read up to the part. */
static enum err_code read_with_states(struct importance *im, struct seq_worker *w,
                                      const struct trace *trace, struct err *err)
{
    const struct net *net = im->m->net;
    struct net_state *state = NULL;
    size_t at = 0, n = im->text->n;
    im->before = mem_zero(im->n + 1, sizeof(struct net_state *));
    if (!im->before)
        return err_set(err, ERR_NOMEM, "out of memory: states");
    enum err_code code = net->ops->state_new(net, &state, err);
    for (size_t i = 0; i < im->n && code == ERR_OK; i++) {
        size_t to = net->ops->state_truncate ? n : known_length(im, i);
        if (to > at)
            code = feed(im, w, state, at, to, trace, err);
        at = to > at ? to : at;
        if (code == ERR_OK)
            code = keep_state(im, i, state, err);
    }
    if (code == ERR_OK && at < n)
        code = feed(im, w, state, at, n, trace, err);
    net->ops->state_free(state);
    im->left -= n;
    return code;
}

/* The text itself, with what attention gives its parts. */
static enum err_code read_text(struct importance *im, struct seq_worker *w,
                               struct err *err)
{
    struct trace trace = {.arg = &im->watched, .attention = see_row};
    size_t n = classifies(im) ? im->m->info.n_labels : im->m->info.vocab;
    const struct part whole = {.B = 1,
                               .T = im->text->n,
                               .longest = im->text->n,
                               .list = &im->text,
                               .picks = &im->pick};
    im->answer = mem_alloc(n, sizeof *im->answer);
    if (!im->answer)
        return err_set(err, ERR_NOMEM, "out of memory: the answer");
    enum err_code code = watch(im, err);
    const struct trace *traced = im->watched.sums ? &trace : NULL;
    if (code == ERR_OK)
        code = has_states(im) ? read_with_states(im, w, traced, err)
                              : read_part(im, w, &whole, 0, traced, err);
    if (code != ERR_OK)
        return code;
    for (size_t i = 0; i < n; i++)
        if (isnan(im->answer[i]))
            return not_finite(err);
    im->begun = true;
    share_attention(im);
    return ERR_OK;
}

static void part_done(struct part *p)
{
    mem_free(p->text);
    mem_free(p->list);
    mem_free(p->picks);
    mem_free(p->at);
}

/* The next occluded texts, of at most so many tokens, but at least one. */
static enum err_code part_init(struct part *p, const struct importance *im, size_t most,
                               struct err *err)
{
    *p = (struct part){0};
    for (size_t i = im->n_done; i < im->n; i++) {
        size_t n = read_length(im, i);
        if (p->B > 0 && n > most - p->T)
            break;
        p->B++;
        p->T += n;
        p->longest = n > p->longest ? n : p->longest;
        if (p->T >= most)
            break;
    }
    p->text = mem_alloc(p->B, sizeof *p->text);
    p->list = mem_alloc(p->B, sizeof(void *));
    p->picks = mem_alloc(p->B, sizeof *p->picks);
    p->at = mem_alloc(p->T, sizeof *p->at);
    if (!p->text || !p->list || !p->picks || !p->at)
        return err_set(err, ERR_NOMEM, "out of memory for %zu tokens", p->T);
    p->states = im->before ? im->before + im->n_done : NULL;
    struct seq_token *at = p->at;
    for (size_t b = 0; b < p->B; b++) {
        p->text[b] = (struct seq_tokens){.at = at};
        p->list[b] = &p->text[b];
        occlude(im, im->n_done + b, &p->text[b], &p->picks[b]);
        at += p->text[b].n;
    }
    return ERR_OK;
}

static enum err_code read_next(struct importance *im, struct seq_worker *w, size_t most,
                               struct err *err)
{
    struct part p;
    enum err_code code = part_init(&p, im, most, err);
    if (code == ERR_OK)
        code = read_part(im, w, &p, 1, NULL, err);
    for (size_t b = 0; b < p.B && code == ERR_OK; b++)
        if (!isfinite(im->parts[im->n_done + b].drop))
            code = not_finite(err);
    for (size_t b = 0; b < p.B && p.states; b++) {
        im->m->net->ops->state_free(p.states[b]);
        im->before[im->n_done + b] = NULL;
    }
    if (code == ERR_OK)
        im->n_done += p.B;
    part_done(&p);
    return code;
}

enum err_code importance_step(struct importance *im, struct seq_worker *w, size_t most,
                              struct err *err)
{
    size_t n = im->text->n;
    enum err_code code = ERR_OK;
    if (!im->begun) {
        code = read_text(im, w, err);
        most = most > n ? most - n : 0;
    }
    if (code == ERR_OK && most > 0 && im->left > 0)
        code = read_next(im, w, most, err);
    return code == ERR_OK && im->left == 0 ? rank(im, err) : code;
}

/* ---- life ------------------------------------------------------------------------ */

static enum err_code init_parts(struct importance *im, const struct importance_ask *ask,
                                struct err *err)
{
    size_t n = find_units(im->m, im->text, ask->unit, NULL);
    if (n > IMPORTANCE_UNITS_MAX)
        return err_param(err, ERR_LIMIT, "text", "the text has %zu %s, at most %d go", n,
                         ask->unit == IMPORTANCE_WORD ? "words" : "tokens",
                         IMPORTANCE_UNITS_MAX);
    im->parts = mem_alloc(n + 1, sizeof *im->parts);
    if (!im->parts)
        return err_set(err, ERR_NOMEM, "out of memory for %zu parts of a text", n);
    im->n = find_units(im->m, im->text, ask->unit, im->parts);
    im->all = im->text->n;
    for (size_t i = 0; i < n; i++) {
        im->all += read_length(im, i);
        im->parts[i].drop = im->parts[i].logprob = NAN;
        im->parts[i].score = NAN;
    }
    im->left = im->all;
    return ERR_OK;
}

static enum err_code init(struct importance *im, const struct importance_ask *ask,
                          struct err *err)
{
    enum err_code code = find_target(im, ask, err);
    im->pick = im->text->n - 1;
    im->replacement = -1;
    if (code == ERR_OK && ask->mode == IMPORTANCE_REPLACE)
        code = find_replacement(im, err);
    if (code == ERR_OK && im->m->info.mask_token)
        code = tokenize_find_mask(im->m, im->text, &im->pick, err);
    return code == ERR_OK ? init_parts(im, ask, err) : code;
}

enum err_code importance_new(const struct seq_model *m, const struct seq_tokens *text,
                             const struct importance_ask *ask, struct importance **out,
                             struct err *err)
{
    if (!(m->info.tasks & SEQ_IMPORTANCE))
        return err_set(err, ERR_TASK, "a %s says nothing that could be explained",
                       m->info.architecture);
    if (text->n == 0)
        return err_param(err, ERR_INPUT, "text", "text holds no token");
    struct importance *im = mem_zero(1, sizeof *im);
    if (!im)
        return err_set(err, ERR_NOMEM, "out of memory: importance");
    im->m = m;
    im->text = text;
    enum err_code code = init(im, ask, err);
    if (code != ERR_OK) {
        importance_free(im);
        return code;
    }
    *out = im;
    return ERR_OK;
}

void importance_free(struct importance *im)
{
    if (!im)
        return;
    for (size_t i = 0; i < im->n && im->before; i++)
        im->m->net->ops->state_free(im->before[i]);
    mem_free(im->before);
    mem_free(im->parts);
    mem_free(im->answer);
    mem_free(im->watched.sums);
    mem_free(im);
}

size_t importance_tokens(const struct importance *im)
{
    return im->all;
}

size_t importance_tokens_left(const struct importance *im)
{
    return im->left;
}

void importance_look(const struct importance *im, struct importance_view *out)
{
    *out = (struct importance_view){.target = im->target,
                                    .logprob = im->logprob,
                                    .score = im->score,
                                    .n = im->n,
                                    .parts = im->parts,
                                    .answer = im->answer,
                                    .attention_of = im->watched.of,
                                    .tau = im->tau};
}
