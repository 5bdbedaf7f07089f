/* Nets with helpers: the same bits as without, and helpers really do part of the work.
 * Run under ThreadSanitizer too. */
#include "tests/suite.h"
#include "tests/unit/net_fixture.h"
#include "tests/unit/net_maker.h"
#include "tests/unit/team.h"

#include <pthread.h>
#include <stdatomic.h>

enum { HELPERS = 3 };

/* ---- kernels that notice on which thread they run -------------------------------- */

static const struct kernels *inner;
static struct kernels watched;
static pthread_t owner;
static atomic_size_t helped_matmul, helped_scores;

static void watch_matmul(const struct matrix *w, const struct product *p)
{
    if (!pthread_equal(pthread_self(), owner))
        atomic_fetch_add(&helped_matmul, 1);
    inner->matmul(w, p);
}

static void watch_matmul_int8(const struct matrix *w, const struct quantised *x,
                              const struct product *p)
{
    if (!pthread_equal(pthread_self(), owner))
        atomic_fetch_add(&helped_matmul, 1);
    inner->matmul_int8(w, x, p);
}

static void watch_scores(const struct attend *a)
{
    if (!pthread_equal(pthread_self(), owner))
        atomic_fetch_add(&helped_scores, 1);
    inner->scores(a);
}

static void watch(const char *name)
{
    inner = kernels_get(name);
    watched = *inner;
    watched.matmul = watch_matmul;
    watched.matmul_int8 = watch_matmul_int8;
    watched.scores = watch_scores;
    owner = pthread_self();
    atomic_store(&helped_matmul, 0);
    atomic_store(&helped_scores, 0);
}

/* ---- tests ----------------------------------------------------------------------- */

static void fill(struct texts *t, const size_t *lengths, size_t B, size_t V)
{
    *t = (struct texts){.B = B};
    for (size_t b = 0; b < B; b++)
        t->starts[b + 1] = t->starts[b] + lengths[b];
    for (size_t i = 0; i < t->starts[B]; i++)
        t->ids[i] = (int32_t)((i * 7919 + i / 3) % V);
}

static float *logits_of(struct loaded *l, size_t R, const float *h)
{
    struct err err = {0};
    float *y = malloc(R * l->net->cfg.vocab * sizeof *y);
    ck_assert_ptr_nonnull(y);
    ck_assert_int_eq(l->net->ops->logits(l->net, R, h, y, &l->x, &err), ERR_OK);
    return y;
}

/* One net, one batch: alone, then three times with helpers. */
static void check_helped(struct loaded *l, struct team *team, const struct texts *t)
{
    struct net_batch batch = texts_batch(t);
    enum net_want want = loaded_want(l);
    size_t n = loaded_floats(l, &batch, want);
    bool language = l->net->cfg.head == HEAD_LM;
    size_t R = language ? n / l->net->out_width : 0, V = l->net->cfg.vocab;
    l->x.crew = NULL;
    float *own = loaded_run(l, &batch, want),
          *logits = language ? logits_of(l, R, own) : NULL;
    l->x.crew = team->crew;
    for (int i = 0; i < 3; i++) {
        float *helped = loaded_run(l, &batch, want);
        ck_assert_msg(memcmp(own, helped, n * sizeof *own) == 0,
                      "%s: helpers change bits", l->net->cfg.architecture);
        free(helped);
    }
    if (language) {
        float *helped = logits_of(l, R, own);
        ck_assert(memcmp(logits, helped, R * V * sizeof *logits) == 0);
        free(helped);
    }
    free(own);
    free(logits);
}

/* A net in a folder of `m`, with texts long and short, on the best variant. */
static void check_made_as(const struct maker *m, bool transformer,
                          enum precision precision)
{
    static const size_t lengths[3][3] = {{160, 0, 0}, {90, 33, 1}, {4, 1, 2}};
    struct loaded l;
    struct team team;
    struct texts t;
    watch(NULL);
    loaded_open_as(&l, m->dir, &watched, precision);
    team_start(&team, HELPERS);
    for (size_t i = 0; i < 3; i++) {
        fill(&t, lengths[i], i == 0 ? 1 : 3, l.net->cfg.vocab);
        check_helped(&l, &team, &t);
    }
    /* With few cores helpers may come late for one pass, never for all. */
    for (int i = 0; i < 200 && (atomic_load(&helped_matmul) == 0 ||
                                (transformer && atomic_load(&helped_scores) == 0));
         i++) {
        fill(&t, lengths[0], 1, l.net->cfg.vocab);
        check_helped(&l, &team, &t);
    }
    ck_assert_uint_gt(atomic_load(&helped_matmul), 0);
    if (transformer)
        ck_assert_uint_gt(atomic_load(&helped_scores), 0);
    team_stop(&team);
    loaded_close(&l);
}

