/* int8 matrices in every variant that runs here: weights and rows within half a step of
 * what they stand for, products bit for bit what integers give, and the same however the
 * work is cut. */
#include "tests/suite.h"
#include "tests/unit/fence.h"

#include <float.h>

/* ---- packing ---------------------------------------------------------------------- */

static struct fence packed(const struct kernels *k, struct matrix *m, size_t N, size_t K,
                           const float *w)
{
    struct fence f = fence_new(k->matrix_bytes(PRECISION_INT8, N, K) / sizeof(float), 64);
    *m = (struct matrix){N, K, PRECISION_INT8, f.at};
    k->pack(m, 0, N, w, false);
    return f;
}

/* The step of a row of weights, as kernels.h has it. */
static float step_of(size_t K, const float *w)
{
    float step = 0;
    for (size_t k = 0; k < K; k += 2)
        step = fmaxf(step, fabsf(w[k]) / 127 + (k + 1 < K ? fabsf(w[k + 1]) / 127 : 0));
    return step;
}

static void check_row(const struct kernels *k, const struct matrix *m, size_t n,
                      const float *w)
{
    struct fence out = fence_new(m->K, 4);
    k->row(m, n, out.at);
    double step = step_of(m->K, w);
    for (size_t i = 0; i < m->K; i++) {
        double error = fabs((double)w[i] - out.at[i]);
        require(error <= step * 0.50001, "weight", i, out.at[i], w[i]);
    }
    for (size_t i = 0; i + 1 < m->K; i += 2) {
        double both = fabs((double)out.at[i]) + fabs((double)out.at[i + 1]);
        require(both <= step * 128.001, "pair", i, both, step);
    }
    fence_free(&out);
}

START_TEST(weights_are_within_half_a_step)
{
    const struct kernels *k = variant(_i);
    static const size_t sizes[][2] = {{1, 1},    {16, 8},   {17, 3},   {100, 37},
                                      {65, 130}, {33, 258}, {7, 4096}, {64, 0}};
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        size_t N = sizes[s][0], K = sizes[s][1], cut = N / 3;
        size_t bytes = k->matrix_bytes(PRECISION_INT8, N, K);
        struct fence w = random_array(N * K, -1, 1), t = fence_new(N * K, 4), pieces,
                     flipped = fence_new(bytes / sizeof(float), 64);
        for (size_t i = 0; i < N * K; i++) {
            size_t row = i / K;
            w.at[i] *= (float)(1 + row); /* each row has a step of its own */
            t.at[i % K * N + i / K] = w.at[i];
        }
        struct matrix a, b = {N, K, PRECISION_INT8, flipped.at};
        pieces = packed(k, &a, N, K, w.at);
        memset(a.data, 0, bytes);
        k->pack(&a, cut, N, w.at + cut * K, false);
        k->pack(&a, 0, cut, w.at, false);
        k->pack(&b, 0, N, t.at, true);
        ck_assert_mem_eq(a.data, b.data, bytes);
        for (size_t n = 0; n < N; n++)
            check_row(k, &a, n, w.at + n * K);
        struct fence *all[] = {&w, &t, &pieces, &flipped};
        for (size_t i = 0; i < 4; i++)
            fence_free(all[i]);
    }
}
END_TEST

START_TEST(rows_of_zeros_and_of_tiny_weights_are_zeros)
{
    const struct kernels *k = variant(_i);
    struct fence w = fence_new(3 * 6, 4), out = fence_new(6, 4);
    for (size_t i = 0; i < 18; i++)
        w.at[i] = i < 6 ? 0 : i < 12 ? FLT_TRUE_MIN : i % 2 ? -FLT_MIN / 2 : FLT_MIN;
    struct matrix m;
    struct fence data = packed(k, &m, 3, 6, w.at);
    for (size_t n = 0; n < 3; n++) {
        k->row(&m, n, out.at);
        for (size_t i = 0; i < 6; i++)
            ck_assert(out.at[i] == 0);
    }
    struct fence *all[] = {&w, &out, &data};
    for (size_t i = 0; i < 3; i++)
        fence_free(all[i]);
}
END_TEST

