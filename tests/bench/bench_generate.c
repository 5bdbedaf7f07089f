/* Continues 1, 8 and 32 texts together and one after the other, greedily and by drawing.
 *
 *   bench_generate [MODEL_DIR...]     (default: the shipped models that predict words)
 *
 * Prints, for each number of texts, tokens per second of processor time: one after the
 * other (4 of them at most), together, the ratio, together by drawing (temperature 0.8,
 * top_p 0.95), and with log probabilities; then the longest step of 8 texts which a
 * prompt of many tokens joins, beside their usual one. The texts must be the same both
 * ways. One thread, medians of 5 runs in turns. */
#include "model/seq.h"
#include "tests/bench/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 32, ALONE = 4, PROMPT = 16, TOKENS = 20, RUNS = 5, LONG_PROMPT = 200 };

enum way { TOGETHER, ONE_BY_ONE, DRAWN, TOLD, N_WAYS };

struct bench {
    struct seq_model *m;
    struct seq_worker *w;
    size_t n; /* texts */
    int32_t prompt[MOST][LONG_PROMPT];
    int32_t told[MOST][TOKENS]; /* by the first run */
    bool noted;
    struct err err;
};

static double now_us(void)
{
    return 1e6 * seconds_of(CLOCK_PROCESS_CPUTIME_ID);
}

static bool finished(const struct seq_generation *g)
{
    struct seq_generated r;
    seq_generation_view(g, &r);
    return r.finish != SEQ_FINISH_NOT;
}

static bool step(struct bench *b, size_t n, struct seq_generation *const *all)
{
    return seq_generate(b->m, b->w, n, all, &b->err) == ERR_OK;
}

static bool begin(struct bench *b, enum way way, size_t n, struct seq_generation **all)
{
    struct seq_generate_options opt = {
        .max_tokens = TOKENS, .ignore_end = true, .logprobs = way == TOLD, .n_top = 5};
    if (way == DRAWN)
        opt.sampling = (struct seq_sampling){.temperature = 0.8, .top_p = 0.95};
    for (size_t i = 0; i < n; i++)
        if (seq_generation_new(b->m, b->prompt[i], PROMPT, &opt, &all[i], &b->err) !=
            ERR_OK)
            return false;
    return true;
}

/* Notes or compares what was written greedily. */
static bool same(struct bench *b, size_t i, const struct seq_generation *g)
{
    struct seq_generated r;
    seq_generation_view(g, &r);
    if (r.n_tokens != TOKENS)
        return false;
    for (size_t t = 0; t < TOKENS; t++) {
        if (!b->noted)
            b->told[i][t] = r.tokens[t].chosen.id;
        if (b->told[i][t] != r.tokens[t].chosen.id)
            return false;
    }
    return true;
}

/* Microseconds that a token takes behind the prompts, or -1. */
static double run(struct bench *b, enum way way)
{
    struct seq_generation *all[MOST] = {0};
    size_t n = way == ONE_BY_ONE && b->n > ALONE ? ALONE : b->n;
    size_t group = way == ONE_BY_ONE ? 1 : n;
    bool good = begin(b, way, n, all);
    double us = 0;
    for (size_t i = 0; i < n && good; i += group) {
        good = step(b, group, all + i); /* the prompts */
        double start = now_us();
        while (good && !finished(all[i]))
            good = step(b, group, all + i);
        us += now_us() - start;
    }
    for (size_t i = 0; i < n && good && way != DRAWN; i++)
        good = same(b, i, all[i]);
    b->noted = b->noted || (good && way == TOGETHER);
    for (size_t i = 0; i < n; i++)
        seq_generation_free(all[i]);
    return good ? us / (double)(n * (TOKENS - 1)) : -1;
}

