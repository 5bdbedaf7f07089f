/* The nets against PyTorch: every folder of tests/golden/nets with every kernel variant
 * of this machine, all texts of a folder in one ragged batch, watched through all hooks;
 * nets that have states also piece by piece.
 * Bounds of f32: logits 1e-4 of the largest of their row, attention, states and gates
 * 1e-5. */
#include "tests/suite.h"
#include "tests/unit/fixture.h"
#include "tests/unit/net_fixture.h"

#include <math.h>

static const char *const FOLDERS = "tests/golden/nets";

/* What rounding the weights, and for int8 the rows too, does to nets as small as these,
 * with random weights, is no measure of real ones. But no layer with a wrong scale would
 * stay within. */
static const struct bounds {
    double logits, attention, states;
} BOUNDS[] = {[PRECISION_F32] = {1e-4, 1e-5, 1e-5},
              [PRECISION_BF16] = {0.1, 0.08, 0.06},
              [PRECISION_INT8] = {0.4, 0.25, 0.2}};

/* ---- reading --------------------------------------------------------------------- */

/* Lines of numbers; texts that hold types fill those. */
static void read_lines(const char *dir, const char *name, struct texts *t, bool types)
{
    char *text = fixture_text(dir, name), *at = text, *end;
    ck_assert_ptr_nonnull(text);
    size_t n = 0, B = 0;
    while (*at) {
        long v = strtol(at, &end, 10);
        ck_assert_ptr_ne(at, end);
        ck_assert_uint_lt(n, TOKENS_MAX);
        if (types)
            t->types[n++] = (uint8_t)v;
        else
            t->ids[n++] = (int32_t)v;
        if (*end == '\n' || *end == '\0') {
            ck_assert_uint_lt(B, SEQS_MAX);
            if (types)
                ck_assert_uint_eq(t->starts[B + 1], n);
            t->starts[++B] = n;
        }
        at = end + (*end != '\0');
    }
    t->B = B;
    free(text);
}

static void read_texts(const char *dir, struct texts *t)
{
    char *types = fixture_text(dir, "types");
    *t = (struct texts){.typed = types != NULL};
    free(types);
    read_lines(dir, "ids", t, false);
    if (t->typed)
        read_lines(dir, "types", t, true);
}

/* An expected tensor; free(). NULL if the file has none of this name. */
static float *expected(struct weights *w, const char *what, size_t b, size_t rank,
                       const size_t *shape)
{
    char name[64];
    struct err err = {0};
    size_t n = 1;
    snprintf(name, sizeof name, "%s.%zu", what, b);
    if (!weights_has(w, name))
        return NULL;
    for (size_t i = 0; i < rank; i++)
        n *= shape[i];
    float *out = malloc(n * sizeof *out);
    ck_assert_ptr_nonnull(out);
    enum err_code code = weights_get(w, name, rank, shape, out, &err);
    ck_assert_msg(code == ERR_OK, "%s", err.msg);
    return out;
}

/* ---- comparing ------------------------------------------------------------------- */

/* One folder on one variant, and what its hooks have to see. */
struct golden {
    const char *dir;
    enum precision precision;
    struct loaded l;
    struct texts t;
    float *attention[SEQS_MAX];                         /* [layers,heads,queries,keys] */
    float *hidden[SEQS_MAX];                            /* [layers+1,T,D] */
    float *h[SEQS_MAX], *c[SEQS_MAX], *gates[SEQS_MAX]; /* [layers,directions,T,.] */
    size_t map_layers, map_heads, directions, G;
    size_t texts[SEQS_MAX]; /* which text a sequence of the pass is */
    size_t seen_rows, seen_hidden, seen_steps;
    double worst_attention, worst_state, worst_hidden;
};

static size_t length(const struct golden *g, size_t b)
{
    return g->t.starts[b + 1] - g->t.starts[b];
}

static double difference(size_t n, const float *a, const float *b)
{
    double most = 0;
    bool numbers = true; /* each check costs a system call */
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - b[i]);
        numbers &= !isnan(d);
        most = d > most ? d : most;
    }
    ck_assert(numbers);
    return most;
}

static double largest(size_t n, const float *a)
{
    double most = 0;
    for (size_t i = 0; i < n; i++)
        most = fabs((double)a[i]) > most ? fabs((double)a[i]) : most;
    return most;
}

static void raise_to(double *worst, double d)
{
    *worst = d > *worst ? d : *worst;
}

