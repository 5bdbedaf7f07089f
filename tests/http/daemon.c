#include "tests/http/daemon.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_ARGS = 32, START_MS = 20000 };

static const char *const models[] = {
    "tests/fixtures/models/tiny-gpt2", "tests/fixtures/models/tiny-lstm",
    "tests/fixtures/models/tiny-bert", "tests/fixtures/models/tiny-bilstm"};

static const char *binary(void)
{
    const char *path = getenv("TEST_BINARY");
    return path ? path : "build/release/seqd";
}

/* Forks seqd with its output (stderr, or both) going into a pipe; returns the reading
 * end. */
static int spawn(char *const *args, bool both, pid_t *pid)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    *pid = fork();
    ck_assert_int_ge(*pid, 0);
    if (*pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        if (both)
            dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execv(args[0], args);
        _exit(127);
    }
    close(ends[1]);
    return ends[0];
}

void daemon_start(struct daemon *d, const char *const *args)
{
    char *all[MAX_ARGS] = {(char *)binary(), (char *)"--port=0"};
    size_t n = 2;
    for (size_t i = 0; args && args[i]; i++)
        all[n++] = (char *)args[i];
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        all[n++] = (char *)models[i];
    ck_assert_uint_lt(n, MAX_ARGS);
    d->log = spawn(all, false, &d->pid);
    char text[16384] = "";
    size_t got = 0;
    const char *mark = "\"address\":\"127.0.0.1:", *at = NULL;
    while (!at && got < sizeof text - 1) {
        struct pollfd p = {.fd = d->log, .events = POLLIN};
        ck_assert_msg(poll(&p, 1, START_MS) == 1, "the daemon does not listen: %s", text);
        ssize_t some = read(d->log, text + got, sizeof text - 1 - got);
        ck_assert_msg(some > 0, "the daemon ended: %.*s", (int)got, text);
        got += (size_t)some;
        text[got] = '\0';
        at = strstr(text, mark);
        if (at && !strchr(at, '\n'))
            at = NULL;
    }
    ck_assert_ptr_nonnull(at);
    d->port = (unsigned)strtoul(at + strlen(mark), NULL, 10);
    ck_assert_uint_gt(d->port, 0);
    fcntl(d->log, F_SETFL, O_NONBLOCK);
}

size_t daemon_log(struct daemon *d, char *text, size_t room)
{
    size_t got = 0;
    ssize_t some;
    while (got + 1 < room && (some = read(d->log, text + got, room - 1 - got)) > 0)
        got += (size_t)some;
    text[got] = '\0';
    return got;
}

int daemon_stop(struct daemon *d)
{
    kill(d->pid, SIGTERM);
    return daemon_wait(d);
}

int daemon_wait(struct daemon *d)
{
    char rest[4096] = "";
    int status = 0;
    while (waitpid(d->pid, &status, WNOHANG) == 0) {
        daemon_log(d, rest, sizeof rest); /* a full pipe must not block it */
        usleep(2000);
    }
    close(d->log);
    ck_assert_msg(!WIFSIGNALED(status), "ended by signal %d: %s", WTERMSIG(status), rest);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int daemon_run(const char *const *args, char *text, size_t room)
{
    char *all[MAX_ARGS] = {(char *)binary()};
    size_t n = 1, got = 0;
    for (size_t i = 0; args[i] && n + 1 < MAX_ARGS; i++)
        all[n++] = (char *)args[i];
    pid_t pid;
    int out = spawn(all, true, &pid), status = 0;
    ssize_t some;
    while (got + 1 < room && (some = read(out, text + got, room - 1 - got)) > 0)
        got += (size_t)some;
    text[got] = '\0';
    waitpid(pid, &status, 0);
    close(out);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
