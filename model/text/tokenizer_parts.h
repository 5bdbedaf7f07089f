/* What a tokenizer is made of. Private to tokenizer.c, which builds it and answers for
 * single tokens, encode.c, the pipeline of a text, and stream.c, the way back. */
#ifndef SEQ_TEXT_TOKENIZER_PARTS_H
#define SEQ_TEXT_TOKENIZER_PARTS_H

#include "model/load/tokenizer_json.h"
#include "model/text/added.h"
#include "model/text/bpe.h"
#include "model/text/decode.h"
#include "model/text/normalize.h"
#include "model/text/split.h"
#include "model/text/text.h"
#include "model/text/tokenizer.h"
#include "model/text/unigram.h"
#include "model/text/vocab.h"
#include "model/text/wordpiece.h"

enum {
    MAX_GROWTH = 32,       /* no normalizer makes a text longer than this many times .. */
    MAX_GROWTH_ROOM = 4096 /* .. plus this */
};

/* A normalized added token that decodes to something else than its content. */
struct respelled {
    int32_t id;
    uint32_t at, n; /* in the respelled text */
};

struct tokenizer {
    struct vocab vocab;
    struct added raw;    /* added tokens that are looked for before normalization */
    struct added normal; /* and behind it */
    struct normalize normalize;
    struct split split;
    enum model_kind kind;
    struct wordpiece wordpiece; /* those of other kinds are zeroed */
    struct bpe bpe;
    struct unigram unigram;
    int32_t unk;
    struct plan_post post;
    int32_t roles[TOKENIZER_ROLES]; /* -1: none */
    struct decode decode;

    struct respelled *respelled; /* by id */
    size_t n_respelled;
    struct text respellings;

    struct text bytes; /* what tokenizer_bytes gives: */
    uint32_t *ends;    /* id's are bytes ends[id-1]..ends[id]-1 */
};

/* What the decoder begins with for an id: its piece, of an added token as the normalizer
 * spells it. NULL if it adds nothing. */
const char *tokenizer_spelling(const struct tokenizer *t, int32_t id, bool skip_special,
                               size_t *n);

#endif