static bool measure(struct bench *b, size_t n)
{
    double us[N_WAYS][RUNS], rate[N_WAYS];
    b->n = n;
    b->noted = false;
    for (size_t r = 0; r < RUNS; r++)
        for (enum way way = 0; way < N_WAYS; way++) {
            us[way][r] = run(b, way);
            if (us[way][r] < 0)
                return false;
        }
    for (enum way way = 0; way < N_WAYS; way++)
        rate[way] = 1e6 / median(us[way], RUNS);
    printf("%6zu %12.0f %12.0f %8.2f %12.0f %12.0f\n", n, rate[ONE_BY_ONE],
           rate[TOGETHER], rate[TOGETHER] / rate[ONE_BY_ONE], rate[DRAWN], rate[TOLD]);
    return true;
}

/* The longest step of 8 texts while a ninth reads a long prompt. */
static bool measure_joining(struct bench *b)
{
    enum { OTHERS = 8 };
    struct seq_generate_options opt = {.max_tokens = 4, .ignore_end = true};
    double usual[RUNS], longest[RUNS], all_of_it[RUNS];
    bool good = true;
    for (size_t r = 0; r < RUNS && good; r++) {
        struct seq_generation *all[OTHERS + 1] = {0};
        good = begin(b, TOGETHER, OTHERS, all) && step(b, OTHERS, all) &&
               step(b, OTHERS, all);
        double start = now_us();
        good = good && step(b, OTHERS, all);
        usual[r] = now_us() - start;
        good = good && seq_generation_new(b->m, b->prompt[OTHERS], LONG_PROMPT, &opt,
                                          &all[OTHERS], &b->err) == ERR_OK;
        longest[r] = all_of_it[r] = 0;
        struct seq_generated view = {0};
        while (good && view.n_tokens == 0) {
            start = now_us();
            good = step(b, OTHERS + 1, all);
            double took = now_us() - start;
            longest[r] = took > longest[r] ? took : longest[r];
            all_of_it[r] += took;
            seq_generation_view(all[OTHERS], &view);
        }
        for (size_t i = 0; i <= OTHERS; i++)
            seq_generation_free(all[i]);
    }
    if (good)
        printf("a step of 8 takes %.0f us; %.0f at most while a prompt of %d is read, "
               "which takes %.0f\n",
               median(usual, RUNS), median(longest, RUNS), LONG_PROMPT,
               median(all_of_it, RUNS));
    return good;
}

static int bench_model(const char *dir)
{
    static struct bench b;
    memset(&b, 0, sizeof b);
    bool good = seq_model_load(dir, NULL, &b.m, &b.err) == ERR_OK &&
                seq_worker_new(NULL, &b.w, &b.err) == ERR_OK;
    if (good) {
        const struct seq_info *info = seq_model_info(b.m);
        uint64_t seed = 88172645463325252u;
        for (size_t i = 0; i < (size_t)MOST * LONG_PROMPT; i++) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
            b.prompt[i / LONG_PROMPT][i % LONG_PROMPT] =
                (int32_t)((seed >> 33) % info->vocab);
        }
        printf("\n%s (%s, %.1f M parameters, %zu tokens)\n", dir, info->kernels,
               (double)info->n_params * 1e-6, info->vocab);
        printf("%6s %12s %12s %8s %12s %12s\n", "texts", "one by one", "together",
               "ratio", "drawn", "told");
    }
    for (size_t n = 1; n <= MOST && good; n *= n == 1 ? 8 : 4)
        good = measure(&b, n);
    good = good && measure_joining(&b);
    if (!good)
        fprintf(stderr, "%s: %s\n", dir, b.err.msg[0] ? b.err.msg : "answers differ");
    seq_worker_free(b.w);
    seq_model_unref(b.m);
    return good ? 0 : 1;
}

int main(int argc, char **argv)
{
    static char *shipped[] = {"", "weights/next-word-lstm",
                              "weights/next-word-transformer"};
    char **dirs = argc > 1 ? argv : shipped;
    int n = argc > 1 ? argc : 3, failed = 0;
    for (int i = 1; i < n; i++)
        failed |= bench_model(dirs[i]);
    return failed;
}
