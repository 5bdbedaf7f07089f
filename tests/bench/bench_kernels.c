/* Our kernels beside OpenBLAS and libm, on one thread. Prints tables and keeps nothing.
 *
 *   bench_kernels [VARIANT...]      default: the best variant this CPU runs
 *
 * Runs are interleaved (ours, peer, ours, peer ...) and medians are printed. Time is the
 * thread's own CPU time, so other processes on the machine disturb little. */
#include "model/base/mem.h"
#include "model/kernels/kernels.h"
#include "tests/bench/clock.h"
#include "tests/bench/peak.h"

#include <cblas.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

enum { REPEATS = 9, RACERS = 6, MAX_ROWS = 256, VECTOR = 4096 };

static const double run_s = 0.002; /* aimed length of one timed run */

static double now(void)
{
    return seconds_of(CLOCK_THREAD_CPUTIME_ID);
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
    double runs[RACERS][REPEATS];
    size_t times[RACERS];
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

enum { PEAK_STEPS = 100000 };

struct peak {
    size_t lanes;
    float sink[PEAK_LANES];
};

static void run_peak(void *arg)
{
    struct peak *p = arg;
    peak_run(p->lanes, PEAK_STEPS, p->sink);
}

/* ---- matrix products
 * -------------------------------------------------------------------- */

enum { N_PRECISIONS = 4, MAX_COLUMNS = 3072 };

struct matmul_case {
    const struct kernels *k;
    const struct matrix *packed;
    const float *w, *x; /* [N,K], [M,K] */
    float *y;           /* [M,N] */
    size_t M, N, K;
};

static void run_ours(void *arg)
{
    struct matmul_case *c = arg;
    c->k->matmul(
        c->packed,
        &(struct product){
            .last = c->N, .M = c->M, .x = c->x, .ldx = c->K, .y = c->y, .ldy = c->N});
}

/* With int8 weights: rounding the rows is part of the work. */
static void run_int8(void *arg)
{
    static _Alignas(64) uint8_t q[MAX_ROWS * MAX_COLUMNS];
    static struct quantised_row rows[MAX_ROWS];
    struct matmul_case *c = arg;
    size_t ld = (c->K + 3) / 4 * 4;
    for (size_t i = 0; i < c->M; i++)
        c->k->quantise(c->K, c->x + i * c->K, q + i * ld, &rows[i]);
    c->k->matmul_int8(c->packed, &(struct quantised){q, ld, rows},
                      &(struct product){.last = c->N, .M = c->M, .y = c->y, .ldy = c->N});
}

/* The faster of the BLAS's entries: sgemv for one row. */
static void run_blas(void *arg)
{
    struct matmul_case *c = arg;
    int N = (int)c->N, K = (int)c->K;
    if (c->M == 1)
        cblas_sgemv(CblasRowMajor, CblasNoTrans, N, K, 1, c->w, K, c->x, 1, 0, c->y, 1);
    else
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

/* f16 of 2^-8 to 2^-1. */
static uint16_t *random_halves(size_t n)
{
    static uint32_t state = 1;
    uint16_t *x = mem_alloc(n, sizeof *x);
    for (size_t i = 0; x && i < n; i++) {
        state = state * 1664525 + 1013904223;
        x[i] = (uint16_t)((state >> 16 & 0x8000) | (0x1c00 + (state >> 8) % 0x1c00));
    }
    return x;
}

/* One weight matrix in each precision, and plain for the BLAS. */
struct weights {
    struct matrix packed[N_PRECISIONS];
    float *w, *x, *y; /* [N,K], [rows,K], [rows,N] */
};

static bool weights_init(struct weights *s, const struct kernels *k, size_t rows,
                         size_t K, size_t N)
{
    static const enum precision all[N_PRECISIONS] = {PRECISION_F32, PRECISION_BF16,
                                                     PRECISION_INT8, PRECISION_FILE_F16};
    uint16_t *halves = random_halves(N * K);
    *s = (struct weights){.w = random_floats(N * K),
                          .x = random_floats(rows * K),
                          .y = random_floats(rows * N)};
    bool ok = s->w && s->x && s->y && halves;
    for (size_t i = 0; i < N_PRECISIONS; i++) {
        void *data = mem_aligned(k->matrix_bytes(all[i], N, K), 1);
        s->packed[i] = (struct matrix){N, K, all[i], data};
        ok = ok && data;
        if (ok)
            k->pack(&s->packed[i], 0, N,
                    all[i] == PRECISION_FILE_F16 ? (const void *)halves : s->w, false);
    }
    mem_free(halves);
    return ok;
}

static void weights_done(struct weights *s)
{
    for (size_t i = 0; i < N_PRECISIONS; i++)
        mem_free(s->packed[i].data);
    mem_free(s->w);
    mem_free(s->x);
    mem_free(s->y);
}

static bool bench_shape(const struct kernels *k, size_t K, size_t N)
{
    static const size_t rows[] = {1, 2, 4, 8, 16, 32, 64, 128, MAX_ROWS};
    struct weights s;
    struct peak fma = {.lanes = peak_lanes(k->name)};
    bool ok = weights_init(&s, k, MAX_ROWS, K, N);
    for (size_t i = 0; ok && i < sizeof(rows) / sizeof(rows[0]); i++) {
        double seconds[RACERS], flops = 2e-9 * (double)rows[i] * (double)N * (double)K;
        struct matmul_case c[5];
        for (size_t j = 0; j < 5; j++)
            c[j] = (struct matmul_case){
                k, &s.packed[j % N_PRECISIONS], s.w, s.x, s.y, rows[i], N, K};
        race((struct work[]){{run_ours, &c[0]},
                             {run_ours, &c[1]},
                             {run_int8, &c[2]},
                             {run_ours, &c[3]},
                             {run_blas, &c[4]},
                             {run_peak, &fma}},
             fma.lanes ? 6 : 5, seconds);
        printf("[%4zu,%4zu] %5zu", K, N, rows[i]);
        for (size_t j = 0; j < 5; j++)
            printf(" %9.1f", flops / seconds[j]);
        printf(" %8.2f", seconds[4] / seconds[0]);
        if (fma.lanes)
            printf(" %7.0f%%", 100 * flops / seconds[0] * seconds[5] /
                                   (1e-9 * peak_flops(fma.lanes, PEAK_STEPS)));
        printf("\n");
    }
    weights_done(&s);
    return ok;
}

/* ---- one row, weights beyond the caches
 * ------------------------------------------------- */

struct read_case {
    const float *from;
    size_t n; /* a multiple of 64 */
    float sink[8];
};

#ifdef __x86_64__
__attribute__((target("avx2"))) static void read_all(void *arg)
{
    struct read_case *c = arg;
    __m256 sum[8];
    for (int i = 0; i < 8; i++)
        sum[i] = _mm256_setzero_ps();
    for (size_t at = 0; at < c->n; at += 64)
#pragma GCC unroll 8
        for (size_t i = 0; i < 8; i++)
            sum[i] = _mm256_add_ps(sum[i], _mm256_loadu_ps(c->from + at + 8 * i));
    for (int i = 1; i < 8; i++)
        sum[0] = _mm256_add_ps(sum[0], sum[i]);
    _mm256_storeu_ps(c->sink, sum[0]);
}
#endif

/* GB/s of a matrix larger than any cache, as a decoder's output layer is. */
static bool bench_cold(const struct kernels *k)
{
    enum { K = 768, N = 50257 };
    struct weights s;
    bool ok = weights_init(&s, k, 1, K, N), reads = false;
    if (ok) {
        const double bytes = 1e-9 * 4 * K * N;
        double seconds[RACERS];
        struct matmul_case f32 = {k, &s.packed[0], s.w, s.x, s.y, 1, N, K}, bf16 = f32,
                           int8 = f32, f16 = f32;
        struct read_case read = {s.w, (size_t)K * N / 64 * 64, {0}};
        struct work work[RACERS] = {{run_ours, &f32},
                                    {run_ours, &bf16},
                                    {run_int8, &int8},
                                    {run_ours, &f16},
                                    {run_blas, &f32}};
        bf16.packed = &s.packed[1];
        int8.packed = &s.packed[2];
        f16.packed = &s.packed[3];
#ifdef __x86_64__
        reads = __builtin_cpu_supports("avx2");
        work[5] = (struct work){read_all, &read};
#endif
        race(work, reads ? 6 : 5, seconds);
        printf("\n%s: one row, weights [%d,%d] beyond the caches, one thread\n", k->name,
               K, N);
        printf("            ms     GB/s%s\n", reads ? "  of reading alone" : "");
        static const char *const names[] = {"f32", "bf16",  "int8",
                                            "f16", "sgemv", "reading"};
        static const double shares[] = {1,   0.5, 0.25,
                                        0.5, 1,   1}; /* of the bytes of f32 */
        for (int i = 0; i < (reads ? 6 : 5); i++) {
            double rate = shares[i] * bytes / seconds[i];
            printf("%-8s %5.2f %8.1f", names[i], seconds[i] * 1e3, rate);
            printf(reads ? " %15.0f%%\n" : "\n", 100 * rate * seconds[5] / bytes);
        }
    }
    weights_done(&s);
    return ok;
}

static bool bench_matmul(const struct kernels *k)
{
    static const size_t shapes[][2] = {{384, 1536}, {768, 768}, {768, 3072}, {1536, 384}};
    printf("\n%s: packed product beside the BLAS (sgemv for one row), one thread, "
           "GFLOP/s;\nthe peak is that of FMAs %zu bits wide, measured in between\n",
           k->name, 32 * peak_lanes(k->name));
    printf("[   K,   N]  rows       f32      bf16      int8       f16      BLAS  "
           "f32/BLAS  of peak\n");
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
        if (!bench_shape(k, shapes[i][0], shapes[i][1]))
            return false;
    return bench_cold(k);
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

static void run_tally(void *arg)
{
    struct row_case *c = arg;
    struct tally t;
    for (size_t i = 0; i < WIDTH; i += KERNELS_COLUMNS) {
        c->k->tally(KERNELS_COLUMNS, c->x + i, 0x5555555555555555, &t);
        c->y[i] = (float)t.rest;
    }
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

static void run_gru(void *arg)
{
    struct row_case *c = arg;
    for (size_t i = 0; i < 3 * WIDTH; i++)
        c->y[i] = c->keys[i];
    c->k->gru(WIDTH, c->y, c->keys, c->x);
}

static void run_gru_hard(void *arg)
{
    struct row_case *c = arg;
    for (size_t i = 0; i < 3 * WIDTH; i++)
        c->y[i] = c->keys[i];
    c->k->gru_hard(WIDTH, 0.2f, c->y, c->keys, c->x);
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
        {"tally 768", run_tally, 0},
        {"weigh 128x64", run_weigh, 2.0 * KEYS * HEAD},
        {"layer_norm 768", run_layer_norm, 0},
        {"rms_norm 768", run_rms_norm, 0},
        {"rotate 64", run_rotate, 0},
        {"mul 768", run_mul, 0},
        {"lstm 768", run_lstm, 0},
        {"lstm_hard 768", run_lstm_hard, 0},
        {"gru 768", run_gru, 0},
        {"gru_hard 768", run_gru_hard, 0},
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
    for (int i = 1; i < argc || i == 1; i++) {
        const struct kernels *k = kernels_get(i < argc ? argv[i] : NULL);
        if (!k) {
            fprintf(stderr, "no kernels named %s on this machine\n", argv[i]);
            return EXIT_FAILURE;
        }
        if (!bench_matmul(k)) {
            fprintf(stderr, "out of memory\n");
            return EXIT_FAILURE;
        }
        bench_functions(k);
        bench_rows(k);
    }
    return EXIT_SUCCESS;
}
