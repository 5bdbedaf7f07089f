#include "model/text/unigram.h"

#include "model/base/mem.h"
#include "model/base/utf8.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

static const char where[] = "tokenizer.json: model";

/* Bounds the steps from each character; XLM-R's longest piece has 48 bytes. */
enum { MAX_PIECE = 512 };
/* An unknown character scores this much less than the worst piece. */
static const double UNK_PENALTY = 10.0;

/* ---- the trie -------------------------------------------------------------------- */

/* A piece while the trie is built. */
struct key {
    const char *s;
    size_t n;
    int32_t id;
};

static int by_bytes(const void *a, const void *b)
{
    const struct key *left = a, *right = b;
    size_t n = left->n < right->n ? left->n : right->n;
    int order = n ? memcmp(left->s, right->s, n) : 0;
    if (order == 0)
        order = (left->n > right->n) - (left->n < right->n);
    return order ? order : (left->id > right->id) - (left->id < right->id);
}

static size_t shared(const struct key *a, const struct key *b)
{
    size_t n = a->n < b->n ? a->n : b->n, i = 0;
    while (i < n && a->s[i] == b->s[i])
        i++;
    return i;
}

/* Sorted keys[from..to) go through a node. */
struct range {
    uint32_t from, to;
};

/* Level by level: every node appends its children and their ranges. */
static void fill_nodes(struct unigram *u, const struct key *keys, struct range *ranges)
{
    size_t depth = 0, n = 1, level_end = 1;
    for (size_t node = 0; node < n; node++) {
        if (node == level_end) {
            depth++;
            level_end = n;
        }
        struct range r = ranges[node];
        u->nodes[node] = (struct unigram_node){(uint32_t)n, -1};
        for (; r.from < r.to && keys[r.from].n == depth; r.from++)
            u->nodes[node].id = keys[r.from].id; /* of a piece listed twice, the last */
        while (r.from < r.to) {
            struct range child = {r.from, r.from + 1};
            char byte = keys[r.from].s[depth];
            while (child.to < r.to && keys[child.to].s[depth] == byte)
                child.to++;
            u->bytes[n] = (unsigned char)byte;
            ranges[n++] = child;
            r.from = child.to;
        }
    }
    u->nodes[0].id = -1; /* an empty piece is never found */
    u->nodes[n].first = (uint32_t)n;
}

/* keys[0..n) are sorted. */
static enum err_code build_trie(struct unigram *u, const struct key *keys, size_t n,
                                struct err *err)
{
    u->n_nodes = 1;
    for (size_t i = 0; i < n; i++)
        u->n_nodes += keys[i].n - (i ? shared(&keys[i - 1], &keys[i]) : 0);
    u->nodes = mem_alloc(u->n_nodes + 1, sizeof *u->nodes);
    u->bytes = mem_zero(u->n_nodes, 1);
    struct range *ranges = mem_alloc(u->n_nodes, sizeof *ranges);
    bool ok = u->nodes && u->bytes && ranges;
    if (ok) {
        ranges[0] = (struct range){0, (uint32_t)n};
        fill_nodes(u, keys, ranges);
    }
    mem_free(ranges);
    return ok ? ERR_OK : err_set(err, ERR_NOMEM, "%s: no memory for its trie", where);
}

/* ---- building -------------------------------------------------------------------- */

static enum err_code init_pieces(struct unigram *u, const struct plan_model *m,
                                 struct err *err)
{
    struct key *keys = mem_alloc(m->n_pieces, sizeof *keys);
    u->scores = mem_zero(u->vocab->n_ids, sizeof *u->scores);
    if (!keys || !u->scores) {
        mem_free(keys);
        return err_set(err, ERR_NOMEM, "%s: no memory", where);
    }
    double least = DBL_MAX;
    for (size_t i = 0; i < m->n_pieces; i++) {
        const struct plan_piece *p = &m->pieces[i];
        keys[i] = (struct key){p->text.at, p->text.n, p->id};
        u->scores[p->id] = p->score;
        least = p->score < least ? p->score : least;
    }
    u->unk_score = least - UNK_PENALTY;
    qsort(keys, m->n_pieces, sizeof *keys, by_bytes);
    enum err_code code = build_trie(u, keys, m->n_pieces, err);
    mem_free(keys);
    return code;
}

enum err_code unigram_init(struct unigram *u, const struct tokenizer_plan *plan,
                           const struct vocab *vocab, struct err *err)
{
    const struct plan_model *m = &plan->model;
    *u = (struct unigram){
        .vocab = vocab, .unk = m->unk_id, .byte_fallback = m->byte_fallback};
    if (vocab->max_piece > MAX_PIECE)
        return err_set(err, ERR_LIMIT,
                       "%s: vocab: a piece has %zu bytes, the limit of a Unigram is %d",
                       where, vocab->max_piece, MAX_PIECE);
    if (u->unk < 0 && !vocab_knows_all(vocab, plan))
        return err_set(err, ERR_MISMATCH,
                       "%s: it has no unk_id for characters that are not in its vocab",
                       where);
    vocab_byte_ids(vocab, u->byte_ids);
    enum err_code code = init_pieces(u, m, err);
    if (code != ERR_OK)
        unigram_done(u);
    return code;
}

