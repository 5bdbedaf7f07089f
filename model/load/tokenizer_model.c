#include "model/base/mem.h"
#include "model/load/json.h"
#include "model/load/tokenizer_steps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char where[] = "tokenizer.json: model";

static enum err_code no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "tokenizer.json: no memory for its plan");
}

static enum err_code read_vocab(struct tokenizer_plan *p, const json_t *model,
                                struct err *err)
{
    json_t *vocab = NULL;
    enum err_code code = json_read_object(model, where, "vocab", &vocab, err);
    if (code != ERR_OK)
        return code;
    struct plan_model *m = &p->model;
    size_t n = json_object_size(vocab);
    m->pieces = plan_alloc(p, n, sizeof *m->pieces);
    if (!m->pieces)
        return no_memory(err);
    const char *key;
    json_t *value;
    json_object_foreach(vocab, key, value)
    {
        struct plan_piece *piece = &m->pieces[m->n_pieces];
        size_t length = strlen(key); /* keys have no NUL (json.h) */
        json_int_t id = json_integer_value(value);
        if (!json_is_integer(value) || id < 0 || id >= PLAN_MAX_IDS) {
            char found[JSON_SHOW_BYTES];
            return err_set(err, ERR_FORMAT,
                           "%s: vocab: \"%.60s\": want an id 0 to %d, found %s", where,
                           key, PLAN_MAX_IDS - 1, json_read_show(value, found));
        }
        if (length > PLAN_MAX_PIECE)
            return err_set(err, ERR_LIMIT,
                           "%s: vocab: \"%.40s...\" has %zu bytes, the limit is %d",
                           where, key, length, PLAN_MAX_PIECE);
        code = plan_keep_bytes(p, key, length, &piece->text, err);
        if (code != ERR_OK)
            return code;
        piece->id = (int32_t)id;
        m->n_pieces++;
    }
    return ERR_OK;
}

/* A merge is "left right" or ["left", "right"]. */
static enum err_code read_merge(struct tokenizer_plan *p, const json_t *value,
                                struct plan_merge *out, struct err *err)
{
    if (json_is_array(value) && json_array_size(value) == 2 &&
        json_is_string(json_array_get(value, 0)) &&
        json_is_string(json_array_get(value, 1))) {
        enum err_code code = plan_keep(p, json_array_get(value, 0), &out->left, err);
        return code ? code : plan_keep(p, json_array_get(value, 1), &out->right, err);
    }
    const char *s = json_string_value(value);
    const char *blank = s ? strchr(s, ' ') : NULL;
    if (!blank || strchr(blank + 1, ' ')) {
        char found[JSON_SHOW_BYTES];
        return err_set(err, ERR_FORMAT, "%s: merges: want two pieces, found %s", where,
                       json_read_show(value, found));
    }
    enum err_code code = plan_keep_bytes(p, s, (size_t)(blank - s), &out->left, err);
    return code ? code
                : plan_keep_bytes(p, blank + 1, strlen(blank + 1), &out->right, err);
}

static enum err_code read_merges(struct tokenizer_plan *p, const json_t *model,
                                 struct err *err)
{
    json_t *merges = NULL;
    enum err_code code = json_read_array(model, where, "merges", &merges, err);
    if (code != ERR_OK)
        return code;
    struct plan_model *m = &p->model;
    m->merges = plan_alloc(p, json_array_size(merges), sizeof *m->merges);
    if (!m->merges)
        return no_memory(err);
    size_t i;
    json_t *value;
    json_array_foreach(merges, i, value)
    {
        const char *s = json_string_value(value);
        if (s && strncmp(s, "#version", 8) == 0)
            continue;
        code = read_merge(p, value, &m->merges[m->n_merges], err);
        if (code != ERR_OK)
            return code;
        m->n_merges++;
    }
    return ERR_OK;
}

/* Reads model[key], a string that must be there. */
static enum err_code read_text(struct tokenizer_plan *p, const json_t *model,
                               const char *key, struct plan_text *out, struct err *err)
{
    const char *s = NULL;
    enum err_code code = json_read_string(model, where, key, &s, err);
    return code ? code : plan_keep(p, json_object_get(model, key), out, err);
}

/* The same, but it may be absent, null or (as in GPT-2's file) empty. */
static enum err_code read_text_if_any(struct tokenizer_plan *p, const json_t *model,
                                      const char *key, struct plan_text *out,
                                      struct err *err)
{
    if (!json_read_has(model, key))
        return ERR_OK;
    enum err_code code = read_text(p, model, key, out, err);
    if (code == ERR_OK && out->n == 0)
        *out = (struct plan_text){0};
    return code;
}

