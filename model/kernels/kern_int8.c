/* int8 weights: the layout, packing, and the specification of the product, in plain C.
 * Sums are integers and exact, so every variant gives the same bits. */
#include "model/kernels/kern_int8.h"

#include "model/kernels/kern.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* ---- the layout ------------------------------------------------------------------- */

static size_t groups(size_t K)
{
    return K / INT8_GROUP + (K % INT8_GROUP > 0);
}

size_t kern_int8_panel(size_t K)
{
    return INT8_HEAD + groups(K) * INT8_LINE;
}

size_t kern_int8_bytes(size_t N, size_t K)
{
    size_t panels = N / INT8_PANEL + (N % INT8_PANEL > 0), bytes;
    if (K > KERNELS_INT8_K || __builtin_mul_overflow(panels, kern_int8_panel(K), &bytes))
        return 0;
    return bytes;
}

static int8_t *weights_of(const struct matrix *m, size_t n)
{
    return (int8_t *)m->data + n / INT8_PANEL * kern_int8_panel(m->K) + INT8_HEAD +
           n % INT8_PANEL * INT8_GROUP;
}

static struct int8_head *head_of(const struct matrix *m, size_t n)
{
    return (struct int8_head *)((char *)m->data + n / INT8_PANEL * kern_int8_panel(m->K));
}

/* ---- packing ---------------------------------------------------------------------- */

/* Columns of one panel in the making: w[k * k_step + i * n_step] is theirs. */
struct run {
    const float *w;
    size_t n, columns, k_step, n_step;
};

/* The step of each column, 0 if it is all zero, NaN if it holds what is no number. */
static void find_scales(const struct run *r, size_t K, float *scale)
{
    float bad[INT8_PANEL] = {0};
    memset(scale, 0, INT8_PANEL * sizeof *scale);
    for (size_t k = 0; k < K; k += 2)
        for (size_t i = 0; i < r->columns; i++) {
            const float *w = r->w + k * r->k_step + i * r->n_step;
            float next = k + 1 < K ? w[r->k_step] : 0;
            float both = fabsf(*w) / 127 + fabsf(next) / 127;
            scale[i] = both > scale[i] ? both : scale[i];
            bad[i] += *w * 0 + next * 0;
        }
    for (size_t i = 0; i < r->columns; i++)
        scale[i] = isnan(bad[i]) ? NAN : scale[i] < FLT_MIN ? 0 : scale[i];
}

static void pack_run(struct matrix *m, const struct run *r)
{
    struct int8_head *head = head_of(m, r->n);
    int8_t *to = weights_of(m, r->n);
    float scale[INT8_PANEL], inverse[INT8_PANEL] = {0};
    size_t lane = r->n % INT8_PANEL;
    find_scales(r, m->K, scale);
    for (size_t i = 0; i < r->columns; i++) {
        inverse[i] = scale[i] > 0 ? 1 / scale[i] : 0;
        head->scale[lane + i] = scale[i];
        head->sum[lane + i] = 0;
    }
    for (size_t k = 0; k < m->K; k++)
        for (size_t i = 0; i < r->columns; i++) {
            float w = r->w[k * r->k_step + i * r->n_step] * inverse[i];
            int8_t steps = inverse[i] > 0 ? (int8_t)rintf(w) : 0;
            to[k / INT8_GROUP * INT8_LINE + i * INT8_GROUP + k % INT8_GROUP] = steps;
            head->sum[lane + i] += steps;
        }
}

void kern_int8_pack(struct matrix *m, size_t first, size_t last, const float *w,
                    bool transposed)
{
    struct run r = {.w = w,
                    .n = first,
                    .k_step = transposed ? last - first : 1,
                    .n_step = transposed ? 1 : m->K};
    for (; r.n < last; r.n += r.columns, r.w += r.columns * r.n_step) {
        r.columns = INT8_PANEL - r.n % INT8_PANEL;
        if (r.columns > last - r.n)
            r.columns = last - r.n;
        pack_run(m, &r);
    }
}

void kern_int8_row(const struct matrix *m, size_t n, float *out)
{
    const int8_t *w = weights_of(m, n);
    float scale = head_of(m, n)->scale[n % INT8_PANEL];
    for (size_t k = 0; k < m->K; k++) {
        size_t at = k / INT8_GROUP * INT8_LINE + k % INT8_GROUP;
        out[k] = scale * (float)w[at];
    }
}

/* ---- rows ------------------------------------------------------------------------- */

struct quantised_row kern_int8_steps(float lo, float hi, float bad, float *inverse)
{
    struct quantised_row row = {.scale = hi / 255 - lo / 255};
    *inverse = 0;
    if (isnan(bad)) {
        row.scale = NAN;
    } else if (row.scale < FLT_MIN) {
        row.scale = 0;
    } else {
        *inverse = 1 / row.scale;
        row.zero = (int32_t)rintf(-lo * *inverse);
    }
    return row;
}

static void int8_quantise(size_t K, const float *x, uint8_t *q, struct quantised_row *row)
{
    float lo = 0, hi = 0, bad = 0, inverse;
    for (size_t k = 0; k < K; k++) {
        lo = x[k] < lo ? x[k] : lo;
        hi = x[k] > hi ? x[k] : hi;
        bad += x[k] * 0;
    }
    *row = kern_int8_steps(lo, hi, bad, &inverse);
    for (size_t k = 0; k < K; k++) {
        int32_t steps = inverse > 0 ? (int32_t)rintf(x[k] * inverse) + row->zero : 0;
        q[k] = (uint8_t)(steps < 255 ? steps : 255);
    }
    for (size_t k = K; k % INT8_GROUP; k++)
        q[k] = (uint8_t)row->zero;
}

/* ---- the product ------------------------------------------------------------------ */

/* sum [16] of one row with one panel. */
static void row_sums(const int8_t *line, size_t K, const uint8_t *q, int32_t *sum)
{
    memset(sum, 0, INT8_PANEL * sizeof *sum);
    for (size_t g = 0; g < groups(K); g++, line += INT8_LINE, q += INT8_GROUP)
        for (size_t i = 0; i < INT8_PANEL; i++)
            for (size_t j = 0; j < INT8_GROUP; j++)
                sum[i] += q[j] * line[i * INT8_GROUP + j];
}

static void int8_matmul(const struct matrix *w, const struct quantised *x,
                        const struct product *p)
{
    int32_t sum[INT8_PANEL];
    for (size_t m = 0; m < p->M; m++) {
        struct quantised_row row = x->rows[m];
        float *y = p->y + m * p->ldy;
        for (size_t n = p->first; n < p->last; n++) {
            const struct int8_head *head = head_of(w, n);
            size_t i = n % INT8_PANEL;
            if (i == 0)
                row_sums(weights_of(w, n), w->K, x->q + m * x->ld, sum);
            float s = (float)(sum[i] - row.zero * head->sum[i]);
            s = s * head->scale[i] * row.scale;
            if (p->bias)
                s += p->bias[n];
            y[n] = p->accumulate ? s + y[n] : s;
        }
        if (p->act)
            p->act(p->last - p->first, y + p->first);
    }
}

void kern_int8_fill(struct kernels *k)
{
    k->quantise = int8_quantise;
    k->matmul_int8 = int8_matmul;
}
