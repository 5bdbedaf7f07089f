#include "model/nets/llama.h"

#include "model/nets/decoder.h"

#include <math.h>

static void load_attention(struct builder *b, const struct config *c,
                           struct decoder_block *block)
{
    size_t D = c->width, E = c->head_width, queries = c->n_heads * E;
    const struct builder_part qkv[] = {{"self_attn.q_proj", queries},
                                       {"self_attn.k_proj", c->n_kv_heads * E},
                                       {"self_attn.v_proj", c->n_kv_heads * E}};
    builder_stack(b, &block->qkv, qkv, 3, D, c->qkv_bias);
    if (c->qk_norm) {
        builder_norm_plain(b, &block->q_norm, "self_attn.q_norm", E, c->norm_eps, true);
        builder_norm_plain(b, &block->k_norm, "self_attn.k_norm", E, c->norm_eps, true);
    }
    builder_linear_with(b, &block->out, "self_attn.o_proj", D, queries,
                        c->attention_bias);
    block->scale = (float)(1 / sqrt((double)E));
}

static void load_block(struct builder *b, const struct config *c, size_t layer,
                       struct decoder_block *block)
{
    size_t D = c->width, F = c->mlp_width;
    const struct builder_part gated[] = {{"mlp.gate_proj", F}, {"mlp.up_proj", F}};
    builder_scope(b, "layers.%zu.", layer);
    builder_norm_plain(b, &block->before, "input_layernorm", D, c->norm_eps, true);
    load_attention(b, c, block);
    builder_norm_plain(b, &block->between, "post_attention_layernorm", D, c->norm_eps,
                       true);
    builder_stack(b, &block->mlp.up, gated, 2, D, c->mlp_bias);
    builder_linear_with(b, &block->mlp.down, "mlp.down_proj", D, F, c->mlp_bias);
    block->mlp.act = layer_act_of(b->k, c->act);
    block->mlp.gated = true;
    block->window = config_window(c, layer);
}

void llama_load(struct net *n, struct builder *b)
{
    struct decoder *d = (struct decoder *)n;
    const struct config *c = &n->cfg;
    decoder_begin(d, b);
    weights_prefix(b->w, "model.");
    /* Frequencies, stored by old versions; what config.json says is computed instead. */
    weights_ignore(b->w, "rotary_emb.inv_freq");
    decoder_words(d, b, "embed_tokens.weight");
    rope_load(b, &d->rope, &c->rope, c->head_width);
    for (size_t i = 0; i < c->n_layers && b->rc == ERR_OK; i++)
        load_block(b, c, i, &d->block[i]);
    builder_scope(b, "%s", "");
    builder_norm_plain(b, &d->norm, "norm", c->width, c->norm_eps, true);
    decoder_head(d, b, "embed_tokens.weight");
}