static enum err_code read_flag_if_any(const json_t *model, const char *key, bool *out,
                                      struct err *err)
{
    if (!json_read_has(model, key))
        return ERR_OK;
    return json_read_bool(model, where, key, out, err);
}

static enum err_code read_wordlevel(struct tokenizer_plan *p, const json_t *model,
                                    struct err *err)
{
    static const char *const known[] = {"type", "vocab", "unk_token"};
    enum err_code code = json_read_known(model, where, known, 3, err);
    return code ? code : read_text(p, model, "unk_token", &p->model.unk, err);
}

static enum err_code read_wordpiece(struct tokenizer_plan *p, const json_t *model,
                                    struct err *err)
{
    static const char *const known[] = {"type", "vocab", "unk_token",
                                        "continuing_subword_prefix",
                                        "max_input_chars_per_word"};
    struct plan_model *m = &p->model;
    int64_t max = 0;
    enum err_code code = json_read_known(model, where, known, 5, err);
    if (code == ERR_OK)
        code = read_text(p, model, "unk_token", &m->unk, err);
    if (code == ERR_OK)
        code = read_text(p, model, "continuing_subword_prefix", &m->prefix, err);
    if (code == ERR_OK)
        code = json_read_integer(model, where, "max_input_chars_per_word",
                                 (struct json_range){0, 1 << 20}, &max, err);
    m->max_chars = (size_t)max;
    return code;
}

static enum err_code read_bpe(struct tokenizer_plan *p, const json_t *model,
                              struct err *err)
{
    /* dropout is noise for training: the file's value plays no part here. */
    static const char *const known[] = {"type",          "vocab",
                                        "merges",        "unk_token",
                                        "fuse_unk",      "byte_fallback",
                                        "ignore_merges", "continuing_subword_prefix",
                                        "dropout",       "end_of_word_suffix"};
    struct plan_model *m = &p->model;
    enum err_code code = json_read_known(model, where, known, 10, err);
    if (code == ERR_OK)
        code = read_text_if_any(p, model, "unk_token", &m->unk, err);
    if (code == ERR_OK)
        code = read_text_if_any(p, model, "continuing_subword_prefix", &m->prefix, err);
    if (code == ERR_OK)
        code = read_text_if_any(p, model, "end_of_word_suffix", &m->suffix, err);
    if (code == ERR_OK)
        code = read_flag_if_any(model, "fuse_unk", &m->fuse_unk, err);
    if (code == ERR_OK)
        code = read_flag_if_any(model, "byte_fallback", &m->byte_fallback, err);
    if (code == ERR_OK)
        code = read_flag_if_any(model, "ignore_merges", &m->ignore_merges, err);
    if (code == ERR_OK)
        code = read_merges(p, model, err);
    if (code == ERR_OK && m->byte_fallback && (m->prefix.n || m->suffix.n))
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: byte_fallback together with continuing_subword_prefix or "
                       "end_of_word_suffix is not served",
                       where);
    return code;
}

/* The double that the library makes of the number whose shortest spelling names `exact`:
 * its JSON reader rounds the digits, then divides them by a power of ten, and so may miss
 * by a unit in the last place. Where two paths differ by less, that decides. */
static double as_library(double exact)
{
    enum { MOST_DIGITS = 17, MOST_POWER = 308 };
    char text[32] = "";
    int n = 14;
    do
        snprintf(text, sizeof text, "%.*e", n++, exact);
    while (n < MOST_DIGITS && strtod(text, NULL) != exact);
    uint64_t digits = 0;
    long exponent = 0;
    const char *at = text + (text[0] == '-');
    for (bool behind = false; *at != 'e' && *at; at++) {
        behind = behind || *at < '0' || *at > '9';
        if (*at < '0' || *at > '9')
            continue;
        digits = digits * 10 + (uint64_t)(*at - '0');
        exponent -= behind;
    }
    exponent += *at ? strtol(at + 1, NULL, 10) : 0;
    while (digits && digits % 10 == 0) {
        digits /= 10;
        exponent++;
    }
    char power_text[24];
    long size = exponent < 0 ? -exponent : exponent;
    if (size > MOST_POWER)
        return exact;
    snprintf(power_text, sizeof power_text, "1e%ld", size);
    double power = strtod(power_text, NULL), value = (double)digits;
    value = exponent < 0 ? value / power : value * power;
    return text[0] == '-' ? -value : value;
}