static void check_made(struct maker *m, bool transformer)
{
    for (enum precision p = PRECISION_F32; p <= PRECISION_INT8; p++)
        check_made_as(m, transformer, p);
    maker_remove(m);
}

START_TEST(lstm_language_model_is_the_same_with_helpers)
{
    struct maker m;
    maker_recurrent(&m, "lstm", 1000, 320, false);
    check_made(&m, false);
}
END_TEST

START_TEST(two_way_lstm_is_the_same_with_helpers)
{
    struct maker m;
    maker_recurrent(&m, "lstm", 100, 96, true);
    check_made(&m, false);
}
END_TEST

START_TEST(two_way_gru_is_the_same_with_helpers)
{
    struct maker m;
    maker_recurrent(&m, "gru", 100, 128, true);
    check_made(&m, false);
}
END_TEST

START_TEST(gpt2_is_the_same_with_helpers)
{
    struct maker m;
    maker_gpt2(&m, 1000, 192, 200);
    check_made(&m, true);
}
END_TEST

START_TEST(llama_is_the_same_with_helpers)
{
    struct maker m;
    maker_llama(&m, 1000, 192, 200);
    check_made(&m, true);
}
END_TEST

START_TEST(bert_is_the_same_with_helpers)
{
    struct maker m;
    maker_bert(&m, 300, 192, 200);
    check_made(&m, true);
}
END_TEST

/* States of one origin advance in several threads at once: shared blocks are only read.
 */
struct branch {
    struct loaded l; /* a view with an arena of its own */
    struct net_state *state;
    int32_t ids[12];
    float *y;
};

static void *grow(void *arg)
{
    struct branch *b = arg;
    size_t starts[2] = {0, 12};
    struct net_batch batch = {
        .B = 1, .starts = starts, .ids = b->ids, .states = &b->state};
    b->y = loaded_run(&b->l, &batch, NET_ALL);
    b->l.net->ops->state_free(b->state);
    return NULL;
}

START_TEST(copies_of_a_state_live_in_several_threads)
{
    struct loaded l;
    struct err err = {0};
    loaded_open(&l, "tests/golden/nets/gpt2", kernels_get(NULL));
    const struct net_ops *ops = l.net->ops;
    struct net_state *s = NULL;
    struct branch branches[HELPERS] = {0};
    pthread_t threads[HELPERS];
    int32_t ids[32];
    size_t starts[2] = {0, 20}, D = l.net->out_width;
    for (int i = 0; i < 32; i++)
        ids[i] = (i * 11) % 61;
    ck_assert_int_eq(ops->state_new(l.net, &s, &err), ERR_OK);
    struct net_batch batch = {.B = 1, .starts = starts, .ids = ids, .states = &s};
    free(loaded_run(&l, &batch, NET_ALL));
    for (int i = 0; i < HELPERS; i++) {
        struct branch *b = &branches[i];
        b->l = (struct loaded){.net = l.net};
        arena_init(&b->l.tmp);
        b->l.x = (struct exec){.k = l.net->k, .tmp = &b->l.tmp};
        memcpy(b->ids, ids + 20, sizeof b->ids);
        ck_assert_int_eq(ops->state_new(l.net, &b->state, &err), ERR_OK);
        ck_assert_int_eq(ops->state_copy(b->state, s, &err), ERR_OK);
    }
    for (int i = 0; i < HELPERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, grow, &branches[i]), 0);
    ops->state_free(s);
    for (int i = 0; i < HELPERS; i++)
        pthread_join(threads[i], NULL);
    starts[1] = 32;
    batch.states = NULL;
    float *want = loaded_run(&l, &batch, NET_ALL);
    for (int i = 0; i < HELPERS; i++) {
        ck_assert(memcmp(branches[i].y, want + 20 * D, 12 * D * sizeof *want) == 0);
        free(branches[i].y);
        arena_done(&branches[i].l.tmp);
    }
    free(want);
    loaded_close(&l);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {lstm_language_model_is_the_same_with_helpers,
                                  two_way_lstm_is_the_same_with_helpers,
                                  two_way_gru_is_the_same_with_helpers,
                                  gpt2_is_the_same_with_helpers,
                                  llama_is_the_same_with_helpers,
                                  bert_is_the_same_with_helpers,
                                  copies_of_a_state_live_in_several_threads,
                                  NULL};
    return suite_run("nets with helpers", tests, 120);
}
