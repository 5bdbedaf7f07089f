/* Net fixture: a model folder loaded as a bare net, without tokenizer, and batches of
 * ids. Included by test programs only. */
#ifndef TESTS_UNIT_NET_FIXTURE_H
#define TESTS_UNIT_NET_FIXTURE_H

#include "model/base/mem.h"
#include "model/nets/net.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEQS_MAX = 16, TOKENS_MAX = 4096 };

/* A ragged batch that owns its arrays. */
struct texts {
    size_t B;
    size_t starts[SEQS_MAX + 1];
    int32_t ids[TOKENS_MAX];
    uint8_t types[TOKENS_MAX];
    bool typed;
};

static inline struct net_batch texts_batch(const struct texts *t)
{
    return (struct net_batch){.B = t->B,
                              .starts = t->starts,
                              .ids = t->ids,
                              .types = t->typed ? t->types : NULL};
}

static inline size_t texts_longest(const struct texts *t)
{
    size_t most = 0;
    for (size_t b = 0; b < t->B; b++)
        if (t->starts[b + 1] - t->starts[b] > most)
            most = t->starts[b + 1] - t->starts[b];
    return most;
}

struct loaded {
    struct net *net;
    struct arena tmp;
    struct exec x;
};

static inline enum err_code loaded_try_as(const char *dir, const struct kernels *k,
                                          enum precision precision, struct net **net,
                                          struct err *err)
{
    struct config cfg = {0};
    struct weights *w = NULL;
    enum err_code code = config_read(dir, &cfg, err);
    if (code != ERR_OK)
        return code;
    code = weights_open(dir, &w, err);
    if (code == ERR_OK)
        code = net_load(&cfg, w, k, precision, 2, net, err);
    else
        config_done(&cfg);
    weights_close(w);
    return code;
}

static inline enum err_code loaded_try(const char *dir, const struct kernels *k,
                                       struct net **net, struct err *err)
{
    return loaded_try_as(dir, k, PRECISION_F32, net, err);
}

static inline void loaded_open_as(struct loaded *l, const char *dir,
                                  const struct kernels *k, enum precision precision)
{
    struct err err = {0};
    *l = (struct loaded){0};
    enum err_code code = loaded_try_as(dir, k, precision, &l->net, &err);
    ck_assert_msg(code == ERR_OK, "%s: %s", dir, err.msg);
    arena_init(&l->tmp);
    l->x = (struct exec){.k = k, .tmp = &l->tmp};
}

static inline void loaded_open(struct loaded *l, const char *dir, const struct kernels *k)
{
    loaded_open_as(l, dir, k, PRECISION_F32);
}

static inline void loaded_close(struct loaded *l)
{
    arena_done(&l->tmp);
    net_free(l->net);
}

/* Floats of a result for this batch. */
static inline size_t loaded_floats(const struct loaded *l, const struct net_batch *batch,
                                   enum net_want want)
{
    if (want == NET_LABELS)
        return batch->B * l->net->cfg.n_labels;
    return (want == NET_ALL ? batch->starts[batch->B] : batch->B) * l->net->out_width;
}

/* One pass into a block of its own; free(). Reserves exactly what scratch_bytes says. */
static inline float *loaded_run(struct loaded *l, const struct net_batch *batch,
                                enum net_want want)
{
    struct err err = {0};
    size_t longest = 0;
    for (size_t b = 0; b < batch->B; b++)
        if (batch->starts[b + 1] - batch->starts[b] > longest)
            longest = batch->starts[b + 1] - batch->starts[b];
    size_t bytes = l->net->ops->scratch_bytes(l->net, batch->B, batch->starts[batch->B],
                                              longest, want);
    float *y = malloc((loaded_floats(l, batch, want) + 1) * sizeof *y);
    ck_assert_ptr_nonnull(y);
    ck_assert_msg(arena_reserve(&l->tmp, bytes, &err) == ERR_OK, "%s", err.msg);
    enum err_code code = l->net->ops->forward(l->net, batch, want, y, &l->x, &err);
    ck_assert_msg(code == ERR_OK, "%s", err.msg);
    ck_assert_uint_eq(l->tmp.used, 0);
    return y;
}

/* The result that suits the net's head, every position where there are positions. */
static inline enum net_want loaded_want(const struct loaded *l)
{
    return l->net->cfg.head == HEAD_LABELS ? NET_LABELS : NET_ALL;
}

#endif
