/* What every net promises, on the golden folders with every kernel variant: bit for bit
 * the same alone and in a batch, from a state and at once, watched and unwatched; states.
 * test_nets_memory.c and test_nets_refusals.c have the rest, test_nets_threads.c adds
 * helpers. */
#include "tests/suite.h"
#include "tests/unit/net_maker.h"
#include "tests/unit/net_models.h"

#include <math.h>

/* Sequence b alone, as a batch of one. */
static struct net_batch alone(const struct texts *t, size_t b, size_t starts[2])
{
    starts[0] = 0;
    starts[1] = t->starts[b + 1] - t->starts[b];
    return (struct net_batch){.B = 1,
                              .starts = starts,
                              .ids = t->ids + t->starts[b],
                              .types = t->typed ? t->types + t->starts[b] : NULL};
}

/* ---- batches --------------------------------------------------------------------- */

static void check_texts(struct loaded *l, const size_t *lengths, size_t B)
{
    struct texts t;
    random_texts(l, &t, lengths, B);
    struct net_batch all = texts_batch(&t);
    enum net_want want = loaded_want(l);
    float *y = loaded_run(l, &all, want);
    for (size_t b = 0; b < t.B; b++) {
        size_t starts[2];
        struct net_batch one = alone(&t, b, starts);
        float *own = loaded_run(l, &one, want);
        size_t n = loaded_floats(l, &one, want);
        assert_bits(l, "batched differs from alone", own,
                    y + (want == NET_ALL ? t.starts[b] * l->net->out_width
                                         : b * l->net->cfg.n_labels),
                    n);
        free(own);
    }
    free(y);
}

static void check_batch(struct loaded *l)
{
    check_texts(l, MIXED, N_MIXED);
}

START_TEST(batched_equals_alone)
{
    each_model(check_batch);
}
END_TEST

static void check_wide(const char *cell, bool both)
{
    static const size_t even[] = {40, 40, 40, 40, 40};
    struct maker m;
    maker_recurrent(&m, cell, 50, 75, both);
    for (const char *const *name = kernels_names(); *name; name++)
        for (enum precision p = PRECISION_F32; p <= PRECISION_INT8; p++) {
            struct loaded l;
            loaded_open_as(&l, m.dir, kernels_get(*name), p);
            check_texts(&l, even, 5);
            loaded_close(&l);
        }
    maker_remove(&m);
}

/* The products of one row turn round at every other step, in pieces; those of five rows
 * don't. The golden nets are too narrow for pieces. */
START_TEST(batched_equals_alone_in_wide_recurrent_nets)
{
    check_wide("lstm", false);
    check_wide("lstm", true);
    check_wide("gru", false);
    check_wide("gru", true);
}
END_TEST

/* NET_ONE is the last row of NET_ALL, though the last layer computes that row alone. */
static void check_last(struct loaded *l)
{
    struct texts t;
    if (!gives_rows(l))
        return;
    random_texts(l, &t, MIXED, N_MIXED);
    struct net_batch all = texts_batch(&t);
    size_t D = l->net->out_width, H = l->net->cfg.hidden;
    bool both = l->net->cfg.bidirectional;
    float *rows = loaded_run(l, &all, NET_ALL), *last = loaded_run(l, &all, NET_ONE);
    for (size_t b = 0; b < t.B; b++) {
        const float *end = rows + (t.starts[b + 1] - 1) * D;
        assert_bits(l, "last row differs", last + b * D, end, both ? H : D);
        if (both)
            assert_bits(l, "backward's last row differs", last + b * D + H,
                        rows + t.starts[b] * D + H, H);
    }
    free(rows);
    free(last);
}

START_TEST(last_row_equals_row_of_all)
{
    each_model(check_last);
}
END_TEST

