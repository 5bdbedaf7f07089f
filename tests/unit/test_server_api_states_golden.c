/* What /v1/states replies of the golden nets: the numbers that PyTorch and transformers
 * computed for the same tokens (within 1e-5), cells that follow from the gates of the
 * reply (within 1e-6), and values within the ranges that the reply tells. */
#include "model/load/weights.h"
#include "tests/json_look.h"
#include "tests/suite.h"
#include "tests/unit/api_server.h"
#include "tests/unit/fixture.h"

#include <math.h>

static struct api_server api;

enum { MOST = 400000 };

/* All of it: every number of a reply, [signal,layer,direction,step,unit]. */
struct states {
    size_t n[5];
    const char *signal[8];
    double low[8], high[8];
    double *data;
    json_t *reply;
};

static double bound(json_t *range, size_t i)
{
    json_t *value = json_array_get(range, i);
    return json_is_number(value) ? json_number_value(value) : i ? INFINITY : -INFINITY;
}

static struct states read_reply(json_t *reply)
{
    struct states s = {.reply = reply, .data = malloc(MOST * sizeof *s.data)};
    json_t *states = at(reply, "states");
    ck_assert_ptr_nonnull(s.data);
    ck_assert_uint_eq(json_array_size(at(states, "shape")), 5);
    size_t all = 1;
    for (size_t i = 0; i < 5; i++)
        all *= s.n[i] = (size_t)json_integer_value(item(at(states, "shape"), i));
    for (size_t i = 0; i < s.n[0]; i++) {
        s.signal[i] = json_string_value(item(at(states, "signals"), i));
        json_t *range = at(at(states, "ranges"), s.signal[i]);
        s.low[i] = bound(range, 0);
        s.high[i] = bound(range, 1);
    }
    ck_assert_uint_eq(flatten(at(states, "data"), s.data, 0, MOST), all);
    return s;
}

static void states_done(struct states *s)
{
    free(s->data);
    json_decref(s->reply);
}

/* Row of a signal, layer, direction and step. */
static const double *row(const struct states *s, size_t signal, size_t l, size_t d,
                         size_t t)
{
    return s->data + (((signal * s->n[1] + l) * s->n[2] + d) * s->n[3] + t) * s->n[4];
}

