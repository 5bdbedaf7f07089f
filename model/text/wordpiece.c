#include "model/text/wordpiece.h"

#include "model/base/mem.h"
#include "model/base/utf8.h"

/* Bounds the look-ups at each place of a word; BERT's longest piece has 18. */
enum { MAX_PIECE = 256 };

enum err_code wordpiece_init(struct wordpiece *w, const struct plan_model *plan,
                             const struct vocab *vocab, struct err *err)
{
    *w = (struct wordpiece){.vocab = vocab, .max_chars = plan->max_chars};
    w->unk = vocab_find(vocab, plan->unk.at, plan->unk.n);
    if (w->unk < 0)
        return err_set(err, ERR_MISMATCH,
                       "tokenizer.json: model: unk_token \"%.60s\" is not in its vocab",
                       plan->unk.at);
    if (vocab->max_piece > MAX_PIECE)
        return err_set(
            err, ERR_LIMIT,
            "tokenizer.json: model: vocab: a piece has %zu bytes, the limit of a "
            "WordPiece is %d",
            vocab->max_piece, MAX_PIECE);
    char *prefix = mem_copy(plan->prefix.at, plan->prefix.n);
    if (!prefix)
        return err_set(err, ERR_NOMEM, "tokenizer.json: model: no memory");
    w->prefix = (struct plan_text){prefix, plan->prefix.n};
    w->prefix_hash = vocab_hash(VOCAB_HASH_SEED, prefix, plan->prefix.n);
    return ERR_OK;
}

void wordpiece_done(struct wordpiece *w)
{
    mem_free((char *)w->prefix.at);
    *w = (struct wordpiece){0};
}

/* The longest piece that s[0..n) begins with: its id and *length, or -1. */
static int32_t longest(const struct wordpiece *w, const char *s, size_t n, bool inside,
                       size_t *length)
{
    struct plan_text prefix = {inside ? w->prefix.at : s, inside ? w->prefix.n : 0};
    if (prefix.n >= w->vocab->max_piece)
        return -1;
    if (n > w->vocab->max_piece - prefix.n)
        n = w->vocab->max_piece - prefix.n;
    uint64_t hashes[MAX_PIECE + 1]; /* hashes[i] of prefix and s[0..i) */
    hashes[0] = inside ? w->prefix_hash : VOCAB_HASH_SEED;
    for (size_t i = 0; i < n; i++)
        hashes[i + 1] = vocab_hash(hashes[i], s + i, 1);
    for (; n > 0; n--) {
        int32_t id =
            vocab_find_hashed(w->vocab, hashes[n], prefix, (struct plan_text){s, n});
        if (id >= 0) {
            *length = n;
            return id;
        }
    }
    return -1;
}

enum err_code wordpiece_encode(const struct wordpiece *w, const char *s, size_t begin,
                               size_t end, struct pieces *out, struct err *err)
{
    size_t before = out->n;
    bool known = end - begin <= w->max_chars ||
                 utf8_count(s + begin, end - begin, UTF8_CODE_POINTS) <= w->max_chars;
    enum err_code code = ERR_OK;
    for (size_t at = begin, length; code == ERR_OK && known && at < end; at += length) {
        length = 0;
        int32_t id = longest(w, s + at, end - at, at > begin, &length);
        known = id >= 0;
        if (known)
            code = pieces_add(out, at, at + length, id, err);
    }
    if (known || code != ERR_OK)
        return code;
    out->n = before;
    return pieces_add(out, begin, end, w->unk, err);
}
