/* Times models in this process: a driver writes one command a line to standard input and
 * reads one JSON line for each, so that it can let a peer run in between.
 *
 *   threads N                        this thread and N - 1 helpers; loads stay
 *   load MODEL DIR PRECISION         {"parameters":..}; MODEL is a name of the driver's
 *   text SLOT ID...                  what the commands below mean by SLOT
 *   scores MODEL SLOT...             {"values":[..]}: of the texts as one batch, [B,L]
 *   logits MODEL SLOT...             {"values":[..]}: behind each text's end, [B,V]
 *   classify MODEL TIMES SLOT...     {"seconds":..}: of TIMES batches
 *   prefill MODEL TIMES SLOT...      {"seconds":..}: of TIMES batches from fresh states
 *   steps MODEL TIMES SLOT...        {"seconds":..}: of TIMES steps, the texts being
 * read; each step feeds every text's last token once more
 *
 * A command that fails answers {"error":".."}. */
#include "model/seq.h"
#include "tests/bench/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MODELS = 32, SLOTS = 256, BATCH = 64, HELPERS = 63, NAME = 64 };

struct loaded {
    char name[NAME];
    struct seq_model *model;
};

struct bench {
    struct loaded models[MODELS];
    size_t n_models;
    struct seq_tokens texts[SLOTS];
    struct seq_worker *worker;
    struct crew *crew; /* NULL: nobody helps */
    pthread_t helpers[HELPERS];
    size_t n_helpers;
    atomic_bool stop;
    char *rest; /* of the command being read */
    struct err err;
};

/* The operands of a command. */
struct batch {
    const struct seq_model *model;
    size_t times, B;
    const struct seq_tokens *texts[BATCH];
};

