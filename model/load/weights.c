#include "model/load/weights.h"

#include "model/base/mem.h"
#include "model/load/dtype.h"
#include "model/load/file.h"
#include "model/load/json.h"
#include "model/load/safetensors.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const SINGLE = "model.safetensors";
static const char *const INDEX = "model.safetensors.index.json";

static const struct json_limits INDEX_LIMITS = {.max_depth = 8, .max_values = 300000};

enum { INDEX_BYTES = 16 << 20, SHARDS_MAX = 1000 };

static const size_t SHARD_BYTES = (size_t)64 << 30;

/* Floats are made of this many bytes at a time: they stay in the first-level caches. */
enum { CHUNK_BYTES = 1 << 15 };

/* One file, open until the end. */
struct shard {
    char *name;
    struct file_reader file;
    struct safetensors header;
};

struct weights_tensor {
    const struct safetensor *tensor;
    const struct shard *shard;
    bool used, ignored;
};

struct weights {
    struct shard *shards;
    size_t n_shards;
    struct weights_tensor *entries; /* of all shards, sorted by name */
    size_t n;
    const char *source; /* the file that lists the tensors, for messages */
    char prefix[WEIGHTS_PREFIX_BYTES];
    struct problems *problems; /* of a survey */
};

/* ---- opening ----------------------------------------------------------------------- */

static enum err_code no_memory(const char *name, struct err *err)
{
    return err_set(err, ERR_NOMEM, "%s: no memory", name);
}

static enum err_code read_header(struct shard *s, struct err *err)
{
    unsigned char first[SAFETENSORS_FIRST], *bytes = NULL;
    size_t n = s->file.n < sizeof first ? s->file.n : sizeof first, front = 0;
    enum err_code code = file_read_part(&s->file, s->name, 0, n, first, err);
    if (code == ERR_OK)
        code = safetensors_front(s->name, first, s->file.n, &front, err);
    if (code != ERR_OK)
        return code;
    bytes = mem_alloc(front, 1);
    if (!bytes)
        return no_memory(s->name, err);
    memcpy(bytes, first, n); /* not read again: the length was proved */
    code = file_read_part(&s->file, s->name, n, front - n, bytes + n, err);
    if (code == ERR_OK)
        code = safetensors_parse(s->name, bytes, s->file.n, &s->header, err);
    mem_free(bytes);
    return code;
}

static enum err_code shard_open(const char *dir, const char *name, struct shard *s,
                                struct err *err)
{
    s->name = mem_copy(name, strlen(name));
    if (!s->name)
        return no_memory(name, err);
    enum err_code code = file_open(dir, name, SHARD_BYTES, &s->file, err);
    return code == ERR_OK ? read_header(s, err) : code;
}

static int by_name(const void *a, const void *b)
{
    const struct weights_tensor *x = a, *y = b;
    return strcmp(x->tensor->name, y->tensor->name);
}

/* Lists the tensors of all shards, whose names are known to be unique. */
static enum err_code list_entries(struct weights *w, struct err *err)
{
    size_t total = 0;
    for (size_t i = 0; i < w->n_shards; i++)
        total += w->shards[i].header.n;
    w->entries = mem_zero(total, sizeof *w->entries);
    if (!w->entries)
        return no_memory(w->source, err);
    for (size_t i = 0; i < w->n_shards; i++) {
        const struct shard *s = &w->shards[i];
        for (size_t k = 0; k < s->header.n; k++)
            w->entries[w->n++] =
                (struct weights_tensor){.tensor = &s->header.tensors[k], .shard = s};
    }
    qsort(w->entries, w->n, sizeof *w->entries, by_name);
    return ERR_OK;
}

static enum err_code open_single(struct weights *w, const char *dir, struct err *err)
{
    w->source = SINGLE;
    w->shards = mem_zero(1, sizeof *w->shards);
    if (!w->shards)
        return no_memory(SINGLE, err);
    w->n_shards = 1;
    return shard_open(dir, SINGLE, &w->shards[0], err);
}

static bool ends_with(const char *s, const char *suffix)
{
    size_t n = strlen(s), k = strlen(suffix);
    return n >= k && strcmp(s + n - k, suffix) == 0;
}

/* Opens the shard called `file` unless it is open already. */
static enum err_code add_shard(struct weights *w, const char *dir, const char *key,
                               const json_t *file, struct err *err)
{
    char found[JSON_SHOW_BYTES];
    const char *name = json_string_value(file);
    if (!name || !file_is_basename(name) || !ends_with(name, ".safetensors"))
        return err_set(err, ERR_FORMAT,
                       "%s: tensor %.120s: want the plain name of a "
                       ".safetensors file, found %s",
                       INDEX, key, json_read_show(file, found));
    for (size_t i = 0; i < w->n_shards; i++)
        if (strcmp(w->shards[i].name, name) == 0)
            return ERR_OK;
    if (w->n_shards == SHARDS_MAX)
        return err_set(err, ERR_LIMIT, "%s: more than %d files", INDEX, SHARDS_MAX);
    return shard_open(dir, name, &w->shards[w->n_shards++], err);
}

