/* The packed layout that the vector kernels share: panels of PANEL columns of y, each a
 * run of lines of 64 bytes, so that a product reads the weights in one straight run.
 *
 *   f32   P[N/16][K][16]: a line holds one k for 16 columns
 *   bf16  P[N/16][K/2][16][2]: a line holds two k, which lie in the halves of 32 bits, so
 *         that a shift or a mask makes either of them a float; an odd K is padded
 *
 * The last panel is padded. Padding is as it was allocated, zero. */
#include "model/kernels/kern.h"

#include "model/kernels/kern_int8.h"

size_t kern_panel_bytes(enum precision precision, size_t K)
{
    size_t lines = precision == PRECISION_BF16 ? K / 2 + K % 2 : K, bytes;
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

/* Columns n..n+run-1, which lie in one panel; w[k * k_step + i * n_step] is theirs. */
static void pack_run(struct matrix *m, size_t n, size_t run, const float *w,
                     size_t k_step, size_t n_step)
{
    char *panel = (char *)m->data + n / PANEL * kern_panel_bytes(m->precision, m->K);
    size_t lane = n % PANEL;
    if (m->precision == PRECISION_BF16)
        for (size_t k = 0; k < m->K; k++)
            for (size_t i = 0; i < run; i++)
                ((uint16_t *)panel)[k / 2 * 2 * PANEL + (lane + i) * 2 + k % 2] =
                    kern_bf16(w[k * k_step + i * n_step]);
    else
        for (size_t k = 0; k < m->K; k++)
            for (size_t i = 0; i < run; i++)
                ((float *)panel)[k * PANEL + lane + i] = w[k * k_step + i * n_step];
}

void kern_panels_pack(struct matrix *m, size_t first, size_t last, const float *w,
                      bool transposed)
{
    if (m->precision == PRECISION_INT8) {
        kern_int8_pack(m, first, last, w, transposed);
        return;
    }
    size_t k_step = transposed ? last - first : 1, n_step = transposed ? 1 : m->K, run;
    for (size_t n = first; n < last; n += run, w += run * n_step) {
        run = PANEL - n % PANEL;
        if (run > last - n)
            run = last - n;
        pack_run(m, n, run, w, k_step, n_step);
    }
}

void kern_panels_row(const struct matrix *m, size_t n, float *out)
{
    if (m->precision == PRECISION_INT8) {
        kern_int8_row(m, n, out);
        return;
    }
    const char *panel =
        (const char *)m->data + n / PANEL * kern_panel_bytes(m->precision, m->K);
    size_t lane = n % PANEL;
    if (m->precision == PRECISION_BF16)
        for (size_t k = 0; k < m->K; k++)
            out[k] = kern_bf16_value(
                ((const uint16_t *)panel)[k / 2 * 2 * PANEL + lane * 2 + k % 2]);
    else
        for (size_t k = 0; k < m->K; k++)
            out[k] = ((const float *)panel)[k * PANEL + lane];
}
