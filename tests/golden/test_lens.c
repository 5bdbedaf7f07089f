/* What the output layer says of the rows of every layer (seq_sink, rows), against numpy's
 * final norm and head on the rows of transformers (make_lens.py), with every kernel
 * variant of this machine. Bound: 1e-4 of the row's largest logit. */
#include "model/load/weights.h"
#include "model/seq.h"
#include "tests/suite.h"
#include "tests/unit/fixture.h"

#include <math.h>

static const char *const FOLDERS[] = {"gpt2", "llama", "bert-masked",
                                      "modernbert-masked"};

struct check {
    const float *want; /* [n_rows,V] */
    size_t V, seen;
    double worst;
};

static void see(void *arg, size_t i, double total, const float *logits)
{
    struct check *c = arg;
    const float *want = c->want + i * c->V;
    double most = 0, off = 0, sum = 0;
    ck_assert_uint_eq(i, c->seen++);
    for (size_t v = 0; v < c->V; v++) {
        most = fmax(most, fabs((double)want[v]));
        off = fmax(off, fabs((double)want[v] - (double)logits[v]));
        sum += exp(logits[v] - total);
    }
    ck_assert_double_eq_tol(sum, 1, 1e-6);
    c->worst = fmax(c->worst, off / most);
}

/* The numbers on line b of a folder's file; returns how many, 0 if there is no line. */
static size_t read_line(const char *dir, const char *name, size_t b, int32_t *to,
                        size_t most)
{
    char *text = fixture_text(dir, name), *at = text, *end;
    size_t n = 0;
    for (size_t line = 0; at && line < b; line++) {
        at = strchr(at, '\n');
        at = at ? at + 1 : NULL;
    }
    for (; at && *at && *at != '\n'; at = end, n++) {
        ck_assert_uint_lt(n, most);
        to[n] = (int32_t)strtol(at, &end, 10);
        ck_assert_ptr_ne(at, end);
    }
    free(text);
    return n;
}

static bool read_text(const char *dir, const struct seq_model *m, size_t b,
                      struct seq_tokens *out)
{
    enum { MOST = 200 };
    int32_t ids[MOST], types[MOST] = {0};
    struct err err = {0};
    size_t n = read_line(dir, "ids", b, ids, MOST);
    size_t typed = read_line(dir, "types", b, types, MOST);
    *out = (struct seq_tokens){0};
    ck_assert_int_eq(seq_tokens_of_ids(m, ids, n, out, &err), ERR_OK);
    for (size_t i = 0; i < n && typed; i++)
        out->at[i].type = (uint8_t)types[i];
    return n > 0;
}

static void check_text(const struct seq_model *m, struct seq_worker *w,
                       struct weights *all, const struct seq_tokens *t, size_t b)
{
    const struct seq_info *info = seq_model_info(m);
    size_t layers = info->n_layers + 1, n = layers * t->n, V = info->vocab;
    size_t shape[] = {layers, t->n, V};
    char name[40];
    struct err err = {0};
    float *want = malloc(n * V * sizeof *want);
    struct seq_row *rows = malloc(n * sizeof *rows);
    ck_assert(want && rows);
    snprintf(name, sizeof name, "logits.%zu", b);
    ck_assert_msg(weights_get(all, name, 3, shape, want, &err) == ERR_OK, "%s", err.msg);
    for (size_t i = 0; i < n; i++)
        rows[i] = (struct seq_row){i / t->n, i % t->n};
    struct check c = {.want = want, .V = V};
    const struct seq_sink sink = {.arg = &c, .rows = rows, .n_rows = n, .logits = see};
    ck_assert_msg(seq_inspect(m, w, t, &sink, NULL, &err) == ERR_OK, "%s", err.msg);
    ck_assert_uint_eq(c.seen, n);
    ck_assert_msg(c.worst < 1e-4, "%s of %s off by %g", name, info->architecture,
                  c.worst);
    free(rows);
    free(want);
}

static void check_folder(const char *folder, const char *cpu)
{
    char dir[100], path[200];
    struct seq_load_options options = {.cpu = cpu};
    struct seq_model *m = NULL;
    struct seq_worker *w = NULL;
    struct weights *all = NULL;
    struct seq_tokens t;
    struct err err = {0};
    size_t texts = 0;
    snprintf(dir, sizeof dir, "tests/golden/nets/%s", folder);
    snprintf(path, sizeof path, "%s/lens", dir);
    ck_assert_msg(seq_model_load(dir, &options, &m, &err) == ERR_OK, "%s", err.msg);
    ck_assert_int_eq(seq_worker_new(NULL, &w, &err), ERR_OK);
    ck_assert_msg(weights_open(path, &all, &err) == ERR_OK, "%s", err.msg);
    for (; read_text(dir, m, texts, &t); texts++) {
        check_text(m, w, all, &t, texts);
        seq_tokens_done(&t);
    }
    ck_assert_uint_ge(texts, 3);
    weights_close(all);
    seq_worker_free(w);
    seq_model_unref(m);
}

START_TEST(every_layer_is_read_out_as_if_it_were_the_last)
{
    for (const char *const *cpu = seq_cpu_names(); *cpu; cpu++)
        for (size_t i = 0; i < sizeof FOLDERS / sizeof *FOLDERS; i++)
            check_folder(FOLDERS[i], *cpu);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {every_layer_is_read_out_as_if_it_were_the_last, NULL};
    return suite_run("golden_lens", tests, 60);
}
