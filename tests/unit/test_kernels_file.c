/* Weights that stay as a file holds them, in 16 bits: in every variant, what comes back
 * from them and every product has the bits of f32 weights of the same values. */
#include "tests/unit/fence.h"

#include "tests/suite.h"

static const enum precision HALVES[] = {PRECISION_FILE_F16, PRECISION_FILE_BF16};
enum { N_HALVES = sizeof HALVES / sizeof HALVES[0] };

static const struct kernels *half_variant(int i)
{
    return kernels_get(kernels_names()[i / N_HALVES]);
}

static enum precision half_precision(int i)
{
    return HALVES[i % N_HALVES];
}

/* A number of so many bits of exponent and fraction, from what they stand for. */
static double value_of(uint16_t bits, int exponent_bits, int fraction_bits)
{
    int largest = (1 << exponent_bits) - 1, bias = largest / 2;
    int exponent = bits >> fraction_bits & largest,
        fraction = bits & ((1 << fraction_bits) - 1);
    double size = exponent == largest ? (fraction ? NAN : INFINITY)
                  : exponent == 0     ? ldexp(fraction, 1 - bias - fraction_bits)
                                      : ldexp((1 << fraction_bits) + fraction,
                                              exponent - bias - fraction_bits);
    return bits & 0x8000 ? -size : size;
}

static float as_float(enum precision precision, uint16_t bits)
{
    return (float)(precision == PRECISION_FILE_F16 ? value_of(bits, 5, 10)
                                                   : value_of(bits, 8, 7));
}

static struct fence matrix_new(const struct kernels *k, enum precision precision,
                               size_t N, size_t K, struct matrix *m)
{
    size_t bytes = k->matrix_bytes(precision, N, K);
    struct fence f = fence_new((bytes + sizeof(float) - 1) / sizeof(float), 64);
    *m = (struct matrix){N, K, precision, f.at};
    return f;
}

/* The same weights [N,K] in 16 bits and as f32, in arrays and packed. */
struct pair {
    size_t N, K;
    uint16_t *halves;
    float *floats;
    struct fence data[2];
    struct matrix half, whole;
};

/* Random finite weights of all sizes; one in 16 subnormal or zero. */
static uint16_t random_half(enum precision precision)
{
    uint16_t bits = (uint16_t)next_random();
    int fraction_bits = precision == PRECISION_FILE_F16 ? 10 : 7;
    uint16_t fraction = (uint16_t)((1 << fraction_bits) - 1);
    if (next_random() % 16 == 0)
        return bits & (0x8000 | fraction);
    /* bf16 within 2^-20 to 2^11, or products of floats would overflow */
    uint16_t exponent = precision == PRECISION_FILE_F16
                            ? (uint16_t)(random_below(31) << fraction_bits)
                            : (uint16_t)((107 + random_below(32)) << fraction_bits);
    return (uint16_t)((bits & 0x8000) | exponent | (bits & fraction));
}

static struct pair pair_new(const struct kernels *k, enum precision precision, size_t N,
                            size_t K)
{
    struct pair p = {.N = N,
                     .K = K,
                     .halves = malloc((N * K + 1) * sizeof(uint16_t)),
                     .floats = malloc((N * K + 1) * sizeof(float))};
    ck_assert(p.halves && p.floats);
    for (size_t i = 0; i < N * K; i++) {
        p.halves[i] = random_half(precision);
        p.floats[i] = as_float(precision, p.halves[i]);
    }
    p.data[0] = matrix_new(k, precision, N, K, &p.half);
    p.data[1] = matrix_new(k, PRECISION_F32, N, K, &p.whole);
    k->pack(&p.half, 0, N, p.halves, false);
    k->pack(&p.whole, 0, N, p.floats, false);
    return p;
}

static void pair_free(struct pair *p)
{
    free(p->halves);
    free(p->floats);
    fence_free(&p->data[0]);
    fence_free(&p->data[1]);
}

