#include "server/deadlines.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "model/seq.h"
#include "server/clock.h"

enum {
    LINGER_MAX = 64,                    /* sockets that linger at the same time */
    LINGER_US = 2000000,                /* for how long each */
    LINGER_TICK_BYTES = 4 * 1024 * 1024 /* thrown away at most, per socket and tick */
};

struct watch {
    int fd;
    enum watch_phase phase;
    uint64_t deadline_us; /* UINT64_MAX = none */
    atomic_bool *gone;    /* only while waiting */
    bool linger, late;
    struct watch *next, **link; /* *link is this */
};

struct lingering {
    int fd;
    uint64_t until_us;
};

struct deadlines {
    struct deadlines_hooks hooks; /* fixed before the thread starts */
    pthread_t thread;

    pthread_mutex_t lock;
    pthread_cond_t stop;

    struct watch *list; /* under lock from here on */
    struct lingering lingering[LINGER_MAX];
    size_t n_lingering;
    bool stopping;
};

/* Written straight to the socket: libmicrohttpd still reads the request and can't answer.
 */
static const char LATE_BODY[] =
    "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Type: "
    "application/json\r\n"
    "Content-Length: 129\r\n\r\n"
    "{\"error\":{\"message\":\"the request took too long to arrive\",\"type\":"
    "\"invalid_request_error\",\"code\":\"request_timeout\",\"param\":null}}\n";

bool deadlines_hung_up(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
}

/* Neither call blocks. They are made under the lock because it keeps the descriptor from
 * being closed and given to somebody else meanwhile. */
static void shut_locked(struct watch *w)
{
    if (w->phase == WATCH_BODY)
        (void)!send(w->fd, LATE_BODY, sizeof LATE_BODY - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    shutdown(w->fd, SHUT_RDWR);
    w->late = true;
}

/* Counts the late ones per phase. */
static void look_locked(struct deadlines *d, uint64_t now_us, size_t n_late[])
{
    for (struct watch *w = d->list; w; w = w->next) {
        if (w->phase == WATCH_WAITING) {
            if (!atomic_load(w->gone) && deadlines_hung_up(w->fd))
                atomic_store(w->gone, true);
        } else if (now_us >= w->deadline_us && !w->late) {
            shut_locked(w);
            n_late[w->phase]++;
        }
    }
}

/* ---- lingering ------------------------------------------------------------------- */

/* False when the client has closed, or sends without end. */
static bool drain(int fd)
{
    char sink[16384];
    for (size_t n = 0; n < LINGER_TICK_BYTES;) {
        ssize_t got = recv(fd, sink, sizeof sink, MSG_DONTWAIT);
        if (got <= 0)
            return got < 0 && (errno == EAGAIN || errno == EINTR);
        n += (size_t)got;
    }
    return true;
}

/* Only the timer's thread removes; others append under the lock. */
static void drain_all(struct deadlines *d, uint64_t now_us)
{
    pthread_mutex_lock(&d->lock);
    size_t n = d->n_lingering;
    pthread_mutex_unlock(&d->lock);
    for (size_t i = 0; i < n;) {
        pthread_mutex_lock(&d->lock);
        struct lingering l = d->lingering[i];
        pthread_mutex_unlock(&d->lock);
        if (now_us < l.until_us && drain(l.fd)) {
            i++;
            continue;
        }
        close(l.fd);
        pthread_mutex_lock(&d->lock);
        d->lingering[i] = d->lingering[--d->n_lingering];
        pthread_mutex_unlock(&d->lock);
        n--;
    }
}

static void linger_locked(struct deadlines *d, int fd)
{
    if (d->n_lingering == LINGER_MAX)
        return;
    int copy = dup(fd);
    if (copy < 0)
        return;
    shutdown(copy, SHUT_WR); /* the reply is complete: the client sees its end */
    d->lingering[d->n_lingering++] = (struct lingering){copy, clock_us() + LINGER_US};
}

/* ---- the thread ------------------------------------------------------------------ */

/* True when it is time to stop. */
static bool sleep_locked(struct deadlines *d)
{
    uint64_t end = clock_us() + DEADLINES_TICK_MS * 1000u;
    struct timespec until = {.tv_sec = (time_t)(end / 1000000u),
                             .tv_nsec = (long)(end % 1000000u) * 1000};
    while (!d->stopping)
        if (pthread_cond_timedwait(&d->stop, &d->lock, &until) == ETIMEDOUT)
            break;
    return d->stopping;
}

static void *keep_time(void *arg)
{
    struct deadlines *d = arg;
    for (;;) {
        size_t n_late[WATCH_REPLY + 1] = {0};
        pthread_mutex_lock(&d->lock);
        bool stop = sleep_locked(d);
        if (!stop)
            look_locked(d, clock_us(), n_late);
        pthread_mutex_unlock(&d->lock);
        if (stop)
            return NULL;
        drain_all(d, clock_us());
        for (size_t phase = 0; phase <= WATCH_REPLY; phase++)
            for (; n_late[phase]; n_late[phase]--)
                d->hooks.on_late(d->hooks.arg, (enum watch_phase)phase);
        d->hooks.on_tick(d->hooks.arg);
    }
}

enum err_code deadlines_start(const struct deadlines_hooks *hooks, struct deadlines **out,
                              struct err *err)
{
    pthread_condattr_t attr;
    struct deadlines *d = mem_zero(1, sizeof *d);
    if (!d)
        return err_set(err, ERR_NOMEM, "out of memory for the timer");
    d->hooks = *hooks;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->stop, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&d->thread, NULL, keep_time, d) != 0) {
        d->stopping = true;
        deadlines_free(d);
        return err_set(err, ERR_NOMEM, "can't start the timer's thread");
    }
    pthread_setname_np(d->thread, "timer");
    *out = d;
    return ERR_OK;
}

