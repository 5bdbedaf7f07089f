/* Options: every setting is one row of the table in options.c. Flags, SEQD_* variables,
 * the JSON file, --help and --print-config all come from it.
 *
 * Precedence: flag, environment, file, default. Read once in main, then fixed. */
#ifndef SERVER_OPTIONS_H
#define SERVER_OPTIONS_H

#include "model/seq.h"
#include "server/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct options {
    /* strings are owned, never NULL */
    char *host, *cpu, *precision, *cors_origin, *models_dir, *default_models;
    int64_t log_level; /* enum log_level of log.h */
    int64_t inspect;   /* 0: the routes of inspection are left out */
    int64_t inspect_jobs, inspect_queue;
    int64_t port, http_threads, workers;
    int64_t connection_limit, queue_limit, batch_jobs, batch_tokens;
    int64_t max_body_bytes, max_texts, max_tokens, attention_max_values;
    int64_t generate_tokens;
    int64_t body_memory_bytes, state_cache_mb, session_ttl_s, session_bytes;
    int64_t header_timeout_ms, body_timeout_ms, idle_timeout_s;
    int64_t request_timeout_ms, stop_timeout_ms, sse_ping_ms;

    const char **model_dirs; /* the arguments that are no flags, borrowed from argv */
    size_t n_model_dirs;
};

enum options_action {
    OPTIONS_RUN,
    OPTIONS_HELP,
    OPTIONS_VERSION,
    OPTIONS_PRINT_CONFIG,
    OPTIONS_HEALTHCHECK
};

/* Fills *out from argv, env (an environ-like list, NULL = none) and the file that
 * --config or SEQD_CONFIG names. ERR_INPUT with a message for the person who started it;
 * ERR_IO. */
enum err_code options_read(int argc, char *const *argv, char *const *env,
                           struct options *out, enum options_action *action,
                           struct err *err) MUST_CHECK;
void options_done(struct options *o);

/* Computing threads: what is asked for, or one per core. */
size_t options_workers(const struct options *o);

void options_help(struct buf *out);                           /* --help */
void options_print(const struct options *o, struct buf *out); /* a file for --config */

#endif
