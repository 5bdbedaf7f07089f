/* Unigram: cuts a piece into the pieces of a vocabulary with the highest sum of scores
 * (Kudo 2018), found by Viterbi's algorithm over a trie. Immutable after init; any
 * thread. */
#ifndef SEQ_TEXT_UNIGRAM_H
#define SEQ_TEXT_UNIGRAM_H

#include "model/base/err.h"
#include "model/text/aligned.h"
#include "model/text/vocab.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A node of the trie. The children of a node stand side by side, by increasing byte. */
struct unigram_node {
    uint32_t first; /* child; those of node i end where node i+1's begin */
    int32_t id;     /* of the piece that ends here, -1: none */
};

struct unigram {
    const struct vocab *vocab;  /* outlives this */
    double *scores;             /* by id */
    struct unigram_node *nodes; /* [n_nodes + 1]; the last one ends the lists */
    unsigned char *bytes;       /* [n_nodes] that lead to a node */
    size_t n_nodes;
    double unk_score;
    int32_t unk; /* -1: there are no unknown characters */
    bool byte_fallback;
    int32_t byte_ids[256]; /* of <0x00> to <0xFF>, -1: not in the vocabulary */
};

/* ERR_MISMATCH if there is no unknown token and may be need of one, ERR_LIMIT for a piece
 * that is absurdly long, ERR_NOMEM. */
enum err_code unigram_init(struct unigram *u, const struct tokenizer_plan *plan,
                           const struct vocab *vocab, struct err *err) MUST_CHECK;
void unigram_done(struct unigram *u); /* a zeroed struct is fine */

/* The best way to end at a byte. */
struct unigram_end {
    double score;
    uint32_t begin; /* of its last piece */
    int32_t id;     /* of that; UNIGRAM_NOWHERE if nothing ends here */
};
enum { UNIGRAM_NOWHERE = -2 };

/* Scratch, zeroed to begin with, to be used again and again. */
struct unigram_scratch {
    struct unigram_end *ends;
    size_t cap;
};
void unigram_scratch_done(struct unigram_scratch *s);

/* Appends the tokens of s[begin..end), which may be of the same bytes where a character's
 * bytes have tokens. Time grows with the piece's length times the vocabulary's longest
 * piece. ERR_NOMEM. */
enum err_code unigram_encode(const struct unigram *u, struct unigram_scratch *scratch,
                             const char *s, size_t begin, size_t end, struct pieces *out,
                             struct err *err) MUST_CHECK;

#endif
