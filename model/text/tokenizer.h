/* Tokenizer: text to ids with offsets, and back, as the `tokenizers` library does it.
 *
 * Immutable after load; any number of threads may use one at the same time. Texts are
 * valid UTF-8 (utf8_valid has said so); NUL bytes are ordinary characters. */
#ifndef SEQ_TEXT_TOKENIZER_H
#define SEQ_TEXT_TOKENIZER_H

#include "model/base/err.h"
#include "model/base/problems.h"
#include "model/load/tokenizer_role.h"
#include "model/text/text.h"
#include "model/text/token.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tokenizer;

/* Reads dir/tokenizer.json. A component type or option that is not known here refuses
 * the file by name (ERR_UNSUPPORTED); never guessed. Also ERR_IO, ERR_FORMAT,
 * ERR_MISMATCH, ERR_LIMIT, ERR_NOMEM. */
enum err_code tokenizer_load(const char *dir, struct tokenizer **out,
                             struct err *err) MUST_CHECK;
/* The same, but everything that is wrong goes into *p; *out is filled only if that got
 * none. */
enum err_code tokenizer_survey(const char *dir, struct problems *p,
                               struct tokenizer **out, struct err *err) MUST_CHECK;
/* As tokenizer_load, of the text of a tokenizer.json. */
enum err_code tokenizer_parse(const char *json, size_t n, struct tokenizer **out,
                              struct err *err) MUST_CHECK;
void tokenizer_free(struct tokenizer *t);

/* Appends the encoding of text[0..n) to *out. With `specials` the post-processor's
 * special tokens are added. The file's own truncation and padding are not applied,
 * n_dropped is not touched. ERR_NOMEM; ERR_LIMIT if the text is too long or a pattern
 * gives up on it. */
enum err_code tokenizer_encode(const struct tokenizer *t, const char *text, size_t n,
                               bool specials, struct seq_tokens *out,
                               struct err *err) MUST_CHECK;

/* The same for two texts, by the template for pairs: the first text's tokens have part
 * 0, the second's part 1 and offsets in b; words count from 0 in each. (A template may
 * put the second text first.) Also ERR_UNSUPPORTED if the file has no such template. */
enum err_code tokenizer_encode_pair(const struct tokenizer *t, const char *a, size_t n_a,
                                    const char *b, size_t n_b, bool specials,
                                    struct seq_tokens *out, struct err *err) MUST_CHECK;
bool tokenizer_has_pair(const struct tokenizer *t);

/* How many special tokens the template puts before and after a single text. */
void tokenizer_template(const struct tokenizer *t, size_t *before, size_t *after);
/* And before, between and after the texts of a pair. */
void tokenizer_template_pair(const struct tokenizer *t, size_t *before, size_t *between,
                             size_t *after);

/* Truncation. How many tokens of two texts with n1 and n2 of them stay if max may,
 * specials not counted: "longest_first" as the library has it. It cuts what is longer
 * down to the other, but where both are too long each gets half; the longer one the odd
 * token. */
void tokenizer_truncate_pair(size_t n1, size_t n2, size_t max, size_t *keep1,
                             size_t *keep2);

/* The windows of `max` tokens, each with `stride` of the one before it, that cover n
 * tokens: how many, and which tokens are in window i (begin..end-1). They begin at the
 * first token, or with from_left (what is cut off is on the left) end at the last one;
 * window 0 is what truncation keeps. stride < max. */
struct tokenizer_window {
    size_t begin, end;
};
size_t tokenizer_windows(size_t n, size_t max, size_t stride);
struct tokenizer_window tokenizer_window(size_t n, size_t max, size_t stride,
                                         bool from_left, size_t i);

/* Highest id + 1, over vocabulary and added tokens; ids in between may be unused. */
size_t tokenizer_size(const struct tokenizer *t);

/* The token as the file spells it ("Ġmat", "##ing"); NULL for an unused id. Owned by t.
 */
const char *tokenizer_piece(const struct tokenizer *t, int32_t id, size_t *n);
bool tokenizer_is_special(const struct tokenizer *t,
                          int32_t id); /* an added special token */
/* The id of a piece, -1 if there is none. */
int32_t tokenizer_id(const struct tokenizer *t, const char *piece, size_t n);

/* The text of ids[0..n) appended to *out: the whole decoder chain, invalid UTF-8
 * replaced. Unused ids add nothing; skip_special leaves out added special tokens.
 * ERR_NOMEM; ERR_LIMIT if a pattern gives up. */
enum err_code tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n,
                               bool skip_special, struct text *out,
                               struct err *err) MUST_CHECK;

/* The raw bytes that token `id` adds when it follows other tokens, before any UTF-8
 * repair: byte-level BPE " mat" or half a character; WordLevel and WordPiece: " mat" with
 * the blank that the decoder would put before it, "ing" for "##ing". Special and unused
 * ids: 0 bytes. Owned by t, computed at load. This is what word search works with. */
const char *tokenizer_bytes(const struct tokenizer *t, int32_t id, size_t *n);

/* True if the model knows whole words only (WordLevel). */
bool tokenizer_word_level(const struct tokenizer *t);

/* The id for what is not in the vocabulary, -1 if the model has none. */
int32_t tokenizer_unk(const struct tokenizer *t);

/* The token that plays a part in the model's texts: the one that the folder's files name
 * for it, else an added token that is spelled as usual ("[MASK]", "<mask>"); -1 if there
 * is none. */
int32_t tokenizer_role(const struct tokenizer *t, enum tokenizer_role role);

#endif
