/* Elementwise functions, attention and cells in C that a compiler turns into vector code
 * for any CPU: no branches, no FMA. The layer between the reference and OpenBLAS's
 * product in the variant "blas". */
#include "model/kernels/kern.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

static inline uint32_t to_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

/* As in kern_avx2.c: e^r - 1 for x = n ln 2 + r, |r| <= ln(2)/2. Adding 1.5 * 2^23 rounds
 * to an integer and leaves it in the low bits; the first part of ln 2 has 9 bits, so that
 * n times it is exact. */
static inline float reduced_exp(float x, uint32_t *n)
{
    const float magic = 0x1.8p23f;
    float shifted = x * 0x1.715476p+0f + magic, whole = shifted - magic;
    float r = x - whole * 0.693359375f;
    r = r + whole * 2.12194440e-4f;
    float q = 0.001381445444f;
    q = q * r + 0.008368781602f;
    q = q * r + 0.04166839447f;
    q = q * r + 0.1666652009f;
    q = q * r + 0.4999999341f;
    *n = to_bits(shifted);
    return r + r * r * q;
}

static inline float exp_of(float x)
{
    uint32_t n;
    float e = reduced_exp(x, &n) + 1;
    e = from_bits(to_bits(e) + (n << 23));
    e = x >= 0x1.62e43p+6f ? INFINITY : e;
    e = x < -0x1.5d589ep+6f ? 0 : e;
    return x != x ? x : e;
}

static inline float tanh_of(float x)
{
    float size = fabsf(x);
    uint32_t n;
    float t = reduced_exp(size > 10 ? 20 : 2 * size, &n);
    float power = from_bits(to_bits(1.0f) + (n << 23));
    t = power * t + (power - 1);
    return copysignf(t / (t + 2), x);
}

static inline float sigmoid_of(float x)
{
    return 1 / (1 + exp_of(-x));
}

static void portable_exp(size_t n, float *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] = exp_of(x[i]);
}

static void portable_tanh(size_t n, float *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] = tanh_of(x[i]);
}

static void portable_sigmoid(size_t n, float *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] = sigmoid_of(x[i]);
}

/* erf(x / sqrt 2) = x P(x^2) / Q(x^2), the fit of kern_avx2.c. */
static void portable_gelu_erf(size_t n, float *x)
{
    for (size_t i = 0; i < n; i++) {
        float size = fabsf(x[i]), c = size > 5.25f ? 5.25f : size, z = c * c;
        float p = 4.923081046e-8f, q = 1.252965761e-6f;
        p = p * z + 1.27445976e-5f;
        q = q * z + 6.997419788e-5f;
        p = p * z + 0.0003113289562f;
        q = q * z + 0.00181041198f;
        p = p * z + 0.009201472882f;
        q = q * z + 0.02786897947f;
        p = p * z + 0.06490892782f;
        q = q * z + 0.2480178166f;
        p = p * z + 0.7978845547f;
        q = q * z + 1;
        float erf = size >= 5.25f ? 1 : c * p / q;
        x[i] = 0.5f * x[i] * (1 + copysignf(erf, x[i]));
    }
}

static void portable_gelu_tanh(size_t n, float *x)
{
    for (size_t i = 0; i < n; i++) {
        float u = x[i] * (-1.5957691216f - 0.0713548162726f * (x[i] * x[i]));
        x[i] = x[i] / (1 + exp_of(u));
    }
}

static void portable_silu(size_t n, float *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] / (1 + exp_of(-x[i]));
}

static void portable_softmax(size_t n, float *x)
{
    float max = -INFINITY;
    for (size_t i = 0; i < n; i++)
        max = x[i] > max ? x[i] : max;
    if (max == -INFINITY)
        max = 0;
    for (size_t i = 0; i < n; i++)
        x[i] = exp_of(x[i] - max);
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    float scale = sum == 0 ? 0 : (float)(1 / sum);
    for (size_t i = 0; i < n; i++)
        x[i] *= scale;
}

static void portable_tally(size_t n, const float *x, uint64_t mask, struct tally *t)
{
    *t = (struct tally){.top = -INFINITY, .best = -INFINITY};
    float e[KERNELS_COLUMNS];
    for (size_t i = 0; i < n; i++)
        t->top = x[i] > t->top ? x[i] : t->top;
    float shift = t->top == -INFINITY ? 0 : t->top;
    for (size_t i = 0; i < n; i++)
        e[i] = exp_of(x[i] - shift);
    for (size_t i = 0; i < n; i++) {
        bool in = mask >> i & 1;
        t->best = in && x[i] > t->best ? x[i] : t->best;
        t->sum += e[i];
        t->rest += in ? 0 : e[i];
    }
}

