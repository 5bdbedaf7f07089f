#include "model/text/tokenizer.h"

#include "model/base/mem.h"
#include "model/base/utf8.h"
#include "model/load/tokenizer_files.h"
#include "model/text/tokenizer_parts.h"
#include "model/text/unicode.h"

#include <stdlib.h>
#include <string.h>

/* ---- building -------------------------------------------------------------------- */

static enum err_code no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "tokenizer.json: no memory");
}

/* Appends the content of an added token, put through the normalizer, to *out. */
static enum err_code respell(const struct tokenizer *t, const struct plan_added *a,
                             struct text *out, struct err *err)
{
    struct aligned text = {.limit = PLAN_MAX_ADDED_BYTES * MAX_GROWTH + MAX_GROWTH_ROOM};
    struct aligned spare = {.limit = text.limit};
    struct matcher m = {0};
    size_t before = out->n;
    enum err_code code = aligned_add_text(&text, a->content.at, 0, a->content.n, err);
    if (code == ERR_OK)
        code = normalize_apply(&t->normalize, 0, &text, &spare, &m, err);
    if (code == ERR_OK)
        code = text_add(out, text.s, text.n, err);
    if (code == ERR_OK && out->n == before)
        code =
            err_set(err, ERR_UNSUPPORTED,
                    "tokenizer.json: added token \"%.60s\": normalized, nothing is left",
                    a->content.at);
    aligned_done(&text);
    aligned_done(&spare);
    matcher_done(&m);
    return code;
}

static int by_id(const void *a, const void *b)
{
    int32_t left = ((const struct respelled *)a)->id;
    int32_t right = ((const struct respelled *)b)->id;
    return (left > right) - (left < right);
}

static enum err_code respell_all(struct tokenizer *t, const struct tokenizer_plan *plan,
                                 struct err *err)
{
    t->respelled = mem_alloc(plan->n_added, sizeof *t->respelled);
    if (!t->respelled)
        return no_memory(err);
    for (size_t i = 0; i < plan->n_added; i++) {
        const struct plan_added *a = &plan->added[i];
        if (!a->normalized)
            continue;
        struct respelled *r = &t->respelled[t->n_respelled++];
        *r = (struct respelled){.id = a->id, .at = (uint32_t)t->respellings.n};
        enum err_code code = respell(t, a, &t->respellings, err);
        if (code != ERR_OK)
            return code;
        r->n = (uint32_t)(t->respellings.n - r->at);
    }
    qsort(t->respelled, t->n_respelled, sizeof *t->respelled, by_id);
    return ERR_OK;
}

static const struct respelled *find_respelled(const struct tokenizer *t, int32_t id)
{
    struct respelled key = {.id = id};
    return bsearch(&key, t->respelled, t->n_respelled, sizeof key, by_id);
}

static bool is_all_blank(const struct plan_text *s)
{
    size_t len;
    for (size_t at = 0; at < s->n; at += len)
        if (!(unicode_flags(utf8_get(s->at + at, s->n - at, &len)) & UNICODE_SPACE))
            return false;
    return true;
}

static enum err_code put_added(struct tokenizer *t, const struct plan_added *a,
                               struct err *err)
{
    struct added_token token = {a->id, a->single_word, a->lstrip, a->rstrip};
    if ((a->lstrip || a->rstrip) && is_all_blank(&a->content))
        return err_set(
            err, ERR_UNSUPPORTED,
            "tokenizer.json: added token %d: lstrip or rstrip of a token that is "
            "all blanks is not served",
            a->id);
    const struct respelled *r = a->normalized ? find_respelled(t, a->id) : NULL;
    if (r)
        added_put(&t->normal, t->respellings.at + r->at, r->n, token);
    else
        added_put(&t->raw, a->content.at, a->content.n, token);
    return ERR_OK;
}

/* Special tokens first: where two read the same, the first one is found. */
static enum err_code init_added(struct tokenizer *t, const struct tokenizer_plan *plan,
                                struct err *err)
{
    size_t raw = 0;
    for (size_t i = 0; i < plan->n_added; i++)
        raw += plan->added[i].normalized ? 0 : plan->added[i].content.n;
    enum err_code code = respell_all(t, plan, err);
    if (code == ERR_OK)
        code = added_init(&t->raw, raw, err);
    if (code == ERR_OK)
        code = added_init(&t->normal, t->respellings.n, err);
    for (int special = 1; special >= 0; special--)
        for (size_t i = 0; code == ERR_OK && i < plan->n_added; i++)
            if (plan->added[i].special == special)
                code = put_added(t, &plan->added[i], err);
    return code;
}

