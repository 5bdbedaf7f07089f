#include "server/options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "model/seq.h"
#include "server/address.h"
#include "server/json_write.h"
#include "server/log.h"
#include "server/nearest.h"

/* A word is a text out of `choices`, a choice the index in them. */
enum option_type { OPTION_TEXT, OPTION_WORD, OPTION_INT, OPTION_CHOICE };

/* One row per setting: everything about it. */
struct option {
    const char *name; /* the flag without dashes; SEQD_NAME; the key in the file */
    enum option_type type;
    size_t offset;
    const char *initial;
    int64_t min, max;
    const char *const *choices;
    const char *help;
};

static const char *const SWITCH[] = {"off", "on", NULL};
static const char *const CPUS[] = {"auto", "ref", "avx2", "avx512", "blas", NULL};

#define AT(member) offsetof(struct options, member)
static const int64_t GIB = (int64_t)1 << 30;

static const struct option TABLE[] = {
    {"host", OPTION_TEXT, AT(host), "127.0.0.1", 0, 0, NULL,
     "address to listen on, IPv4 or IPv6; 0.0.0.0 or :: for all"},
    {"port", OPTION_INT, AT(port), "8080", 0, 65535, NULL, "port; 0 picks a free one"},
    {"models-dir", OPTION_TEXT, AT(models_dir), "", 0, 0, NULL,
     "folder of model folders, used when no MODEL_DIR is given (default: the shipped "
     "ones)"},
    {"default-models", OPTION_TEXT, AT(default_models),
     "sentiment-lstm,next-word-transformer", 0, 0, NULL,
     "names, best first, that answer requests naming no model; then the order of "
     "loading"},
    {"workers", OPTION_INT, AT(workers), "0", 0, 256, NULL,
     "computing threads; 0 = one per core"},
    {"cpu", OPTION_WORD, AT(cpu), "auto", 0, 0, CPUS, "variant of the kernels"},
    {"precision", OPTION_TEXT, AT(precision), "f32", 0, 0, NULL,
     "what weights count as: f32, bf16 or int8; NAME=int8 for one model; a list of both, "
     "separated by commas"},
    {"http-threads", OPTION_INT, AT(http_threads), "2", 1, 16, NULL,
     "threads that read requests and write replies"},
    {"connection-limit", OPTION_INT, AT(connection_limit), "1024", 1, 65536, NULL,
     "open connections; more wait in the kernel's backlog"},
    {"queue-limit", OPTION_INT, AT(queue_limit), "512", 1, 1000000, NULL,
     "requests waiting for a worker; more are answered 429"},
    {"batch-jobs", OPTION_INT, AT(batch_jobs), "64", 1, 4096, NULL,
     "most requests computed together"},
    {"batch-tokens", OPTION_INT, AT(batch_tokens), "2048", 1, GIB, NULL,
     "most tokens computed together (one request may have more)"},
    {"max-body-bytes", OPTION_INT, AT(max_body_bytes), "1048576", 64, GIB, NULL,
     "longest request body; longer ones are answered 413"},
    {"body-memory-bytes", OPTION_INT, AT(body_memory_bytes), "268435456", 65536, 64 * GIB,
     NULL, "all request bodies in memory together; beyond it requests are answered 429"},
    {"max-texts", OPTION_INT, AT(max_texts), "256", 1, 100000, NULL,
     "texts in one request"},
    {"max-tokens", OPTION_INT, AT(max_tokens), "65536", 1, GIB, NULL,
     "tokens in one request, all texts together"},
    {"generate-tokens", OPTION_INT, AT(generate_tokens), "262144", 1, GIB, NULL,
     "tokens of all texts being continued, prompts and what may follow; more are "
     "answered 429"},
    {"attention-max-values", OPTION_INT, AT(attention_max_values), "1048576", 1, GIB,
     NULL,
     "numbers in one reply of attention or states as JSON, in binary 16 times as many; "
     "more are answered 413 before any is computed"},
    {"inspect", OPTION_CHOICE, AT(inspect), "on", 0, 0, SWITCH,
     "whether the routes that look inside models are there"},
    {"inspect-jobs", OPTION_INT, AT(inspect_jobs), "0", 0, 256, NULL,
     "inspections computed at once, each with one layer's maps in memory; 0 = half of "
     "the workers, one at least"},
    {"inspect-queue", OPTION_INT, AT(inspect_queue), "32", 1, 1000000, NULL,
     "inspections waiting for their turn; more are answered 429"},
    {"state-cache-mb", OPTION_INT, AT(state_cache_mb), "64", 0, 1048576, NULL,
     "MiB for each language model to remember texts by, so that one that has grown costs "
     "its new tokens only; 0 = none"},
    {"session-ttl-s", OPTION_INT, AT(session_ttl_s), "600", 1, 2592000, NULL,
     "how long a session lives that is not used"},
    {"session-bytes", OPTION_INT, AT(session_bytes), "268435456", 4096, 1024 * GIB, NULL,
     "all sessions in memory together; beyond it new ones, and steps that need more, are "
     "answered 429"},
    {"header-timeout-ms", OPTION_INT, AT(header_timeout_ms), "10000", 10, 3600000, NULL,
     "from the connection to the end of the first request's headers"},
    {"body-timeout-ms", OPTION_INT, AT(body_timeout_ms), "20000", 10, 3600000, NULL,
     "from the end of the headers to the end of the body"},
    {"idle-timeout-s", OPTION_INT, AT(idle_timeout_s), "60", 1, 86400, NULL,
     "from one reply to the end of the next request's headers, and without progress"},
    {"request-timeout-ms", OPTION_INT, AT(request_timeout_ms), "30000", 1, 3600000, NULL,
     "waiting for a worker; then the answer is 503"},
    {"sse-ping-ms", OPTION_INT, AT(sse_ping_ms), "15000", 0, 3600000, NULL,
     "a stream that says nothing for so long gets a comment, which clients skip and "
     "proxies see; 0 = never"},
    {"stop-timeout-ms", OPTION_INT, AT(stop_timeout_ms), "8000", 0, 3600000, NULL,
     "after SIGTERM, to finish what was accepted"},
    {"cors-origin", OPTION_TEXT, AT(cors_origin), "", 0, 0, NULL,
     "origins of web pages that may ask, separated by commas; * for all"},
    {"log-level", OPTION_CHOICE, AT(log_level), "info", 0, 0, LOG_LEVELS,
     "what is written to stderr"},
};
#undef AT

