/* inspect.c, read_out.c, running.c: what a pass tells of its steps and rows, and that it
 * changes nothing. */
#include "tests/suite.h"
#include "tests/unit/tiny_models.h"

#include <math.h>

static const char *const TEXT = "the cat sat on the mat";
enum { T_MOST = 64, V_MOST = 400 };

/* ---- steps ----------------------------------------------------------------------- */

struct steps {
    const struct seq_info *info;
    size_t T, seen, next[4][2]; /* of each layer and direction */
    float c[4][2][64];          /* where the cell stands */
    double worst;
};

static void see_step(void *arg, size_t layer, size_t direction, size_t step,
                     const float *const *at)
{
    struct steps *s = arg;
    const float *i = at[0], *f = at[1], *g = at[2], *o = at[3], *c = at[4];
    float *before = s->c[layer][direction];
    size_t turn = s->next[layer][direction]++;
    ck_assert_uint_eq(step, direction ? s->T - 1 - turn : turn);
    s->seen++;
    for (size_t u = 0; u < s->info->state_width; u++) {
        double cell = (double)f[u] * before[u] + (double)i[u] * g[u];
        s->worst = fmax(s->worst, fabs(c[u] - cell));
        s->worst = fmax(s->worst, fabs(at[5][u] - tanh((double)c[u])));
        s->worst = fmax(s->worst, fabs(at[6][u] - (double)o[u] * at[5][u]));
        before[u] = c[u];
    }
}

static void check_steps(const char *model, enum seq_task task, size_t layers,
                        size_t directions, size_t width)
{
    struct fixture f = open_fixture(model, NULL);
    struct seq_tokens t = tokenize(&f, task, TEXT);
    struct steps s = {.info = seq_model_info(f.m), .T = t.n};
    const struct seq_sink sink = {.arg = &s, .step = see_step};
    ck_assert(s.info->recurrent);
    ck_assert_uint_eq(s.info->n_state_layers, layers);
    ck_assert_uint_eq(s.info->directions, directions);
    ck_assert_uint_eq(s.info->state_width, width);
    ck_assert_uint_eq(s.info->n_signals, 7);
    ck_assert_int_eq(seq_inspect(f.m, f.w, &t, &sink, NULL, &f.err), ERR_OK);
    ck_assert_uint_eq(s.seen, layers * directions * t.n);
    ck_assert_double_lt(s.worst, 1e-6);
    seq_tokens_done(&t);
    close_fixture(&f);
}

START_TEST(cells_follow_from_their_gates)
{
    check_steps("tiny-lstm", SEQ_NEXT_TOKEN, 2, 1, 24);
    check_steps("tiny-bilstm", SEQ_CLASSIFY, 1, 2, 12);
}
END_TEST

/* ---- rows ------------------------------------------------------------------------ */

struct rows {
    size_t V, seen;
    float logits[T_MOST][V_MOST];
};

static void see_row(void *arg, size_t i, double total, const float *logits)
{
    struct rows *r = arg;
    ck_assert_uint_eq(i, r->seen++);
    ck_assert(isfinite(total));
    memcpy(r->logits[i], logits, r->V * sizeof *logits);
}

static struct fixture open_as(const char *model, const char *precision)
{
    struct fixture f = {0};
    char dir[200];
    const struct seq_load_options options = {.precision = precision};
    snprintf(dir, sizeof dir, "tests/fixtures/models/%s", model);
    ck_assert_int_eq(seq_model_load(dir, &options, &f.m, &f.err), ERR_OK);
    ck_assert_int_eq(seq_worker_new(NULL, &f.w, &f.err), ERR_OK);
    return f;
}

static const char *const PRECISIONS[] = {"f32", "bf16", "int8"};
enum { N_PRECISIONS = sizeof PRECISIONS / sizeof *PRECISIONS };

/* The logits behind each token, fed one by one. */
static void check_answers(const char *model, const char *precision)
{
    struct fixture f = open_as(model, precision);
    const struct seq_info *info = seq_model_info(f.m);
    struct seq_tokens t = tokenize(&f, SEQ_NEXT_TOKEN, TEXT);
    static struct rows r;
    struct seq_row rows[T_MOST];
    struct seq_state *state;
    float want[V_MOST], first[V_MOST], again[V_MOST];
    r = (struct rows){.V = info->vocab};
    ck_assert_uint_le(info->vocab, V_MOST);
    for (size_t i = 0; i < t.n; i++)
        rows[i] = (struct seq_row){info->n_layers, i};
    const struct seq_sink none = {.arg = &r};
    const struct seq_sink sink = {
        .arg = &r, .n_layers = 1, .rows = rows, .n_rows = t.n, .logits = see_row};
    ck_assert_int_eq(seq_inspect(f.m, f.w, &t, &none, first, &f.err), ERR_OK);
    ck_assert_int_eq(seq_inspect(f.m, f.w, &t, &sink, again, &f.err), ERR_OK);
    ck_assert_mem_eq(first, again, info->vocab * sizeof *first);
    ck_assert_uint_eq(r.seen, t.n);
    r.seen = 0; /* the same where nothing else is wanted of the pass */
    ck_assert_int_eq(seq_inspect(f.m, f.w, &t, &sink, NULL, &f.err), ERR_OK);
    ck_assert_int_eq(seq_state_new(f.m, &state, &f.err), ERR_OK);
    for (size_t i = 0; i < t.n; i++) {
        const int32_t *id = &t.at[i].id;
        size_t one = 1;
        ck_assert_int_eq(seq_feed(f.m, f.w, 1, &state, &id, &one, want, &f.err), ERR_OK);
        ck_assert_mem_eq(want, r.logits[i], info->vocab * sizeof *want);
    }
    seq_state_free(state);
    seq_tokens_done(&t);
    close_fixture(&f);
}

