#include "model/nets/cache.h"
#include "model/tasks/beam.h"
#include "model/tasks/model.h"
#include "model/tasks/reading.h"

#include <math.h>
#include <string.h>

/* The search for whole words, level by level: an item of level l is a word begun with l
 * tokens. Feeding its last token gives the probability that a border follows (the word is
 * complete) and the ways to go on. An item's probability only falls as it grows, so the
 * search ends when no unfinished item is better than the worst finished word kept. All
 * requests of a batch take each step together, in one ragged pass.
 *
 * Where a word is one token, which masked and WordLevel models are asked for, the words
 * are those of the first level, and nothing is fed after the text. */
struct search {
    const struct seq_model *model;
    const struct seq_next_request *request;
    struct seq_next_result *result;
    size_t pick;                    /* the token that the prediction is read from */
    bool with_blank, without_blank; /* how the first token of a word may begin */
    bool shows_blank;               /* whether the word's text does */
    struct beam now, next;          /* items to feed, and their children */
    struct seq_state *root;         /* the text itself; NULL if nothing goes on from it */
    struct seq_state *states[2][BEAM_MAX]; /* of `now`, and of the level before */
};

static bool one_token(const struct seq_model *m)
{
    return m->info.word_level || m->info.mask_token;
}

/* What a struct search itself takes, in tokens of a small model. */
enum { SEARCH_TOKENS = 8 };

/* Unfinished words that are followed at the same time. */
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

static bool may_begin(const struct search *s, int32_t id)
{
    switch ((enum word_part)s->model->words.part[id]) {
    case PART_BEGIN:
        return s->with_blank || s->model->info.word_level;
    case PART_INNER:
        return s->without_blank;
    default:
        return false;
    }
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

/* First tokens, from the logits after the text. */
static void seed(struct search *s, float *logits)
{
    const struct seq_model *m = s->model;
    struct top top = {.cap = s->next.cap};
    struct beam_item item;
    bool whole = one_token(m);
    for (size_t id = 0; id < m->info.vocab; id++)
        if (may_begin(s, (int32_t)id) && top_wants(&top, logits[id]) &&
            extend(s, NULL, (int32_t)id, &item) && (!whole || is_whole(s, &item)))
            top_offer(&top, (int32_t)id, logits[id]);
    double scale, total = log_sum_exp(m->net->k, m->info.vocab, logits, &scale);
    for (size_t i = 0; i < top.n; i++) {
        if (!extend(s, NULL, top.id[i], &item))
            continue;
        item.logprob = top.logit[i] - total;
        beam_offer(&s->next, &item);
    }
}

/* What follows item `index` of `now`: a border, or tokens that make it longer. */
static void grow(struct search *s, size_t index, float *logits)
{
    const struct seq_model *m = s->model;
    const struct beam_item *item = &s->now.at[index];
    size_t V = m->info.vocab;
    struct top top = {.cap = s->next.cap};
    struct beam_item child;
    for (size_t id = 0; id < V; id++) {
        unsigned char part = m->words.part[id];
        if ((part == PART_INNER || part == PART_SUFFIX) && top_wants(&top, logits[id]) &&
            extend(s, item, (int32_t)id, &child))
            top_offer(&top, (int32_t)id, logits[id]);
    }
    double scale, border = 0;
    double total = log_sum_exp(m->net->k, V, logits, &scale);
    for (size_t id = 0; id < V; id++)
        if (m->words.part[id] == PART_BORDER || m->words.part[id] == PART_BEGIN)
            border += logits[id];
    finish(s, item, fmin(1, border * scale));
    for (size_t i = 0; i < top.n; i++) {
        if (!extend(s, item, top.id[i], &child))
            continue;
        child.logprob = item->logprob + top.logit[i] - total;
        child.parent = index;
        beam_offer(&s->next, &child);
    }
}

/* Children become the items to feed; those that can't win any more are dropped. */
static void descend(struct search *s)
{
    const struct seq_next_result *r = s->result;
    s->now.n = 0;
    for (size_t i = 0; i < s->next.n; i++) {
        if (r->n == s->request->top_k && s->next.at[i].logprob <= r->at[r->n - 1].logprob)
            break; /* best first: the rest is worse */
        s->now.at[s->now.n++] = s->next.at[i];
    }
    s->next.n = 0;
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

static void best_tokens(struct search *s, float *logits)
{
    const struct seq_model *m = s->model;
    struct top top = {.cap = s->request->top_k};
    for (size_t id = 0; id < m->info.vocab; id++)
        top_offer(&top, (int32_t)id, logits[id]);
    double scale, total = log_sum_exp(m->net->k, m->info.vocab, logits, &scale);
    for (size_t i = 0; i < top.n; i++) {
        struct seq_prediction *p = &s->result->at[s->result->n++];
        *p = (struct seq_prediction){.logprob = top.logit[i] - total, .n_tokens = 1};
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
        best_tokens(s, logits);
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

/* The state of item i of a search at this level: a copy of its parent's. */
static enum err_code take_state(struct search *s, size_t level, size_t i, struct err *err)
{
    struct seq_state **own = &s->states[level % 2][i];
    size_t parent = s->now.at[i].parent;
    const struct seq_state *from =
        level == 0 ? s->root : s->states[(level + 1) % 2][parent];
    if (!*own) {
        enum err_code code = seq_state_new(s->model, own, err);
        if (code != ERR_OK)
            return code;
    }
    return seq_state_copy(*own, from, err);
}

/* Feeds the last token of every item of every search: B items in all. */
static enum err_code feed_items(struct search *all, size_t n, size_t B, size_t level,
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
        for (size_t j = 0; j < all[i].now.n && code == ERR_OK; j++, b++) {
            const struct beam_item *item = &all[i].now.at[j];
            code = take_state(&all[i], level, j, err);
            if (code != ERR_OK)
                return code;
            batch_ids(&batch, &item->tokens[item->n_tokens - 1], 1,
                      all[i].states[level % 2][j]->net);
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
    for (size_t level = 0; level < SEQ_WORD_TOKENS && code == ERR_OK; level++) {
        size_t B = 0;
        for (size_t i = 0; i < n; i++) {
            descend(&all[i]);
            B += all[i].now.n;
        }
        if (B == 0)
            break;
        if (!one_token(all->model)) {
            code = feed_items(all, n, B, level, w, err);
            arena_rewind(&w->tmp, 0);
            continue;
        }
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < all[i].now.n; j++)
                finish(&all[i], &all[i].now.at[j], 1);
        break;
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
    s->now.cap = s->next.cap = search_width(m, q->top_k);
    return stateful ? seq_state_new(m, &s->root, err) : ERR_OK;
}

static void search_done(struct search *s)
{
    seq_state_free(s->root);
    for (size_t i = 0; i < BEAM_MAX; i++) {
        seq_state_free(s->states[0][i]);
        seq_state_free(s->states[1][i]);
    }
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
