/* seqd check: what a folder serves, or all that is wrong with it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/clock.h"
#include "server/commands/command.h"
#include "server/hub/hub.h"
#include "server/json_write.h"
#include "server/models.h"

struct check_flags {
    bool json;
    int cpu;
};

static const char *const CPUS[] = {"auto", "ref", "avx2", "avx512", "blas", NULL};

static const struct command_flag FLAGS[] = {
    {"json", COMMAND_FLAG_BOOL, offsetof(struct check_flags, json), NULL,
     "write one JSON object a line, one line a folder"},
    {"cpu", COMMAND_FLAG_CHOICE, offsetof(struct check_flags, cpu), CPUS,
     "variant of the kernels"},
};

static int run(int argc, char *const *argv, char *const *env);

const struct command command_check = {
    .name = "check",
    .arguments = "DIR|ORG/NAME...",
    .summary = "load models, and tell what they serve or all that is wrong with them; "
               "exit 0 if all can be served",
    .flags = FLAGS,
    .n_flags = sizeof FLAGS / sizeof *FLAGS,
    .run = run,
};

/* ---- words for what a model is --------------------------------------------------- */

static const struct {
    const char *name, *meaning;
} SCORES[] = {[SEQ_SCORES_SOFTMAX] = {"softmax", "probabilities that sum to 1"},
              [SEQ_SCORES_SIGMOID] = {"sigmoid", "each a probability of its own"},
              [SEQ_SCORES_RAW] = {"raw", "the numbers of a regression"}};

/* One folder and what is known about it. */
struct checked {
    const char *arg; /* as the person wrote it */
    struct json_writer problems;
    struct buf lines; /* the same for people */
    size_t n_problems;
    uint64_t loading_us, load_us;
    struct seq_report report;
};

static void on_found(void *arg, enum err_code code, const char *message)
{
    struct checked *c = arg;
    c->n_problems++;
    buf_printf(&c->lines, "  %s\n", message);
    json_write_object(&c->problems);
    json_write_key_string(&c->problems, "code", err_name(code));
    json_write_key_string(&c->problems, "message", message);
    json_write_end(&c->problems);
}

static void on_loading(void *arg)
{
    ((struct checked *)arg)->loading_us = clock_us();
}

/* ---- for people ------------------------------------------------------------------ */

/* 1536 is "1.5 kB": decimal, as disks and downloads count. */
static void put_bytes(struct buf *b, size_t n)
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
    double v = (double)n;
    size_t unit = 0;
    for (; v >= 999.5 && unit < 4; unit++)
        v /= 1000;
    buf_printf(b, unit && v < 9.95 ? "%.1f %s" : "%.0f %s", v, units[unit]);
}

/* 2042882 is "2,042,882". */
static void put_count(struct buf *b, size_t n)
{
    char digits[32];
    int length = snprintf(digits, sizeof digits, "%zu", n);
    for (int i = 0; i < length; i++)
        buf_printf(b, "%s%c", i && (length - i) % 3 == 0 ? "," : "", digits[i]);
}

static void put_tasks(struct buf *b, const struct seq_info *info)
{
    bool any = false;
    buf_puts(b, "  tasks          ");
    for (size_t i = 0; i < MODELS_TASKS_N; i++)
        if (info->tasks & (unsigned)MODELS_TASKS[i].task) {
            buf_printf(b, "%s/v1/%s", any ? ", " : "POST ", MODELS_TASKS[i].name);
            any = true;
        }
    if (info->mask_token)
        buf_printf(b, "\n  mask           \"%s\" stands for the word that is wanted",
                   info->mask_token);
    if (info->pairs)
        buf_puts(b, "\n  pairs          text and text_pair are read as one");
    buf_puts(b, any ? "\n" : "none\n");
}

static void put_labels(struct buf *b, const struct seq_info *info)
{
    enum { LABELS_SHOWN = 20 };
    if (!info->n_labels)
        return;
    buf_puts(b, "  labels        ");
    for (size_t i = 0; i < info->n_labels && i < LABELS_SHOWN; i++)
        buf_printf(b, "%s %s", i ? "," : "", info->labels[i]);
    if (info->n_labels > LABELS_SHOWN)
        buf_printf(b, ", ... (%zu in all)", info->n_labels);
    buf_printf(b, "; scores are %s\n", SCORES[info->scores].meaning);
}

