#include "model/nets/modernbert.h"

#include "model/base/mem.h"
#include "model/nets/encoder.h"
#include "model/nets/rope.h"

struct modernbert_block {
    struct norm attention_norm; /* w NULL in layer 0, which follows a norm */
    struct linear qkv, out;     /* [3D,D], [D,D] */
    struct norm mlp_norm;
    struct mlp mlp; /* gated */
};

struct modernbert {
    struct encoder base;
    struct embedding word; /* [V,D] */
    struct norm norm;
    struct rope rope, window_rope;  /* of layers that see all, of those with a window */
    struct modernbert_block *block; /* [n_layers] */
};

/* ---- loading --------------------------------------------------------------------- */

size_t modernbert_size(void)
{
    return sizeof(struct modernbert);
}

static void load_norm(struct builder *b, const struct config *c, const char *name,
                      struct norm *n)
{
    if (c->norm_bias)
        builder_norm(b, n, name, c->width, c->norm_eps);
    else
        builder_norm_plain(b, n, name, c->width, c->norm_eps, false);
}

static void load_block(struct builder *b, const struct config *c, size_t layer,
                       struct modernbert_block *p)
{
    size_t D = c->width, F = c->mlp_width;
    builder_scope(b, "layers.%zu.", layer);
    if (layer > 0)
        load_norm(b, c, "attn_norm", &p->attention_norm);
    builder_linear_with(b, &p->qkv, "attn.Wqkv", 3 * D, D, c->attention_bias);
    builder_linear_with(b, &p->out, "attn.Wo", D, D, c->attention_bias);
    load_norm(b, c, "mlp_norm", &p->mlp_norm);
    builder_linear_with(b, &p->mlp.up, "mlp.Wi", 2 * F, D, c->mlp_bias);
    builder_linear_with(b, &p->mlp.down, "mlp.Wo", D, F, c->mlp_bias);
    p->mlp.act = layer_act_of(b->k, c->act);
    p->mlp.gated = true;
}

static void modernbert_done(struct encoder *base)
{
    struct modernbert *m = (struct modernbert *)base;
    for (size_t i = 0; m->block && i < base->net.cfg.n_layers; i++) {
        struct modernbert_block *p = &m->block[i];
        norm_done(&p->attention_norm);
        linear_done(&p->qkv);
        linear_done(&p->out);
        norm_done(&p->mlp_norm);
        mlp_done(&p->mlp);
    }
    mem_free(m->block);
    norm_done(&m->norm);
    rope_done(&m->rope);
    rope_done(&m->window_rope);
}

/* ---- a pass ---------------------------------------------------------------------- */

/* The turns of both kinds of layers lie in p->extra, [2,T,E]. */
static void embed(const struct encoder_pass *p)
{
    const struct modernbert *m = (const struct modernbert *)p->m;
    size_t D = m->base.net.cfg.width, E = m->base.net.cfg.head_width;
    for (size_t t = 0; t < p->rows; t++)
        layer_embed(p->exec->k, &m->word, (size_t)p->batch->ids[t], p->x + t * D);
    layer_norm(p->exec, &m->norm, p->rows, p->x, p->x);
    rope_turns(&m->rope, p->batch, p->exec, p->extra);
    rope_turns(&m->window_rope, p->batch, p->exec, p->extra + p->rows * E);
}

/* x += out(attention(norm(x))); x += mlp(norm(x)). */
static void run_block(struct encoder_pass *p, size_t layer, const size_t *picks)
{
    const struct modernbert *m = (const struct modernbert *)p->m;
    const struct modernbert_block *block = &m->block[layer];
    const struct config *c = &m->base.net.cfg;
    bool near = layer % c->window_every != 0;
    const struct rope *rope = near ? &m->window_rope : &m->rope;
    const float *turns = p->extra + (near ? p->rows * c->head_width : 0);
    struct attention a = {
        .layer = layer, .reader = &block->out.w, .window = config_window(c, layer)};
    float *in = p->x;
    if (block->attention_norm.w) {
        layer_norm(p->exec, &block->attention_norm, p->rows, p->x, p->n);
        in = p->n;
    }
    encoder_qkv(p, &block->qkv, picks, in);
    rope_rotate(rope, p->batch->starts[p->batch->B], 2 * c->n_heads, 3 * c->width, turns,
                p->exec, p->qkv);
    encoder_attend(p, &a, picks);
    layer_linear_add(p->exec, &block->out, p->rows, p->n, p->x);
    layer_norm(p->exec, &block->mlp_norm, p->rows, p->x, p->n);
    layer_mlp(p->exec, &block->mlp, p->rows, p->n, p->f, p->x);
}

/* ---- the front door -------------------------------------------------------------- */

void modernbert_load(struct net *n, struct builder *b)
{
    static const struct head_names labels = {"head.dense", "head.norm", "classifier",
                                             "classifier.bias", NULL};
    static const struct head_names masked = {"head.dense", "head.norm", "decoder",
                                             "decoder.bias", NULL};
    struct modernbert *m = (struct modernbert *)n;
    const struct config *c = &n->cfg;
    bool classifies = c->head == HEAD_LABELS;
    struct head_biases biases = {c->head_bias, c->norm_bias,
                                 classifies || c->output_bias};
    head_choose(b, &n->cfg, &masked);
    encoder_init(&m->base);
    m->base.done = modernbert_done;
    m->base.embed = embed;
    m->base.block = run_block;
    m->base.extra_row = 2 * c->head_width;
    weights_prefix(b->w, "model.");
    head_words(b, c, "embeddings.tok_embeddings.weight", &m->word, &m->base.head);
    load_norm(b, c, "embeddings.norm", &m->norm);
    load_norm(b, c, "final_norm", &m->base.norm);
    rope_load(b, &m->rope, &c->rope, c->head_width);
    rope_load(b, &m->window_rope, &c->window_rope, c->head_width);
    m->block = builder_array(b, c->n_layers, sizeof *m->block);
    for (size_t i = 0; i < c->n_layers && b->rc == ERR_OK; i++)
        load_block(b, c, i, &m->block[i]);
    m->base.mlp = m->block ? &m->block[0].mlp : NULL;
    head_load(b, c, classifies ? &labels : &masked, &biases, "",
              "embeddings.tok_embeddings.weight", &m->base.head);
}