static bool causal(const struct golden *g)
{
    enum arch arch = g->l.net->cfg.arch;
    return arch == ARCH_GPT2 || arch == ARCH_LLAMA;
}

static void see_attention(void *arg, size_t seq, size_t layer, size_t head, size_t query,
                          size_t n_keys, const float *p)
{
    struct golden *g = arg;
    bool pools = g->l.net->cfg.arch == ARCH_RNN;
    size_t b = g->texts[seq], T = length(g, b), rows = pools ? 1 : T;
    ck_assert_uint_lt(layer, g->map_layers);
    ck_assert_uint_lt(head, g->map_heads);
    ck_assert_uint_lt(query, rows);
    ck_assert_uint_eq(n_keys, causal(g) ? query + 1 : T);
    g->seen_rows++;
    if (!g->attention[b])
        return;
    const float *want =
        g->attention[b] + ((layer * g->map_heads + head) * rows + query) * T;
    raise_to(&g->worst_attention, difference(n_keys, p, want));
    bool ahead = false;
    for (size_t i = n_keys; i < T; i++)
        ahead |= want[i] != 0;
    ck_assert_msg(!ahead, "%s: PyTorch looks ahead", g->dir);
}

static void see_hidden(void *arg, size_t seq, size_t layer, size_t first, size_t n,
                       size_t D, const float *h)
{
    struct golden *g = arg;
    size_t b = g->texts[seq], T = length(g, b);
    ck_assert_uint_le(layer, g->l.net->cfg.n_layers);
    ck_assert_uint_le(first + n, T);
    g->seen_hidden += n;
    if (!g->hidden[b])
        return;
    const float *want = g->hidden[b] + (layer * T + first) * D;
    raise_to(&g->worst_hidden,
             difference(n * D, h, want) / fmax(1, largest(n * D, want)));
}

static void see_step(void *arg, const struct trace_step *s)
{
    struct golden *g = arg;
    size_t b = g->texts[s->seq], T = length(g, b);
    size_t at = (s->layer * g->directions + s->direction) * T + s->step;
    ck_assert_uint_lt(s->layer, g->l.net->cfg.n_layers);
    ck_assert_uint_lt(s->direction, g->directions);
    ck_assert_uint_lt(s->step, T);
    ck_assert_uint_eq(s->H, g->l.net->cfg.hidden);
    g->seen_steps++;
    if (!g->h[b])
        return;
    raise_to(&g->worst_state, difference(s->H, s->h, g->h[b] + at * s->H));
    ck_assert(!s->c == !g->c[b]);
    if (s->c)
        raise_to(&g->worst_state, difference(s->H, s->c, g->c[b] + at * s->H));
    ck_assert(!s->gates == !g->gates[b]);
    if (s->gates)
        raise_to(&g->worst_state,
                 difference(g->G * s->H, s->gates, g->gates[b] + at * g->G * s->H));
}

/* ---- what is expected ------------------------------------------------------------ */

static void read_expected(struct golden *g, struct weights *w)
{
    const struct config *c = &g->l.net->cfg;
    bool recurrent = c->arch == ARCH_RNN;
    bool pools = recurrent && c->head == HEAD_LABELS && c->pooling == POOL_ATTENTION;
    g->map_layers = recurrent ? pools : c->n_layers;
    g->map_heads = recurrent ? c->hops : c->n_heads;
    g->directions = c->bidirectional ? 2 : 1;
    g->G = c->cell == CELL_LSTM ? 4 : 3;
    size_t with_maps = 0;
    for (size_t b = 0; b < g->t.B; b++) {
        size_t T = length(g, b);
        size_t maps[4] = {g->map_layers, g->map_heads, recurrent ? 1 : T, T};
        size_t hidden[3] = {c->n_layers + 1, T, c->width};
        size_t h[4] = {c->n_layers, g->directions, T, c->hidden};
        size_t gates[4] = {c->n_layers, g->directions, T, g->G * c->hidden};
        g->attention[b] = expected(w, "attention", b, 4, maps);
        with_maps += g->attention[b] != NULL;
        g->hidden[b] = expected(w, "hidden", b, 3, hidden);
        g->h[b] = expected(w, "h", b, 4, h);
        g->c[b] = expected(w, "c", b, 4, h);
        g->gates[b] = expected(w, "gates", b, 4, gates);
    }
    ck_assert((with_maps > 0) == (g->map_layers > 0));
}