void unigram_done(struct unigram *u)
{
    mem_free(u->scores);
    mem_free(u->nodes);
    mem_free(u->bytes);
    *u = (struct unigram){0};
}

void unigram_scratch_done(struct unigram_scratch *s)
{
    mem_free(s->ends);
    *s = (struct unigram_scratch){0};
}

/* ---- the best path --------------------------------------------------------------- */

/* The child of a node over a byte, or 0: the root is nobody's. */
static size_t child_of(const struct unigram *u, size_t node, unsigned char byte)
{
    size_t low = u->nodes[node].first, high = u->nodes[node + 1].first;
    while (high - low > 4) {
        size_t middle = low + (high - low) / 2;
        if (u->bytes[middle] <= byte)
            low = middle;
        else
            high = middle;
    }
    for (; low < high; low++)
        if (u->bytes[low] == byte)
            return low;
    return 0;
}

/* Of two ways with one sum the first one found stays. */
static void offer(struct unigram_end *to, double score, size_t begin, int32_t id)
{
    if (to->id == UNIGRAM_NOWHERE || score > to->score)
        *to = (struct unigram_end){score, (uint32_t)begin, id};
}

/* Goes on from byte `at` with every piece that begins there, short ones first, and, if
 * none is its first character, with that as unknown. */
static size_t go_on(const struct unigram *u, const char *s, size_t n, size_t at,
                    struct unigram_end *ends)
{
    double so_far = ends[at].score;
    bool alone = false;
    size_t len, node = 0;
    utf8_get(s + at, n - at, &len);
    for (size_t end = at; end < n;) {
        node = child_of(u, node, (unsigned char)s[end]);
        if (node == 0)
            break;
        end++;
        int32_t id = u->nodes[node].id;
        if (id < 0)
            continue;
        offer(&ends[end], u->scores[id] + so_far, at, id);
        alone = alone || end - at == len;
    }
    if (!alone)
        offer(&ends[at + len], u->unk_score + so_far, at, u->unk);
    return len;
}

/* Turns the links backwards from ends[n] into links forwards: begin of ends[i] becomes
 * the end of the piece after the one that ends at i. Returns the first piece's end. */
static size_t turn_around(struct unigram_end *ends, size_t n)
{
    size_t next = n;
    for (size_t at = n; at > 0;) {
        size_t before = ends[at].begin;
        ends[at].begin = (uint32_t)next;
        next = at;
        at = before;
    }
    return next;
}

/* A token, or, for what is unknown, the tokens of its bytes. */
static enum err_code add(const struct unigram *u, const char *s, struct piece p,
                         struct pieces *out, struct err *err)
{
    if (p.id != u->unk)
        return pieces_add(out, p.begin, p.end, p.id, err);
    int32_t id = vocab_find(u->vocab, s + p.begin, p.end - p.begin);
    bool bytes = id < 0 && u->byte_fallback;
    for (size_t i = p.begin; bytes && i < p.end; i++)
        bytes = u->byte_ids[(unsigned char)s[i]] >= 0;
    if (!bytes)
        return pieces_add(out, p.begin, p.end, id >= 0 ? id : u->unk, err);
    enum err_code code = ERR_OK;
    for (size_t i = p.begin; code == ERR_OK && i < p.end; i++)
        code = pieces_add(out, p.begin, p.end, u->byte_ids[(unsigned char)s[i]], err);
    return code;
}

static enum err_code room_for(struct unigram_scratch *scratch, size_t n, struct err *err)
{
    if (n > scratch->cap) {
        size_t cap = n + n / 2 + 64;
        struct unigram_end *ends = mem_resize(scratch->ends, cap, sizeof *ends);
        if (!ends)
            return err_set(err, ERR_NOMEM, "no memory to encode %zu bytes", n);
        scratch->ends = ends;
        scratch->cap = cap;
    }
    return ERR_OK;
}

enum err_code unigram_encode(const struct unigram *u, struct unigram_scratch *scratch,
                             const char *s, size_t begin, size_t end, struct pieces *out,
                             struct err *err)
{
    size_t n = end - begin;
    enum err_code code = room_for(scratch, n + 1, err);
    if (code != ERR_OK || n == 0)
        return code;
    struct unigram_end *ends = scratch->ends;
    ends[0] = (struct unigram_end){0.0, 0, UNIGRAM_NOWHERE};
    for (size_t i = 1; i <= n; i++)
        ends[i].id = UNIGRAM_NOWHERE;
    for (size_t at = 0; at < n;)
        at += go_on(u, s + begin, n, at, ends);
    size_t at = 0, to = turn_around(ends, n);
    while (code == ERR_OK && at < n) {
        /* Unknown characters side by side are one token. */
        int32_t id = ends[to].id;
        while (id == u->unk && to < n && ends[ends[to].begin].id == u->unk)
            to = ends[to].begin;
        struct piece p = {(uint32_t)(begin + at), (uint32_t)(begin + to), id};
        code = add(u, s, p, out, err);
        at = to;
        to = ends[to].begin;
    }
    return code;
}
