/* main: a command (commands/), or the daemon: options, models, workers, HTTP - then waits
 * for a signal, and takes all down again in the opposite order. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "model/seq.h"
#include "server/clock.h"
#include "server/commands/command.h"
#include "server/healthcheck.h"
#include "server/http.h"
#include "server/hub/hub.h"
#include "server/json_read.h"
#include "server/log.h"
#include "server/server.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_SECOND_SIGNAL = 3 };

extern char **environ;

/* ---- which models ---------------------------------------------------------------- */

/* "weights" here, in the checkout we were built in, or where `make install` puts them. */
static bool shipped_models(char *out, size_t cap)
{
    char exe[PATH_MAX - 32];
    static const char *const places[] = {"../../weights", "../share/seqd/weights",
                                         "../share/seqd"};
    snprintf(out, cap, "weights");
    if (access(out, R_OK | X_OK) == 0)
        return true;
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n <= 0)
        return false;
    exe[n] = '\0';
    *strrchr(exe, '/') = '\0';
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        snprintf(out, cap, "%s/%s", exe, places[i]);
        if (access(out, R_OK | X_OK) == 0)
            return true;
    }
    return false;
}

static size_t n_inspect_jobs(const struct options *o)
{
    size_t half = options_workers(o) / 2;
    return o->inspect_jobs ? (size_t)o->inspect_jobs : half ? half : 1;
}

/* The folders that model arguments mean; *out is a list like that of models_scan. */
static enum err_code resolve_all(const char *const *args, size_t n, char ***out,
                                 struct err *err)
{
    char dir[PATH_MAX];
    enum err_code code = ERR_OK;
    char **dirs = mem_zero(n, sizeof *dirs);
    if (!dirs)
        return err_set(err, ERR_NOMEM, "out of memory for %zu models", n);
    *out = dirs;
    for (size_t i = 0; i < n && code == ERR_OK; i++) {
        code = hub_resolve(args[i], environ, dir, err);
        if (code != ERR_OK)
            err_prefix(err, args[i]);
        dirs[i] = code == ERR_OK ? mem_copy(dir, strlen(dir)) : NULL;
        if (code == ERR_OK && !dirs[i])
            code = err_set(err, ERR_NOMEM, "out of memory for model %s", args[i]);
    }
    return code;
}

/* Where neither our kernels nor OpenBLAS run, the reference does, which nobody chose. */
static void warn_of_slow_kernels(const struct models *m)
{
    if (strcmp(m->at[0].info->kernels, "ref") == 0)
        log_note(LOG_WARN, "slow_kernels",
                 "this CPU has no AVX2, and there is no libopenblas.so.0 to load "
                 "(Debian: libopenblas0-pthread): products are many times slower");
}

static enum err_code load_models(const struct options *o, struct models **out,
                                 struct err *err)
{
    char shipped[PATH_MAX];
    char **dirs = NULL;
    struct seq_load_options load = {.cpu = strcmp(o->cpu, "auto") == 0 ? NULL : o->cpu,
                                    .state_cache_bytes =
                                        (size_t)o->state_cache_mb * 1024 * 1024,
                                    .threads = options_workers(o)};
    size_t n = o->n_model_dirs;
    enum err_code code = seq_init(&load, err);
    if (code == ERR_OK && n > 0) {
        code = resolve_all(o->model_dirs, n, &dirs, err);
    } else if (code == ERR_OK) {
        const char *root = *o->models_dir ? o->models_dir : shipped;
        if (!*o->models_dir && !shipped_models(shipped, sizeof shipped))
            return err_set(err, ERR_NOT_FOUND,
                           "no models: name a MODEL_DIR, or use --models-dir");
        code = models_scan(root, &dirs, &n, err);
    }
    if (code == ERR_OK)
        code = models_load((const char *const *)dirs, n, &load, o->precision,
                           o->default_models, out, err);
    if (code == ERR_OK && !load.cpu)
        warn_of_slow_kernels(*out);
    mem_trim();
    for (size_t i = 0; dirs && i < n; i++)
        mem_free(dirs[i]);
    mem_free(dirs);
    return code;
}