/* Rows of logits, each against the largest of its own. */
static double logit_error(size_t rows, size_t n, const float *have, const float *want)
{
    double most = 0;
    for (size_t r = 0; r < rows; r++)
        raise_to(&most,
                 difference(n, have + r * n, want + r * n) / largest(n, want + r * n));
    return most;
}

static double language_error(struct golden *g, const float *hidden, struct weights *w)
{
    struct net *n = g->l.net;
    struct err err = {0};
    size_t V = n->cfg.vocab, T = g->t.starts[g->t.B];
    float *logits = malloc(T * V * sizeof *logits);
    ck_assert_ptr_nonnull(logits);
    ck_assert_int_eq(n->ops->logits(n, T, hidden, logits, &g->l.x, &err), ERR_OK);
    double most = 0;
    for (size_t b = 0; b < g->t.B; b++) {
        size_t shape[2] = {length(g, b), V};
        float *want = expected(w, "logits", b, 2, shape);
        ck_assert_ptr_nonnull(want);
        raise_to(&most, logit_error(shape[0], V, logits + g->t.starts[b] * V, want));
        free(want);
    }
    free(logits);
    return most;
}

static double label_error(struct golden *g, const float *labels, struct weights *w)
{
    double most = 0;
    size_t L = g->l.net->cfg.n_labels;
    for (size_t b = 0; b < g->t.B; b++) {
        float *want = expected(w, "labels", b, 1, &L);
        ck_assert_ptr_nonnull(want);
        raise_to(&most, logit_error(1, L, labels + b * L, want));
        free(want);
    }
    return most;
}

/* The last hidden rows of a bare encoder. */
static double row_error(struct golden *g, const float *rows, struct weights *w)
{
    double most = 0;
    size_t D = g->l.net->out_width;
    for (size_t b = 0; b < g->t.B; b++) {
        size_t shape[2] = {length(g, b), D};
        float *want = expected(w, "rows", b, 2, shape);
        ck_assert_ptr_nonnull(want);
        raise_to(&most, logit_error(shape[0], D, rows + g->t.starts[b] * D, want));
        free(want);
    }
    return most;
}

static double result_error(struct golden *g, const float *y, struct weights *w)
{
    switch (g->l.net->cfg.head) {
    case HEAD_LABELS:
        return label_error(g, y, w);
    case HEAD_NONE:
        return row_error(g, y, w);
    case HEAD_LM:
    case HEAD_MASKED_LM:
        break;
    }
    return language_error(g, y, w);
}

/* Every row of every map, every step, every hidden row was seen exactly as often as they
 * exist. */
static void check_counts(const struct golden *g)
{
    const struct config *c = &g->l.net->cfg;
    size_t T = g->t.starts[g->t.B], rows = c->arch == ARCH_RNN ? g->t.B : T;
    ck_assert_uint_eq(g->seen_rows, g->map_layers * g->map_heads * rows);
    ck_assert_uint_eq(g->seen_hidden, (c->n_layers + 1) * T);
    ck_assert_uint_eq(g->seen_steps,
                      c->arch == ARCH_RNN ? c->n_layers * g->directions * T : 0);
}

/* ---- at once and in pieces ------------------------------------------------------- */

static float *run_at_once(struct golden *g)
{
    struct net_batch batch = texts_batch(&g->t);
    for (size_t b = 0; b < g->t.B; b++)
        g->texts[b] = b;
    return loaded_run(&g->l, &batch, loaded_want(&g->l));
}

/* One round: up to `most` more tokens of every text that has some left. False if none
 * has. y [T,D'] gets their rows. */
static bool feed_round(struct golden *g, struct net_state *const *all, size_t most,
                       float *y)
{
    const struct net *n = g->l.net;
    struct net_state *states[SEQS_MAX];
    size_t starts[SEQS_MAX + 1] = {0}, from[SEQS_MAX], B = 0, D = n->out_width;
    int32_t ids[TOKENS_MAX];
    for (size_t b = 0; b < g->t.B; b++) {
        size_t fed = n->ops->state_length(all[b]), left = length(g, b) - fed;
        size_t more = left < most ? left : most;
        if (more == 0)
            continue;
        states[B] = all[b];
        g->texts[B] = b;
        from[B] = g->t.starts[b] + fed;
        memcpy(ids + starts[B], g->t.ids + from[B], more * sizeof *ids);
        starts[B + 1] = starts[B] + more;
        B++;
    }
    struct net_batch batch = {.B = B, .starts = starts, .ids = ids, .states = states};
    if (B == 0)
        return false;
    float *rows = loaded_run(&g->l, &batch, NET_ALL);
    for (size_t i = 0; i < B; i++)
        memcpy(y + from[i] * D, rows + starts[i] * D,
               (starts[i + 1] - starts[i]) * D * sizeof *y);
    free(rows);
    return true;
}

