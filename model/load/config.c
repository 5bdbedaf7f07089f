#include "model/load/config.h"

#include "model/base/mem.h"
#include "model/load/config_keys.h"
#include "model/load/file.h"
#include "model/load/json.h"
#include "model/load/labels.h"
#include "model/load/token_ids.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static const char *const NAME = "config.json";

static const struct json_limits LIMITS = {.max_depth = 16, .max_values = 100000};

enum { CONFIG_BYTES = 4 << 20, CHOICES_MAX = 16 };

/* No sane model has more parameters; keeps every later product far from wrapping. */
static const size_t PARAMS_MAX = (size_t)1 << 40;

/* ---- one key of a table ------------------------------------------------------------ */

_Static_assert(sizeof(enum act) == sizeof(unsigned), "a choice is stored as unsigned");

static void *field(struct config *c, const struct config_key *key)
{
    return (char *)c + key->offset;
}

static enum err_code read_size(const json_t *root, const struct config_key *key,
                               struct config *c, struct err *err)
{
    struct json_range range = {(int64_t)key->min, (int64_t)key->max};
    int64_t v = 0;
    enum err_code code = json_read_integer(root, NAME, key->name, range, &v, err);
    if (code == ERR_OK)
        *(size_t *)field(c, key) = (size_t)v;
    return code;
}

static enum err_code read_real(const json_t *root, const struct config_key *key,
                               struct config *c, struct err *err)
{
    struct json_reals range = {key->real_min, key->real_max};
    double v = 0;
    enum err_code code = json_read_real(root, NAME, key->name, range, &v, err);
    if (code == ERR_OK)
        *(float *)field(c, key) = (float)v;
    return code;
}

static enum err_code read_bool(const json_t *root, const struct config_key *key,
                               struct config *c, struct err *err)
{
    bool v = false;
    enum err_code code = json_read_bool(root, NAME, key->name, &v, err);
    if (code == ERR_OK)
        *(bool *)field(c, key) = key->kind == KEY_NEGATE ? !v : v;
    return code;
}

static enum err_code read_choice(const json_t *root, const struct config_key *key,
                                 struct config *c, struct err *err)
{
    const char *words[CHOICES_MAX];
    size_t n = 0, which = 0;
    for (; key->choices[n].word; n++) {
        assert(n < CHOICES_MAX);
        words[n] = key->choices[n].word;
    }
    enum err_code code = json_read_choice(root, NAME, key->name, words, n, &which, err);
    if (code == ERR_OK)
        memcpy(field(c, key), &key->choices[which].value, sizeof(unsigned));
    return code;
}

static enum err_code check_only(const json_t *value, const struct config_key *key,
                                struct err *err)
{
    char found[JSON_SHOW_BYTES];
    bool good = key->kind == KEY_EMPTY
                    ? (json_is_object(value) && json_object_size(value) == 0) ||
                          (json_is_array(value) && json_array_size(value) == 0)
                    : strcmp(json_read_show(value, found), key->only) == 0;
    if (good)
        return ERR_OK;
    return err_set(err, ERR_UNSUPPORTED, "%s: %s: %s is not served; served: %s", NAME,
                   key->name, json_read_show(value, found),
                   key->kind == KEY_EMPTY ? "an empty object" : key->only);
}

static void take_fallback(const struct config_key *key, struct config *c)
{
    unsigned choice = (unsigned)key->fallback;
    switch (key->kind) {
    case KEY_SIZE:
        *(size_t *)field(c, key) = key->fallback;
        break;
    case KEY_REAL:
        *(float *)field(c, key) = (float)key->real_fallback;
        break;
    case KEY_BOOL:
    case KEY_NEGATE:
        *(bool *)field(c, key) = key->fallback != 0;
        break;
    case KEY_CHOICE:
        memcpy(field(c, key), &choice, sizeof choice);
        break;
    case KEY_ONLY:
    case KEY_EMPTY:
        break;
    }
}

static enum err_code read_key(const json_t *root, const struct config_key *key,
                              struct config *c, struct err *err)
{
    if (!key->required && !json_read_has(root, key->name)) {
        take_fallback(key, c);
        return ERR_OK;
    }
    switch (key->kind) {
    case KEY_SIZE:
        return read_size(root, key, c, err);
    case KEY_REAL:
        return read_real(root, key, c, err);
    case KEY_BOOL:
    case KEY_NEGATE:
        return read_bool(root, key, c, err);
    case KEY_CHOICE:
        return read_choice(root, key, c, err);
    case KEY_ONLY:
    case KEY_EMPTY:
        return check_only(json_object_get(root, key->name), key, err);
    }
    return err_set(err, ERR_BUG, "%s: key %s has no kind", NAME, key->name);
}

/* ---- all keys of a family ---------------------------------------------------------- */

/* One file being read. */
struct reading {
    const json_t *root;
    const struct config_family *family;
    struct problems *problems; /* NULL: the first one ends it */
    struct config *c;
    bool whole; /* every field has been read */
};

