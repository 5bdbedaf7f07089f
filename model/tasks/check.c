#include "model/load/config.h"
#include "model/load/weights.h"
#include "model/nets/cache.h"
#include "model/tasks/model.h"

#include <string.h>

/* ---- do the files fit each other ------------------------------------------------- */

enum err_code model_check_fit(const struct config *cfg, const struct tokenizer *tok,
                              struct problems *p, struct err *err)
{
    size_t before, after, size = tokenizer_size(tok);
    enum err_code code = ERR_OK;
    if (size > cfg->vocab)
        code = err_set(err, ERR_MISMATCH,
                       "tokenizer.json has ids up to %zu, config.json vocab_size is %zu",
                       size - 1, cfg->vocab);
    code = problems_take(p, code, err);
    if (code != ERR_OK)
        return code;
    if (cfg->head == HEAD_MASKED_LM && tokenizer_role(tok, TOKENIZER_MASK) < 0)
        code = err_set(err, ERR_MISMATCH,
                       "config.json: a %s predicts what a mask token stands for, but the "
                       "tokenizer has none",
                       cfg->architecture);
    code = problems_take(p, code, err);
    if (code != ERR_OK)
        return code;
    tokenizer_template(tok, &before, &after);
    /* Room for the specials, one token of text and the tokens of a searched word. */
    size_t least = before + after + 1 + (cfg->head == HEAD_LM ? SEQ_WORD_TOKENS : 0);
    if (cfg->context && cfg->context < least)
        code = err_set(err, ERR_UNSUPPORTED,
                       "config.json: a context of %zu positions is too short, %zu is the "
                       "least that is served",
                       cfg->context, least);
    return problems_take(p, code, err);
}

enum err_code model_check_modules(const struct modules *m, const struct tokenizer *tok,
                                  struct problems *p, struct err *err)
{
    size_t before, after;
    enum err_code code = ERR_OK;
    tokenizer_template(tok, &before, &after);
    if (m->max_tokens && m->max_tokens < before + after + 1)
        code = err_set(err, ERR_UNSUPPORTED,
                       "sentence_bert_config.json: a max_seq_length of %zu is too short, "
                       "%zu is the least that is served",
                       m->max_tokens, before + after + 1);
    return problems_take(p, code, err);
}

/* ---- all that is wrong ----------------------------------------------------------- */

/* The tensors: that they can be listed, and if the config is whole, that they are those
 * that it asks for. */
static enum err_code survey_weights(const char *dir, struct config *cfg, bool whole,
                                    const struct kernels *k, struct problems *p,
                                    struct err *err)
{
    struct weights *w = NULL;
    enum err_code code = weights_survey(dir, p, &w, err);
    if (code == ERR_OK && w && whole)
        code = net_survey(cfg, w, k, err);
    weights_close(w);
    return code;
}

/* The tokenizer, and how vectors are made of what it reads. */
static enum err_code survey_tokenizer(const char *dir, const struct config *cfg,
                                      bool whole, struct problems *p, struct err *err)
{
    struct tokenizer *tok = NULL;
    struct modules modules = {0};
    enum err_code code = tokenizer_survey(dir, p, &tok, err);
    if (code == ERR_OK && tok && whole)
        code = model_check_fit(cfg, tok, p, err);
    if (code == ERR_OK && whole)
        code = modules_read(dir, config_row_width(cfg), p, &modules, err);
    if (code == ERR_OK && tok)
        code = model_check_modules(&modules, tok, p, err);
    tokenizer_free(tok);
    return code;
}

static enum err_code survey(const char *dir, const struct kernels *k, struct problems *p,
                            struct err *err)
{
    struct config cfg = {0};
    bool whole = false;
    enum err_code code = config_survey(dir, p, &cfg, &whole, err);
    if (code == ERR_OK)
        code = survey_weights(dir, &cfg, whole, k, p, err);
    if (code == ERR_OK)
        code = survey_tokenizer(dir, &cfg, whole, p, err);
    config_done(&cfg);
    return code;
}

/* ---- what a good one takes and knows --------------------------------------------- */

static void add_special(struct seq_report *r, const struct seq_model *m, const char *name,
                        int32_t id)
{
    struct seq_special *s = &r->specials[r->n_specials];
    if (id < 0)
        return;
    s->name = name;
    s->id = id;
    s->piece = tokenizer_piece(m->tok, id, &s->n);
    if (s->piece)
        r->n_specials++;
}