START_TEST(a_matrix_too_large_or_too_wide_has_no_size)
{
    const struct kernels *k = variant(_i);
    ck_assert_uint_eq(k->matrix_bytes(PRECISION_INT8, SIZE_MAX, 1), 0);
    ck_assert_uint_eq(k->matrix_bytes(PRECISION_INT8, SIZE_MAX / 4, 64), 0);
    ck_assert_uint_eq(k->matrix_bytes(PRECISION_INT8, 1, KERNELS_INT8_K + 1), 0);
    ck_assert_uint_eq(k->matrix_bytes(PRECISION_INT8, 1, SIZE_MAX), 0);
    ck_assert_uint_ge(k->matrix_bytes(PRECISION_INT8, 1, KERNELS_INT8_K), KERNELS_INT8_K);
    /* A quarter of f32, but for what stands beside the weights. */
    ck_assert_uint_le(k->matrix_bytes(PRECISION_INT8, 768, 768), 768 * 768 * 21 / 20);
}
END_TEST

/* ---- rows ------------------------------------------------------------------------- */

static size_t padded(size_t K)
{
    return (K + 3) / 4 * 4;
}

/* Fenced bytes for M quantised rows of the least width. */
static struct fence bytes_for(size_t M, size_t K)
{
    return fence_new(M * padded(K) / sizeof(float), 4);
}

static struct quantised_row check_quantised(const struct kernels *k, size_t K,
                                            const float *x)
{
    struct fence q = bytes_for(1, K), same = bytes_for(1, K);
    struct quantised_row row, ref;
    const uint8_t *at = (const uint8_t *)q.at;
    float low = 0, high = 0;
    k->quantise(K, x, (uint8_t *)q.at, &row);
    kernels_get("ref")->quantise(K, x, (uint8_t *)same.at, &ref);
    ck_assert_mem_eq(&row, &ref, sizeof row);
    ck_assert_mem_eq(at, same.at, padded(K));
    for (size_t i = 0; i < K; i++) {
        low = fminf(low, x[i]);
        high = fmaxf(high, x[i]);
    }
    ck_assert(row.scale == 0 || row.scale == high / 255 - low / 255);
    for (size_t i = 0; i < K; i++) {
        double value = (double)row.scale * (at[i] - row.zero);
        double bound = row.scale > 0 ? 0.5001 * row.scale : FLT_MIN * 255;
        require(fabs(x[i] - value) <= bound, "row", i, value, x[i]);
    }
    fence_free(&q);
    fence_free(&same);
    return row;
}

START_TEST(rows_are_within_half_a_step)
{
    const struct kernels *k = variant(_i);
    static const float ranges[][2] = {
        {-1, 1},      {0, 1},          {-3, -1},          {5, 5},
        {-1e-30f, 1}, {-1e30f, 2e30f}, {-1e-37f, 2e-36f}, {-0.17f, 12}};
    for (size_t K = 0; K < 70; K++)
        for (size_t r = 0; r < sizeof(ranges) / sizeof(ranges[0]); r++) {
            struct fence x = random_array(K, ranges[r][0], ranges[r][1]);
            check_quantised(k, K, x.at);
            fence_free(&x);
        }
    for (size_t K = 1; K < 20; K++) {
        struct fence x = random_array(K, -1, 1); /* all floats there are */
        for (size_t i = 0; i < K; i++)
            x.at[i] *= next_random() % 2 ? FLT_MAX : 1;
        x.at[K / 2] = -FLT_MAX;
        x.at[K - 1] = FLT_MAX;
        check_quantised(k, K, x.at);
        fence_free(&x);
    }
    for (size_t i = 0; i < 50; i++) {
        struct fence x = random_array(3000, -1, uniform(0, 3));
        x.at[next_random() % 3000] = uniform(-100, 100); /* the one that sets the scale */
        check_quantised(k, 3000, x.at);
        fence_free(&x);
    }
}
END_TEST