static double now(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

/* ---- reading a command ----------------------------------------------------------- */

static const char *next_word(struct bench *b)
{
    return strtok_r(NULL, " \n", &b->rest);
}

/* The next word as a number in first..last. */
static bool next_number(struct bench *b, size_t first, size_t last, size_t *out)
{
    const char *word = next_word(b);
    char *end = NULL;
    unsigned long long value = word ? strtoull(word, &end, 10) : 0;
    bool ok = word && *end == '\0' && value >= first && value <= last;
    if (ok)
        *out = value;
    return ok;
}

static enum err_code refuse(struct bench *b, const char *what)
{
    return err_set(&b->err, ERR_INPUT, "%s", what);
}

static enum err_code read_batch(struct bench *b, bool timed, struct batch *out)
{
    const char *name = next_word(b);
    for (size_t i = 0; name && i < b->n_models; i++)
        if (strcmp(b->models[i].name, name) == 0)
            out->model = b->models[i].model;
    if (!out->model)
        return refuse(b, "no such model is loaded");
    if (timed && !next_number(b, 1, 1 << 30, &out->times))
        return refuse(b, "TIMES is a number from 1");
    size_t slot = 0;
    while (out->B < BATCH && next_number(b, 0, SLOTS - 1, &slot)) {
        if (b->texts[slot].n == 0)
            return refuse(b, "a slot holds no text");
        out->texts[out->B++] = &b->texts[slot];
    }
    return out->B ? ERR_OK : refuse(b, "no slot is named");
}

/* ---- threads --------------------------------------------------------------------- */

static bool still_idle(void *arg)
{
    const struct bench *b = arg;
    return !atomic_load(&b->stop);
}

static void *helper_main(void *arg)
{
    struct bench *b = arg;
    while (still_idle(b))
        crew_assist(b->crew, still_idle, b);
    return NULL;
}

static void dismiss(struct bench *b)
{
    atomic_store(&b->stop, true);
    if (b->crew)
        crew_wake(b->crew);
    for (size_t i = 0; i < b->n_helpers; i++)
        pthread_join(b->helpers[i], NULL);
    b->n_helpers = 0;
    seq_worker_free(b->worker);
    b->worker = NULL;
    crew_free(b->crew);
    b->crew = NULL;
    atomic_store(&b->stop, false);
}

static enum err_code do_threads(struct bench *b)
{
    size_t n = 0;
    if (!next_number(b, 1, HELPERS + 1, &n))
        return refuse(b, "threads is a number from 1 to 64");
    dismiss(b);
    enum err_code code = n > 1 ? crew_new(&b->crew, &b->err) : ERR_OK;
    if (code == ERR_OK)
        code = seq_worker_new(b->crew, &b->worker, &b->err);
    while (code == ERR_OK && b->n_helpers < n - 1) {
        if (pthread_create(&b->helpers[b->n_helpers], NULL, helper_main, b) != 0)
            code = err_set(&b->err, ERR_NOMEM, "a thread does not start");
        else
            b->n_helpers++;
    }
    if (code == ERR_OK)
        printf("{\"threads\":%zu}\n", n);
    return code;
}

/* ---- what is timed --------------------------------------------------------------- */

static enum err_code do_load(struct bench *b)
{
    const char *name = next_word(b), *dir = next_word(b), *precision = next_word(b);
    if (!precision || strlen(name) >= NAME || b->n_models == MODELS)
        return refuse(b, "load takes a short name, a folder and a precision");
    struct seq_load_options options = {.precision = precision};
    struct loaded *to = &b->models[b->n_models];
    enum err_code code = seq_model_load(dir, &options, &to->model, &b->err);
    if (code == ERR_OK) {
        snprintf(to->name, sizeof to->name, "%s", name);
        b->n_models++;
        printf("{\"parameters\":%zu,\"kernels\":\"%s\"}\n",
               seq_model_info(to->model)->n_params, seq_model_info(to->model)->kernels);
    }
    return code;
}

static enum err_code do_text(struct bench *b)
{
    size_t slot = 0, id = 0, cap = strlen(b->rest) + 1;
    if (!next_number(b, 0, SLOTS - 1, &slot))
        return refuse(b, "a slot is a number from 0 to 255");
    struct seq_tokens *t = &b->texts[slot];
    seq_tokens_done(t);
    *t = (struct seq_tokens){.at = mem_zero(cap, sizeof *t->at), .cap = cap};
    if (!t->at)
        return err_set(&b->err, ERR_NOMEM, "out of memory: text");
    while (next_number(b, 0, INT32_MAX, &id))
        t->at[t->n++].id = (int32_t)id;
    printf("{\"tokens\":%zu}\n", t->n);
    return ERR_OK;
}

static enum err_code print_values(const float *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        printf("%s%.9g", i ? "," : "{\"values\":[", values[i]);
    printf("]}\n");
    return ERR_OK;
}

static enum err_code do_classify(struct bench *b, bool timed)
{
    struct batch job = {.times = 1};
    enum err_code code = read_batch(b, timed, &job);
    if (code != ERR_OK)
        return code;
    size_t L = seq_model_info(job.model)->n_labels;
    float *scores = mem_alloc(job.B * L + 1, sizeof *scores); /* [B,L] */
    if (!scores)
        return err_set(&b->err, ERR_NOMEM, "out of memory: scores");
    double begin = now();
    for (size_t i = 0; i < job.times && code == ERR_OK; i++)
        code =
            seq_classify(job.model, b->worker, job.B, job.texts, NULL, scores, &b->err);
    double seconds = now() - begin;
    if (code == ERR_OK && timed)
        printf("{\"seconds\":%.9f}\n", seconds);
    else if (code == ERR_OK)
        code = print_values(scores, job.B * L);
    mem_free(scores);
    return code;
}

/* The states of a batch and what is fed to them. */
struct feeding {
    struct seq_state *states[BATCH];
    int32_t *ids[BATCH]; /* [n_ids[b]] */
    const int32_t *last[BATCH];
    size_t n_ids[BATCH], ones[BATCH];
    float *logits; /* [B,V] */
};

static void feeding_done(struct feeding *f)
{
    for (size_t i = 0; i < BATCH; i++) {
        seq_state_free(f->states[i]);
        mem_free(f->ids[i]);
    }
    mem_free(f->logits);
}

static enum err_code feeding_init(struct bench *b, const struct batch *job,
                                  struct feeding *f)
{
    enum err_code code = ERR_OK;
    f->logits = mem_alloc(job->B * seq_model_info(job->model)->vocab, sizeof *f->logits);
    bool ok = f->logits != NULL;
    for (size_t i = 0; i < job->B && ok && code == ERR_OK; i++) {
        const struct seq_tokens *text = job->texts[i];
        f->ids[i] = mem_alloc(text->n, sizeof **f->ids);
        ok = f->ids[i] != NULL;
        for (size_t t = 0; ok && t < text->n; t++)
            f->ids[i][t] = text->at[t].id;
        f->n_ids[i] = text->n;
        f->ones[i] = 1;
        f->last[i] = ok ? f->ids[i] + text->n - 1 : NULL;
        code = ok ? seq_state_new(job->model, &f->states[i], &b->err) : ERR_OK;
    }
    return ok ? code : err_set(&b->err, ERR_NOMEM, "out of memory: states");
}

static enum err_code feed_texts(struct bench *b, const struct batch *job,
                                struct feeding *f)
{
    for (size_t i = 0; i < job->B; i++)
        seq_state_reset(f->states[i]);
    return seq_feed(job->model, b->worker, job->B, f->states,
                    (const int32_t *const *)f->ids, f->n_ids, f->logits, &b->err);
}

static enum err_code feed_last(struct bench *b, const struct batch *job,
                               struct feeding *f)
{
    return seq_feed(job->model, b->worker, job->B, f->states, f->last, f->ones, f->logits,
                    &b->err);
}

enum feeding_kind { LOGITS, PREFILL, STEPS };

static enum err_code do_feed(struct bench *b, enum feeding_kind kind)
{
    struct batch job = {.times = 1};
    struct feeding f = {0};
    enum err_code code = read_batch(b, kind != LOGITS, &job);
    if (code == ERR_OK)
        code = feeding_init(b, &job, &f);
    if (code == ERR_OK)
        code = feed_texts(b, &job, &f);
    double begin = now();
    for (size_t i = 0; i < job.times && kind != LOGITS && code == ERR_OK; i++)
        code = kind == PREFILL ? feed_texts(b, &job, &f) : feed_last(b, &job, &f);
    double seconds = now() - begin;
    if (code == ERR_OK && kind == LOGITS)
        code = print_values(f.logits, job.B * seq_model_info(job.model)->vocab);
    else if (code == ERR_OK)
        printf("{\"seconds\":%.9f}\n", seconds);
    feeding_done(&f);
    return code;
}

/* ---- main ------------------------------------------------------------------------ */

static enum err_code do_command(struct bench *b, char *line)
{
    const char *verb = strtok_r(line, " \n", &b->rest);
    if (!verb)
        return refuse(b, "an empty line");
    if (strcmp(verb, "threads") == 0)
        return do_threads(b);
    if (strcmp(verb, "load") == 0)
        return do_load(b);
    if (strcmp(verb, "text") == 0)
        return do_text(b);
    if (strcmp(verb, "scores") == 0 || strcmp(verb, "classify") == 0)
        return do_classify(b, verb[0] == 'c');
    if (strcmp(verb, "logits") == 0)
        return do_feed(b, LOGITS);
    if (strcmp(verb, "prefill") == 0)
        return do_feed(b, PREFILL);
    if (strcmp(verb, "steps") == 0)
        return do_feed(b, STEPS);
    return refuse(b, "no such command");
}

int main(void)
{
    static struct bench b;
    char *line = NULL;
    size_t cap = 0;
    enum err_code code = seq_init(NULL, &b.err);
    if (code == ERR_OK)
        code = seq_worker_new(NULL, &b.worker, &b.err);
    if (code != ERR_OK) {
        fprintf(stderr, "bench_models: %s\n", b.err.msg);
        return EXIT_FAILURE;
    }
    while (getline(&line, &cap, stdin) > 0) {
        if (do_command(&b, line) != ERR_OK)
            printf("{\"error\":\"%s\"}\n", b.err.msg);
        b.err = (struct err){0};
        fflush(stdout);
    }
    dismiss(&b);
    for (size_t i = 0; i < b.n_models; i++)
        seq_model_unref(b.models[i].model);
    for (size_t i = 0; i < SLOTS; i++)
        seq_tokens_done(&b.texts[i]);
    free(line);
    return EXIT_SUCCESS;
}
