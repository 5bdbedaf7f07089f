#include "model/tasks/continuation.h"

#include "model/base/utf8.h"

#include <string.h>

enum err_code continuation_init(struct continuation *c, const struct tokenizer *t,
                                const struct seq_generate_options *opt,
                                const int32_t *ids, size_t n,
                                struct seq_generated_token *told, struct err *err)
{
    bool skip_special = !opt->keep_specials;
    *c = (struct continuation){0};
    enum err_code code = stops_init(&c->stops, opt->stops, opt->n_stops, err);
    if (code == ERR_OK)
        code = decode_stream_new(t, skip_special, &c->stream, err);
    for (size_t i = 0; i < n && code == ERR_OK; i++) {
        code = decode_stream_push(c->stream, ids[i], &c->fresh, err);
        if (told)
            told[i].text_end = c->fresh.n;
    }
    c->out = c->fresh.n;
    if (code == ERR_OK)
        code = tokenizer_decode(t, ids, n, skip_special, &c->prompt, err);
    if (told)
        told[n - 1].text_end = c->prompt.n;
    return code;
}

void continuation_done(struct continuation *c)
{
    decode_stream_free(c->stream);
    text_done(&c->prompt);
    text_done(&c->fresh);
    text_done(&c->text);
    stops_done(&c->stops);
    *c = (struct continuation){0};
}

/* How much of the fresh text is the prompt's end, which the stream had held back. Where
 * the tokens behind it made another character of it, it is no part of the prompt. */
static size_t of_prompt(struct continuation *c)
{
    size_t at = 0, length;
    for (; c->out < c->prompt.n && at < c->fresh.n; at += length, c->out += length) {
        const char *want = c->prompt.at + c->out, *got = c->fresh.at + at;
        utf8_get(want, c->prompt.n - c->out, &length);
        if (length > c->fresh.n - at || memcmp(want, got, length) != 0) {
            c->out = c->prompt.n;
            break;
        }
    }
    return at;
}

/* Takes in what the stream gave out. */
static enum err_code take(struct continuation *c, bool end, struct err *err)
{
    size_t from = of_prompt(c), found;
    const char *at = c->fresh.n ? c->fresh.at + from : "";
    size_t n = stops_read(&c->stops, at, c->fresh.n - from, &found);
    enum err_code code = text_add(&c->text, at, n, err);
    if (code != ERR_OK)
        return code;
    c->stopped = found > 0;
    c->text.n -= found;
    c->n_final = c->text.n - (end || c->stopped ? 0 : stops_open(&c->stops));
    return ERR_OK;
}

enum err_code continuation_push(struct continuation *c, int32_t id, struct err *err)
{
    c->fresh.n = 0;
    enum err_code code = decode_stream_push(c->stream, id, &c->fresh, err);
    return code == ERR_OK ? take(c, false, err) : code;
}

enum err_code continuation_end(struct continuation *c, struct err *err)
{
    c->fresh.n = 0;
    enum err_code code = decode_stream_end(c->stream, &c->fresh, err);
    return code == ERR_OK ? take(c, true, err) : code;
}
