#include "model/load/tokenizer_files.h"

#include "model/base/mem.h"
#include "model/load/file.h"
#include "model/load/json.h"
#include "model/load/tokenizer_legacy.h"
#include "model/load/tokenizer_steps.h"

#include <stdlib.h>
#include <string.h>

/* added_tokens_decoder spends up to 16 values on each of PLAN_MAX_ADDED tokens. */
enum { MAX_FILE_BYTES = 16 << 20, MAX_DEPTH = 16, MAX_VALUES = 1 << 19 };
static const struct json_limits limits = {MAX_DEPTH, MAX_VALUES};

static const char config_name[] = "tokenizer_config.json";
static const char map_name[] = "special_tokens_map.json";
static const char added_name[] = "added_tokens.json";
static const char model_name[] = "config.json";

static const char *const role_keys[TOKENIZER_ROLES] = {
    [TOKENIZER_MASK] = "mask_token", [TOKENIZER_BOS] = "bos_token",
    [TOKENIZER_EOS] = "eos_token",   [TOKENIZER_UNK] = "unk_token",
    [TOKENIZER_PAD] = "pad_token",   [TOKENIZER_SEP] = "sep_token",
    [TOKENIZER_CLS] = "cls_token",
};
static const char others_key[] = "additional_special_tokens";

/* What the files beside tokenizer.json say. */
struct folder {
    const char *dir;
    json_t *config, *map, *added, *model; /* NULL without that file */
    const char *class_name;               /* NULL if no file tells, borrowed from .. */
    const char *class_from;               /* .. this, e.g. "config.json: model_type" */
    const struct legacy_class *class;     /* NULL if it is not among the known ones */
    /* Tokens as tokenizer.json has them in added_tokens, without id; NULL for none. */
    json_t *roles[TOKENIZER_ROLES];
    json_t *others; /* a list of such */
};

static void folder_done(struct folder *f)
{
    json_decref(f->config);
    json_decref(f->map);
    json_decref(f->added);
    json_decref(f->model);
    for (size_t i = 0; i < TOKENIZER_ROLES; i++)
        json_decref(f->roles[i]);
    json_decref(f->others);
}

static enum err_code no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "tokenizer: no memory for its special tokens");
}

static enum err_code read_if_any(const char *dir, const char *name, json_t **out,
                                 struct err *err)
{
    if (!file_exists(dir, name))
        return ERR_OK;
    return json_read_file(dir, name, MAX_FILE_BYTES, &limits, out, err);
}

/* ---- the class ------------------------------------------------------------------- */

/* root[key] if it is there; a string. */
static enum err_code read_name(const json_t *root, const char *file, const char *key,
                               const char **out, struct err *err)
{
    if (!json_read_has(root, key))
        return ERR_OK;
    return json_read_string(root, file, key, out, err);
}

/* As transformers looks for it: its own config, then the model's. */
static enum err_code find_class(struct folder *f, struct err *err)
{
    const char *model_type = NULL;
    f->class_from = "tokenizer_config.json: tokenizer_class";
    enum err_code code =
        read_name(f->config, config_name, "tokenizer_class", &f->class_name, err);
    if (code == ERR_OK && !f->class_name) {
        f->class_from = "config.json: tokenizer_class";
        code = read_if_any(f->dir, model_name, &f->model, err);
        if (code == ERR_OK)
            code =
                read_name(f->model, model_name, "tokenizer_class", &f->class_name, err);
    }
    if (code == ERR_OK && !f->class_name) {
        f->class_from = "config.json: model_type";
        code = read_name(f->model, model_name, "model_type", &model_type, err);
        f->class_name = model_type ? legacy_class_of_model(model_type) : NULL;
        if (model_type && !f->class_name)
            f->class_name = model_type; /* for messages: no class has such a name */
    }
    if (code == ERR_OK && f->class_name)
        f->class = legacy_class_find(f->class_name);
    return code;
}

/* ---- special tokens -------------------------------------------------------------- */

/* What an entry that does not say is taken for. */
struct absent {
    bool lstrip, normalized;
};

/* A string, or an object with `content` and flags, as an entry of added_tokens. */
static enum err_code make_token(const json_t *value, const char *where, const char *key,
                                struct absent absent, json_t **out, struct err *err)
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

/* How a class of transformers completes a role that is given as a mere string. */
static struct absent absent_of(const struct folder *f, size_t role)
{
    struct absent absent = {false, false};
    if (!f->class || f->class->kind == LEGACY_BERT || f->class->kind == LEGACY_QWEN2)
        return absent;
    bool gpt2 = f->class->kind == LEGACY_GPT2;
    if (role == TOKENIZER_MASK) {
        absent.lstrip = !gpt2;
        absent.normalized = f->class->mask_normalized;
    } else if (gpt2) {
        absent.normalized = role != TOKENIZER_SEP && role != TOKENIZER_CLS;
    } else {
        absent.normalized = f->class->kind == LEGACY_ROBERTA;
    }
    return absent;
}

