#include "model/load/tokenizer_json.h"

#include "model/base/mem.h"
#include "model/load/json.h"
#include "model/load/tokenizer_steps.h"

#include <string.h>

/* Gemma's file, the largest in wide use, has 33 MB and 2.3 million values. */
enum { MAX_FILE_BYTES = 48 << 20, MAX_VALUES = 4 << 20, MAX_DEPTH = 64 };
static const struct json_limits limits = {MAX_DEPTH, MAX_VALUES};

/* ---- the plan's memory ----------------------------------------------------------- */

enum { BLOCK_BYTES = 1 << 16, BLOCK_ALIGN = 16 };

/* Memory handed out front to back; the newest block is the list's head. */
struct plan_block {
    struct plan_block *next;
    size_t used, cap;
    _Alignas(BLOCK_ALIGN) char at[];
};

void *plan_alloc(struct tokenizer_plan *p, size_t count, size_t size)
{
    size_t n, whole;
    if (!mem_mul(count, size, &n) || !mem_add(n, BLOCK_ALIGN, &n))
        return NULL;
    n = n / BLOCK_ALIGN * BLOCK_ALIGN;
    struct plan_block *b = p->blocks;
    if (!b || b->cap - b->used < n) {
        size_t cap = n > BLOCK_BYTES ? n : BLOCK_BYTES;
        if (!mem_add(sizeof *b, cap, &whole))
            return NULL;
        b = mem_zero(1, whole);
        if (!b)
            return NULL;
        b->next = p->blocks;
        b->cap = cap;
        p->blocks = b;
    }
    void *out = b->at + b->used;
    b->used += n;
    return out;
}

static enum err_code no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "tokenizer.json: no memory for its plan");
}

enum err_code plan_keep_bytes(struct tokenizer_plan *p, const char *s, size_t n,
                              struct plan_text *out, struct err *err)
{
    char *at = plan_alloc(p, n + 1, 1);
    if (!at)
        return no_memory(err);
    if (n)
        memcpy(at, s, n);
    *out = (struct plan_text){at, n};
    return ERR_OK;
}

enum err_code plan_keep(struct tokenizer_plan *p, const json_t *string,
                        struct plan_text *out, struct err *err)
{
    return plan_keep_bytes(p, json_string_value(string), json_string_length(string), out,
                           err);
}

void tokenizer_plan_done(struct tokenizer_plan *p)
{
    while (p->blocks) {
        struct plan_block *next = p->blocks->next;
        mem_free(p->blocks);
        p->blocks = next;
    }
    *p = (struct tokenizer_plan){0};
}

/* ---- added tokens ---------------------------------------------------------------- */

static enum err_code read_added_flags(const json_t *value, const char *where,
                                      struct plan_added *a, struct err *err)
{
    struct {
        const char *key;
        bool *out;
    } flags[] = {{"single_word", &a->single_word},
                 {"lstrip", &a->lstrip},
                 {"rstrip", &a->rstrip},
                 {"normalized", &a->normalized},
                 {"special", &a->special}};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        enum err_code code =
            json_read_bool(value, where, flags[i].key, flags[i].out, err);
        if (code != ERR_OK)
            return code;
    }
    return ERR_OK;
}

static enum err_code read_added_token(struct tokenizer_plan *p, const json_t *value,
                                      struct plan_added *a, struct err *err)
{
    static const char where[] = "tokenizer.json: added_tokens";
    static const char *const known[] = {"id",     "content", "single_word", "lstrip",
                                        "rstrip", "special", "normalized"};
    const char *content = NULL;
    int64_t id = 0;
    if (!json_is_object(value))
        return err_set(err, ERR_FORMAT, "%s: want objects in the list", where);
    enum err_code code = json_read_known(value, where, known, 7, err);
    if (code == ERR_OK)
        code = json_read_integer(value, where, "id",
                                 (struct json_range){0, PLAN_MAX_IDS - 1}, &id, err);
    if (code == ERR_OK)
        code = json_read_string(value, where, "content", &content, err);
    if (code == ERR_OK)
        code = read_added_flags(value, where, a, err);
    if (code == ERR_OK)
        code = plan_keep(p, json_object_get(value, "content"), &a->content, err);
    if (code != ERR_OK)
        return code;
    a->id = (int32_t)id;
    if (a->content.n == 0 || a->content.n > PLAN_MAX_ADDED_BYTES)
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: id %d: its content has %zu bytes, served are 1 to %d", where,
                       a->id, a->content.n, PLAN_MAX_ADDED_BYTES);
    return ERR_OK;
}

static enum err_code read_added(struct tokenizer_plan *p, const json_t *root,
                                struct err *err)
{
    if (!json_read_has(root, "added_tokens"))
        return ERR_OK;
    json_t *list = NULL;
    enum err_code code =
        json_read_array(root, "tokenizer.json", "added_tokens", &list, err);
    if (code != ERR_OK)
        return code;
    size_t n = json_array_size(list);
    if (n > PLAN_MAX_ADDED)
        return err_set(err, ERR_LIMIT,
                       "tokenizer.json: added_tokens: %zu of them, the limit is %d", n,
                       PLAN_MAX_ADDED);
    p->added = plan_alloc(p, n, sizeof *p->added);
    if (!p->added)
        return no_memory(err);
    for (; p->n_added < n; p->n_added++) {
        code = read_added_token(p, json_array_get(list, p->n_added),
                                &p->added[p->n_added], err);
        if (code != ERR_OK)
            return code;
    }
    return ERR_OK;
}

/* ---- the file -------------------------------------------------------------------- */

static enum err_code read_version(const json_t *root, struct err *err)
{
    static const char *const versions[] = {"1.0"};
    size_t version;
    return json_read_choice(root, "tokenizer.json", "version", versions, 1, &version,
                            err);
}

/* The components say nothing about each other, so that each can be read without the
 * others. */
static enum err_code read_plan(struct tokenizer_plan *p, const json_t *root,
                               struct problems *problems, struct err *err)
{
    enum err_code code = problems_take(problems, read_version(root, err), err);
    if (code == ERR_OK)
        code = problems_take(problems, plan_model(p, root, err), err);
    if (code == ERR_OK)
        code = problems_take(problems, read_added(p, root, err), err);
    static const struct {
        const char *key;
        enum err_code (*read)(struct tokenizer_plan *p, const json_t *value,
                              struct err *err);
    } parts[] = {{"normalizer", plan_normalizers},
                 {"pre_tokenizer", plan_splitters},
                 {"decoder", plan_decoders},
                 {"post_processor", plan_post}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts && code == ERR_OK; i++) {
        code = parts[i].read(p, json_object_get(root, parts[i].key), err);
        code = problems_take(problems, code, err);
    }
    return code;
}

enum err_code plan_read(const json_t *root, struct problems *problems,
                        struct tokenizer_plan *out, struct err *err)
{
    struct tokenizer_plan p = {0};
    enum err_code code = read_plan(&p, root, problems, err);
    if (code == ERR_OK)
        *out = p;
    else
        tokenizer_plan_done(&p);
    return code;
}

enum err_code plan_read_tree(const char *dir, json_t **out, struct err *err)
{
    return json_read_file(dir, "tokenizer.json", MAX_FILE_BYTES, &limits, out, err);
}

enum err_code tokenizer_plan_parse(const char *text, size_t n, struct tokenizer_plan *out,
                                   struct err *err)
{
    json_t *root = NULL;
    enum err_code code = json_read_text("tokenizer.json", text, n, &limits, &root, err);
    if (code == ERR_OK)
        code = plan_read(root, NULL, out, err);
    json_decref(root);
    return code;
}
