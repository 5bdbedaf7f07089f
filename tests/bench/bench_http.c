/* Load as users make it: requests that come when they come, not when the one before is
 * answered. Tells how long short requests take alone, and beside long ones.
 *   bench_http PORT MODEL [SECONDS [ROUNDS [SHORT_WORDS LONG_WORDS]]]
 * Requests come at random times (exponential gaps) over keep-alive connections to
 * 127.0.0.1, alone and mixed in turn; what counts is the time from when a request was
 * due. One in ten of the mix is long. The rate of short ones is the same alone and mixed,
 * so that the mix is the heavier load, and keeps half of the machine busy. */
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECTIONS = 128,
    REPLY_BYTES = 4096,
    MOST = 200000,
    WARM = 30,
    ROUNDS_MOST = 25
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* 0 to 1, never 0; the same sequence in every run (splitmix64). */
static double next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return ((double)((z ^ (z >> 31)) >> 11) + 1) / 9007199254740994.0;
}

/* ---- connections ----------------------------------------------------------------- */

struct request {
    char *bytes;
    size_t n;
};

struct connection {
    int fd;
    bool busy, is_long;
    uint64_t due_ns;
    char reply[REPLY_BYTES];
    size_t n;
};

static bool dial(struct connection *c, unsigned port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return c->fd >= 0 && connect(c->fd, (struct sockaddr *)&to, sizeof to) == 0;
}

static bool post(struct connection *c, const struct request *r, uint64_t due_ns,
                 bool is_long)
{
    c->busy = true;
    c->is_long = is_long;
    c->due_ns = due_ns;
    c->n = 0;
    return send(c->fd, r->bytes, r->n, MSG_NOSIGNAL) == (ssize_t)r->n;
}

/* 1: the whole reply is there, 0: not yet, -1: it is no 200, or the connection broke. */
static int collect(struct connection *c)
{
    ssize_t got = recv(c->fd, c->reply + c->n, REPLY_BYTES - 1 - c->n, MSG_DONTWAIT);
    if (got <= 0)
        return got < 0 && errno == EAGAIN ? 0 : -1;
    c->n += (size_t)got;
    c->reply[c->n] = '\0';
    const char *end = strstr(c->reply, "\r\n\r\n");
    const char *length = strstr(c->reply, "Content-Length: ");
    if (!end || !length)
        return 0;
    if (strncmp(c->reply, "HTTP/1.1 200", 12) != 0)
        return -1;
    size_t whole = (size_t)(end + 4 - c->reply) + strtoul(length + 16, NULL, 10);
    if (c->n < whole)
        return 0;
    c->busy = false;
    return 1;
}

/* ---- requests -------------------------------------------------------------------- */