/* Any other row that is picked, too. */
static void check_picks(struct loaded *l)
{
    struct texts t;
    size_t picks[N_MIXED];
    if (!gives_rows(l) || l->net->cfg.arch == ARCH_RNN)
        return;
    random_texts(l, &t, MIXED, N_MIXED);
    struct net_batch all = texts_batch(&t);
    size_t D = l->net->out_width;
    for (size_t b = 0; b < t.B; b++)
        picks[b] = below(t.starts[b + 1] - t.starts[b]);
    float *rows = loaded_run(l, &all, NET_ALL);
    all.picks = picks;
    float *picked = loaded_run(l, &all, NET_ONE);
    for (size_t b = 0; b < t.B; b++)
        assert_bits(l, "a picked row differs", picked + b * D,
                    rows + (t.starts[b] + picks[b]) * D, D);
    free(rows);
    free(picked);
}

START_TEST(picked_rows_equal_rows_of_all)
{
    each_model(check_picks);
}
END_TEST

/* ---- states ---------------------------------------------------------------------- */
/* One round: some of the sequences get a few more tokens each. */
static void feed_some(struct loaded *l, const struct texts *t,
                      struct net_state *const *states, const float *want)
{
    struct net_state *some[SEQS_MAX];
    size_t starts[SEQS_MAX + 1] = {0}, which[SEQS_MAX], from[SEQS_MAX], B = 0;
    int32_t ids[TOKENS_MAX];
    for (size_t b = 0; b < t->B; b++) {
        size_t done = l->net->ops->state_length(states[b]);
        size_t left = t->starts[b + 1] - t->starts[b] - done, n = 1 + below(21);
        if (left == 0 || below(3) == 0)
            continue;
        n = n < left ? n : left;
        some[B] = states[b];
        which[B] = b;
        from[B] = done;
        starts[B + 1] = starts[B] + n;
        memcpy(ids + starts[B], t->ids + t->starts[b] + done, n * sizeof *ids);
        B++;
    }
    if (B == 0)
        return;
    struct net_batch batch = {.B = B, .starts = starts, .ids = ids, .states = some};
    size_t D = l->net->out_width;
    enum net_want kind = below(4) == 0 ? NET_ONE : NET_ALL;
    float *y = loaded_run(l, &batch, kind);
    for (size_t i = 0; i < B; i++) {
        size_t n = starts[i + 1] - starts[i];
        const float *row = want + (t->starts[which[i]] + from[i]) * D;
        ck_assert_uint_eq(l->net->ops->state_length(some[i]), from[i] + n);
        if (kind == NET_ALL)
            assert_bits(l, "cached differs from uncached", y + starts[i] * D, row, n * D);
        else
            assert_bits(l, "last cached row differs", y + i * D, row + (n - 1) * D, D);
    }
    free(y);
}

static void check_cached(struct loaded *l)
{
    if (!l->net->ops->state_new)
        return;
    struct texts t;
    struct net_state *states[SEQS_MAX];
    random_texts(l, &t, MIXED, N_MIXED);
    struct net_batch all = texts_batch(&t);
    float *want = loaded_run(l, &all, NET_ALL);
    size_t fed = 0;
    for (size_t b = 0; b < t.B; b++)
        states[b] = new_state(l);
    while (fed < t.starts[t.B]) {
        feed_some(l, &t, states, want);
        fed = 0;
        for (size_t b = 0; b < t.B; b++)
            fed += l->net->ops->state_length(states[b]);
    }
    for (size_t b = 0; b < t.B; b++)
        l->net->ops->state_free(states[b]);
    free(want);
}

START_TEST(cached_equals_uncached)
{
    each_model(check_cached);
}
END_TEST

