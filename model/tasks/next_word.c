#include "model/nets/cache.h"
#include "model/tasks/forecast.h"
#include "model/tasks/model.h"
#include "model/tasks/reading.h"

#include <math.h>
#include <string.h>

/* The search for whole words. An item is a word begun with some tokens. Feeding its last
 * one gives the probability that a border follows (the word is complete) and the ways to
 * go on. An item's probability only falls as it grows, so the best items are fed first,
 * a few at a time, and the search ends when no unfinished item is better than the worst
 * finished word kept. All requests of a batch take each step together, in one ragged
 * pass; what a request feeds depends on nothing but itself.
 *
 * Where a word is one token, which masked and WordLevel models are asked for, the words
 * are those that begin, and nothing is fed after the text. */

/* Items fed at a time: so many rows take little longer than one, since either way all
 * weights are read once. */
enum { STEP_ITEMS = 4 };

/* Items that were fed: their states, as long as something may go on from them. */
enum { STATES_MAX = 2 * BEAM_MAX, FROM_ROOT = STATES_MAX };

struct search {
    const struct seq_model *model;
    const struct seq_next_request *request;
    struct seq_next_result *result;
    size_t pick;                    /* the token that the prediction is read from */
    bool with_blank, without_blank; /* how the first token of a word may begin */
    bool shows_blank;               /* whether the word's text does */
    size_t width;                   /* beginnings that one item adds at most */
    struct beam open;       /* items to be fed; `parent` is a state or FROM_ROOT */
    struct seq_state *root; /* the text itself; NULL if nothing goes on from it */
    struct seq_state *states[STATES_MAX]; /* 2 * width of them are used */
    struct beam_item now[STEP_ITEMS];     /* being fed, */
    size_t n_now, to[STEP_ITEMS];         /* each to the state `to` */
    size_t n_fed;
};

static bool one_token(const struct seq_model *m)
{
    return m->info.word_level || m->info.mask_token;
}

/* What a struct search itself takes, in tokens of a small model. */
enum { SEARCH_TOKENS = 8 };

/* Beginnings that a search takes of the ways to go on from one. */
static size_t search_width(const struct seq_model *m, size_t top_k)
{
    size_t width = 2 * top_k < 16 ? 16 : 2 * top_k;
    if (one_token(m))
        width = top_k;
    return width < BEAM_MAX ? width : BEAM_MAX;
}

/* ---- completing and extending ---------------------------------------------------- */

/* True if the item's text and the prefix agree as far as both go. */
static bool fits_prefix(const struct seq_next_request *q, const char *s, size_t n)
{
    size_t both = n < q->prefix_n ? n : q->prefix_n;
    return memcmp(s, q->prefix, both) == 0;
}

/* Child of `parent` (NULL: the empty word) by one token; false if it is no way to go. */
static bool extend(const struct search *s, const struct beam_item *parent, int32_t id,
                   struct beam_item *child)
{
    size_t n;
    const char *bytes = tokenizer_bytes(s->model->tok, id, &n);
    bool blank = n > 0 && bytes[0] == ' ';
    *child = parent ? *parent : (struct beam_item){.blank = blank};
    bytes += blank;
    n -= blank;
    /* One byte is kept free for the blank in front. */
    if (child->n_tokens == SEQ_WORD_TOKENS || n >= SEQ_WORD_BYTES - child->n_bytes)
        return false;
    memcpy(child->bytes + child->n_bytes, bytes, n);
    child->n_bytes += n;
    child->tokens[child->n_tokens++] = id;
    return fits_prefix(s->request, child->bytes, child->n_bytes);
}

/* How words begin, as a set of parts. */
static unsigned beginnings(const struct search *s)
{
    unsigned parts = 0;
    if (s->with_blank || s->model->info.word_level)
        parts |= 1U << PART_BEGIN;
    if (s->without_blank)
        parts |= 1U << PART_INNER;
    return parts;
}

/* True if the item can stand as it is: a word, with the whole prefix. */
static bool is_whole(const struct search *s, const struct beam_item *item)
{
    if (item->n_bytes < s->request->prefix_n)
        return false;
    return s->model->info.word_level || words_is_whole(item->bytes, item->n_bytes);
}