START_TEST(zero_is_held_exactly)
{
    const struct kernels *k = variant(_i);
    for (size_t K = 1; K < 40; K++) {
        struct fence x = random_array(K, -3, 5), q = bytes_for(1, K);
        struct quantised_row row;
        x.at[K / 2] = 0;
        k->quantise(K, x.at, (uint8_t *)q.at, &row);
        ck_assert(((uint8_t *)q.at)[K / 2] == row.zero);
        for (size_t i = 0; i < K; i++)
            x.at[i] = i % 2 ? -0.0f : 0;
        struct quantised_row none = check_quantised(k, K, x.at);
        ck_assert(none.scale == 0 && none.zero == 0);
        for (size_t i = 0; i < K; i++)
            x.at[i] = i % 2 ? -FLT_TRUE_MIN : FLT_MIN;
        ck_assert(check_quantised(k, K, x.at).scale == 0);
        fence_free(&x);
        fence_free(&q);
    }
}
END_TEST

START_TEST(a_row_without_numbers_has_none_for_a_scale)
{
    const struct kernels *k = variant(_i);
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t K = 1; K < 40; K++)
        for (size_t at = 0; at < K; at++)
            for (size_t b = 0; b < 3; b++) {
                struct fence x = random_array(K, -1, 1), q = bytes_for(1, K);
                struct quantised_row row;
                x.at[at] = bad[b];
                k->quantise(K, x.at, (uint8_t *)q.at, &row);
                require(isnan(row.scale), "scale", at, row.scale, NAN);
                fence_free(&x);
                fence_free(&q);
            }
}
END_TEST

/* ---- products --------------------------------------------------------------------- */

struct problem {
    size_t M, N, K, ldy;
    struct fence w, x, bias, y0, data, q, rows;
    struct matrix m;
    struct quantised in;
};

/* y0 is where a result begins, and what lies behind its rows. */
static size_t y_floats(const struct problem *p)
{
    return p->M ? (p->M - 1) * p->ldy + p->N : 0;
}

static void problem_quantise(struct problem *p, const struct kernels *k)
{
    for (size_t m = 0; m < p->M; m++)
        k->quantise(p->K, p->x.at + m * p->K, (uint8_t *)p->q.at + m * p->in.ld,
                    (struct quantised_row *)p->rows.at + m);
}

static struct problem problem_new(const struct kernels *k, size_t M, size_t N, size_t K)
{
    struct problem p = {.M = M, .N = N, .K = K, .ldy = N + 5};
    p.w = random_array(N * K, -1, 1);
    p.x = random_array(M * K, -2, 3);
    p.bias = random_array(N, -1, 1);
    p.y0 = random_array(y_floats(&p), -1, 1);
    p.data = packed(k, &p.m, N, K, p.w.at);
    p.q = bytes_for(M, K);
    p.rows = fence_new(2 * M, 4);
    p.in = (struct quantised){.q = (uint8_t *)p.q.at,
                              .ld = padded(K),
                              .rows = (struct quantised_row *)p.rows.at};
    problem_quantise(&p, k);
    return p;
}

static void problem_free(struct problem *p)
{
    struct fence *all[] = {&p->w, &p->x, &p->bias, &p->y0, &p->data, &p->q, &p->rows};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        fence_free(all[i]);
}

static struct product product_of(const struct problem *p, float *y)
{
    return (struct product){.last = p->N,
                            .M = p->M,
                            .bias = p->bias.at,
                            .y = y,
                            .ldy = p->ldy,
                            .accumulate = true};
}

/* What element [m,n] of a call must be, to the bit: the sum in integers, the rest as
 * kernels.h has it. steps [K] are the weights of column n. */