static enum err_code check_known(struct reading *r, struct err *err)
{
    const char *key;
    json_t *value;
    enum err_code code = ERR_OK;
    json_object_foreach((json_t *)r->root, key, value)
    {
        if (code != ERR_OK || json_is_null(value) || config_keys_known(r->family, key))
            continue;
        code = err_set(err, ERR_UNSUPPORTED,
                       "%s: key \"%.100s\" is not known for model_type \"%s\" and might "
                       "change the answer",
                       NAME, key, r->family->model_type);
        code = problems_take(r->problems, code, err);
    }
    return code;
}

/* A failure of something that fills fields: these are then not to be used. */
static enum err_code take(struct reading *r, enum err_code code, struct err *err)
{
    r->whole &= code == ERR_OK;
    return problems_take(r->problems, code, err);
}

static enum err_code read_keys(struct reading *r, struct err *err)
{
    enum err_code code = check_known(r, err);
    for (size_t i = 0; i < r->family->n_keys && code == ERR_OK; i++) {
        const struct config_key *key = &r->family->keys[i];
        code = read_key(r->root, key, r->c, err);
        code = key->kind == KEY_ONLY || key->kind == KEY_EMPTY
                   ? problems_take(r->problems, code, err)
                   : take(r, code, err);
    }
    if (code == ERR_OK && r->whole)
        code = take(r, r->family->check(r->root, r->c, err), err);
    return code;
}

/* Without architectures: the bare model of its type, as AutoModel makes it. */
static enum err_code find_bare(const json_t *root, const struct config_architecture **out,
                               struct err *err)
{
    char text[CONFIG_KEYS_LIST_BYTES], found[JSON_SHOW_BYTES];
    const json_t *value = json_object_get(root, "model_type");
    const char *type = json_string_value(value);
    const struct config_architecture *a = type ? config_keys_bare(type) : NULL;
    if (a) {
        *out = a;
        return ERR_OK;
    }
    if (type && strcmp(type, CONFIG_RNN.model_type) != 0)
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: model_type: %s is not served; served: %s", NAME,
                       json_read_show(value, found), config_keys_served(type, text));
    return err_set(err, ERR_FORMAT, "%s: architectures is missing", NAME);
}

/* The row of architectures[0], which must be the only one and agree with model_type. */
static enum err_code find_architecture(const json_t *root,
                                       const struct config_architecture **out,
                                       struct err *err)
{
    char text[CONFIG_KEYS_LIST_BYTES], found[JSON_SHOW_BYTES];
    json_t *list = NULL;
    if (!json_read_has(root, "architectures"))
        return find_bare(root, out, err);
    enum err_code code = json_read_array(root, NAME, "architectures", &list, err);
    if (code != ERR_OK)
        return code;
    const char *name = json_string_value(json_array_get(list, 0));
    if (json_array_size(list) != 1 || !name)
        return err_set(err, ERR_FORMAT, "%s: architectures: want a list of one name",
                       NAME);
    const struct config_architecture *a = config_keys_find(name);
    const json_t *type = json_object_get(root, "model_type");
    if (!a)
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: architectures: %s is not served; served: %s", NAME,
                       json_read_show(json_array_get(list, 0), found),
                       config_keys_served(json_string_value(type), text));
    if (json_read_has(root, "model_type") &&
        (!json_is_string(type) ||
         strcmp(json_string_value(type), a->family->model_type) != 0))
        return err_set(err, ERR_MISMATCH,
                       "%s: model_type is %s, architecture %s wants "
                       "\"%s\"",
                       NAME, json_read_show(type, found), a->name, a->family->model_type);
    *out = a;
    return ERR_OK;
}

static enum err_code read_ids(struct reading *r, struct err *err)
{
    struct config *c = r->c;
    c->bos_id = c->eos_id = c->pad_id = -1;
    return take(r, token_ids_read(r->root, NAME, c, err), err);
}

/* ---- how large it all is ----------------------------------------------------------- */

/* *sum += rows * columns, or SIZE_MAX for good once it does not fit. */
static void add(size_t *sum, size_t rows, size_t columns)
{
    size_t product;
    if (!mem_mul(rows, columns, &product) || !mem_add(*sum, product, sum))
        *sum = SIZE_MAX;
}

static size_t count_rnn(const struct config *c)
{
    size_t sum = 0, layer = 0, D = c->width, H = c->hidden;
    size_t directions = c->bidirectional ? 2 : 1;
    add(&sum, c->vocab, D);
    add(&layer, 4 * H * directions, D > directions * H ? D : directions * H);
    add(&layer, 4 * H * directions, H);
    add(&sum, c->n_layers, layer);
    add(&sum, c->head == HEAD_LM ? c->vocab : c->n_labels * (c->hops + 1),
        H * directions);
    add(&sum, c->attention_size, H * directions);
    return sum;
}

