/* What every net promises, on the golden folders with every kernel variant: bit for bit
 * the same alone and in a batch, from a state and at once, watched and unwatched; states;
 * scratch; refusals. test_nets_threads.c adds helpers. */
#include "tests/suite.h"
#include "tests/unit/fixture.h"
#include "tests/unit/net_fixture.h"
#include "tests/unit/net_maker.h"

#include <math.h>

static const char *const FOLDERS = "tests/golden/nets";

/* ---- all models ------------------------------------------------------------------ */

static void (*check)(struct loaded *l);

static void check_variants(const char *dir)
{
    for (const char *const *name = kernels_names(); *name; name++) {
        struct loaded l;
        loaded_open(&l, dir, kernels_get(*name));
        check(&l);
        loaded_close(&l);
    }
}

static void each_model(void (*fn)(struct loaded *l))
{
    check = fn;
    fixture_each(FOLDERS, 50, check_variants);
}

/* False for those that give labels only. */
static bool gives_rows(const struct loaded *l)
{
    const struct config *c = &l->net->cfg;
    return c->head != HEAD_LABELS || !config_is_encoder(c);
}

static uint64_t seed = 0x9e3779b97f4a7c15u;

static size_t below(size_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (size_t)(seed >> 33) % n;
}

/* Random ids; lengths are cut to the net's context. */
static void random_texts(const struct loaded *l, struct texts *t, const size_t *lengths,
                         size_t B)
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

static void assert_bits(const struct loaded *l, const char *what, const float *a,
                        const float *b, size_t n)
{
    ck_assert_msg(memcmp(a, b, n * sizeof *a) == 0, "%s on %s: %s",
                  l->net->cfg.architecture, l->net->k->name, what);
}

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