static void finish(struct search *s, const struct beam_item *item, double border)
{
    const struct seq_next_request *q = s->request;
    if (!(border > 0) || !is_whole(s, item))
        return;
    struct seq_prediction p = {.logprob = item->logprob + log(border)};
    p.n_tokens = item->n_tokens;
    memcpy(p.tokens, item->tokens, sizeof p.tokens);
    if (item->blank && s->shows_blank)
        p.bytes[p.n_bytes++] = ' ';
    memcpy(p.bytes + p.n_bytes, item->bytes, item->n_bytes);
    p.n_bytes += item->n_bytes;
    result_offer(s->result, q->top_k, &p);
}

/* True if the search has all the words it wants, and none is less probable. */
static bool too_late(const struct search *s, double logprob)
{
    const struct seq_next_result *r = s->result;
    return r->n == s->request->top_k && logprob <= r->at[r->n - 1].logprob;
}

/* The ways to go on from an item, or (NULL) to begin. */
struct ways {
    const struct search *search;
    const struct beam_item *item;
};

static bool is_way(void *arg, int32_t id)
{
    const struct ways *w = arg;
    struct beam_item child;
    return extend(w->search, w->item, id, &child) &&
           (!one_token(w->search->model) || is_whole(w->search, &child));
}

static void open_ways(struct search *s, const struct beam_item *item, size_t state,
                      const struct top *top, double total)
{
    struct beam_item child;
    for (size_t i = 0; i < top->n; i++) {
        double logprob = (item ? item->logprob : 0) + top->logit[i] - total;
        if (too_late(s, logprob) || !extend(s, item, top->id[i], &child))
            continue;
        child.logprob = logprob;
        child.parent = state;
        beam_offer(&s->open, &child);
    }
}

/* First tokens, from the logits after the text. */
static void seed(struct search *s, const float *logits)
{
    struct top top = {.cap = s->width};
    struct ways ways = {s, NULL};
    struct forecast_query q = {.parts = beginnings(s), .takes = is_way, .arg = &ways};
    struct forecast f = forecast_read(s->model, logits, &q, &top);
    open_ways(s, NULL, FROM_ROOT, &top, f.total);
}

/* What follows item `index` of `now`: a border, or tokens that make it longer. */
static void grow(struct search *s, size_t index, const float *logits)
{
    const struct beam_item *item = &s->now[index];
    struct top top = {.cap = s->width};
    struct ways ways = {s, item};
    struct forecast_query q = {
        .parts = 1U << PART_INNER | 1U << PART_SUFFIX, .takes = is_way, .arg = &ways};
    struct forecast f = forecast_read(s->model, logits, &q, &top);
    finish(s, item, fmin(1, f.rest));
    open_ways(s, item, s->to[index], &top, f.total);
}

/* ---- what to feed ---------------------------------------------------------------- */

/* A state that nothing goes on from; FROM_ROOT if there is none. */
static size_t free_state(const struct search *s)
{
    bool used[STATES_MAX + 1] = {0};
    for (size_t i = 0; i < s->open.n; i++)
        used[s->open.at[i].parent] = true;
    for (size_t i = 0; i < s->n_now; i++)
        used[s->now[i].parent] = used[s->to[i]] = true;
    size_t at = 0, n = 2 * s->width;
    while (at < n && used[at])
        at++;
    return at < n ? at : FROM_ROOT;
}

/* Takes the best of the open items, and drops those that can't win any more. Where states
 * run short the worst ones give way. */
static void take_items(struct search *s)
{
    struct beam *open = &s->open;
    s->n_now = 0;
    while (open->n > 0 && too_late(s, open->at[open->n - 1].logprob))
        open->n--;
    while (open->n > 0 && s->n_now < STEP_ITEMS &&
           s->n_fed < SEQ_WORD_TOKENS * s->width) {
        size_t to = free_state(s);
        if (to == FROM_ROOT) {
            open->n--;
            continue;
        }
        s->now[s->n_now] = open->at[0];
        s->to[s->n_now++] = to;
        s->n_fed++;
        memmove(open->at, open->at + 1, --open->n * sizeof *open->at);
    }
}

/* ---- passes over all requests ---------------------------------------------------- */

/* One row of a pass: which search it belongs to, and which item of it. */
struct row {
    struct search *search;
    size_t item;
};

struct pass {
    const struct seq_model *model;
    struct row *rows; /* one per sequence of the batch */
};