enum { N_OPTIONS = sizeof TABLE / sizeof TABLE[0], NAME_BYTES = 64 };

/* Flags that are not settings. */
static const struct {
    const char *name;
    enum options_action action;
    const char *help;
} ACTIONS[] = {
    {"help", OPTIONS_HELP, "show this"},
    {"version", OPTIONS_VERSION, "show the version"},
    {"print-config", OPTIONS_PRINT_CONFIG, "show all settings as a file for --config"},
    {"healthcheck", OPTIONS_HEALTHCHECK,
     "ask a running seqd /readyz; exit 0 if it is ready"},
};

enum { N_ACTIONS = sizeof ACTIONS / sizeof ACTIONS[0] };

/* Where a value came from: the later ones win. */
enum source { SOURCE_DEFAULT, SOURCE_FILE, SOURCE_ENV, SOURCE_FLAG };

struct reading {
    struct options *out;
    enum source from[N_OPTIONS];
    enum options_action action;
    const char *config; /* the file's path, borrowed */
    enum source config_from;
};

static char **text_member(const struct option *o, const struct options *in)
{
    return (char **)((char *)in + o->offset);
}

static int64_t *int_member(const struct option *o, const struct options *in)
{
    return (int64_t *)((char *)in + o->offset);
}

/* "SEQD_MAX_BODY_BYTES" of "max-body-bytes". */
static void env_name(const char *name, char *to, size_t cap)
{
    snprintf(to, cap, "SEQD_%s", name);
    for (char *p = to; *p; p++)
        *p = *p == '-' ? '_' : *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p;
}

/* ---- one value ------------------------------------------------------------------- */

static enum err_code set_text(const struct option *o, struct options *out,
                              const char *value, struct err *err)
{
    char **at = text_member(o, out);
    char *copy = mem_copy(value, strlen(value));
    if (!copy)
        return err_set(err, ERR_NOMEM, "out of memory for the options");
    mem_free(*at);
    *at = copy;
    return ERR_OK;
}

static enum err_code set_int(const struct option *o, struct options *out,
                             const char *label, const char *value, struct err *err)
{
    char *end;
    errno = 0;
    long long v = strtoll(value, &end, 10);
    if (errno || end == value || *end || v < o->min || v > o->max)
        return err_set(err, ERR_INPUT,
                       "%s must be a whole number from %lld to %lld, not \"%s\"", label,
                       (long long)o->min, (long long)o->max, value);
    *int_member(o, out) = v;
    return ERR_OK;
}

