#include "model/text/vocab.h"

#include "model/base/mem.h"
#include "model/base/utf8.h"
#include "model/text/unicode.h"

#include <string.h>

/* More slots in a row than this are no accident: the load factor is at most a half. */
enum { MAX_PROBES = 512 };

uint64_t vocab_hash(uint64_t so_far, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        so_far = (so_far ^ (unsigned char)s[i]) * UINT64_C(0x9e3779b97f4a7c15);
    return so_far;
}

/* The low bits of the product above are weak, so the high ones are used. */
static uint32_t folded(uint64_t hash)
{
    return (uint32_t)(hash >> 32);
}

static bool is_piece(const struct vocab *v, int32_t id, struct plan_text a,
                     struct plan_text b)
{
    const struct vocab_piece *p = &v->pieces[id];
    return p->n == a.n + b.n && memcmp(v->pool + p->at, a.at, a.n) == 0 &&
           (b.n == 0 || memcmp(v->pool + p->at + a.n, b.at, b.n) == 0);
}

/* The slot of a piece, or the empty one where it belongs; MAX_PROBES ends a search. */
static struct vocab_slot *find_slot(const struct vocab *v, uint64_t hash,
                                    struct plan_text a, struct plan_text b)
{
    uint32_t h = folded(hash);
    size_t at = h & v->mask;
    for (int i = 0; i < MAX_PROBES; i++, at = (at + 1) & v->mask) {
        struct vocab_slot *slot = &v->slots[at];
        if (slot->id < 0 || (slot->hash == h && is_piece(v, slot->id, a, b)))
            return slot;
    }
    return NULL;
}

int32_t vocab_find_any(const struct vocab *v, const char *s, size_t n)
{
    struct plan_text whole = {s, n}, nothing = {s, 0};
    const struct vocab_slot *slot =
        find_slot(v, vocab_hash(VOCAB_HASH_SEED, s, n), whole, nothing);
    return slot ? slot->id : -1;
}

static int32_t only_model(const struct vocab *v, int32_t id)
{
    return id >= 0 && (v->flags[id] & VOCAB_MODEL) ? id : -1;
}

int32_t vocab_find(const struct vocab *v, const char *s, size_t n)
{
    return only_model(v, vocab_find_any(v, s, n));
}

int32_t vocab_find_hashed(const struct vocab *v, uint64_t hash, struct plan_text a,
                          struct plan_text b)
{
    const struct vocab_slot *slot = find_slot(v, hash, a, b);
    return slot ? only_model(v, slot->id) : -1;
}

void vocab_byte_ids(const struct vocab *v, int32_t out[256])
{
    static const char digits[] = "0123456789ABCDEF";
    for (unsigned i = 0; i < 256; i++) {
        char name[] = {'<', '0', 'x', digits[i >> 4], digits[i & 15], '>'};
        out[i] = vocab_find(v, name, sizeof name);
    }
}

bool vocab_knows_all(const struct vocab *v, const struct tokenizer_plan *plan)
{
    if (plan->n_splitters == 0 ||
        plan->splitters[plan->n_splitters - 1].kind != SPLITTER_BYTE_LEVEL)
        return false;
    for (unsigned byte = 0; byte < 256; byte++) {
        char s[4];
        if (vocab_find(v, s, utf8_put(unicode_from_byte((unsigned char)byte), s)) < 0)
            return false;
    }
    return true;
}

/* ---- building -------------------------------------------------------------------- */

/* Puts a new piece at an id; *used is the pool's fill. */
static enum err_code put(struct vocab *v, struct plan_text text, int32_t id,
                         unsigned flags, size_t *used, struct err *err)
{
    if (v->flags[id])
        return err_set(err, ERR_FORMAT,
                       "tokenizer.json: id %d has two pieces, \"%.60s\" and \"%.60s\"",
                       id, v->pool + v->pieces[id].at, text.at);
    uint64_t hash = vocab_hash(VOCAB_HASH_SEED, text.at, text.n);
    struct vocab_slot *slot = find_slot(v, hash, text, (struct plan_text){text.at, 0});
    if (!slot)
        return err_set(err, ERR_LIMIT,
                       "tokenizer.json: its vocabulary defeats hashing, at \"%.60s\"",
                       text.at);
    memcpy(v->pool + *used, text.at, text.n + 1);
    v->pieces[id] = (struct vocab_piece){(uint32_t)*used, (uint32_t)text.n};
    v->flags[id] = (unsigned char)(flags | VOCAB_USED);
    *slot = (struct vocab_slot){folded(hash), id};
    *used += text.n + 1;
    return ERR_OK;
}