/* A text of so many words, none of which a tokenizer has to take apart. */
static struct request make_request(const char *model, size_t words)
{
    static const char *const text[] = {"this", "is", "one", "of", "the", "best"};
    char *bytes = NULL;
    size_t n = 0;
    FILE *body = open_memstream(&bytes, &n);
    fprintf(body, "{\"model\":\"%s\",\"text\":\"", model);
    for (size_t i = 0; i < words; i++)
        fprintf(body, "%s%s", i ? " " : "", text[i % (sizeof text / sizeof *text)]);
    fputs("\"}", body);
    fclose(body);
    struct request r = {0};
    FILE *all = open_memstream(&r.bytes, &r.n);
    fprintf(all,
            "POST /v1/sentiment HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: "
            "application/json\r\nContent-Length: %zu\r\n\r\n%s",
            n, bytes);
    fclose(all);
    free(bytes);
    return r;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(double *values, size_t n, double q)
{
    if (n == 0)
        return NAN;
    qsort(values, n, sizeof *values, compare);
    return values[(size_t)(q * (double)(n - 1))];
}

/* Seconds that one request takes alone, the median of a few. */
static double time_alone(struct connection *c, const struct request *r)
{
    double took[WARM];
    for (size_t i = 0; i < WARM; i++) {
        uint64_t start = now_ns();
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        int done = post(c, r, start, false) ? 0 : -1;
        while (done == 0 && poll(&p, 1, 10000) > 0)
            done = collect(c);
        if (done <= 0)
            return NAN;
        took[i] = (double)(now_ns() - start) * 1e-9;
    }
    return quantile(took, WARM, 0.5);
}

/* ---- a run ----------------------------------------------------------------------- */

struct run {
    unsigned port;
    struct connection *c;           /* [CONNECTIONS], fd 0: not connected */
    const struct request *requests; /* [2] short, long */
    double gap_s;                   /* between requests, on average */
    double long_share;
    double seconds;
    double *took[2]; /* [MOST] seconds of the short ones, of the long ones */
    size_t n[2];
    size_t failed;
};

/* The first that waits for nothing, connected; NULL: there is none, or r->failed. */
static struct connection *free_connection(struct run *r)
{
    size_t i = 0;
    while (i < CONNECTIONS && r->c[i].busy)
        i++;
    if (i == CONNECTIONS)
        return NULL;
    if (r->c[i].fd || dial(&r->c[i], r->port))
        return &r->c[i];
    r->failed++;
    return NULL;
}

static void hang_up(struct run *r)
{
    for (size_t i = 0; i < CONNECTIONS; i++) {
        if (r->c[i].fd > 0)
            close(r->c[i].fd);
        r->c[i] = (struct connection){0};
    }
}

/* Waits for replies until then, and takes them. */
static void take_replies(struct run *r, uint64_t until_ns)
{
    struct pollfd p[CONNECTIONS];
    uint64_t now = now_ns();
    struct timespec wait = {.tv_nsec = until_ns > now ? (long)(until_ns - now) : 0};
    if (wait.tv_nsec > 100000000)
        wait.tv_nsec = 100000000;
    for (size_t i = 0; i < CONNECTIONS; i++)
        p[i] = (struct pollfd){.fd = r->c[i].busy ? r->c[i].fd : -1, .events = POLLIN};
    if (ppoll(p, CONNECTIONS, &wait, NULL) <= 0)
        return;
    for (size_t i = 0; i < CONNECTIONS; i++) {
        struct connection *c = &r->c[i];
        int done = p[i].revents ? collect(c) : 0;
        if (done < 0) {
            r->failed++;
            c->busy = false;
        }
        if (done > 0 && r->n[c->is_long] < MOST)
            r->took[c->is_long][r->n[c->is_long]++] =
                (double)(now_ns() - c->due_ns) * 1e-9;
    }
}

static bool any_busy(const struct run *r)
{
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (r->c[i].busy)
            return true;
    return false;
}

static void run(struct run *r)
{
    uint64_t seed = 1, start = now_ns(), due = start;
    uint64_t end = start + (uint64_t)(r->seconds * 1e9);
    r->n[0] = r->n[1] = 0;
    while (due < end && r->failed == 0) {
        due += (uint64_t)(-log(next_random(&seed)) * r->gap_s * 1e9);
        bool is_long = next_random(&seed) < r->long_share;
        struct connection *c = NULL;
        while (now_ns() < due || (!(c = free_connection(r)) && r->failed == 0))
            take_replies(r, now_ns() < due ? due : now_ns() + 1000000);
        if (c && !post(c, &r->requests[is_long], due, is_long))
            r->failed++;
    }
    while (any_busy(r) && now_ns() < end + 10000000000u)
        take_replies(r, now_ns() + 1000000);
    hang_up(r);
}

/* ---- alone and mixed in turn ----------------------------------------------------- */

struct times {
    double p50[ROUNDS_MOST], p99[ROUNDS_MOST];
};

static void note(struct times *t, size_t round, struct run *r, size_t which)
{
    t->p50[round] = quantile(r->took[which], r->n[which], 0.50) * 1e3;
    t->p99[round] = quantile(r->took[which], r->n[which], 0.99) * 1e3;
}

static void show(const char *what, struct times *t, size_t rounds)
{
    double p50 = quantile(t->p50, rounds, 0.5), p99 = quantile(t->p99, rounds, 0.5);
    printf("  %-16s %9.2f %9.2f   %.2f to %.2f\n", what, p50, p99, t->p99[0],
           t->p99[rounds - 1]);
}

static bool measure(struct run *r, size_t rounds)
{
    static struct times alone, mixed, longer;
    double ratio[ROUNDS_MOST], gap_s = r->gap_s;
    for (size_t i = 0; i < rounds && r->failed == 0; i++) {
        r->long_share = 0;
        r->gap_s = gap_s;
        run(r);
        note(&alone, i, r, 0);
        r->long_share = 0.1;
        r->gap_s = gap_s * 0.9; /* the long ones come on top */
        run(r);
        note(&mixed, i, r, 0);
        note(&longer, i, r, 1);
        ratio[i] = mixed.p99[i] / alone.p99[i];
    }
    if (r->failed)
        return false;
    printf("  %-16s %9s %9s   %s\n", "ms", "p50", "p99", "p99 of the rounds");
    show("short, alone", &alone, rounds);
    show("short, mixed", &mixed, rounds);
    show("long, mixed", &longer, rounds);
    printf("  p99 of short ones, mixed / alone: %.2f (median of %zu rounds)\n",
           quantile(ratio, rounds, 0.5), rounds);
    return true;
}

static size_t number(char **argv, int argc, int i, size_t fallback)
{
    return argc > i ? strtoul(argv[i], NULL, 10) : fallback;
}

int main(int argc, char **argv)
{
    static struct connection c[CONNECTIONS];
    static double took[2][MOST];
    if (argc < 3) {
        fprintf(stderr, "bench_http PORT MODEL [SECONDS [ROUNDS [SHORT LONG]]]\n");
        return 2;
    }
    size_t rounds = number(argv, argc, 4, 5);
    struct request requests[2] = {make_request(argv[2], number(argv, argc, 5, 12)),
                                  make_request(argv[2], number(argv, argc, 6, 510))};
    struct run r = {.port = (unsigned)number(argv, argc, 1, 0),
                    .c = c,
                    .requests = requests,
                    .seconds = (double)number(argv, argc, 3, 4)};
    r.took[0] = took[0];
    r.took[1] = took[1];
    if (!free_connection(&r))
        return 1;
    double one = time_alone(&c[0], &requests[0]), other = time_alone(&c[0], &requests[1]);
    /* A lone request may have all cores, so this is the time of the whole machine. */
    r.gap_s = 2 * (one + other / 9);
    printf("%s: one request alone: %.2f ms short, %.2f ms long; %.0f short ones/s\n",
           argv[2], one * 1e3, other * 1e3, 1 / r.gap_s);
    bool good = r.gap_s > 0 && measure(&r, rounds < ROUNDS_MOST ? rounds : ROUNDS_MOST);
    if (!good)
        fprintf(stderr, "bench_http: a request failed\n");
    return good ? 0 : 1;
}
