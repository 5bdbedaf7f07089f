/* Bpe: byte-pair encoding (Sennrich et al. 2016) of a piece: its characters, then the
 * merges of lowest rank first, leftmost of those. Immutable after init; any thread. */
#ifndef SEQ_TEXT_BPE_H
#define SEQ_TEXT_BPE_H

#include "model/base/err.h"
#include "model/text/aligned.h"
#include "model/text/vocab.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BPE_DIRECT = 0x180, /* code points whose ids are in a table */
    BPE_SEAMS = 1 << 18 /* bits */
};

struct bpe_merge {
    int32_t left, right; /* ids; left -1: an empty slot */
    uint32_t rank;
    int32_t id; /* of the two together */
};

struct bpe {
    const struct vocab *vocab; /* outlives this */
    struct bpe_merge *merges;  /* open addressing, [mask + 1] */
    size_t mask;
    int32_t *made;         /* ids of the merges' pieces, by rank */
    uint64_t *seams;       /* [BPE_SEAMS / 64] hashed: what some merge joins, see bpe.c */
    char *prefix, *suffix; /* of the characters behind the first, of the last; or NULL */
    size_t n_prefix, n_suffix;
    int32_t unk; /* -1: unknown characters vanish */
    bool fuse_unk, byte_fallback, ignore_merges;
    int32_t byte_ids[256];        /* of <0x00> to <0xFF>, -1: not in the vocabulary */
    int32_t char_ids[BPE_DIRECT]; /* of single characters, without prefix and suffix */
};

/* ERR_MISMATCH for a merge or an unknown token whose piece is not in the vocabulary;
 * ERR_LIMIT for merges made to collide; ERR_NOMEM. */
enum err_code bpe_init(struct bpe *b, const struct tokenizer_plan *plan,
                       const struct vocab *vocab, struct err *err) MUST_CHECK;
void bpe_done(struct bpe *b); /* a zeroed struct is fine */

/* Scratch of one encode call, zeroed to begin with. */
struct bpe_symbol {
    int32_t id;    /* -1: merged into one before it */
    uint32_t span; /* so many symbols of the beginning; the last of them has it, too */
};
struct bpe_scratch {
    struct bpe_symbol *symbols;
    uint64_t *heap;  /* candidates: rank << 32 | index of the left symbol */
    uint32_t *bytes; /* that each of the symbols was at the beginning */
    size_t n_symbols, n_heap, cap_symbols, cap_heap;
};
void bpe_scratch_done(struct bpe_scratch *s);

/* Appends the tokens of the piece s[begin..end). O(n log n). */
enum err_code bpe_encode(const struct bpe *b, struct bpe_scratch *scratch, const char *s,
                         size_t begin, size_t end, struct pieces *out,
                         struct err *err) MUST_CHECK;

#endif
