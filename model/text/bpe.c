#include "model/text/bpe.h"

#include "model/base/mem.h"
#include "model/base/utf8.h"

#include <string.h>

static const char where[] = "tokenizer.json: model";

/* More slots in a row than this are no accident: the load factor is at most a half. */
enum { MAX_PROBES = 512 };

/* ---- merges ---------------------------------------------------------------------- */

static size_t first_slot(const struct bpe *b, int32_t left, int32_t right)
{
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    return (size_t)(pair * UINT64_C(0x9e3779b97f4a7c15) >> 29) & b->mask;
}

static const struct bpe_merge *find_merge(const struct bpe *b, int32_t left,
                                          int32_t right)
{
    size_t at = first_slot(b, left, right);
    while (b->merges[at].left >= 0) {
        if (b->merges[at].left == left && b->merges[at].right == right)
            return &b->merges[at];
        at = (at + 1) & b->mask;
    }
    return NULL;
}

/* A pair that is listed twice keeps its last place. */
static enum err_code put_merge(struct bpe *b, struct bpe_merge m, struct err *err)
{
    size_t at = first_slot(b, m.left, m.right);
    for (int i = 0; i < MAX_PROBES; i++, at = (at + 1) & b->mask) {
        struct bpe_merge *slot = &b->merges[at];
        if (slot->left < 0 || (slot->left == m.left && slot->right == m.right)) {
            *slot = m;
            return ERR_OK;
        }
    }
    return err_set(err, ERR_LIMIT, "%s: its merges defeat hashing, at number %u", where,
                   m.rank);
}

/* ---- seams ------------------------------------------------------------------------
 * A merge joins a piece that ends in some byte with one that begins with some character.
 * Where no merge joins the two that meet between symbols, none ever will: what lies on
 * either side is merged by itself, which keeps the work on long pieces together. */

/* The bit for a left and a right piece (without its prefix); no bit if it can't be said.
 */
static bool seam_bit(struct plan_text left, struct plan_text right, size_t *bit)
{
    if (left.n == 0 || right.n == 0)
        return false;
    unsigned char lead = (unsigned char)right.at[0];
    size_t n = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (n > right.n)
        return false;
    uint64_t hash = vocab_hash(VOCAB_HASH_SEED, left.at + left.n - 1, 1);
    hash = vocab_hash(hash, right.at, n);
    *bit = (size_t)(hash >> 40) % BPE_SEAMS;
    return true;
}

static void put_seam(struct bpe *b, struct plan_text left, struct plan_text right)
{
    size_t bit;
    if (seam_bit(left, right, &bit))
        b->seams[bit / 64] |= UINT64_C(1) << bit % 64;
    else /* a piece that has no beginning hides what stands behind it */
        memset(b->seams, 0xff, BPE_SEAMS / 8);
}

/* A symbol's piece without its first `skip` bytes. */
static struct plan_text text_of(const struct bpe *b, int32_t id, size_t skip)
{
    const struct vocab_piece *p = &b->vocab->pieces[id];
    skip = skip < p->n ? skip : p->n;
    return (struct plan_text){b->vocab->pool + p->at + skip, p->n - skip};
}

/* True if symbols of these ids, or what they become part of, may be merged. */
static bool may_join(const struct bpe *b, int32_t left, int32_t right)
{
    size_t bit;
    return !seam_bit(text_of(b, left, 0), text_of(b, right, b->n_prefix), &bit) ||
           (b->seams[bit / 64] >> bit % 64 & 1);
}

/* ---- reading merges --------------------------------------------------------------- */

static enum err_code read_merge(struct bpe *b, const struct plan_merge *p,
                                size_t n_prefix, uint32_t rank, struct err *err)
{
    struct bpe_merge m = {vocab_find(b->vocab, p->left.at, p->left.n),
                          vocab_find(b->vocab, p->right.at, p->right.n), rank, -1};
    if (p->right.n >= n_prefix) {
        struct plan_text right = {p->right.at + n_prefix, p->right.n - n_prefix};
        uint64_t hash = vocab_hash(VOCAB_HASH_SEED, p->left.at, p->left.n);
        hash = vocab_hash(hash, right.at, right.n);
        m.id = vocab_find_hashed(b->vocab, hash, p->left, right);
        put_seam(b, p->left, right);
    }
    if (m.left < 0 || m.right < 0 || m.id < 0)
        return err_set(err, ERR_MISMATCH,
                       "%s: merges: \"%.60s\" and \"%.60s\": %s is not in the vocab",
                       where, p->left.at, p->right.at,
                       m.left < 0    ? "the first"
                       : m.right < 0 ? "the second"
                                     : "what they make");
    b->made[rank] = m.id;
    return put_merge(b, m, err);
}

