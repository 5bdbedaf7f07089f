#include "server/api/completion_reply.h"

#include <string.h>

#include "server/api/token_json.h"

static const struct doc_shape LOGPROBS[] = {
    {"tokens", DOC_STRINGS,
     .help = "What each token puts into the text; one that is no UTF-8 alone as "
             "bytes:\\xe2\\x80"},
    {"token_logprobs", DOC_NUMBERS,
     .help = "Natural logarithms of their probabilities among the whole vocabulary, "
             "before anything of sampling; null of the first token of all"},
    {"top_logprobs", DOC_SCORE_LIST, .nullable = true,
     .help = "The most probable tokens in each one's place, and itself; null with "
             "\"logprobs\":0"},
    {"text_offset", DOC_INTEGERS,
     .help = "Where each begins, in characters of the prompt and the text behind it"},
    {0}};

#define CHOICE_MEMBERS(UNFINISHED)                                                       \
    {"text", DOC_STRING, .help = "What follows the prompt; with echo behind it"},        \
        {"index", DOC_INTEGER, .help = "n of the first prompt, then n of the next"},     \
        {"logprobs", DOC_OBJECT, .nullable = true, .of = LOGPROBS,                       \
         .help = "Of the tokens generated, and with echo those of the prompt"},          \
        {"finish_reason", DOC_STRING, .nullable = (UNFINISHED),                          \
         .help = "stop: the model ended the text, or a stop text came; length: "         \
                 "max_tokens, or the model reads no more"},                              \
    {                                                                                    \
        0                                                                                \
    }

static const struct doc_shape CHOICE[] = {CHOICE_MEMBERS(false)};
static const struct doc_shape CHOICE_EVENT[] = {CHOICE_MEMBERS(true)};

static const struct doc_shape PROMPT_DETAILS[] = {
    {"cached_tokens", DOC_INTEGER, .help = "That were known and not read anew"}, {0}};

static const struct doc_shape USAGE[] = {
    {"prompt_tokens", DOC_INTEGER, .help = "Of all prompts, special ones included"},
    {"completion_tokens", DOC_INTEGER, .help = "Of all texts generated, best_of's too"},
    {"total_tokens", DOC_INTEGER, .help = "Both together"},
    {"prompt_tokens_details", DOC_OBJECT, .of = PROMPT_DETAILS,
     .help = "Depends on what was asked before"},
    {0}};

#define REPLY_MEMBERS(CHOICES)                                                           \
    {"id", DOC_STRING, .help = "cmpl- and the request's id"},                            \
        {"object", DOC_STRING, .help = "text_completion"},                               \
        {"created", DOC_INTEGER, .help = "Unix time"},                                   \
        {"model", DOC_STRING, .help = "Which model answered"},                           \
        {"system_fingerprint", DOC_STRING,                                               \
         .help = "Version, kernels and precision: where these are the same, so are the " \
                 "answers to the same seed"},                                            \
        {"seed", DOC_INTEGER, .help = "The request's, or the one drawn for it"},         \
    {                                                                                    \
        "choices", DOC_LIST, .of = (CHOICES), .help = "One per prompt and n"             \
    }

const struct doc_shape COMPLETION_REPLY[] = {
    REPLY_MEMBERS(CHOICE),
    {"usage", DOC_OBJECT, .of = USAGE, .help = "Tokens read and generated"},
    {0}};

const struct doc_shape COMPLETION_EVENT[] = {
    REPLY_MEMBERS(CHOICE_EVENT),
    {"usage", DOC_OBJECT, .optional = true, .nullable = true, .of = USAGE,
     .help = "With stream_options.include_usage: of the last event, null before"},
    {0}};

/* ---- tokens ---------------------------------------------------------------------- */

/* Characters that begin in the bytes, which may be any. */
static size_t characters(const char *s, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ((unsigned char)s[i] & 0xc0) != 0x80;
    return count;
}

/* A run of tokens: of the prompt, or generated. */
struct run {
    const struct seq_generated_token *at; /* [n] */
    size_t n;
    const struct generation_prompt *prompt; /* whose tokens they are; NULL: generated */
};

/* What a token puts into the text; a special one, which puts nothing, as it is spelled.
 */
static const char *token_text(const struct seq_model *m, int32_t id, size_t *n)
{
    const char *bytes = seq_piece_bytes(m, id, n);
    const char *piece = *n ? NULL : seq_piece(m, id, n);
    return piece ? piece : bytes;
}

/* A token's text as a value or as a key. What is no UTF-8 by itself, or has a NUL, which
 * not every client takes in a key, is spelled bytes:\xe2\x80; so tokens of different
 * bytes look different. */
static void write_token(struct json_writer *w, const struct seq_model *m, int32_t id,
                        bool key)
{
    static const char HEX[] = "0123456789abcdef", HEAD[] = "bytes:";
    char spelled[256];
    size_t n, used = sizeof HEAD - 1;
    const char *bytes = token_text(m, id, &n);
    if (utf8_valid(bytes, n) != n || memchr(bytes, '\0', n)) {
        memcpy(spelled, HEAD, used);
        for (size_t i = 0; i < n && used + 4 <= sizeof spelled; i++, used += 4) {
            unsigned char c = (unsigned char)bytes[i];
            memcpy(spelled + used, (char[]){'\\', 'x', HEX[c >> 4], HEX[c & 15]}, 4);
        }
        bytes = spelled;
        n = used;
    }
    if (key)
        json_write_key_n(w, bytes, n);
    else
        json_write_text(w, bytes, n);
}