static void list_specials(struct seq_report *r, const struct seq_model *m)
{
    static const struct {
        enum tokenizer_role role;
        const char *name;
    } roles[SEQ_SPECIALS] = {{TOKENIZER_BOS, "bos"}, {TOKENIZER_EOS, "eos"},
                             {TOKENIZER_CLS, "cls"}, {TOKENIZER_SEP, "sep"},
                             {TOKENIZER_PAD, "pad"}, {TOKENIZER_MASK, "mask"},
                             {TOKENIZER_UNK, "unk"}};
    const struct config *cfg = &m->net->cfg;
    for (size_t i = 0; i < SEQ_SPECIALS; i++) {
        int32_t id = tokenizer_role(m->tok, roles[i].role);
        if (roles[i].role == TOKENIZER_BOS && id < 0)
            id = cfg->bos_id;
        if (roles[i].role == TOKENIZER_EOS && id < 0)
            id = cfg->eos_id;
        if (roles[i].role == TOKENIZER_PAD && id < 0)
            id = cfg->pad_id;
        if (roles[i].role == TOKENIZER_UNK && id < 0)
            id = tokenizer_unk(m->tok);
        add_special(r, m, roles[i].name, id);
    }
}

/* What a state takes that holds a full context. The cache of a decoder grows by one block
 * with every CACHE_BLOCK positions, states of recurrent nets don't grow. */
static enum err_code count_state(const struct seq_model *m, size_t *out, struct err *err)
{
    const struct config *cfg = &m->net->cfg;
    struct seq_state *s = NULL;
    *out = 0;
    if (!(m->info.tasks & SEQ_STATES))
        return ERR_OK;
    enum err_code code = seq_state_new(m, &s, err);
    if (code != ERR_OK)
        return code;
    size_t empty = seq_state_bytes(s);
    if (cfg->arch != ARCH_RNN)
        code = cache_reserve((struct cache *)s->net, 1, err);
    size_t block = seq_state_bytes(s) - empty;
    *out = empty + (cfg->context + CACHE_BLOCK - 1) / CACHE_BLOCK * block;
    seq_state_free(s);
    return code;
}

static const char *note_of(const struct config *cfg)
{
    if (cfg->unnamed)
        return "config.json has no architectures: served without a head";
    if (cfg->beheaded)
        return "the head that architectures names is not in the file: served without it";
    return NULL;
}

/* One pass over one text alone, as seq_classify or seq_feed make it. */
static void count_scratch(const struct seq_model *m, struct seq_report *r)
{
    enum { TOKENS_WITHOUT_LIMIT = 512 };
    const struct net *n = m->net;
    size_t T = n->cfg.context ? n->cfg.context : TOKENS_WITHOUT_LIMIT;
    r->scratch_tokens = T;
    if (n->cfg.head == HEAD_LABELS)
        r->scratch_bytes = batch_bytes(1, T) + arena_float_cost(n->cfg.n_labels) +
                           n->ops->scratch_bytes(n, 1, T, T, NET_LABELS);
    else
        r->scratch_bytes = model_pass_bytes(m, 1, T, T);
}

/* ---- the front door -------------------------------------------------------------- */

/* Loads what the survey found nothing against: it has not looked at the numbers. */
static enum err_code load(const char *dir, const struct seq_load_options *opt,
                          struct problems *p, struct seq_report *out, struct err *err)
{
    struct seq_report r = {0};
    enum err_code code = problems_take(p, seq_model_load(dir, opt, &r.model, err), err);
    if (code != ERR_OK || !r.model)
        return code;
    r.note = note_of(&r.model->net->cfg);
    list_specials(&r, r.model);
    count_scratch(r.model, &r);
    code = count_state(r.model, &r.state_bytes, err);
    if (code == ERR_OK)
        *out = r;
    else
        seq_model_unref(r.model);
    return code;
}

enum err_code seq_check(const char *dir, const struct seq_load_options *opt,
                        const struct seq_check_hooks *hooks, struct seq_report *out,
                        struct err *err)
{
    struct problems p = {.found = hooks->found, .arg = hooks->arg};
    const struct kernels *k;
    enum err_code code = model_kernels(opt, &k, err);
    if (code == ERR_OK)
        code = survey(dir, k, &p, err);
    if (code == ERR_OK && p.n == 0) {
        if (hooks->loading)
            hooks->loading(hooks->arg);
        code = load(dir, opt, &p, out, err);
    }
    if (code != ERR_OK || p.n == 0)
        return code;
    *err = p.first;
    return p.first.code;
}
