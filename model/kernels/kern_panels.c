/* The packed layout that the vector kernels share: panels of PANEL columns of y, each a
 * run of lines of 64 bytes, so that a product reads the weights in one straight run.
 *
 *   f32   P[N/16][K][16]: a line holds one k for 16 columns
 *   bf16  P[N/16][K/2][16][2]: a line holds two k, which lie in the halves of 32 bits, so
 *         that a shift or a mask makes either of them a float; an odd K is padded
 *   f16   P[N/16][K/2][2][16]: a line holds two k, one behind the other, as instructions
 *         that make floats of them read them
 *
 * The last panel is padded. Padding is as it was allocated, zero. */
#include "model/kernels/kern.h"

#include "model/kernels/kern_int8.h"

size_t kern_panel_bytes(enum precision precision, size_t K)
{
    size_t lines = kern_is_half(precision) ? K / 2 + K % 2 : K, bytes;
    return __builtin_mul_overflow(lines, LINE, &bytes) ? 0 : bytes;
}

size_t kern_panels_bytes(enum precision precision, size_t N, size_t K)
{
    if (precision == PRECISION_INT8)
        return kern_int8_bytes(N, K);
    size_t panels = N / PANEL + (N % PANEL > 0), bytes;
    if (__builtin_mul_overflow(panels, kern_panel_bytes(precision, K), &bytes))
        return 0;
    return bytes;
}

static char *panel_of(const struct matrix *m, size_t n)
{
    return (char *)m->data + n / PANEL * kern_panel_bytes(m->precision, m->K);
}

/* Where 16 bits of k lie in a panel, for lane i. */
static size_t half_at(enum precision precision, size_t k, size_t i)
{
    size_t in_line = precision == PRECISION_FILE_F16 ? k % 2 * PANEL + i : i * 2 + k % 2;
    return k / 2 * 2 * PANEL + in_line;
}

/* Columns n..n+length-1, which lie in one panel; w[at + k*k_step + i*n_step] is theirs.
 */
struct run {
    size_t n, length;
    size_t at, k_step, n_step;
};

static void pack_run(struct matrix *m, const struct run *r, const void *w)
{
    char *panel = panel_of(m, r->n);
    size_t lane = r->n % PANEL;
    for (size_t k = 0; k < m->K; k++) {
        size_t from = r->at + k * r->k_step;
        if (kern_is_half(m->precision))
            for (size_t i = 0; i < r->length; i++)
                ((uint16_t *)panel)[half_at(m->precision, k, lane + i)] =
                    kern_half(m->precision, w, from + i * r->n_step);
        else
            for (size_t i = 0; i < r->length; i++)
                ((float *)panel)[k * PANEL + lane + i] =
                    ((const float *)w)[from + i * r->n_step];
    }
}

void kern_panels_pack(struct matrix *m, size_t first, size_t last, const void *w,
                      bool transposed)
{
    if (m->precision == PRECISION_INT8) {
        kern_int8_pack(m, first, last, w, transposed);
        return;
    }
    struct run r = {.n = first,
                    .k_step = transposed ? last - first : 1,
                    .n_step = transposed ? 1 : m->K};
    for (; r.n < last; r.n += r.length, r.at += r.length * r.n_step) {
        r.length = PANEL - r.n % PANEL;
        if (r.length > last - r.n)
            r.length = last - r.n;
        pack_run(m, &r, w);
    }
}

void kern_panels_row(const struct matrix *m, size_t n, float *out)
{
    if (m->precision == PRECISION_INT8) {
        kern_int8_row(m, n, out);
        return;
    }
    const char *panel = panel_of(m, n);
    size_t lane = n % PANEL;
    if (kern_is_half(m->precision))
        for (size_t k = 0; k < m->K; k++)
            out[k] = kern_half_value(
                m->precision, ((const uint16_t *)panel)[half_at(m->precision, k, lane)]);
    else
        for (size_t k = 0; k < m->K; k++)
            out[k] = ((const float *)panel)[k * PANEL + lane];
}
