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

const char *strings_get(const struct strings *s, size_t i, size_t *n);

/* Appends the text of the pieces to *out; they may be overwritten. ERR_NOMEM, ERR_LIMIT.
 */
enum err_code decode_apply(const struct decode *d, struct strings *pieces,
                           struct text *out, struct err *err) MUST_CHECK;

/* The parts of the above, for stream.h: */

/* Where a piece stands among the others. */
struct place {
    bool first, last;
};
/* A piece through a step that takes one at a time; CTC may leave nothing. */
enum err_code decode_piece(const struct decoder *d, const char *s, size_t n,
                           struct place place, struct matcher *m, struct text *out,
                           struct err *err) MUST_CHECK;
/* All pieces through any step. */
enum err_code decode_step(const struct decoder *d, const struct strings *in,
                          struct strings *out, struct matcher *m,
                          struct err *err) MUST_CHECK;
/* The bytes that a byte-level piece stands for; one with a character that stands for none
 * goes through as it is. */
enum err_code decode_bytes_of(const char *s, size_t n, struct text *out,
                              struct err *err) MUST_CHECK;
/* The byte of a piece like <0x0A>, or -1. */
int decode_byte_of(const char *s, size_t n);
/* Appends what a run of bytes is: a piece if it is UTF-8, else one U+FFFD for each byte;
 * empties it. */
enum err_code decode_byte_run(struct strings *out, struct text *run,
                              struct err *err) MUST_CHECK;

/* Appends the bytes that one piece adds when others stand before and behind it, before
 * any repair of UTF-8. */
enum err_code decode_bytes(const struct decode *d, const char *s, size_t n,
                           struct text *out, struct err *err) MUST_CHECK;

#endif
