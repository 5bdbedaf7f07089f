/* packing: matrices and tables of several pieces, filled by any number of threads. */
#include "model/base/mem.h"
#include "model/nets/packing.h"
#include "tests/suite.h"
#include "tests/unit/fixture.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Some seven pieces each; "t" is transposed. */
enum { N = 1300, K = 700, THREADS = 5 };

static char dir[] = "/tmp/test_packing_XXXXXX";
static float values[2 * N * K]; /* a, then t */

/* Element i of tensor a or t: no two rows alike. */
static float value(size_t tensor, size_t i)
{
    return (float)((double)(i % 65521) / 65521 - (double)tensor / 2);
}

static void write_folder(void)
{
    static unsigned char file[4096 + sizeof values];
    char header[256];
    size_t half = sizeof values / 2;
    uint64_t n = (uint64_t)snprintf(
        header, sizeof header,
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[%d,%d],\"data_offsets\":[0,%zu]},"
        "\"t\":{\"dtype\":\"F32\",\"shape\":[%d,%d],\"data_offsets\":[%zu,%zu]}}",
        N, K, half, K, N, half, 2 * half);
    memcpy(file, &n, 8);
    memcpy(file + 8, header, n);
    memcpy(file + 8 + n, values, sizeof values);
    fixture_write(dir, "model.safetensors", file, 8 + n + sizeof values);
}

static void make_folder(void)
{
    ck_assert_ptr_nonnull(mkdtemp(dir));
    for (size_t i = 0; i < (size_t)N * K; i++) {
        values[i] = value(0, i);
        values[(size_t)N * K + i] = value(1, i);
    }
    write_folder();
}

static void remove_folder(void)
{
    char path[64];
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    ck_assert_int_eq(remove(path), 0);
    rmdir(dir);
}

/* Rows of a packed matrix begin with those of `a`, or `a` lies behind `first` others. */
struct net {
    struct matrix a, t;
    float *table;
    struct packed packed;
};

enum { FIRST = 100 };

static void set_matrix(struct packing *p, struct matrix *m, size_t rows,
                       const struct kernels *k, enum precision precision)
{
    struct err err = {0};
    *m = (struct matrix){.N = rows, .K = K, .precision = precision};
    ck_assert_int_eq(packing_matrix(p, m, k->matrix_bytes(precision, rows, K), &err),
                     ERR_OK);
}

static enum err_code load(struct net *net, const struct kernels *k,
                          enum precision precision, size_t threads, struct err *err)
{
    static const size_t a_shape[2] = {N, K}, t_shape[2] = {K, N};
    const struct weights_tensor *a = NULL, *t = NULL;
    struct packing *p = NULL;
    struct weights *w = NULL;
    ck_assert_int_eq(weights_open(dir, &w, err), ERR_OK);
    ck_assert_int_eq(weights_find(w, "a", 2, a_shape, &a, err), ERR_OK);
    ck_assert_int_eq(weights_find(w, "t", 2, t_shape, &t, err), ERR_OK);
    ck_assert_int_eq(packing_new(&p, err), ERR_OK);
    set_matrix(p, &net->a, FIRST + N, k, precision);
    set_matrix(p, &net->t, N, k, precision);
    ck_assert_int_eq(packing_table(p, &net->table, (size_t)N * K, err), ERR_OK);
    ck_assert_int_eq(packing_rows(p, &net->a, a, FIRST, N, false, err), ERR_OK);
    ck_assert_int_eq(packing_rows(p, &net->t, t, 0, N, true, err), ERR_OK);
    ck_assert_int_eq(packing_copy(p, &net->table, a, (size_t)N * K, err), ERR_OK);
    enum err_code code = packing_run(p, k, threads, &net->packed, err);
    packing_free(p);
    weights_close(w);
    return code;
}

/* The bits of a matrix that is packed at once. */
static void check_matrix(const struct kernels *k, const struct matrix *m, size_t first,
                         const float *w, bool transposed)
{
    size_t bytes = k->matrix_bytes(m->precision, m->N, m->K);
    struct matrix whole = *m;
    whole.data = mem_aligned(bytes, 1);
    k->pack(&whole, first, m->N, w, transposed);
    ck_assert_int_eq((int)((uintptr_t)m->data % 64), 0);
    ck_assert_mem_eq(m->data, whole.data, bytes);
    mem_free(whole.data);
}

START_TEST(pieces_by_any_number_of_threads_make_the_whole)
{
    make_folder();
    for (const char *const *name = kernels_names(); *name; name++)
        for (enum precision p = PRECISION_F32; p <= PRECISION_INT8; p++)
            for (size_t threads = 0; threads <= THREADS; threads += THREADS) {
                const struct kernels *k = kernels_get(*name);
                struct net net = {0};
                struct err err = {0};
                ck_assert_int_eq(load(&net, k, p, threads, &err), ERR_OK);
                check_matrix(k, &net.a, FIRST, values, false);
                check_matrix(k, &net.t, 0, values + (size_t)N * K, true);
                ck_assert_mem_eq(net.table, values, (size_t)N * K * sizeof(float));
                packed_done(&net.packed);
                ck_assert_ptr_null(net.packed.block);
            }
    remove_folder();
}
END_TEST

/* Whoever comes across one first, it is the first in the order of the list that is told.
 */
START_TEST(the_first_of_many_bad_values_is_told)
{
    make_folder();
    for (size_t i = 400000; i < (size_t)N * K; i += 1000)
        values[i] = values[(size_t)N * K + i] = NAN;
    write_folder();
    for (size_t i = 0; i < 20; i++) {
        struct net net = {0};
        struct err err = {0};
        ck_assert_int_eq(load(&net, kernels_get(NULL), PRECISION_F32, THREADS, &err),
                         ERR_FORMAT);
        ck_assert_str_eq(err.msg, "model.safetensors: tensor a: element 400000 is NaN or "
                                  "infinite");
        ck_assert_ptr_null(net.packed.block);
    }
    remove_folder();
}
END_TEST

START_TEST(no_memory_for_the_block_is_reported)
{
    struct packing *p = NULL;
    struct packed packed = {0};
    struct matrix m = {.N = 1, .K = 1}, more = m;
    struct err err = {0};
    ck_assert_int_eq(packing_new(&p, &err), ERR_OK);
    ck_assert_int_eq(packing_matrix(p, &m, (size_t)1 << 60, &err), ERR_OK);
    ck_assert_int_eq(packing_run(p, kernels_get(NULL), 1, &packed, &err), ERR_NOMEM);
    ck_assert_str_eq(err.msg, "out of memory: 1152921504606846976 bytes of weights");
    ck_assert_int_eq(packing_matrix(p, &more, SIZE_MAX - 100, &err), ERR_OK);
    ck_assert_int_eq(packing_run(p, kernels_get(NULL), 1, &packed, &err), ERR_NOMEM);
    ck_assert_ptr_null(packed.block);
    packing_free(p);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        pieces_by_any_number_of_threads_make_the_whole,
        the_first_of_many_bad_values_is_told,
        no_memory_for_the_block_is_reported,
        NULL,
    };
    return suite_run("packing", tests, 120);
}
