/* Decode: the decoder of a tokenizer, a list of steps from pieces back to a text.
 * Immutable after init; any thread. */
#ifndef SEQ_TEXT_DECODE_H
#define SEQ_TEXT_DECODE_H

#include "model/base/err.h"
#include "model/load/tokenizer_json.h"
#include "model/text/pattern.h"
#include "model/text/text.h"

#include <stdbool.h>
#include <stddef.h>

struct decoder {
    enum decoder_kind kind;
    char *affix, *content; /* owned */
    size_t n_affix, n_content;
    bool cleanup;
    enum prepend_scheme scheme;
    size_t start, stop;
    struct pattern pattern;
};

struct decode {
    struct decoder *steps;
    size_t n;
    bool joins; /* no decoder at all: blanks between the pieces */
};

enum err_code decode_init(struct decode *d, const struct tokenizer_plan *plan,
                          struct err *err) MUST_CHECK;
void decode_done(struct decode *d); /* a zeroed struct is fine */

/* Pieces, end to end: piece i is bytes ends[i-1]..ends[i]-1. Zeroed is empty. */
struct strings {
    struct text text;
    size_t *ends;
    size_t n, cap;
};
void strings_done(struct strings *s);
enum err_code strings_add(struct strings *s, const char *at, size_t n,
                          struct err *err) MUST_CHECK;

/* Appends the text of the pieces to *out; they may be overwritten. ERR_NOMEM, ERR_LIMIT.
 */
enum err_code decode_apply(const struct decode *d, struct strings *pieces,
                           struct text *out, struct err *err) MUST_CHECK;

/* Appends the bytes that one piece adds when others stand before and behind it, before
 * any repair of UTF-8. */
enum err_code decode_bytes(const struct decode *d, const char *s, size_t n,
                           struct text *out, struct err *err) MUST_CHECK;

#endif
