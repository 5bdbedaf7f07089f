/* What this machine can do: the figures that bench rows are held against. Reads one
 * command a line from standard input and answers each with a JSON line:
 *
 *   fma THREADS            {"gflops":..}: FMAs on registers alone, all threads together
 *   read THREADS BYTES     {"gbytes":..}: GB/s of reading BYTES over and over
 *
 * The best instruction set of this machine is used. Times are of the wall clock, from a
 * common start to the last thread's end. */
#include "model/base/mem.h"
#include "tests/bench/clock.h"
#include "tests/bench/peak.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

enum { THREADS = 64, STEPS = 2000000, READ_GIB = 1 };

struct part {
    pthread_t thread;
    pthread_barrier_t *start;
    const float *data; /* [n]; NULL: FMAs */
    size_t n, times;
    double begin, end;
    float sink[PEAK_LANES];
};

static double now(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

#ifdef __x86_64__

/* data is aligned to 64 bytes, n a multiple of 64. */
__attribute__((target("avx2"))) static void do_read(const float *data, size_t n,
                                                    float *sink)
{
    __m256 sum[8];
    for (int c = 0; c < 8; c++)
        sum[c] = _mm256_setzero_ps();
    for (size_t i = 0; i < n; i += 64)
#pragma GCC unroll 8
        for (size_t c = 0; c < 8; c++)
            sum[c] = _mm256_add_ps(sum[c], _mm256_load_ps(data + i + 8 * c));
    for (int c = 1; c < 8; c++)
        sum[0] = _mm256_add_ps(sum[0], sum[c]);
    _mm256_storeu_ps(sink, sum[0]);
}

#else

static void do_read(const float *data, size_t n, float *sink)
{
    *sink = n ? data[0] : 0;
}

#endif

static void *part_main(void *arg)
{
    struct part *p = arg;
    pthread_barrier_wait(p->start);
    p->begin = now();
    if (!p->data)
        peak_run(peak_lanes(NULL), STEPS, p->sink);
    for (size_t i = 0; p->data && i < p->times; i++)
        do_read(p->data, p->n, p->sink);
    p->end = now();
    return NULL;
}

/* Seconds from the first begin to the last end. */
static double run_parts(struct part *parts, size_t n)
{
    pthread_barrier_t start;
    double begin = 0, end = 0;
    pthread_barrier_init(&start, NULL, (unsigned)n);
    for (size_t i = 0; i < n; i++) {
        parts[i].start = &start;
        if (pthread_create(&parts[i].thread, NULL, part_main, &parts[i]) != 0) {
            fprintf(stderr, "bench_ceiling: a thread does not start\n");
            exit(EXIT_FAILURE);
        }
    }
    for (size_t i = 0; i < n; i++) {
        pthread_join(parts[i].thread, NULL);
        begin = i == 0 || parts[i].begin < begin ? parts[i].begin : begin;
        end = i == 0 || parts[i].end > end ? parts[i].end : end;
    }
    pthread_barrier_destroy(&start);
    return end - begin;
}

/* Threads read parts of the same bytes, as they do with weights. False: no memory. */
static bool measure_read(struct part *parts, size_t threads, size_t bytes)
{
    static float *data;
    static size_t held;
    size_t n = bytes / sizeof(float) / threads / 64 * 64;
    if (held != bytes) {
        mem_free(data);
        data = mem_aligned(bytes, 1);
        held = data ? bytes : 0;
        for (size_t i = 0; i < held / sizeof(float); i++)
            data[i] = (float)(i & 255);
    }
    if (!data || n == 0)
        return false;
    for (size_t i = 0; i < threads; i++)
        parts[i] = (struct part){
            .data = data + i * n, .n = n, .times = ((size_t)READ_GIB << 30) / bytes + 1};
    double seconds = run_parts(parts, threads);
    printf("{\"gbytes\":%.3f}\n",
           (double)(threads * n * sizeof(float) * parts[0].times) / seconds * 1e-9);
    return true;
}

int main(void)
{
    static struct part parts[THREADS];
    char line[256], verb[16];
    size_t threads = 0, bytes = 0;
    while (fgets(line, sizeof line, stdin)) {
        char *rest = line + strcspn(line, " \n");
        snprintf(verb, sizeof verb, "%.*s", (int)(rest - line), line);
        threads = strtoul(rest, &rest, 10);
        bytes = strtoul(rest, &rest, 10);
        if (!peak_lanes(NULL) || threads < 1 || threads > THREADS) {
            printf("{\"error\":\"no ceiling is known for this machine\"}\n");
        } else if (strcmp(verb, "fma") == 0) {
            memset(parts, 0, sizeof parts);
            double seconds = run_parts(parts, threads);
            printf("{\"gflops\":%.3f}\n", (double)threads *
                                              peak_flops(peak_lanes(NULL), STEPS) /
                                              seconds * 1e-9);
        } else if (!measure_read(parts, threads, bytes)) {
            printf("{\"error\":\"out of memory\"}\n");
        }
        fflush(stdout);
    }
    return EXIT_SUCCESS;
}