/* Whole blocks, also where a row sees a part of one. */
static void portable_scores(const struct attend *a)
{
    for (size_t r = 0; r < a->heads * a->rows; r++) {
        const float *q = a->q[r];
        size_t keys = a->keys + r / a->rows * KERNELS_KEYS * a->E;
        size_t last = (a->end[r] - 1) / KERNELS_KEYS;
        for (size_t b = a->first[r] / KERNELS_KEYS; b <= last; b++) {
            const float *k = a->blocks[b] + keys;
            float *s = a->s + r * a->lds + b * KERNELS_KEYS, sum[KERNELS_KEYS] = {0};
            for (size_t e = 0; e < a->E; e++, k += KERNELS_KEYS)
                for (size_t l = 0; l < KERNELS_KEYS; l++)
                    sum[l] += q[e] * k[l];
            for (size_t l = 0; l < KERNELS_KEYS; l++)
                s[l] = a->scale * sum[l];
        }
    }
}

static void portable_mix(const struct attend *a)
{
    const size_t E = a->E;
    for (size_t r = 0; r < a->heads * a->rows; r++) {
        size_t values = a->values + r / a->rows * KERNELS_KEYS * E;
        float *out = a->out[r];
        memset(out, 0, E * sizeof *out);
        for (size_t j = a->first[r]; j < a->end[r]; j++) {
            const float *v = a->blocks[j / KERNELS_KEYS] + values + j % KERNELS_KEYS * E;
            float p = a->s[r * a->lds + j];
            for (size_t e = 0; e < E; e++)
                out[e] += p * v[e];
        }
    }
}

static void portable_weigh(size_t n, size_t E, const float *p, const float *v, size_t ld,
                           float *acc)
{
    for (size_t j = 0; j < n; j++)
        for (size_t e = 0; e < E; e++)
            acc[e] += p[j] * v[j * ld + e];
}

/* g [4H] holds activated gates. */
static void lstm_state(size_t H, const float *g, float *c, float *h)
{
    for (size_t j = 0; j < H; j++) {
        c[j] = g[H + j] * c[j] + g[j] * g[2 * H + j];
        h[j] = g[3 * H + j] * tanh_of(c[j]);
    }
}

static void portable_rotate(size_t E, const float *cos, const float *sin, float *x)
{
    float *y = x + E / 2;
    for (size_t i = 0; i < E / 2; i++) {
        float a = x[i], b = y[i];
        x[i] = a * cos[i] - b * sin[i];
        y[i] = b * cos[i] + a * sin[i];
    }
}

static void portable_lstm(size_t H, float *g, float *c, float *h)
{
    portable_sigmoid(2 * H, g);
    portable_tanh(H, g + 2 * H);
    portable_sigmoid(H, g + 3 * H);
    lstm_state(H, g, c, h);
}

static float hard_sigmoid_of(float slope, float x)
{
    float y = slope * x + 0.5f;
    y = y < 0 ? 0 : y;
    return y > 1 ? 1 : y;
}

static void portable_lstm_hard(size_t H, float slope, float *g, float *c, float *h)
{
    for (size_t j = 0; j < 2 * H; j++)
        g[j] = hard_sigmoid_of(slope, g[j]);
    portable_tanh(H, g + 2 * H);
    for (size_t j = 3 * H; j < 4 * H; j++)
        g[j] = hard_sigmoid_of(slope, g[j]);
    lstm_state(H, g, c, h);
}

/* x [3H] holds activated r and z; n is made here. */
static void gru_state(size_t H, float *x, const float *r, float *h)
{
    for (size_t j = 0; j < H; j++)
        x[2 * H + j] = tanh_of(x[2 * H + j] + x[j] * r[2 * H + j]);
    for (size_t j = 0; j < H; j++)
        h[j] = (1 - x[H + j]) * x[2 * H + j] + x[H + j] * h[j];
}

static void portable_gru(size_t H, float *x, const float *r, float *h)
{
    for (size_t j = 0; j < 2 * H; j++)
        x[j] = sigmoid_of(x[j] + r[j]);
    gru_state(H, x, r, h);
}

static void portable_gru_hard(size_t H, float slope, float *x, const float *r, float *h)
{
    for (size_t j = 0; j < 2 * H; j++)
        x[j] = hard_sigmoid_of(slope, x[j] + r[j]);
    gru_state(H, x, r, h);
}

void kern_portable_fill(struct kernels *k)
{
    k->name = "portable";
    k->exp = portable_exp;
    k->tanh = portable_tanh;
    k->sigmoid = portable_sigmoid;
    k->gelu_erf = portable_gelu_erf;
    k->gelu_tanh = portable_gelu_tanh;
    k->silu = portable_silu;
    k->softmax = portable_softmax;
    k->tally = portable_tally;
    k->scores = portable_scores;
    k->mix = portable_mix;
    k->weigh = portable_weigh;
    k->rotate = portable_rotate;
    k->lstm = portable_lstm;
    k->gru = portable_gru;
    k->lstm_hard = portable_lstm_hard;
    k->gru_hard = portable_gru_hard;
}