static enum err_code set_choice(const struct option *o, struct options *out,
                                const char *label, const char *value, struct err *err)
{
    char list[128] = "";
    size_t n = 0;
    for (int i = 0; o->choices[i]; i++) {
        if (strcmp(o->choices[i], value) == 0) {
            if (o->type == OPTION_WORD)
                return set_text(o, out, value, err);
            *int_member(o, out) = i;
            return ERR_OK;
        }
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", n ? ", " : "",
                              o->choices[i]);
    }
    return err_set(err, ERR_INPUT, "%s must be one of %s, not \"%s\"", label, list,
                   value);
}

/* `label` is how the person wrote the name: "--port", "SEQD_PORT". */
static enum err_code set_value(struct reading *r, size_t i, enum source from,
                               const char *label, const char *value, struct err *err)
{
    const struct option *o = &TABLE[i];
    if (from < r->from[i])
        return ERR_OK;
    r->from[i] = from;
    if (o->type == OPTION_INT)
        return set_int(o, r->out, label, value, err);
    if (o->choices)
        return set_choice(o, r->out, label, value, err);
    return set_text(o, r->out, value, err);
}

/* ---- names ----------------------------------------------------------------------- */

static size_t find_option(const char *name)
{
    size_t i = 0;
    while (i < N_OPTIONS && strcmp(TABLE[i].name, name) != 0)
        i++;
    return i;
}

/* The known name nearest to `name`, NULL if none is near. */
static const char *suggestion(const char *name)
{
    const char *best = "config";
    size_t distance = nearest_distance(name, best);
    for (size_t i = 0; i < N_OPTIONS + N_ACTIONS; i++) {
        const char *known = i < N_OPTIONS ? TABLE[i].name : ACTIONS[i - N_OPTIONS].name;
        size_t d = nearest_distance(name, known);
        if (d < distance) {
            distance = d;
            best = known;
        }
    }
    return nearest_is_close(name, distance) ? best : NULL;
}

/* ---- flags ----------------------------------------------------------------------- */

static bool read_action(struct reading *r, const char *name)
{
    if (strcmp(name, "h") == 0)
        name = "help";
    for (size_t i = 0; i < N_ACTIONS; i++)
        if (strcmp(ACTIONS[i].name, name) == 0) {
            r->action = ACTIONS[i].action;
            return true;
        }
    return false;
}

/* One flag at argv[*at]; moves *at behind its value. */
static enum err_code read_flag(struct reading *r, int argc, char *const *argv, int *at,
                               struct err *err)
{
    char name[NAME_BYTES];
    const char *arg = argv[*at];
    const char *start = arg + (arg[1] == '-' ? 2 : 1);
    const char *equals = strchr(start, '=');
    size_t n = equals ? (size_t)(equals - start) : strlen(start);
    snprintf(name, sizeof name, "%.*s", n < sizeof name ? (int)n : NAME_BYTES - 1, start);
    *at += 1;
    size_t i = find_option(name);
    bool is_config = strcmp(name, "config") == 0;
    if (i == N_OPTIONS && !is_config) {
        if (!equals && read_action(r, name))
            return ERR_OK;
        const char *near = suggestion(name);
        return err_set(err, ERR_INPUT, "unknown option \"%s\"%s%s%s", arg,
                       near ? "; did you mean --" : "", near ? near : "",
                       near ? "?" : "");
    }
    if (!equals && *at == argc)
        return err_set(err, ERR_INPUT, "%s wants a value", arg);
    const char *value = equals ? equals + 1 : argv[(*at)++];
    if (is_config) {
        r->config = value;
        r->config_from = SOURCE_FLAG;
        return ERR_OK;
    }
    char label[NAME_BYTES + 2];
    snprintf(label, sizeof label, "--%s", name);
    return set_value(r, i, SOURCE_FLAG, label, value, err);
}

static enum err_code read_flags(struct reading *r, int argc, char *const *argv,
                                struct err *err)
{
    bool only_dirs = false;
    r->out->model_dirs = mem_zero((size_t)argc + 1, sizeof *r->out->model_dirs);
    if (!r->out->model_dirs)
        return err_set(err, ERR_NOMEM, "out of memory for the options");
    for (int at = 1; at < argc;) {
        if (!only_dirs && strcmp(argv[at], "--") == 0) {
            only_dirs = true;
            at++;
        } else if (only_dirs || argv[at][0] != '-' || argv[at][1] == '\0') {
            r->out->model_dirs[r->out->n_model_dirs++] = argv[at++];
        } else {
            enum err_code code = read_flag(r, argc, argv, &at, err);
            if (code != ERR_OK)
                return code;
        }
    }
    return ERR_OK;
}

