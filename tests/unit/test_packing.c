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

/* Some seven pieces each; "t" is transposed, as is "b". */
enum { N = 1300, K = 700, THREADS = 5 };

static char dir[] = "/tmp/test_packing_XXXXXX";
static float values[2 * N * K];    /* a, then t: F32 */
static uint16_t halves[2 * N * K]; /* h, then b: F16 and BF16 */

/* Element i of tensor a or t: no two rows alike. */
static float value(size_t tensor, size_t i)
{
    return (float)((double)(i % 65521) / 65521 - (double)tensor / 2);
}

static void write_folder(void)
{
    static unsigned char file[4096 + sizeof values + sizeof halves];
    char header[512];
    size_t half = sizeof values / 2, end = 2 * half, quarter = half / 2;
    uint64_t n = (uint64_t)snprintf(
        header, sizeof header,
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[%d,%d],\"data_offsets\":[0,%zu]},"
        "\"t\":{\"dtype\":\"F32\",\"shape\":[%d,%d],\"data_offsets\":[%zu,%zu]},"
        "\"h\":{\"dtype\":\"F16\",\"shape\":[%d,%d],\"data_offsets\":[%zu,%zu]},"
        "\"b\":{\"dtype\":\"BF16\",\"shape\":[%d,%d],\"data_offsets\":[%zu,%zu]}}",
        N, K, half, K, N, half, end, N, K, end, end + quarter, K, N, end + quarter,
        end + 2 * quarter);
    memcpy(file, &n, 8);
    memcpy(file + 8, header, n);
    memcpy(file + 8 + n, values, sizeof values);
    memcpy(file + 8 + n + sizeof values, halves, sizeof halves);
    fixture_write(dir, "model.safetensors", file, 8 + n + sizeof values + sizeof halves);
}

