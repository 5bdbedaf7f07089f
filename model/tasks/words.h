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

enum word_part {
    PART_BORDER, /* ends the word before it: punctuation, white space, specials, unknown
                  */
    PART_BEGIN,  /* a blank, then word characters: " mat"; or a WordLevel word */
    PART_INNER,  /* word characters: "mat", goes on or begins one after punctuation */
    PART_SUFFIX  /* begins with an apostrophe: "'s"; goes on, never begins */
};

/* part [V] gets an enum word_part for each id. */
void words_table(const struct tokenizer *tok, size_t V, unsigned char *part);

/* True if the bytes are one whole word in valid UTF-8. */
bool words_is_whole(const char *s, size_t n);

#endif
