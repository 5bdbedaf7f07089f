/* Encodes long texts without a structure, 0.5, 1 and 2 MB of them, and prints the time
 * per byte: it must not grow with the text.
 *
 *   bench_tokenizer [FOLDER...]     tests/golden/tokenizers/... by default
 *
 * Times are the thread's own CPU time, medians of RUNS after one that does not count.
 * Free memory is given back before each, so that every run pays for its own pages,
 * whatever the heap has kept of an earlier one. The last column is the time of 2 MB over
 * that of 1 MB. */
#include "model/base/mem.h"
#include "model/text/tokenizer.h"
#include "tests/bench/clock.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MEGABYTE = 1 << 20, LONGEST = 2 * MEGABYTE, RUNS = 5, SIZES = 3 };

static const char *const folders[] = {"wordlevel_reviews",
                                      "wordlevel_split",
                                      "wordlevel_curly",
                                      "wordpiece_lower",
                                      "wordpiece_cased",
                                      "bpe_gpt2",
                                      "bpe_roberta",
                                      "bpe_llama3",
                                      "bpe_qwen2",
                                      "bpe_smollm",
                                      "bpe_llama2",
                                      "bpe_metaspace",
                                      "bpe_suffix",
                                      "bpe_prefix",
                                      "unigram_t5",
                                      "unigram_bytes",
                                      "unigram_trimmed",
                                      "unigram_ties",
                                      "form_c",
                                      "form_d",
                                      "form_kc",
                                      "form_kd",
                                      "strip_accents",
                                      "strip_left",
                                      "bert",
                                      "bert_clean",
                                      "nmt",
                                      "precompiled",
                                      "replaced",
                                      "bytes",
                                      "scripts",
                                      "fixed_length",
                                      "digits",
                                      "punctuation",
                                      "delimiter",
                                      "split_other",
                                      "split_contiguous",
                                      "split_previous",
                                      "split_next",
                                      "added_flags"};

static const struct {
    const char *name, *s;
} texts[] = {{"a", "a"},
             {"blank", " "},
             {"U+0301", "\xcc\x81"},
             {"U+0301 U+0323", "\xcc\x81\xcc\xa3"},
             {"CJK", "\xe4\xb8\xad"},
             {"letters, no blank", "abcdefghijklmnopqrstuvw"},
             {"line ends", "\n"},
             {"words", "the cat sat on the mat, "},
             {"random letters", NULL}};

/* The median time to encode n bytes; negative if it failed. */
static double time_of(const struct tokenizer *t, const char *text, size_t n)
{
    double times[RUNS];
    struct err err = {0};
    for (int i = -1; i < RUNS; i++) {
        struct seq_tokens out = {0};
        malloc_trim(0);
        double begin = seconds_of(CLOCK_THREAD_CPUTIME_ID);
        enum err_code code = tokenizer_encode(t, text, n, false, &out, &err);
        double took = seconds_of(CLOCK_THREAD_CPUTIME_ID) - begin;
        mem_free(out.at);
        if (code != ERR_OK) {
            printf("  %s\n", err.msg);
            return -1;
        }
        if (i >= 0)
            times[i] = took;
    }
    return median(times, RUNS);
}

/* The text repeats `part`, or is letters at random, as far as a small generator goes. */
static void fill(char *text, const char *part)
{
    uint64_t state = 1;
    for (size_t at = 0; !part && at < LONGEST; at++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
        text[at] = (char)('a' + (state >> 33) % 26);
    }
    size_t n = part ? strlen(part) : 1;
    for (size_t at = 0; part && at < LONGEST; at++)
        text[at] = at < LONGEST / n * n ? part[at % n] : ' ';
}

/* One row of the table; false if it grew too much. */
static bool measure(const struct tokenizer *t, const char *name, size_t text, char *room)
{
    double times[SIZES];
    size_t n = texts[text].s ? strlen(texts[text].s) : 1;
    size_t size = LONGEST >> (SIZES - 1);
    fill(room, texts[text].s);
    for (int i = 0; i < SIZES; i++, size *= 2) {
        times[i] = time_of(t, room, size / n * n);
        if (times[i] < 0)
            return false;
    }
    double ratio = times[2] / times[1];
    printf("%-20s %-18s %9.1f %9.1f %9.1f %9.2f%s\n", name, texts[text].name,
           times[0] * 2e9 / MEGABYTE, times[1] * 1e9 / MEGABYTE, times[2] * 1e9 / LONGEST,
           ratio, ratio > 2.5 ? "  grows" : "");
    fflush(stdout);
    return ratio <= 2.5;
}

static bool measure_folder(const char *dir, const char *name, char *room)
{
    struct tokenizer *t = NULL;
    struct err err = {0};
    bool ok = tokenizer_load(dir, &t, &err) == ERR_OK;
    if (!ok)
        printf("%s: %s\n", name, err.msg);
    for (size_t i = 0; t && i < sizeof texts / sizeof *texts; i++)
        ok = measure(t, name, i, room) && ok;
    tokenizer_free(t);
    return ok;
}

int main(int argc, char **argv)
{
    char *room = malloc(LONGEST), dir[256];
    bool ok = room != NULL;
    printf("%-20s %-18s %9s %9s %9s %9s\n", "ns per byte", "text", "0.5 MB", "1 MB",
           "2 MB", "2 / 1 MB");
    for (int i = 1; room && i < argc; i++)
        ok = measure_folder(argv[i], argv[i], room) && ok;
    for (size_t i = 0; argc == 1 && room && i < sizeof folders / sizeof *folders; i++) {
        snprintf(dir, sizeof dir, "tests/golden/tokenizers/%s", folders[i]);
        ok = measure_folder(dir, folders[i], room) && ok;
    }
    free(room);
    return !ok;
}