/* Copies go separate ways, from full and half-filled blocks, and a reset starts anew. */
static void check_copies(struct loaded *l)
{
    const struct net_ops *ops = l->net->ops;
    if (!ops->state_new)
        return;
    struct err err = {0};
    size_t D = l->net->out_width;
    static const size_t prefixes[] = {0, 1, 15, 16, 17};
    for (size_t p = 0; p < sizeof prefixes / sizeof prefixes[0]; p++) {
        size_t n = prefixes[p], more = 13, lengths[2] = {n + more, n + more};
        struct texts t;
        random_texts(l, &t, lengths, 2);
        memcpy(t.ids + t.starts[1], t.ids, n * sizeof *t.ids); /* a common prefix */
        struct net_batch all = texts_batch(&t);
        float *want = loaded_run(l, &all, NET_ALL);
        struct net_state *a = new_state(l), *b = new_state(l), *c = new_state(l);
        if (n)
            free(feed(l, a, t.ids, n));
        free(feed(l, b, t.ids + 3, 9)); /* something to forget */
        size_t before = ops->state_bytes(a);
        ck_assert_int_eq(ops->state_copy(b, a, &err), ERR_OK);
        ck_assert_int_eq(ops->state_copy(c, b, &err), ERR_OK);
        ck_assert_int_eq(ops->state_copy(a, a, &err), ERR_OK);
        ck_assert_uint_eq(ops->state_length(b), n);
        ck_assert_uint_eq(ops->state_bytes(b), before);
        /* By turns, so that one's tokens would spoil the other's. */
        for (size_t at = n, step; at < n + more; at += step) {
            step = at == n ? 5 : n + more - at;
            float *left = feed(l, a, t.ids + at, step);
            float *right = feed(l, b, t.ids + t.starts[1] + at, step);
            assert_bits(l, "the original was changed", left, want + at * D, step * D);
            assert_bits(l, "the copy differs", right, want + (t.starts[1] + at) * D,
                        step * D);
            free(left);
            free(right);
        }
        ops->state_free(a);
        float *late = feed(l, c, t.ids + n, more);
        assert_bits(l, "a copy of a copy differs", late, want + n * D, more * D);
        ops->state_reset(b);
        ck_assert_uint_eq(ops->state_length(b), 0);
        float *again = feed(l, b, t.ids, n + more);
        assert_bits(l, "reset differs from fresh", again, want, (n + more) * D);
        ops->state_free(b);
        ops->state_free(c);
        ops->state_free(NULL);
        free(want);
        free(late);
        free(again);
    }
}

START_TEST(copies_go_separate_ways_and_reset_starts_anew)
{
    each_model(check_copies);
}
END_TEST

/* ---- hooks ----------------------------------------------------------------------- */

/* What a pass showed of one text: hidden rows of every layer, and the same put together
 * from the steps; sums of attention rows. */
struct seen {
    size_t T, directions, rows, steps;
    float *hidden; /* [layers+1,T,W] */
    float *h;      /* [layers+1,T,W], layer l+1 from step hooks */
    size_t W;
    bool causal;
};

static void sum_row(void *arg, size_t seq, size_t layer, size_t head, size_t query,
                    size_t n_keys, const float *p)
{
    (void)seq, (void)layer, (void)head;
    struct seen *s = arg;
    double sum = 0;
    bool shares = true; /* each check costs a system call */
    for (size_t i = 0; i < n_keys; i++) {
        shares &= p[i] >= 0 && p[i] <= 1;
        sum += p[i];
    }
    ck_assert(shares);
    ck_assert_msg(fabs(sum - 1) < 1e-5, "a row sums to %.8f", sum);
    if (s && s->causal)
        ck_assert_uint_eq(n_keys, query + 1);
    if (s)
        s->rows++;
}

static void keep_hidden(void *arg, size_t seq, size_t layer, size_t first, size_t n,
                        size_t D, const float *h)
{
    struct seen *s = arg;
    if (!s)
        return;
    ck_assert_uint_eq(seq, 0);
    for (size_t i = 0; i < n; i++)
        memcpy(s->hidden + (layer * s->T + first + i) * s->W, h + i * D, D * sizeof *h);
}

static void keep_step(void *arg, const struct trace_step *t)
{
    struct seen *s = arg;
    if (!s)
        return;
    memcpy(s->h + ((t->layer + 1) * s->T + t->step) * s->W + t->direction * t->H, t->h,
           t->H * sizeof *t->h);
    s->steps++;
}

