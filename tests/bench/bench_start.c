/* Starts the daemon several times and prints the time from exec to the first 200 of
 * /readyz, and its resident memory beside the weights in f32:
 *
 *   bench_start SEQD [ARGS...] */
#include "tests/bench/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RUNS = 7, MAX_ARGS = 32, REPLY_BYTES = 1 << 16 };

struct daemon {
    pid_t pid;
    FILE *log; /* its stderr */
    unsigned port;
};

static double now_ms(void)
{
    return 1e3 * seconds_of(CLOCK_MONOTONIC);
}

static bool start(struct daemon *d, char **args)
{
    int ends[2];
    if (pipe(ends) != 0)
        return false;
    d->pid = fork();
    if (d->pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        execv(args[0], args);
        _exit(127);
    }
    close(ends[1]);
    d->log = fdopen(ends[0], "r");
    char line[4096];
    while (d->log && fgets(line, sizeof line, d->log)) {
        char *at = strstr(line, "\"address\":\"127.0.0.1:");
        if (strstr(line, "\"listening\"") && at) {
            d->port =
                (unsigned)strtoul(at + strlen("\"address\":\"127.0.0.1:"), NULL, 10);
            return true;
        }
        fputs(line, stderr);
    }
    return false;
}

/* The whole reply to a GET in reply[], zero-terminated; its length, or 0. */
static size_t get(const struct daemon *d, const char *path, char *reply)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)d->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    char request[256];
    int n =
        snprintf(request, sizeof request,
                 "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);
    size_t got = 0;
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0 &&
        write(fd, request, (size_t)n) == n) {
        ssize_t some;
        while (got < REPLY_BYTES - 1 &&
               (some = read(fd, reply + got, REPLY_BYTES - 1 - got)) > 0)
            got += (size_t)some;
    }
    close(fd);
    reply[got] = '\0';
    return got;
}

static double resident_mb(pid_t pid)
{
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "r");
    double kb = 0;
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "VmRSS:", 6) == 0)
            kb = strtod(line + 6, NULL);
    if (f)
        fclose(f);
    return kb / 1024;
}

/* What all loaded weights take as f32, from /v1/models. */
static double weights_mb(const struct daemon *d, char *reply)
{
    get(d, "/v1/models", reply);
    const char *body = strstr(reply, "\r\n\r\n");
    json_t *all = body ? json_loads(body + 4, 0, NULL) : NULL;
    size_t i;
    json_t *model;
    double bytes = 0;
    json_array_foreach(json_object_get(all, "data"), i, model) bytes +=
        4 * (double)json_integer_value(json_object_get(model, "parameters"));
    json_decref(all);
    return bytes / (1 << 20);
}

int main(int argc, char **argv)
{
    static char reply[REPLY_BYTES];
    char *args[MAX_ARGS] = {0}, port[] = "--port=0";
    double ms[RUNS], rss = 0, weights = 0;
    if (argc < 2 || argc + 2 > MAX_ARGS)
        return 2;
    args[0] = argv[1];
    args[1] = port;
    for (int i = 2; i < argc; i++)
        args[i] = argv[i];
    for (int run = 0; run < RUNS; run++) {
        struct daemon d = {0};
        double begin = now_ms();
        bool up = start(&d, args);
        while (up && (get(&d, "/readyz", reply) == 0 || !strstr(reply, " 200 ")))
            up = now_ms() - begin < 10000;
        ms[run] = now_ms() - begin;
        if (!up) {
            fprintf(stderr, "bench_start: %s does not get ready\n", argv[1]);
            return 1;
        }
        rss = resident_mb(d.pid);
        weights = weights_mb(&d, reply);
        kill(d.pid, SIGTERM);
        waitpid(d.pid, NULL, 0);
        fclose(d.log);
    }
    qsort(ms, RUNS, sizeof *ms, by_value);
    printf("exec to ready: median %.0f ms (min %.0f, max %.0f) over %d starts; aim: "
           "under 300\n",
           ms[RUNS / 2], ms[0], ms[RUNS - 1], RUNS);
    printf("resident memory: %.1f MB = %.2f times the weights in f32 (%.1f MB); aim: "
           "under 1.5\n",
           rss, rss / weights, weights);
    return 0;
}
