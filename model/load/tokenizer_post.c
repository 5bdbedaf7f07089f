#include "model/load/json.h"
#include "model/load/tokenizer_steps.h"

#include <string.h>

static const char where[] = "tokenizer.json: post_processor";

enum post_kind { POST_TEMPLATE, POST_BERT, POST_ROBERTA, POST_BYTE_LEVEL };

/* ---- templates --------------------------------------------------------------------- */

/* Appends a special token at `place`: before, between or behind the texts. */
static enum err_code put_special(struct plan_template *t, size_t place,
                                 struct plan_special special, struct err *err)
{
    size_t n = t->n[0] + t->n[1] + t->n[2];
    if (n == PLAN_MAX_SPECIALS)
        return err_set(err, ERR_LIMIT, "%s: more than %d special tokens in a template",
                       where, PLAN_MAX_SPECIALS);
    t->specials[n] = special;
    t->n[place]++;
    return ERR_OK;
}

static enum err_code read_type(const json_t *o, uint8_t *out, struct err *err)
{
    int64_t type = 0;
    enum err_code code = json_read_integer(o, where, "type_id",
                                           (struct json_range){0, UINT8_MAX}, &type, err);
    *out = (uint8_t)type;
    return code;
}

/* {"SpecialToken": {"id": name, "type_id": t}}; special_tokens[name].ids are its ids. */
static enum err_code read_special(struct plan_template *t, const json_t *o,
                                  const json_t *tokens, size_t place, struct err *err)
{
    const char *name = NULL;
    json_t *token = NULL, *ids = NULL;
    struct plan_special special = {0};
    enum err_code code = read_type(o, &special.type, err);
    if (code == ERR_OK)
        code = json_read_string(o, where, "id", &name, err);
    if (code == ERR_OK)
        code = json_read_object(tokens, "tokenizer.json: post_processor: special_tokens",
                                name, &token, err);
    if (code == ERR_OK)
        code = json_read_array(token, where, "ids", &ids, err);
    for (size_t i = 0; code == ERR_OK && i < json_array_size(ids); i++) {
        const json_t *id = json_array_get(ids, i);
        json_int_t value = json_integer_value(id);
        if (!json_is_integer(id) || value < 0 || value >= PLAN_MAX_IDS)
            return err_set(err, ERR_FORMAT, "%s: special_tokens: %.60s: want ids 0 to %d",
                           where, name, PLAN_MAX_IDS - 1);
        special.id = (int32_t)value;
        code = put_special(t, place, special, err);
    }
    return code;
}

/* The texts met so far in a template. */
struct texts {
    size_t n;
    bool seen[2];
    bool again; /* one of them twice: not a template that serves */
};

static enum err_code read_sequence(struct plan_template *t, const json_t *o,
                                   struct texts *texts, struct err *err)
{
    const char *id = NULL;
    uint8_t type = 0;
    enum err_code code = json_read_string(o, where, "id", &id, err);
    if (code == ERR_OK && strcmp(id, "A") != 0 && strcmp(id, "B") != 0)
        return err_set(err, ERR_FORMAT, "%s: Sequence: its id is \"%.20s\", want A or B",
                       where, id);
    if (code == ERR_OK)
        code = read_type(o, &type, err);
    if (code != ERR_OK)
        return code;
    size_t text = id[0] == 'B';
    if (texts->seen[text]) {
        texts->again = true;
        return ERR_OK;
    }
    texts->seen[text] = true;
    t->type[text] = type;
    t->swapped = t->swapped || (text == 1 && texts->n == 0);
    texts->n++;
    return ERR_OK;
}

/* Reads template[key], for `want` texts; one that has not each of them once is marked. */
static enum err_code read_pieces(struct plan_template *t, const json_t *o,
                                 const char *key, size_t want, struct err *err)
{
    json_t *pieces = NULL, *tokens = NULL;
    struct texts texts = {0};
    enum err_code code = json_read_array(o, where, key, &pieces, err);
    if (code == ERR_OK)
        code = json_read_object(o, where, "special_tokens", &tokens, err);
    for (size_t i = 0; code == ERR_OK && i < json_array_size(pieces); i++) {
        const json_t *piece = json_array_get(pieces, i);
        const json_t *special = json_object_get(piece, "SpecialToken");
        const json_t *sequence = json_object_get(piece, "Sequence");
        if (json_is_object(special))
            code = read_special(t, special, tokens, texts.n, err);
        else if (json_is_object(sequence))
            code = read_sequence(t, sequence, &texts, err);
        else
            return err_set(err, ERR_FORMAT,
                           "%s: %s: want SpecialToken or Sequence objects", where, key);
    }
    t->served = texts.n == want && texts.seen[0] && !texts.again;
    return code;
}

