/* Stream: decodes tokens as they come. What it gives out is final: put together it is the
 * text that tokenizer_decode gives for all ids at once, and each part is valid UTF-8 by
 * itself. What later tokens may still change (half a character, a run of bytes, the last
 * word's end) waits for them. One owner at a time. */
#ifndef SEQ_TEXT_STREAM_H
#define SEQ_TEXT_STREAM_H

#include "model/base/err.h"
#include "model/text/text.h"
#include "model/text/tokenizer.h"

#include <stdbool.h>
#include <stdint.h>

struct decode_stream;

/* t must outlive it; skip_special as in tokenizer_decode. ERR_NOMEM. */
enum err_code decode_stream_new(const struct tokenizer *t, bool skip_special,
                                struct decode_stream **out, struct err *err) MUST_CHECK;
void decode_stream_free(struct decode_stream *s); /* NULL is fine */

/* Appends to *out what became final with one more token, often nothing. After a failure
 * the stream can only be freed. ERR_NOMEM, ERR_LIMIT. */
enum err_code decode_stream_push(struct decode_stream *s, int32_t id, struct text *out,
                                 struct err *err) MUST_CHECK;
/* Appends the rest; no token may come behind it. */
enum err_code decode_stream_end(struct decode_stream *s, struct text *out,
                                struct err *err) MUST_CHECK;

#endif
