#include "model/nets/rnn.h"

#include "model/base/mem.h"
#include "model/nets/rnn_names.h"
#include "model/nets/rnn_parts.h"

#include <stdio.h>
#include <string.h>

/* ---- loading --------------------------------------------------------------------- */

static const struct net_ops one_way_ops, two_way_ops;

size_t rnn_size(void)
{
    return sizeof(struct rnn);
}

static void load_direction(struct builder *b, const struct rnn *n, size_t layer,
                           size_t direction, size_t in, struct rnn_direction *d)
{
    static const char *const kinds[4] = {"weight_ih", "weight_hh", "bias_ih", "bias_hh"};
    char name[4][48];
    size_t rows = n->G * n->H;
    for (size_t i = 0; i < 4; i++)
        snprintf(name[i], sizeof name[i], "%s_l%zu%s", kinds[i], layer,
                 direction ? "_reverse" : "");
    builder_packed(b, &d->in.w, name[0], rows, in);
    builder_packed(b, &d->rec.w, name[1], rows, n->H);
    if (!n->net.cfg.bias)
        return;
    d->in.bias = builder_vector(b, name[2], rows);
    d->rec.bias = builder_vector(b, name[3], rows);
    if (b->rc != ERR_OK || n->net.cfg.cell == CELL_GRU)
        return;
    for (size_t i = 0; i < rows; i++)
        d->in.bias[i] += d->rec.bias[i];
    mem_free(d->rec.bias);
    d->rec.bias = NULL;
    b->bytes -= rows * sizeof(float);
}

/* "decoder" and ".weight". Long enough for every word of rnn_names.c. */
struct tensor_name {
    char s[32];
};

static struct tensor_name part_of(const char *module, const char *part)
{
    struct tensor_name n;
    snprintf(n.s, sizeof n.s, "%s%s", module, part);
    return n;
}

static void load_language_head(struct builder *b, struct rnn *n,
                               const struct rnn_names *names)
{
    const struct config *c = &n->net.cfg;
    const char *module = names->output ? names->output : "decoder";
    struct tensor_name weight = part_of(module, ".weight"),
                       bias = part_of(module, ".bias");
    if (c->tied)
        builder_copy(b, &n->decoder.w, part_of(names->embedding, ".weight").s, weight.s);
    else
        builder_packed(b, &n->decoder.w, weight.s, c->vocab, n->H);
    if (builder_has(b, bias.s))
        n->decoder.bias = builder_vector(b, bias.s, c->vocab);
}

static void load_label_head(struct builder *b, struct rnn *n,
                            const struct rnn_names *names)
{
    const struct config *c = &n->net.cfg;
    struct pool *p = &n->pool;
    *p = (struct pool){.kind = c->pooling, .width = n->net.out_width, .hops = 1};
    b->exact = true;
    if (p->kind == POOL_ATTENTION) {
        p->hops = c->hops;
        builder_linear(b, &p->proj, "pooling.proj", c->attention_size, p->width);
        builder_packed(b, &p->context.w, "pooling.context.weight", p->hops,
                       c->attention_size);
    }
    builder_linear(b, &n->classifier, names->output ? names->output : "classifier",
                   c->n_labels, p->hops * p->width);
    b->exact = false;
}

void rnn_load(struct net *net, struct builder *b)
{
    struct rnn *n = (struct rnn *)net;
    const struct config *c = &net->cfg;
    n->H = c->hidden;
    n->G = c->cell == CELL_LSTM ? 4 : c->cell == CELL_GRU ? 3 : 1;
    n->hard_slope = c->gates == GATES_HARD_5TH   ? 1.0f / 5
                    : c->gates == GATES_HARD_6TH ? 1.0f / 6
                                                 : 0;
    n->directions = c->bidirectional ? 2 : 1;
    net->ops = c->bidirectional ? &two_way_ops : &one_way_ops;
    net->out_width = n->directions * n->H;
    struct rnn_names names;
    rnn_names_find(b, &names);
    struct tensor_name table = part_of(names.embedding, ".weight");
    if (c->tied)
        builder_tied(b, &n->embedding, &n->decoder.w, table.s, c->vocab, c->width);
    else
        builder_embedding(b, &n->embedding, table.s, c->vocab, c->width);
    n->layer = builder_array(b, c->n_layers, sizeof *n->layer);
    builder_scope(b, "%s", names.cells);
    for (size_t i = 0; i < c->n_layers && b->rc == ERR_OK; i++) {
        struct rnn_layer *l = &n->layer[i];
        l->in = i == 0 ? c->width : net->out_width;
        for (size_t d = 0; d < n->directions; d++)
            load_direction(b, n, i, d, l->in, &l->direction[d]);
    }
    builder_scope(b, "%s", "");
    if (c->head == HEAD_LM)
        load_language_head(b, n, &names);
    else
        load_label_head(b, n, &names);
}