static void check_traced(struct loaded *l)
{
    static const struct trace trace = {
        .attention = sum_row, .hidden = keep_hidden, .step = keep_step};
    struct texts t;
    random_texts(l, &t, MIXED, N_MIXED);
    struct net_batch all = texts_batch(&t);
    enum net_want wants[] = {loaded_want(l), NET_ONE};
    for (size_t i = 0; i < (gives_rows(l) ? 2 : 1); i++) {
        l->x.trace = NULL;
        float *plain = loaded_run(l, &all, wants[i]);
        l->x.trace = &trace;
        float *traced = loaded_run(l, &all, wants[i]);
        assert_bits(l, "traced differs from untraced", plain, traced,
                    loaded_floats(l, &all, wants[i]));
        free(plain);
        free(traced);
    }
}

START_TEST(traced_equals_untraced_and_rows_sum_to_one)
{
    each_model(check_traced);
}
END_TEST

/* The last layer's hidden rows are what the output layer reads, position by position. */
static void check_top(struct loaded *l, const struct texts *t, const struct seen *s)
{
    if (!gives_rows(l) || l->net->cfg.head == HEAD_MASKED_LM) /* whose head comes first */
        return;
    struct net_batch batch = texts_batch(t);
    l->x.trace = NULL;
    float *y = loaded_run(l, &batch, NET_ALL);
    size_t D = l->net->out_width, top = l->net->cfg.n_layers * s->T;
    for (size_t r = 0; r < s->T; r++)
        assert_bits(l, "hidden rows differ from the result", y + r * D,
                    s->hidden + (top + r) * s->W, D);
    free(y);
}

/* Hidden rows of a recurrent layer are the h of its steps; positions count on from what a
 * state was fed. */
static void check_hidden(struct loaded *l)
{
    const struct config *c = &l->net->cfg;
    size_t lengths[1] = {40}, cut = 23, starts[2] = {0, 0}, D = l->net->out_width;
    struct texts t;
    random_texts(l, &t, lengths, 1);
    bool causal = c->arch == ARCH_GPT2 || c->arch == ARCH_LLAMA;
    struct seen s = {.T = t.starts[1], .causal = causal};
    s.W = D > c->width ? D : c->width;
    size_t n = (c->n_layers + 1) * s.T * s.W;
    s.hidden = calloc(n, sizeof *s.hidden);
    s.h = calloc(n, sizeof *s.h);
    ck_assert(s.hidden && s.h);
    struct trace trace = {
        .arg = &s, .attention = sum_row, .hidden = keep_hidden, .step = keep_step};
    struct net_state *state = l->net->ops->state_new ? new_state(l) : NULL;
    struct net_batch batch = texts_batch(&t);
    l->x.trace = &trace;
    if (!state) {
        free(loaded_run(l, &batch, loaded_want(l)));
    } else {
        batch.B = 1;
        batch.starts = starts;
        batch.states = &state;
        for (size_t at = 0; at < s.T; at += starts[1]) {
            starts[1] = at == 0 ? cut : s.T - at;
            batch.ids = t.ids + at;
            free(loaded_run(l, &batch, NET_ALL));
        }
    }
    check_top(l, &t, &s);
    if (c->arch == ARCH_RNN) {
        ck_assert_uint_eq(s.steps, c->n_layers * s.T * (c->bidirectional ? 2 : 1));
        for (size_t i = 1; i <= c->n_layers; i++)
            for (size_t r = 0; r < s.T; r++)
                assert_bits(l, "hidden rows differ from steps",
                            s.hidden + (i * s.T + r) * s.W, s.h + (i * s.T + r) * s.W, D);
    } else {
        ck_assert_uint_eq(s.rows, c->n_layers * c->n_heads * s.T);
    }
    if (state)
        l->net->ops->state_free(state);
    free(s.hidden);
    free(s.h);
}

START_TEST(hidden_rows_equal_steps)
{
    each_model(check_hidden);
}
END_TEST
int main(void)
{
    const TTest *const tests[] = {
        batched_equals_alone,
        batched_equals_alone_in_wide_recurrent_nets,
        last_row_equals_row_of_all,
        picked_rows_equal_rows_of_all,
        cached_equals_uncached,
        copies_go_separate_ways_and_reset_starts_anew,
        traced_equals_untraced_and_rows_sum_to_one,
        hidden_rows_equal_steps,
        NULL,
    };
    return suite_run("nets", tests, 120);
}
