/* Our kernels beside OpenBLAS and libm, on one thread. Prints tables and keeps nothing.
 *
 *   bench_kernels [VARIANT...]      default: the best variant this CPU runs
 *
 * Runs are interleaved (ours, peer, ours, peer ...) and medians are printed. Time is the
 * thread's own CPU time, so other processes on the machine disturb little. */
#include "model/base/mem.h"
#include "model/kernels/kernels.h"

#include <cblas.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

enum { REPEATS = 9, MAX_ROWS = 256, VECTOR = 4096 };

static const double run_s = 0.002; /* aimed length of one timed run */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof(*values), by_value);
    return values[n / 2];
}

struct work {
    void (*run)(void *arg);
    void *arg;
};

static double time_of(const struct work *w, size_t times)
{
    double start = now();
    for (size_t i = 0; i < times; i++)
        w->run(w->arg);
    return (now() - start) / (double)times;
}

/* Median seconds of one call of each, interleaved. */
static void race(const struct work *w, size_t n, double *seconds)
{
    double runs[3][REPEATS];
    size_t times[3];
    for (size_t i = 0; i < n; i++) {
        w[i].run(w[i].arg);
        double once = time_of(&w[i], 1);
        times[i] = once > run_s ? 1 : (size_t)(run_s / (once + 1e-9)) + 1;
    }
    for (size_t r = 0; r < REPEATS; r++)
        for (size_t i = 0; i < n; i++)
            runs[i][r] = time_of(&w[i], times[i]);
    for (size_t i = 0; i < n; i++)
        seconds[i] = median(runs[i], REPEATS);
}

/* ---- the ceiling
 * ------------------------------------------------------------------------ */

enum { PEAK_STEPS = 100000, PEAK_CHAINS = 12 };

#ifdef __x86_64__
__attribute__((target("avx2,fma"))) static void fma_chains(void *arg)
{
    __m256 sum[PEAK_CHAINS], a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
    for (int c = 0; c < PEAK_CHAINS; c++)
        sum[c] = _mm256_set1_ps((float)c);
    for (int i = 0; i < PEAK_STEPS; i++)
#pragma GCC unroll 12
        for (int c = 0; c < PEAK_CHAINS; c++)
            sum[c] = _mm256_fmadd_ps(sum[c], a, b);
    for (int c = 1; c < PEAK_CHAINS; c++)
        sum[0] = _mm256_add_ps(sum[0], sum[c]);
    _mm256_storeu_ps(arg, sum[0]);
}
#endif

/* GFLOP/s of FMAs on registers alone; 0 where it can't be measured. */
static double peak(void)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        float sink[8];
        double seconds;
        race(&(struct work){fma_chains, sink}, 1, &seconds);
        return 2.0 * 8 * PEAK_CHAINS * PEAK_STEPS / seconds * 1e-9;
    }
#endif
    return 0;
}

/* ---- matrix products
 * -------------------------------------------------------------------- */

struct matmul_case {
    const struct kernels *k;
    struct matrix packed;
    const float *w, *x; /* [N,K], [M,K] */
    float *y;           /* [M,N] */
    size_t M;
};

static void run_ours(void *arg)
{
    struct matmul_case *c = arg;
    c->k->matmul(&c->packed, &(struct product){.last = c->packed.N,
                                               .M = c->M,
                                               .x = c->x,
                                               .ldx = c->packed.K,
                                               .y = c->y,
                                               .ldy = c->packed.N});
}

static void run_sgemm(void *arg)
{
    struct matmul_case *c = arg;
    int N = (int)c->packed.N, K = (int)c->packed.K;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)c->M, N, K, 1, c->x, K,
                c->w, K, 0, c->y, N);
}

static float *random_floats(size_t n)
{
    static uint32_t state = 1;
    float *x = mem_aligned(n, sizeof(float));
    for (size_t i = 0; x && i < n; i++) {
        state = state * 1664525 + 1013904223;
        x[i] = (float)(state >> 8) * 0x1p-23f - 1;
    }
    return x;
}

