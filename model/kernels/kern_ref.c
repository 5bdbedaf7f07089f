/* The specification of every kernel: plain loops, sums in double, rounded once. */
#include "model/kernels/kern.h"

#include "model/kernels/kern_int8.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

static size_t ref_matrix_bytes(enum precision precision, size_t N, size_t K)
{
    if (precision == PRECISION_INT8)
        return kern_int8_bytes(N, K);
    size_t size = kern_is_half(precision) ? sizeof(uint16_t) : sizeof(float), bytes;
    if (__builtin_mul_overflow(N, K, &bytes) ||
        __builtin_mul_overflow(bytes, size, &bytes))
        return 0;
    return bytes;
}

/* data is W [N,K] as it stands, of floats or of 16 bits each. */
static void ref_pack(struct matrix *m, size_t first, size_t last, const void *w,
                     bool transposed)
{
    if (m->precision == PRECISION_INT8) {
        kern_int8_pack(m, first, last, w, transposed);
        return;
    }
    for (size_t n = first; n < last; n++)
        for (size_t k = 0; k < m->K; k++) {
            size_t from =
                transposed ? k * (last - first) + n - first : (n - first) * m->K + k;
            if (kern_is_half(m->precision))
                ((uint16_t *)m->data)[n * m->K + k] = kern_half(m->precision, w, from);
            else
                ((float *)m->data)[n * m->K + k] = ((const float *)w)[from];
        }
}

static float weight(const struct matrix *m, size_t i)
{
    return kern_is_half(m->precision)
               ? kern_half_value(m->precision, ((uint16_t *)m->data)[i])
               : ((float *)m->data)[i];
}

static void ref_row(const struct matrix *m, size_t n, float *out)
{
    if (m->precision == PRECISION_INT8) {
        kern_int8_row(m, n, out);
        return;
    }
    for (size_t k = 0; k < m->K; k++)
        out[k] = weight(m, n * m->K + k);
}

static void ref_matmul(const struct matrix *w, const struct product *p)
{
    for (size_t m = 0; m < p->M; m++) {
        const float *x = p->x + m * p->ldx;
        float *y = p->y + m * p->ldy;
        for (size_t n = p->first; n < p->last; n++) {
            double sum = 0;
            for (size_t k = 0; k < w->K; k++)
                sum += (double)x[k] * weight(w, n * w->K + k);
            if (p->bias)
                sum += p->bias[n];
            if (p->accumulate)
                sum += y[n];
            y[n] = (float)sum;
        }
        if (p->act)
            p->act(p->last - p->first, y + p->first);
    }
}

static double dot(size_t n, const float *a, const float *b)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

static void ref_turn(size_t n, size_t E, const float *k, size_t ld, float *keys)
{
    for (size_t e = 0; e < E; e++)
        for (size_t i = 0; i < n; i++)
            keys[e * KERNELS_KEYS + i] = k[i * ld + e];
}

static void ref_scores(const struct attend *a)
{
    for (size_t r = 0; r < a->heads * a->rows; r++)
        for (size_t j = a->first[r]; j < a->end[r]; j++) {
            const float *keys =
                a->blocks[j / KERNELS_KEYS] + a->keys + r / a->rows * KERNELS_KEYS * a->E;
            double sum = 0;
            for (size_t e = 0; e < a->E; e++)
                sum += (double)a->q[r][e] * keys[e * KERNELS_KEYS + j % KERNELS_KEYS];
            a->s[r * a->lds + j] = (float)(a->scale * sum);
        }
}

static void ref_mix(const struct attend *a)
{
    for (size_t r = 0; r < a->heads * a->rows; r++)
        for (size_t e = 0; e < a->E; e++) {
            double sum = 0;
            for (size_t j = a->first[r]; j < a->end[r]; j++) {
                const float *values = a->blocks[j / KERNELS_KEYS] + a->values +
                                      r / a->rows * KERNELS_KEYS * a->E;
                sum += (double)a->s[r * a->lds + j] * values[j % KERNELS_KEYS * a->E + e];
            }
            a->out[r][e] = (float)sum;
        }
}

/* A NaN never wins the maximum, but its own exp makes the sum NaN. */
static void ref_softmax(size_t n, float *x)
{
    float max = -INFINITY;
    for (size_t i = 0; i < n; i++)
        if (x[i] > max)
            max = x[i];
    if (max == -INFINITY)
        max = 0;
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += exp((double)x[i] - max);
    for (size_t i = 0; i < n; i++)
        x[i] = sum == 0 ? 0 : (float)(exp((double)x[i] - max) / sum);
}

static void ref_tally(size_t n, const float *x, uint64_t mask, struct tally *t)
{
    *t = (struct tally){.top = -INFINITY, .best = -INFINITY};
    for (size_t i = 0; i < n; i++) {
        if (x[i] > t->top)
            t->top = x[i];
        if (mask >> i & 1 && x[i] > t->best)
            t->best = x[i];
    }
    float shift = t->top == -INFINITY ? 0 : t->top;
    for (size_t i = 0; i < n; i++) {
        double e = exp((double)x[i] - shift);
        t->sum += e;
        t->rest += mask >> i & 1 ? 0 : e;
    }
}

/* Not in double: acc carries the chain from call to call. */
static void ref_weigh(size_t n, size_t E, const float *p, const float *v, size_t ld,
                      float *acc)
{
    for (size_t j = 0; j < n; j++)
        for (size_t e = 0; e < E; e++)
            acc[e] = fmaf(p[j], v[j * ld + e], acc[e]);
}

