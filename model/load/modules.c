#include "model/load/modules.h"

#include "model/load/file.h"
#include "model/load/json.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const char LIST[] = "modules.json";
static const char LENGTH[] = "sentence_bert_config.json";

static const struct json_limits LIMITS = {.max_depth = 16, .max_values = 10000};

enum { FILE_BYTES = 1 << 20, PATH_BYTES = 300 };

/* ---- pooling --------------------------------------------------------------------- */

/* What a Pooling is called: by a flag of its own, or, since version 5 of
 * sentence-transformers, as the one word of pooling_mode. */
static const struct mode {
    const char *flag, *word;
    enum pooling pooling;
    bool served;
} MODES[] = {
    {"pooling_mode_mean_tokens", "mean", POOL_MEAN, true},
    {"pooling_mode_cls_token", "cls", POOL_FIRST, true},
    {"pooling_mode_lasttoken", "lasttoken", POOL_LAST, true},
    {"pooling_mode_max_tokens", "max", POOL_MAX, true},
    {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", POOL_MEAN, false},
    {"pooling_mode_weightedmean_tokens", "weightedmean", POOL_MEAN, false},
};
enum { N_MODES = sizeof MODES / sizeof *MODES };

static const char *const POOLING_KEYS[] = {"word_embedding_dimension",
                                           "embedding_dimension",
                                           "include_prompt",
                                           "pooling_mode",
                                           "pooling_mode_mean_tokens",
                                           "pooling_mode_cls_token",
                                           "pooling_mode_lasttoken",
                                           "pooling_mode_max_tokens",
                                           "pooling_mode_mean_sqrt_len_tokens",
                                           "pooling_mode_weightedmean_tokens"};

static enum err_code take_mode(const char *where, const struct mode *mode,
                               struct modules *out, struct err *err)
{
    if (!mode->served)
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: pooling \"%s\" is not served; served: mean, cls, lasttoken, "
                       "max",
                       where, mode->word);
    out->pooling = mode->pooling;
    return ERR_OK;
}

static enum err_code read_word(const json_t *root, const char *where, struct modules *out,
                               struct err *err)
{
    const char *words[N_MODES];
    size_t which = 0;
    for (size_t i = 0; i < N_MODES; i++)
        words[i] = MODES[i].word;
    enum err_code code =
        json_read_choice(root, where, "pooling_mode", words, N_MODES, &which, err);
    return code == ERR_OK ? take_mode(where, &MODES[which], out, err) : code;
}

/* One flag is set, or none: the mean. Several would put their vectors side by side. */
static enum err_code read_flags(const json_t *root, const char *where,
                                struct modules *out, struct err *err)
{
    const struct mode *found = NULL;
    for (size_t i = 0; i < N_MODES; i++) {
        bool set = false;
        enum err_code code = ERR_OK;
        if (json_read_has(root, MODES[i].flag))
            code = json_read_bool(root, where, MODES[i].flag, &set, err);
        if (code != ERR_OK)
            return code;
        if (set && found)
            return err_set(err, ERR_UNSUPPORTED,
                           "%s: %s beside %s is not served: one way of pooling is", where,
                           MODES[i].flag, found->flag);
        if (set)
            found = &MODES[i];
    }
    return take_mode(where, found ? found : &MODES[0], out, err);
}

static enum err_code check_width(const json_t *root, const char *where, const char *key,
                                 size_t width, struct err *err)
{
    int64_t n = 0;
    if (!json_read_has(root, key))
        return ERR_OK;
    enum err_code code =
        json_read_integer(root, where, key, (struct json_range){1, INT32_MAX}, &n, err);
    if (code == ERR_OK && (size_t)n != width)
        return err_set(err, ERR_MISMATCH, "%s: %s is %lld, the model's rows have %zu",
                       where, key, (long long)n, width);
    return code;
}

static enum err_code read_pooling(const json_t *root, const char *where, size_t width,
                                  struct modules *out, struct err *err)
{
    enum err_code code = json_read_known(root, where, POOLING_KEYS,
                                         sizeof POOLING_KEYS / sizeof *POOLING_KEYS, err);
    if (code == ERR_OK)
        code = check_width(root, where, "word_embedding_dimension", width, err);
    if (code == ERR_OK)
        code = check_width(root, where, "embedding_dimension", width, err);
    if (code != ERR_OK)
        return code;
    return json_read_has(root, "pooling_mode") ? read_word(root, where, out, err)
                                               : read_flags(root, where, out, err);
}

