#include "model/tasks/maps.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Four neighbours at a time, on any CPU alike: the same bits everywhere. */
struct four {
    float v __attribute__((vector_size(16)));
};
struct four_ints {
    int32_t v __attribute__((vector_size(16)));
};

static struct four load(const float *at)
{
    struct four x;
    memcpy(&x, at, sizeof x);
    return x;
}

static struct four_ints bits_of(struct four x)
{
    struct four_ints bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static struct four of_bits(struct four_ints bits)
{
    struct four x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static struct four larger(struct four a, struct four b)
{
    struct four_ints from_a, bits;
    from_a.v = a.v > b.v;
    bits.v = (bits_of(a).v & from_a.v) | (bits_of(b).v & ~from_a.v);
    return of_bits(bits);
}

static struct four positive(struct four x)
{
    struct four_ints bits = bits_of(x);
    bits.v &= INT32_MAX;
    return of_bits(bits);
}

static float sum_of(struct four x)
{
    return (x.v[0] + x.v[1]) + (x.v[2] + x.v[3]);
}

/* ---- several maps to one --------------------------------------------------------- */

void maps_fold(enum maps_reduce how, size_t n, const float *x, float *acc)
{
    for (size_t i = 0; how == MAPS_MEAN && i < n; i++)
        acc[i] += x[i];
    for (size_t i = 0; how == MAPS_MAX && i < n; i++)
        acc[i] = x[i] > acc[i] ? x[i] : acc[i];
    for (size_t i = 0; how == MAPS_MIN && i < n; i++)
        acc[i] = x[i] < acc[i] ? x[i] : acc[i];
}

void maps_mean_of(size_t n, size_t n_maps, float *acc)
{
    for (size_t i = 0; i < n; i++)
        acc[i] /= (float)n_maps;
}

/* y [n] += w * x [n] */
static void add_times(size_t n, float w, const float *x, float *y)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        struct four to = load(y + i);
        to.v += w * load(x + i).v;
        memcpy(y + i, &to, sizeof to);
    }
    for (; i < n; i++)
        y[i] += w * x[i];
}

void maps_rollout(size_t n, const float *a, const float *before, float *out)
{
    for (size_t q = 0; q < n; q++) {
        float *row = out + q * n;
        memset(row, 0, n * sizeof *row);
        for (size_t k = 0; k < n; k++) {
            float w = (a[q * n + k] + (k == q ? 1.0f : 0.0f)) / 2;
            if (!before)
                row[k] = w;
            else if (w != 0)
                add_times(n, w, before + k * n, row);
        }
    }
}

double maps_redundancy(size_t R, size_t n, const float *a)
{
    double sum = 0;
    for (size_t i = 0; i < R * R; i++) {
        const float *x = a + i / R * n, *y = a + i % R * n;
        double dot = 0;
        for (size_t k = 0; k < n; k++)
            dot += (double)x[k] * (double)y[k];
        double off = dot - (i / R == i % R);
        sum += off * off;
    }
    return sum;
}

/* ---- fewer rows and keys --------------------------------------------------------- */

void maps_word_keys(size_t rows, size_t T, const size_t *word, size_t W, const float *map,
                    float *to)
{
    memset(to, 0, rows * W * sizeof *to);
    for (size_t r = 0; r < rows; r++)
        for (size_t t = 0; t < T; t++)
            to[r * W + word[t]] += map[r * T + t];
}

void maps_word_queries(size_t T, const size_t *word, size_t W, size_t keys,
                       const float *map, float *to)
{
    memset(to, 0, W * keys * sizeof *to);
    for (size_t first = 0, end; first < T; first = end) {
        for (end = first; end < T && word[end] == word[first]; end++)
            add_times(keys, 1, map + end * keys, to + word[first] * keys);
        maps_mean_of(keys, end - first, to + word[first] * keys);
    }
}

void maps_pick(const float *map, size_t ld, const size_t *rows, size_t n_rows,
               const size_t *keys, size_t n_keys, float *to)
{
    for (size_t r = 0; r < n_rows; r++)
        for (size_t k = 0; k < n_keys; k++)
            *to++ = map[rows[r] * ld + keys[k]];
}

bool maps_renormalize(size_t rows, size_t keys, float *map)
{
    bool all = true;
    for (float *row = map; row < map + rows * keys; row += keys) {
        double sum = 0;
        for (size_t k = 0; k < keys; k++)
            sum += row[k];
        all &= sum > 0;
        for (size_t k = 0; sum > 0 && k < keys; k++)
            row[k] = (float)(row[k] / sum);
    }
    return all;
}

size_t maps_pool_start(size_t n, size_t P, size_t i)
{
    assert(P > 0);
    return i * n / P;
}