static void put_specials(struct buf *b, const struct seq_report *r)
{
    for (size_t i = 0; i < r->n_specials; i++)
        buf_printf(b, "%s %s %d \"%.*s\"", i ? "," : "  special tokens",
                   r->specials[i].name, (int)r->specials[i].id,
                   r->specials[i].n < 64 ? (int)r->specials[i].n : 64,
                   r->specials[i].piece);
    buf_puts(b, r->n_specials ? "\n" : "");
}

static void put_memory(struct buf *b, const struct seq_report *r,
                       const struct seq_info *info)
{
    buf_puts(b, "  memory         ");
    put_bytes(b, info->resident_bytes);
    buf_puts(b, " weights, ");
    if (r->state_bytes) {
        put_bytes(b, r->state_bytes);
        buf_puts(b, " a sequence, ");
    }
    put_bytes(b, r->scratch_bytes);
    buf_printf(b, " while computing %zu tokens\n", r->scratch_tokens);
}

static void put_text(struct buf *b, const struct checked *c)
{
    if (c->n_problems) {
        buf_printf(b, "%s: cannot be served, %zu problem%s\n", c->arg, c->n_problems,
                   c->n_problems == 1 ? "" : "s");
        buf_put(b, c->lines.at, c->lines.n);
        return;
    }
    const struct seq_info *info = seq_model_info(c->report.model);
    buf_printf(b, "%s: can be served\n", c->arg);
    buf_printf(b, "  architecture   %s (%s), %zu layer%s of %zu\n", info->architecture,
               info->family, info->n_layers, info->n_layers == 1 ? "" : "s", info->width);
    buf_puts(b, "  parameters     ");
    put_count(b, info->n_params);
    buf_printf(b, ", %s in the file, ", info->dtype);
    put_bytes(b, info->file_bytes);
    buf_puts(b, "\n  context        ");
    if (info->context)
        buf_printf(b, "%zu tokens\n", info->context);
    else
        buf_puts(b, "any number of tokens\n");
    buf_puts(b, "  vocabulary     ");
    put_count(b, info->vocab);
    buf_printf(b, " tokens%s\n", info->word_level ? ", each a whole word" : "");
    put_specials(b, &c->report);
    put_tasks(b, info);
    put_labels(b, info);
    if (c->report.note)
        buf_printf(b, "  note           %s\n", c->report.note);
    put_memory(b, &c->report, info);
    buf_printf(b, "  loaded in      %.1f ms, kernels %s\n", (double)c->load_us * 1e-3,
               info->kernels);
}

/* ---- for programs ---------------------------------------------------------------- */

static void write_tasks(struct json_writer *w, const struct seq_info *info)
{
    json_write_key(w, "tasks");
    json_write_array(w);
    char route[64];
    for (size_t i = 0; i < MODELS_TASKS_N; i++) {
        if (!(info->tasks & (unsigned)MODELS_TASKS[i].task))
            continue;
        json_write_object(w);
        json_write_key_string(w, "task", MODELS_TASKS[i].name);
        snprintf(route, sizeof route, "POST /v1/%s", MODELS_TASKS[i].name);
        json_write_key_string(w, "route", route);
        json_write_end(w);
    }
    json_write_end(w);
}

static void write_specials(struct json_writer *w, const struct seq_report *r)
{
    json_write_key(w, "special_tokens");
    json_write_object(w);
    for (size_t i = 0; i < r->n_specials; i++) {
        json_write_key(w, r->specials[i].name);
        json_write_object(w);
        json_write_key_uint(w, "id", (uint64_t)r->specials[i].id);
        json_write_key(w, "piece");
        json_write_text(w, r->specials[i].piece, r->specials[i].n);
        json_write_end(w);
    }
    json_write_end(w);
}

static void write_labels(struct json_writer *w, const struct seq_info *info)
{
    json_write_key(w, "labels");
    json_write_array(w);
    for (size_t i = 0; i < info->n_labels; i++)
        json_write_string(w, info->labels[i]);
    json_write_end(w);
    json_write_key_string(w, "scores", info->n_labels ? SCORES[info->scores].name : NULL);
}

static void write_memory(struct json_writer *w, const struct seq_report *r,
                         const struct seq_info *info)
{
    json_write_key(w, "memory");
    json_write_object(w);
    json_write_key_uint(w, "weights_bytes", info->resident_bytes);
    json_write_key_uint(w, "state_bytes", r->state_bytes);
    json_write_key_uint(w, "scratch_bytes", r->scratch_bytes);
    json_write_key_uint(w, "scratch_tokens", r->scratch_tokens);
    json_write_end(w);
}

