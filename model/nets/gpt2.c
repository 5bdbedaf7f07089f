#include "model/nets/gpt2.h"

#include "model/nets/decoder.h"

#include <math.h>

static float score_scale(const struct config *c, size_t layer)
{
    double scale = c->unscaled ? 1 : 1 / sqrt((double)c->head_width);
    return (float)(c->scale_by_layer ? scale / (double)(layer + 1) : scale);
}

static void load_block(struct builder *b, const struct config *c, size_t layer,
                       struct decoder_block *block)
{
    size_t D = c->width, F = c->mlp_width;
    builder_scope(b, "h.%zu.", layer);
    builder_norm(b, &block->before, "ln_1", D, c->norm_eps);
    builder_conv1d(b, &block->qkv, "attn.c_attn", 3 * D, D);
    builder_conv1d(b, &block->out, "attn.c_proj", D, D);
    builder_norm(b, &block->between, "ln_2", D, c->norm_eps);
    builder_conv1d(b, &block->mlp.up, "mlp.c_fc", F, D);
    builder_conv1d(b, &block->mlp.down, "mlp.c_proj", D, F);
    block->mlp.act = layer_act_of(b->k, c->act);
    block->scale = score_scale(c, layer);
}

void gpt2_load(struct net *n, struct builder *b)
{
    struct decoder *d = (struct decoder *)n;
    const struct config *c = &n->cfg;
    decoder_begin(d, b);
    weights_prefix(b->w, "transformer.");
    weights_ignore(b->w, ".attn.bias"); /* the causal mask, stored by old versions */
    weights_ignore(b->w, ".attn.masked_bias");
    decoder_words(d, b, "wte.weight");
    builder_embedding(b, &d->positions, "wpe.weight", c->context, c->width);
    for (size_t i = 0; i < c->n_layers && b->rc == ERR_OK; i++)
        load_block(b, c, i, &d->block[i]);
    builder_scope(b, "%s", "");
    builder_norm(b, &d->norm, "ln_f", c->width, c->norm_eps);
    decoder_head(d, b, "wte.weight");
}