static bool bench_shape(const struct kernels *k, size_t K, size_t N, double ceiling)
{
    static const size_t rows[] = {1, 2, 4, 8, 16, 32, 64, 128, MAX_ROWS};
    float *w = random_floats(N * K), *x = random_floats(MAX_ROWS * K),
          *y = random_floats(MAX_ROWS * N);
    struct matmul_case c = {
        k, {N, K, PRECISION_F32, mem_aligned(k->matrix_bytes(PRECISION_F32, N, K), 1)},
        w, x,
        y, 0};
    bool ok = w && x && y && c.packed.data;
    if (ok)
        k->pack(&c.packed, 0, N, w, false);
    for (size_t i = 0; ok && i < sizeof(rows) / sizeof(rows[0]); i++) {
        double seconds[2], flops = 2e-9 * (double)rows[i] * (double)N * (double)K;
        c.M = rows[i];
        race((struct work[]){{run_ours, &c}, {run_sgemm, &c}}, 2, seconds);
        printf("[%4zu,%4zu] %5zu %9.1f %9.1f %8.2f", K, N, c.M, flops / seconds[0],
               flops / seconds[1], seconds[1] / seconds[0]);
        printf(ceiling > 0 ? " %7.0f%%\n" : "\n", 100 * flops / seconds[0] / ceiling);
    }
    void *all[] = {w, x, y, c.packed.data};
    for (size_t i = 0; i < 4; i++)
        mem_free(all[i]);
    return ok;
}

static bool bench_matmul(const struct kernels *k, double ceiling)
{
    static const size_t shapes[][2] = {{384, 1536}, {768, 768}, {768, 3072}, {1536, 384}};
    printf("\n%s: packed f32 product beside cblas_sgemm, one thread, GFLOP/s\n", k->name);
    printf("[   K,   N]  rows      ours     sgemm    ratio  of peak\n");
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
        if (!bench_shape(k, shapes[i][0], shapes[i][1], ceiling))
            return false;
    return true;
}

/* ---- elementwise functions
 * -------------------------------------------------------------- */

struct map_case {
    void (*ours)(size_t n, float *x);
    float (*libm)(float x);
    const float *x; /* [VECTOR] */
    float *y;       /* [VECTOR] */
};

static void run_map(void *arg)
{
    struct map_case *c = arg;
    for (size_t i = 0; i < VECTOR; i++)
        c->y[i] = c->x[i];
    c->ours(VECTOR, c->y);
}

static void run_libm(void *arg)
{
    struct map_case *c = arg;
    for (size_t i = 0; i < VECTOR; i++)
        c->y[i] = c->libm(c->x[i]);
}

static float libm_sigmoid(float x)
{
    return 1 / (1 + expf(-x));
}

static float libm_gelu_erf(float x)
{
    return 0.5f * x * (1 + erff(x * (float)M_SQRT1_2));
}

static float libm_gelu_tanh(float x)
{
    return 0.5f * x * (1 + tanhf(0.7978845608f * (x + 0.044715f * x * x * x)));
}

static float libm_silu(float x)
{
    return x / (1 + expf(-x));
}

static void bench_functions(const struct kernels *k)
{
    static float x[VECTOR], y[VECTOR];
    for (size_t i = 0; i < VECTOR; i++)
        x[i] = 8 * ((float)(i * 2654435761u % 4096) / 4096 - 0.5f);
    const struct {
        const char *name;
        struct map_case c;
    } rows[] = {
        {"exp", {k->exp, expf, x, y}},
        {"tanh", {k->tanh, tanhf, x, y}},
        {"sigmoid", {k->sigmoid, libm_sigmoid, x, y}},
        {"gelu_erf", {k->gelu_erf, libm_gelu_erf, x, y}},
        {"gelu_tanh", {k->gelu_tanh, libm_gelu_tanh, x, y}},
        {"silu", {k->silu, libm_silu, x, y}},
    };
    printf("\n%s: elementwise functions, ns per element\n", k->name);
    printf("                 ours     libm    ratio\n");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct map_case c = rows[i].c;
        double s[2];
        race((struct work[]){{run_map, &c}, {run_libm, &c}}, 2, s);
        printf("%-10s %10.2f %8.2f %8.1f\n", rows[i].name, s[0] / VECTOR * 1e9,
               s[1] / VECTOR * 1e9, s[1] / s[0]);
    }
}

/* ---- attention and rows
 * ----------------------------------------------------------------- */

enum { KEYS = 128, HEAD = 64, WIDTH = 768 };