static float exact(const struct problem *p, const struct product *call, size_t m,
                   size_t n, float step, const int *steps)
{
    const uint8_t *q = p->in.q + m * p->in.ld;
    struct quantised_row row = p->in.rows[m];
    int64_t sum = 0;
    for (size_t k = 0; k < p->K; k++)
        sum += (int64_t)(q[k] - row.zero) * steps[k];
    ck_assert(sum == (int32_t)sum);
    float y = (float)sum * step * row.scale;
    y = call->bias ? y + call->bias[n] : y;
    return call->accumulate ? y + p->y0.at[m * p->ldy + n] : y;
}

/* The bound of kernels.h, against what the floats give. */
static void check_bound(const struct problem *p, const struct product *call, size_t m,
                        size_t n, float step, const float *held)
{
    const float *x = p->x.at + m * p->K, *w = p->w.at + n * p->K;
    double sum = call->bias ? call->bias[n] : 0, weights = 0, values = 0, size;
    double before = call->accumulate ? p->y0.at[m * p->ldy + n] : 0;
    size = fabs(sum) + fabs(before);
    sum += before;
    for (size_t k = 0; k < p->K; k++) {
        sum += (double)x[k] * w[k];
        weights += fabsf(held[k]);
        values += fabsf(x[k]);
        size += fabs((double)x[k] * held[k]);
    }
    double scale = p->in.rows[m].scale;
    /* x as it is held is within half a step of x. */
    size += 0.5001 * scale * weights;
    double bound = 0.5001 * (scale * weights + step * values) + 0x1p-22 * size;
    double got = call->y[m * p->ldy + n];
    require(fabs(got - sum) <= bound, "element", n, got, sum);
}

/* Every element of a call, and that nothing beside it was written. */
static void check_call(const struct kernels *k, const struct problem *p,
                       const struct product *call)
{
    float *held = malloc((p->K + 1) * sizeof *held);
    int *steps = malloc((p->K + 1) * sizeof *steps);
    ck_assert(held && steps);
    for (size_t n = 0; n < p->N; n++) {
        float step = step_of(p->K, p->w.at + n * p->K);
        k->row(&p->m, n, held);
        for (size_t i = 0; i < p->K; i++)
            steps[i] = step > 0 ? (int)rintf(held[i] / step) : 0;
        for (size_t m = 0; m < p->M; m++) {
            float got = call->y[m * p->ldy + n];
            float want = exact(p, call, m, n, step, steps);
            require(same_bits(&got, &want, 1), "product", m * p->N + n, (double)got,
                    (double)want);
            check_bound(p, call, m, n, step, held);
        }
    }
    for (size_t m = 0; m + 1 < p->M; m++)
        ck_assert(same_bits(call->y + m * p->ldy + p->N, p->y0.at + m * p->ldy + p->N,
                            p->ldy - p->N));
    free(held);
    free(steps);
}

START_TEST(products_are_what_integers_give)
{
    const struct kernels *k = variant(_i);
    static const size_t Ms[] = {0, 1, 2, 3, 4, 5, 6, 7, 13, 16, 33};
    static const size_t shapes[][2] = {{1, 1},    {16, 5},  {17, 16}, {130, 64}, {96, 33},
                                       {97, 257}, {256, 7}, {5, 0},   {208, 515}};
    for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++)
        for (size_t i = 0; i < sizeof(Ms) / sizeof(Ms[0]); i++) {
            struct problem p = problem_new(k, Ms[i], shapes[s][0], shapes[s][1]);
            for (int how = 0; how < 4; how++) {
                struct fence y = copy_of(p.y0.at, y_floats(&p));
                struct product call = product_of(&p, y.at);
                call.accumulate = how & 1;
                call.bias = how & 2 ? call.bias : NULL;
                k->matmul_int8(&p.m, &p.in, &call);
                check_call(k, &p, &call);
                fence_free(&y);
            }
            problem_free(&p);
        }
}
END_TEST

/* Weights and rows of nothing but the most there is, in a pattern of signs that two
 * neighbours may have. */
