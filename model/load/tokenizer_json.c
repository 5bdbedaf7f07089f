#include "model/load/tokenizer_json.h"

#include "model/base/mem.h"
#include "model/load/json.h"
#include "model/load/tokenizer_steps.h"

#include <string.h>

/* Gemma's file, the largest in wide use, has 33 MB and 2.3 million values. */
enum { MAX_FILE_BYTES = 48 << 20, MAX_VALUES = 4 << 20, MAX_DEPTH = 64 };
static const struct json_limits limits = {MAX_DEPTH, MAX_VALUES};

static const char where_model[] = "tokenizer.json: model";

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

/* A copy of n bytes in the plan. */
static enum err_code keep(struct tokenizer_plan *p, const char *s, size_t n,
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
    return keep(p, json_string_value(string), json_string_length(string), out, err);
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

/* ---- the model ------------------------------------------------------------------- */

static enum err_code read_vocab(struct tokenizer_plan *p, const json_t *model,
                                struct err *err)
{
    json_t *vocab = NULL;
    enum err_code code = json_read_object(model, where_model, "vocab", &vocab, err);
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
            return err_set(
                err, ERR_FORMAT, "%s: vocab: \"%.60s\": want an id 0 to %d, found %s",
                where_model, key, PLAN_MAX_IDS - 1, json_read_show(value, found));
        }
        if (length > PLAN_MAX_PIECE)
            return err_set(err, ERR_LIMIT,
                           "%s: vocab: \"%.40s...\" has %zu bytes, the limit is %d",
                           where_model, key, length, PLAN_MAX_PIECE);
        code = keep(p, key, length, &piece->text, err);
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
        return err_set(err, ERR_FORMAT, "%s: merges: want two pieces, found %s",
                       where_model, json_read_show(value, found));
    }
    enum err_code code = keep(p, s, (size_t)(blank - s), &out->left, err);
    return code ? code : keep(p, blank + 1, strlen(blank + 1), &out->right, err);
}

static enum err_code read_merges(struct tokenizer_plan *p, const json_t *model,
                                 struct err *err)
{
    json_t *merges = NULL;
    enum err_code code = json_read_array(model, where_model, "merges", &merges, err);
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
    enum err_code code = json_read_string(model, where_model, key, &s, err);
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
    return json_read_bool(model, where_model, key, out, err);
}

static enum err_code read_wordlevel(struct tokenizer_plan *p, const json_t *model,
                                    struct err *err)
{
    static const char *const known[] = {"type", "vocab", "unk_token"};
    enum err_code code = json_read_known(model, where_model, known, 3, err);
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
    enum err_code code = json_read_known(model, where_model, known, 5, err);
    if (code == ERR_OK)
        code = read_text(p, model, "unk_token", &m->unk, err);
    if (code == ERR_OK)
        code = read_text(p, model, "continuing_subword_prefix", &m->prefix, err);
    if (code == ERR_OK)
        code = json_read_integer(model, where_model, "max_input_chars_per_word",
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
    enum err_code code = json_read_known(model, where_model, known, 10, err);
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
                       where_model);
    return code;
}

/* Files of older versions have no type: the keys tell. */
static enum err_code model_type(const json_t *model, size_t *out, struct err *err)
{
    static const char *const names[] = {[MODEL_WORD_LEVEL] = "WordLevel",
                                        [MODEL_WORDPIECE] = "WordPiece",
                                        [MODEL_BPE] = "BPE"};
    if (json_object_get(model, "type"))
        return json_read_choice(model, where_model, "type", names, 3, out, err);
    if (json_object_get(model, "merges"))
        *out = MODEL_BPE;
    else if (json_object_get(model, "max_input_chars_per_word"))
        *out = MODEL_WORDPIECE;
    else if (json_is_object(json_object_get(model, "vocab")))
        *out = MODEL_WORD_LEVEL;
    else
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: it has no type and is none of WordLevel, WordPiece, BPE",
                       where_model);
    return ERR_OK;
}

static enum err_code read_model(struct tokenizer_plan *p, const json_t *root,
                                struct err *err)
{
    json_t *model = NULL;
    size_t kind = 0;
    enum err_code code = json_read_object(root, "tokenizer.json", "model", &model, err);
    if (code == ERR_OK)
        code = model_type(model, &kind, err);
    if (code != ERR_OK)
        return code;
    p->model.kind = (enum model_kind)kind;
    code = read_vocab(p, model, err);
    if (code != ERR_OK)
        return code;
    if (kind == MODEL_BPE)
        return read_bpe(p, model, err);
    return kind == MODEL_WORDPIECE ? read_wordpiece(p, model, err)
                                   : read_wordlevel(p, model, err);
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

static enum err_code read_plan(struct tokenizer_plan *p, const json_t *root,
                               struct err *err)
{
    static const char *const versions[] = {"1.0"};
    size_t version;
    enum err_code code =
        json_read_choice(root, "tokenizer.json", "version", versions, 1, &version, err);
    if (code == ERR_OK)
        code = read_model(p, root, err);
    if (code == ERR_OK)
        code = read_added(p, root, err);
    if (code == ERR_OK)
        code = plan_normalizers(p, json_object_get(root, "normalizer"), err);
    if (code == ERR_OK)
        code = plan_splitters(p, json_object_get(root, "pre_tokenizer"), err);
    if (code == ERR_OK)
        code = plan_decoders(p, json_object_get(root, "decoder"), err);
    if (code == ERR_OK)
        code = plan_post(p, json_object_get(root, "post_processor"), err);
    return code;
}

/* Takes root's reference. */
static enum err_code finish(json_t *take_root, struct tokenizer_plan *out,
                            struct err *err)
{
    struct tokenizer_plan p = {0};
    enum err_code code = read_plan(&p, take_root, err);
    json_decref(take_root);
    if (code == ERR_OK)
        *out = p;
    else
        tokenizer_plan_done(&p);
    return code;
}

enum err_code tokenizer_plan_read(const char *dir, struct tokenizer_plan *out,
                                  struct err *err)
{
    json_t *root = NULL;
    enum err_code code =
        json_read_file(dir, "tokenizer.json", MAX_FILE_BYTES, &limits, &root, err);
    return code ? code : finish(root, out, err);
}

enum err_code tokenizer_plan_parse(const char *text, size_t n, struct tokenizer_plan *out,
                                   struct err *err)
{
    json_t *root = NULL;
    enum err_code code = json_read_text("tokenizer.json", text, n, &limits, &root, err);
    return code ? code : finish(root, out, err);
}
