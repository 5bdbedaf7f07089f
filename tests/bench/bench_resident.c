/* Whether memory grows with the number of requests: bench_resident PORT PID [REQUESTS]
 * Sends a million requests (or so many) to the daemon PID on 127.0.0.1:PORT, half to
 * /v1/sentiment and half to /v1/next-word, texts of 1 to 24 words, over keep-alive
 * connections each of which has one on its way. Prints the daemon's resident memory after
 * every tenth of them, and ends with status 1 if it grew by more than a hundredth and a
 * MiB behind the first tenth. Small models make it a matter of minutes:
 *   seqd --port 8080 tests/fixtures/models/tiny-bilstm tests/fixtures/models/tiny-lstm */
#include "tests/bench/load.h"

#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS = 16, TEXTS = 24, KINDS = 2, MINUTE_MS = 60000 };

static long resident_kib(long pid)
{
    char path[64], line[256];
    long kib = -1;
    snprintf(path, sizeof path, "/proc/%ld/status", pid);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "VmRSS:", 6) == 0)
            kib = strtol(line + 6, NULL, 10);
    if (f)
        fclose(f);
    return kib;
}

struct run {
    struct connection c[CONNECTIONS];
    struct request requests[KINDS * TEXTS];
    size_t n_sent, n_done;
};

static bool send_next(struct run *r, struct connection *c)
{
    return post(c, &r->requests[r->n_sent++ % (KINDS * TEXTS)]);
}

/* Until `most` requests are answered; false: one was not. */
static bool run_until(struct run *r, size_t most)
{
    struct pollfd p[CONNECTIONS];
    for (size_t i = 0; i < CONNECTIONS; i++)
        p[i] = (struct pollfd){.fd = r->c[i].fd, .events = POLLIN};
    while (r->n_done < most) {
        if (poll(p, CONNECTIONS, MINUTE_MS) <= 0)
            return false;
        for (size_t i = 0; i < CONNECTIONS; i++) {
            int done = p[i].revents ? collect(&r->c[i]) : 0;
            if (done < 0 || (done && !send_next(r, &r->c[i])))
                return false;
            r->n_done += (size_t)done;
        }
    }
    return true;
}

static bool start(struct run *r, unsigned port)
{
    for (size_t i = 0; i < TEXTS; i++) {
        r->requests[KINDS * i] = request_new("/v1/sentiment", "", i + 1);
        r->requests[KINDS * i + 1] = request_new("/v1/next-word", ",\"top_k\":3", i + 1);
    }
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (!dial(&r->c[i], port) || !send_next(r, &r->c[i]))
            return false;
    return true;
}

int main(int argc, char **argv)
{
    static struct run r;
    unsigned port = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
    long pid = argc > 2 ? strtol(argv[2], NULL, 10) : 0, first = 0, last = 0;
    size_t n = argc > 3 ? strtoul(argv[3], NULL, 10) : 1000000;
    bool ok = argc > 2 && start(&r, port);
    if (ok)
        printf("%9s %12s\n%9d %12ld\n", "requests", "resident KiB", 0, resident_kib(pid));
    for (size_t tenth = 1; ok && tenth <= 10; tenth++) {
        ok = run_until(&r, n / 10 * tenth);
        last = resident_kib(pid);
        first = tenth == 1 ? last : first;
        printf("%9zu %12ld\n", r.n_done, last);
        fflush(stdout);
    }
    if (!ok)
        fprintf(stderr,
                "bench_resident: no daemon, or an answer that is no 200: %.200s\n",
                r.c[0].reply);
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (r.c[i].fd > 0)
            close(r.c[i].fd);
    for (size_t i = 0; i < KINDS * TEXTS; i++)
        free(r.requests[i].bytes);
    return ok && last <= first + first / 100 + 1024 ? 0 : 1;
}