static enum err_code init_model(struct tokenizer *t, const struct tokenizer_plan *plan,
                                struct err *err)
{
    const struct plan_model *m = &plan->model;
    enum err_code code = ERR_OK;
    t->kind = m->kind;
    switch (m->kind) {
    case MODEL_BPE:
        code = bpe_init(&t->bpe, plan, &t->vocab, err);
        t->unk = t->bpe.unk;
        break;
    case MODEL_WORDPIECE:
        code = wordpiece_init(&t->wordpiece, m, &t->vocab, err);
        t->unk = t->wordpiece.unk;
        break;
    case MODEL_UNIGRAM:
        code = unigram_init(&t->unigram, plan, &t->vocab, err);
        t->unk = t->unigram.unk;
        break;
    case MODEL_WORD_LEVEL:
        t->unk = vocab_find(&t->vocab, m->unk.at, m->unk.n);
        if (t->unk < 0)
            code =
                err_set(err, ERR_MISMATCH,
                        "tokenizer.json: model: unk_token \"%.60s\" is not in its vocab",
                        m->unk.at);
        break;
    }
    return code;
}

static bool is_used(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && (size_t)id < t->vocab.n_ids && t->vocab.flags[id];
}

static enum err_code check_template(const struct tokenizer *t,
                                    const struct plan_template *template, struct err *err)
{
    size_t n = template->n[0] + template->n[1] + template->n[2];
    for (size_t i = 0; i < n; i++)
        if (!is_used(t, template->specials[i].id))
            return err_set(
                err, ERR_MISMATCH,
                "tokenizer.json: post_processor: special token %d is in neither "
                "vocab nor added_tokens",
                template->specials[i].id);
    return ERR_OK;
}

static enum err_code init_post(struct tokenizer *t, const struct tokenizer_plan *plan,
                               struct err *err)
{
    t->post = plan->post;
    enum err_code code = check_template(t, &t->post.single, err);
    return code ? code : check_template(t, &t->post.pair, err);
}

/* How the tokens of a role are spelled where no file says it. */
static const char *const usual[TOKENIZER_ROLES][4] = {
    [TOKENIZER_MASK] = {"[MASK]", "<mask>"},
    [TOKENIZER_BOS] = {"<s>", "<bos>", "[BOS]", "<|begin_of_text|>"},
    [TOKENIZER_EOS] = {"</s>", "<eos>", "[EOS]", "<|endoftext|>"},
    [TOKENIZER_UNK] = {"[UNK]", "<unk>"},
    [TOKENIZER_PAD] = {"[PAD]", "<pad>"},
    [TOKENIZER_SEP] = {"[SEP]", "<sep>"},
    [TOKENIZER_CLS] = {"[CLS]", "<cls>"},
};

static int32_t usual_id(const struct tokenizer *t, size_t role)
{
    for (size_t i = 0; i < 4 && usual[role][i]; i++) {
        const char *s = usual[role][i];
        int32_t id = vocab_find_any(&t->vocab, s, strlen(s));
        if (id >= 0 && (t->vocab.flags[id] & VOCAB_ADDED))
            return id;
    }
    return -1;
}

static void init_roles(struct tokenizer *t, const struct tokenizer_plan *plan)
{
    for (size_t role = 0; role < TOKENIZER_ROLES; role++) {
        const struct plan_text *named = &plan->roles[role];
        int32_t id = named->at ? vocab_find_any(&t->vocab, named->at, named->n) : -1;
        t->roles[role] = id >= 0 ? id : usual_id(t, role);
    }
}

static enum err_code init_bytes(struct tokenizer *t, struct err *err)
{
    t->ends = mem_alloc(t->vocab.n_ids, sizeof *t->ends);
    if (!t->ends)
        return no_memory(err);
    for (size_t id = 0; id < t->vocab.n_ids; id++) {
        size_t n;
        const char *s = tokenizer_piece(t, (int32_t)id, &n);
        enum err_code code = ERR_OK;
        if (s && !(t->vocab.flags[id] & VOCAB_SPECIAL))
            code = decode_bytes(&t->decode, s, n, &t->bytes, err);
        if (code == ERR_OK && t->bytes.n > UINT32_MAX)
            code = err_set(err, ERR_LIMIT,
                           "tokenizer.json: its pieces decode to %zu bytes", t->bytes.n);
        if (code != ERR_OK)
            return code;
        t->ends[id] = (uint32_t)t->bytes.n;
    }
    return text_add(&t->bytes, "", 1, err); /* so that there is a byte to point at */
}

/* With a sink, the parts that need no other are all tried. */
static enum err_code build(struct tokenizer *t, const struct tokenizer_plan *plan,
                           struct problems *problems, struct err *err)
{
    size_t before = problems ? problems->n : 0;
    enum err_code code = vocab_init(&t->vocab, plan, err);
    if (code == ERR_OK)
        code = normalize_init(&t->normalize, plan, err);
    if (code == ERR_OK)
        code = init_added(t, plan, err);
    if (code == ERR_OK)
        code = problems_take(problems, split_init(&t->split, plan, err), err);
    if (code == ERR_OK)
        code = problems_take(problems, init_model(t, plan, err), err);
    if (code == ERR_OK)
        code = problems_take(problems, init_post(t, plan, err), err);
    if (code == ERR_OK)
        code = problems_take(problems, decode_init(&t->decode, plan, err), err);
    if (code != ERR_OK || (problems && problems->n > before))
        return code;
    init_roles(t, plan);
    return init_bytes(t, err);
}