START_TEST(every_number_comes_back)
{
    const struct kernels *k = half_variant(_i);
    enum precision precision = half_precision(_i);
    enum { ALL = 1 << 16 };
    static uint16_t in[ALL];
    static float out[ALL];
    struct matrix m;
    struct fence data = matrix_new(k, precision, 1, ALL, &m);
    for (size_t i = 0; i < ALL; i++)
        in[i] = (uint16_t)i;
    k->pack(&m, 0, 1, in, false);
    k->row(&m, 0, out);
    for (size_t i = 0; i < ALL; i++) {
        float want = as_float(precision, in[i]);
        require(isnan(want) ? isnan(out[i]) : same_bits(&out[i], &want, 1), "number", i,
                (double)out[i], (double)want);
    }
    fence_free(&data);
}
END_TEST

/* Products, too, see every number: y = 1 * w for each. A vector instruction may quiet a
 * NaN. */
START_TEST(every_number_is_multiplied)
{
    const struct kernels *k = half_variant(_i);
    enum precision precision = half_precision(_i);
    enum { N = 1 << 16, ROWS = 9 };
    static uint16_t in[N];
    static float y[ROWS * N], ones[ROWS] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    struct matrix m;
    struct fence data = matrix_new(k, precision, N, 1, &m);
    for (size_t i = 0; i < N; i++)
        in[i] = (uint16_t)i;
    k->pack(&m, 0, N, in, false);
    for (size_t M = 1; M <= ROWS; M++) {
        k->matmul(&m, &(struct product){
                          .last = N, .M = M, .x = ones, .ldx = 1, .y = y, .ldy = N});
        for (size_t i = 0; i < M * N; i++) {
            float want = as_float(precision, in[i % N]) + 0.0f; /* sums begin with 0 */
            require(isnan(want) ? isnan(y[i]) : same_bits(&y[i], &want, 1), "product", i,
                    (double)y[i], (double)want);
        }
    }
    fence_free(&data);
}
END_TEST

START_TEST(pieces_and_transposed_tensors_make_the_same_matrix)
{
    const struct kernels *k = half_variant(_i);
    enum precision precision = half_precision(_i);
    static const size_t sizes[][2] = {{1, 1},    {16, 8},   {17, 3},
                                      {100, 37}, {65, 130}, {64, 2}};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        size_t N = sizes[s][0], K = sizes[s][1], cut = N / 3;
        struct pair p = pair_new(k, precision, N, K);
        uint16_t *turned = malloc(N * K * sizeof *turned); /* [K,cut] and [K,N-cut] */
        for (size_t i = 0; i < N * K; i++) {
            size_t n = i / K, at = i % K;
            turned[n < cut ? at * cut + n : K * cut + at * (N - cut) + n - cut] =
                p.halves[i];
        }
        struct matrix pieces, flipped;
        struct fence a = matrix_new(k, precision, N, K, &pieces),
                     b = matrix_new(k, precision, N, K, &flipped);
        k->pack(&pieces, cut, N, p.halves + cut * K, false);
        k->pack(&pieces, 0, cut, p.halves, false);
        k->pack(&flipped, cut, N, turned + K * cut, true);
        k->pack(&flipped, 0, cut, turned, true);
        size_t bytes = k->matrix_bytes(precision, N, K);
        ck_assert_mem_eq(pieces.data, p.half.data, bytes);
        ck_assert_mem_eq(flipped.data, p.half.data, bytes);
        fence_free(&a);
        fence_free(&b);
        free(turned);
        pair_free(&p);
    }
}
END_TEST

START_TEST(it_takes_half_the_memory)
{
    const struct kernels *k = half_variant(_i);
    enum precision precision = half_precision(_i);
    ck_assert_uint_eq(k->matrix_bytes(precision, 128, 66), (size_t)128 * 66 * 2);
    ck_assert_uint_ge(k->matrix_bytes(precision, 17, 3), (size_t)17 * 3 * 2);
    ck_assert_uint_eq(k->matrix_bytes(precision, SIZE_MAX, 1), 0);
    ck_assert_uint_eq(k->matrix_bytes(precision, SIZE_MAX / 2, 2), 0);
    ck_assert_uint_eq(k->matrix_bytes(precision, 1, SIZE_MAX), 0);
    ck_assert_uint_eq(k->matrix_bytes(precision, (size_t)1 << 32, (size_t)1 << 32), 0);
}
END_TEST

