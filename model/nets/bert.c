#include "model/nets/bert.h"

#include "model/base/mem.h"
#include "model/nets/encoder.h"

#include <string.h>

struct bert_block {
    struct linear qkv, dense; /* [3D,D] of query, key, value; [D,D] */
    struct norm attention_norm;
    struct mlp mlp;
    struct norm output_norm;
};

struct bert {
    struct encoder base;
    struct embedding word, position, type; /* [V,W] [positions,W] [n_types,W] */
    struct norm norm;                      /* [W] */
    struct linear project;                 /* [D,W], without rows if W = D */
    float *bias;              /* [N,2*context-1] MPNet's, by distance, or NULL */
    struct bert_block *block; /* [n_layers] */
};

/* ---- names ----------------------------------------------------------------------- */

static const struct names {
    const char *prefix; /* of the bare encoder's tensors, present or absent */
    const char *layers;
    const char *query, *key, *value, *dense, *attention_norm;
    const char *up, *down, *output_norm;
    struct head_names labels, masked;
    bool pools; /* the labels' own layer belongs to the bare encoder */
} NAMES[] = {
    [LAYOUT_BERT] = {.prefix = "bert.",
                     .layers = "encoder.layer",
                     .query = "attention.self.query",
                     .key = "attention.self.key",
                     .value = "attention.self.value",
                     .dense = "attention.output.dense",
                     .attention_norm = "attention.output.LayerNorm",
                     .up = "intermediate.dense",
                     .down = "output.dense",
                     .output_norm = "output.LayerNorm",
                     .labels = {"pooler.dense", NULL, "classifier", "classifier.bias",
                                NULL},
                     .masked = {"cls.predictions.transform.dense",
                                "cls.predictions.transform.LayerNorm",
                                "cls.predictions.decoder", "cls.predictions.bias",
                                "cls.predictions.decoder.bias"},
                     .pools = true},
    [LAYOUT_DISTILBERT] = {.prefix = "distilbert.",
                           .layers = "transformer.layer",
                           .query = "attention.q_lin",
                           .key = "attention.k_lin",
                           .value = "attention.v_lin",
                           .dense = "attention.out_lin",
                           .attention_norm = "sa_layer_norm",
                           .up = "ffn.lin1",
                           .down = "ffn.lin2",
                           .output_norm = "output_layer_norm",
                           .labels = {"pre_classifier", NULL, "classifier",
                                      "classifier.bias", NULL},
                           .masked = {"vocab_transform", "vocab_layer_norm",
                                      "vocab_projector", "vocab_projector.bias", NULL}},
    [LAYOUT_ROBERTA] = {.prefix = "roberta.",
                        .layers = "encoder.layer",
                        .query = "attention.self.query",
                        .key = "attention.self.key",
                        .value = "attention.self.value",
                        .dense = "attention.output.dense",
                        .attention_norm = "attention.output.LayerNorm",
                        .up = "intermediate.dense",
                        .down = "output.dense",
                        .output_norm = "output.LayerNorm",
                        .labels = {"classifier.dense", NULL, "classifier.out_proj",
                                   "classifier.out_proj.bias", NULL},
                        .masked = {"lm_head.dense", "lm_head.layer_norm",
                                   "lm_head.decoder", "lm_head.bias",
                                   "lm_head.decoder.bias"}},
    [LAYOUT_ELECTRA] = {.prefix = "electra.",
                        .layers = "encoder.layer",
                        .query = "attention.self.query",
                        .key = "attention.self.key",
                        .value = "attention.self.value",
                        .dense = "attention.output.dense",
                        .attention_norm = "attention.output.LayerNorm",
                        .up = "intermediate.dense",
                        .down = "output.dense",
                        .output_norm = "output.LayerNorm",
                        .labels = {"classifier.dense", NULL, "classifier.out_proj",
                                   "classifier.out_proj.bias", NULL},
                        .masked = {"generator_predictions.dense",
                                   "generator_predictions.LayerNorm", "generator_lm_head",
                                   "generator_lm_head.bias", NULL}},
    [LAYOUT_MPNET] = {.prefix = "mpnet.",
                      .layers = "encoder.layer",
                      .query = "attention.attn.q",
                      .key = "attention.attn.k",
                      .value = "attention.attn.v",
                      .dense = "attention.attn.o",
                      .attention_norm = "attention.LayerNorm",
                      .up = "intermediate.dense",
                      .down = "output.dense",
                      .output_norm = "output.LayerNorm",
                      .labels = {"classifier.dense", NULL, "classifier.out_proj",
                                 "classifier.out_proj.bias", NULL},
                      .masked = {"lm_head.dense", "lm_head.layer_norm", "lm_head.decoder",
                                 "lm_head.bias", "lm_head.decoder.bias"}},
};

