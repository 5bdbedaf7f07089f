/* Wordpiece: cuts a word greedily into the longest pieces of a vocabulary (Wu et al.
 * 2016, as BERT does it). Immutable after init; any thread. */
#ifndef SEQ_TEXT_WORDPIECE_H
#define SEQ_TEXT_WORDPIECE_H

#include "model/base/err.h"
#include "model/text/aligned.h"
#include "model/text/vocab.h"

#include <stddef.h>
#include <stdint.h>

struct wordpiece {
    const struct vocab *vocab; /* outlives this */
    struct plan_text prefix;   /* of pieces inside a word; at is owned */
    uint64_t prefix_hash;
    size_t max_chars;
    int32_t unk;
};

/* ERR_MISMATCH if the unknown token is not in the vocabulary, ERR_LIMIT if a piece is
 * absurdly long, ERR_NOMEM. */
enum err_code wordpiece_init(struct wordpiece *w, const struct plan_model *plan,
                             const struct vocab *vocab, struct err *err) MUST_CHECK;
void wordpiece_done(struct wordpiece *w); /* a zeroed struct is fine */

/* Appends the tokens of the word s[begin..end); the whole of it is one unknown token if
 * it has too many characters or a part is not found. Time grows with the word's length
 * times the longest piece's. */
enum err_code wordpiece_encode(const struct wordpiece *w, const char *s, size_t begin,
                               size_t end, struct pieces *out,
                               struct err *err) MUST_CHECK;

#endif