static void check_extremes(const struct kernels *k, size_t K, int signs)
{
    size_t N = K > 4096 ? 1 : 18, M = K > 4096 ? 1 : 5;
    struct problem p = problem_new(k, M, N, K);
    for (size_t i = 0; i < N * K; i++) {
        bool one = signs & 4 && i % 2; /* 127 and 0, or 64 and 64 */
        p.w.at[i] = one ? 0 : signs >> (i % 2) & 1 ? -1 : 1;
    }
    for (size_t i = 0; i < M * K; i++)
        p.x.at[i] = signs & 8 ? -5 : 5;
    k->pack(&p.m, 0, N, p.w.at, false);
    problem_quantise(&p, k);
    struct fence y = copy_of(p.y0.at, y_floats(&p));
    struct product call = product_of(&p, y.at);
    k->matmul_int8(&p.m, &p.in, &call);
    check_call(k, &p, &call);
    fence_free(&y);
    problem_free(&p);
}

START_TEST(neither_16_nor_32_bits_overflow)
{
    const struct kernels *k = variant(_i);
    static const size_t Ks[] = {2, 3, 64, 4096, KERNELS_INT8_K};
    for (size_t s = 0; s < 5; s++)
        for (int signs = 0; signs < 16; signs++)
            check_extremes(k, Ks[s], signs);
}
END_TEST

/* Every row of p computed alone, into y. */
static void rows_alone(const struct kernels *k, const struct problem *p, float *y)
{
    for (size_t m = 0; m < p->M; m++) {
        struct product call = product_of(p, y + m * p->ldy);
        struct quantised in = p->in;
        call.M = 1;
        in.q += m * in.ld;
        in.rows += m;
        k->matmul_int8(&p->m, &in, &call);
    }
}

START_TEST(a_row_has_the_same_bits_in_any_batch)
{
    const struct kernels *k = variant(_i);
    static const size_t shapes[][3] = {
        {40, 100, 70}, {40, 208, 515}, {20, 1, 9}, {300, 48, 1500}, {30, 33, 20000}};
    for (size_t s = 0; s < 5; s++) {
        struct problem p = problem_new(k, shapes[s][0], shapes[s][1], shapes[s][2]);
        struct fence alone = copy_of(p.y0.at, y_floats(&p));
        rows_alone(k, &p, alone.at);
        for (size_t M = 1; M <= p.M; M += M < 40 ? 1 : 130) {
            size_t from = next_random() % (p.M - M + 1);
            struct fence y = copy_of(p.y0.at, y_floats(&p));
            struct product call = product_of(&p, y.at + from * p.ldy);
            struct quantised in = p.in;
            call.M = M;
            in.q += from * in.ld;
            in.rows += from;
            k->matmul_int8(&p.m, &in, &call);
            for (size_t m = 0; m < p.M; m++) {
                bool done = m >= from && m < from + M;
                const float *want = (done ? alone.at : p.y0.at) + m * p.ldy;
                require(same_bits(y.at + m * p.ldy, want, p.N), "row", m, (double)M, 0);
            }
            fence_free(&y);
        }
        fence_free(&alone);
        problem_free(&p);
    }
}
END_TEST

START_TEST(a_column_has_the_same_bits_in_any_slice)
{
    const struct kernels *k = variant(_i);
    for (size_t M = 1; M <= 20; M++) {
        struct problem p = problem_new(k, M, 250, 67);
        size_t n = y_floats(&p);
        struct fence whole = copy_of(p.y0.at, n), y = copy_of(p.y0.at, n);
        struct product call = product_of(&p, whole.at);
        k->matmul_int8(&p.m, &p.in, &call);
        for (size_t first = 0; first < p.N; first = call.last) {
            size_t width = 16 * (1 + next_random() % 9);
            call = product_of(&p, y.at);
            call.first = first;
            call.last = first + width < p.N ? first + width : p.N;
            struct fence before = copy_of(y.at, n);
            k->matmul_int8(&p.m, &p.in, &call);
            for (size_t i = 0; i < n; i++)
                if (i % p.ldy < call.first || i % p.ldy >= call.last)
                    require(same_bits(y.at + i, before.at + i, 1), "outside", i, 0, 0);
            fence_free(&before);
        }
        ck_assert_msg(same_bits(y.at, whole.at, n), "%zu rows", M);
        fence_free(&whole);
        fence_free(&y);
        problem_free(&p);
    }
}
END_TEST

