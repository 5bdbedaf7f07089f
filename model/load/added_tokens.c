#include "model/load/added_tokens.h"

#include "model/base/mem.h"
#include "model/load/json.h"
#include "model/load/tokenizer_json.h"

#include <stdlib.h>
#include <string.h>

static const char config_name[] = "tokenizer_config.json";
static const char added_name[] = "added_tokens.json";

static enum err_code no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "tokenizer: no memory for its added tokens");
}

/* ---- one token ------------------------------------------------------------------- */

/* A string, or an object with `content` and flags, as an entry of added_tokens. */
enum err_code added_tokens_make(const json_t *value, const char *where, const char *key,
                                struct added_absent absent, json_t **out, struct err *err)
{
    static const char *const flags[] = {"single_word", "lstrip", "rstrip", "normalized",
                                        "special"};
    bool on[5] = {false, absent.lstrip, false, absent.normalized, true};
    const char *content = json_string_value(value);
    char found[JSON_SHOW_BYTES];
    enum err_code code = ERR_OK;
    if (json_is_object(value)) {
        on[1] = false;
        code = json_read_string(value, where, "content", &content, err);
        for (size_t i = 0; code == ERR_OK && i < 5; i++)
            if (json_read_has(value, flags[i]))
                code = json_read_bool(value, where, flags[i], &on[i], err);
    }
    if (code == ERR_OK && !content)
        code = err_set(err, ERR_FORMAT,
                       "%s: %s: want a token or an object with its content, found %s",
                       where, key, json_read_show(value, found));
    else if (code == ERR_OK && strlen(content) > PLAN_MAX_ADDED_BYTES)
        code = err_set(err, ERR_LIMIT, "%s: %s: a token of %zu bytes, the limit is %d",
                       where, key, strlen(content), PLAN_MAX_ADDED_BYTES);
    if (code != ERR_OK)
        return code;
    *out =
        json_pack("{s:s, s:b, s:b, s:b, s:b, s:b}", "content", content, flags[0], on[0],
                  flags[1], on[1], flags[2], on[2], flags[3], on[3], flags[4], on[4]);
    return *out ? ERR_OK : no_memory(err);
}

const char *added_tokens_content(const json_t *token)
{
    return json_string_value(json_object_get(token, "content"));
}

/* ---- tokens that tokenizer.json does not have ------------------------------------ */

/* The vocabulary while tokens are added to it. */
struct adding {
    json_t *vocab;                   /* piece to id, of the model */
    json_t *list, *spelled;          /* added_tokens, and a set of what they are */
    json_int_t max_model, max_added; /* highest ids, -1 for none */
    json_t *specials;                /* a set of what has a role */
};

/* Ids that are out of range are for the reader of the plan to refuse. */
static void note_id(struct adding *a, json_int_t id)
{
    if (id > a->max_added && id < PLAN_MAX_IDS)
        a->max_added = id;
}

static enum err_code put_token(struct adding *a, json_t *take_token, json_int_t id,
                               struct err *err)
{
    json_t *number = json_integer(id);
    if (json_object_set_new(take_token, "id", number) != 0 ||
        json_object_set_new(a->spelled, added_tokens_content(take_token), json_true()) !=
            0) {
        json_decref(take_token);
        return no_memory(err);
    }
    if (json_array_append_new(a->list, take_token) != 0)
        return no_memory(err);
    note_id(a, id);
    return ERR_OK;
}

/* Adds a token that a file lists with its id. The library's rule for new ids must come
 * to the same one: behind the model's pieces and those added so far. */
static enum err_code add_listed(struct adding *a, json_t *take_token, json_int_t wanted,
                                const char *where, struct err *err)
{
    const char *content = added_tokens_content(take_token);
    const json_t *known = json_object_get(a->vocab, content);
    json_int_t n = (json_int_t)json_object_size(a->vocab);
    json_int_t id = a->max_added >= n ? a->max_added + 1 : n;
    if (!*content || json_object_get(a->spelled, content)) {
        json_decref(take_token);
        return ERR_OK;
    }
    if (known) {
        id = json_integer_value(known);
    } else if (id <= a->max_model) {
        json_decref(take_token);
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: a token that is not in the vocabulary would get id %d, which "
                       "is in use",
                       where, (int)id);
    }
    if (id != wanted) {
        enum err_code code = err_set(err, ERR_MISMATCH,
                                     "%s: token \"%.60s\" has id %d there, but takes %d",
                                     where, content, (int)wanted, (int)id);
        json_decref(take_token);
        return code;
    }
    return put_token(a, take_token, id, err);
}