static bool same_text(const struct seq_model *m, int32_t a, int32_t b)
{
    size_t n_a, n_b;
    const char *x = token_text(m, a, &n_a), *y = token_text(m, b, &n_b);
    return n_a == n_b && memcmp(x, y, n_a) == 0;
}

/* Whether a token that is at least as probable has the same text as top[i]. */
static bool is_taken(const struct seq_model *m, const struct seq_generated_token *t,
                     size_t i, int32_t id)
{
    while (i)
        if (same_text(m, t->top[--i].id, id))
            return true;
    return false;
}

/* The best, and the token itself if it is none of them. Tokens may have the same text;
 * the most probable of these stands for them. */
static void write_top(struct json_writer *w, const struct seq_model *m,
                      const struct seq_generated_token *t)
{
    json_write_object(w);
    for (size_t i = 0; i < t->n_top; i++)
        if (!is_taken(m, t, i, t->top[i].id)) {
            write_token(w, m, t->top[i].id, true);
            json_write_float(w, t->top[i].logprob);
        }
    if (!is_taken(m, t, t->n_top, t->chosen.id)) {
        write_token(w, m, t->chosen.id, true);
        json_write_float(w, t->chosen.logprob);
    }
    json_write_end(w);
}

/* Of the prompt's tokens where they stand in it, of those generated, or of a prompt given
 * as tokens, what comes before them. */
static void write_offsets(struct json_writer *w, const struct seq_model *m,
                          const struct run *run, size_t *next)
{
    const struct generation_prompt *p = run->prompt;
    struct token_cursor cursor = {0};
    for (size_t i = 0; i < run->n; i++) {
        if (p && p->offsets) {
            json_write_uint(w, token_json_offset(&cursor, p->text, p->offsets[i].start,
                                                 UTF8_CODE_POINTS));
            continue;
        }
        size_t n;
        const char *bytes = seq_piece_bytes(m, run->at[i].chosen.id, &n);
        json_write_uint(w, *next);
        *next += characters(bytes, n);
    }
}

/* `runs` [2]; next: the offset in characters of the first token generated, which moves
 * on. */
static void write_logprobs(struct json_writer *w, const struct completion_format *f,
                           const struct run *runs, size_t *next)
{
    json_write_key(w, "logprobs");
    if (f->n_top < 0) {
        json_write_null(w);
        return;
    }
    json_write_object(w);
    json_write_key(w, "tokens");
    json_write_array(w);
    for (size_t r = 0; r < 2; r++)
        for (size_t i = 0; i < runs[r].n; i++)
            write_token(w, f->model, runs[r].at[i].chosen.id, false);
    json_write_end(w);
    json_write_key(w, "token_logprobs");
    json_write_array(w);
    for (size_t r = 0; r < 2; r++)
        for (size_t i = 0; i < runs[r].n; i++)
            json_write_float(w, runs[r].at[i].chosen.logprob);
    json_write_end(w);
    json_write_key(w, "top_logprobs");
    if (f->n_top == 0)
        json_write_null(w);
    else
        json_write_array(w);
    for (size_t r = 0; r < 2 && f->n_top > 0; r++)
        for (size_t i = 0; i < runs[r].n; i++)
            if (runs[r].prompt && i == 0) /* nothing comes before it */
                json_write_null(w);
            else
                write_top(w, f->model, &runs[r].at[i]);
    if (f->n_top > 0)
        json_write_end(w);
    json_write_key(w, "text_offset");
    json_write_array(w);
    size_t from_start = 0;
    write_offsets(w, f->model, &runs[0], &from_start);
    write_offsets(w, f->model, &runs[1], next);
    json_write_end(w);
    json_write_end(w);
}

/* ---- objects --------------------------------------------------------------------- */

/* Up to the list of choices, which stays open. */
static void open_object(struct json_writer *w, const struct completion_format *f)
{
    json_write_object(w);
    json_write_key_string(w, "id", f->id);
    json_write_key_string(w, "object", "text_completion");
    json_write_key(w, "created");
    json_write_int(w, f->created);
    json_write_key_string(w, "model", f->model_name);
    json_write_key_string(w, "system_fingerprint", f->fingerprint);
    json_write_key(w, "seed");
    json_write_int(w, f->seed);
    json_write_key(w, "choices");
    json_write_array(w);
}

static void write_usage(struct json_writer *w, const struct generation_usage *u)
{
    json_write_key(w, "usage");
    json_write_object(w);
    json_write_key_uint(w, "prompt_tokens", u->prompt);
    json_write_key_uint(w, "completion_tokens", u->generated);
    json_write_key_uint(w, "total_tokens", u->prompt + u->generated);
    json_write_key(w, "prompt_tokens_details");
    json_write_object(w);
    json_write_key_uint(w, "cached_tokens", u->cached);
    json_write_end(w);
    json_write_end(w);
}