/* The tokens on line b of the folder's ids, as JSON; NULL behind the last. free(). */
static char *ids_of(const char *dir, size_t b)
{
    char *text = fixture_text(dir, "ids"), *line = text;
    for (size_t i = 0; line && i < b; i++) {
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    size_t n = line ? strcspn(line, "\n") : 0, used = 0;
    char *out = line ? malloc(2 * n + 1) : NULL;
    for (size_t i = 0; out && i < n; i++) {
        if (line[i] == ' ' && used)
            out[used++] = ',';
        if (line[i] != ' ')
            out[used++] = line[i];
    }
    if (out)
        out[used] = '\0';
    free(text);
    return out;
}

static struct states ask_all(const char *ids)
{
    size_t n = strlen(ids) + 200;
    char *body = malloc(n);
    ck_assert_ptr_nonnull(body);
    snprintf(body, n, "{\"input_ids\":[%s],\"units\":\"all\",\"decimals\":9}", ids);
    struct states s = read_reply(api_json(&api, "POST", "/v1/states", body, 200));
    free(body);
    return s;
}

/* An expected tensor [n]; NULL if the file has none of this name. free(). */
static float *expected(struct weights *w, const char *what, size_t b, size_t rank,
                       const size_t *shape)
{
    char name[40];
    struct err err = {0};
    size_t n = 1;
    snprintf(name, sizeof name, "%s.%zu", what, b);
    if (!weights_has(w, name))
        return NULL;
    for (size_t i = 0; i < rank; i++)
        n *= shape[i];
    float *out = malloc(n * sizeof *out);
    ck_assert_ptr_nonnull(out);
    ck_assert_msg(weights_get(w, name, rank, shape, out, &err) == ERR_OK, "%s", err.msg);
    return out;
}

/* ---- what PyTorch says ----------------------------------------------------------- */

/* Signal `signal` against units from, from+1, ... of want [layers,directions,T,width]. */
static void check_signal(const struct states *s, size_t signal, const float *want,
                         size_t width, size_t from)
{
    double worst = 0;
    for (size_t l = 0; l < s->n[1]; l++)
        for (size_t d = 0; d < s->n[2]; d++)
            for (size_t t = 0; t < s->n[3]; t++) {
                const double *have = row(s, signal, l, d, t);
                const float *is = want + ((l * s->n[2] + d) * s->n[3] + t) * width + from;
                for (size_t u = 0; u < s->n[4]; u++)
                    worst = fmax(worst, fabs(have[u] - is[u]));
            }
    ck_assert_msg(worst < 1e-5, "%s of %s off by %g", s->signal[signal],
                  api.models->at[0].name, worst);
}

static void check_ranges(const struct states *s)
{
    size_t each = s->n[1] * s->n[2] * s->n[3] * s->n[4];
    for (size_t i = 0; i < s->n[0]; i++)
        for (size_t k = 0; k < each; k++) {
            double x = s->data[i * each + k];
            bool inside = x >= s->low[i] && x <= s->high[i];
            ck_assert_msg(inside, "%s is %g", s->signal[i], x);
        }
}

/* The file has the states of the shorter texts; true if of this one. */
static bool check_recurrent(const struct states *s, struct weights *w, size_t b)
{
    size_t H = s->n[4], G = s->n[0] == 7 ? 4 : s->n[0] == 4 ? 3 : 0;
    size_t shape[] = {s->n[1], s->n[2], s->n[3], H};
    size_t gates[] = {s->n[1], s->n[2], s->n[3], G * H};
    float *h = expected(w, "h", b, 4, shape);
    float *c = G == 4 ? expected(w, "c", b, 4, shape) : NULL;
    float *g = G ? expected(w, "gates", b, 4, gates) : NULL;
    if (!h)
        return false;
    check_signal(s, s->n[0] - 1, h, H, 0);
    for (size_t i = 0; i < G; i++)
        check_signal(s, i, g, G * H, i * H);
    if (c)
        check_signal(s, 4, c, H, 0);
    free(h);
    free(c);
    free(g);
    return true;
}

static bool check_hidden(const struct states *s, struct weights *w, size_t b)
{
    size_t shape[] = {s->n[1], s->n[3], s->n[4]};
    float *want = expected(w, "hidden", b, 3, shape);
    if (!want)
        return false;
    ck_assert_uint_eq(s->n[0], 1);
    ck_assert_str_eq(s->signal[0], "hidden");
    check_signal(s, 0, want, s->n[4], 0);
    free(want);
    return true;
}

/* ---- cells ----------------------------------------------------------------------- */

static double at_unit(const double *numbers, size_t u)
{
    return numbers ? numbers[u] : 0; /* before the first step */
}

/* One step of unit u; before: the step read before it, of signal c or h. */
static double cell_error(const struct states *s, size_t l, size_t d, size_t t, size_t u,
                         const double *before)
{
    const double *v[7];
    for (size_t i = 0; i < s->n[0]; i++)
        v[i] = row(s, i, l, d, t);
    if (s->n[0] == 4) { /* r, z, n, h */
        double h = (1 - v[1][u]) * v[2][u] + v[1][u] * at_unit(before, u);
        return fabs(h - v[3][u]);
    }
    double c = v[1][u] * at_unit(before, u) + v[0][u] * v[2][u];
    double error = fmax(fabs(c - v[4][u]), fabs(tanh(v[4][u]) - v[5][u]));
    return fmax(error, fabs(v[3][u] * v[5][u] - v[6][u]));
}

static void check_cells(const struct states *s)
{
    size_t T = s->n[3], kept = s->n[0] == 7 ? 4 : 3;
    double worst = 0;
    if (s->n[0] != 7 && s->n[0] != 4)
        return;
    for (size_t l = 0; l < s->n[1]; l++)
        for (size_t d = 0; d < s->n[2]; d++)
            for (size_t t = 0; t < T; t++) {
                bool first = d ? t + 1 == T : t == 0;
                const double *before =
                    first ? NULL : row(s, kept, l, d, d ? t + 1 : t - 1);
                for (size_t u = 0; u < s->n[4]; u++)
                    worst = fmax(worst, cell_error(s, l, d, t, u, before));
            }
    ck_assert_msg(worst < 1e-6, "cells are off by %g", worst);
}

/* ---- folders --------------------------------------------------------------------- */

static void check_folder(const char *folder, bool recurrent, size_t layers,
                         size_t directions)
{
    char dir[100], path[200], *ids;
    struct weights *w = NULL;
    struct err err = {0};
    size_t texts = 0, compared = 0;
    snprintf(dir, sizeof dir, "tests/golden/nets/%s", folder);
    snprintf(path, sizeof path, "%s/expected", dir);
    const char *const one = dir;
    api_start_with(&api, &one, 1);
    ck_assert_msg(weights_open(path, &w, &err) == ERR_OK, "%s", err.msg);
    for (; (ids = ids_of(dir, texts)) != NULL; texts++) {
        struct states s = ask_all(ids);
        ck_assert_uint_eq(s.n[1], layers);
        ck_assert_uint_eq(s.n[2], directions);
        compared +=
            recurrent ? check_recurrent(&s, w, texts) : check_hidden(&s, w, texts);
        check_ranges(&s);
        check_cells(&s);
        states_done(&s);
        free(ids);
    }
    ck_assert_uint_ge(compared, 2);
    weights_close(w);
    api_stop(&api);
}

START_TEST(gates_and_states_are_those_of_pytorch_and_make_each_other)
{
    check_folder("lstm-lm", true, 2, 1);
    check_folder("lstm-both-max", true, 3, 2);
    check_folder("lstm-both-hops", true, 2, 2);
    check_folder("gru-lm", true, 1, 1);
    check_folder("gru-both-last", true, 2, 2);
    check_folder("rnn-tanh-lm", true, 2, 1);
    check_folder("rnn-relu-both-last", true, 2, 2);
}
END_TEST

START_TEST(cells_with_hard_gates_are_those_of_keras)
{
    check_folder("keras-lstm-lm-hard", true, 2, 1);
    check_folder("keras-gru-lm-hard-6", true, 1, 1);
}
END_TEST

START_TEST(hidden_rows_are_those_of_transformers)
{
    check_folder("gpt2", false, 3, 1);
    check_folder("llama", false, 3, 1);
    check_folder("qwen3", false, 3, 1);
    check_folder("distilbert", false, 3, 1);
    check_folder("modernbert-masked", false, 5, 1);
    check_folder("roberta-masked", false, 3, 1);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        gates_and_states_are_those_of_pytorch_and_make_each_other,
        cells_with_hard_gates_are_those_of_keras, hidden_rows_are_those_of_transformers,
        NULL};
    return suite_run("api_states_golden", tests, 60);
}
