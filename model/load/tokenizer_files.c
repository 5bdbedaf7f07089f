#include "model/load/tokenizer_files.h"

#include "model/load/added_tokens.h"
#include "model/load/file.h"
#include "model/load/json.h"
#include "model/load/tokenizer_legacy.h"
#include "model/load/tokenizer_steps.h"

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

/* How a class of transformers completes a role that is given as a mere string. */
static struct added_absent absent_of(const struct folder *f, size_t role)
{
    struct added_absent absent = {false, false};
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
    struct added_absent absent = absent_of(f, role);
    if (!value) {
        where = config_name;
        value = json_object_get(f->config, key);
    }
    if (value && json_is_null(value))
        return ERR_OK;
    if (value) {
        if (json_is_object(value))
            absent.normalized = where == config_name;
        return added_tokens_make(value, where, key, absent, &f->roles[role], err);
    }
    if (!f->class || !f->class->roles[role])
        return ERR_OK;
    json_t *usual = json_string(f->class->roles[role]);
    enum err_code code =
        added_tokens_make(usual, where, key, absent, &f->roles[role], err);
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
        struct added_absent absent = {false,
                                      json_is_object(value) && where == config_name};
        code = added_tokens_make(value, where, others_key, absent, &token, err);
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
        roles[i] = added_tokens_content(f->roles[i]);
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
    struct added_sources sources = {f->config, f->added, f->roles, f->others};
    return code == ERR_OK ? added_tokens_complete(&sources, *out, err) : code;
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
