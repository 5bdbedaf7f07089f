/* Daemon: the real seqd on a free port of 127.0.0.1, for one test.
 *
 * Started with the tiny models of tests/fixtures/models. Every function fails the test
 * (libcheck) when the daemon doesn't do what it must. */
#ifndef TESTS_HTTP_DAEMON_H
#define TESTS_HTTP_DAEMON_H

#include <stdio.h>
#include <sys/types.h>

struct daemon {
    pid_t pid;
    unsigned port;
    int log; /* its stderr; kept open so that it never gets SIGPIPE */
};

/* args: more flags, NULL-terminated; NULL for none. Waits until it listens. */
void daemon_start(struct daemon *d, const char *const *args);

/* Asks it to stop (SIGTERM), waits, and returns its exit status. */
int daemon_stop(struct daemon *d);

/* Waits until it has ended, and returns its exit status. */
int daemon_wait(struct daemon *d);

/* Reads what it has logged since the start (or the last call) into text, zero-terminated.
 */
size_t daemon_log(struct daemon *d, char *text, size_t room);

/* Runs seqd with these arguments to its end; returns the exit status, and its output
 * (stdout and stderr) in text. */
int daemon_run(const char *const *args, char *text, size_t room);

#endif