static enum err_code init_merges(struct bpe *b, const struct plan_model *plan,
                                 struct err *err)
{
    size_t slots = 16;
    while (slots < 2 * plan->n_merges)
        slots *= 2;
    b->mask = slots - 1;
    b->merges = mem_alloc(slots, sizeof *b->merges);
    b->seams = mem_zero(BPE_SEAMS / 64, sizeof *b->seams);
    b->made = mem_alloc(plan->n_merges, sizeof *b->made);
    if (!b->merges || !b->seams || !b->made)
        return err_set(err, ERR_NOMEM, "%s: no memory for %zu merges", where,
                       plan->n_merges);
    for (size_t i = 0; i < slots; i++)
        b->merges[i].left = -1;
    enum err_code code = ERR_OK;
    for (size_t i = 0; code == ERR_OK && i < plan->n_merges; i++)
        code = read_merge(b, &plan->merges[i], plan->prefix.n, (uint32_t)i, err);
    return code;
}

/* ---- the other tables ------------------------------------------------------------ */

static void init_ids(struct bpe *b)
{
    vocab_byte_ids(b->vocab, b->byte_ids);
    for (uint32_t cp = 0; cp < BPE_DIRECT; cp++) {
        char s[4];
        b->char_ids[cp] = vocab_find(b->vocab, s, utf8_put(cp, s));
    }
}

static enum err_code init_texts(struct bpe *b, const struct plan_model *plan,
                                struct err *err)
{
    if (plan->prefix.at)
        b->prefix = mem_copy(plan->prefix.at, plan->prefix.n);
    if (plan->suffix.at)
        b->suffix = mem_copy(plan->suffix.at, plan->suffix.n);
    if ((plan->prefix.at && !b->prefix) || (plan->suffix.at && !b->suffix))
        return err_set(err, ERR_NOMEM, "%s: no memory", where);
    b->n_prefix = plan->prefix.n;
    b->n_suffix = plan->suffix.n;
    if (plan->prefix.n + plan->suffix.n > PLAN_MAX_PIECE)
        return err_set(err, ERR_LIMIT,
                       "%s: prefix and suffix have %zu bytes, the limit is %d", where,
                       plan->prefix.n + plan->suffix.n, PLAN_MAX_PIECE);
    return ERR_OK;
}

enum err_code bpe_init(struct bpe *b, const struct tokenizer_plan *plan,
                       const struct vocab *vocab, struct err *err)
{
    const struct plan_model *m = &plan->model;
    *b = (struct bpe){.vocab = vocab,
                      .fuse_unk = m->fuse_unk,
                      .byte_fallback = m->byte_fallback,
                      .ignore_merges = m->ignore_merges,
                      .unk = -1};
    init_ids(b);
    enum err_code code = init_texts(b, m, err);
    if (code == ERR_OK)
        code = init_merges(b, m, err);
    if (code == ERR_OK && m->unk.at) {
        b->unk = vocab_find(vocab, m->unk.at, m->unk.n);
        if (b->unk < 0 && (b->prefix || b->suffix || !vocab_knows_all(vocab, plan)))
            code =
                err_set(err, ERR_MISMATCH, "%s: unk_token \"%.60s\" is not in its vocab",
                        where, m->unk.at);
    }
    if (code != ERR_OK)
        bpe_done(b);
    return code;
}

void bpe_done(struct bpe *b)
{
    mem_free(b->merges);
    mem_free(b->seams);
    mem_free(b->made);
    mem_free(b->prefix);
    mem_free(b->suffix);
    *b = (struct bpe){0};
}

void bpe_scratch_done(struct bpe_scratch *s)
{
    mem_free(s->symbols);
    mem_free(s->bytes);
    mem_free(s->heap);
    *s = (struct bpe_scratch){0};
}

/* ---- the queue of candidates: lowest rank first, leftmost of those. A heap of four
 * children a node: half the levels of a binary one, and those of a node lie together ----
 */

