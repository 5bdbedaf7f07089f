#include "server/commands/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/hub/hub.h"
#include "server/nearest.h"
#include "server/options.h"

/* ---- the table ------------------------------------------------------------------- */

static int run_pull(int argc, char *const *argv, char *const *env)
{
    (void)env;
    return hub_pull_exec(argc, argv);
}

/* A program of its own, which reads its own flags and shows its own help. */
static const struct command command_pull = {
    .name = "pull",
    .arguments = "ORG/NAME[@REVISION]...",
    .summary = "download model repositories from the hub",
    .run = run_pull,
};

static int run_help(int argc, char *const *argv, char *const *env);

static const struct command command_help = {
    .name = "help",
    .arguments = "[COMMAND]",
    .summary = "show how seqd, or a command, is used",
    .run = run_help,
};

static const struct command *const COMMANDS[] = {&command_check, &command_tokenize,
                                                 &command_pull, &command_help, NULL};

static const struct command *find(const char *name)
{
    for (size_t i = 0; COMMANDS[i]; i++)
        if (strcmp(COMMANDS[i]->name, name) == 0)
            return COMMANDS[i];
    return NULL;
}

/* ---- output ---------------------------------------------------------------------- */

int command_fail(const struct command *c, int status, const char *fmt, ...)
{
    char message[2 * ERR_MSG_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    fprintf(stderr, "seqd %s: %s\n", c->name, message);
    return status;
}

bool command_write(struct buf *b)
{
    bool good = !b->failed;
    errno = ENOMEM;
    for (size_t at = 0; good && at < b->n;) {
        ssize_t n = write(STDOUT_FILENO, b->at + at, b->n - at);
        if (n > 0)
            at += (size_t)n;
        else
            good = n < 0 && errno == EINTR;
    }
    buf_clear(b);
    return good;
}

static int print(const struct command *c, struct buf *b)
{
    bool good = command_write(b);
    buf_done(b);
    return good ? COMMAND_OK
                : command_fail(c, COMMAND_FAILED, "standard output: %s", strerror(errno));
}

void command_list(struct buf *out)
{
    buf_puts(out,
             "\ncommands (seqd COMMAND --help tells more; a folder of such a name is "
             "./NAME):\n");
    for (size_t i = 0; COMMANDS[i]; i++)
        buf_printf(out, "  %s %s\n      %s\n", COMMANDS[i]->name, COMMANDS[i]->arguments,
                   COMMANDS[i]->summary);
}

static int show_help(const struct command *c)
{
    struct buf b = {0};
    buf_printf(&b, "usage: seqd %s %s%s\n%s\n", c->name, c->n_flags ? "[options] " : "",
               c->arguments, c->summary);
    if (c->n_flags)
        buf_puts(&b, "\noptions:\n");
    for (size_t i = 0; i < c->n_flags; i++) {
        const struct command_flag *f = &c->flags[i];
        buf_printf(&b, "  --%s%s\n      %s", f->name, f->choices ? " TEXT" : "", f->help);
        for (size_t k = 0; f->choices && f->choices[k]; k++)
            buf_printf(&b, "%s%s", k ? ", " : ": ", f->choices[k]);
        buf_puts(&b, "\n");
    }
    return print(c, &b);
}

/* ---- which one ------------------------------------------------------------------- */

static const char *nearest_command(const char *name)
{
    const char *best = NULL;
    size_t distance = SIZE_MAX;
    for (size_t i = 0; COMMANDS[i]; i++) {
        size_t d = nearest_distance(name, COMMANDS[i]->name);
        if (d < distance) {
            distance = d;
            best = COMMANDS[i]->name;
        }
    }
    return best && nearest_is_close(name, distance) ? best : NULL;
}

static int unknown(const char *name, const char *near)
{
    fprintf(stderr, "seqd: there is no command \"%s\"%s%s%s\nseqd --help lists them\n",
            name, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    return COMMAND_USAGE;
}

static int run_help(int argc, char *const *argv, char *const *env)
{
    struct buf b = {0};
    if (argc > 1) {
        const struct command *c = find(argv[1]);
        if (!c)
            return unknown(argv[1], nearest_command(argv[1]));
        if (c != &command_pull)
            return show_help(c);
        char *const args[] = {argv[1], (char *)"--help", NULL};
        return run_pull(2, args, env);
    }
    options_help(&b);
    command_list(&b);
    return print(&command_help, &b);
}

bool command_dispatch(int argc, char *const *argv, char *const *env, int *status)
{
    if (argc < 2)
        return false;
    const struct command *c = find(argv[1]);
    if (c) {
        *status = c->run(argc - 1, argv + 1, env);
        return true;
    }
    const char *near = nearest_command(argv[1]);
    if (!near || argv[1][0] == '-' || strchr(argv[1], '/') || access(argv[1], F_OK) == 0)
        return false;
    *status = unknown(argv[1], near);
    return true;
}

/* ---- flags ----------------------------------------------------------------------- */

static const struct command_flag *find_flag(const struct command *c, const char *name,
                                            size_t n)
{
    for (size_t i = 0; i < c->n_flags; i++)
        if (strlen(c->flags[i].name) == n && memcmp(c->flags[i].name, name, n) == 0)
            return &c->flags[i];
    return NULL;
}

static int unknown_flag(const struct command *c, const char *arg)
{
    char name[64];
    const char *best = "help", *start = arg + strspn(arg, "-");
    snprintf(name, sizeof name, "%.*s", (int)strcspn(start, "="), start);
    size_t distance = nearest_distance(name, best);
    for (size_t i = 0; i < c->n_flags; i++) {
        size_t d = nearest_distance(name, c->flags[i].name);
        if (d < distance) {
            distance = d;
            best = c->flags[i].name;
        }
    }
    bool close = nearest_is_close(name, distance);
    return command_fail(
        c, COMMAND_USAGE, "unknown option \"%s\"%s%s%s\nseqd %s --help shows all", arg,
        close ? "; did you mean --" : "", close ? best : "", close ? "?" : "", c->name);
}

static int choose(const struct command *c, const struct command_flag *f,
                  const char *value, int *out)
{
    char list[128] = "";
    size_t n = 0;
    for (int i = 0; f->choices[i]; i++) {
        if (value && strcmp(f->choices[i], value) == 0) {
            *out = i;
            return COMMAND_OK;
        }
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", n ? ", " : "",
                              f->choices[i]);
    }
    return command_fail(c, COMMAND_USAGE, "--%s must be one of %s%s%s", f->name, list,
                        value ? ", not " : "", value ? value : "");
}

/* One flag at argv[*at]; moves *at behind it. */
static int read_flag(const struct command *c, int argc, char *const *argv, int *at,
                     void *flags)
{
    const char *arg = argv[(*at)++], *equals = strchr(arg, '=');
    const char *name = arg + 2;
    size_t n = equals && equals > name ? (size_t)(equals - name) : strlen(name);
    const struct command_flag *f = arg[1] == '-' ? find_flag(c, name, n) : NULL;
    if (!f || (equals && f->type == COMMAND_FLAG_BOOL))
        return unknown_flag(c, arg);
    if (f->type == COMMAND_FLAG_BOOL) {
        *(bool *)((char *)flags + f->offset) = true;
        return COMMAND_OK;
    }
    const char *value = equals ? equals + 1 : *at < argc ? argv[(*at)++] : NULL;
    return choose(c, f, value, (int *)((char *)flags + f->offset));
}

/* All of argv; true if help is asked for. */
static bool read_all(const struct command *c, int argc, char *const *argv, void *flags,
                     struct command_args *out, int *status)
{
    bool only_args = false;
    for (int at = 1; at < argc && *status == COMMAND_OK;) {
        const char *arg = argv[at];
        if (!only_args && (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0))
            return true;
        if (!only_args && strcmp(arg, "--") == 0) {
            only_args = true;
            at++;
        } else if (only_args || arg[0] != '-' || arg[1] == '\0') {
            out->at[out->n++] = argv[at++];
        } else {
            *status = read_flag(c, argc, argv, &at, flags);
        }
    }
    return false;
}

bool command_read(const struct command *c, int argc, char *const *argv, void *flags,
                  struct command_args *out, int *status)
{
    struct command_args args = {.at = mem_zero((size_t)argc, sizeof *args.at)};
    *status = COMMAND_OK;
    if (!args.at) {
        *status = command_fail(c, COMMAND_FAILED, "out of memory");
        return false;
    }
    bool help = read_all(c, argc, argv, flags, &args, status);
    if (help)
        *status = show_help(c);
    if (help || *status != COMMAND_OK) {
        mem_free(args.at);
        return false;
    }
    *out = args;
    return true;
}