static void rnn_done(struct net *net)
{
    struct rnn *n = (struct rnn *)net;
    for (size_t i = 0; n->layer && i < net->cfg.n_layers; i++)
        for (size_t d = 0; d < 2; d++) {
            linear_done(&n->layer[i].direction[d].in);
            linear_done(&n->layer[i].direction[d].rec);
        }
    mem_free(n->layer);
    linear_done(&n->decoder);
    linear_done(&n->pool.proj);
    linear_done(&n->pool.context);
    linear_done(&n->classifier);
}

/* ---- states ---------------------------------------------------------------------- */

static size_t state_floats(const struct rnn_state *s)
{
    return s->parts * s->floats;
}

static enum err_code rnn_state_new(const struct net *net, struct net_state **out,
                                   struct err *err)
{
    size_t floats = net->cfg.n_layers * net->cfg.hidden;
    size_t parts = net->cfg.cell == CELL_LSTM ? 2 : 1;
    struct rnn_state *s = mem_zero(1, sizeof *s + parts * floats * sizeof(float));
    if (!s)
        return err_set(err, ERR_NOMEM, "out of memory: a state of %zu floats",
                       parts * floats);
    s->floats = floats;
    s->parts = parts;
    *out = (struct net_state *)s;
    return ERR_OK;
}

static void rnn_state_free(struct net_state *s)
{
    mem_free(s);
}

static enum err_code rnn_state_copy(struct net_state *to, const struct net_state *from,
                                    struct err *err)
{
    (void)err;
    struct rnn_state *t = (struct rnn_state *)to;
    const struct rnn_state *f = (const struct rnn_state *)from;
    t->length = f->length;
    memmove(t->data, f->data, state_floats(f) * sizeof(float));
    return ERR_OK;
}

static void rnn_state_reset(struct net_state *state)
{
    struct rnn_state *s = (struct rnn_state *)state;
    s->length = 0;
    memset(s->data, 0, state_floats(s) * sizeof(float));
}

static size_t rnn_state_bytes(const struct net_state *state)
{
    const struct rnn_state *s = (const struct rnn_state *)state;
    return sizeof *s + state_floats(s) * sizeof(float);
}

static size_t rnn_state_length(const struct net_state *s)
{
    return ((const struct rnn_state *)s)->length;
}

/* ---- what tasks see -------------------------------------------------------------- */

static enum err_code rnn_logits(const struct net *net, size_t R, const float *h, float *y,
                                struct exec *x, struct err *err)
{
    if (net->cfg.head != HEAD_LM)
        return err_set(err, ERR_TASK, "a %s is no language model", net->cfg.architecture);
    return layer_logits(x, net, &((const struct rnn *)net)->decoder, R, h, y, err);
}

static const struct net_ops one_way_ops = {.scratch_bytes = rnn_scratch_bytes,
                                           .forward = rnn_forward,
                                           .logits = rnn_logits,
                                           .state_new = rnn_state_new,
                                           .state_free = rnn_state_free,
                                           .state_copy = rnn_state_copy,
                                           .state_reset = rnn_state_reset,
                                           .state_bytes = rnn_state_bytes,
                                           .state_length = rnn_state_length,
                                           .done = rnn_done};

static const struct net_ops two_way_ops = {.scratch_bytes = rnn_scratch_bytes,
                                           .forward = rnn_forward,
                                           .logits = rnn_logits,
                                           .done = rnn_done};
