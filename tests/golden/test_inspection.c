/* What the trace sees of attention besides weights, against the definitions applied to
 * transformers' own rows (make_inspection.py): scores and norms of values of every layer,
 * head and query, with every kernel variant of this machine. Bound: 1e-5, of the value
 * where that is above 1. */
#include "model/nets/attention.h"
#include "tests/suite.h"
#include "tests/unit/fixture.h"
#include "tests/unit/net_fixture.h"

#include <math.h>

static const char *const FOLDERS[] = {"bert",    "gpt2",       "llama",
                                      "mistral", "modernbert", "lstm-both-hops"};

/* What stands in a file for the score of a key that is not seen. */
static const float NOT_SEEN = -3e38f;

struct check {
    const float *want; /* [layers,heads,queries,T] */
    size_t layers, heads, queries, T;
    size_t rows;
    size_t most_layers; /* 0: all */
    double worst;
};

static double error_of(float have, float want)
{
    if (want <= NOT_SEEN)
        return have == -INFINITY ? 0 : INFINITY;
    ck_assert(isfinite(have));
    return fabs((double)have - (double)want) / fmax(1, fabs((double)want));
}

static void see(void *arg, size_t seq, size_t layer, size_t head, size_t query,
                size_t n_keys, const float *p)
{
    struct check *c = arg;
    ck_assert_uint_eq(seq, 0);
    ck_assert_uint_lt(layer, c->most_layers ? c->most_layers : c->layers);
    const float *want = c->want + ((layer * c->heads + head) * c->queries + query) * c->T;
    for (size_t k = 0; k < n_keys; k++)
        c->worst = fmax(c->worst, error_of(p[k], want[k]));
    for (size_t k = n_keys; k < c->T; k++)
        ck_assert(want[k] == 0 || want[k] <= NOT_SEEN);
    c->rows++;
}

/* The numbers on line b of a folder's file; returns how many, 0 if there is no file. */
static size_t read_line(const char *dir, const char *name, size_t b, long *to)
{
    char *text = fixture_text(dir, name), *at = text, *end;
    size_t n = 0;
    for (size_t line = 0; text && line < b; line++) {
        at = strchr(at, '\n');
        ck_assert_ptr_nonnull(at);
        at++;
    }
    for (; text && *at != '\n' && *at; at = end, n++) {
        ck_assert_uint_lt(n, TOKENS_MAX);
        to[n] = strtol(at, &end, 10);
        ck_assert_ptr_ne(at, end);
    }
    free(text);
    return n;
}

static void read_text(const char *dir, size_t b, struct texts *t)
{
    static long numbers[TOKENS_MAX];
    size_t n = read_line(dir, "ids", b, numbers);
    ck_assert_uint_gt(n, 0);
    *t = (struct texts){.B = 1, .starts = {0, n}};
    for (size_t i = 0; i < n; i++)
        t->ids[i] = (int32_t)numbers[i];
    t->typed = read_line(dir, "types", b, numbers) == n;
    for (size_t i = 0; t->typed && i < n; i++)
        t->types[i] = (uint8_t)numbers[i];
}

static float *run(struct loaded *l, const struct texts *t, struct check *c,
                  enum trace_maps maps)
{
    const struct config *cfg = &l->net->cfg;
    struct net_batch batch = texts_batch(t);
    struct trace trace = {
        .arg = c, .maps = maps, .n_layers = c->most_layers, .attention = see};
    float *norms = NULL;
    if (maps == TRACE_VALUE_NORMS && cfg->arch != ARCH_RNN) {
        norms = malloc(attention_norm_floats(cfg->n_heads, cfg->head_width, cfg->width,
                                             t->starts[1]) *
                       sizeof *norms);
        ck_assert_ptr_nonnull(norms);
    }
    trace.norms = norms;
    l->x.trace = &trace;
    float *y = loaded_run(l, &batch, loaded_want(l));
    l->x.trace = NULL;
    free(norms);
    return y;
}

static void check_maps(struct loaded *l, const struct texts *t, struct weights *w,
                       size_t b, enum trace_maps maps)
{
    const struct config *cfg = &l->net->cfg;
    bool pools = cfg->arch == ARCH_RNN;
    size_t T = t->starts[1];
    struct check c = {.layers = pools ? 1 : cfg->n_layers,
                      .heads = pools ? cfg->hops : cfg->n_heads,
                      .queries = pools ? 1 : T,
                      .T = T};
    size_t shape[] = {c.layers, c.heads, c.queries, T};
    size_t n = c.layers * c.heads * c.queries * T;
    char name[40];
    struct err err = {0};
    snprintf(name, sizeof name, "%s.%zu", maps == TRACE_SCORES ? "scores" : "value_norms",
             b);
    if (!weights_has(w, name))
        return;
    float *want = malloc(n * sizeof *want);
    ck_assert_ptr_nonnull(want);
    ck_assert_msg(weights_get(w, name, 4, shape, want, &err) == ERR_OK, "%s", err.msg);
    c.want = want;
    struct net_batch batch = texts_batch(t);
    size_t floats = loaded_floats(l, &batch, loaded_want(l));
    float *alone = loaded_run(l, &batch, loaded_want(l));
    float *watched = run(l, t, &c, maps);
    ck_assert_mem_eq(watched, alone, floats * sizeof *alone);
    ck_assert_uint_eq(c.rows, c.layers * c.heads * c.queries);
    ck_assert_msg(c.worst < 1e-5, "%s of %s off by %g", name, cfg->architecture, c.worst);
    free(watched);
    if (!pools) { /* the pass ends where it is told to */
        c.most_layers = 1;
        c.rows = 0;
        free(run(l, t, &c, maps));
        ck_assert_uint_eq(c.rows, c.heads * T);
    }
    free(alone);
    free(want);
}

static void check_folder(const char *folder, const struct kernels *k)
{
    char dir[100], path[200];
    struct loaded l;
    struct weights *w = NULL;
    struct err err = {0};
    static struct texts t;
    size_t texts = 0;
    snprintf(dir, sizeof dir, "tests/golden/nets/%s", folder);
    snprintf(path, sizeof path, "%s/inspection", dir);
    loaded_open(&l, dir, k);
    ck_assert_msg(weights_open(path, &w, &err) == ERR_OK, "%s", err.msg);
    for (size_t b = 0; b < SEQS_MAX; b++) {
        char name[40];
        snprintf(name, sizeof name, "scores.%zu", b);
        if (!weights_has(w, name))
            continue;
        read_text(dir, b, &t);
        check_maps(&l, &t, w, b, TRACE_SCORES);
        check_maps(&l, &t, w, b, TRACE_VALUE_NORMS);
        texts++;
    }
    ck_assert_uint_ge(texts, 3);
    weights_close(w);
    loaded_close(&l);
}

START_TEST(scores_and_norms_of_values_are_as_defined)
{
    for (const char *const *cpu = kernels_names(); *cpu; cpu++)
        for (size_t i = 0; i < sizeof FOLDERS / sizeof *FOLDERS; i++)
            check_folder(FOLDERS[i], kernels_get(*cpu));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {scores_and_norms_of_values_are_as_defined, NULL};
    return suite_run("golden_inspection", tests, 60);
}