static void check_batch(struct loaded *l)
{
    struct texts t;
    random_texts(l, &t, MIXED, N_MIXED);
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

START_TEST(batched_equals_alone)
{
    each_model(check_batch);
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

static struct net_state *new_state(const struct loaded *l)
{
    struct err err = {0};
    struct net_state *s = NULL;
    ck_assert_msg(l->net->ops->state_new(l->net, &s, &err) == ERR_OK, "%s", err.msg);
    return s;
}

/* Feeds ids[0..n) to one state; the hidden rows [n,D'], free(). */
static float *feed(struct loaded *l, struct net_state *s, const int32_t *ids, size_t n)
{
    size_t starts[2] = {0, n};
    struct net_batch batch = {.B = 1, .starts = starts, .ids = ids, .states = &s};
    return loaded_run(l, &batch, NET_ALL);
}

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
    for (size_t i = 0; i < n_keys; i++) {
        ck_assert(p[i] >= 0 && p[i] <= 1);
        sum += p[i];
    }
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

/* ---- memory ---------------------------------------------------------------------- */

static void check_scratch(struct loaded *l)
{
    const struct net_ops *ops = l->net->ops;
    struct err err = {0};
    struct texts t;
    random_texts(l, &t, MIXED, N_MIXED);
    struct net_batch all = texts_batch(&t);
    enum net_want want = loaded_want(l);
    size_t bytes =
        ops->scratch_bytes(l->net, t.B, t.starts[t.B], texts_longest(&t), want);
    float *y = loaded_run(l, &all, want);
    ck_assert_uint_eq(l->tmp.peak, bytes);
    /* One line of memory less is refused, not overrun. */
    arena_done(&l->tmp);
    arena_init(&l->tmp);
    ck_assert_int_eq(arena_reserve(&l->tmp, bytes - 64, &err), ERR_OK);
    ck_assert_int_eq(ops->forward(l->net, &all, want, y, &l->x, &err), ERR_BUG);
    ck_assert_uint_eq(l->tmp.used, 0);
    free(y);
    /* More of anything never needs less. */
    for (size_t B = 1; B < 600; B += 1 + B / 4)
        for (size_t T = B; T < 3000; T += 1 + T / 3) {
            size_t at = ops->scratch_bytes(l->net, B, T, T / B, want);
            ck_assert_uint_le(at, ops->scratch_bytes(l->net, B + 1, T, T / B, want));
            ck_assert_uint_le(at, ops->scratch_bytes(l->net, B, T + 1, T / B, want));
            ck_assert_uint_le(at, ops->scratch_bytes(l->net, B, T, T / B + 1, want));
        }
}

START_TEST(scratch_is_what_scratch_bytes_says)
{
    each_model(check_scratch);
}
END_TEST

static void check_no_heap(struct loaded *l)
{
    struct texts t;
    random_texts(l, &t, MIXED, N_MIXED);
    struct net_batch all = texts_batch(&t);
    free(loaded_run(l, &all, loaded_want(l))); /* the arena has its size now */
    mem_fail_after(0);
    free(loaded_run(l, &all, loaded_want(l)));
    ck_assert_msg(mem_fail_pending(), "a pass took memory from the heap");
    mem_fail_after(-1);
}

START_TEST(a_pass_takes_nothing_from_the_heap)
{
    each_model(check_no_heap);
}
END_TEST

START_TEST(memory_of_one_way_nets_does_not_grow_with_the_text)
{
    struct loaded l;
    enum { LONG = 10000 };
    loaded_open(&l, "tests/golden/nets/lstm-lm", kernels_get(NULL));
    const struct net_ops *ops = l.net->ops;
    size_t long_bytes = ops->scratch_bytes(l.net, 1, LONG, LONG, NET_ONE);
    ck_assert_uint_eq(long_bytes, ops->scratch_bytes(l.net, 1, 500, 500, NET_ONE));
    int32_t *ids = malloc(LONG * sizeof *ids);
    ck_assert_ptr_nonnull(ids);
    for (size_t i = 0; i < LONG; i++)
        ids[i] = (int32_t)below(l.net->cfg.vocab);
    size_t starts[2] = {0, LONG};
    struct net_batch batch = {.B = 1, .starts = starts, .ids = ids};
    float *once = loaded_run(&l, &batch, NET_ONE), *last = NULL;
    struct net_state *s = new_state(&l);
    for (size_t at = 0, n; at < LONG; at += n) {
        n = LONG - at < 997 ? LONG - at : 997;
        free(last);
        last = feed(&l, s, ids + at, n);
    }
    size_t D = l.net->out_width, rest = LONG % 997;
    assert_bits(&l, "10,000 tokens differ in pieces", once, last + (rest - 1) * D, D);
    ops->state_free(s);
    free(once);
    free(last);
    free(ids);
    loaded_close(&l);
}
END_TEST

/* Files that hold a tensor twice. */
static bool holds_copies(const char *dir)
{
    static const char *const names[] = {"gpt2-unscaled", "bert-masked-first-names",
                                        "camembert-masked", "llama-one-key-head"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(strrchr(dir, '/') + 1, names[i]) == 0)
            return true;
    return false;
}

/* The reference keeps matrices as they are: 4 bytes for each parameter, less the second
 * bias of an LSTM or RNN, which is added to the first; MPNet's bias by bucket is kept by
 * distance. */
static void check_resident(const char *dir)
{
    struct config cfg = {0};
    struct weights *w = NULL;
    struct net *net = NULL;
    struct err err = {0};
    if (holds_copies(dir))
        return;
    ck_assert_int_eq(config_read(dir, &cfg, &err), ERR_OK);
    ck_assert_int_eq(weights_open(dir, &w, &err), ERR_OK);
    ck_assert_int_eq(net_load(&cfg, w, kernels_get("ref"), &net, &err), ERR_OK);
    const struct config *c = &net->cfg;
    size_t params = weights_params(w);
    if (c->n_buckets)
        params += c->n_heads * (2 * c->context - 1) - c->n_heads * c->n_buckets;
    if (c->arch == ARCH_RNN && c->cell != CELL_GRU && c->bias)
        params -= c->n_layers * (c->bidirectional ? 2 : 1) * c->hidden *
                  (c->cell == CELL_LSTM ? 4 : 1);
    ck_assert_msg(net->resident_bytes == 4 * params, "%s: %zu bytes, %zu parameters", dir,
                  net->resident_bytes, params);
    weights_close(w);
    net_free(net);
}

START_TEST(resident_bytes_are_exact)
{
    fixture_each(FOLDERS, 50, check_resident);
}
END_TEST

static void check_load_faults(const char *dir)
{
    enum err_code code = ERR_NOMEM;
    long n = 0;
    for (; code != ERR_OK; n++) {
        struct err err = {0};
        struct net *net = NULL;
        mem_fail_after(n);
        code = loaded_try(dir, kernels_get(NULL), &net, &err);
        ck_assert_msg(code == ERR_OK || code == ERR_NOMEM, "%s: allocation %ld: %s", dir,
                      n, err.msg);
        ck_assert(code == ERR_OK || !net);
        net_free(net);
    }
    mem_fail_after(-1);
    ck_assert_int_gt(n, 10);
}

START_TEST(load_survives_every_failed_allocation)
{
    check_load_faults("tests/golden/nets/lstm-both-attention");
    check_load_faults("tests/golden/nets/gru-lm-tied");
    check_load_faults("tests/golden/nets/gpt2-free");
    check_load_faults("tests/golden/nets/gpt2-unscaled");
    check_load_faults("tests/golden/nets/llama-rope-yarn");
    check_load_faults("tests/golden/nets/qwen3");
    check_load_faults("tests/golden/nets/bert");
}
END_TEST

START_TEST(a_cache_that_cannot_grow_keeps_what_it_has)
{
    struct loaded l;
    struct err err = {0};
    loaded_open(&l, "tests/golden/nets/gpt2", kernels_get(NULL));
    const struct net_ops *ops = l.net->ops;
    size_t lengths[1] = {32}, D = l.net->out_width, bytes;
    struct texts t;
    random_texts(&l, &t, lengths, 1);
    struct net_batch all = texts_batch(&t);
    float *want = loaded_run(&l, &all, NET_ALL);
    struct net_state *s = new_state(&l), *copy = new_state(&l);
    free(feed(&l, s, t.ids, 10));
    ck_assert_int_eq(ops->state_copy(copy, s, &err), ERR_OK);
    /* Needs a copy of the first block and a second block: two allocations. */
    size_t starts[2] = {0, 10};
    struct net_batch next = {.B = 1, .starts = starts, .ids = t.ids + 10, .states = &s};
    float y[32 * 64];
    bytes = ops->scratch_bytes(l.net, 1, 10, 10, NET_ALL);
    ck_assert_int_eq(arena_reserve(&l.tmp, bytes, &err), ERR_OK);
    for (long n = 0; n < 2; n++) {
        err = (struct err){0};
        mem_fail_after(n);
        enum err_code code = ops->forward(l.net, &next, NET_ALL, y, &l.x, &err);
        ck_assert(!mem_fail_pending());
        mem_fail_after(-1);
        ck_assert_int_eq(code, ERR_NOMEM);
        ck_assert_uint_eq(ops->state_length(s), 10);
    }
    float *rest = feed(&l, s, t.ids + 10, 22);
    assert_bits(&l, "differs after a failure", rest, want + 10 * D, 22 * D);
    mem_fail_after(0);
    struct net_state *none = NULL;
    ck_assert_int_eq(ops->state_new(l.net, &none, &err), ERR_NOMEM);
    mem_fail_after(-1);
    ops->state_free(s);
    ops->state_free(copy);
    free(rest);
    free(want);
    loaded_close(&l);
}
END_TEST

/* ---- refusals -------------------------------------------------------------------- */

/* Runs the batch and returns the code; the state's length must not change. */
static enum err_code refused(struct loaded *l, const struct net_batch *batch,
                             enum net_want want)
{
    struct err err = {0};
    static float y[TOKENS_MAX * 64];
    size_t T = batch->starts[batch->B];
    size_t bytes = l->net->ops->scratch_bytes(l->net, batch->B, T, T, want);
    ck_assert_int_eq(arena_reserve(&l->tmp, bytes, &err), ERR_OK);
    enum err_code code = l->net->ops->forward(l->net, batch, want, y, &l->x, &err);
    ck_assert_int_eq(code, err.code);
    ck_assert_uint_eq(l->tmp.used, 0);
    return code;
}

START_TEST(refuses_tokens_past_the_context)
{
    struct loaded l;
    int32_t ids[41] = {0};
    size_t starts[2] = {0, 33};
    struct net_batch batch = {.B = 1, .starts = starts, .ids = ids};
    loaded_open(&l, "tests/golden/nets/gpt2", kernels_get(NULL));
    ck_assert_int_eq(refused(&l, &batch, NET_ONE), ERR_LIMIT);
    struct net_state *s = new_state(&l);
    free(feed(&l, s, ids, 20));
    batch.states = &s;
    starts[1] = 13;
    ck_assert_int_eq(refused(&l, &batch, NET_ONE), ERR_LIMIT);
    ck_assert_uint_eq(l.net->ops->state_length(s), 20);
    starts[1] = 12;
    ck_assert_int_eq(refused(&l, &batch, NET_ONE), ERR_OK);
    starts[1] = 1;
    ck_assert_int_eq(refused(&l, &batch, NET_ONE), ERR_LIMIT);
    l.net->ops->state_free(s);
    loaded_close(&l);
    loaded_open(&l, "tests/golden/nets/bert", kernels_get(NULL));
    batch.states = NULL;
    starts[1] = 41;
    ck_assert_int_eq(refused(&l, &batch, NET_LABELS), ERR_LIMIT);
    starts[1] = 40;
    ck_assert_int_eq(refused(&l, &batch, NET_LABELS), ERR_OK);
    loaded_close(&l);
}
END_TEST

static void check_ids(struct loaded *l)
{
    size_t n_types = l->net->cfg.n_types;
    int32_t ids[3] = {0, (int32_t)l->net->cfg.vocab, 0};
    uint8_t types[3] = {0, n_types ? (uint8_t)n_types : 2, 0};
    size_t starts[2] = {0, 3};
    struct net_batch batch = {.B = 1, .starts = starts, .ids = ids};
    ck_assert_int_eq(refused(l, &batch, loaded_want(l)), ERR_INPUT);
    ids[1] = -1;
    ck_assert_int_eq(refused(l, &batch, loaded_want(l)), ERR_INPUT);
    ids[1] = (int32_t)l->net->cfg.vocab - 1;
    ck_assert_int_eq(refused(l, &batch, loaded_want(l)), ERR_OK);
    batch.types = types;
    ck_assert_int_eq(refused(l, &batch, loaded_want(l)), n_types ? ERR_INPUT : ERR_OK);
}

START_TEST(refuses_ids_and_types_out_of_range)
{
    each_model(check_ids);
}
END_TEST

static void check_wants(struct loaded *l)
{
    int32_t id = 0;
    size_t starts[2] = {0, 1};
    struct err err = {0};
    struct net_batch batch = {.B = 1, .starts = starts, .ids = &id};
    float h[64] = {0}, y[64];
    bool labels = l->net->cfg.head == HEAD_LABELS;
    bool bare = l->net->cfg.head == HEAD_NONE, hidden = gives_rows(l);
    ck_assert_int_eq(refused(l, &batch, NET_LABELS), labels ? ERR_OK : ERR_TASK);
    ck_assert_int_eq(refused(l, &batch, NET_ONE), hidden ? ERR_OK : ERR_TASK);
    ck_assert_int_eq(refused(l, &batch, NET_ALL), hidden ? ERR_OK : ERR_TASK);
    ck_assert_int_eq(l->net->ops->logits(l->net, 1, h, y, &l->x, &err),
                     labels || bare ? ERR_TASK : ERR_OK);
    if (!labels || !l->net->ops->state_new)
        return;
    struct net_state *s = new_state(l);
    batch.states = &s;
    ck_assert_int_eq(refused(l, &batch, NET_LABELS), ERR_TASK);
    ck_assert_int_eq(refused(l, &batch, NET_ONE), ERR_OK);
    l->net->ops->state_free(s);
}

START_TEST(refuses_rows_it_does_not_make)
{
    each_model(check_wants);
}
END_TEST

/* Every line of `expect` has to be in the message. */
static void check_invalid(const char *dir)
{
    struct err err = {0};
    struct net *net = NULL;
    char *expect = fixture_text(dir, "expect");
    ck_assert_ptr_nonnull(expect);
    ck_assert_msg(loaded_try(dir, kernels_get(NULL), &net, &err) != ERR_OK,
                  "%s: not refused", dir);
    ck_assert_ptr_null(net);
    for (char *line = expect, *end; line; line = end) {
        end = strchr(line, '\n');
        if (end)
            *end++ = '\0';
        ck_assert_msg(strstr(err.msg, line) != NULL, "%s: no \"%s\" in: %s", dir, line,
                      err.msg);
    }
    free(expect);
}

START_TEST(refuses_folders_that_disagree_with_themselves)
{
    fixture_each("tests/fixtures/nets/invalid", 32, check_invalid);
}
END_TEST

START_TEST(refuses_weights_packed_for_other_kernels)
{
    struct loaded l;
    int32_t id = 0;
    size_t starts[2] = {0, 1};
    struct net_batch batch = {.B = 1, .starts = starts, .ids = &id};
    struct kernels other = *kernels_get(NULL);
    loaded_open(&l, "tests/golden/nets/gpt2", kernels_get(NULL));
    l.x.k = &other;
    ck_assert_int_eq(refused(&l, &batch, NET_ONE), ERR_BUG);
    loaded_close(&l);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {batched_equals_alone,
                                  last_row_equals_row_of_all,
                                  picked_rows_equal_rows_of_all,
                                  cached_equals_uncached,
                                  copies_go_separate_ways_and_reset_starts_anew,
                                  traced_equals_untraced_and_rows_sum_to_one,
                                  hidden_rows_equal_steps,
                                  scratch_is_what_scratch_bytes_says,
                                  a_pass_takes_nothing_from_the_heap,
                                  memory_of_one_way_nets_does_not_grow_with_the_text,
                                  resident_bytes_are_exact,
                                  load_survives_every_failed_allocation,
                                  a_cache_that_cannot_grow_keeps_what_it_has,
                                  refuses_tokens_past_the_context,
                                  refuses_ids_and_types_out_of_range,
                                  refuses_rows_it_does_not_make,
                                  refuses_folders_that_disagree_with_themselves,
                                  refuses_weights_packed_for_other_kernels,
                                  NULL};
    return suite_run("nets", tests, 120);
}
