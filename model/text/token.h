/* Tokens: what a tokenizer makes of a text. Plain data; shared by text/ and seq.h. */
#ifndef SEQ_TEXT_TOKEN_H
#define SEQ_TEXT_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* start..end are bytes of the original text: what the token stands for, also where a
 * normalizer changed, dropped or added characters. */
struct seq_token {
    int32_t id;
    uint32_t start, end; /* specials that a template added: 0,0 */
    int32_t word;        /* index of the pre-tokenized piece, -1 for template specials */
    uint8_t type;        /* token type id (segment) */
    uint8_t part; /* of a pair: 1 in the second text, whose bytes the offsets count;
                     template specials have 0 */
    bool special; /* added by the template, not by the text */
};

/* A growable list; zeroed is empty. */
struct seq_tokens {
    struct seq_token *at;
    size_t n, cap;
    size_t n_dropped; /* tokens cut off because the text exceeds the model's context */
};

void seq_tokens_done(struct seq_tokens *t);

#endif