void seq_next_tokens(const struct seq_model *m, const float *logits, size_t top_k,
                     struct seq_next_result *out)
{
    struct top top = {.cap = top_k};
    struct forecast_query q = {.parts = WORD_PARTS};
    struct forecast f = forecast_read(m, logits, &q, &top);
    out->n = top.n;
    for (size_t i = 0; i < top.n; i++) {
        struct seq_prediction *p = &out->at[i];
        *p = (struct seq_prediction){.logprob = top.logit[i] - f.total, .n_tokens = 1};
        p->tokens[0] = top.id[i];
        size_t n;
        const char *bytes = seq_predicted_bytes(m, top.id[i], &n);
        p->n_bytes = n < SEQ_WORD_BYTES ? n : SEQ_WORD_BYTES;
        if (p->n_bytes)
            memcpy(p->bytes, bytes, p->n_bytes);
    }
}

static void after_text(void *arg, size_t i, float *logits)
{
    struct search *s = (struct search *)arg + i;
    if (s->request->unit == SEQ_UNIT_TOKEN)
        seq_next_tokens(s->model, logits, s->request->top_k, s->result);
    else
        seed(s, logits);
}

static void after_item(void *arg, size_t r, float *logits)
{
    const struct pass *p = arg;
    grow(p->rows[r].search, p->rows[r].item, logits);
}

/* What each text predicts. */
static enum err_code read_texts(struct search *all, size_t n, struct seq_worker *w,
                                struct err *err)
{
    const struct seq_model *m = all->model;
    struct arena *tmp = &w->tmp;
    size_t T = 0, longest = 0;
    for (size_t i = 0; i < n; i++) {
        size_t len = all[i].request->tokens->n;
        T += len;
        longest = len > longest ? len : longest;
    }
    enum err_code code = arena_reserve(tmp, reading_bytes(m, n, T, longest), err);
    if (code != ERR_OK)
        return code;
    struct reading *texts = arena_bytes(tmp, n * sizeof *texts);
    if (!texts)
        return err_set(err, ERR_BUG, "arena too small for %zu texts", n);
    for (size_t i = 0; i < n; i++)
        texts[i] = (struct reading){.text = all[i].request->tokens,
                                    .pick = all[i].pick,
                                    .state = all[i].root ? all[i].root->net : NULL};
    return reading_run(m, w, n, texts, after_text, all, err);
}

static size_t rows_bytes(const struct seq_model *m, size_t B)
{
    return arena_byte_cost(B * sizeof(struct row)) + model_pass_bytes(m, B, B, 1);
}

/* The state that item i is fed to: a copy of what it goes on from. */
static enum err_code take_state(struct search *s, size_t i, struct err *err)
{
    struct seq_state **own = &s->states[s->to[i]];
    size_t parent = s->now[i].parent;
    if (!*own) {
        enum err_code code = seq_state_new(s->model, own, err);
        if (code != ERR_OK)
            return code;
    }
    return seq_state_copy(*own, parent == FROM_ROOT ? s->root : s->states[parent], err);
}

/* Feeds the last token of every item that was taken: B items in all. */
static enum err_code feed_items(struct search *all, size_t n, size_t B,
                                struct seq_worker *w, struct err *err)
{
    const struct seq_model *m = all->model;
    struct arena *tmp = &w->tmp;
    enum err_code code = arena_reserve(tmp, rows_bytes(m, B), err);
    if (code != ERR_OK)
        return code;
    struct pass pass = {.model = m, .rows = arena_bytes(tmp, B * sizeof(struct row))};
    if (!pass.rows)
        return err_set(err, ERR_BUG, "arena too small for %zu items", B);
    struct batch batch;
    code = batch_init(&batch, tmp, B, B, err);
    size_t b = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < all[i].n_now && code == ERR_OK; j++, b++) {
            const struct beam_item *item = &all[i].now[j];
            code = take_state(&all[i], j, err);
            if (code != ERR_OK)
                return code;
            batch_ids(&batch, &item->tokens[item->n_tokens - 1], 1,
                      all[i].states[all[i].to[j]]->net);
            pass.rows[b] = (struct row){&all[i], j};
        }
    }
    struct exec x = model_exec(m, w, NULL);
    return code == ERR_OK ? model_pass(m, &x, &batch, after_item, &pass, err) : code;
}

static enum err_code search_words(struct search *all, size_t n, struct seq_worker *w,
                                  struct err *err)
{
    enum err_code code = read_texts(all, n, w, err);
    arena_rewind(&w->tmp, 0);
    if (one_token(all->model)) {
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < all[i].open.n; j++)
                finish(&all[i], &all[i].open.at[j], 1);
        return code;
    }
    for (size_t B = 1; B > 0 && code == ERR_OK;) {
        B = 0;
        for (size_t i = 0; i < n; i++) {
            take_items(&all[i]);
            B += all[i].n_now;
        }
        if (B > 0)
            code = feed_items(all, n, B, w, err);
        arena_rewind(&w->tmp, 0);
    }
    return code;
}