/* In pieces that end before, at and behind the ends of cache blocks. */
static float *run_in_pieces(struct golden *g)
{
    const struct net_ops *ops = g->l.net->ops;
    struct net_state *states[SEQS_MAX];
    struct err err = {0};
    size_t step = 1;
    float *y = malloc(g->t.starts[g->t.B] * g->l.net->out_width * sizeof *y);
    ck_assert_ptr_nonnull(y);
    for (size_t b = 0; b < g->t.B; b++)
        ck_assert_int_eq(ops->state_new(g->l.net, &states[b], &err), ERR_OK);
    while (feed_round(g, states, step, y))
        step = step % 11 + 5;
    for (size_t b = 0; b < g->t.B; b++)
        ops->state_free(states[b]);
    return y;
}

/* ---- one folder ------------------------------------------------------------------ */

/* Over all folders, for the report. */
static struct {
    double logits, attention, states, hidden;
} worst[PRECISION_INT8 + 1];

static void check_run(struct golden *g, struct weights *w,
                      float *(*run)(struct golden *g))
{
    const char *name = g->l.net->k->name;
    const struct bounds *bounds = &BOUNDS[g->precision];
    g->seen_rows = g->seen_hidden = g->seen_steps = 0;
    float *y = run(g);
    double logits = result_error(g, y, w);
    check_counts(g);
    raise_to(&worst[g->precision].logits, logits);
    raise_to(&worst[g->precision].attention, g->worst_attention);
    raise_to(&worst[g->precision].states, g->worst_state);
    raise_to(&worst[g->precision].hidden, g->worst_hidden);
    ck_assert_msg(logits < bounds->logits, "%s on %s: logits off by %g", g->dir, name,
                  logits);
    ck_assert_msg(g->worst_attention < bounds->attention, "%s on %s: attention off by %g",
                  g->dir, name, g->worst_attention);
    ck_assert_msg(g->worst_state < bounds->states, "%s on %s: states off by %g", g->dir,
                  name, g->worst_state);
    ck_assert_msg(g->worst_hidden < bounds->logits, "%s on %s: hidden rows off by %g",
                  g->dir, name, g->worst_hidden);
    free(y);
}

static void check_folder(const char *dir, const struct kernels *k,
                         enum precision precision)
{
    struct golden *g = calloc(1, sizeof *g);
    struct weights *w = NULL;
    struct err err = {0};
    char path[PATH_MAX];
    ck_assert_ptr_nonnull(g);
    g->dir = dir;
    loaded_open_as(&g->l, dir, k, precision);
    g->precision = precision;
    read_texts(dir, &g->t);
    snprintf(path, sizeof path, "%s/expected", dir);
    ck_assert_msg(weights_open(path, &w, &err) == ERR_OK, "%s", err.msg);
    read_expected(g, w);
    struct trace trace = {
        .arg = g, .attention = see_attention, .hidden = see_hidden, .step = see_step};
    g->l.x.trace = &trace;
    check_run(g, w, run_at_once);
    if (g->l.net->ops->state_new && g->l.net->cfg.head != HEAD_LABELS)
        check_run(g, w, run_in_pieces);
    for (size_t b = 0; b < g->t.B; b++) {
        free(g->attention[b]);
        free(g->hidden[b]);
        free(g->h[b]);
        free(g->c[b]);
        free(g->gates[b]);
    }
    weights_close(w);
    loaded_close(&g->l);
    free(g);
}

/* ---- tests ----------------------------------------------------------------------- */

static void check_everywhere(const char *dir)
{
    for (const char *const *name = kernels_names(); *name; name++)
        for (enum precision p = PRECISION_F32; p <= PRECISION_INT8; p++)
            check_folder(dir, kernels_get(*name), p);
}

START_TEST(equals_pytorch)
{
    fixture_each(FOLDERS, 50, check_everywhere);
    static const char *const names[] = {"f32", "bf16", "int8"};
    for (enum precision p = PRECISION_F32; p <= PRECISION_INT8; p++)
        printf("%s, largest error: logits %.1e, attention %.1e, states %.1e, hidden rows "
               "%.1e\n",
               names[p], worst[p].logits, worst[p].attention, worst[p].states,
               worst[p].hidden);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {equals_pytorch, NULL};
    return suite_run("golden nets", tests, 60);
}