/* The files say it, or the class: special_tokens_map.json, unless the newer
 * tokenizer_config.json tells everything in added_tokens_decoder, then the latter. */
static enum err_code read_role(struct folder *f, bool use_map, size_t role,
                               struct err *err)
{
    const char *key = role_keys[role], *where = map_name;
    const json_t *value = use_map ? json_object_get(f->map, key) : NULL;
    struct absent absent = absent_of(f, role);
    if (!value) {
        where = config_name;
        value = json_object_get(f->config, key);
    }
    if (value && json_is_null(value))
        return ERR_OK;
    if (value) {
        if (json_is_object(value))
            absent.normalized = where == config_name;
        return make_token(value, where, key, absent, &f->roles[role], err);
    }
    if (!f->class || !f->class->roles[role])
        return ERR_OK;
    json_t *usual = json_string(f->class->roles[role]);
    enum err_code code = make_token(usual, where, key, absent, &f->roles[role], err);
    json_decref(usual);
    return code;
}

static enum err_code read_others(struct folder *f, const json_t *root, const char *where,
                                 struct err *err)
{
    json_t *list = NULL, *token = NULL;
    if (!json_read_has(root, others_key))
        return ERR_OK;
    /* In some files this is an object of named tokens, which transformers skips. */
    if (json_is_object(json_object_get(root, others_key)))
        return ERR_OK;
    enum err_code code = json_read_array(root, where, others_key, &list, err);
    for (size_t i = 0; code == ERR_OK && i < json_array_size(list); i++) {
        const json_t *value = json_array_get(list, i);
        struct absent absent = {false, json_is_object(value) && where == config_name};
        code = make_token(value, where, others_key, absent, &token, err);
        if (code == ERR_OK && json_array_append_new(f->others, token) != 0)
            code = no_memory(err);
    }
    return code;
}

static enum err_code read_specials(struct folder *f, struct err *err)
{
    bool use_map = f->map && !json_read_has(f->config, "added_tokens_decoder");
    enum err_code code = ERR_OK;
    f->others = json_array();
    if (!f->others)
        return no_memory(err);
    for (size_t role = 0; code == ERR_OK && role < TOKENIZER_ROLES; role++)
        code = read_role(f, use_map, role, err);
    if (code == ERR_OK)
        code = read_others(f, f->config, config_name, err);
    if (code == ERR_OK && use_map)
        code = read_others(f, f->map, map_name, err);
    return code;
}

static const char *content_of(const json_t *token)
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

static enum err_code put_token(struct adding *a, json_t *take_token, json_int_t id,
                               struct err *err)
{
    json_t *number = json_integer(id);
    if (json_object_set_new(take_token, "id", number) != 0 ||
        json_object_set_new(a->spelled, content_of(take_token), json_true()) != 0) {
        json_decref(take_token);
        return no_memory(err);
    }
    if (json_array_append_new(a->list, take_token) != 0)
        return no_memory(err);
    a->max_added = id > a->max_added ? id : a->max_added;
    return ERR_OK;
}

/* Adds a token that a file lists with its id. The library's rule for new ids must come
 * to the same one: behind the model's pieces and those added so far. */
static enum err_code add_listed(struct adding *a, json_t *take_token, json_int_t wanted,
                                const char *where, struct err *err)
{
    const char *content = content_of(take_token);
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
    const char *content = content_of(token);
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
    struct absent absent = {false, !special};
    enum err_code code =
        make_token(string ? string : l->token, where, "a token", absent, out, err);
    json_decref(string);
    if (code != ERR_OK)
        return code;
    special = is_special(a->specials, content_of(*out));
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

static enum err_code add_list(struct adding *a, const struct folder *f, struct err *err)
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
        const char *content = content_of(value);
        if (json_object_set_new(a->spelled, content ? content : "", json_true()) != 0)
            return no_memory(err);
        a->max_added = id > a->max_added ? id : a->max_added;
    }
    return a->spelled ? ERR_OK : no_memory(err);
}

static enum err_code index_specials(struct adding *a, const struct folder *f,
                                    struct err *err)
{
    size_t i;
    json_t *value;
    a->specials = json_object();
    if (!a->specials)
        return no_memory(err);
    for (size_t role = 0; role < TOKENIZER_ROLES; role++)
        if (f->roles[role] && json_object_set_new(a->specials, content_of(f->roles[role]),
                                                  json_true()) != 0)
            return no_memory(err);
    json_array_foreach(f->others, i, value)
    {
        if (json_object_set_new(a->specials, content_of(value), json_true()) != 0)
            return no_memory(err);
    }
    return ERR_OK;
}

/* In the order of transformers, which matters where two are spelled the same. */
static enum err_code add_roles(struct adding *a, const struct folder *f, struct err *err)
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

