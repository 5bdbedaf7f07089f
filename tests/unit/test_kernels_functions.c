/* Elementwise functions and recurrent cells, in every variant that runs here: against
 * libm in double with the bounds that kernels.h states, and bit for bit at any position.
 */
#include "tests/suite.h"
#include "tests/unit/fence.h"

#include <float.h>

static float from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

static double ulp_of(double exact)
{
    int exponent;
    frexp(exact, &exponent);
    return ldexp(1, (exponent < -125 ? -125 : exponent) - 24);
}

/* ---- elementwise functions
 * -------------------------------------------------------------- */

enum unary {
    UNARY_EXP,
    UNARY_TANH,
    UNARY_SIGMOID,
    UNARY_GELU_ERF,
    UNARY_GELU_TANH,
    UNARY_SILU,
    N_UNARY
};

static const char *const unary_names[N_UNARY] = {"exp",      "tanh",      "sigmoid",
                                                 "gelu_erf", "gelu_tanh", "silu"};

static void apply(const struct kernels *k, enum unary which, size_t n, float *x)
{
    void (*const entry[N_UNARY])(size_t, float *) = {
        k->exp, k->tanh, k->sigmoid, k->gelu_erf, k->gelu_tanh, k->silu};
    entry[which](n, x);
}

static double exact_of(enum unary which, double x)
{
    switch (which) {
    case UNARY_EXP:
        return exp(x);
    case UNARY_TANH:
        return tanh(x);
    case UNARY_SIGMOID:
        return 1 / (1 + exp(-x));
    case UNARY_GELU_ERF:
        return 0.5 * x * erfc(-x * M_SQRT1_2);
    case UNARY_SILU:
        return x / (1 + exp(-x));
    default:
        return x / (1 + exp(-2 * sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    }
}

/* What kernels.h allows around the exact value. */
static double bound_of(enum unary which, double exact)
{
    switch (which) {
    case UNARY_EXP:
        return 2 * ulp_of(exact);
    case UNARY_TANH:
    case UNARY_SIGMOID:
        return fmax(4 * ulp_of(exact), 1e-7);
    default:
        return 2e-6 + 2e-6 * fabs(exact);
    }
}

static bool unary_ok(enum unary which, float x, float got)
{
    if (isnan(x) || (x == -INFINITY && which >= UNARY_GELU_ERF))
        return isnan(got);
    double exact = exact_of(which, x);
    if (which == UNARY_EXP && exact < FLT_MIN)
        return got == 0 || (exact > 0.99999 * FLT_MIN && got <= FLT_MIN);
    if (exact > FLT_MAX)
        return got == INFINITY;
    if (which == UNARY_TANH && !(fabsf(got) <= 1 && signbit(got) == signbit(x)))
        return false;
    if (which == UNARY_SIGMOID && !(got >= 0 && got <= 1))
        return false;
    return fabs(got - exact) <= bound_of(which, exact);
}

/* Every 997th of all floats, and some neighbourhoods. */
START_TEST(functions_keep_their_bounds_on_all_floats)
{
    const struct kernels *k = variant(_i);
    enum { CHUNK = 1003 };
    struct fence x = fence_new(CHUNK, 4), y = fence_new(CHUNK, 4);
    for (enum unary f = 0; f < N_UNARY; f++) {
        for (uint64_t bits = 0; bits <= UINT32_MAX;) {
            size_t n = 0;
            for (; n < CHUNK && bits <= UINT32_MAX; bits += 997)
                x.at[n++] = from_bits((uint32_t)bits);
            memcpy(y.at, x.at, n * sizeof(float));
            apply(k, f, n, y.at);
            for (size_t i = 0; i < n; i++)
                require(unary_ok(f, x.at[i], y.at[i]), unary_names[f], i, (double)y.at[i],
                        exact_of(f, x.at[i]));
        }
    }
    fence_free(&x);
    fence_free(&y);
}
END_TEST

START_TEST(functions_keep_their_bounds_at_special_values)
{
    const struct kernels *k = variant(_i);
    static const float marks[] = {0,      FLT_TRUE_MIN, FLT_MIN,  1,         0.5f,
                                  9.01f,  5.25f,        88.7228f, 87.33654f, FLT_MAX,
                                  1e-20f, INFINITY,     NAN,      103.9f};
    for (enum unary f = 0; f < N_UNARY; f++)
        for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
            for (int step = -40; step <= 40; step++)
                for (int sign = 0; sign < 2; sign++) {
                    uint32_t bits;
                    memcpy(&bits, &marks[i], sizeof(bits));
                    float x = from_bits((bits + (uint32_t)step) ^ (uint32_t)sign << 31),
                          y = x;
                    apply(k, f, 1, &y);
                    require(unary_ok(f, x, y), unary_names[f], i, (double)y,
                            exact_of(f, x));
                }
}
END_TEST

START_TEST(functions_do_not_depend_on_the_position)
{
    const struct kernels *k = variant(_i);
    enum { N = 67 };
    struct fence x = random_array(N, -9, 9), y = fence_new(N, 4), alone = fence_new(N, 4);
    for (enum unary f = 0; f < N_UNARY; f++) {
        memcpy(alone.at, x.at, N * sizeof(float));
        for (size_t i = 0; i < N; i++)
            apply(k, f, 1, alone.at + i);
        for (size_t first = 0; first < N; first++)
            for (size_t n = 0; n <= N - first; n++) {
                memcpy(y.at, x.at, N * sizeof(float));
                apply(k, f, n, y.at + first);
                bool ok = same_bits(y.at, x.at, first) &&
                          same_bits(y.at + first, alone.at + first, n) &&
                          same_bits(y.at + first + n, x.at + first + n, N - first - n);
                require(ok, unary_names[f], first, 0, 0);
            }
    }
    fence_free(&x);
    fence_free(&y);
    fence_free(&alone);
}
END_TEST

START_TEST(add_mul_and_relu_are_exact)
{
    const struct kernels *k = variant(_i);
    for (size_t n = 0; n <= 50; n++) {
        struct fence x = random_array(n, -1, 1), y = random_array(n, -1, 1),
                     before = copy_of(y.at, n);
        k->mul(n, x.at, y.at);
        for (size_t i = 0; i < n; i++)
            ck_assert(y.at[i] == before.at[i] * x.at[i]);
        memcpy(y.at, before.at, n * sizeof(float));
        k->add(n, x.at, y.at);
        for (size_t i = 0; i < n; i++)
            ck_assert(y.at[i] == before.at[i] + x.at[i]);
        k->relu(n, y.at);
        for (size_t i = 0; i < n; i++)
            ck_assert(y.at[i] == fmaxf(before.at[i] + x.at[i], 0));
        fence_free(&x);
        fence_free(&y);
        fence_free(&before);
    }
    float x[] = {-1, -0.0f, 2, NAN, INFINITY, -INFINITY, 0, FLT_TRUE_MIN, -FLT_TRUE_MIN};
    k->relu(9, x);
    ck_assert(x[0] == 0 && x[1] == 0 && x[2] == 2 && isnan(x[3]) && x[4] == INFINITY);
    ck_assert(x[5] == 0 && x[6] == 0 && x[7] == FLT_TRUE_MIN && x[8] == 0);
}
END_TEST

/* ---- rotary positions
 * ------------------------------------------------------------------- */

/* Also that a pair alone has the bits that it has among others. */
START_TEST(rotation_is_within_its_bound_at_any_position)
{
    const struct kernels *k = variant(_i);
    for (size_t half = 0; half <= 40; half++) {
        struct fence x = random_array(2 * half, -6, 6), c = random_array(half, -1, 1),
                     s = random_array(half, -1, 1), y = copy_of(x.at, 2 * half);
        k->rotate(2 * half, c.at, s.at, y.at);
        for (size_t i = 0; i < half; i++) {
            double a = x.at[i], b = x.at[half + i];
            double bound = 0x1p-22 * (fabs(a) + fabs(b));
            double first = a * c.at[i] - b * s.at[i], second = b * c.at[i] + a * s.at[i];
            require(fabs(y.at[i] - first) <= bound, "first", i, (double)y.at[i], first);
            require(fabs(y.at[half + i] - second) <= bound, "second", i,
                    (double)y.at[half + i], second);
            float pair[2] = {x.at[i], x.at[half + i]};
            k->rotate(2, c.at + i, s.at + i, pair);
            ck_assert(same_bits(pair, y.at + i, 1) &&
                      same_bits(pair + 1, y.at + half + i, 1));
        }
        struct fence *all[] = {&x, &c, &s, &y};
        for (size_t i = 0; i < 4; i++)
            fence_free(all[i]);
    }
}
END_TEST

/* ---- recurrent cells
 * -------------------------------------------------------------------- */

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static void check_near(float got, double exact, double bound, const char *what)
{
    ck_assert_msg(fabs(got - exact) <= bound, "%s: %a, exact %a", what, (double)got,
                  exact);
}

static double gate_bound(double exact)
{
    return bound_of(UNARY_TANH, exact);
}

START_TEST(an_lstm_step_is_within_its_bound)
{
    const struct kernels *k = variant(_i);
    for (size_t H = 0; H <= 40; H++) {
        struct fence x = random_array(4 * H, -6, 6), c0 = random_array(H, -3, 3),
                     g = copy_of(x.at, 4 * H), c = copy_of(c0.at, H), h = fence_new(H, 4);
        k->lstm(H, g.at, c.at, h.at);
        for (size_t j = 0; j < H; j++) {
            double i = sigmoid(x.at[j]), f = sigmoid(x.at[H + j]);
            double z = tanh((double)x.at[2 * H + j]), o = sigmoid(x.at[3 * H + j]);
            double cell = f * c0.at[j] + i * z, bound = 5e-7 * (1 + fabsf(c0.at[j]));
            check_near(g.at[j], i, gate_bound(i), "i");
            check_near(g.at[H + j], f, gate_bound(f), "f");
            check_near(g.at[2 * H + j], z, gate_bound(z), "g");
            check_near(g.at[3 * H + j], o, gate_bound(o), "o");
            check_near(c.at[j], cell, bound, "c");
            check_near(h.at[j], o * tanh(cell), bound, "h");
        }
        struct fence *all[] = {&x, &c0, &g, &c, &h};
        for (size_t i = 0; i < 5; i++)
            fence_free(all[i]);
    }
}
END_TEST

START_TEST(a_gru_step_is_within_its_bound)
{
    const struct kernels *k = variant(_i);
    for (size_t H = 0; H <= 40; H++) {
        struct fence x = random_array(3 * H, -6, 6), u = random_array(3 * H, -4, 4),
                     h0 = random_array(H, -1, 1), g = copy_of(x.at, 3 * H),
                     h = copy_of(h0.at, H);
        k->gru(H, g.at, u.at, h.at);
        for (size_t j = 0; j < H; j++) {
            double r = sigmoid((double)x.at[j] + u.at[j]);
            double z = sigmoid((double)x.at[H + j] + u.at[H + j]), last = u.at[2 * H + j];
            double n = tanh(x.at[2 * H + j] + r * last);
            double bound = 5e-7 * (1 + fabs(last) + fabsf(h0.at[j]));
            check_near(g.at[j], r, bound, "r");
            check_near(g.at[H + j], z, bound, "z");
            check_near(g.at[2 * H + j], n, bound, "n");
            check_near(h.at[j], (1 - z) * n + z * h0.at[j], bound, "h");
        }
        struct fence *all[] = {&x, &u, &h0, &g, &h};
        for (size_t i = 0; i < 5; i++)
            fence_free(all[i]);
    }
}
END_TEST

static const float slopes[2] = {0.2f, 1.0f / 6};

static double hard_sigmoid(float slope, double x)
{
    return fmin(fmax(slope * x + 0.5, 0), 1);
}

/* Widths of the arrays take gates into both flat ends. */
START_TEST(a_hard_lstm_step_is_within_its_bound)
{
    const struct kernels *k = variant(_i);
    for (size_t H = 0; H <= 40; H++) {
        float slope = slopes[H % 2];
        struct fence x = random_array(4 * H, -6, 6), c0 = random_array(H, -3, 3),
                     g = copy_of(x.at, 4 * H), c = copy_of(c0.at, H), h = fence_new(H, 4);
        k->lstm_hard(H, slope, g.at, c.at, h.at);
        for (size_t j = 0; j < H; j++) {
            double i = hard_sigmoid(slope, x.at[j]), f = hard_sigmoid(slope, x.at[H + j]);
            double z = tanh((double)x.at[2 * H + j]),
                   o = hard_sigmoid(slope, x.at[3 * H + j]);
            double cell = f * c0.at[j] + i * z, bound = 5e-7 * (1 + fabsf(c0.at[j]));
            check_near(g.at[j], i, 0x1p-22, "i");
            check_near(g.at[H + j], f, 0x1p-22, "f");
            check_near(g.at[2 * H + j], z, gate_bound(z), "g");
            check_near(g.at[3 * H + j], o, 0x1p-22, "o");
            check_near(c.at[j], cell, bound, "c");
            check_near(h.at[j], o * tanh(cell), bound, "h");
        }
        struct fence *all[] = {&x, &c0, &g, &c, &h};
        for (size_t i = 0; i < 5; i++)
            fence_free(all[i]);
    }
}
END_TEST

START_TEST(a_hard_gru_step_is_within_its_bound)
{
    const struct kernels *k = variant(_i);
    for (size_t H = 0; H <= 40; H++) {
        float slope = slopes[H % 2];
        struct fence x = random_array(3 * H, -6, 6), u = random_array(3 * H, -4, 4),
                     h0 = random_array(H, -1, 1), g = copy_of(x.at, 3 * H),
                     h = copy_of(h0.at, H);
        k->gru_hard(H, slope, g.at, u.at, h.at);
        for (size_t j = 0; j < H; j++) {
            double r = hard_sigmoid(slope, (double)x.at[j] + u.at[j]);
            double z = hard_sigmoid(slope, (double)x.at[H + j] + u.at[H + j]);
            double last = u.at[2 * H + j], n = tanh(x.at[2 * H + j] + r * last);
            double bound = 5e-7 * (1 + fabs(last) + fabsf(h0.at[j]));
            check_near(g.at[j], r, 0x1p-22, "r");
            check_near(g.at[H + j], z, 0x1p-22, "z");
            check_near(g.at[2 * H + j], n, bound, "n");
            check_near(h.at[j], (1 - z) * n + z * h0.at[j], bound, "h");
        }
        struct fence *all[] = {&x, &u, &h0, &g, &h};
        for (size_t i = 0; i < 5; i++)
            fence_free(all[i]);
    }
}
END_TEST

START_TEST(hard_gates_keep_nan_and_reach_their_ends)
{
    const struct kernels *k = variant(_i);
    for (size_t H = 1; H <= 17; H += 8) {
        float g[4 * 17], c[17], h[17];
        for (size_t j = 0; j < H; j++) {
            g[j] = NAN;
            g[H + j] = -INFINITY;
            g[2 * H + j] = 0;
            g[3 * H + j] = 4.5f; /* slope * x = 0.9 */
            c[j] = 1;
        }
        k->lstm_hard(H, 0.2f, g, c, h);
        for (size_t j = 0; j < H; j++) {
            ck_assert(isnan(g[j]) && isnan(c[j]) && isnan(h[j]));
            ck_assert(g[H + j] == 0 && g[3 * H + j] == 1);
        }
    }
}
END_TEST

/* Unit j alone (H = 1) has the bits that it has among H units. */
START_TEST(a_cell_does_not_depend_on_its_position)
{
    const struct kernels *k = variant(_i);
    enum { H = 37 };
    struct fence x = random_array(4 * H, -6, 6), u = random_array(3 * H, -4, 4),
                 s = random_array(H, -1, 1), g = copy_of(x.at, 4 * H),
                 c = copy_of(s.at, H), h = fence_new(H, 4), g3 = copy_of(x.at, 3 * H),
                 h3 = copy_of(s.at, H);
    k->lstm(H, g.at, c.at, h.at);
    k->gru(H, g3.at, u.at, h3.at);
    struct fence hard = copy_of(x.at, 4 * H), cell = copy_of(s.at, H),
                 out = fence_new(H, 4), hard3 = copy_of(x.at, 3 * H),
                 out3 = copy_of(s.at, H);
    k->lstm_hard(H, slopes[0], hard.at, cell.at, out.at);
    k->gru_hard(H, slopes[1], hard3.at, u.at, out3.at);
    for (size_t j = 0; j < H; j++) {
        float one[4] = {x.at[j], x.at[H + j], x.at[2 * H + j], x.at[3 * H + j]},
              state = s.at[j];
        float three[3] = {one[0], one[1], one[2]}, last = s.at[j], hidden;
        float inner[3] = {u.at[j], u.at[H + j], u.at[2 * H + j]};
        k->lstm(1, one, &state, &hidden);
        ck_assert(same_bits(&state, c.at + j, 1) && same_bits(&hidden, h.at + j, 1));
        k->gru(1, three, inner, &last);
        ck_assert(same_bits(&last, h3.at + j, 1));
        for (size_t i = 0; i < 4; i++)
            ck_assert(same_bits(one + i, g.at + i * H + j, 1));
        for (size_t i = 0; i < 3; i++)
            ck_assert(same_bits(three + i, g3.at + i * H + j, 1));
        float four[4] = {x.at[j], x.at[H + j], x.at[2 * H + j], x.at[3 * H + j]};
        float again[3] = {four[0], four[1], four[2]};
        state = last = s.at[j];
        k->lstm_hard(1, slopes[0], four, &state, &hidden);
        ck_assert(same_bits(&state, cell.at + j, 1) && same_bits(&hidden, out.at + j, 1));
        k->gru_hard(1, slopes[1], again, inner, &last);
        ck_assert(same_bits(&last, out3.at + j, 1));
    }
    struct fence *all[] = {&x,  &u,    &s,    &g,   &c,     &h,   &g3,
                           &h3, &hard, &cell, &out, &hard3, &out3};
    for (size_t i = 0; i < 13; i++)
        fence_free(all[i]);
}
END_TEST

static Suite *functions_suite(void)
{
    Suite *suite = suite_create("kernels: functions");
    TCase *each = tcase_create("each variant");
    int n = 0;
    while (kernels_names()[n])
        n++;
    tcase_set_timeout(each, 120);
    tcase_add_loop_test(each, functions_keep_their_bounds_on_all_floats, 0, n);
    tcase_add_loop_test(each, functions_keep_their_bounds_at_special_values, 0, n);
    tcase_add_loop_test(each, functions_do_not_depend_on_the_position, 0, n);
    tcase_add_loop_test(each, add_mul_and_relu_are_exact, 0, n);
    tcase_add_loop_test(each, rotation_is_within_its_bound_at_any_position, 0, n);
    tcase_add_loop_test(each, an_lstm_step_is_within_its_bound, 0, n);
    tcase_add_loop_test(each, a_gru_step_is_within_its_bound, 0, n);
    tcase_add_loop_test(each, a_hard_lstm_step_is_within_its_bound, 0, n);
    tcase_add_loop_test(each, a_hard_gru_step_is_within_its_bound, 0, n);
    tcase_add_loop_test(each, hard_gates_keep_nan_and_reach_their_ends, 0, n);
    tcase_add_loop_test(each, a_cell_does_not_depend_on_its_position, 0, n);
    suite_add_tcase(suite, each);
    return suite;
}

int main(void)
{
    return suite_finish(functions_suite());
}