void deadlines_stop(struct deadlines *d)
{
    if (!d)
        return;
    pthread_mutex_lock(&d->lock);
    d->stopping = true;
    pthread_cond_signal(&d->stop);
    pthread_mutex_unlock(&d->lock);
    pthread_join(d->thread, NULL);
}

void deadlines_free(struct deadlines *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < d->n_lingering; i++)
        close(d->lingering[i].fd);
    pthread_cond_destroy(&d->stop);
    pthread_mutex_destroy(&d->lock);
    mem_free(d);
}

/* ---- watches --------------------------------------------------------------------- */

struct watch *deadlines_open(struct deadlines *d, int fd, uint64_t deadline_us)
{
    struct watch *w = mem_zero(1, sizeof *w);
    if (!w)
        return NULL;
    w->fd = fd;
    w->phase = WATCH_HEADERS;
    w->deadline_us = deadline_us;
    pthread_mutex_lock(&d->lock);
    w->next = d->list;
    w->link = &d->list;
    if (w->next)
        w->next->link = &w->next;
    d->list = w;
    pthread_mutex_unlock(&d->lock);
    return w;
}

void deadlines_close(struct deadlines *d, struct watch *take_w)
{
    pthread_mutex_lock(&d->lock);
    *take_w->link = take_w->next;
    if (take_w->next)
        take_w->next->link = take_w->link;
    if (take_w->linger && !take_w->late && !d->stopping)
        linger_locked(d, take_w->fd);
    pthread_mutex_unlock(&d->lock);
    mem_free(take_w);
}

void deadlines_set(struct deadlines *d, struct watch *w, enum watch_phase phase,
                   uint64_t deadline_us)
{
    pthread_mutex_lock(&d->lock);
    w->phase = phase;
    w->deadline_us = deadline_us;
    w->gone = NULL;
    pthread_mutex_unlock(&d->lock);
}

void deadlines_wait(struct deadlines *d, struct watch *w, atomic_bool *gone)
{
    pthread_mutex_lock(&d->lock);
    w->phase = WATCH_WAITING;
    w->deadline_us = UINT64_MAX;
    w->gone = gone;
    pthread_mutex_unlock(&d->lock);
}

void deadlines_linger(struct deadlines *d, struct watch *w)
{
    pthread_mutex_lock(&d->lock);
    w->linger = true;
    pthread_mutex_unlock(&d->lock);
}

bool deadlines_late(struct deadlines *d, const struct watch *w)
{
    pthread_mutex_lock(&d->lock);
    bool late = w->late;
    pthread_mutex_unlock(&d->lock);
    return late;
}