struct row_case {
    const struct kernels *k;
    float x[WIDTH], w[WIDTH], y[4 * WIDTH], keys[KEYS * HEAD];
};

static void run_softmax(void *arg)
{
    struct row_case *c = arg;
    for (size_t i = 0; i < KEYS; i++)
        c->y[i] = c->x[i];
    c->k->softmax(KEYS, c->y);
}

static void run_weigh(void *arg)
{
    struct row_case *c = arg;
    c->k->weigh(KEYS, HEAD, c->x, c->keys, HEAD, c->y);
}

static void run_layer_norm(void *arg)
{
    struct row_case *c = arg;
    c->k->layer_norm(WIDTH, c->x, c->w, c->w, 1e-5f, c->y);
}

static void run_rms_norm(void *arg)
{
    struct row_case *c = arg;
    c->k->rms_norm(WIDTH, c->x, c->w, 1e-5f, c->y);
}

static void run_rotate(void *arg)
{
    struct row_case *c = arg;
    for (size_t i = 0; i < HEAD; i++)
        c->y[i] = c->keys[i];
    c->k->rotate(HEAD, c->x, c->w, c->y);
}

static void run_mul(void *arg)
{
    struct row_case *c = arg;
    for (size_t i = 0; i < WIDTH; i++)
        c->y[i] = c->keys[i];
    c->k->mul(WIDTH, c->x, c->y);
}

static void run_lstm(void *arg)
{
    struct row_case *c = arg;
    for (size_t i = 0; i < 4 * WIDTH; i++)
        c->y[i] = c->keys[i];
    c->k->lstm(WIDTH, c->y, c->x, c->w);
}

static void run_lstm_hard(void *arg)
{
    struct row_case *c = arg;
    for (size_t i = 0; i < 4 * WIDTH; i++)
        c->y[i] = c->keys[i];
    c->k->lstm_hard(WIDTH, 0.2f, c->y, c->x, c->w);
}

static void bench_rows(const struct kernels *k)
{
    static struct row_case ours, ref;
    static const struct {
        const char *name;
        void (*run)(void *arg);
        double flops;
    } rows[] = {
        {"softmax 128", run_softmax, 0},
        {"weigh 128x64", run_weigh, 2.0 * KEYS * HEAD},
        {"layer_norm 768", run_layer_norm, 0},
        {"rms_norm 768", run_rms_norm, 0},
        {"rotate 64", run_rotate, 0},
        {"mul 768", run_mul, 0},
        {"lstm 768", run_lstm, 0},
        {"lstm_hard 768", run_lstm_hard, 0},
    };
    for (size_t i = 0; i < KEYS * HEAD; i++)
        ours.keys[i] = 8 * ((float)(i * 2654435761u % 4096) / 4096 - 0.5f);
    for (size_t i = 0; i < WIDTH; i++)
        ours.x[i] = ours.w[i] = ours.keys[i];
    ref = ours;
    ours.k = k;
    ref.k = kernels_get("ref");
    printf("\n%s: rows, ns per call beside the reference\n", k->name);
    printf("                     ours       ref  GFLOP/s\n");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        double s[2];
        race((struct work[]){{rows[i].run, &ours}, {rows[i].run, &ref}}, 2, s);
        printf("%-15s %9.0f %9.0f", rows[i].name, s[0] * 1e9, s[1] * 1e9);
        printf(rows[i].flops > 0 ? " %8.1f\n" : "\n", rows[i].flops / s[0] * 1e-9);
    }
}

int main(int argc, char **argv)
{
    if (!kernels_blas_single_thread())
        fprintf(stderr, "warning: this OpenBLAS doesn't stay on one thread\n");
    double ceiling = peak();
    if (ceiling > 0)
        printf("FMA peak of one core: %.0f GFLOP/s (256 bits wide)\n", ceiling);
    for (int i = 1; i < argc || i == 1; i++) {
        const struct kernels *k = kernels_get(i < argc ? argv[i] : NULL);
        if (!k) {
            fprintf(stderr, "no kernels named %s on this machine\n", argv[i]);
            return EXIT_FAILURE;
        }
        if (!bench_matmul(k, ceiling)) {
            fprintf(stderr, "out of memory\n");
            return EXIT_FAILURE;
        }
        bench_functions(k);
        bench_rows(k);
    }
    return EXIT_SUCCESS;
}