/* ---- environment ----------------------------------------------------------------- */

/* Kubernetes puts SEQD_SERVICE_HOST, SEQD_PORT_80_TCP and the like into every container
 * that stands beside a service named seqd. They are not ours. */
static bool is_of_kubernetes(const char *name)
{
    return strncmp(name, "SEQD_SERVICE_", 13) == 0 ||
           strncmp(name, "SEQD_PORT_", 10) == 0;
}

static enum err_code read_variable(struct reading *r, const char *name, size_t n,
                                   const char *value, struct err *err)
{
    char own[NAME_BYTES], label[NAME_BYTES];
    snprintf(label, sizeof label, "%.*s", n < sizeof label ? (int)n : NAME_BYTES - 1,
             name);
    if (strcmp(label, "SEQD_CONFIG") == 0) {
        if (r->config_from < SOURCE_ENV) {
            r->config = value;
            r->config_from = SOURCE_ENV;
        }
        return ERR_OK;
    }
    const char *best = NULL;
    size_t distance = SIZE_MAX;
    for (size_t i = 0; i < N_OPTIONS; i++) {
        env_name(TABLE[i].name, own, sizeof own);
        size_t d = nearest_distance(label, own);
        if (d == 0)
            return set_value(r, i, SOURCE_ENV, label, value, err);
        if (d < distance) {
            distance = d;
            best = TABLE[i].name;
        }
    }
    if (is_of_kubernetes(label))
        return ERR_OK;
    env_name(best, own, sizeof own);
    return err_set(err, ERR_INPUT, "unknown variable %s; the nearest is %s", label, own);
}

static enum err_code read_env(struct reading *r, char *const *env, struct err *err)
{
    for (; env && *env; env++) {
        const char *equals = strchr(*env, '=');
        if (!equals || strncmp(*env, "SEQD_", 5) != 0)
            continue;
        enum err_code code =
            read_variable(r, *env, (size_t)(equals - *env), equals + 1, err);
        if (code != ERR_OK)
            return code;
    }
    return ERR_OK;
}

/* ---- file ------------------------------------------------------------------------ */

static enum err_code read_file_value(struct reading *r, const char *key,
                                     const json_t *value, struct err *err)
{
    char label[NAME_BYTES + 8], number[32];
    size_t i = find_option(key);
    if (i == N_OPTIONS) {
        const char *near = suggestion(key);
        return err_set(err, ERR_INPUT, "%s: unknown setting \"%s\"%s%s%s", r->config, key,
                       near ? "; did you mean \"" : "", near ? near : "",
                       near ? "\"?" : "");
    }
    snprintf(label, sizeof label, "\"%s\"", key);
    if (TABLE[i].type == OPTION_INT && json_is_integer(value)) {
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
        return set_value(r, i, SOURCE_FILE, label, number, err);
    }
    if (TABLE[i].type != OPTION_INT && json_is_string(value))
        return set_value(r, i, SOURCE_FILE, label, json_string_value(value), err);
    return err_set(err, ERR_INPUT, "%s: %s must be %s", r->config, label,
                   TABLE[i].type == OPTION_INT ? "an integer" : "a string");
}

enum { CONFIG_BYTES = 65536 };

static enum err_code load_text(const char *path, char *to, size_t *n, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    ssize_t got = 1;
    for (*n = 0; got > 0 && *n<CONFIG_BYTES; *n += got> 0 ? (size_t)got : 0)
        got = read(fd, to + *n, CONFIG_BYTES - *n);
    int error = errno;
    close(fd);
    if (got < 0)
        return err_set(err, ERR_IO, "%s: %s", path, strerror(error));
    if (*n == CONFIG_BYTES)
        return err_set(err, ERR_LIMIT, "%s: longer than %d bytes", path, CONFIG_BYTES);
    return ERR_OK;
}

static enum err_code parse_file(struct reading *r, const char *text, size_t n,
                                struct err *err)
{
    static const struct json_limits limits = {.max_depth = 8, .max_values = 1000};
    json_error_t e;
    const char *key;
    json_t *value;
    enum err_code code = json_scan(text, n, &limits, err);
    if (code != ERR_OK) {
        err_prefix(err, r->config);
        return code;
    }
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
    if (!root)
        return err_set(err, ERR_FORMAT, "%s: %s (line %d)", r->config, e.text, e.line);
    if (!json_is_object(root))
        code = err_set(err, ERR_FORMAT, "%s: must be a JSON object", r->config);
    json_object_foreach(root, key, value)
    {
        if (code == ERR_OK)
            code = read_file_value(r, key, value, err);
    }
    json_decref(root);
    return code;
}

