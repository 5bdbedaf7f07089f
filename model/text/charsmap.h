/* Charsmap: SentencePiece's table of replacements, which the normalizer Precompiled
 * applies: a double-array trie (Darts-clone) of what is replaced, and the texts that take
 * its place. Immutable after init; any thread. */
#ifndef SEQ_TEXT_CHARSMAP_H
#define SEQ_TEXT_CHARSMAP_H

#include "model/base/err.h"
#include "model/text/aligned.h"

#include <stddef.h>
#include <stdint.h>

struct charsmap {
    uint32_t *units;
    size_t n_units;
    char *texts; /* zero-terminated ones, end to end; valid UTF-8 */
    size_t n_texts;
};

/* From the bytes of the table. Every value that the trie can lead to is checked.
 * ERR_FORMAT, ERR_LIMIT, ERR_NOMEM. */
enum err_code charsmap_init(struct charsmap *c, const unsigned char *bytes, size_t n,
                            struct err *err) MUST_CHECK;
void charsmap_done(struct charsmap *c); /* a zeroed struct is fine */

/* Appends `in`, which begins at byte `origin` of the original, with the replacements to
 * the empty *out. As in the library, a grapheme cluster of less than six bytes is
 * replaced as a whole by what its first characters ask for. ERR_NOMEM, ERR_LIMIT. */
enum err_code charsmap_apply(const struct charsmap *c, const struct aligned *in,
                             uint32_t origin, struct aligned *out,
                             struct err *err) MUST_CHECK;

#endif