static size_t count_transformer(const struct config *c)
{
    size_t sum = 0, layer = 0, D = c->width;
    size_t W = c->embedding_width ? c->embedding_width : D;
    bool gated = c->arch == ARCH_LLAMA || c->arch == ARCH_MODERNBERT;
    bool decodes = c->head == HEAD_LM || c->head == HEAD_MASKED_LM;
    add(&sum, c->vocab, W);
    add(&sum, c->n_types, W);
    if (c->rope.kind == ROPE_NONE)
        add(&sum, c->context + c->first_position, W);
    if (W != D)
        add(&sum, W, D);
    add(&layer, 2 * (c->n_heads + c->n_kv_heads) * c->head_width, D);
    add(&layer, (gated ? 3 : 2) * c->mlp_width, D);
    add(&sum, c->n_layers, layer);
    add(&sum, c->n_buckets, c->n_heads);
    if (config_is_encoder(c) && c->head != HEAD_NONE)
        add(&sum, c->head == HEAD_LABELS ? D : W, D);
    add(&sum, c->n_labels, D);
    if (decodes && !c->tied)
        add(&sum, c->vocab, W);
    return sum;
}

/* The parameters of the large matrices; SIZE_MAX if they do not fit. */
static size_t count_params(const struct config *c)
{
    return c->arch == ARCH_RNN ? count_rnn(c) : count_transformer(c);
}

static enum err_code check_total(const struct config *c, struct err *err)
{
    size_t n = count_params(c);
    if (n > PARAMS_MAX)
        return err_set(err, ERR_LIMIT,
                       "%s: sizes that make %s%zu parameters, at most %zu "
                       "are served",
                       NAME, n == SIZE_MAX ? "more than " : "", n, PARAMS_MAX);
    return ERR_OK;
}

/* ---- the front door ---------------------------------------------------------------- */

static enum err_code read_root(struct reading *r, struct err *err)
{
    struct config *c = r->c;
    const struct config_architecture *a = NULL;
    enum err_code code = take(r, find_architecture(r->root, &a, err), err);
    if (code != ERR_OK || !r->whole)
        return code; /* without it no key means anything */
    assert(a);
    r->family = a->family;
    c->arch = a->family->arch;
    c->head = a->head;
    c->family = a->family->model_type;
    snprintf(c->architecture, sizeof c->architecture, "%s", a->name);
    c->unnamed = !json_read_has(r->root, "architectures");
    code = read_keys(r, err);
    if (code == ERR_OK)
        code = read_ids(r, err);
    if (code == ERR_OK && c->head == HEAD_LABELS)
        code = take(r, labels_read(r->root, NAME, c, err), err);
    return code == ERR_OK && r->whole ? take(r, check_total(c, err), err) : code;
}

static enum err_code parse(const char *text, size_t n, struct problems *p,
                           struct config *out, bool *whole, struct err *err)
{
    json_t *root = NULL;
    struct config c = {0};
    struct reading r = {.problems = p, .c = &c, .whole = true};
    enum err_code code =
        take(&r, json_read_text(NAME, text, n, &LIMITS, &root, err), err);
    r.root = root;
    if (code == ERR_OK && root)
        code = read_root(&r, err);
    json_decref(root);
    *whole = code == ERR_OK && r.whole;
    if (*whole)
        *out = c;
    else
        config_done(&c);
    return code;
}

enum err_code config_parse(const char *text, size_t n, struct config *out,
                           struct err *err)
{
    bool whole;
    return parse(text, n, NULL, out, &whole, err);
}

static enum err_code read_file(const char *dir, struct problems *p, struct config *out,
                               bool *whole, struct err *err)
{
    struct file f = {0};
    struct config c = {0};
    enum err_code code = file_read(dir, NAME, CONFIG_BYTES, &f, err);
    *whole = false;
    if (code == ERR_OK)
        code = parse((const char *)f.at, f.n, p, &c, whole, err);
    else
        code = problems_take(p, code, err);
    file_done(&f);
    if (code == ERR_OK && *whole)
        code = problems_take(p, token_ids_override(dir, &c, err), err);
    if (code == ERR_OK && *whole)
        *out = c;
    else
        config_done(&c);
    return code;
}

enum err_code config_read(const char *dir, struct config *out, struct err *err)
{
    bool whole;
    return read_file(dir, NULL, out, &whole, err);
}

enum err_code config_survey(const char *dir, struct problems *p, struct config *out,
                            bool *whole, struct err *err)
{
    *whole = false;
    return read_file(dir, p, out, whole, err);
}

void config_done(struct config *c)
{
    for (size_t i = 0; i < c->n_labels; i++)
        mem_free(c->labels[i]);
    mem_free(c->labels);
    *c = (struct config){0};
}

size_t config_window(const struct config *c, size_t layer)
{
    bool sees_all = c->window_every && layer % c->window_every == 0;
    return sees_all || layer < c->first_window ? 0 : c->window;
}