static bool shard_has(const struct shard *s, const char *name)
{
    for (size_t lo = 0, hi = s->header.n; lo < hi;) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(name, s->header.tensors[mid].name);
        if (c == 0)
            return true;
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return false;
}

/* Every tensor of the shard is listed as being in this shard; hence no tensor is in two.
 */
static enum err_code check_listed(const struct shard *s, const json_t *map,
                                  struct problems *p, struct err *err)
{
    enum err_code code = ERR_OK;
    for (size_t i = 0; i < s->header.n && code == ERR_OK; i++) {
        const char *tensor = s->header.tensors[i].name;
        const json_t *file = json_object_get(map, tensor);
        char found[JSON_SHOW_BYTES];
        if (!file || strcmp(json_string_value(file), s->name) != 0)
            code = err_set(err, ERR_MISMATCH,
                           "%.80s: has tensor %.120s, for which %s says %s", s->name,
                           tensor, INDEX, json_read_show(file, found));
        code = problems_take(p, code, err);
    }
    return code;
}

/* Every tensor that the index lists is in the shard it names. */
static enum err_code check_present(const struct weights *w, const json_t *map,
                                   struct err *err)
{
    const char *key;
    json_t *file;
    enum err_code code = ERR_OK;
    json_object_foreach((json_t *)map, key, file)
    {
        const struct shard *s = w->shards;
        while (strcmp(s->name, json_string_value(file)) != 0)
            s++;
        if (code == ERR_OK && !shard_has(s, key)) {
            code = err_set(err, ERR_MISMATCH,
                           "%s: tensor %.120s is said to be in %.80s, "
                           "which does not have it",
                           INDEX, key, s->name);
            code = problems_take(w->problems, code, err);
        }
    }
    return code;
}

/* A survey goes on behind a file that can't be read, but what is in which file can only
 * be judged with all of them. */
static enum err_code open_map(struct weights *w, const char *dir, const json_t *map,
                              struct err *err)
{
    const char *key;
    json_t *file;
    enum err_code code = ERR_OK;
    size_t before = w->problems ? w->problems->n : 0;
    json_object_foreach((json_t *)map, key, file)
    {
        if (code == ERR_OK)
            code = problems_take(w->problems, add_shard(w, dir, key, file, err), err);
    }
    if (code != ERR_OK || (w->problems && w->problems->n > before))
        return code;
    for (size_t i = 0; i < w->n_shards && code == ERR_OK; i++)
        code = check_listed(&w->shards[i], map, w->problems, err);
    return code == ERR_OK ? check_present(w, map, err) : code;
}

static enum err_code open_sharded(struct weights *w, const char *dir, struct err *err)
{
    w->source = INDEX;
    w->shards = mem_zero(SHARDS_MAX, sizeof *w->shards);
    if (!w->shards)
        return no_memory(INDEX, err);
    json_t *root = NULL, *map = NULL;
    enum err_code code =
        json_read_file(dir, INDEX, INDEX_BYTES, &INDEX_LIMITS, &root, err);
    if (code == ERR_OK)
        code = json_read_object(root, INDEX, "weight_map", &map, err);
    if (code == ERR_OK)
        code = open_map(w, dir, map, err);
    json_decref(root);
    return code;
}