enum { CHILDREN = 4 };

static enum err_code heap_push(struct bpe_scratch *s, uint64_t candidate, struct err *err)
{
    if (s->n_heap == s->cap_heap) {
        size_t cap = s->cap_heap * 2 + 32;
        uint64_t *heap = mem_resize(s->heap, cap, sizeof *heap);
        if (!heap)
            return err_set(err, ERR_NOMEM, "no memory to encode a text");
        s->heap = heap;
        s->cap_heap = cap;
    }
    size_t at = s->n_heap++;
    while (at > 0 && candidate < s->heap[(at - 1) / CHILDREN]) {
        s->heap[at] = s->heap[(at - 1) / CHILDREN];
        at = (at - 1) / CHILDREN;
    }
    s->heap[at] = candidate;
    return ERR_OK;
}

static uint64_t heap_pop(struct bpe_scratch *s)
{
    uint64_t top = s->heap[0], last = s->heap[--s->n_heap];
    size_t at = 0, n = s->n_heap;
    for (size_t first; (first = CHILDREN * at + 1) < n;) {
        size_t least = first, end = first + CHILDREN < n ? first + CHILDREN : n;
        for (size_t child = first + 1; child < end; child++)
            least = s->heap[child] < s->heap[least] ? child : least;
        if (s->heap[least] >= last)
            break;
        s->heap[at] = s->heap[least];
        at = least;
    }
    s->heap[at] = last;
    return top;
}

/* ---- characters to symbols ------------------------------------------------------- */

static enum err_code add_symbol(struct bpe_scratch *s, int32_t id, size_t n,
                                struct err *err)
{
    if (s->n_symbols == s->cap_symbols) {
        size_t cap = s->cap_symbols * 2 + 32;
        struct bpe_symbol *symbols = mem_resize(s->symbols, cap, sizeof *symbols);
        if (symbols)
            s->symbols = symbols;
        uint32_t *bytes = symbols ? mem_resize(s->bytes, cap, sizeof *bytes) : NULL;
        if (!bytes)
            return err_set(err, ERR_NOMEM, "no memory to encode a text");
        s->bytes = bytes;
        s->cap_symbols = cap;
    }
    s->bytes[s->n_symbols] = (uint32_t)n;
    s->symbols[s->n_symbols++] = (struct bpe_symbol){id, 1};
    return ERR_OK;
}

/* The id of the character s[0..n), spelled as its place in the piece asks, or -1. */
static int32_t char_id(const struct bpe *b, const char *s, size_t n, bool first,
                       bool last)
{
    size_t len;
    if (!b->prefix && !b->suffix) {
        uint32_t cp = utf8_get(s, n, &len);
        return cp < BPE_DIRECT ? b->char_ids[cp] : vocab_find(b->vocab, s, n);
    }
    char whole[PLAN_MAX_PIECE + 4];
    size_t at = 0;
    if (!first && b->prefix) {
        memcpy(whole, b->prefix, b->n_prefix);
        at = b->n_prefix;
    }
    memcpy(whole + at, s, n);
    at += n;
    if (last && b->suffix) {
        memcpy(whole + at, b->suffix, b->n_suffix);
        at += b->n_suffix;
    }
    return vocab_find(b->vocab, whole, at);
}

/* The character's bytes as symbols; *done is false, and nothing added, if one of them has
 * none. */
static enum err_code add_bytes(const struct bpe *b, struct bpe_scratch *scratch,
                               const char *s, size_t n, bool *done, struct err *err)
{
    *done = false;
    for (size_t i = 0; i < n; i++)
        if (b->byte_ids[(unsigned char)s[i]] < 0)
            return ERR_OK;
    *done = true;
    enum err_code code = ERR_OK;
    for (size_t i = 0; code == ERR_OK && i < n; i++)
        code = add_symbol(scratch, b->byte_ids[(unsigned char)s[i]], 1, err);
    return code;
}

/* Fills the scratch with the piece's characters. An unknown token is held back (`unknown`
 * bytes of it) until a known character or another unknown one comes; bytes of a
 * byte_fallback overtake it, as in the library. */