static enum err_code complete(const struct folder *f, json_t *root, struct err *err)
{
    struct adding a = {0};
    enum err_code code = index_pieces(&a, root, err);
    if (code == ERR_OK)
        code = index_added(&a, root, err);
    if (code == ERR_OK)
        code = index_specials(&a, f, err);
    if (code == ERR_OK)
        code = add_list(&a, f, err);
    if (code == ERR_OK)
        code = add_roles(&a, f, err);
    json_decref(a.vocab);
    json_decref(a.spelled);
    json_decref(a.specials);
    return code;
}

/* ---- folders without tokenizer.json ---------------------------------------------- */

static enum err_code refuse_sentencepiece(const char *dir, struct err *err)
{
    static const char *const names[] = {"sentencepiece.bpe.model", "spiece.model",
                                        "tokenizer.model", "spm.model",
                                        "sentencepiece.model"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (file_exists(dir, names[i]))
            return err_set(
                err, ERR_UNSUPPORTED,
                "%s: SentencePiece files are not read. With transformers, sentencepiece "
                "and protobuf installed, this writes tokenizer.json; in the folder: "
                "python3 -c 'from transformers import AutoTokenizer as T; "
                "T.from_pretrained(\".\").save_pretrained(\".\")'",
                names[i]);
    return ERR_OK;
}

static enum err_code read_legacy(const struct folder *f, json_t **out, struct err *err)
{
    const char *roles[TOKENIZER_ROLES];
    bool words = file_exists(f->dir, "vocab.txt");
    bool pieces = file_exists(f->dir, "vocab.json");
    enum err_code code = ERR_OK;
    if (!words && !pieces)
        code = refuse_sentencepiece(f->dir, err);
    if (code != ERR_OK)
        return code;
    if (!words && !pieces)
        return err_set(err, ERR_IO,
                       "tokenizer.json: no such file, nor vocab.txt, nor vocab.json with "
                       "merges.txt");
    if (!f->class_name)
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: which tokenizer it is for is not said; tokenizer_class in %s "
                       "or model_type in %s would say it",
                       words ? "vocab.txt" : "vocab.json", config_name, model_name);
    if (!f->class)
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: %.60s is not served without tokenizer.json; served: %s",
                       f->class_from, f->class_name, legacy_class_names());
    for (size_t i = 0; i < TOKENIZER_ROLES; i++)
        roles[i] = content_of(f->roles[i]);
    return legacy_read(f->dir, f->class, f->config, roles, out, err);
}

/* ---- the front door -------------------------------------------------------------- */

static enum err_code read_root(struct folder *f, json_t **out, struct err *err)
{
    enum err_code code = ERR_OK;
    if (file_exists(f->dir, config_name))
        code = json_read_file_of_reals(f->dir, config_name, MAX_FILE_BYTES, &limits,
                                       &f->config, err);
    if (code == ERR_OK)
        code = read_if_any(f->dir, map_name, &f->map, err);
    if (code == ERR_OK)
        code = read_if_any(f->dir, added_name, &f->added, err);
    if (code == ERR_OK)
        code = find_class(f, err);
    if (code == ERR_OK)
        code = read_specials(f, err);
    if (code != ERR_OK)
        return code;
    code = file_exists(f->dir, "tokenizer.json") ? plan_read_tree(f->dir, out, err)
                                                 : read_legacy(f, out, err);
    return code == ERR_OK ? complete(f, *out, err) : code;
}

static enum err_code keep_roles(const struct folder *f, struct tokenizer_plan *p,
                                struct err *err)
{
    enum err_code code = ERR_OK;
    for (size_t i = 0; code == ERR_OK && i < TOKENIZER_ROLES; i++)
        if (f->roles[i])
            code =
                plan_keep(p, json_object_get(f->roles[i], "content"), &p->roles[i], err);
    return code;
}

static enum err_code read_files(const char *dir, struct problems *problems,
                                struct tokenizer_plan *out, struct err *err)
{
    struct folder f = {.dir = dir};
    struct tokenizer_plan plan = {0};
    json_t *root = NULL;
    size_t before = problems ? problems->n : 0;
    enum err_code code = read_root(&f, &root, err);
    if (code == ERR_OK)
        code = plan_read(root, problems, &plan, err);
    json_decref(root);
    bool whole = !problems || problems->n == before;
    if (code == ERR_OK && whole)
        code = keep_roles(&f, &plan, err);
    folder_done(&f);
    if (code == ERR_OK && whole)
        *out = plan;
    else
        tokenizer_plan_done(&plan);
    return code;
}

enum err_code tokenizer_files_read(const char *dir, struct tokenizer_plan *out,
                                   struct err *err)
{
    return read_files(dir, NULL, out, err);
}

enum err_code tokenizer_files_survey(const char *dir, struct problems *problems,
                                     struct tokenizer_plan *out, struct err *err)
{
    return problems_take(problems, read_files(dir, problems, out, err), err);
}