void maps_pool(size_t n, size_t P, const float *map, float *to)
{
    for (size_t i = 0; i < P * P; i++)
        to[i] = -INFINITY;
    for (size_t i = 0; i < P; i++)
        for (size_t q = maps_pool_start(n, P, i); q < maps_pool_start(n, P, i + 1); q++)
            for (size_t j = 0, k = 0; j < P; j++) {
                size_t end = maps_pool_start(n, P, j + 1);
                float most = to[i * P + j];
                for (; k < end; k++)
                    most = map[q * n + k] > most ? map[q * n + k] : most;
                to[i * P + j] = most;
            }
}

/* True if entry i is behind j in the order of maps_top. */
static bool is_worse(const int32_t *index, const float *value, size_t i, size_t j)
{
    return value[i] < value[j] || (value[i] == value[j] && index[i] > index[j]);
}

static void swap(int32_t *index, float *value, size_t i, size_t j)
{
    int32_t at = index[i];
    float v = value[i];
    index[i] = index[j];
    value[i] = value[j];
    index[j] = at;
    value[j] = v;
}

/* Restores the heap of n entries, the worst on top, below entry i. */
static void sink(int32_t *index, float *value, size_t n, size_t i)
{
    for (;;) {
        size_t worst = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < n; child++)
            if (is_worse(index, value, child, worst))
                worst = child;
        if (worst == i)
            return;
        swap(index, value, i, worst);
        i = worst;
    }
}

float maps_top(size_t n, size_t k, const float *row, int32_t *index, float *value)
{
    double rest = 0;
    for (size_t i = 0; i < k; i++) {
        index[i] = (int32_t)i;
        value[i] = row[i];
    }
    for (size_t i = k; i > 0; i--)
        sink(index, value, k, i - 1);
    for (size_t i = k; i < n; i++) {
        float out = row[i]; /* of equal ones the earlier stays */
        if (k > 0 && row[i] > value[0]) {
            out = value[0];
            index[0] = (int32_t)i;
            value[0] = row[i];
            sink(index, value, k, 0);
        }
        rest += out;
    }
    for (size_t i = k; i > 1; i--) {
        swap(index, value, 0, i - 1);
        sink(index, value, i - 1, 0);
    }
    return (float)rest;
}

/* ---- what a head does ------------------------------------------------------------ */

const char *const MAPS_METRIC_NAMES[MAPS_METRICS] = {
    [MAPS_ENTROPY] = "entropy", [MAPS_ENTROPY_NORM] = "entropy_norm",
    [MAPS_FIRST] = "first",     [MAPS_PREVIOUS] = "previous",
    [MAPS_CURRENT] = "current", [MAPS_NEXT] = "next",
    [MAPS_SPECIAL] = "special", [MAPS_DISTANCE] = "distance",
    [MAPS_LARGEST] = "max",     [MAPS_SAME] = "same"};

const char *const MAPS_LABEL_NAMES[MAPS_LABELS] = {
    [MAPS_LABEL_FIRST] = "first-token",     [MAPS_LABEL_PREVIOUS] = "previous-token",
    [MAPS_LABEL_CURRENT] = "current-token", [MAPS_LABEL_NEXT] = "next-token",
    [MAPS_LABEL_SPECIAL] = "special",       [MAPS_LABEL_BROAD] = "broad",
    [MAPS_LABEL_SAME] = "same-token",       [MAPS_LABEL_MIXED] = "mixed"};

void maps_find_same(size_t n, const int32_t *ids, int32_t *same_before,
                    int32_t *same_behind)
{
    for (size_t i = 0; i < n; i++) {
        same_before[i] = same_behind[i] = -1;
        for (size_t j = i; j-- > 0;)
            if (ids[j] == ids[i]) {
                same_before[i] = (int32_t)j;
                same_behind[j] = (int32_t)i;
                break;
            }
    }
}

/* p * ln p; 0 for 0. |err| < 3e-7. With p = 2^e * m, m from sqrt(1/2) to sqrt(2), and
 * s = (m-1)/(m+1): ln m = 2 (s + s^3/3 + s^5/5 + ...). */
static struct four times_log(struct four p)
{
    enum { HALF_ROOT = 0x3f3504f3, MANTISSA = 0x7fffff, ONE = 0x3f800000 };
    struct four_ints bits = bits_of(p), e, mantissa;
    struct four m, y;
    bits.v += ONE - HALF_ROOT;
    e.v = (bits.v >> 23) - 127;
    mantissa.v = (bits.v & MANTISSA) + HALF_ROOT;
    m = of_bits(mantissa);
    struct four s = {(m.v - 1) / (m.v + 1)};
    struct four z = {s.v * s.v};
    y.v =
        2 * s.v * (1 + z.v * (1.0f / 3 + z.v * (1.0f / 5 + z.v * (1.0f / 7 + z.v / 9))));
    y.v += 0.69314718f * __builtin_convertvector(e.v, __typeof__(y.v));
    y.v *= p.v;
    return y;
}