/* ---- starting -------------------------------------------------------------------- */

/* Every connection is a descriptor; ask for as many as we may have. */
static void raise_descriptor_limit(const struct options *o)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)o->connection_limit + 256;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted)
        log_note(LOG_WARN, "few_descriptors", "only %llu open files are allowed",
                 (unsigned long long)limit.rlim_cur);
}

static void log_listening(const struct server *s, const struct http *http)
{
    struct json_writer w;
    if (!log_begin(&w, LOG_ERROR, "listening")) /* said at every level */
        return;
    json_write_key_string(&w, "address", http_address(http));
    json_write_key_string(&w, "version", SEQD_VERSION);
    json_write_key_uint(&w, "workers", options_workers(s->options));
    json_write_key_fixed(&w, "start_ms", (double)(clock_us() - s->started_us) * 1e-3, 1);
    json_write_key(&w, "models");
    json_write_array(&w);
    for (size_t i = 0; i < s->models->n; i++)
        json_write_string(&w, s->models->at[i].name);
    json_write_end(&w);
    log_end(&w, LOG_INFO);
    for (size_t i = 0; i < s->models->n; i++) {
        const struct model *m = &s->models->at[i];
        if (!log_begin(&w, LOG_INFO, "model"))
            break;
        json_write_key_string(&w, "name", m->name);
        json_write_key_string(&w, "architecture", m->info->architecture);
        json_write_key_string(&w, "dtype", m->info->dtype);
        json_write_key_string(&w, "kernels", m->info->kernels);
        json_write_key_uint(&w, "parameters", m->info->n_params);
        json_write_key_fixed(&w, "load_ms", (double)m->load_us * 1e-3, 1);
        log_end(&w, LOG_INFO);
    }
}

/* ---- stopping -------------------------------------------------------------------- */

/* Signals that ask to stop are handled, not waited for: libraries start threads of their
 * own, and a signal may be delivered to any of them. */
static atomic_int stop_signals;
static int stop_event; /* eventfd: the number of the first signal */

static void on_stop_signal(int number)
{
    uint64_t value = (uint64_t)number;
    int saved = errno;
    if (atomic_fetch_add(&stop_signals, 1) > 0)
        _exit(EXIT_SECOND_SIGNAL);
    (void)!write(stop_event, &value, sizeof value);
    errno = saved;
}

static enum err_code catch_signals(struct err *err)
{
    struct sigaction action = {.sa_handler = on_stop_signal, .sa_flags = SA_RESTART};
    stop_event = eventfd(0, EFD_CLOEXEC);
    if (stop_event < 0)
        return err_set(err, ERR_IO, "eventfd: %s", strerror(errno));
    signal(SIGPIPE, SIG_IGN);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    return ERR_OK;
}

/* Blocks until the first signal; a second one ends the process at once. */
static int wait_for_signal(void)
{
    uint64_t number = 0;
    struct pollfd p = {.fd = stop_event, .events = POLLIN};
    /* In poll, because ThreadSanitizer runs handlers there at once, but not in read. */
    while (poll(&p, 1, -1) <= 0 ||
           read(stop_event, &number, sizeof number) != sizeof number)
        ;
    return (int)number;
}

/* Not ready, no new connections, everything accepted answered. */
static void wind_down(struct server *s, struct http *http, int number)
{
    uint64_t start = clock_us(), limit = (uint64_t)s->options->stop_timeout_ms * 1000u;
    struct json_writer w;
    log_note(LOG_INFO, "stopping", "signal %d", number);
    atomic_store(&s->ready, false);
    http_quiesce(http);
    bool complete = http_drain(http, limit);
    uint64_t used = clock_us() - start;
    complete &= scheduler_stop(s->scheduler, used < limit ? limit - used : 0);
    if (!complete)
        (void)http_drain(http, 1000000); /* the replies that say so */
    http_stop(http);
    if (log_begin(&w, complete ? LOG_INFO : LOG_WARN, "stopped")) {
        json_write_key_bool(&w, "complete", complete);
        json_write_key_fixed(&w, "after_ms", (double)(clock_us() - start) * 1e-3, 1);
        log_end(&w, complete ? LOG_INFO : LOG_WARN);
    }
}

