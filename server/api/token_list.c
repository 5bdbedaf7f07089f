#include "server/api/token_list.h"

const struct doc_shape token_list_shape[] = {
    {"id", DOC_INTEGER, .help = "Its number in the vocabulary"},
    {"piece", DOC_STRING, .nullable = true, .help = "As tokenizer.json spells it"},
    {"text", DOC_STRING, .nullable = true,
     .help =
         "The part of the text it stands for; null for special tokens, and where a "
         "token is a part of a character. Of tokens that stand for one long part only "
         "the first has it all"},
    {"bytes", DOC_STRING, .optional = true,
     .help = "Of a part of a character: its bytes in hexadecimal"},
    {"start", DOC_INTEGER, .nullable = true,
     .help = "Where that part begins in the text, in offset_unit; null for input_ids and "
             "generated tokens"},
    {"end", DOC_INTEGER, .nullable = true, .help = "And where it ends"},
    {"part", DOC_INTEGER, .optional = true, .nullable = true,
     .help = "Of a pair: in which text, 0 or 1; null for special tokens"},
    {"special", DOC_BOOLEAN,
     .help = "Put there by the tokenizer, not by the text; of ids: a special token"},
    {"word", DOC_INTEGER, .nullable = true, .help = "Which word of the text it is in"},
    {"generated", DOC_BOOLEAN, .optional = true, .help = "With generate: by the model"},
    {0}};

/* Which of the two texts the token is in; NULL: it is in none. */
static const struct json_text *text_of(const struct token_source *s, size_t i)
{
    if (!s->text.at || i >= s->n_text)
        return NULL;
    return s->tokens->at[i].part ? &s->pair : &s->text;
}

/* True if the token before stands for the same long part of the text, as the bytes of
 * unknown characters do: writing that again and again could make any reply too long. */
static bool shares_much(const struct token_source *s, size_t i)
{
    enum { MUCH = 32 };
    const struct seq_token *t = &s->tokens->at[i], *before = i ? t - 1 : NULL;
    return before && !before->special && before->part == t->part &&
           before->start == t->start && before->end == t->end && t->end - t->start > MUCH;
}

/* A part of the text; of a single token that is a part of a character, or of a long part
 * that was told before, its own bytes. */
static const char *find_text(const struct token_source *s, size_t first, size_t last,
                             size_t *n)
{
    const struct seq_token *t = &s->tokens->at[first], *end = &s->tokens->at[last];
    const struct json_text *text = text_of(s, first);
    const char *own = seq_piece_bytes(s->m, t->id, n);
    bool part = own && first == last && utf8_valid(own, *n) != *n;
    if (!own)
        *n = 0;
    if (!text || part || (own && shares_much(s, first)))
        return own ? own : "";
    *n = end->end - t->start;
    return text->at + t->start;
}

static void write_text(struct json_writer *w, const struct token_source *s, size_t first,
                       size_t last)
{
    size_t n = 0;
    const char *text = find_text(s, first, last, &n);
    if (s->tokens->at[first].special) {
        json_write_key(w, "text");
        json_write_null(w);
    } else {
        token_json_text(w, text, n);
    }
}

void token_list_word(struct json_writer *w, const struct token_source *s, size_t first,
                     size_t last)
{
    size_t n = 0;
    const char *text = find_text(s, first, last, &n);
    json_write_text(w, text, n);
}

static void write_offset(struct json_writer *w, const char *key,
                         const struct token_source *s, size_t i, size_t byte,
                         struct token_cursor *at /* [2] */)
{
    const struct seq_token *t = &s->tokens->at[i];
    const struct json_text *text = text_of(s, i);
    json_write_key(w, key);
    if (!text)
        json_write_null(w);
    else
        json_write_uint(
            w, t->special ? 0 : token_json_offset(&at[t->part], text->at, byte, s->unit));
}

void token_list_span(struct json_writer *w, const struct token_source *s, size_t first,
                     size_t last, struct token_cursors *at)
{
    const struct seq_token *t = &s->tokens->at[first];
    write_text(w, s, first, last);
    write_offset(w, "start", s, first, t->start, at->starts);
    write_offset(w, "end", s, last, s->tokens->at[last].end, at->ends);
    if (!s->pair.at)
        return;
    json_write_key(w, "part");
    if (t->special)
        json_write_null(w);
    else
        json_write_uint(w, t->part);
}

void token_list_write(struct json_writer *w, const struct token_source *s)
{
    struct token_cursors at = {0};
    json_write_array(w);
    for (size_t i = 0; i < s->tokens->n; i++) {
        const struct seq_token *t = &s->tokens->at[i];
        json_write_object(w);
        json_write_key_uint(w, "id", (uint64_t)t->id);
        json_write_key(w, "piece");
        token_json_piece(w, s->m, t->id);
        token_list_span(w, s, i, i, &at);
        json_write_key_bool(w, "special", t->special);
        json_write_key(w, "word");
        if (t->word >= 0)
            json_write_int(w, t->word);
        else
            json_write_null(w);
        if (s->tells_generated)
            json_write_key_bool(w, "generated", i >= s->n_text);
        json_write_end(w);
    }
    json_write_end(w);
}