static void make_folder(void)
{
    ck_assert_ptr_nonnull(mkdtemp(dir));
    for (size_t i = 0; i < (size_t)N * K; i++) {
        values[i] = value(0, i);
        values[(size_t)N * K + i] = value(1, i);
        halves[i] = (uint16_t)(i % 0x7c00); /* subnormal numbers, too */
        halves[(size_t)N * K + i] = (uint16_t)(i % 0x7f80);
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
    void *table; /* a */
    struct packed packed;
};

enum { FIRST = 100 };

static void set_matrix(struct packing *p, struct matrix *m, size_t rows,
                       enum precision precision)
{
    struct err err = {0};
    *m = (struct matrix){.N = rows, .K = K, .precision = precision};
    ck_assert_int_eq(packing_matrix(p, m, &err), ERR_OK);
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
    set_matrix(p, &net->a, FIRST + N, precision);
    set_matrix(p, &net->t, N, precision);
    ck_assert_int_eq(packing_rows(p, &net->a, a, FIRST, N, false, err), ERR_OK);
    ck_assert_int_eq(packing_rows(p, &net->t, t, 0, N, true, err), ERR_OK);
    ck_assert_int_eq(packing_table(p, &net->table, a, (size_t)N * K, err), ERR_OK);
    enum err_code code = packing_run(p, k, threads, &net->packed, err);
    packing_free(p);
    weights_close(w);
    return code;
}

/* The bits of a matrix that is packed at once. */
static void check_matrix(const struct kernels *k, const struct matrix *m, size_t first,
                         const void *w, bool transposed)
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

/* Matrices of halves that were asked for as f32, int8 or, of two kinds, as f32. */
struct halves_net {
    struct matrix h, b, h8, mixed;
    void *table; /* h */
    struct packed packed;
};

static void load_halves(struct halves_net *net, const struct kernels *k)
{
    static const size_t h_shape[2] = {N, K}, b_shape[2] = {K, N};
    const struct weights_tensor *h = NULL, *b = NULL, *a = NULL;
    struct packing *p = NULL;
    struct weights *w = NULL;
    struct err err = {0};
    ck_assert_int_eq(weights_open(dir, &w, &err), ERR_OK);
    ck_assert_int_eq(weights_find(w, "h", 2, h_shape, &h, &err), ERR_OK);
    ck_assert_int_eq(weights_find(w, "b", 2, b_shape, &b, &err), ERR_OK);
    ck_assert_int_eq(weights_find(w, "a", 2, h_shape, &a, &err), ERR_OK);
    ck_assert_int_eq(packing_new(&p, &err), ERR_OK);
    set_matrix(p, &net->h, N, PRECISION_F32);
    set_matrix(p, &net->b, N, PRECISION_F32);
    set_matrix(p, &net->h8, N, PRECISION_INT8);
    set_matrix(p, &net->mixed, 2 * N, PRECISION_F32);
    ck_assert_int_eq(packing_rows(p, &net->h, h, 0, N, false, &err), ERR_OK);
    ck_assert_int_eq(packing_rows(p, &net->b, b, 0, N, true, &err), ERR_OK);
    ck_assert_int_eq(packing_rows(p, &net->h8, h, 0, N, false, &err), ERR_OK);
    ck_assert_int_eq(packing_rows(p, &net->mixed, h, 0, N, false, &err), ERR_OK);
    ck_assert_int_eq(packing_rows(p, &net->mixed, a, N, N, false, &err), ERR_OK);
    ck_assert_int_eq(packing_table(p, &net->table, h, (size_t)N * K, &err), ERR_OK);
    ck_assert_int_eq(packing_run(p, k, THREADS, &net->packed, &err), ERR_OK);
    packing_free(p);
    weights_close(w);
}

START_TEST(halves_stay_as_the_file_has_them_where_nothing_else_is_asked_for)
{
    static float floats[2 * N * K]; /* h, then a */
    make_folder();
    dtype_to_float(DTYPE_F16, (unsigned char *)halves, (size_t)N * K, floats);
    memcpy(floats + (size_t)N * K, values, (size_t)N * K * sizeof(float));
    for (const char *const *name = kernels_names(); *name; name++) {
        const struct kernels *k = kernels_get(*name);
        struct halves_net net = {0};
        load_halves(&net, k);
        ck_assert_int_eq(net.h.precision, PRECISION_FILE_F16);
        ck_assert_int_eq(net.b.precision, PRECISION_FILE_BF16);
        ck_assert_int_eq(net.h8.precision, PRECISION_INT8);
        ck_assert_int_eq(net.mixed.precision, PRECISION_F32);
        check_matrix(k, &net.h, 0, halves, false);
        check_matrix(k, &net.b, 0, halves + (size_t)N * K, true);
        check_matrix(k, &net.h8, 0, floats, false);
        check_matrix(k, &net.mixed, 0, floats, false);
        ck_assert_mem_eq(net.table, halves, (size_t)N * K * sizeof *halves);
        size_t used = (size_t)N * K * sizeof *halves;
        const struct matrix *const all[] = {&net.h, &net.b, &net.h8, &net.mixed};
        for (size_t i = 0; i < 4; i++)
            used += k->matrix_bytes(all[i]->precision, all[i]->N, K);
        ck_assert_uint_eq(net.packed.used, used);
        packed_done(&net.packed);
    }
    remove_folder();
}
END_TEST

START_TEST(a_bad_half_is_told_whoever_reads_it)
{
    make_folder();
    halves[700000] = 0xfc00;
    write_folder();
    for (size_t as_table = 0; as_table < 2; as_table++) {
        static const size_t shape[2] = {N, K};
        const struct weights_tensor *h = NULL;
        struct packing *p = NULL;
        struct packed packed = {0};
        struct weights *w = NULL;
        struct matrix m;
        void *table;
        struct err err = {0};
        ck_assert_int_eq(weights_open(dir, &w, &err), ERR_OK);
        ck_assert_int_eq(weights_find(w, "h", 2, shape, &h, &err), ERR_OK);
        ck_assert_int_eq(packing_new(&p, &err), ERR_OK);
        set_matrix(p, &m, N, PRECISION_F32);
        ck_assert_int_eq(as_table ? packing_table(p, &table, h, (size_t)N * K, &err)
                                  : packing_rows(p, &m, h, 0, N, false, &err),
                         ERR_OK);
        ck_assert_int_eq(packing_run(p, kernels_get(NULL), THREADS, &packed, &err),
                         ERR_FORMAT);
        ck_assert_str_eq(err.msg, "model.safetensors: tensor h: element 700000 is NaN or "
                                  "infinite");
        packing_free(p);
        weights_close(w);
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
    struct matrix m = {.N = 1 << 20, .K = (size_t)1 << 38}, more[15], huge = m;
    struct err err = {0};
    ck_assert_int_eq(packing_new(&p, &err), ERR_OK);
    ck_assert_int_eq(packing_matrix(p, &m, &err), ERR_OK);
    ck_assert_int_eq(packing_run(p, kernels_get(NULL), 1, &packed, &err), ERR_NOMEM);
    ck_assert_str_eq(err.msg, "out of memory: 1152921504606846976 bytes of weights");
    err = (struct err){0};
    for (size_t i = 0; i < 15; i++) {
        more[i] = m;
        ck_assert_int_eq(packing_matrix(p, &more[i], &err), ERR_OK);
    }
    ck_assert_int_eq(packing_run(p, kernels_get(NULL), 1, &packed, &err), ERR_NOMEM);
    ck_assert_str_eq(err.msg, "out of memory: the weights wrap");
    err = (struct err){0};
    huge.K = (size_t)1 << 50;
    ck_assert_int_eq(packing_matrix(p, &huge, &err), ERR_OK);
    ck_assert_int_eq(packing_run(p, kernels_get(NULL), 1, &packed, &err), ERR_NOMEM);
    ck_assert_str_eq(err.msg, "out of memory: a matrix [1048576,1125899906842624]");
    ck_assert_ptr_null(packed.block);
    packing_free(p);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        pieces_by_any_number_of_threads_make_the_whole,
        the_first_of_many_bad_values_is_told,
        halves_stay_as_the_file_has_them_where_nothing_else_is_asked_for,
        a_bad_half_is_told_whoever_reads_it,
        no_memory_for_the_block_is_reported,
        NULL,
    };
    return suite_run("packing", tests, 120);
}