static enum err_code read_file(struct reading *r, struct err *err)
{
    size_t n = 0;
    char *text = mem_alloc(CONFIG_BYTES, 1);
    if (!text)
        return err_set(err, ERR_NOMEM, "out of memory for %s", r->config);
    enum err_code code = load_text(r->config, text, &n, err);
    if (code == ERR_OK)
        code = parse_file(r, text, n, err);
    mem_free(text);
    return code;
}

/* ---- all of it ------------------------------------------------------------------- */

static enum err_code read_all(struct reading *r, int argc, char *const *argv,
                              char *const *env, struct err *err)
{
    struct address address;
    enum err_code code = ERR_OK;
    for (size_t i = 0; i < N_OPTIONS && code == ERR_OK; i++)
        code = set_value(r, i, SOURCE_DEFAULT, TABLE[i].name, TABLE[i].initial, err);
    if (code == ERR_OK)
        code = read_flags(r, argc, argv, err);
    if (code == ERR_OK && r->action != OPTIONS_HELP && r->action != OPTIONS_VERSION)
        code = read_env(r, env, err);
    if (code == ERR_OK && r->config)
        code = read_file(r, err);
    if (code == ERR_OK)
        code = address_parse(r->out->host, 0, &address, err);
    return code;
}

enum err_code options_read(int argc, char *const *argv, char *const *env,
                           struct options *out, enum options_action *action,
                           struct err *err)
{
    struct options fresh = {0};
    struct reading r = {.out = &fresh, .action = OPTIONS_RUN};
    enum err_code code = read_all(&r, argc, argv, env, err);
    if (code != ERR_OK) {
        options_done(&fresh);
        return code;
    }
    *out = fresh;
    *action = r.action;
    return ERR_OK;
}

void options_done(struct options *o)
{
    for (size_t i = 0; i < N_OPTIONS; i++)
        if (TABLE[i].type == OPTION_TEXT || TABLE[i].type == OPTION_WORD)
            mem_free(*text_member(&TABLE[i], o));
    mem_free(o->model_dirs);
    *o = (struct options){0};
}

void options_help(struct buf *out)
{
    char env[NAME_BYTES];
    buf_puts(out,
             "usage: seqd [options] [MODEL_DIR|ORG/NAME...]\n"
             "       seqd COMMAND [options] ...\n"
             "Serves trained sequence models over HTTP. A model's name is its folder's "
             "name.\n\noptions (also as variables, or in a JSON file):\n");
    buf_puts(out, "  --config FILE (SEQD_CONFIG)\n      JSON object of the names below; "
                  "flags and variables win over it\n");
    for (size_t i = 0; i < N_OPTIONS; i++) {
        const struct option *o = &TABLE[i];
        env_name(o->name, env, sizeof env);
        buf_printf(out, "  --%s %s (%s)\n      %s", o->name,
                   o->type == OPTION_INT ? "N" : "TEXT", env, o->help);
        if (o->type == OPTION_INT)
            buf_printf(out, "; %lld to %lld", (long long)o->min, (long long)o->max);
        for (size_t c = 0; o->choices && o->choices[c]; c++)
            buf_printf(out, "%s%s", c ? ", " : ": ", o->choices[c]);
        if (*o->initial)
            buf_printf(out, " [%s]", o->initial);
        buf_puts(out, "\n");
    }
    for (size_t i = 0; i < N_ACTIONS; i++)
        buf_printf(out, "  --%s\n      %s\n", ACTIONS[i].name, ACTIONS[i].help);
}

void options_print(const struct options *o, struct buf *out)
{
    buf_puts(out, "{\n");
    for (size_t i = 0; i < N_OPTIONS; i++) {
        const struct option *row = &TABLE[i];
        struct json_writer w = {0};
        if (row->type == OPTION_INT)
            json_write_int(&w, *int_member(row, o));
        else if (row->type == OPTION_CHOICE)
            json_write_string(&w, row->choices[*int_member(row, o)]);
        else
            json_write_string(&w, *text_member(row, o));
        buf_printf(out, "  \"%s\": ", row->name);
        buf_put(out, w.buf.at, w.buf.n);
        buf_puts(out, i + 1 < N_OPTIONS ? ",\n" : "\n");
        out->failed |= w.buf.failed;
        json_write_done(&w);
    }
    buf_puts(out, "}\n");
}

size_t options_workers(const struct options *o)
{
    long n = o->workers ? (long)o->workers : sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (size_t)n : 1;
}