static enum err_code read_scored_piece(struct tokenizer_plan *p, const json_t *value,
                                       size_t id, struct err *err)
{
    const json_t *text = json_array_get(value, 0), *score = json_array_get(value, 1);
    struct plan_piece *piece = &p->model.pieces[id];
    if (json_array_size(value) != 2 || !json_is_string(text) || !json_is_number(score)) {
        char found[JSON_SHOW_BYTES];
        return err_set(err, ERR_FORMAT,
                       "%s: vocab: %zu: want a piece and its score, "
                       "found %s",
                       where, id, json_read_show(value, found));
    }
    if (json_string_length(text) > PLAN_MAX_PIECE)
        return err_set(err, ERR_LIMIT,
                       "%s: vocab: \"%.40s...\" has %zu bytes, the limit is %d", where,
                       json_string_value(text), json_string_length(text), PLAN_MAX_PIECE);
    piece->id = (int32_t)id;
    piece->score = json_is_integer(score) ? (double)json_integer_value(score)
                                          : as_library(json_real_value(score));
    return plan_keep(p, text, &piece->text, err);
}

static enum err_code read_unigram(struct tokenizer_plan *p, const json_t *model,
                                  struct err *err)
{
    static const char *const known[] = {"type", "vocab", "unk_id", "byte_fallback"};
    struct plan_model *m = &p->model;
    json_t *vocab = NULL;
    int64_t unk = -1;
    enum err_code code = json_read_known(model, where, known, 4, err);
    if (code == ERR_OK)
        code = json_read_array(model, where, "vocab", &vocab, err);
    if (code != ERR_OK)
        return code;
    size_t n = json_array_size(vocab);
    if (n > PLAN_MAX_IDS)
        return err_set(err, ERR_LIMIT, "%s: vocab: %zu pieces, the limit is %d", where, n,
                       PLAN_MAX_IDS);
    if (json_read_has(model, "unk_id"))
        code = json_read_integer(model, where, "unk_id",
                                 (struct json_range){0, PLAN_MAX_IDS - 1}, &unk, err);
    if (code == ERR_OK)
        code = read_flag_if_any(model, "byte_fallback", &m->byte_fallback, err);
    if (code == ERR_OK && unk >= (int64_t)n)
        return err_set(err, ERR_MISMATCH, "%s: unk_id is %d, but vocab has %zu pieces",
                       where, (int)unk, n);
    m->unk_id = (int32_t)unk;
    m->pieces = plan_alloc(p, n, sizeof *m->pieces);
    if (code == ERR_OK && !m->pieces)
        return no_memory(err);
    for (; code == ERR_OK && m->n_pieces < n; m->n_pieces++)
        code = read_scored_piece(p, json_array_get(vocab, m->n_pieces), m->n_pieces, err);
    return code;
}

/* Files of older versions have no type: the keys tell. */
static enum err_code model_type(const json_t *model, size_t *out, struct err *err)
{
    static const char *const names[] = {[MODEL_WORD_LEVEL] = "WordLevel",
                                        [MODEL_WORDPIECE] = "WordPiece",
                                        [MODEL_BPE] = "BPE",
                                        [MODEL_UNIGRAM] = "Unigram"};
    if (json_object_get(model, "type"))
        return json_read_choice(model, where, "type", names, MODEL_UNIGRAM + 1, out, err);
    if (json_object_get(model, "merges"))
        *out = MODEL_BPE;
    else if (json_object_get(model, "max_input_chars_per_word"))
        *out = MODEL_WORDPIECE;
    else if (json_is_object(json_object_get(model, "vocab")))
        *out = MODEL_WORD_LEVEL;
    else if (json_is_array(json_object_get(model, "vocab")))
        *out = MODEL_UNIGRAM;
    else
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: it has no type and is none of WordLevel, WordPiece, BPE, "
                       "Unigram",
                       where);
    return ERR_OK;
}

enum err_code plan_model(struct tokenizer_plan *p, const json_t *root, struct err *err)
{
    json_t *model = NULL;
    size_t kind = 0;
    enum err_code code = json_read_object(root, "tokenizer.json", "model", &model, err);
    if (code == ERR_OK)
        code = model_type(model, &kind, err);
    if (code != ERR_OK)
        return code;
    p->model.kind = (enum model_kind)kind;
    if (kind == MODEL_UNIGRAM)
        return read_unigram(p, model, err);
    code = read_vocab(p, model, err);
    if (code != ERR_OK)
        return code;
    if (kind == MODEL_BPE)
        return read_bpe(p, model, err);
    return kind == MODEL_WORDPIECE ? read_wordpiece(p, model, err)
                                   : read_wordlevel(p, model, err);
}