/* The first pickle file of the folder, NULL if there is none. */
static const char *find_pickle(const char *dir)
{
    static const char *const names[] = {
        "pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "model.pth"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (file_exists(dir, names[i]))
            return names[i];
    return NULL;
}

static enum err_code open_any(struct weights *w, const char *dir, struct err *err)
{
    const char *pickle = find_pickle(dir);
    if (file_exists(dir, SINGLE) || (!file_exists(dir, INDEX) && !pickle))
        return open_single(w, dir, err);
    if (file_exists(dir, INDEX))
        return open_sharded(w, dir, err);
    return err_set(
        err, ERR_UNSUPPORTED,
        "%s is here but %s is not, and pickle files are never read. Convert it: "
        "python3 -c \"import torch, safetensors.torch as s; "
        "d = torch.load('%s', map_location='cpu', weights_only=True); "
        "s.save_file({k: v.clone().contiguous() for k, v in d.items()}, '%s')\"",
        pickle, SINGLE, pickle, SINGLE);
}

static enum err_code open_new(const char *dir, struct problems *p, struct weights **out,
                              struct err *err)
{
    struct weights *w = mem_zero(1, sizeof *w);
    if (!w)
        return no_memory(SINGLE, err);
    w->problems = p;
    enum err_code code = open_any(w, dir, err);
    if (code == ERR_OK)
        code = list_entries(w, err);
    if (code != ERR_OK) {
        weights_close(w);
        return code;
    }
    *out = w;
    return ERR_OK;
}

enum err_code weights_open(const char *dir, struct weights **out, struct err *err)
{
    return open_new(dir, NULL, out, err);
}

enum err_code weights_survey(const char *dir, struct problems *p, struct weights **out,
                             struct err *err)
{
    struct weights *w = NULL;
    size_t before = p->n;
    enum err_code code = problems_take(p, open_new(dir, p, &w, err), err);
    if (code == ERR_OK && p->n == before)
        *out = w;
    else
        weights_close(w);
    return code;
}

struct problems *weights_problems(const struct weights *w)
{
    return w->problems;
}

void weights_close(struct weights *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->n_shards; i++) {
        safetensors_done(&w->shards[i].header);
        file_close(&w->shards[i].file);
        mem_free(w->shards[i].name);
    }
    mem_free(w->shards);
    mem_free(w->entries);
    mem_free(w);
}

/* ---- looking up -------------------------------------------------------------------- */

void weights_prefix(struct weights *w, const char *prefix)
{
    size_t k = strlen(prefix);
    assert(k < WEIGHTS_PREFIX_BYTES);
    w->prefix[0] = '\0';
    for (size_t i = 0; i < w->n; i++) {
        if (strncmp(w->entries[i].tensor->name, prefix, k) == 0) {
            memcpy(w->prefix, prefix, k + 1);
            return;
        }
    }
}

const char *weights_prefix_now(const struct weights *w)
{
    return w->prefix;
}

/* strcmp of prefix+name with the entry's name. */
static int compare(const struct weights *w, const char *name,
                   const struct weights_tensor *e)
{
    size_t k = strlen(w->prefix);
    int c = strncmp(w->prefix, e->tensor->name, k);
    return c ? c : strcmp(name, e->tensor->name + k);
}