static enum err_code read_template(struct plan_post *post, const json_t *o,
                                   struct err *err)
{
    static const char *const known[] = {"type", "single", "pair", "special_tokens"};
    *post = (struct plan_post){.trim = post->trim, .trim_prefix = post->trim_prefix};
    enum err_code code = json_read_known(o, where, known, 4, err);
    if (code == ERR_OK)
        code = read_pieces(&post->single, o, "single", 1, err);
    if (code == ERR_OK && !post->single.served)
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: single: served is one Sequence, A, and no other", where);
    return code ? code : read_pieces(&post->pair, o, "pair", 2, err);
}

/* ---- the other kinds --------------------------------------------------------------- */

/* "cls": ["[CLS]", 101] */
static enum err_code read_token(const json_t *o, const char *key,
                                struct plan_special *out, struct err *err)
{
    json_t *pair = NULL;
    enum err_code code = json_read_array(o, where, key, &pair, err);
    if (code != ERR_OK)
        return code;
    const json_t *id = json_array_get(pair, 1);
    json_int_t value = json_integer_value(id);
    if (json_array_size(pair) != 2 || !json_is_string(json_array_get(pair, 0)) ||
        !json_is_integer(id) || value < 0 || value >= PLAN_MAX_IDS)
        return err_set(err, ERR_FORMAT, "%s: %s: want a token and its id 0 to %d", where,
                       key, PLAN_MAX_IDS - 1);
    out->id = (int32_t)value;
    return ERR_OK;
}

/* [CLS] A [SEP] B [SEP], the second half of type 1; RoBERTa has two of the middle one,
 * and no types. */
static enum err_code read_bert(struct plan_post *post, const json_t *o, bool roberta,
                               struct err *err)
{
    struct plan_special cls = {0}, sep = {0};
    enum err_code code = read_token(o, "cls", &cls, err);
    if (code == ERR_OK)
        code = read_token(o, "sep", &sep, err);
    if (code != ERR_OK)
        return code;
    struct plan_special last = {sep.id, 1};
    post->single =
        (struct plan_template){.served = true, .n = {1, 1}, .specials = {cls, sep}};
    if (roberta)
        post->pair = (struct plan_template){
            .served = true, .n = {1, 2, 1}, .specials = {cls, sep, sep, sep}};
    else
        post->pair = (struct plan_template){
            .served = true, .type = {0, 1}, .n = {1, 1, 1}, .specials = {cls, sep, last}};
    return ERR_OK;
}

static enum err_code read_trim(struct plan_post *post, const json_t *o, bool late,
                               struct err *err)
{
    bool trim = false, prefix = false;
    enum err_code code = json_read_bool(o, where, "trim_offsets", &trim, err);
    if (code == ERR_OK)
        code = json_read_bool(o, where, "add_prefix_space", &prefix, err);
    if (code == ERR_OK && trim && (post->trim || late))
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: trim_offsets behind another one, or behind BertProcessing or "
                       "RobertaProcessing, is not served",
                       where);
    if (trim) {
        post->trim = true;
        post->trim_prefix = prefix;
    }
    return code;
}

/* What stands in the list before the next one. */
struct so_far {
    bool placed; /* one that adds special tokens */
    bool bert;   /* and it was not a template */
};

static enum err_code read_post(struct plan_post *post, const json_t *o,
                               struct so_far *before, struct err *err)
{
    static const char *const names[] = {[POST_TEMPLATE] = "TemplateProcessing",
                                        [POST_BERT] = "BertProcessing",
                                        [POST_ROBERTA] = "RobertaProcessing",
                                        [POST_BYTE_LEVEL] = "ByteLevel"};
    static const char *const roberta[] = {"type", "sep", "cls", "trim_offsets",
                                          "add_prefix_space"};
    static const char *const byte_level[] = {"type", "add_prefix_space", "trim_offsets",
                                             "use_regex"};
    size_t kind = 0;
    enum err_code code = json_read_choice(o, where, "type", names, 4, &kind, err);
    if (code != ERR_OK)
        return code;
    if (kind == POST_BYTE_LEVEL) {
        code = json_read_known(o, where, byte_level, 4, err);
        return code ? code : read_trim(post, o, before->bert, err);
    }
    if (before->placed)
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: only one that adds special tokens is served", where);
    before->placed = true;
    if (kind == POST_TEMPLATE)
        return read_template(post, o, err);
    before->bert = true;
    code = json_read_known(o, where, roberta, kind == POST_ROBERTA ? 5 : 3, err);
    if (code == ERR_OK && kind == POST_ROBERTA)
        code = read_trim(post, o, false, err);
    return code ? code : read_bert(post, o, kind == POST_ROBERTA, err);
}

enum err_code plan_post(struct tokenizer_plan *p, const json_t *value, struct err *err)
{
    struct plan_components list = {.n = 0};
    struct so_far before = {0};
    /* Without any: the texts one behind the other. */
    p->post.single.served = p->post.pair.served = true;
    p->post.pair.type[1] = 1;
    enum err_code code = plan_unroll(value, where, "processors", &list, err);
    for (size_t i = 0; code == ERR_OK && i < list.n; i++)
        code = read_post(&p->post, list.at[i], &before, err);
    return code;
}