static enum err_code add_characters(const struct bpe *b, struct bpe_scratch *scratch,
                                    const char *s, size_t n, struct err *err)
{
    size_t unknown = 0, len;
    enum err_code code = ERR_OK;
    for (size_t at = 0; code == ERR_OK && at < n; at += len) {
        bool bytes = false;
        utf8_get(s + at, n - at, &len);
        int32_t id = char_id(b, s + at, len, at == 0, at + len == n);
        if (id < 0 && b->byte_fallback)
            code = add_bytes(b, scratch, s + at, len, &bytes, err);
        if (code != ERR_OK || bytes || (id < 0 && b->unk < 0))
            continue;
        if (unknown && (id >= 0 || !b->fuse_unk)) {
            code = add_symbol(scratch, b->unk, unknown, err);
            unknown = 0;
        }
        if (id < 0)
            unknown += len;
        else if (code == ERR_OK)
            code = add_symbol(scratch, id, len, err);
    }
    return code || !unknown ? code : add_symbol(scratch, b->unk, unknown, err);
}

/* ---- merging --------------------------------------------------------------------- */

/* The merge of symbol `at` with the next one before `to`, or NULL. */
static const struct bpe_merge *merge_at(const struct bpe *b, const struct bpe_scratch *s,
                                        size_t at, size_t to)
{
    const struct bpe_symbol *left = &s->symbols[at];
    if (left->id < 0 || at + left->span == to)
        return NULL;
    return find_merge(b, left->id, left[left->span].id);
}

static enum err_code offer(const struct bpe *b, struct bpe_scratch *s, size_t at,
                           size_t to, struct err *err)
{
    const struct bpe_merge *m = merge_at(b, s, at, to);
    return m ? heap_push(s, (uint64_t)m->rank << 32 | at, err) : ERR_OK;
}

/* Merges symbols from..to-1 with each other. A candidate whose symbols have changed since
 * it was queued counts if they make the same piece as before. */
static enum err_code merge_range(const struct bpe *b, struct bpe_scratch *s, size_t from,
                                 size_t to, struct err *err)
{
    enum err_code code = ERR_OK;
    s->n_heap = 0;
    for (size_t i = from; code == ERR_OK && i + 1 < to; i++)
        code = offer(b, s, i, to, err);
    while (code == ERR_OK && s->n_heap > 0) {
        uint64_t candidate = heap_pop(s);
        size_t at = candidate & UINT32_MAX;
        const struct bpe_merge *m = merge_at(b, s, at, to);
        if (!m || m->id != b->made[candidate >> 32])
            continue;
        struct bpe_symbol *left = &s->symbols[at], *right = left + left->span;
        left->id = m->id;
        left->span += right->span;
        right->id = -1;
        left[left->span - 1].span = left->span;
        if (at > from)
            code = offer(b, s, at - left[-1].span, to, err);
        if (code == ERR_OK)
            code = offer(b, s, at, to, err);
    }
    return code;
}

/* Long pieces seam by seam; for short ones looking for seams does not pay. */
static enum err_code merge_all(const struct bpe *b, struct bpe_scratch *s,
                               struct err *err)
{
    enum { LONG = 256 };
    size_t from = 0, n = s->n_symbols;
    enum err_code code = ERR_OK;
    for (size_t i = 1; code == ERR_OK && n > LONG && i < n; i++) {
        if (may_join(b, s->symbols[i - 1].id, s->symbols[i].id))
            continue;
        code = merge_range(b, s, from, i, err);
        from = i;
    }
    return code ? code : merge_range(b, s, from, n, err);
}

enum err_code bpe_encode(const struct bpe *b, struct bpe_scratch *scratch, const char *s,
                         size_t begin, size_t end, struct pieces *out, struct err *err)
{
    if (b->ignore_merges) {
        int32_t id = vocab_find(b->vocab, s + begin, end - begin);
        if (id >= 0)
            return pieces_add(out, begin, end, id, err);
    }
    scratch->n_symbols = 0;
    enum err_code code = add_characters(b, scratch, s + begin, end - begin, err);
    if (code == ERR_OK)
        code = merge_all(b, scratch, err);
    size_t from = begin;
    for (size_t i = 0, end_of; code == ERR_OK && i < scratch->n_symbols; i = end_of) {
        size_t to = from;
        end_of = i + scratch->symbols[i].span;
        for (size_t k = i; k < end_of; k++)
            to += scratch->bytes[k];
        code = pieces_add(out, from, to, scratch->symbols[i].id, err);
        from = to;
    }
    return code;
}
