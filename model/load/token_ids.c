#include "model/load/token_ids.h"

#include "model/load/file.h"
#include "model/load/json.h"

static const struct json_limits limits = {.max_depth = 16, .max_values = 100000};

enum { MAX_FILE_BYTES = 4 << 20 };

/* An id or a list of ids; keeps those of the vocabulary, at most `room`. */
static enum err_code read_list(const json_t *value, const char *name, const char *key,
                               size_t vocab, int32_t *out, size_t room, size_t *n_out,
                               struct err *err)
{
    size_t n = json_is_array(value) ? json_array_size(value) : 1, kept = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_is_array(value) ? json_array_get(value, i) : value;
        json_int_t id = json_integer_value(v);
        char found[JSON_SHOW_BYTES];
        if (!json_is_integer(v))
            return err_set(err, ERR_FORMAT,
                           "%s: %s: want a token id, a list of them or null, found %s",
                           name, key, json_read_show(v, found));
        if (id < 0 || (uint64_t)id >= vocab)
            continue;
        if (kept == room)
            return err_set(err, ERR_LIMIT, "%s: %s: more than %zu ids", name, key, room);
        out[kept++] = (int32_t)id;
    }
    *n_out = kept;
    return ERR_OK;
}

enum err_code token_ids_read(const json_t *root, const char *name, struct config *c,
                             struct err *err)
{
    const struct {
        const char *key;
        int32_t *id;
    } keys[] = {{"bos_token_id", &c->bos_id},
                {"eos_token_id", &c->eos_id},
                {"pad_token_id", &c->pad_id}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        int32_t ids[CONFIG_MAX_EOS];
        size_t n = 0;
        if (!json_read_has(root, keys[i].key))
            continue;
        enum err_code code =
            read_list(json_object_get(root, keys[i].key), name, keys[i].key, c->vocab,
                      ids, CONFIG_MAX_EOS, &n, err);
        if (code != ERR_OK)
            return code;
        *keys[i].id = n ? ids[0] : -1;
        if (keys[i].id != &c->eos_id)
            continue;
        c->n_eos = n;
        for (size_t k = 0; k < n; k++)
            c->eos_ids[k] = ids[k];
    }
    return ERR_OK;
}

enum err_code token_ids_override(const char *dir, struct config *c, struct err *err)
{
    static const char name[] = "generation_config.json";
    json_t *root = NULL;
    if (!file_exists(dir, name))
        return ERR_OK;
    enum err_code code = json_read_file(dir, name, MAX_FILE_BYTES, &limits, &root, err);
    if (code == ERR_OK)
        code = token_ids_read(root, name, c, err);
    json_decref(root);
    return code;
}