/* The config.json in the module's folder. */
static enum err_code pool(const char *dir, const char *folder, size_t width,
                          struct modules *out, struct err *err)
{
    char name[PATH_BYTES];
    json_t *root = NULL;
    if (!file_is_basename(folder))
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: the path of Pooling, \"%.80s\", is no plain name", LIST,
                       folder);
    snprintf(name, sizeof name, "%s/config.json", folder);
    enum err_code code = json_read_file(dir, name, FILE_BYTES, &LIMITS, &root, err);
    if (code == ERR_OK)
        code = read_pooling(root, name, width, out, err);
    json_decref(root);
    return code;
}

/* ---- the list -------------------------------------------------------------------- */

/* "sentence_transformers.models.Pooling": its last word, whatever package it is in. */
static const char *kind_of(const char *type)
{
    const char *dot = strrchr(type, '.');
    return dot ? dot + 1 : type;
}

static enum err_code take_module(const char *dir, const json_t *module, size_t index,
                                 size_t width, struct modules *out, struct err *err)
{
    char where[64];
    const char *type = NULL, *path = NULL;
    snprintf(where, sizeof where, "%s: module %zu", LIST, index);
    if (!json_is_object(module))
        return err_set(err, ERR_FORMAT, "%s: want an object", where);
    enum err_code code = json_read_string(module, where, "type", &type, err);
    if (code == ERR_OK)
        code = json_read_string(module, where, "path", &path, err);
    if (code != ERR_OK)
        return code;
    const char *kind = kind_of(type);
    if (index == 0 && strcmp(kind, "Transformer") == 0)
        return *path ? err_set(err, ERR_UNSUPPORTED,
                               "%s: the model is in the folder \"%.80s\", not here",
                               where, path)
                     : ERR_OK;
    if (index == 1 && strcmp(kind, "Pooling") == 0)
        return pool(dir, path, width, out, err);
    if (index == 2 && strcmp(kind, "Normalize") == 0) {
        out->normalize = true;
        return ERR_OK;
    }
    return err_set(err, ERR_UNSUPPORTED,
                   "%s: a %.80s here is not served; served: Transformer, Pooling, and "
                   "Normalize or nothing",
                   where, kind);
}

/* A list of the model alone, as a cross-encoder has it, says nothing about vectors. */
static enum err_code read_list(const char *dir, size_t width, struct modules *out,
                               struct err *err)
{
    json_t *root = NULL;
    enum err_code code = json_read_list(dir, LIST, FILE_BYTES, &LIMITS, &root, err);
    if (code == ERR_OK && json_array_size(root) == 0)
        code = err_set(err, ERR_UNSUPPORTED, "%s: no module is there", LIST);
    out->given = json_array_size(root) > 1;
    for (size_t i = 0; code == ERR_OK && i < json_array_size(root); i++)
        code = take_module(dir, json_array_get(root, i), i, width, out, err);
    json_decref(root);
    return code;
}

/* ---- how much is read ------------------------------------------------------------ */

/* Its other keys are the tokenizer's and the model's own, told elsewhere. */
static enum err_code read_length(const char *dir, struct modules *out, struct err *err)
{
    json_t *root = NULL;
    bool lower = false;
    int64_t most = 0;
    enum err_code code = json_read_file(dir, LENGTH, FILE_BYTES, &LIMITS, &root, err);
    if (code == ERR_OK && json_read_has(root, "do_lower_case"))
        code = json_read_bool(root, LENGTH, "do_lower_case", &lower, err);
    if (code == ERR_OK && lower)
        code = err_set(err, ERR_UNSUPPORTED,
                       "%s: do_lower_case true is not served; let the tokenizer's "
                       "normalizer do it",
                       LENGTH);
    if (code == ERR_OK && json_read_has(root, "max_seq_length"))
        code = json_read_integer(root, LENGTH, "max_seq_length",
                                 (struct json_range){1, INT32_MAX}, &most, err);
    out->max_tokens = (size_t)most;
    json_decref(root);
    return code;
}

/* ---- the front door -------------------------------------------------------------- */

enum err_code modules_read(const char *dir, size_t width, struct problems *p,
                           struct modules *out, struct err *err)
{
    enum err_code code = ERR_OK;
    struct modules m = {.pooling = POOL_MEAN};
    if (file_exists(dir, LIST))
        code = read_list(dir, width, &m, err);
    code = problems_take(p, code, err);
    if (code == ERR_OK && file_exists(dir, LENGTH))
        code = problems_take(p, read_length(dir, &m, err), err);
    if (code == ERR_OK)
        *out = m;
    return code;
}
