/* Matrix products through OpenBLAS, for CPUs that no kernel of ours is written for.
 *
 * The library is 40 MB with what it needs, and takes memory and threads when it is
 * loaded. So it is loaded when this variant is asked for and not before, and a machine
 * may do without.
 *
 * A BLAS picks its loops by the shape of a call, and with them the order of its sums. So
 * all calls here have one shape: ROWS x COLUMNS x STEP, the last step of K being shorter,
 * with x copied into the same zero-padded buffer. What stands in the other rows and
 * columns enters no sum. That leaves the place of a row or column inside a call: OpenBLAS
 * 0.3.21 with 16 rows sums the last 4 in another order on Haswell and Zen, with 8 it does
 * not on any x86 core it knows. kern_blas_fill asks the BLAS at hand and leaves the
 * reference's product in place if the answer is bad.
 *
 * The shape is also small enough for OpenBLAS to stay on the calling thread by its own
 * rule (interface/gemm.c: up to 2^18 multiply-adds). */
#include "model/kernels/kern.h"

#include "model/kernels/kern_int8.h"

#include <cblas.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

enum { ROWS = 8, COLUMNS = 64, STEP = 256 };

/* ---- the library ----------------------------------------------------------------- */

/* What is used of it; all NULL without. Constant after load_once. */
static struct {
    __typeof__(&cblas_sgemm) sgemm;
    __typeof__(&openblas_set_num_threads) set_threads;
    __typeof__(&openblas_get_num_threads) threads;
    __typeof__(&openblas_get_parallel) parallel;
} blas;
static pthread_once_t load_once = PTHREAD_ONCE_INIT;

/* Takes the functions from a library, all or none. */
static bool take(void *library)
{
    const struct {
        const char *name;
        void *to; /* a pointer to a function */
    } wanted[] = {{"cblas_sgemm", &blas.sgemm},
                  {"openblas_set_num_threads", &blas.set_threads},
                  {"openblas_get_num_threads", &blas.threads},
                  {"openblas_get_parallel", &blas.parallel}};
    enum { N = sizeof wanted / sizeof wanted[0] };
    void *found[N];
    for (size_t i = 0; i < N; i++)
        if (!(found[i] = dlsym(library, wanted[i].name)))
            return false;
    for (size_t i = 0; i < N; i++)
        memcpy(wanted[i].to, &found[i], sizeof found[i]);
    return true;
}

/* By the names that Linux distributions give the serial or the pthread flavour. Other
 * libraries with a cblas_sgemm don't say how many threads they use. */
static void load(void)
{
    static const char *const names[] = {"libopenblas.so.0", "libopenblasp.so.0"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        if (library && take(library))
            return;
        if (library)
            dlclose(library);
    }
}

bool kern_blas_runs_here(void)
{
    pthread_once(&load_once, load);
    return blas.sgemm != NULL;
}

bool kernels_blas_single_thread(void)
{
    if (!kern_blas_runs_here())
        return true;
    blas.set_threads(1);
    return blas.threads() == 1 && blas.parallel() != OPENBLAS_OPENMP;
}

/* ---- the product ----------------------------------------------------------------- */

/* out [ROWS,COLUMNS] (+)= x [ROWS,STEP] w^T, w [COLUMNS,ldw], `step` terms. */
static void block_product(const float *x, const float *w, size_t ldw, size_t step,
                          bool add, float *out)
{
    blas.sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, ROWS, COLUMNS, (int)step, 1, x,
               STEP, w, (int)ldw, add ? 1 : 0, out, COLUMNS);
}

static size_t blas_matrix_bytes(enum precision precision, size_t N, size_t K)
{
    if (precision == PRECISION_INT8)
        return kern_int8_bytes(N, K);
    size_t size = kern_is_half(precision) ? sizeof(uint16_t) : sizeof(float);
    size_t columns, bytes;
    if (K > INT32_MAX || __builtin_add_overflow(N, COLUMNS - 1, &columns))
        return 0;
    columns -= columns % COLUMNS;
    if (__builtin_mul_overflow(columns, K, &bytes) ||
        __builtin_mul_overflow(bytes, size, &bytes))
        return 0;
    return bytes;
}

