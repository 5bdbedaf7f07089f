/* Vocab: pieces and their ids, both ways. Immutable after vocab_init; any thread.
 *
 * One string pool, one array by id and one open-addressing hash over it. Pieces of the
 * model and added tokens share ids, but only the model's are found by vocab_find. */
#ifndef SEQ_TEXT_VOCAB_H
#define SEQ_TEXT_VOCAB_H

#include "model/base/err.h"
#include "model/load/tokenizer_json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vocab_flag { VOCAB_USED = 1, VOCAB_MODEL = 2, VOCAB_ADDED = 4, VOCAB_SPECIAL = 8 };

struct vocab_piece {
    uint32_t at, n; /* in the pool */
};

struct vocab_slot {
    uint32_t hash;
    int32_t id; /* -1: empty */
};

struct vocab {
    char *pool;
    struct vocab_piece *pieces; /* [n_ids] */
    unsigned char *flags;       /* [n_ids] VOCAB_ bits; 0 for an unused id */
    struct vocab_slot *slots;   /* [mask + 1] */
    size_t n_ids, mask;
    size_t max_piece; /* bytes of the model's longest piece */
};

/* Takes the model's pieces and the added tokens of the plan. An added token has the id of
 * the model's piece of the same content, else the next free one, as the library gives
 * it; ERR_MISMATCH if the file says otherwise. ERR_FORMAT for an id with two pieces or a
 * token that is added twice, ERR_LIMIT for pieces made to collide, ERR_NOMEM. */
enum err_code vocab_init(struct vocab *v, const struct tokenizer_plan *plan,
                         struct err *err) MUST_CHECK;
void vocab_done(struct vocab *v); /* a zeroed struct is fine */

/* The id of one of the model's pieces, or -1. */
int32_t vocab_find(const struct vocab *v, const char *s, size_t n);
/* The id of any piece, added tokens too. */
int32_t vocab_find_any(const struct vocab *v, const char *s, size_t n);

/* The ids of the pieces <0x00> to <0xFF>, -1 where there is none. */
void vocab_byte_ids(const struct vocab *v, int32_t out[256]);
/* True if no character can be unknown to the model: the last pre-tokenizer makes each
 * byte one that is in the vocabulary. */
bool vocab_knows_all(const struct vocab *v, const struct tokenizer_plan *plan);

/* The hash in steps, for finding many pieces that begin alike. */
enum { VOCAB_HASH_SEED = 0x1505 };
uint64_t vocab_hash(uint64_t so_far, const char *s, size_t n);
/* The model's piece that is a followed by b, hash being that of both. */
int32_t vocab_find_hashed(const struct vocab *v, uint64_t hash, struct plan_text a,
                          struct plan_text b);

#endif
