/* evaluate: feeds test sets through libseq and prints sums as one JSON line.
 *
 *   evaluate [--precision P] classify MODEL_DIR TEST.tsv       lines "label<TAB>text"
 *   evaluate [--precision P] score MODEL_DIR TEST.txt [UNKNOWN_WORDS]
 *
 * classify: how many texts get their label. score: every line by itself, from a fresh
 * state: log probability of its tokens and of the end of the line. Words that the model
 * doesn't know are written to UNKNOWN_WORDS, one a line, so that their spelling can be
 * charged. evaluate.py turns the sums into the table of weights/README.md. */
#include "model/seq.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 16 };

struct tool {
    struct seq_model *model;
    struct seq_worker *worker;
    struct err err;
};

static enum err_code tool_open(struct tool *t, const char *dir, const char *precision)
{
    struct seq_load_options options = {.precision = precision};
    enum err_code code = seq_init(&options, &t->err);
    if (code == ERR_OK)
        code = seq_model_load(dir, &options, &t->model, &t->err);
    if (code == ERR_OK)
        code = seq_worker_new(NULL, &t->worker, &t->err);
    return code;
}

static void tool_close(struct tool *t)
{
    seq_worker_free(t->worker);
    seq_model_unref(t->model);
}

/* Reads a line without its newline; -1 at the end. */
static ssize_t read_line(FILE *in, char **line, size_t *cap)
{
    ssize_t n = getline(line, cap, in);
    if (n > 0 && (*line)[n - 1] == '\n')
        (*line)[--n] = '\0';
    return n;
}

/* ---- classify -------------------------------------------------------------------- */

struct classified {
    size_t n, right, truncated, n_tokens;
    double log_loss;
};

struct text_batch {
    size_t n;
    size_t wanted[BATCH];
    struct seq_tokens tokens[BATCH];
};

static enum err_code classify_batch(struct tool *t, struct text_batch *b,
                                    struct classified *sum)
{
    size_t L = seq_model_info(t->model)->n_labels;
    const struct seq_tokens *texts[BATCH];
    float *scores = mem_alloc(BATCH * L, sizeof *scores); /* [BATCH,L] */
    if (!scores)
        return err_set(&t->err, ERR_NOMEM, "out of memory: scores");
    for (size_t i = 0; i < b->n; i++)
        texts[i] = &b->tokens[i];
    enum err_code code =
        seq_classify(t->model, t->worker, b->n, texts, NULL, scores, &t->err);
    for (size_t i = 0; i < b->n && code == ERR_OK; i++) {
        const float *p = scores + i * L;
        size_t best = 0;
        for (size_t l = 1; l < L; l++)
            best = p[l] > p[best] ? l : best;
        sum->n++;
        sum->right += best == b->wanted[i];
        sum->truncated += texts[i]->n_dropped > 0;
        sum->n_tokens += texts[i]->n;
        sum->log_loss -= log(fmax(p[b->wanted[i]], 1e-30));
    }
    mem_free(scores);
    b->n = 0;
    return code;
}

static enum err_code add_text(struct tool *t, struct text_batch *b, char *line, size_t n)
{
    const struct seq_info *info = seq_model_info(t->model);
    char *tab = memchr(line, '\t', n);
    if (!tab)
        return err_set(&t->err, ERR_FORMAT, "a line has no tab");
    size_t label = 0, len = (size_t)(tab - line);
    while (label < info->n_labels && (strlen(info->labels[label]) != len ||
                                      memcmp(info->labels[label], line, len) != 0))
        label++;
    if (label == info->n_labels)
        return err_set(&t->err, ERR_MISMATCH, "the model has no label '%.*s'", (int)len,
                       line);
    b->wanted[b->n] = label;
    enum err_code code = seq_tokenize(t->model, SEQ_CLASSIFY, tab + 1, n - len - 1,
                                      SEQ_KEEP_START, &b->tokens[b->n], &t->err);
    b->n += code == ERR_OK;
    return code;
}

static enum err_code run_classify(struct tool *t, FILE *in)
{
    struct text_batch batch = {0};
    struct classified sum = {0};
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    enum err_code code = ERR_OK;
    while (code == ERR_OK && (n = read_line(in, &line, &cap)) >= 0) {
        code = add_text(t, &batch, line, (size_t)n);
        if (code == ERR_OK && batch.n == BATCH)
            code = classify_batch(t, &batch, &sum);
    }
    if (code == ERR_OK && batch.n)
        code = classify_batch(t, &batch, &sum);
    for (size_t i = 0; i < BATCH; i++)
        seq_tokens_done(&batch.tokens[i]);
    free(line);
    if (code == ERR_OK)
        printf("{\"texts\":%zu,\"right\":%zu,\"accuracy\":%.6f,\"log_loss\":%.6f,"
               "\"truncated\":%zu,\"tokens\":%zu}\n",
               sum.n, sum.right, (double)sum.right / (double)sum.n,
               sum.log_loss / (double)sum.n, sum.truncated, sum.n_tokens);
    return code;
}

/* ---- score ----------------------------------------------------------------------- */

struct scored {
    size_t lines, targets, bytes, unknown;
    double logprob;
};

/* Scores tokens [from, all->n) of a line given those before them, and the closing token
 * if the window ends there. A window that does not begin the line starts again with the
 * first special token. */