/* ---- running --------------------------------------------------------------------- */

static enum err_code serve(struct server *s, struct err *err)
{
    struct http *http = NULL;
    const struct options *o = s->options;
    struct scheduler_limits limits = {.n_workers = options_workers(o),
                                      .queue_limit = (size_t)o->queue_limit,
                                      .batch_jobs = (size_t)o->batch_jobs,
                                      .batch_cost = (size_t)o->batch_tokens,
                                      .inspect_jobs = n_inspect_jobs(o),
                                      .inspect_queue = (size_t)o->inspect_queue};
    enum err_code code = scheduler_new(&limits, s->metrics, &s->scheduler, err);
    if (code != ERR_OK)
        return code;
    code = http_start(s, &http, err);
    if (code == ERR_OK) {
        atomic_store(&s->ready, true);
        log_listening(s, http);
        wind_down(s, http, wait_for_signal());
    } else {
        (void)scheduler_stop(s->scheduler, 0);
    }
    scheduler_free(s->scheduler);
    return code;
}

static enum err_code run(const struct options *o, struct err *err)
{
    struct server s = {.options = o, .started_us = clock_us()};
    struct models *models = NULL;
    s.routes = api_routes(o->inspect, &s.n_routes);
    enum err_code code = catch_signals(err);
    if (code == ERR_OK)
        code = log_start(STDERR_FILENO, (enum log_level)o->log_level, err);
    if (code == ERR_OK)
        raise_descriptor_limit(o);
    if (code == ERR_OK)
        code = load_models(o, &models, err);
    s.models = models;
    if (code == ERR_OK)
        code = metrics_new(s.routes, s.n_routes, &s.metrics, err);
    if (code == ERR_OK)
        code = sessions_new((uint64_t)o->session_ttl_s * 1000000u,
                            (size_t)o->session_bytes, &s.sessions, err);
    if (code == ERR_OK)
        code = serve(&s, err);
    if (code != ERR_OK)
        log_note(LOG_ERROR, "failed", "%s", err->msg);
    sessions_free(s.sessions);
    metrics_free(s.metrics);
    models_free(models);
    log_stop();
    return code;
}

static int show(void (*fill)(const struct options *o, struct buf *out),
                const struct options *o)
{
    struct buf out = {0};
    fill(o, &out);
    fwrite(out.at, 1, out.n, stdout);
    int code = out.failed || fflush(stdout) != 0 ? EXIT_FAILED : EXIT_OK;
    buf_done(&out);
    return code;
}

static void fill_help(const struct options *o, struct buf *out)
{
    (void)o;
    options_help(out);
    command_list(out);
}

static void fill_version(const struct options *o, struct buf *out)
{
    (void)o;
    buf_puts(out, "seqd " SEQD_VERSION "\n");
}

static int act(const struct options *o, enum options_action action)
{
    struct err err = {0};
    switch (action) {
    case OPTIONS_HELP:
        return show(fill_help, o);
    case OPTIONS_VERSION:
        return show(fill_version, o);
    case OPTIONS_PRINT_CONFIG:
        return show(options_print, o);
    case OPTIONS_HEALTHCHECK:
        if (healthcheck_run(o, &err) == ERR_OK)
            return EXIT_OK;
        fprintf(stderr, "seqd: %s\n", err.msg);
        return EXIT_FAILED;
    case OPTIONS_RUN:
        break;
    }
    return run(o, &err) == ERR_OK ? EXIT_OK : EXIT_FAILED;
}

int main(int argc, char **argv)
{
    struct options options;
    enum options_action action;
    struct err err = {0};
    int code;
    json_read_init();
    if (command_dispatch(argc, argv, environ, &code))
        return code;
    if (options_read(argc, argv, environ, &options, &action, &err) != ERR_OK) {
        fprintf(stderr, "seqd: %s\nseqd --help shows all options\n", err.msg);
        return EXIT_USAGE;
    }
    code = act(&options, action);
    options_done(&options);
    return code;
}
