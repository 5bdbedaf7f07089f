#include "server/hub/files.h"

#include <stdio.h>
#include <string.h>

#include <jansson.h>

const char FILES_INDEX[] = "model.safetensors.index.json";

static const char SINGLE[] = "model.safetensors";
static const char SUFFIX[] = ".safetensors";

/* Besides the weights, in the order they are fetched; the one in a folder is where
 * sentence-transformers puts it. */
static const char *const WANTED[] = {"config.json",
                                     "generation_config.json",
                                     "tokenizer.json",
                                     "tokenizer_config.json",
                                     "special_tokens_map.json",
                                     "added_tokens.json",
                                     "vocab.txt",
                                     "vocab.json",
                                     "merges.txt",
                                     "modules.json",
                                     "1_Pooling/config.json",
                                     "sentence_bert_config.json"};

static const struct json_limits LIMITS = {.max_depth = 64, .max_values = 2000000};

/* ---- lists ----------------------------------------------------------------------- */

bool files_has(const struct files *f, const char *name)
{
    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->at[i], name) == 0)
            return true;
    return false;
}

void files_done(struct files *f)
{
    mem_free(f->at);
    *f = (struct files){0};
}

static enum err_code add(struct files *f, const char *name, struct err *err)
{
    if (files_has(f, name))
        return ERR_OK;
    if (f->n == FILES_MAX)
        return err_set(err, ERR_LIMIT, "more than %d files", FILES_MAX);
    if (f->n % 16 == 0) {
        void *more = mem_resize(f->at, f->n + 16, sizeof *f->at);
        if (!more)
            return err_set(err, ERR_NOMEM, "out of memory for %zu files", f->n);
        f->at = more;
    }
    memcpy(f->at[f->n++], name, strlen(name) + 1);
    return ERR_OK;
}

/* A name that is safe as a file's name, in a URL and on a terminal. */
static bool is_plain(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789._-";
    size_t n = strlen(name);
    return n > 0 && n < CACHE_FILE_BYTES && name[0] != '.' && strspn(name, letters) == n;
}

static bool ends_with(const char *name, const char *suffix)
{
    size_t n = strlen(name), k = strlen(suffix);
    return n > k && strcmp(name + n - k, suffix) == 0;
}

/* An object; the caller decrefs. */
static enum err_code parse(const char *what, const char *text, size_t n, json_t **out,
                           struct err *err)
{
    json_error_t why;
    enum err_code code = json_scan(text, n, &LIMITS, err);
    if (code != ERR_OK) {
        err_prefix(err, what);
        return code;
    }
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why);
    if (!json_is_object(root)) {
        json_decref(root);
        return err_set(err, ERR_FORMAT, "%s: %s", what, root ? "no object" : why.text);
    }
    *out = root;
    return ERR_OK;
}

/* ---- the repository -------------------------------------------------------------- */

/* What the repository has, as far as it matters here. */
struct present {
    bool wanted[sizeof WANTED / sizeof *WANTED];
    bool single, index, pickle, sentencepiece;
};

static void see(struct present *p, const char *name)
{
    for (size_t i = 0; i < sizeof WANTED / sizeof *WANTED; i++)
        p->wanted[i] |= strcmp(name, WANTED[i]) == 0;
    p->single |= strcmp(name, SINGLE) == 0;
    p->index |= strcmp(name, FILES_INDEX) == 0;
    p->pickle |= strcmp(name, "pytorch_model.bin") == 0;
    p->sentencepiece |= !strchr(name, '/') && ends_with(name, ".model");
}

static bool sees(const struct present *p, const char *name)
{
    for (size_t i = 0; i < sizeof WANTED / sizeof *WANTED; i++)
        if (strcmp(name, WANTED[i]) == 0)
            return p->wanted[i];
    return false;
}

static enum err_code no_weights(const struct present *p, const struct repo *r,
                                char hint[FILES_HINT_BYTES], struct err *err)
{
    if (!p->pickle)
        return err_set(err, ERR_UNSUPPORTED,
                       "%s/%s has neither %s nor an index of shards", r->org, r->name,
                       SINGLE);
    snprintf(hint, FILES_HINT_BYTES,
             "python3 -c \"import torch, huggingface_hub as h, safetensors.torch as s; "
             "p = h.snapshot_download('%s/%s', local_dir='%s', "
             "allow_patterns=['*.json', '*.txt', 'pytorch_model.bin']); "
             "d = torch.load(p + '/pytorch_model.bin', 'cpu', weights_only=True); "
             "s.save_file({k: v.clone().contiguous() for k, v in d.items()}, "
             "p + '/%s')\"",
             r->org, r->name, r->name, SINGLE);
    return err_set(err, ERR_UNSUPPORTED,
                   "%s/%s has no %s, and pickle files are never read", r->org, r->name,
                   SINGLE);
}

