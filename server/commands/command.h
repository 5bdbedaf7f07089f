/* Command: what seqd does besides serving, chosen by its first argument: `seqd check`.
 *
 * A command is one row of the table in command.c and one file. It has flags of its own,
 * reads no SEQD_* variables, writes its results to standard output and what went wrong to
 * standard error, and returns the exit status. Main thread only. */
#ifndef SERVER_COMMANDS_COMMAND_H
#define SERVER_COMMANDS_COMMAND_H

#include "model/seq.h"
#include "server/buf.h"

#include <stdbool.h>
#include <stddef.h>

enum { COMMAND_OK = 0, COMMAND_FAILED = 1, COMMAND_USAGE = 2 };

enum command_flag_type {
    COMMAND_FLAG_BOOL,  /* bool: true if given */
    COMMAND_FLAG_CHOICE /* int: index in choices */
};

struct command_flag {
    const char *name; /* without dashes */
    enum command_flag_type type;
    size_t offset; /* of the member in the command's struct of flags */
    const char *const *choices;
    const char *help;
};

struct command {
    const char *name, *arguments, *summary; /* "check", "DIR...", one sentence */
    const struct command_flag *flags;
    size_t n_flags;
    /* argv[0] is the command's name; env an environ-like list. */
    int (*run)(int argc, char *const *argv, char *const *env);
};

extern const struct command command_check, command_tokenize;

/* If argv[1] names a command (or nearly does, and no file), runs it; *status is then the
 * exit status of the program. False: argv is for the daemon. */
bool command_dispatch(int argc, char *const *argv, char *const *env, int *status);

/* The list of commands, for --help. */
void command_list(struct buf *out);

/* ---- for commands ---------------------------------------------------------------- */

struct command_args {
    const char **at; /* what is no flag; mem_free */
    size_t n;
};

/* Reads argv[1..] into the zeroed *flags and *out. False: help was asked for, or a flag
 * is wrong; that is said, and the command ends with *status. */
bool command_read(const struct command *c, int argc, char *const *argv, void *flags,
                  struct command_args *out, int *status);

/* "seqd NAME: message" to standard error; returns `status`. */
int command_fail(const struct command *c, int status, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* Writes all of *b to standard output and empties it. False if that fails. */
bool command_write(struct buf *b);

#endif
