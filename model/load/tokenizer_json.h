/* Tokenizer_json: tokenizer.json of a model folder as a checked plan.
 *
 * The plan says what to do, in flat lists (nested Sequences are unrolled, which changes
 * nothing), and copies everything it needs out of the JSON tree. It does not look pieces
 * up: model/text/ builds hashes, tries and compiled patterns from it. Component types and
 * options that nothing here serves refuse the file by name. The file's own truncation and
 * padding are left aside (they often are leftovers of training). One thread, at load. */
#ifndef SEQ_LOAD_TOKENIZER_JSON_H
#define SEQ_LOAD_TOKENIZER_JSON_H

#include "model/base/err.h"
#include "model/load/tokenizer_role.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PLAN_MAX_IDS = 1 << 20,     /* ids are 0 .. PLAN_MAX_IDS-1 */
    PLAN_MAX_PIECE = 2048,      /* bytes of one piece of the vocabulary */
    PLAN_MAX_ADDED = 1 << 14,   /* added tokens */
    PLAN_MAX_ADDED_BYTES = 256, /* of one added token */
    PLAN_MAX_STEPS = 64,        /* normalizers, pre-tokenizers or decoders */
    PLAN_MAX_SPECIALS = 64      /* special tokens of a template */
};

/* Bytes in the plan's own memory, with a terminating zero behind them; at is NULL if the
 * file has none. */
struct plan_text {
    const char *at;
    size_t n;
};

struct plan_pattern {
    struct plan_text text; /* not empty */
    bool regex;            /* else matched literally */
};

enum normalizer_kind {
    NORMALIZER_BERT,
    NORMALIZER_LOWERCASE,
    NORMALIZER_NFC,
    NORMALIZER_NFD,
    NORMALIZER_NFKC,
    NORMALIZER_NFKD,
    NORMALIZER_STRIP_ACCENTS,
    NORMALIZER_STRIP,
    NORMALIZER_REPLACE,
    NORMALIZER_PREPEND,
    NORMALIZER_BYTE_LEVEL,
    NORMALIZER_NMT,
    NORMALIZER_PRECOMPILED
};

struct plan_normalizer {
    enum normalizer_kind kind;
    bool clean_text, chinese_chars, strip_accents, lowercase; /* BERT */
    bool left, right;                                         /* STRIP */
    struct plan_pattern pattern;                              /* REPLACE */
    struct plan_text content; /* REPLACE, PREPEND; PRECOMPILED: bytes */
};

enum splitter_kind {
    SPLITTER_BYTE_LEVEL,
    SPLITTER_BERT,
    SPLITTER_WHITESPACE,
    SPLITTER_WHITESPACE_SPLIT,
    SPLITTER_PUNCTUATION,
    SPLITTER_DIGITS,
    SPLITTER_PATTERN, /* Split */
    SPLITTER_METASPACE,
    SPLITTER_CHAR, /* CharDelimiterSplit */
    SPLITTER_SCRIPTS,
    SPLITTER_FIXED_LENGTH
};

enum split_behavior {
    SPLIT_REMOVED,
    SPLIT_ISOLATED,
    SPLIT_MERGED_WITH_PREVIOUS,
    SPLIT_MERGED_WITH_NEXT,
    SPLIT_CONTIGUOUS
};

enum prepend_scheme { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER };

struct plan_splitter {
    enum splitter_kind kind;
    bool prefix_space, use_regex; /* BYTE_LEVEL */
    struct plan_pattern pattern;  /* PATTERN */
    enum split_behavior behavior; /* PATTERN, PUNCTUATION, DIGITS */
    bool invert;                  /* PATTERN */
    struct plan_text character;   /* METASPACE, CHAR: one code point */
    enum prepend_scheme scheme;   /* METASPACE */
    bool split;                   /* METASPACE */
    size_t length;                /* FIXED_LENGTH: characters, at least one */
};

enum decoder_kind {
    DECODER_BYTE_LEVEL,
    DECODER_WORDPIECE,
    DECODER_BPE,
    DECODER_METASPACE,
    DECODER_BYTE_FALLBACK,
    DECODER_FUSE,
    DECODER_STRIP,
    DECODER_REPLACE,
    DECODER_CTC
};

struct plan_decoder {
    enum decoder_kind kind;
    struct plan_text affix;      /* WORDPIECE prefix, BPE suffix, METASPACE and STRIP one
                                    code point, CTC pad token */
    bool cleanup;                /* WORDPIECE, CTC */
    enum prepend_scheme scheme;  /* METASPACE */
    size_t start, stop;          /* STRIP */
    struct plan_pattern pattern; /* REPLACE */
    struct plan_text content;    /* REPLACE; CTC: the delimiter of words */
};

struct plan_special {
    int32_t id;
    uint8_t type;
};

/* Where special tokens stand around the texts. */
struct plan_template {
    bool served;     /* each of the texts stands in it once */
    bool swapped;    /* of a pair: the second text comes first */
    uint8_t type[2]; /* of the first text's own tokens, of the second's */
    size_t n[3];     /* specials before, between and behind the texts; of a single one
                        before and behind it */
    struct plan_special specials[PLAN_MAX_SPECIALS]; /* those, in order */
};

/* All post-processors together. */
struct plan_post {
    bool trim;        /* offsets leave out blanks */
    bool trim_prefix; /* a text's first blank may be one that was put there */
    struct plan_template single, pair;
};

struct plan_added {
    struct plan_text content; /* not empty; all different */
    int32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
};

struct plan_piece {
    struct plan_text text;
    int32_t id;
    double score; /* UNIGRAM: finite */
};

struct plan_merge {
    struct plan_text left, right;
};

enum model_kind { MODEL_WORD_LEVEL, MODEL_WORDPIECE, MODEL_BPE, MODEL_UNIGRAM };

struct plan_model {
    enum model_kind kind;
    struct plan_text unk;            /* BPE: may be absent; UNIGRAM has none */
    int32_t unk_id;                  /* UNIGRAM: one of the pieces', or -1 */
    struct plan_text prefix, suffix; /* continuing_subword_prefix, end_of_word_suffix */
    size_t max_chars;                /* WORDPIECE: longer words are unknown */
    bool fuse_unk, ignore_merges;    /* BPE */
    bool byte_fallback;              /* BPE, UNIGRAM */
    size_t n_pieces, n_merges;
    struct plan_piece *pieces; /* ids in range, in any order; may still clash */
    struct plan_merge *merges; /* by rank */
};

struct plan_block;

struct tokenizer_plan {
    size_t n_normalizers, n_splitters, n_decoders, n_added;
    struct plan_normalizer *normalizers;
    struct plan_splitter *splitters;
    struct plan_decoder *decoders; /* none: join with blanks */
    bool has_decoder;
    struct plan_post post;
    struct plan_added *added;
    struct plan_model model;
    /* What other files of the folder call these tokens; at is NULL if they don't. */
    struct plan_text roles[TOKENIZER_ROLES];
    struct plan_block *blocks; /* what the texts and lists above live in */
};

/* Reads the text of a tokenizer.json; a folder's is read by tokenizer_files.h. *out must
 * be zeroed. ERR_FORMAT, ERR_UNSUPPORTED, ERR_LIMIT, ERR_NOMEM. Messages begin with
 * "tokenizer.json". */
enum err_code tokenizer_plan_parse(const char *text, size_t n, struct tokenizer_plan *out,
                                   struct err *err) MUST_CHECK;
void tokenizer_plan_done(struct tokenizer_plan *p); /* a zeroed struct is fine */

#endif