/* ---- requests -------------------------------------------------------------------- */

/* True if blanks stand before the mask token, which may have taken them along. */
static bool mask_is_apart(const struct seq_model *m, const struct seq_token *mask)
{
    return mask->start != mask[-1].end ||
           mask->end - mask->start > strlen(m->info.mask_token);
}

/* How words begin in the place that is predicted. */
static void look_around(struct search *s)
{
    const struct seq_model *m = s->model;
    const struct seq_next_request *q = s->request;
    bool masked = m->info.mask_token;
    size_t at = masked ? s->pick : q->tokens->n;
    if (at <= m->n_before) { /* nothing stands before the word */
        s->without_blank = m->words.bare_start;
        s->with_blank = !s->without_blank;
        return;
    }
    const struct seq_token *t = q->tokens->at + at;
    bool open = m->words.part[t[-1].id] == PART_BORDER && m->words.bare_inside;
    s->without_blank = open && !(masked ? mask_is_apart(m, t) : q->after_space);
    s->with_blank = !masked || !s->without_blank;
    s->shows_blank = !masked && !q->after_space;
}

static enum err_code search_init(struct search *s, const struct seq_model *m,
                                 const struct seq_next_request *q,
                                 struct seq_next_result *result, bool stateful,
                                 struct err *err)
{
    *result = (struct seq_next_result){0};
    s->model = m;
    s->request = q;
    s->result = result;
    s->pick = q->tokens->n - 1;
    enum err_code code = ERR_OK;
    if (m->info.mask_token)
        code = tokenize_find_mask(m, q->tokens, &s->pick, err);
    if (code != ERR_OK)
        return code;
    look_around(s);
    s->width = search_width(m, q->top_k);
    s->open.cap = BEAM_MAX;
    return stateful ? seq_state_new(m, &s->root, err) : ERR_OK;
}

static void search_done(struct search *s)
{
    seq_state_free(s->root);
    for (size_t i = 0; i < STATES_MAX; i++)
        seq_state_free(s->states[i]);
}

const char *seq_predicted_bytes(const struct seq_model *m, int32_t id, size_t *n)
{
    const char *bytes = seq_piece_bytes(m, id, n);
    if (!m->info.mask_token || *n == 0 || bytes[0] != ' ')
        return bytes;
    --*n;
    return bytes + 1;
}

size_t seq_next_word_cost(const struct seq_model *m, enum seq_unit unit, size_t top_k)
{
    if (unit == SEQ_UNIT_TOKEN || one_token(m))
        return SEARCH_TOKENS;
    size_t step = m->net->cfg.arch == ARCH_RNN ? 1 : CACHE_BLOCK;
    return SEARCH_TOKENS + 2 * search_width(m, top_k) * step;
}

enum err_code seq_next_word(const struct seq_model *m, struct seq_worker *w, size_t n,
                            const struct seq_next_request *requests,
                            struct seq_next_result *results, struct err *err)
{
    if (!(m->info.tasks & SEQ_NEXT_WORD))
        return err_set(err, ERR_TASK, "a %s is no language model", m->info.architecture);
    bool stateful = m->prefixes;
    for (size_t i = 0; i < n; i++) {
        if (requests[i].top_k < 1 || requests[i].top_k > SEQ_TOP_MAX)
            return err_param(err, ERR_INPUT, "top_k", "top_k is %zu, it must be 1 to %d",
                             requests[i].top_k, SEQ_TOP_MAX);
        stateful |= requests[i].unit == SEQ_UNIT_WORD && !one_token(m);
    }
    if (n == 0)
        return ERR_OK;
    struct search *all = mem_zero(n, sizeof *all);
    if (!all)
        return err_set(err, ERR_NOMEM, "out of memory: word search");
    enum err_code code = ERR_OK;
    for (size_t i = 0; i < n && code == ERR_OK; i++)
        code = search_init(&all[i], m, &requests[i], &results[i], stateful, err);
    if (code == ERR_OK)
        code = search_words(all, n, w, err);
    for (size_t i = 0; i < n; i++)
        search_done(&all[i]);
    mem_free(all);
    return code;
}