static void ref_layer_norm(size_t D, const float *x, const float *w, const float *b,
                           float eps, float *y)
{
    double mean = 0, var = 0;
    for (size_t i = 0; i < D; i++)
        mean += x[i];
    mean /= (double)D;
    for (size_t i = 0; i < D; i++)
        var += (x[i] - mean) * (x[i] - mean);
    var /= (double)D;
    double inv = 1 / sqrt(var + eps);
    for (size_t i = 0; i < D; i++)
        y[i] = (float)((x[i] - mean) * inv * w[i] + (b ? b[i] : 0));
}

static void ref_rms_norm(size_t D, const float *x, const float *w, float eps, float *y)
{
    double inv = 1 / sqrt(dot(D, x, x) / (double)D + eps);
    for (size_t i = 0; i < D; i++)
        y[i] = (float)(x[i] * inv * w[i]);
}

static void ref_rotate(size_t E, const float *cos, const float *sin, float *x)
{
    for (size_t i = 0; i < E / 2; i++) {
        double a = x[i], b = x[E / 2 + i];
        x[i] = (float)(a * cos[i] - b * sin[i]);
        x[E / 2 + i] = (float)(b * cos[i] + a * sin[i]);
    }
}

static void ref_add(size_t n, const float *x, float *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

static void ref_mul(size_t n, const float *x, float *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] *= x[i];
}

static void ref_exp(size_t n, float *x)
{
    for (size_t i = 0; i < n; i++) {
        float e = (float)exp((double)x[i]);
        x[i] = e < FLT_MIN ? 0 : e;
    }
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static void ref_tanh(size_t n, float *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)tanh((double)x[i]);
}

static void ref_sigmoid(size_t n, float *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)sigmoid(x[i]);
}

static void ref_relu(size_t n, float *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] < 0 ? 0 : x[i];
}

static void ref_gelu_erf(size_t n, float *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(0.5 * x[i] * (1 + erf(x[i] * M_SQRT1_2)));
}

static void ref_gelu_tanh(size_t n, float *x)
{
    for (size_t i = 0; i < n; i++) {
        double v = x[i];
        double u = M_2_SQRTPI * M_SQRT1_2 * (v + 0.044715 * v * v * v);
        x[i] = (float)(0.5 * v * (1 + tanh(u)));
    }
}

static void ref_silu(size_t n, float *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(x[i] * sigmoid(x[i]));
}

/* g [4H] holds activated gates. */
static void lstm_state(size_t H, const float *g, float *c, float *h)
{
    for (size_t i = 0; i < H; i++) {
        c[i] = (float)((double)g[H + i] * c[i] + (double)g[i] * g[2 * H + i]);
        h[i] = (float)(g[3 * H + i] * tanh((double)c[i]));
    }
}

static void ref_lstm(size_t H, float *g, float *c, float *h)
{
    ref_sigmoid(2 * H, g);
    ref_tanh(H, g + 2 * H);
    ref_sigmoid(H, g + 3 * H);
    lstm_state(H, g, c, h);
}

static double hard_sigmoid(float slope, double x)
{
    double y = slope * x + 0.5;
    return y < 0 ? 0 : y > 1 ? 1 : y;
}

static void ref_lstm_hard(size_t H, float slope, float *g, float *c, float *h)
{
    for (size_t i = 0; i < 4 * H; i++)
        g[i] = (float)(i / H == 2 ? tanh((double)g[i]) : hard_sigmoid(slope, g[i]));
    lstm_state(H, g, c, h);
}

/* x [3H] holds activated r and z; n is made here. */
static void gru_state(size_t H, float *x, const float *r, float *h)
{
    for (size_t i = 0; i < H; i++) {
        float *n = x + 2 * H + i, z = x[H + i];
        *n = (float)tanh(*n + (double)x[i] * r[2 * H + i]);
        h[i] = (float)((1.0 - z) * *n + (double)z * h[i]);
    }
}

static void ref_gru(size_t H, float *x, const float *r, float *h)
{
    for (size_t i = 0; i < 2 * H; i++)
        x[i] = (float)sigmoid((double)x[i] + r[i]);
    gru_state(H, x, r, h);
}

static void ref_gru_hard(size_t H, float slope, float *x, const float *r, float *h)
{
    for (size_t i = 0; i < 2 * H; i++)
        x[i] = (float)hard_sigmoid(slope, (double)x[i] + r[i]);
    gru_state(H, x, r, h);
}

void kern_ref_fill(struct kernels *k)
{
    *k = (struct kernels){.name = "ref",
                          .matrix_bytes = ref_matrix_bytes,
                          .pack = ref_pack,
                          .row = ref_row,
                          .matmul = ref_matmul,
                          .turn = ref_turn,
                          .scores = ref_scores,
                          .mix = ref_mix,
                          .softmax = ref_softmax,
                          .tally = ref_tally,
                          .weigh = ref_weigh,
                          .layer_norm = ref_layer_norm,
                          .rms_norm = ref_rms_norm,
                          .rotate = ref_rotate,
                          .add = ref_add,
                          .mul = ref_mul,
                          .exp = ref_exp,
                          .tanh = ref_tanh,
                          .sigmoid = ref_sigmoid,
                          .relu = ref_relu,
                          .gelu_erf = ref_gelu_erf,
                          .gelu_tanh = ref_gelu_tanh,
                          .silu = ref_silu,
                          .lstm = ref_lstm,
                          .gru = ref_gru,
                          .lstm_hard = ref_lstm_hard,
                          .gru_hard = ref_gru_hard};
}
