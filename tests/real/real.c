/* Real: what seqd computes for the lines of standard input, as bytes for real.py.
 *
 *     real MODEL_DIR [CPU]
 *
 * Native int32 and float, without padding. First: layers, width, map layers, map heads,
 * labels. Per line: n, ids [n]; of transformers hidden rows [layers+1,n,width] and maps
 * [map layers,heads,n,n]; scores [labels]. */
#include "model/seq.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct seen {
    size_t n, width, heads;
    float *hidden, *maps;
};

static void see_hidden(void *arg, size_t layer, size_t first, size_t n, size_t D,
                       const float *h)
{
    struct seen *s = arg;
    memcpy(s->hidden + (layer * s->n + first) * D, h, n * D * sizeof *h);
}

static void see_row(void *arg, size_t layer, size_t head, size_t query, size_t n_keys,
                    const float *p)
{
    struct seen *s = arg;
    size_t row = ((layer * s->heads + head) * s->n + query) * s->n;
    memcpy(s->maps + row, p, n_keys * sizeof *p);
}

static void put_sizes(const size_t *sizes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int32_t v = (int32_t)sizes[i];
        fwrite(&v, sizeof v, 1, stdout);
    }
}

static enum err_code inspect(const struct seq_model *m, struct seq_worker *w,
                             const struct seq_tokens *tokens, struct err *err)
{
    const struct seq_info *info = seq_model_info(m);
    size_t n = tokens->n, n_maps = info->n_map_layers * info->n_map_heads * n * n;
    struct seen seen = {.n = n, .width = info->width, .heads = info->n_map_heads};
    size_t n_hidden = (info->n_layers + 1) * n * info->width;
    seen.hidden = mem_zero(n_hidden, sizeof *seen.hidden);
    seen.maps = mem_zero(n_maps, sizeof *seen.maps);
    struct seq_sink sink = {.arg = &seen, .row = see_row, .hidden = see_hidden};
    enum err_code code = ERR_OK;
    if (!seen.hidden || !seen.maps)
        code = err_set(err, ERR_NOMEM, "out of memory: %zu tokens", n);
    else
        code = seq_inspect(m, w, tokens, &sink, NULL, err);
    if (code == ERR_OK) {
        fwrite(seen.hidden, sizeof *seen.hidden, n_hidden, stdout);
        fwrite(seen.maps, sizeof *seen.maps, n_maps, stdout);
    }
    mem_free(seen.hidden);
    mem_free(seen.maps);
    return code;
}

static enum err_code classify(const struct seq_model *m, struct seq_worker *w,
                              const struct seq_tokens *tokens, struct err *err)
{
    size_t L = seq_model_info(m)->n_labels;
    float *scores = mem_zero(L, sizeof *scores);
    if (!scores)
        return err_set(err, ERR_NOMEM, "out of memory: scores");
    enum err_code code = seq_classify(m, w, 1, &tokens, NULL, scores, err);
    if (code == ERR_OK)
        fwrite(scores, sizeof *scores, L, stdout);
    mem_free(scores);
    return code;
}

static enum err_code answer(const struct seq_model *m, struct seq_worker *w,
                            const char *text, size_t n, struct err *err)
{
    const struct seq_info *info = seq_model_info(m);
    enum seq_task task = info->tasks & SEQ_CLASSIFY ? SEQ_CLASSIFY : SEQ_ATTENTION;
    struct seq_tokens tokens = {0};
    enum err_code code = seq_tokenize(m, task, text, n, SEQ_KEEP_START, &tokens, err);
    if (code == ERR_OK) {
        put_sizes(&tokens.n, 1);
        for (size_t i = 0; i < tokens.n; i++)
            fwrite(&tokens.at[i].id, sizeof tokens.at[i].id, 1, stdout);
        if (info->n_map_layers)
            code = inspect(m, w, &tokens, err);
    }
    if (code == ERR_OK && info->n_labels)
        code = classify(m, w, &tokens, err);
    seq_tokens_done(&tokens);
    return code;
}

static enum err_code answer_lines(const struct seq_model *m, struct seq_worker *w,
                                  struct err *err)
{
    const struct seq_info *info = seq_model_info(m);
    size_t sizes[5] = {info->n_layers, info->width, info->n_map_layers, info->n_map_heads,
                       info->n_labels};
    enum err_code code = ERR_OK;
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    put_sizes(sizes, 5);
    while (code == ERR_OK && (n = getline(&line, &cap, stdin)) > 0)
        code = answer(m, w, line, (size_t)n - (line[n - 1] == '\n'), err);
    free(line);
    if (code == ERR_OK && (fflush(stdout) != 0 || ferror(stdout)))
        code = err_set(err, ERR_IO, "standard output: write failed");
    return code;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    struct seq_load_options options = {.cpu = argc > 2 ? argv[2] : NULL};
    struct seq_model *m = NULL;
    struct seq_worker *w = NULL;
    if (argc < 2) {
        fprintf(stderr, "usage: real MODEL_DIR [CPU]\n");
        return EXIT_FAILURE;
    }
    enum err_code code = seq_init(&options, &err);
    if (code == ERR_OK)
        code = seq_model_load(argv[1], &options, &m, &err);
    if (code == ERR_OK)
        code = seq_worker_new(NULL, &w, &err);
    if (code == ERR_OK)
        code = answer_lines(m, w, &err);
    if (code != ERR_OK)
        fprintf(stderr, "%s: %s\n", argv[1], err.msg);
    seq_worker_free(w);
    seq_model_unref(m);
    return code == ERR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
