/* Breaks of long computations: a pause changes no bit, and a stop is heard everywhere. */
#include "model/base/breaks.h"
#include "tests/suite.h"
#include "tests/unit/net_fixture.h"
#include "tests/unit/net_maker.h"
#include "tests/unit/tiny_models.h"

/* ---- nets ------------------------------------------------------------------------ */

/* What a pass asks; another net with an arena of its own computes in its pauses. */
struct asked {
    struct breaks breaks;
    size_t n_pauses, n_stops;
    size_t stop_at; /* the answer is yes from this question on; SIZE_MAX = never */
    struct loaded *other;
    const struct net_batch *batch;
    const float *want; /* [n] what the other net gives */
    size_t n;
};

static bool stop(void *arg)
{
    struct asked *a = arg;
    return a->n_stops++ >= a->stop_at;
}

static void pause_for_another(void *arg)
{
    struct asked *a = arg;
    if (a->n_pauses++ >= 3)
        return;
    float *y = loaded_run(a->other, a->batch, loaded_want(a->other));
    ck_assert(memcmp(y, a->want, a->n * sizeof *y) == 0);
    free(y);
}

static void fill(struct texts *t, size_t V)
{
    *t = (struct texts){.B = 3, .starts = {0, 150, 151, 180}};
    for (size_t i = 0; i < t->starts[t->B]; i++)
        t->ids[i] = (int32_t)((i * 7919 + i / 3) % V);
}

static enum err_code try_run(struct loaded *l, const struct net_batch *batch, float *y)
{
    struct err err = {0};
    enum err_code code =
        l->net->ops->forward(l->net, batch, loaded_want(l), y, &l->x, &err);
    ck_assert_uint_eq(l->tmp.used, 0);
    return code;
}

static void check_breaks(struct maker *m)
{
    struct loaded l, other;
    struct texts t;
    loaded_open(&l, m->dir, kernels_get(NULL));
    loaded_open(&other, m->dir, kernels_get(NULL));
    fill(&t, l.net->cfg.vocab);
    struct net_batch batch = texts_batch(&t);
    size_t n = loaded_floats(&l, &batch, loaded_want(&l));
    float *want = loaded_run(&l, &batch, loaded_want(&l));
    struct asked a = {.breaks = {&a, stop, pause_for_another},
                      .stop_at = SIZE_MAX,
                      .other = &other,
                      .batch = &batch,
                      .want = want,
                      .n = n};
    l.x.breaks = &a.breaks;
    float *y = loaded_run(&l, &batch, loaded_want(&l));
    ck_assert(memcmp(y, want, n * sizeof *y) == 0);
    ck_assert_uint_gt(a.n_pauses, 3);
    size_t n_stops = a.n_stops;
    ck_assert_uint_gt(n_stops, l.net->cfg.n_layers);
    for (a.stop_at = 0; a.stop_at < n_stops; a.stop_at++) {
        a.n_stops = 0;
        ck_assert_int_eq(try_run(&l, &batch, y), ERR_STOPPED);
    }
    a.n_stops = 0;
    ck_assert_int_eq(try_run(&l, &batch, y), ERR_OK);
    ck_assert(memcmp(y, want, n * sizeof *y) == 0);
    free(y);
    free(want);
    loaded_close(&other);
    loaded_close(&l);
    maker_remove(m);
}

START_TEST(an_lstm_pauses_and_stops)
{
    struct maker m;
    maker_recurrent(&m, "lstm", 300, 64, false);
    check_breaks(&m);
}
END_TEST

START_TEST(a_two_way_gru_pauses_and_stops)
{
    struct maker m;
    maker_recurrent(&m, "gru", 100, 64, true);
    check_breaks(&m);
}
END_TEST

START_TEST(gpt2_pauses_and_stops)
{
    struct maker m;
    maker_gpt2(&m, 300, 192, 200);
    check_breaks(&m);
}
END_TEST

START_TEST(bert_pauses_and_stops)
{
    struct maker m;
    maker_bert(&m, 300, 192, 200);
    check_breaks(&m);
}
END_TEST

/* ---- tasks ----------------------------------------------------------------------- */

static void do_nothing(void *arg)
{
    ((struct asked *)arg)->n_pauses++;
}

/* Stopped at every question in turn; afterwards the same worker answers as before. */
static void check_next_word(const char *name)
{
    struct fixture f = open_fixture(name, NULL);
    struct seq_tokens t = tokenize(&f, SEQ_NEXT_WORD, "the cat sat");
    struct seq_next_request q = {.tokens = &t, .top_k = 5, .unit = SEQ_UNIT_WORD};
    static struct seq_next_result want, got;
    q.prefix = "";
    ck_assert_int_eq(seq_next_word(f.m, f.w, 1, &q, &want, &f.err), ERR_OK);
    ck_assert_uint_gt(want.n, 0);
    struct asked a = {.breaks = {&a, stop, do_nothing}, .stop_at = 0};
    seq_worker_breaks(f.w, &a.breaks);
    enum err_code code = ERR_STOPPED;
    for (; code == ERR_STOPPED; a.stop_at++) {
        f.err = (struct err){0};
        a.n_stops = 0;
        code = seq_next_word(f.m, f.w, 1, &q, &got, &f.err);
    }
    ck_assert_int_eq(code, ERR_OK);
    ck_assert_uint_gt(a.stop_at, 3);
    ck_assert_uint_gt(a.n_pauses, 0);
    ck_assert_uint_eq(got.n, want.n);
    for (size_t i = 0; i < got.n; i++) {
        ck_assert(got.at[i].logprob == want.at[i].logprob);
        ck_assert(memcmp(got.at[i].tokens, want.at[i].tokens, sizeof want.at[i].tokens) ==
                  0);
    }
    seq_tokens_done(&t);
    close_fixture(&f);
}

START_TEST(a_stopped_word_search_can_be_asked_again)
{
    check_next_word("tiny-gpt2");
    check_next_word("tiny-lstm");
}
END_TEST

START_TEST(without_breaks_nobody_is_asked)
{
    ck_assert(!breaks_stop(NULL));
    breaks_pause(NULL);
    struct breaks none = {0};
    ck_assert(!breaks_stop(&none));
    breaks_pause(&none);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {an_lstm_pauses_and_stops,
                                  a_two_way_gru_pauses_and_stops,
                                  gpt2_pauses_and_stops,
                                  bert_pauses_and_stops,
                                  a_stopped_word_search_can_be_asked_again,
                                  without_breaks_nobody_is_asked,
                                  NULL};
    return suite_run("breaks", tests, 120);
}
