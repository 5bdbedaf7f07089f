/* Net models: every golden folder with every kernel variant and precision, random texts
 * for them, and states. Included by the test programs of nets only. */
#ifndef TESTS_UNIT_NET_MODELS_H
#define TESTS_UNIT_NET_MODELS_H

#include "tests/unit/fixture.h"
#include "tests/unit/net_fixture.h"

static const char *const FOLDERS = "tests/golden/nets";
enum { N_FOLDERS = 85 }; /* at least */

static void (*check)(struct loaded *l);

static inline void check_variants(const char *dir)
{
    for (const char *const *name = kernels_names(); *name; name++)
        for (enum precision p = PRECISION_F32; p <= PRECISION_INT8; p++) {
            struct loaded l;
            loaded_open_as(&l, dir, kernels_get(*name), p);
            check(&l);
            loaded_close(&l);
        }
}

static inline void each_model(void (*fn)(struct loaded *l))
{
    check = fn;
    fixture_each(FOLDERS, 50, check_variants);
}

/* False for those that give labels only. */
static inline bool gives_rows(const struct loaded *l)
{
    const struct config *c = &l->net->cfg;
    return c->head != HEAD_LABELS || !config_is_encoder(c);
}

static uint64_t seed = 0x9e3779b97f4a7c15u;

static inline size_t below(size_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (size_t)(seed >> 33) % n;
}

/* Random ids; lengths are cut to the net's context. */
static inline void random_texts(const struct loaded *l, struct texts *t,
                                const size_t *lengths, size_t B)
{
    const struct config *c = &l->net->cfg;
    t->B = B;
    t->typed = config_is_encoder(c);
    t->starts[0] = 0;
    for (size_t b = 0; b < B; b++) {
        size_t n = lengths[b];
        t->starts[b + 1] = t->starts[b] + (c->context && n > c->context ? c->context : n);
    }
    ck_assert_uint_le(t->starts[B], TOKENS_MAX);
    for (size_t i = 0; i < t->starts[B]; i++) {
        t->ids[i] = (int32_t)below(c->vocab);
        t->types[i] = (uint8_t)below(c->n_types ? c->n_types : 2);
    }
}

static const size_t MIXED[] = {7, 1, 33, 150, 1, 20, 33, 2};
enum { N_MIXED = sizeof MIXED / sizeof MIXED[0] };

static inline void assert_bits(const struct loaded *l, const char *what, const float *a,
                               const float *b, size_t n)
{
    ck_assert_msg(memcmp(a, b, n * sizeof *a) == 0, "%s on %s: %s",
                  l->net->cfg.architecture, l->net->k->name, what);
}
static inline struct net_state *new_state(const struct loaded *l)
{
    struct err err = {0};
    struct net_state *s = NULL;
    ck_assert_msg(l->net->ops->state_new(l->net, &s, &err) == ERR_OK, "%s", err.msg);
    return s;
}

/* Feeds ids[0..n) to one state; the hidden rows [n,D'], free(). */
static inline float *feed(struct loaded *l, struct net_state *s, const int32_t *ids,
                          size_t n)
{
    size_t starts[2] = {0, n};
    struct net_batch batch = {.B = 1, .starts = starts, .ids = ids, .states = &s};
    return loaded_run(l, &batch, NET_ALL);
}
#endif