/* The library's rule for the id of an added token that the model does not know: behind
 * the model's number of pieces and behind the added ones so far. */
static int32_t next_id(size_t n_model, int32_t max_added)
{
    return max_added >= 0 && ((size_t)max_added >= n_model || n_model == 0)
               ? max_added + 1
               : (int32_t)n_model;
}

static enum err_code put_added(struct vocab *v, const struct tokenizer_plan *plan,
                               size_t *used, struct err *err)
{
    int32_t max_added = -1;
    for (size_t i = 0; i < plan->n_added; i++) {
        const struct plan_added *a = &plan->added[i];
        int32_t id = vocab_find_any(v, a->content.at, a->content.n);
        bool known = id >= 0;
        if (!known)
            id = next_id(plan->model.n_pieces, max_added);
        if (id != a->id)
            return err_set(err, ERR_MISMATCH,
                           "tokenizer.json: added token \"%.60s\" has id %d in the file, "
                           "but takes %d",
                           a->content.at, a->id, id);
        if (known && (v->flags[id] & VOCAB_ADDED))
            return err_set(err, ERR_FORMAT,
                           "tokenizer.json: token \"%.60s\" is added twice",
                           a->content.at);
        enum err_code code = known ? ERR_OK : put(v, a->content, id, 0, used, err);
        if (code != ERR_OK)
            return code;
        v->flags[id] |= (unsigned char)(VOCAB_ADDED | (a->special ? VOCAB_SPECIAL : 0));
        max_added = id > max_added ? id : max_added;
    }
    return ERR_OK;
}

/* Sizes the arrays from the plan: ids, pool bytes, a power of two of slots. */
static enum err_code make_room(struct vocab *v, const struct tokenizer_plan *plan,
                               struct err *err)
{
    size_t bytes = 1, n = plan->model.n_pieces + plan->n_added, slots = 16;
    for (size_t i = 0; i < plan->model.n_pieces; i++) {
        const struct plan_piece *p = &plan->model.pieces[i];
        bytes += p->text.n + 1;
        if ((size_t)p->id >= v->n_ids)
            v->n_ids = (size_t)p->id + 1;
        if (p->text.n > v->max_piece)
            v->max_piece = p->text.n;
    }
    for (size_t i = 0; i < plan->n_added; i++) {
        bytes += plan->added[i].content.n + 1;
        if ((size_t)plan->added[i].id >= v->n_ids)
            v->n_ids = (size_t)plan->added[i].id + 1;
    }
    if (bytes > UINT32_MAX)
        return err_set(err, ERR_LIMIT, "tokenizer.json: its vocabulary has %zu bytes",
                       bytes);
    while (slots < 2 * n)
        slots *= 2;
    v->mask = slots - 1;
    v->pool = mem_alloc(bytes, 1);
    v->pieces = mem_zero(v->n_ids, sizeof *v->pieces);
    v->flags = mem_zero(v->n_ids, 1);
    v->slots = mem_alloc(slots, sizeof *v->slots);
    if (!v->pool || !v->pieces || !v->flags || !v->slots)
        return err_set(err, ERR_NOMEM, "tokenizer.json: no memory for %zu pieces", n);
    for (size_t i = 0; i < slots; i++)
        v->slots[i] = (struct vocab_slot){0, -1};
    return ERR_OK;
}

enum err_code vocab_init(struct vocab *v, const struct tokenizer_plan *plan,
                         struct err *err)
{
    *v = (struct vocab){0};
    size_t used = 0;
    enum err_code code = make_room(v, plan, err);
    for (size_t i = 0; code == ERR_OK && i < plan->model.n_pieces; i++) {
        const struct plan_piece *p = &plan->model.pieces[i];
        code = put(v, p->text, p->id, VOCAB_MODEL, &used, err);
    }
    if (code == ERR_OK)
        code = put_added(v, plan, &used, err);
    if (code != ERR_OK)
        vocab_done(v);
    return code;
}

void vocab_done(struct vocab *v)
{
    mem_free(v->pool);
    mem_free(v->pieces);
    mem_free(v->flags);
    mem_free(v->slots);
    *v = (struct vocab){0};
}