START_TEST(the_last_layers_rows_are_the_models_answers_bit_for_bit)
{
    for (size_t i = 0; i < N_PRECISIONS; i++) {
        check_answers("tiny-lstm", PRECISIONS[i]);
        check_answers("tiny-gpt2", PRECISIONS[i]);
        check_answers("tiny-llama", PRECISIONS[i]);
    }
}
END_TEST

/* A masked model answers at its mask; there the last row is that answer. */
static void check_masked(const char *precision)
{
    struct fixture f = open_as("tiny-bert-mlm", precision);
    const struct seq_info *info = seq_model_info(f.m);
    struct seq_tokens t = tokenize(&f, SEQ_NEXT_TOKEN, "the [MASK] sat");
    static struct rows r;
    static struct seq_next_result next;
    size_t mask = 0, best = 0;
    for (size_t i = 0, n; i < t.n; i++)
        if (strncmp(seq_piece(f.m, t.at[i].id, &n), info->mask_token, n) == 0)
            mask = i;
    ck_assert_uint_eq(mask, 2);
    const struct seq_row rows[] = {{0, mask}, {info->n_layers, mask}};
    const struct seq_sink sink = {
        .arg = &r, .rows = rows, .n_rows = 2, .logits = see_row};
    const struct seq_next_request q = {
        .tokens = &t, .top_k = 1, .unit = SEQ_UNIT_TOKEN, .prefix = ""};
    r = (struct rows){.V = info->vocab};
    ck_assert_int_eq(seq_inspect(f.m, f.w, &t, &sink, NULL, &f.err), ERR_OK);
    ck_assert_int_eq(seq_next_word(f.m, f.w, 1, &q, &next, &f.err), ERR_OK);
    for (size_t v = 1; v < info->vocab; v++)
        if (r.logits[1][v] > r.logits[1][best])
            best = v;
    ck_assert_int_eq(next.at[0].tokens[0], (int)best);
    double total = 0;
    for (size_t v = 0; v < info->vocab; v++)
        total += exp((double)r.logits[1][v]);
    ck_assert_double_eq_tol(next.at[0].logprob, r.logits[1][best] - log(total), 1e-6);
    ck_assert_mem_ne(r.logits[0], r.logits[1], info->vocab * sizeof(float));
    seq_tokens_done(&t);
    close_fixture(&f);
}

START_TEST(a_masked_models_row_is_its_answer)
{
    for (size_t i = 0; i < N_PRECISIONS; i++)
        check_masked(PRECISIONS[i]);
}
END_TEST

static void check_refused(const char *model, const struct seq_row *rows, size_t n,
                          enum err_code code)
{
    struct fixture f = open_fixture(model, NULL);
    struct seq_tokens t = tokenize(&f, SEQ_ATTENTION, TEXT);
    static struct rows r;
    const struct seq_sink sink = {.arg = &r,
                                  .rows = rows,
                                  .n_rows = n,
                                  .step = n ? NULL : see_step,
                                  .logits = see_row};
    r = (struct rows){0};
    ck_assert_int_eq(seq_inspect(f.m, f.w, &t, &sink, NULL, &f.err), code);
    ck_assert_uint_eq(r.seen, 0);
    seq_tokens_done(&t);
    close_fixture(&f);
}

START_TEST(refuses_rows_that_are_not_there)
{
    static const struct seq_row lower = {1, 0}, beyond = {3, 0};
    static const struct seq_row back[] = {{1, 1}, {1, 0}}, twice[] = {{1, 1}, {1, 1}};
    check_refused("tiny-lstm", &lower, 1, ERR_TASK); /* its second layer alone is read */
    check_refused("tiny-bert", &lower, 1, ERR_TASK); /* a classifier */
    check_refused("tiny-bert-bare", &lower, 1, ERR_TASK);
    check_refused("tiny-gpt2", &beyond, 1, ERR_INPUT);
    check_refused("tiny-gpt2", back, 2, ERR_INPUT);
    check_refused("tiny-gpt2", twice, 2, ERR_INPUT);
    check_refused("tiny-gpt2", NULL, 0, ERR_TASK); /* it has no steps */
}
END_TEST

/* ---- hidden rows of fewer layers ------------------------------------------------- */

struct hidden {
    size_t most;
    float row[4][64]; /* of each layer, position 1 */
};