/* Counters that old versions of transformers stored, and what training needed: the pooler
 * where the head has no use for it, BERT's head for the next sentence, ELECTRA's
 * discriminator. */
static const char *const IGNORED[] = {
    "embeddings.position_ids",
    "embeddings.token_type_ids",
    "pooler.dense.weight",
    "pooler.dense.bias",
    "cls.seq_relationship.weight",
    "cls.seq_relationship.bias",
    "discriminator_predictions.dense.weight",
    "discriminator_predictions.dense.bias",
    "discriminator_predictions.dense_prediction.weight",
    "discriminator_predictions.dense_prediction.bias",
};

/* ---- loading --------------------------------------------------------------------- */

size_t bert_size(void)
{
    return sizeof(struct bert);
}

static void load_block(struct builder *b, const struct config *c, size_t layer,
                       struct bert_block *p)
{
    const struct names *s = &NAMES[c->layout];
    size_t D = c->width, F = c->mlp_width;
    const struct builder_part qkv[] = {{s->query, D}, {s->key, D}, {s->value, D}};
    builder_scope(b, "%s.%zu.", s->layers, layer);
    builder_stack(b, &p->qkv, qkv, 3, D, true);
    builder_linear(b, &p->dense, s->dense, D, D);
    builder_norm(b, &p->attention_norm, s->attention_norm, D, c->norm_eps);
    builder_linear(b, &p->mlp.up, s->up, F, D);
    builder_linear(b, &p->mlp.down, s->down, D, F);
    builder_norm(b, &p->output_norm, s->output_norm, D, c->norm_eps);
    p->mlp.act = layer_act_of(b->k, c->act);
}

static void load_embeddings(struct builder *b, const struct config *c, struct bert *m)
{
    size_t W = c->embedding_width;
    builder_scope(b, "embeddings.");
    head_words(b, c, "word_embeddings.weight", &m->word, &m->base.head);
    builder_embedding(b, &m->position, "position_embeddings.weight",
                      c->context + c->first_position, W);
    if (c->n_types)
        builder_embedding(b, &m->type, "token_type_embeddings.weight", c->n_types, W);
    builder_norm(b, &m->norm, "LayerNorm", W, c->norm_eps);
    builder_scope(b, "%s", "");
    if (W != c->width)
        builder_linear(b, &m->project, "embeddings_project", c->width, W);
}

/* The bucket of a key `distance` behind its query, if it is `behind`, or before it: half
 * of the 32 for each side. Of those the first 8 are distances, the others grow by the
 * square root of 2 up to 128 (T5's, Raffel et al. 2020). */
static size_t bucket_of(size_t distance, bool behind)
{
    enum { SIDE = 16, EXACT = 8 };
    size_t bucket = distance;
    if (distance >= EXACT) {
        bucket = EXACT;
        while (bucket < SIDE - 1 && distance * distance >= (size_t)EXACT * EXACT
                                                               << (bucket + 1 - EXACT))
            bucket++;
    }
    return behind ? bucket + SIDE : bucket;
}

static void load_bias(struct builder *b, const struct config *c, struct bert *m)
{
    size_t N = c->n_heads, span = c->context;
    float *table = builder_array(b, c->n_buckets * N, sizeof *table); /* [n_buckets,N] */
    builder_read_table(b, "encoder.relative_attention_bias.weight", c->n_buckets, N,
                       table);
    m->bias = builder_floats(b, N * (2 * span - 1));
    for (size_t i = 0; table && m->bias && i < 2 * span - 1; i++) {
        bool behind = i >= span;
        size_t bucket = bucket_of(behind ? i + 1 - span : span - 1 - i, behind);
        for (size_t h = 0; h < N; h++)
            m->bias[h * (2 * span - 1) + i] = table[bucket * N + h];
    }
    mem_free(table);
}

