/* Words: what each token can be in a word. Pure functions of the vocabulary.
 *
 * A word is a run of letters, marks, numbers and inner apostrophes (general categories L,
 * M and N of Unicode). For a model whose tokens are whole words (WordLevel) every token
 * that holds a letter or number is a word. */
#ifndef SEQ_TASKS_WORDS_H
#define SEQ_TASKS_WORDS_H

#include "model/text/tokenizer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum word_part {
    PART_BORDER, /* ends the word before it: punctuation, white space, specials, unknown
                  */
    PART_BEGIN,  /* a blank, then word characters: " mat"; or a WordLevel word */
    PART_INNER,  /* word characters: "mat", goes on or begins one after punctuation */
    PART_SUFFIX  /* begins with an apostrophe: "'s"; goes on, never begins */
};

/* A set of all parts, each 1 << enum word_part. */
enum { WORD_PARTS = 15 };

/* Tokens are looked through in blocks of so many. */
enum { WORDS_BLOCK = 64 };

/* What a model that predicts words knows of its vocabulary. */
struct words {
    unsigned char *part; /* [V] an enum word_part for each id */
    /* The same as bits: of block b the ids that are a part. [blocks][4] */
    uint64_t (*mask)[4];
    /* Words that no blank stands before begin with a PART_INNER instead of a PART_BEGIN:
     * at the beginning of a text (byte-level BPE; not WordPiece, not SentencePiece, which
     * put their own blank there), and behind punctuation (not WordPiece). */
    bool bare_start, bare_inside;
};

/* ERR_NOMEM, ERR_LIMIT. Freed by words_done, also after a failure. */
enum err_code words_init(struct words *w, const struct tokenizer *tok, size_t V,
                         struct err *err) MUST_CHECK;
void words_done(struct words *w);

/* Bit i: token block*WORDS_BLOCK + i is of `parts`. All bits of a set of all parts. */
static inline uint64_t words_mask(const struct words *w, unsigned parts, size_t block)
{
    uint64_t mask = parts == WORD_PARTS ? UINT64_MAX : 0;
    for (unsigned p = 0; p < 4 && parts != WORD_PARTS; p++)
        mask |= parts >> p & 1 ? w->mask[block][p] : 0;
    return mask;
}

/* True if the bytes are one whole word in valid UTF-8. */
bool words_is_whole(const char *s, size_t n);

#endif
