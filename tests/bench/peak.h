/* The FMA peak: multiply-adds on registers alone, as wide as the vectors that a variant
 * of the kernels uses. What products and attention are held against. */
#ifndef SEQ_BENCH_PEAK_H
#define SEQ_BENCH_PEAK_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

enum { PEAK_CHAINS = 12, PEAK_LANES = 16 }; /* of one run; of the widest vector */

/* Floats in a vector of that variant, NULL: in the widest of this machine; 0: no peak is
 * known here. */
static inline size_t peak_lanes(const char *variant)
{
#ifdef __x86_64__
    bool narrow = variant && strcmp(variant, "avx2") == 0;
    if (!narrow && __builtin_cpu_supports("avx512f"))
        return PEAK_LANES;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return PEAK_LANES / 2;
#else
    (void)variant;
#endif
    return 0;
}

/* Operations of one run. */
static inline double peak_flops(size_t lanes, size_t steps)
{
    return 2.0 * (double)(lanes * PEAK_CHAINS * steps);
}

#ifdef __x86_64__

__attribute__((target("avx2,fma"))) static inline void peak_256(size_t steps, float *sink)
{
    __m256 sum[PEAK_CHAINS], a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
    for (int c = 0; c < PEAK_CHAINS; c++)
        sum[c] = _mm256_set1_ps((float)c);
    for (size_t i = 0; i < steps; i++)
#pragma GCC unroll 12
        for (int c = 0; c < PEAK_CHAINS; c++)
            sum[c] = _mm256_fmadd_ps(sum[c], a, b);
    for (int c = 1; c < PEAK_CHAINS; c++)
        sum[0] = _mm256_add_ps(sum[0], sum[c]);
    _mm256_storeu_ps(sink, sum[0]);
}

__attribute__((target("avx512f"))) static inline void peak_512(size_t steps, float *sink)
{
    __m512 sum[PEAK_CHAINS], a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
    for (int c = 0; c < PEAK_CHAINS; c++)
        sum[c] = _mm512_set1_ps((float)c);
    for (size_t i = 0; i < steps; i++)
#pragma GCC unroll 12
        for (int c = 0; c < PEAK_CHAINS; c++)
            sum[c] = _mm512_fmadd_ps(sum[c], a, b);
    for (int c = 1; c < PEAK_CHAINS; c++)
        sum[0] = _mm512_add_ps(sum[0], sum[c]);
    _mm512_storeu_ps(sink, sum[0]);
}

#endif

/* sink [PEAK_LANES] */
static inline void peak_run(size_t lanes, size_t steps, float *sink)
{
#ifdef __x86_64__
    if (lanes == PEAK_LANES)
        peak_512(steps, sink);
    else if (lanes > 0)
        peak_256(steps, sink);
#else
    (void)lanes, (void)steps;
    *sink = 0;
#endif
}

#endif