/* What of a continuation goes into a choice. */
struct piece {
    const char *text;
    size_t n_text;
    struct run runs[2]; /* of the prompt, and generated */
    enum seq_finish finish;
};

static void write_choice(struct json_writer *w, const struct completion_format *f,
                         const struct piece *p, size_t *next_offset, size_t index)
{
    static const char *const REASONS[] = {
        [SEQ_FINISH_NOT] = NULL,
        [SEQ_FINISH_END] = "stop",
        [SEQ_FINISH_STOP] = "stop",
        [SEQ_FINISH_LENGTH] = "length",
    };
    json_write_object(w);
    json_write_key(w, "text");
    json_write_text(w, p->text, p->n_text);
    json_write_key_uint(w, "index", index);
    write_logprobs(w, f, p->runs, next_offset);
    json_write_key_string(w, "finish_reason", REASONS[p->finish]);
    json_write_end(w);
}

static struct run prompt_run(const struct generation_text *c)
{
    return (struct run){.at = c->view.prompt, .n = c->view.n_prompt, .prompt = c->prompt};
}

static struct run generated_run(const struct generation_text *c)
{
    return (struct run){.at = c->view.tokens + c->told_tokens,
                        .n = c->view.n_tokens - c->told_tokens};
}

static size_t prompt_characters(const struct generation_text *c)
{
    return characters(c->prompt->text, c->prompt->n_text);
}

/* The prompt and what follows it as one text. */
static void write_whole(struct json_writer *w, const struct completion_format *f,
                        struct generation_text *c, size_t index)
{
    struct buf text = {0};
    struct piece piece = {.text = c->view.text,
                          .n_text = c->view.n_text,
                          .runs[1] = generated_run(c),
                          .finish = c->view.finish};
    if (f->echo) {
        buf_put(&text, c->prompt->text, c->prompt->n_text);
        buf_put(&text, c->view.text, c->view.n_text);
        piece.text = text.at;
        piece.n_text = text.n;
        w->buf.failed |= text.failed;
        if (f->n_top >= 0)
            piece.runs[0] = prompt_run(c);
    }
    c->next_offset = prompt_characters(c);
    write_choice(w, f, &piece, &c->next_offset, index);
    buf_done(&text);
}

void completion_write(struct json_writer *w, const struct completion_format *f,
                      const struct generation_job *g)
{
    struct generation_usage usage = generation_usage(g);
    size_t n = (size_t)g->n, index = 0;
    open_object(w, f);
    for (size_t p = 0; p < g->n_prompts; p++)
        for (size_t i = 0; i < n; i++)
            write_whole(w, f, &g->texts[p * g->n_each + i], index++);
    json_write_end(w);
    write_usage(w, &usage);
    json_write_end(w);
}

/* ---- events ---------------------------------------------------------------------- */

/* The choices stay open. */
static struct json_writer open_event(const struct buf *to,
                                     const struct completion_format *f)
{
    struct json_writer w = generation_open_event(to);
    open_object(&w, f);
    return w;
}

static void close_event(struct json_writer *w, struct buf *to)
{
    json_write_end(w);
    generation_close_event(w, to);
}

static void put_piece(struct buf *to, const struct completion_format *f,
                      const struct piece *piece, struct generation_text *c)
{
    struct json_writer w = open_event(to, f);
    write_choice(&w, f, piece, &c->next_offset, c->index);
    json_write_end(&w);
    if (f->usage) {
        json_write_key(&w, "usage");
        json_write_null(&w);
    }
    close_event(&w, to);
}

void completion_put_events(struct buf *to, const struct completion_format *f,
                           struct generation_text *t)
{
    const struct seq_generated *v = &t->view;
    if (v->n_tokens == 0 && v->finish == SEQ_FINISH_NOT)
        return; /* its prompt is being read */
    if (f->echo && !t->echoed) {
        struct piece echo = {.text = t->prompt->text, .n_text = t->prompt->n_text};
        if (f->n_top >= 0)
            echo.runs[0] = prompt_run(t);
        put_piece(to, f, &echo, t);
        t->echoed = true;
    }
    if (t->ended || (v->n_text == t->told_bytes && v->finish == SEQ_FINISH_NOT))
        return;
    struct piece news = {.text = v->text + t->told_bytes,
                         .n_text = v->n_text - t->told_bytes,
                         .runs[1] = generated_run(t),
                         .finish = v->finish};
    if (t->told_tokens == 0)
        t->next_offset = prompt_characters(t);
    put_piece(to, f, &news, t);
    t->told_bytes = v->n_text;
    t->told_tokens = v->n_tokens;
    t->ended = v->finish != SEQ_FINISH_NOT;
}

void completion_put_usage(struct buf *to, const struct completion_format *f,
                          const struct generation_job *g)
{
    struct generation_usage usage = generation_usage(g);
    struct json_writer w = open_event(to, f);
    json_write_end(&w);
    write_usage(&w, &usage);
    close_event(&w, to);
}
