/* Aligned: a text that was changed, with the bytes of the original each byte stands for;
 * and pieces of such a text. Scratch of one encode call. Any thread, one owner. */
#ifndef SEQ_TEXT_ALIGNED_H
#define SEQ_TEXT_ALIGNED_H

#include "model/base/err.h"

#include <stddef.h>
#include <stdint.h>

/* Bytes from..to-1 of the original text. */
struct span {
    uint32_t from, to;
};

/* All bytes of a character have the same span; spans never go backwards. Zeroed is
 * empty; `limit` bounds n (at most UINT32_MAX). */
struct aligned {
    char *s;
    struct span *map; /* map[i] of s[i] */
    size_t n, cap, limit;
};

void aligned_done(struct aligned *a);

/* Makes room for `more` bytes behind a->n. ERR_LIMIT past a->limit, ERR_NOMEM. */
enum err_code aligned_room(struct aligned *a, size_t more, struct err *err) MUST_CHECK;

/* Appends n bytes that all have one span; the room must be there. */
void aligned_put(struct aligned *a, const char *s, size_t n, struct span span);
/* The same for one code point. */
void aligned_put_char(struct aligned *a, uint32_t cp, struct span span);

/* Appends text[from..to), unchanged. */
enum err_code aligned_add_text(struct aligned *a, const char *text, size_t from,
                               size_t to, struct err *err) MUST_CHECK;
/* Appends bytes from..to-1 of another one. */
enum err_code aligned_add(struct aligned *a, const struct aligned *other, size_t from,
                          size_t to, struct err *err) MUST_CHECK;

/* A text being rewritten: `out` so far, which accounts for the first `at` bytes of `in`.
 * `in` begins at byte `origin` of the original. */
struct aligned_edit {
    const struct aligned *in;
    struct aligned *out;
    uint32_t origin;
    size_t at;
};

/* Appends a character. change tells what became of its sources: 0 it replaces the next
 * one, -n it replaces that and the n behind it are gone, 1 it was added. It stands for
 * what the next one did, or, if added, the one before. ERR_LIMIT, ERR_NOMEM. */
enum err_code aligned_edit_put(struct aligned_edit *e, uint32_t cp, int32_t change,
                               struct err *err) MUST_CHECK;

/* Bytes begin..end-1 of an aligned text. */
struct piece {
    uint32_t begin, end;
    int32_t id; /* an added token, or -1: still to be encoded */
};

struct pieces {
    struct piece *at;
    size_t n, cap;
};

void pieces_done(struct pieces *p);
/* Appends begin..end-1 unless it is empty. */
enum err_code pieces_add(struct pieces *p, size_t begin, size_t end, int32_t id,
                         struct err *err) MUST_CHECK;

#endif
