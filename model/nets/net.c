#include "model/nets/net.h"

#include "model/base/mem.h"
#include "model/nets/bert.h"
#include "model/nets/builder.h"
#include "model/nets/decoder.h"
#include "model/nets/gpt2.h"
#include "model/nets/layers.h"
#include "model/nets/llama.h"
#include "model/nets/modernbert.h"
#include "model/nets/rnn.h"

/* One row per architecture. */
static const struct row {
    enum arch arch;
    size_t (*size)(void);
    void (*load)(struct net *n, struct builder *b);
} table[] = {
    {ARCH_RNN, rnn_size, rnn_load},
    {ARCH_GPT2, decoder_size, gpt2_load},
    {ARCH_LLAMA, decoder_size, llama_load},
    {ARCH_BERT, bert_size, bert_load},
    {ARCH_MODERNBERT, modernbert_size, modernbert_load},
};

static const struct row *find(enum arch arch)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].arch == arch)
            return &table[i];
    return NULL;
}

/* Lists what the net is made of, then fills it. */
static enum err_code build(struct net *n, const struct row *row, struct builder *b,
                           size_t threads)
{
    b->rc = packing_new(&b->packing, b->err);
    if (b->rc == ERR_OK)
        row->load(n, b);
    if (b->rc == ERR_OK)
        b->rc = weights_finish(b->w, b->err);
    if (b->rc == ERR_OK)
        b->rc = packing_run(b->packing, b->k, threads, &n->packed, b->err);
    if (b->rc == ERR_OK)
        b->rc = weights_check_end(b->w, b->err);
    packing_free(b->packing);
    n->resident_bytes = b->bytes + n->packed.used;
    n->int8_width = b->int8_width;
    return b->rc;
}

enum err_code net_load(struct config *take_cfg, struct weights *w,
                       const struct kernels *k, enum precision precision, size_t threads,
                       struct net **out, struct err *err)
{
    struct builder b = {.w = w, .k = k, .precision = precision, .err = err};
    const struct row *row = find(take_cfg->arch);
    struct net *n = row ? mem_zero(1, row->size()) : NULL;
    if (!n) {
        config_done(take_cfg);
        *take_cfg = (struct config){0};
        return row ? err_set(err, ERR_NOMEM, "out of memory: net")
                   : err_set(err, ERR_BUG, "an architecture without a net");
    }
    n->k = k;
    n->precision = precision;
    n->cfg = *take_cfg;
    *take_cfg = (struct config){0};
    enum err_code code = build(n, row, &b, threads);
    if (code == ERR_OK)
        *out = n;
    else
        net_free(n);
    return code;
}

enum err_code net_survey(struct config *cfg, struct weights *w, const struct kernels *k,
                         struct err *err)
{
    struct builder b = {.w = w, .k = k, .err = err};
    const struct row *row = find(cfg->arch);
    if (!row)
        return err_set(err, ERR_BUG, "an architecture without a net");
    struct net *n = mem_zero(1, row->size());
    if (!n)
        return err_set(err, ERR_NOMEM, "out of memory: net");
    n->k = k;
    n->cfg = *cfg; /* borrowed */
    row->load(n, &b);
    if (b.rc == ERR_OK)
        b.rc = weights_finish(w, err);
    cfg->head = n->cfg.head;
    if (n->ops)
        n->ops->done(n);
    mem_free(n);
    return b.rc;
}

size_t net_logits_bytes(const struct net *n, size_t R)
{
    return arena_float_cost(layer_int8_floats(n, R));
}

void net_free(struct net *n)
{
    if (!n)
        return;
    if (n->ops)
        n->ops->done(n);
    packed_done(&n->packed);
    config_done(&n->cfg);
    mem_free(n);
}