/* Sums over one row that need all of its keys. */
struct row_sums {
    struct four p_log_p, special, distance, largest;
};

static void add_keys(struct row_sums *sums, struct four p, struct four special,
                     struct four away)
{
    sums->p_log_p.v += times_log(p).v;
    sums->special.v += p.v * special.v;
    sums->distance.v += p.v * positive(away).v;
    sums->largest = larger(p, sums->largest);
}

static struct row_sums sum_row(size_t n, size_t q, const float *p, const float *special)
{
    struct row_sums sums = {{{0}}, {{0}}, {{0}}, {{0}}};
    struct four away = {{0, 1, 2, 3}}, last = {{0}}, last_special = {{0}};
    size_t k = 0;
    away.v -= (float)q;
    for (; k + 4 <= n; k += 4) {
        add_keys(&sums, load(p + k), load(special + k), away);
        away.v += 4;
    }
    for (size_t i = 0; k + i < n; i++) {
        last.v[i] = p[k + i];
        last_special.v[i] = special[k + i];
    }
    add_keys(&sums, last, last_special, away);
    return sums;
}

static float largest_of(struct four x)
{
    float most = x.v[0];
    for (size_t i = 1; i < 4; i++)
        most = x.v[i] > most ? x.v[i] : most;
    return most;
}

/* Weight on other tokens with the query's id. */
static double on_same(const struct maps_text *t, size_t q, size_t n, const float *p)
{
    double sum = 0;
    for (int32_t k = t->same_before[q]; k >= 0; k = t->same_before[k])
        sum += p[k];
    for (int32_t k = t->same_behind[q]; k >= 0 && (size_t)k < n; k = t->same_behind[k])
        sum += p[k];
    return sum;
}

struct means {
    double sum[MAPS_METRICS];
    size_t n[MAPS_METRICS];
};

static void note(struct means *m, enum maps_metric which, double value)
{
    m->sum[which] += value;
    m->n[which]++;
}

/* The row of query q, which sees n keys. */
static void note_row(struct means *m, const struct maps_text *t, size_t q, size_t n,
                     const float *p)
{
    struct row_sums s = sum_row(n, q, p, t->special);
    double entropy = -(double)sum_of(s.p_log_p);
    note(m, MAPS_ENTROPY, entropy);
    note(m, MAPS_ENTROPY_NORM, entropy / log((double)n));
    note(m, MAPS_FIRST, p[0]);
    note(m, MAPS_CURRENT, p[q]);
    note(m, MAPS_SPECIAL, (double)sum_of(s.special) - (double)(p[0] * t->special[0]));
    note(m, MAPS_DISTANCE, sum_of(s.distance));
    note(m, MAPS_LARGEST, largest_of(s.largest));
    if (q > 0)
        note(m, MAPS_PREVIOUS, p[q - 1]);
    if (q + 1 < n)
        note(m, MAPS_NEXT, p[q + 1]);
    bool repeats = t->same_before[q] >= 0 || (!t->causal && t->same_behind[q] >= 0);
    if (repeats)
        note(m, MAPS_SAME, on_same(t, q, n, p));
}

void maps_metrics(const struct maps_text *t, const float *map, double out[MAPS_METRICS])
{
    struct means m = {{0}, {0}};
    for (size_t q = t->causal ? 2 : 0; q < t->n && t->n > 1; q++)
        note_row(&m, t, q, t->causal ? q + 1 : t->n, map + q * t->n);
    for (size_t i = 0; i < MAPS_METRICS; i++)
        out[i] = m.n[i] ? m.sum[i] / (double)m.n[i] : NAN;
}

unsigned maps_labels(const double metrics[MAPS_METRICS])
{
    static const struct {
        enum maps_label label;
        enum maps_metric metric;
        double least;
    } RULES[] = {{MAPS_LABEL_FIRST, MAPS_FIRST, 0.5},
                 {MAPS_LABEL_PREVIOUS, MAPS_PREVIOUS, 0.5},
                 {MAPS_LABEL_CURRENT, MAPS_CURRENT, 0.5},
                 {MAPS_LABEL_NEXT, MAPS_NEXT, 0.5},
                 {MAPS_LABEL_SPECIAL, MAPS_SPECIAL, 0.5},
                 {MAPS_LABEL_BROAD, MAPS_ENTROPY_NORM, 0.8},
                 {MAPS_LABEL_SAME, MAPS_SAME, 0.5}};
    unsigned labels = 0;
    if (isnan(metrics[MAPS_ENTROPY]))
        return 0;
    for (size_t i = 0; i < sizeof RULES / sizeof *RULES; i++)
        if (metrics[RULES[i].metric] >= RULES[i].least)
            labels |= 1u << RULES[i].label;
    return labels ? labels : 1u << MAPS_LABEL_MIXED;
}