static void bert_done(struct encoder *base)
{
    struct bert *m = (struct bert *)base;
    for (size_t i = 0; m->block && i < base->net.cfg.n_layers; i++) {
        struct bert_block *p = &m->block[i];
        linear_done(&p->qkv);
        linear_done(&p->dense);
        norm_done(&p->attention_norm);
        mlp_done(&p->mlp);
        norm_done(&p->output_norm);
    }
    mem_free(m->block);
    mem_free(m->bias);
    norm_done(&m->norm);
    linear_done(&m->project);
}

/* ---- a pass ---------------------------------------------------------------------- */

/* out [W] = the sum of the embeddings of one token; row [W] is scratch. */
static void embed_token(const struct bert *m, const struct encoder_pass *p, size_t t,
                        size_t position, float *row, float *out)
{
    const struct kernels *k = p->exec->k;
    size_t W = m->word.D;
    layer_embed(k, &m->word, (size_t)p->batch->ids[t], out);
    if (m->type.table) {
        layer_embed(k, &m->type, p->batch->types ? p->batch->types[t] : 0, row);
        k->add(W, row, out);
    }
    layer_embed(k, &m->position, position, row);
    k->add(W, row, out);
}

/* Where positions don't begin at 0, the row before the first stands for the pad token
 * (its id is the same number), which a text may hold and which doesn't count. */
static void embed(const struct encoder_pass *p)
{
    const struct bert *m = (const struct bert *)p->m;
    const struct net_batch *batch = p->batch;
    size_t first = m->base.net.cfg.first_position, W = m->word.D;
    bool projects = m->project.w.N > 0;
    float *e = projects ? p->n : p->x;
    for (size_t b = 0; b < batch->B; b++) {
        size_t position = first;
        for (size_t t = batch->starts[b]; t < batch->starts[b + 1]; t++) {
            bool pad = first && (size_t)batch->ids[t] == first - 1;
            embed_token(m, p, t, pad ? first - 1 : position, p->extra, e + t * W);
            position += !pad;
        }
    }
    layer_norm(p->exec, &m->norm, p->rows, e, e);
    if (projects)
        layer_linear(p->exec, &m->project, p->rows, e, p->x);
}

/* x = norm(x + dense(attention(x))); x = norm(x + mlp(x)). */
static void run_block(struct encoder_pass *p, size_t layer, const size_t *picks)
{
    const struct bert *m = (const struct bert *)p->m;
    const struct bert_block *block = &m->block[layer];
    struct attention a = {.layer = layer,
                          .reader = &block->dense.w,
                          .bias = m->bias,
                          .bias_span = m->base.net.cfg.context};
    encoder_qkv(p, &block->qkv, picks, p->x);
    encoder_attend(p, &a, picks);
    layer_linear_add(p->exec, &block->dense, p->rows, p->n, p->x);
    layer_norm(p->exec, &block->attention_norm, p->rows, p->x, p->x);
    layer_mlp(p->exec, &block->mlp, p->rows, p->x, p->f, p->x);
    layer_norm(p->exec, &block->output_norm, p->rows, p->x, p->x);
}

/* ---- the front door -------------------------------------------------------------- */

void bert_load(struct net *n, struct builder *b)
{
    static const struct head_biases biases = {true, true, true};
    struct bert *m = (struct bert *)n;
    const struct config *c = &n->cfg;
    const struct names *s = &NAMES[c->layout];
    bool labels = c->head == HEAD_LABELS;
    head_choose(b, &n->cfg, &s->masked);
    encoder_init(&m->base);
    m->base.done = bert_done;
    m->base.embed = embed;
    m->base.block = run_block;
    m->base.extra = c->embedding_width;
    weights_prefix(b->w, s->prefix);
    for (size_t i = 0; i < sizeof IGNORED / sizeof IGNORED[0]; i++)
        weights_ignore(b->w, IGNORED[i]);
    load_embeddings(b, c, m);
    if (c->n_buckets)
        load_bias(b, c, m);
    m->block = builder_array(b, c->n_layers, sizeof *m->block);
    for (size_t i = 0; i < c->n_layers && b->rc == ERR_OK; i++)
        load_block(b, c, i, &m->block[i]);
    m->base.mlp = m->block ? &m->block[0].mlp : NULL;
    head_load(b, c, labels ? &s->labels : &s->masked, &biases,
              labels && s->pools ? s->prefix : "", "embeddings.word_embeddings.weight",
              &m->base.head);
}