static enum err_code no_tokenizer(const struct present *p, const struct repo *r,
                                  char hint[FILES_HINT_BYTES], struct err *err)
{
    if (!p->sentencepiece)
        return err_set(
            err, ERR_UNSUPPORTED,
            "%s/%s has no tokenizer.json, no vocab.txt, and no vocab.json with "
            "merges.txt",
            r->org, r->name);
    snprintf(hint, FILES_HINT_BYTES,
             "python3 -c \"import transformers as t, huggingface_hub as h; "
             "p = h.snapshot_download('%s/%s', local_dir='%s', "
             "allow_patterns=['*.json', '*.txt', '*.model', 'model*.safetensors']); "
             "t.AutoTokenizer.from_pretrained(p).save_pretrained(p)\"",
             r->org, r->name, r->name);
    return err_set(err, ERR_UNSUPPORTED,
                   "%s/%s has a SentencePiece model but no tokenizer.json", r->org,
                   r->name);
}

static enum err_code choose(const struct present *p, const struct repo *r,
                            struct files *out, char hint[FILES_HINT_BYTES],
                            struct err *err)
{
    enum err_code code = ERR_OK;
    if (!sees(p, "config.json"))
        return err_set(err, ERR_UNSUPPORTED,
                       "%s/%s has no config.json: it is no model of the kind seqd serves",
                       r->org, r->name);
    if (!p->single && !p->index)
        return no_weights(p, r, hint, err);
    if (!sees(p, "tokenizer.json") && !sees(p, "vocab.txt") &&
        !(sees(p, "vocab.json") && sees(p, "merges.txt")))
        return no_tokenizer(p, r, hint, err);
    for (size_t i = 0; i < sizeof WANTED / sizeof *WANTED && code == ERR_OK; i++)
        if (p->wanted[i])
            code = add(out, WANTED[i], err);
    return code == ERR_OK ? add(out, p->single ? SINGLE : FILES_INDEX, err) : code;
}

static enum err_code choose_from(const json_t *root, const struct repo *r,
                                 struct files *out, char commit[REPO_COMMIT_BYTES],
                                 char hint[FILES_HINT_BYTES], struct err *err)
{
    struct present p = {0};
    const char *sha = json_string_value(json_object_get(root, "sha"));
    const json_t *siblings = json_object_get(root, "siblings"), *one;
    size_t i;
    if (!sha || !repo_is_commit(sha) || !json_is_array(siblings))
        return err_set(err, ERR_FORMAT,
                       "the hub's answer for %s/%s names no commit and files: is this a "
                       "hub?",
                       r->org, r->name);
    json_array_foreach(siblings, i, one)
    {
        const char *name = json_string_value(json_object_get(one, "rfilename"));
        if (name)
            see(&p, name);
    }
    enum err_code code = choose(&p, r, out, hint, err);
    if (code == ERR_OK)
        memcpy(commit, sha, REPO_COMMIT_BYTES);
    else
        files_done(out);
    return code;
}

enum err_code files_choose(const char *text, size_t n, const struct repo *r,
                           struct files *out, char commit[REPO_COMMIT_BYTES],
                           char hint[FILES_HINT_BYTES], struct err *err)
{
    json_t *root;
    enum err_code code = parse("the hub's answer", text, n, &root, err);
    if (code != ERR_OK)
        return code;
    code = choose_from(root, r, out, commit, hint, err);
    json_decref(root);
    return code;
}

/* ---- shards ---------------------------------------------------------------------- */

static enum err_code add_shard(struct files *f, const char *tensor, const json_t *file,
                               struct err *err)
{
    const char *name = json_string_value(file);
    if (!name || !is_plain(name) || !ends_with(name, SUFFIX))
        return err_set(err, ERR_FORMAT,
                       "%s: tensor %.80s: want the plain name of a .safetensors file, "
                       "found \"%.80s\"",
                       FILES_INDEX, tensor, name ? name : "no string");
    return add(f, name, err);
}

enum err_code files_add_shards(struct files *f, const char *text, size_t n,
                               struct err *err)
{
    json_t *root, *file;
    const char *tensor;
    enum err_code code = parse(FILES_INDEX, text, n, &root, err);
    if (code != ERR_OK)
        return code;
    json_t *map = json_object_get(root, "weight_map");
    if (json_object_size(map) == 0)
        code = err_set(err, ERR_FORMAT, "%s: weight_map: want tensors and their files",
                       FILES_INDEX);
    json_object_foreach(map, tensor, file)
    {
        if (code == ERR_OK)
            code = add_shard(f, tensor, file, err);
    }
    json_decref(root);
    return code;
}
