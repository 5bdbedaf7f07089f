#include "model/tasks/words.h"

#include "model/base/mem.h"
#include "model/base/utf8.h"

#include <string.h>

#include <utf8proc.h>

static bool is_apostrophe(uint32_t cp)
{
    return cp == '\'' || cp == 0x2019;
}

/* Letters, marks and numbers: general categories L, M and N. */
static bool is_word_char(uint32_t cp)
{
    switch (utf8proc_category((utf8proc_int32_t)cp)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return true;
    default:
        return false;
    }
}

/* What a run of bytes is made of. Bytes that are no whole character (a byte-level token
 * may be half of one) count as word characters: the whole word is checked when it is
 * complete. */
struct run {
    size_t n_word;         /* letters, marks, numbers and broken bytes */
    size_t n_other;        /* all else but apostrophes */
    bool broken;           /* holds bytes that are no whole character */
    bool first_apostrophe; /* begins with one */
    bool last_apostrophe;  /* ends with one */
};

static struct run look_at(const char *s, size_t n)
{
    struct run r = {0};
    for (size_t at = 0; at < n;) {
        size_t len = 1, good = utf8_valid(s + at, n - at < 4 ? n - at : 4);
        uint32_t cp = 0;
        if (good > 0)
            cp = utf8_get(s + at, n - at, &len);
        bool apostrophe = good > 0 && is_apostrophe(cp);
        if (at == 0)
            r.first_apostrophe = apostrophe;
        r.last_apostrophe = apostrophe;
        if (good == 0)
            r.broken = true;
        if (good == 0 || is_word_char(cp))
            r.n_word++;
        else if (!apostrophe)
            r.n_other++;
        at += len;
    }
    return r;
}

bool words_is_whole(const char *s, size_t n)
{
    struct run r = look_at(s, n);
    return r.n_word > 0 && r.n_other == 0 && !r.broken && !r.first_apostrophe &&
           !r.last_apostrophe;
}

static enum word_part part_of(const char *s, size_t n, bool word_level)
{
    bool blank = n > 0 && s[0] == ' ';
    struct run r = look_at(s + blank, n - blank);
    if (r.n_word == 0)
        return PART_BORDER;
    if (word_level)
        return PART_BEGIN;
    if (r.n_other > 0 || r.last_apostrophe)
        return PART_BORDER;
    if (r.first_apostrophe)
        return blank ? PART_BORDER : PART_SUFFIX;
    return blank ? PART_BEGIN : PART_INNER;
}

static void fill_parts(const struct tokenizer *tok, size_t V, unsigned char *part)
{
    bool word_level = tokenizer_word_level(tok);
    int32_t unk = tokenizer_unk(tok);
    for (size_t id = 0; id < V; id++) {
        size_t n = 0;
        const char *s = tokenizer_bytes(tok, (int32_t)id, &n);
        bool never = n == 0 || (int32_t)id == unk;
        part[id] = (unsigned char)(never ? PART_BORDER : part_of(s, n, word_level));
    }
}

static void fill_masks(size_t V, struct words *w)
{
    for (size_t id = 0; id < V; id++)
        w->mask[id / WORDS_BLOCK][w->part[id]] |= (uint64_t)1 << id % WORDS_BLOCK;
}

/* How the word at the end of the text begins: false for a PART_BEGIN; true where the
 * tokenizer doesn't know the word at all. */
static enum err_code probe(const struct words *w, const struct tokenizer *tok,
                           const char *text, bool *bare, struct err *err)
{
    struct seq_tokens t = {0};
    enum err_code code = tokenizer_encode(tok, text, strlen(text), false, &t, err);
    *bare = code != ERR_OK || t.n == 0 || w->part[t.at[t.n - 1].id] != PART_BEGIN;
    seq_tokens_done(&t);
    return code;
}

enum err_code words_init(struct words *w, const struct tokenizer *tok, size_t V,
                         struct err *err)
{
    w->part = mem_zero(V, 1);
    w->mask = mem_zero(V / WORDS_BLOCK + 1, sizeof *w->mask);
    if (!w->part || !w->mask)
        return err_set(err, ERR_NOMEM, "out of memory: word table");
    fill_parts(tok, V, w->part);
    fill_masks(V, w);
    enum err_code code = probe(w, tok, "a", &w->bare_start, err);
    return code == ERR_OK ? probe(w, tok, "(a", &w->bare_inside, err) : code;
}

void words_done(struct words *w)
{
    mem_free(w->part);
    mem_free(w->mask);
    *w = (struct words){0};
}