/* y of M rows with both, in a slice of columns, with what a product may add. */
static void check_products(const struct kernels *k, const struct pair *p, size_t M)
{
    size_t ldx = p->K + 3, ldy = p->N + 5, n = (M - 1) * ldy + p->N;
    struct fence x = random_array((M - 1) * ldx + p->K, -2, 2),
                 bias = random_array(p->N, -1, 1), y0 = random_array(n, -1, 1),
                 y[2] = {copy_of(y0.at, n), copy_of(y0.at, n)};
    size_t first = random_below(p->N) / KERNELS_STEP * KERNELS_STEP;
    size_t last = first + KERNELS_STEP * (1 + random_below(20)), how = next_random();
    if (how & 1)
        first = 0;
    for (size_t i = 0; i < 2; i++)
        k->matmul(i ? &p->whole : &p->half,
                  &(struct product){.first = first,
                                    .last = how & 1 || last > p->N ? p->N : last,
                                    .M = M,
                                    .x = x.at,
                                    .ldx = ldx,
                                    .bias = how & 2 ? bias.at : NULL,
                                    .y = y[i].at,
                                    .ldy = ldy,
                                    .accumulate = how & 4,
                                    .act = how & 8 ? k->tanh : NULL});
    ck_assert_msg(same_bits(y[0].at, y[1].at, n), "%s: %zu rows, [%zu,%zu], columns %zu",
                  k->name, M, p->N, p->K, first);
    struct fence *all[] = {&x, &bias, &y0, &y[0], &y[1]};
    for (size_t i = 0; i < 5; i++)
        fence_free(all[i]);
}

/* Every count of rows that tiles know, on every count of panels and ragged ends. */
START_TEST(products_have_the_bits_of_f32)
{
    const struct kernels *k = half_variant(_i);
    static const size_t shapes[][2] = {{1, 1},   {16, 2},   {17, 33}, {48, 64},
                                       {80, 65}, {130, 67}, {208, 31}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0] + 12; s++) {
        bool fixed = s < sizeof shapes / sizeof shapes[0];
        struct pair p =
            pair_new(k, half_precision(_i), fixed ? shapes[s][0] : 1 + random_below(300),
                     fixed ? shapes[s][1] : 1 + random_below(150));
        for (size_t M = 1; M <= 26; M++)
            check_products(k, &p, M);
        pair_free(&p);
    }
}
END_TEST

/* x in blocks, and panels longer than what lies ahead of a fetch. */
START_TEST(long_products_have_the_bits_of_f32)
{
    const struct kernels *k = half_variant(_i);
    static const size_t shapes[][3] = {
        {300, 48, 701}, {41, 33, 5000}, {512, 20, 31}, {2, 250, 770}, {1, 513, 1025}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        struct pair p = pair_new(k, half_precision(_i), shapes[s][1], shapes[s][2]);
        for (size_t i = 0; i < 4; i++)
            check_products(k, &p, shapes[s][0]);
        pair_free(&p);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("kernels_file");
    TCase *each = tcase_create("each variant and format");
    int n = 0;
    while (kernels_names()[n])
        n++;
    n *= N_HALVES;
    tcase_set_timeout(each, 120);
    tcase_add_loop_test(each, every_number_comes_back, 0, n);
    tcase_add_loop_test(each, every_number_is_multiplied, 0, n);
    tcase_add_loop_test(each, pieces_and_transposed_tensors_make_the_same_matrix, 0, n);
    tcase_add_loop_test(each, it_takes_half_the_memory, 0, n);
    tcase_add_loop_test(each, products_have_the_bits_of_f32, 0, n);
    tcase_add_loop_test(each, long_products_have_the_bits_of_f32, 0, n);
    suite_add_tcase(suite, each);
    return suite_finish(suite);
}