static void store_row(const struct product *p, size_t row, size_t first, size_t last,
                      const float *sum)
{
    float *y = p->y + row * p->ldy;
    for (size_t n = first; n < last; n++) {
        float v = sum[n % COLUMNS];
        if (p->bias)
            v += p->bias[n];
        y[n] = p->accumulate ? y[n] + v : v;
    }
    if (p->act)
        p->act(last - first, y + first);
}

/* out [COLUMNS,STEP] = `step` columns of w [COLUMNS,ldw], 16 bits each, as floats. */
static void expand(enum precision precision, const uint16_t *w, size_t ldw, size_t step,
                   float *out)
{
    for (size_t n = 0; n < COLUMNS; n++)
        for (size_t k = 0; k < step; k++)
            out[n * STEP + k] = kern_half_value(precision, w[n * ldw + k]);
}

/* `rows` <= ROWS rows from `row` on, columns first..last-1 of one block. */
static void block_rows(const struct matrix *w, const struct product *p, size_t row,
                       size_t rows, size_t first, size_t last)
{
    size_t start = first / COLUMNS * COLUMNS * w->K;
    float x[ROWS * STEP] = {0}, sum[ROWS * COLUMNS] = {0}, floats[COLUMNS * STEP];
    for (size_t k = 0; k < w->K; k += STEP) {
        size_t step = w->K - k < STEP ? w->K - k : STEP;
        for (size_t r = 0; r < rows; r++)
            memcpy(x + r * STEP, p->x + (row + r) * p->ldx + k, step * sizeof(float));
        if (kern_is_half(w->precision)) {
            const uint16_t *halves = (const uint16_t *)w->data + start + k;
            expand(w->precision, halves, w->K, step, floats);
            block_product(x, floats, STEP, step, k > 0, sum);
        } else
            block_product(x, (float *)w->data + start + k, w->K, step, k > 0, sum);
    }
    for (size_t r = 0; r < rows; r++)
        store_row(p, row + r, first, last, sum + r * COLUMNS);
}

static void blas_matmul(const struct matrix *w, const struct product *p)
{
    for (size_t first = p->first, last; first < p->last; first = last) {
        last = first - first % COLUMNS + COLUMNS;
        if (last > p->last)
            last = p->last;
        for (size_t row = 0; row < p->M; row += ROWS)
            block_rows(w, p, row, p->M - row < ROWS ? p->M - row : ROWS, first, last);
    }
}

/* Equal rows times equal columns: every element must be the same. */
static bool place_is_irrelevant(size_t step)
{
    float x[ROWS * STEP] = {0}, w[COLUMNS * STEP], sum[ROWS * COLUMNS] = {0};
    for (size_t i = 0; i < COLUMNS * step; i++)
        w[i] = 1 / (float)(3 + 7 * (i % step) % 61) - 0.1f;
    for (size_t r = 0; r < ROWS; r++)
        for (size_t k = 0; k < step; k++)
            x[r * STEP + k] = 1 / (float)(2 + 5 * k % 43) - 0.15f;
    for (int add = 0; add < 2; add++)
        block_product(x, w, step, step, add, sum);
    for (size_t i = 1; i < ROWS * COLUMNS; i++)
        if (sum[i] != sum[0])
            return false;
    return true;
}

void kern_blas_fill(struct kernels *k)
{
    static const size_t steps[] = {STEP, 255, 67, 8, 3};
    k->name = "blas";
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
        if (!place_is_irrelevant(steps[i]))
            return;
    k->matrix_bytes = blas_matrix_bytes;
    k->matmul = blas_matmul;
}