/* Adds a token with a role if the vocabulary has it: a new id would be past what the
 * model knows. */
static enum err_code add_role(struct adding *a, const json_t *token, struct err *err)
{
    const char *content = added_tokens_content(token);
    const json_t *known = content ? json_object_get(a->vocab, content) : NULL;
    if (!known || !*content || json_object_get(a->spelled, content))
        return ERR_OK;
    json_t *copy = json_copy((json_t *)token);
    return copy ? put_token(a, copy, json_integer_value(known), err) : no_memory(err);
}

/* One token of a list by id. */
struct listed {
    json_int_t id;
    const char *content; /* added_tokens.json */
    const json_t *token; /* added_tokens_decoder */
};

static int by_id(const void *a, const void *b)
{
    json_int_t left = ((const struct listed *)a)->id;
    json_int_t right = ((const struct listed *)b)->id;
    return (left > right) - (left < right);
}

static bool is_special(const json_t *set, const char *content)
{
    return json_object_get(set, content) != NULL;
}

/* Tokens of added_tokens.json are found behind the normalizer unless they have a role. */
static enum err_code make_listed(const struct adding *a, const struct listed *l,
                                 const char *where, json_t **out, struct err *err)
{
    json_t *string = l->content ? json_string(l->content) : NULL;
    bool special = l->content && is_special(a->specials, l->content);
    struct added_absent absent = {false, !special};
    enum err_code code =
        added_tokens_make(string ? string : l->token, where, "a token", absent, out, err);
    json_decref(string);
    if (code != ERR_OK)
        return code;
    special = is_special(a->specials, added_tokens_content(*out));
    if (!special && l->token)
        special = json_is_true(json_object_get(l->token, "special"));
    return json_object_set_new(*out, "special", json_boolean(special)) == 0
               ? ERR_OK
               : no_memory(err);
}

static enum err_code add_sorted(struct adding *a, struct listed *list, size_t n,
                                const char *where, struct err *err)
{
    enum err_code code = ERR_OK;
    qsort(list, n, sizeof *list, by_id);
    for (size_t i = 0; code == ERR_OK && i < n; i++) {
        json_t *token = NULL;
        code = make_listed(a, &list[i], where, &token, err);
        if (code == ERR_OK)
            code = add_listed(a, token, list[i].id, where, err);
        else
            json_decref(token);
    }
    return code;
}

/* {"<x>": 7}, or with `ids` as keys {"7": {"content": "<x>", ..}}. */
static enum err_code list_tokens(const json_t *object, bool ids, const char *where,
                                 struct listed *out, struct err *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        char *end = "", found[JSON_SHOW_BYTES];
        json_int_t id = ids ? strtoll(key, &end, 10) : json_integer_value(value);
        bool good = ids ? key[0] >= '0' && key[0] <= '9' && !*end && json_is_object(value)
                        : json_is_integer(value);
        if (!good || id < 0 || id >= PLAN_MAX_IDS)
            return err_set(err, ERR_FORMAT, "%s: \"%.60s\": want %s 0 to %d, found %s",
                           where, key, ids ? "objects by ids" : "an id", PLAN_MAX_IDS - 1,
                           json_read_show(value, found));
        *out++ = (struct listed){id, ids ? NULL : key, ids ? value : NULL};
    }
    return ERR_OK;
}

static enum err_code add_list(struct adding *a, const struct added_sources *f,
                              struct err *err)
{
    static const char decoder[] = "added_tokens_decoder";
    bool ids = json_read_has(f->config, decoder);
    json_t *object = f->added;
    const char *where = ids ? "tokenizer_config.json: added_tokens_decoder" : added_name;
    enum err_code code =
        ids ? json_read_object(f->config, config_name, decoder, &object, err) : ERR_OK;
    size_t n = json_object_size(object);
    if (code != ERR_OK || n == 0)
        return code;
    if (n > PLAN_MAX_ADDED)
        return err_set(err, ERR_LIMIT, "%s: %zu tokens, the limit is %d", where, n,
                       PLAN_MAX_ADDED);
    struct listed *list = mem_zero(n, sizeof *list);
    if (!list)
        return no_memory(err);
    code = list_tokens(object, ids, where, list, err);
    if (code == ERR_OK)
        code = add_sorted(a, list, n, where, err);
    mem_free(list);
    return code;
}