static void write_model(struct json_writer *w, const struct checked *c)
{
    const struct seq_info *info = seq_model_info(c->report.model);
    json_write_key_string(w, "architecture", info->architecture);
    json_write_key_string(w, "family", info->family);
    json_write_key_uint(w, "parameters", info->n_params);
    json_write_key_string(w, "dtype", info->dtype);
    json_write_key_string(w, "kernels", info->kernels);
    json_write_key_uint(w, "file_bytes", info->file_bytes);
    json_write_key_uint(w, "layers", info->n_layers);
    json_write_key_uint(w, "width", info->width);
    json_write_key(w, "context");
    if (info->context)
        json_write_uint(w, info->context);
    else
        json_write_null(w);
    json_write_key_uint(w, "vocabulary", info->vocab);
    json_write_key_bool(w, "word_level", info->word_level);
    json_write_key_bool(w, "pairs", info->pairs);
    json_write_key_string(w, "mask_token", info->mask_token);
    write_specials(w, &c->report);
    write_tasks(w, info);
    write_labels(w, info);
    json_write_key_string(w, "note", c->report.note);
    write_memory(w, &c->report, info);
    json_write_key_fixed(w, "load_ms", (double)c->load_us * 1e-3, 3);
}

static void put_json(struct buf *b, struct checked *c)
{
    struct json_writer w = {0};
    json_write_end(&c->problems);
    json_write_object(&w);
    json_write_key_string(&w, "model", c->arg);
    json_write_key_bool(&w, "servable", c->n_problems == 0);
    json_write_key(&w, "problems");
    json_write_raw(&w, c->problems.buf.at, c->problems.buf.n);
    if (c->n_problems == 0)
        write_model(&w, c);
    json_write_end(&w);
    b->failed |= w.buf.failed || c->problems.buf.failed;
    buf_put(b, w.buf.at, w.buf.n);
    buf_put(b, "\n", 1);
    json_write_done(&w);
}

/* ---- the command ----------------------------------------------------------------- */

/* Returns an error only for what is no problem of the folder. */
static enum err_code check(struct checked *c, const struct seq_load_options *load,
                           char *const *env, struct err *err)
{
    char dir[PATH_MAX];
    struct seq_check_hooks hooks = {.arg = c, .found = on_found, .loading = on_loading};
    enum err_code code = hub_resolve(c->arg, env, dir, err);
    if (code == ERR_OK)
        code = models_check_folder(dir, err);
    if (code != ERR_OK) {
        on_found(c, code, err->msg);
        return ERR_OK;
    }
    code = seq_check(dir, load, &hooks, &c->report, err);
    c->load_us = clock_us() - c->loading_us;
    return c->n_problems ? ERR_OK : code;
}

static int check_one(const char *arg, const struct check_flags *flags, char *const *env)
{
    const char *cpu = flags->cpu ? CPUS[flags->cpu] : NULL;
    struct seq_load_options load = {.cpu = cpu};
    struct checked c = {.arg = arg};
    struct buf out = {0};
    struct err err = {0};
    int status = COMMAND_OK;
    json_write_array(&c.problems);
    if (check(&c, &load, env, &err) != ERR_OK) {
        status = command_fail(&command_check, COMMAND_FAILED, "%s: %s", arg, err.msg);
    } else {
        if (flags->json)
            put_json(&out, &c);
        else
            put_text(&out, &c);
        status = c.n_problems ? COMMAND_FAILED : COMMAND_OK;
        out.failed |= c.lines.failed;
        if (!command_write(&out))
            status = command_fail(&command_check, COMMAND_FAILED, "standard output: %s",
                                  strerror(errno));
    }
    seq_model_unref(c.report.model);
    json_write_done(&c.problems);
    buf_done(&c.lines);
    buf_done(&out);
    return status;
}

static int run(int argc, char *const *argv, char *const *env)
{
    struct check_flags flags = {0};
    struct command_args args;
    struct err err = {0};
    int status;
    if (!command_read(&command_check, argc, argv, &flags, &args, &status))
        return status;
    struct seq_load_options load = {.cpu = flags.cpu ? CPUS[flags.cpu] : NULL};
    if (args.n == 0)
        status = command_fail(&command_check, COMMAND_USAGE,
                              "which folder? seqd check DIR|ORG/NAME...");
    else if (seq_init(&load, &err) != ERR_OK)
        status = command_fail(&command_check, COMMAND_FAILED, "%s", err.msg);
    for (size_t i = 0; i < args.n && status != COMMAND_USAGE && err.code == ERR_OK; i++)
        if (check_one(args.at[i], &flags, env) != COMMAND_OK)
            status = COMMAND_FAILED;
    mem_free(args.at);
    return status;
}