START_TEST(an_activation_is_applied_to_what_was_stored)
{
    const struct kernels *k = variant(_i);
    for (size_t M = 1; M <= 14; M++) {
        struct problem p = problem_new(k, M, 150, 67);
        size_t n = y_floats(&p);
        struct fence y = copy_of(p.y0.at, n), want = copy_of(p.y0.at, n);
        struct product call = product_of(&p, want.at);
        k->matmul_int8(&p.m, &p.in, &call);
        for (size_t m = 0; m < M; m++)
            k->gelu_erf(p.N, want.at + m * p.ldy);
        call = product_of(&p, y.at);
        call.act = k->gelu_erf;
        k->matmul_int8(&p.m, &p.in, &call);
        ck_assert(same_bits(y.at, want.at, n));
        fence_free(&y);
        fence_free(&want);
        problem_free(&p);
    }
}
END_TEST

START_TEST(a_row_without_numbers_stays_alone)
{
    const struct kernels *k = variant(_i);
    struct problem p = problem_new(k, 11, 40, 24);
    size_t n = y_floats(&p);
    struct fence clean = copy_of(p.y0.at, n), y = copy_of(p.y0.at, n);
    struct product call = product_of(&p, clean.at);
    k->matmul_int8(&p.m, &p.in, &call);
    p.x.at[7 * p.K + 23] = NAN;
    p.x.at[9 * p.K] = INFINITY;
    problem_quantise(&p, k);
    call.y = y.at;
    k->matmul_int8(&p.m, &p.in, &call);
    for (size_t m = 0; m < p.M; m++)
        for (size_t c = 0; c < p.N; c++) {
            const float *at = y.at + m * p.ldy + c;
            if (m == 7 || m == 9)
                ck_assert(isnan(*at));
            else
                ck_assert(same_bits(at, clean.at + m * p.ldy + c, 1));
        }
    fence_free(&clean);
    fence_free(&y);
    problem_free(&p);
}
END_TEST

static Suite *int8_suite(void)
{
    Suite *suite = suite_create("int8 kernels");
    TCase *each = tcase_create("each variant");
    int n = 0;
    while (kernels_names()[n])
        n++;
    tcase_set_timeout(each, 120);
    tcase_add_loop_test(each, weights_are_within_half_a_step, 0, n);
    tcase_add_loop_test(each, rows_of_zeros_and_of_tiny_weights_are_zeros, 0, n);
    tcase_add_loop_test(each, a_matrix_too_large_or_too_wide_has_no_size, 0, n);
    tcase_add_loop_test(each, rows_are_within_half_a_step, 0, n);
    tcase_add_loop_test(each, zero_is_held_exactly, 0, n);
    tcase_add_loop_test(each, a_row_without_numbers_has_none_for_a_scale, 0, n);
    tcase_add_loop_test(each, products_are_what_integers_give, 0, n);
    tcase_add_loop_test(each, neither_16_nor_32_bits_overflow, 0, n);
    tcase_add_loop_test(each, a_row_has_the_same_bits_in_any_batch, 0, n);
    tcase_add_loop_test(each, a_column_has_the_same_bits_in_any_slice, 0, n);
    tcase_add_loop_test(each, an_activation_is_applied_to_what_was_stored, 0, n);
    tcase_add_loop_test(each, a_row_without_numbers_stays_alone, 0, n);
    suite_add_tcase(suite, each);
    return suite;
}

int main(void)
{
    return suite_finish(int8_suite());
}