static enum err_code score_window(struct tool *t, const struct seq_tokens *all,
                                  size_t begin, size_t from, size_t end,
                                  struct scored *sum)
{
    struct seq_tokens window = {.n = end - begin + (begin > 0)};
    int32_t special = all->at[0].id;
    double *logprob = mem_alloc(window.n + 1, sizeof *logprob);
    window.at = mem_alloc(window.n, sizeof *window.at);
    enum err_code code = ERR_NOMEM;
    bool last = end == all->n;
    if (!logprob || !window.at) {
        err_set(&t->err, code, "out of memory: window");
    } else {
        window.at[0] = all->at[0];
        memcpy(window.at + (begin > 0), all->at + begin,
               (end - begin) * sizeof *window.at);
        code = seq_score(t->model, t->worker, &window, last ? special : -1, logprob,
                         &t->err);
    }
    size_t first = from - begin + (begin > 0);
    for (size_t i = first; i < window.n + last && code == ERR_OK; i++) {
        sum->logprob += logprob[i];
        sum->targets++;
    }
    mem_free(window.at);
    mem_free(logprob);
    return code;
}

/* One line: in windows that overlap by half where the context is too short for it. */
static enum err_code score_line(struct tool *t, const struct seq_tokens *all,
                                struct scored *sum)
{
    size_t context = seq_model_info(t->model)->context;
    size_t room = context ? context - 1 : all->n;
    if (all->n <= room)
        return score_window(t, all, 0, 1, all->n, sum);
    enum err_code code = score_window(t, all, 0, 1, room, sum);
    for (size_t from = room; from < all->n && code == ERR_OK;) {
        size_t end = from + room / 2 < all->n ? from + room / 2 : all->n;
        code = score_window(t, all, end - room, from, end, sum);
        from = end;
    }
    return code;
}

static void note_unknown(const struct tool *t, const struct seq_tokens *all,
                         const char *line, FILE *words, struct scored *sum)
{
    for (size_t i = 0; i < all->n; i++) {
        size_t n = 0;
        const char *piece = seq_piece(t->model, all->at[i].id, &n);
        if (all->at[i].special || !piece || n != 5 || memcmp(piece, "<unk>", 5) != 0)
            continue;
        sum->unknown++;
        if (words)
            fprintf(words, "%.*s\n", (int)(all->at[i].end - all->at[i].start),
                    line + all->at[i].start);
    }
}

static enum err_code run_score(struct tool *t, FILE *in, FILE *words)
{
    struct scored sum = {0};
    struct seq_tokens all = {0};
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    enum err_code code = ERR_OK;
    while (code == ERR_OK && (n = read_line(in, &line, &cap)) >= 0) {
        code = seq_encode(t->model, line, (size_t)n, &all, &t->err);
        if (code != ERR_OK)
            break;
        if (!all.at[0].special) {
            code = err_set(&t->err, ERR_UNSUPPORTED,
                           "the tokenizer puts no special token before a text");
            break;
        }
        sum.lines++;
        sum.bytes += (size_t)n + 1;
        note_unknown(t, &all, line, words, &sum);
        code = score_line(t, &all, &sum);
    }
    seq_tokens_done(&all);
    free(line);
    if (code == ERR_OK)
        printf("{\"lines\":%zu,\"targets\":%zu,\"bytes\":%zu,\"unknown\":%zu,"
               "\"nats\":%.6f,\"perplexity\":%.4f,\"bits_per_byte\":%.5f}\n",
               sum.lines, sum.targets, sum.bytes, sum.unknown, -sum.logprob,
               exp(-sum.logprob / (double)sum.targets),
               -sum.logprob / log(2) / (double)sum.bytes);
    return code;
}

/* ---- main ------------------------------------------------------------------------ */

static FILE *open_or_say(const char *path, const char *mode)
{
    FILE *f = fopen(path, mode);
    if (!f)
        fprintf(stderr, "evaluate: %s: %s\n", path, strerror(errno));
    return f;
}

static int run(const char *verb, const char *dir, const char *precision, FILE *in,
               FILE *words)
{
    struct tool t = {0};
    enum err_code code = tool_open(&t, dir, precision);
    if (code == ERR_OK)
        code = strcmp(verb, "classify") == 0 ? run_classify(&t, in)
                                             : run_score(&t, in, words);
    if (code != ERR_OK)
        fprintf(stderr, "evaluate: %s: %s\n", dir, t.err.msg);
    tool_close(&t);
    return code == ERR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    const char *precision = NULL;
    if (argc > 2 && strcmp(argv[1], "--precision") == 0) {
        precision = argv[2];
        argc -= 2;
        argv += 2;
    }
    bool known =
        argc >= 4 && (strcmp(argv[1], "classify") == 0 || strcmp(argv[1], "score") == 0);
    if (!known || argc > 5) {
        fprintf(stderr, "usage: evaluate [--precision P] classify MODEL_DIR TEST.tsv\n"
                        "       evaluate [--precision P] score MODEL_DIR TEST.txt "
                        "[UNKNOWN_WORDS]\n");
        return 2;
    }
    FILE *in = open_or_say(argv[3], "r");
    FILE *words = argc == 5 ? open_or_say(argv[4], "w") : NULL;
    int status = EXIT_FAILURE;
    if (in && (words || argc == 4))
        status = run(argv[1], argv[2], precision, in, words);
    if (in)
        fclose(in);
    if (words && fclose(words) != 0)
        status = EXIT_FAILURE;
    return status;
}