static void see_hidden(void *arg, size_t layer, size_t first, size_t n, size_t D,
                       const float *h)
{
    struct hidden *s = arg;
    ck_assert(first == 0 && n > 1 && D <= 64);
    s->most = layer;
    memcpy(s->row[layer], h + D, D * sizeof *h);
}

START_TEST(a_pass_that_ends_early_shows_the_same_rows)
{
    static const char *const models[] = {"tiny-gpt2", "tiny-bert", "tiny-bert-bare"};
    for (size_t i = 0; i < 3; i++) {
        struct fixture f = open_fixture(models[i], NULL);
        struct seq_tokens t = tokenize(&f, SEQ_ATTENTION, TEXT);
        struct hidden all = {0}, some = {0};
        const struct seq_sink whole = {.arg = &all, .hidden = see_hidden};
        const struct seq_sink part = {.arg = &some, .n_layers = 1, .hidden = see_hidden};
        ck_assert_int_eq(seq_inspect(f.m, f.w, &t, &whole, NULL, &f.err), ERR_OK);
        ck_assert_int_eq(seq_inspect(f.m, f.w, &t, &part, NULL, &f.err), ERR_OK);
        ck_assert_uint_eq(all.most, 2);
        ck_assert_uint_eq(some.most, 1);
        ck_assert_mem_eq(all.row, some.row, 2 * sizeof all.row[0]);
        seq_tokens_done(&t);
        close_fixture(&f);
    }
}
END_TEST

/* ---- running scores -------------------------------------------------------------- */

/* Each step's scores are those of the text up to there, read alone; closing tokens that
 * stand behind the text stand behind each of its beginnings. */
static void check_running(const char *model)
{
    struct fixture f = open_fixture(model, NULL);
    size_t L = seq_model_info(f.m)->n_labels, n = 0, close, sum = 0;
    struct seq_tokens t = tokenize(&f, SEQ_CLASSIFY, "a cat sat on the mat, not great");
    size_t steps[T_MOST];
    float have[T_MOST * 4], want[4];
    for (close = t.n; close > 0 && t.at[close - 1].special;)
        close--;
    for (size_t i = t.n; i > 0; i--) /* in any order */
        steps[n++] = i - 1;
    ck_assert_uint_le(L, 4);
    ck_assert_int_eq(seq_classify_steps(f.m, f.w, &t, steps, n, have, &f.err), ERR_OK);
    for (size_t i = 0; i < n; i++) {
        struct seq_token at[T_MOST];
        struct seq_tokens part = {.at = at};
        for (size_t k = 0; k < t.n; k++)
            if (k <= steps[i] || k >= close)
                at[part.n++] = t.at[k];
        const struct seq_tokens *one = &part;
        sum += part.n;
        ck_assert_int_eq(seq_classify(f.m, f.w, 1, &one, NULL, want, &f.err), ERR_OK);
        ck_assert_mem_eq(want, have + i * L, L * sizeof *want);
    }
    ck_assert_uint_eq(seq_classify_steps_tokens(&t, steps, n), sum);
    steps[0] = t.n;
    ck_assert_int_eq(seq_classify_steps(f.m, f.w, &t, steps, 1, have, &f.err), ERR_INPUT);
    seq_tokens_done(&t);
    close_fixture(&f);
}

START_TEST(running_scores_are_those_of_the_beginnings)
{
    check_running("tiny-bilstm");
    check_running("tiny-bert");
    check_running("tiny-gpt2-labels");
}
END_TEST

/* Many beginnings come in parts; how they are cut changes no bit. */
START_TEST(running_scores_of_a_long_text)
{
    struct fixture f = open_fixture("tiny-bilstm", NULL);
    char text[1200];
    size_t n = 0;
    for (size_t i = 0; i < 150; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s", i % 7 ? "cat " : "great ");
    struct seq_tokens t = tokenize(&f, SEQ_CLASSIFY, text);
    const struct seq_tokens *one = &t;
    size_t *steps = malloc(t.n * sizeof *steps);
    float *have = malloc(t.n * 2 * sizeof *have), want[2];
    ck_assert(steps && have);
    for (size_t i = 0; i < t.n; i++)
        steps[i] = i;
    ck_assert_uint_gt(seq_classify_steps_tokens(&t, steps, t.n), 2 * 2048);
    ck_assert_int_eq(seq_classify_steps(f.m, f.w, &t, steps, t.n, have, &f.err), ERR_OK);
    for (; t.n; t.n -= t.n > 13 ? 13 : t.n) {
        ck_assert_int_eq(seq_classify(f.m, f.w, 1, &one, NULL, want, &f.err), ERR_OK);
        ck_assert_mem_eq(want, have + 2 * (t.n - 1), sizeof want);
    }
    free(steps);
    free(have);
    seq_tokens_done(&t);
    close_fixture(&f);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {cells_follow_from_their_gates,
                                  the_last_layers_rows_are_the_models_answers_bit_for_bit,
                                  a_masked_models_row_is_its_answer,
                                  refuses_rows_that_are_not_there,
                                  a_pass_that_ends_early_shows_the_same_rows,
                                  running_scores_are_those_of_the_beginnings,
                                  running_scores_of_a_long_text,
                                  NULL};
    return suite_run("inspect", tests, 60);
}