static struct weights_tensor *find(const struct weights *w, const char *name)
{
    for (size_t lo = 0, hi = w->n; lo < hi;) {
        size_t mid = lo + (hi - lo) / 2;
        int c = compare(w, name, &w->entries[mid]);
        if (c == 0)
            return &w->entries[mid];
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

bool weights_has(const struct weights *w, const char *name)
{
    return find(w, name) != NULL;
}

size_t weights_rows(const struct weights *w, const char *name)
{
    const struct weights_tensor *e = find(w, name);
    return e && e->tensor->rank > 0 ? e->tensor->shape[0] : 0;
}

/* Finds a tensor and checks its shape and dtype. */
static enum err_code find_fit(const struct weights *w, const char *name, size_t rank,
                              const size_t *shape, struct weights_tensor **out,
                              struct err *err)
{
    char want[SAFETENSORS_SHAPE_BYTES], have[SAFETENSORS_SHAPE_BYTES];
    assert(rank >= 1 && rank <= 4);
    safetensors_shape(shape, rank, want);
    struct weights_tensor *e = find(w, name);
    if (!e)
        return err_set(err, ERR_MISMATCH,
                       "%s: tensor %s%s is missing, config.json wants %s", w->source,
                       w->prefix, name, want);
    *out = e;
    const struct safetensor *t = e->tensor;
    if (!dtype_is_float(t->dtype))
        return err_set(err, ERR_UNSUPPORTED,
                       "%.80s: tensor %.120s: unsupported dtype %s, "
                       "want F32, F16 or BF16",
                       e->shard->name, t->name, dtype_name(t->dtype));
    if (t->rank != rank || memcmp(t->shape, shape, rank * sizeof *shape) != 0)
        return err_set(err, ERR_MISMATCH,
                       "%.80s: tensor %.120s: shape %s, config.json wants "
                       "%s",
                       e->shard->name, t->name,
                       safetensors_shape(t->shape, t->rank, have), want);
    return ERR_OK;
}

enum err_code weights_find(struct weights *w, const char *name, size_t rank,
                           const size_t *shape, const struct weights_tensor **out,
                           struct err *err)
{
    struct weights_tensor *e = NULL;
    enum err_code code = find_fit(w, name, rank, shape, &e, err);
    if (e)
        e->used = true; /* even if it doesn't fit: nobody else asks for it */
    if (w->problems)
        return problems_take(w->problems, code, err);
    if (code == ERR_OK)
        *out = e;
    return code;
}

static enum err_code not_finite(const struct weights_tensor *e, size_t i, struct err *err)
{
    return err_set(err, ERR_FORMAT,
                   "%.80s: tensor %.120s: element %zu is NaN or infinite", e->shard->name,
                   e->tensor->name, i);
}

/* Elements first..first+n-1, n at least 1, as they stand in the file. */
static enum err_code read_bytes(const struct weights_tensor *e, size_t first, size_t n,
                                unsigned char *out, struct err *err)
{
    const struct safetensor *t = e->tensor;
    size_t width = dtype_bits(t->dtype) / 8;
    return file_read_part(&e->shard->file, e->shard->name, t->begin + first * width,
                          n * width, out, err);
}

enum dtype weights_tensor_dtype(const struct weights_tensor *e)
{
    return e->tensor->dtype;
}

enum err_code weights_read_stored(const struct weights_tensor *e, size_t first, size_t n,
                                  void *out, struct err *err)
{
    enum dtype dtype = e->tensor->dtype;
    size_t width = dtype_bits(dtype) / 8, some;
    unsigned char *to = out;
    assert(first <= e->tensor->count && n <= e->tensor->count - first);
    for (size_t at = first; n > 0; at += some, to += some * width, n -= some) {
        some = n < CHUNK_BYTES / width ? n : CHUNK_BYTES / width;
        enum err_code code = read_bytes(e, at, some, to, err);
        if (code != ERR_OK)
            return code;
        size_t bad = dtype_find_bad(dtype, to, some);
        if (bad < some)
            return not_finite(e, at + bad, err);
    }
    return ERR_OK;
}

enum err_code weights_read(const struct weights_tensor *e, size_t first, size_t n,
                           float *out, struct err *err)
{
    const struct safetensor *t = e->tensor;
    size_t width = dtype_bits(t->dtype) / 8, some;
    unsigned char chunk[CHUNK_BYTES];
    assert(first <= t->count && n <= t->count - first);
    for (size_t at = first; n > 0; at += some, out += some, n -= some) {
        some = n < sizeof chunk / width ? n : sizeof chunk / width;
        enum err_code code = read_bytes(e, at, some, chunk, err);
        if (code != ERR_OK)
            return code;
        size_t bad = dtype_to_float(t->dtype, chunk, some, out);
        if (bad < some)
            return not_finite(e, at + bad, err);
    }
    return ERR_OK;
}

enum err_code weights_get(struct weights *w, const char *name, size_t rank,
                          const size_t *shape, float *out, struct err *err)
{
    const struct weights_tensor *e = NULL;
    enum err_code code = weights_find(w, name, rank, shape, &e, err);
    if (code != ERR_OK || !e)
        return code;
    return weights_read(e, 0, e->tensor->count, out, err);
}

/* ---- at the end -------------------------------------------------------------------- */

void weights_ignore(struct weights *w, const char *suffix)
{
    for (size_t i = 0; i < w->n; i++)
        if (ends_with(w->entries[i].tensor->name, suffix))
            w->entries[i].ignored = true;
}

enum err_code weights_finish(const struct weights *w, struct err *err)
{
    enum err_code code = ERR_OK;
    for (size_t i = 0; i < w->n && code == ERR_OK; i++) {
        const struct weights_tensor *e = &w->entries[i];
        char have[SAFETENSORS_SHAPE_BYTES];
        if (e->used || e->ignored)
            continue;
        code = err_set(err, ERR_MISMATCH,
                       "%.80s: tensor %.120s %s has no place in the "
                       "model that config.json describes",
                       e->shard->name, e->tensor->name,
                       safetensors_shape(e->tensor->shape, e->tensor->rank, have));
        code = problems_take(w->problems, code, err);
    }
    return code;
}

enum err_code weights_check_end(const struct weights *w, struct err *err)
{
    enum err_code code = ERR_OK;
    for (size_t i = 0; i < w->n_shards && code == ERR_OK; i++)
        code = file_check_end(&w->shards[i].file, w->shards[i].name, err);
    return code;
}

size_t weights_params(const struct weights *w)
{
    size_t sum = 0;
    for (size_t i = 0; i < w->n; i++)
        sum += w->entries[i].used ? w->entries[i].tensor->count : 0;
    return sum;
}

size_t weights_bytes(const struct weights *w)
{
    size_t sum = 0;
    for (size_t i = 0; i < w->n; i++)
        if (w->entries[i].used)
            sum += w->entries[i].tensor->end - w->entries[i].tensor->begin;
    return sum;
}

const char *weights_dtype(const struct weights *w)
{
    const char *name = "none";
    bool any = false;
    for (size_t i = 0; i < w->n; i++) {
        if (!w->entries[i].used)
            continue;
        const char *other = dtype_name(w->entries[i].tensor->dtype);
        if (any && strcmp(name, other) != 0)
            return "mixed";
        name = other;
        any = true;
    }
    return name;
}