/* The model's pieces and their ids. Unigram's vocabulary is a list of pairs. What is
 * wrong with it, and with added_tokens, is for the reader of the plan to say. */
static enum err_code index_pieces(struct adding *a, const json_t *root, struct err *err)
{
    json_t *vocab = json_object_get(json_object_get(root, "model"), "vocab");
    const char *key;
    json_t *value;
    size_t i;
    a->max_model = -1;
    if (json_is_object(vocab)) {
        a->vocab = json_incref(vocab);
        json_object_foreach(vocab, key, value)
        {
            json_int_t id = json_integer_value(value);
            a->max_model = id > a->max_model ? id : a->max_model;
        }
        return ERR_OK;
    }
    a->vocab = json_object();
    json_array_foreach(vocab, i, value)
    {
        const char *piece = json_string_value(json_array_get(value, 0));
        json_t *id = json_integer((json_int_t)i);
        if (json_object_set_new(a->vocab, piece ? piece : "", id) != 0)
            return no_memory(err);
        a->max_model = (json_int_t)i;
    }
    return a->vocab ? ERR_OK : no_memory(err);
}

static enum err_code index_added(struct adding *a, json_t *root, struct err *err)
{
    size_t i;
    json_t *value;
    a->max_added = -1;
    a->spelled = json_object();
    if (!json_read_has(root, "added_tokens") &&
        json_object_set_new(root, "added_tokens", json_array()) != 0)
        return no_memory(err);
    a->list = json_object_get(root, "added_tokens");
    json_array_foreach(a->list, i, value)
    {
        json_int_t id = json_integer_value(json_object_get(value, "id"));
        const char *content = added_tokens_content(value);
        if (json_object_set_new(a->spelled, content ? content : "", json_true()) != 0)
            return no_memory(err);
        note_id(a, id);
    }
    return a->spelled ? ERR_OK : no_memory(err);
}

static enum err_code index_specials(struct adding *a, const struct added_sources *f,
                                    struct err *err)
{
    size_t i;
    json_t *value;
    a->specials = json_object();
    if (!a->specials)
        return no_memory(err);
    for (size_t role = 0; role < TOKENIZER_ROLES; role++)
        if (f->roles[role] &&
            json_object_set_new(a->specials, added_tokens_content(f->roles[role]),
                                json_true()) != 0)
            return no_memory(err);
    json_array_foreach(f->others, i, value)
    {
        if (json_object_set_new(a->specials, added_tokens_content(value), json_true()) !=
            0)
            return no_memory(err);
    }
    return ERR_OK;
}

/* In the order of transformers, which matters where two are spelled the same. */
static enum err_code add_roles(struct adding *a, const struct added_sources *f,
                               struct err *err)
{
    static const enum tokenizer_role order[] = {
        TOKENIZER_BOS, TOKENIZER_EOS, TOKENIZER_UNK, TOKENIZER_SEP,
        TOKENIZER_PAD, TOKENIZER_CLS, TOKENIZER_MASK};
    enum err_code code = ERR_OK;
    for (size_t i = 0; code == ERR_OK && i < TOKENIZER_ROLES; i++)
        if (f->roles[order[i]])
            code = add_role(a, f->roles[order[i]], err);
    for (size_t i = 0; code == ERR_OK && i < json_array_size(f->others); i++)
        code = add_role(a, json_array_get(f->others, i), err);
    return code;
}

enum err_code added_tokens_complete(const struct added_sources *f, json_t *root,
                                    struct err *err)
{
    struct adding a = {0};
    enum err_code code = index_pieces(&a, root, err);
    if (code == ERR_OK)
        code = index_added(&a, root, err);
    if (code == ERR_OK)
        code = index_specials(&a, f, err);
    bool list = json_is_array(a.list); /* else the reader of the plan refuses it */
    if (code == ERR_OK && list)
        code = add_list(&a, f, err);
    if (code == ERR_OK && list)
        code = add_roles(&a, f, err);
    json_decref(a.vocab);
    json_decref(a.spelled);
    json_decref(a.specials);
    return code;
}
