/* Types a text of 64 tokens key by key and asks for the next words after each key: once
 * with states kept, once without, in turns. The answers must be the same bits.
 *
 *   bench_typing [MODEL_DIR...]      (default: the shipped models that predict words)
 *
 * Prints, for both units, the processor time that a key takes on average over the whole
 * text and over its last 16 tokens, and the ratio. One thread, medians of 5 texts. */
#include "model/seq.h"
#include "tests/bench/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 64, RUNS = 5, KEYS = 1024, LAST = 16, TOP = 3 };

static const char TEXT[] =
    "The old man walked down to the harbour before the sun was up, because he liked to "
    "see the boats come in and to hear what the others had to say about the night. He "
    "had "
    "been doing this for more than forty years, and nobody in the town could remember a "
    "morning without him. On that day, however, the harbour was empty, and the water was "
    "so still that it looked like a sheet of glass under the grey sky.";

struct typing {
    struct seq_model *m[2]; /* without states kept, with */
    struct seq_worker *w;
    enum seq_unit unit;
    size_t keys, from; /* of the text; the first of its last LAST tokens */
    bool noted;
    struct seq_next_result *answers; /* [KEYS] */
    struct err err;
};

static double now_us(void)
{
    return 1e6 * seconds_of(CLOCK_PROCESS_CPUTIME_ID);
}

/* What stands before the n-th key is read; microseconds, or -1. */
static double ask(struct typing *t, size_t kept, size_t n, struct seq_next_result *r)
{
    struct seq_tokens tokens = {0};
    bool after_space = n > 0 && TEXT[n - 1] == ' ';
    size_t read = t->unit == SEQ_UNIT_WORD && after_space ? n - 1 : n;
    double took = -1;
    if (seq_tokenize(t->m[kept], SEQ_NEXT_WORD, TEXT, read, SEQ_KEEP_USUAL, &tokens,
                     &t->err) == ERR_OK) {
        struct seq_next_request q = {.tokens = &tokens,
                                     .top_k = TOP,
                                     .unit = t->unit,
                                     .prefix = "",
                                     .after_space = after_space};
        double start = now_us();
        if (seq_next_word(t->m[kept], t->w, 1, &q, r, &t->err) == ERR_OK)
            took = now_us() - start;
    }
    seq_tokens_done(&tokens);
    return took;
}

/* The keys until the text has TOKENS tokens. */
static bool count_keys(struct typing *t)
{
    struct seq_tokens tokens = {0};
    size_t n = 0;
    while (t->keys < sizeof TEXT - 1 && t->keys < KEYS && n < TOKENS) {
        if (seq_tokenize(t->m[0], SEQ_NEXT_WORD, TEXT, ++t->keys, SEQ_KEEP_USUAL, &tokens,
                         &t->err) != ERR_OK)
            break;
        n = tokens.n;
        if (n <= TOKENS - LAST)
            t->from = t->keys;
    }
    seq_tokens_done(&tokens);
    return n == TOKENS;
}

static bool same_bits(double a, double b)
{
    uint64_t x, y;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    return x == y;
}

static bool same(const struct seq_next_result *a, const struct seq_next_result *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (!same_bits(a->at[i].logprob, b->at[i].logprob) ||
            memcmp(a->at[i].tokens, b->at[i].tokens, sizeof a->at[i].tokens) != 0)
            return false;
    return true;
}

/* Microseconds per key: us[0] of the whole text, us[1] of its end. The first time the
 * answers are noted, then they are compared. */
static bool type_once(struct typing *t, size_t kept, double us[2])
{
    static struct seq_next_result r;
    us[0] = us[1] = 0;
    for (size_t key = 1; key <= t->keys; key++) {
        double took = ask(t, kept, key, &r);
        if (took < 0)
            return false;
        us[0] += took / (double)t->keys;
        us[1] += key > t->from ? took / (double)(t->keys - t->from) : 0;
        if (!t->noted)
            t->answers[key - 1] = r;
        else if (!same(&r, &t->answers[key - 1])) {
            fprintf(stderr, "answers differ after key %zu\n", key);
            return false;
        }
    }
    t->noted = true;
    return true;
}

struct figures {
    double us[2][2][RUNS]; /* without and with; whole text, its end */
    struct seq_reuse reuse;
};

static void print_figures(const struct typing *t, const char *dir, struct figures *f)
{
    for (size_t part = 0; part < 2; part++) {
        for (size_t kept = 0; kept < 2; kept++)
            qsort(f->us[kept][part], RUNS, sizeof(double), by_value);
        double cold = f->us[0][part][RUNS / 2], warm = f->us[1][part][RUNS / 2];
        printf("%-30s %-5s %-11s %4zu %8.0f %8.0f %6.1f\n", dir,
               t->unit == SEQ_UNIT_WORD ? "word" : "token",
               part ? "its end" : "whole text", part ? t->keys - t->from : t->keys, cold,
               warm, cold / warm);
    }
    uint64_t all = f->reuse.computed_tokens + f->reuse.reused_tokens;
    printf("%-30s %-5s %llu of %llu tokens read; %llu states in %llu KiB\n", "", "",
           (unsigned long long)f->reuse.computed_tokens, (unsigned long long)all,
           (unsigned long long)f->reuse.states,
           (unsigned long long)f->reuse.bytes / 1024);
}

/* A new model for each text typed, so that nothing is known when it begins. */
static bool run(struct typing *t, const char *dir, struct figures *f)
{
    struct seq_load_options keep = {.state_cache_bytes = 64 << 20};
    if (seq_worker_new(NULL, &t->w, &t->err) != ERR_OK ||
        seq_model_load(dir, NULL, &t->m[0], &t->err) != ERR_OK || !count_keys(t))
        return false;
    for (size_t i = 0; i < RUNS; i++) {
        bool good = seq_model_load(dir, &keep, &t->m[1], &t->err) == ERR_OK;
        for (size_t kept = 0; kept < 2 && good; kept++) {
            double us[2];
            good = type_once(t, kept, us);
            f->us[kept][0][i] = us[0];
            f->us[kept][1][i] = us[1];
        }
        if (good)
            seq_model_reuse(t->m[1], &f->reuse);
        seq_model_unref(t->m[1]);
        if (!good)
            return false;
    }
    return true;
}

static bool measure(const char *dir, enum seq_unit unit)
{
    struct typing t = {.unit = unit};
    struct figures f = {0};
    t.answers = mem_alloc(KEYS, sizeof *t.answers);
    bool good = t.answers && run(&t, dir, &f);
    if (good)
        print_figures(&t, dir, &f);
    else
        fprintf(stderr, "%s: %s\n", dir, t.err.msg);
    mem_free(t.answers);
    seq_model_unref(t.m[0]);
    seq_worker_free(t.w);
    return good;
}

int main(int argc, char **argv)
{
    static const char *const shipped[] = {"weights/next-word-lstm",
                                          "weights/next-word-transformer"};
    struct err err = {0};
    if (seq_init(NULL, &err) != ERR_OK) {
        fprintf(stderr, "%s\n", err.msg);
        return EXIT_FAILURE;
    }
    printf("%-30s %-5s %-11s %4s %8s %8s %6s\n", "model", "unit", "", "keys", "cold us",
           "kept us", "ratio");
    size_t n = argc > 1 ? (size_t)argc - 1 : sizeof shipped / sizeof *shipped;
    for (size_t i = 0; i < n; i++) {
        const char *dir = argc > 1 ? argv[i + 1] : shipped[i];
        if (!measure(dir, SEQ_UNIT_TOKEN) || !measure(dir, SEQ_UNIT_WORD))
            return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