/* Takes the plan. */
static enum err_code finish(struct tokenizer_plan *take_plan, struct problems *problems,
                            struct tokenizer **out, struct err *err)
{
    struct tokenizer *t = mem_zero(1, sizeof *t);
    size_t before = problems ? problems->n : 0;
    enum err_code code = t ? build(t, take_plan, problems, err) : no_memory(err);
    code = problems_take(problems, code, err);
    tokenizer_plan_done(take_plan);
    if (code == ERR_OK && (!problems || problems->n == before))
        *out = t;
    else
        tokenizer_free(t);
    return code;
}

enum err_code tokenizer_load(const char *dir, struct tokenizer **out, struct err *err)
{
    struct tokenizer_plan plan = {0};
    enum err_code code = tokenizer_files_read(dir, &plan, err);
    return code ? code : finish(&plan, NULL, out, err);
}

enum err_code tokenizer_survey(const char *dir, struct problems *p,
                               struct tokenizer **out, struct err *err)
{
    struct tokenizer_plan plan = {0};
    size_t before = p->n;
    enum err_code code = tokenizer_files_survey(dir, p, &plan, err);
    return code || p->n > before ? code : finish(&plan, p, out, err);
}

enum err_code tokenizer_parse(const char *json, size_t n, struct tokenizer **out,
                              struct err *err)
{
    struct tokenizer_plan plan = {0};
    enum err_code code = tokenizer_plan_parse(json, n, &plan, err);
    return code ? code : finish(&plan, NULL, out, err);
}

void tokenizer_free(struct tokenizer *t)
{
    if (!t)
        return;
    added_done(&t->raw);
    added_done(&t->normal);
    normalize_done(&t->normalize);
    split_done(&t->split);
    wordpiece_done(&t->wordpiece);
    bpe_done(&t->bpe);
    unigram_done(&t->unigram);
    decode_done(&t->decode);
    text_done(&t->respellings);
    text_done(&t->bytes);
    mem_free(t->respelled);
    mem_free(t->ends);
    vocab_done(&t->vocab);
    mem_free(t);
}

/* ---- single tokens --------------------------------------------------------------- */

size_t tokenizer_size(const struct tokenizer *t)
{
    return t->vocab.n_ids;
}

const char *tokenizer_piece(const struct tokenizer *t, int32_t id, size_t *n)
{
    *n = 0;
    if (!is_used(t, id))
        return NULL;
    *n = t->vocab.pieces[id].n;
    return t->vocab.pool + t->vocab.pieces[id].at;
}

bool tokenizer_is_special(const struct tokenizer *t, int32_t id)
{
    return is_used(t, id) && (t->vocab.flags[id] & VOCAB_SPECIAL);
}

int32_t tokenizer_id(const struct tokenizer *t, const char *piece, size_t n)
{
    return vocab_find_any(&t->vocab, piece, n);
}

const char *tokenizer_bytes(const struct tokenizer *t, int32_t id, size_t *n)
{
    if (!is_used(t, id)) {
        *n = 0;
        return t->bytes.at;
    }
    size_t begin = id > 0 ? t->ends[id - 1] : 0;
    *n = t->ends[id] - begin;
    return t->bytes.at + begin;
}

bool tokenizer_word_level(const struct tokenizer *t)
{
    return t->kind == MODEL_WORD_LEVEL;
}

int32_t tokenizer_unk(const struct tokenizer *t)
{
    return t->unk;
}

int32_t tokenizer_role(const struct tokenizer *t, enum tokenizer_role role)
{
    return t->roles[role];
}

/* ---- decoding -------------------------------------------------------------------- */

const char *tokenizer_spelling(const struct tokenizer *t, int32_t id, bool skip_special,
                               size_t *n)
{
    const char *s = tokenizer_piece(t, id, n);
    if (!s || (skip_special && tokenizer_is_special(t, id)))
        return NULL;
    const struct respelled *r = find_respelled(t, id);
    if (!r)
        return s;
    *n = r->n;
    return t->respellings.at + r->at;
}

enum err_code tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n,
                               bool skip_special, struct text *out, struct err *err)
{
    struct strings pieces = {0};
    size_t before = out->n;
    enum err_code code = ERR_OK;
    for (size_t i = 0; code == ERR_OK && i < n; i++) {
        size_t length;
        const char *s = tokenizer_spelling(t, ids[i], skip_special, &length);
        if (s)
            code = strings_add(&pieces, s, length, err);
    }
    if (code == ERR_OK)
        code = decode_apply(&t->decode, &pieces, out, err);
    if (code != ERR_OK)
        out->n = before;
    strings_done(&pieces);
    return code;
}
