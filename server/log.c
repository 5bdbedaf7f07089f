#include "server/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/clock.h"

const char *const LOG_LEVELS[] = {"error", "warn", "info", "debug", NULL};

/* A pipe that polls writable takes this much without blocking (PIPE_BUF). */
enum { RING_BYTES = 256 * 1024, CHUNK = 4096, FLUSH_MS = 1000 };

/* Lines may wait so long for others, so that under load one waking writes many of them.
 */
enum { GATHER_US = 5000 };

static struct {
    atomic_int level; /* lines above it are not made; -1 = not started */
    int fd;           /* fixed while started */
    pthread_t thread;

    pthread_mutex_t lock;
    pthread_cond_t filled;

    size_t first, n; /* under lock from here on: bytes ring[first..first+n), wrapping */
    size_t dropped;
    bool stopping;
    char ring[RING_BYTES];
} log_state = {
    .level = -1, .lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER};

static void ring_put_locked(const char *bytes, size_t n)
{
    size_t at = (log_state.first + log_state.n) % RING_BYTES;
    size_t head = n < RING_BYTES - at ? n : RING_BYTES - at;
    memcpy(log_state.ring + at, bytes, head);
    memcpy(log_state.ring, bytes + head, n - head);
    log_state.n += n;
}

static size_t ring_take_locked(char *to, size_t cap)
{
    size_t n = log_state.n < cap ? log_state.n : cap;
    size_t head = RING_BYTES - log_state.first;
    if (n > head)
        n = head;
    memcpy(to, log_state.ring + log_state.first, n);
    log_state.first = (log_state.first + n) % RING_BYTES;
    log_state.n -= n;
    return n;
}

/* False when nobody reads any more, or the time for it is over. */
static bool write_out(const char *bytes, size_t n, uint64_t *give_up_us)
{
    while (n) {
        struct pollfd p = {.fd = log_state.fd, .events = POLLOUT};
        int ready = poll(&p, 1, 100);
        if (ready > 0 && (p.revents & (POLLERR | POLLNVAL)))
            return false;
        if (ready > 0) {
            ssize_t done = write(log_state.fd, bytes, n);
            if (done < 0 && errno != EINTR && errno != EAGAIN)
                return false;
            bytes += done > 0 ? done : 0;
            n -= done > 0 ? (size_t)done : 0;
        }
        pthread_mutex_lock(&log_state.lock);
        if (log_state.stopping && *give_up_us == 0)
            *give_up_us = clock_us() + FLUSH_MS * 1000u;
        pthread_mutex_unlock(&log_state.lock);
        if (*give_up_us && clock_us() > *give_up_us)
            return false;
    }
    return true;
}

/* Waits until there is something to write, and a little longer for more. */
static void gather_locked(void)
{
    if (log_state.n > 0 || log_state.stopping)
        return;
    while (log_state.n == 0 && !log_state.stopping)
        pthread_cond_wait(&log_state.filled, &log_state.lock);
    if (log_state.stopping)
        return;
    pthread_mutex_unlock(&log_state.lock);
    usleep(GATHER_US);
    pthread_mutex_lock(&log_state.lock);
}

static void *writer(void *unused)
{
    char chunk[CHUNK];
    uint64_t give_up_us = 0;
    bool more = true;
    while (more) {
        pthread_mutex_lock(&log_state.lock);
        gather_locked();
        size_t n = ring_take_locked(chunk, sizeof chunk);
        pthread_mutex_unlock(&log_state.lock);
        more = n && write_out(chunk, n, &give_up_us);
    }
    return unused;
}

enum err_code log_start(int fd, enum log_level level, struct err *err)
{
    log_state.fd = fd;
    log_state.stopping = false;
    log_state.first = log_state.n = log_state.dropped = 0;
    if (pthread_create(&log_state.thread, NULL, writer, NULL) != 0)
        return err_set(err, ERR_NOMEM, "can't start the log thread");
    pthread_setname_np(log_state.thread, "log");
    atomic_store(&log_state.level, (int)level);
    return ERR_OK;
}

void log_stop(void)
{
    if (atomic_exchange(&log_state.level, -1) < 0)
        return;
    pthread_mutex_lock(&log_state.lock);
    log_state.stopping = true;
    pthread_cond_signal(&log_state.filled);
    pthread_mutex_unlock(&log_state.lock);
    pthread_join(log_state.thread, NULL);
}

bool log_begin(struct json_writer *w, enum log_level level, const char *event)
{
    if ((int)level > atomic_load(&log_state.level))
        return false;
    *w = (struct json_writer){0};
    json_write_object(w);
    json_write_key_string(w, "event", event);
    return true;
}

static void write_time(struct json_writer *w)
{
    struct timespec now;
    struct tm tm;
    char date[32], text[48];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text, sizeof text, "%s.%03ldZ", date, now.tv_nsec / 1000000);
    json_write_key_string(w, "ts", text);
}

void log_end(struct json_writer *w, enum log_level level)
{
    json_write_key_string(w, "level", LOG_LEVELS[level]);
    write_time(w);
    pthread_mutex_lock(&log_state.lock);
    size_t dropped = log_state.dropped;
    pthread_mutex_unlock(&log_state.lock);
    if (dropped)
        json_write_key_uint(w, "lines_dropped", dropped);
    json_write_end(w);
    buf_put(&w->buf, "\n", 1);
    pthread_mutex_lock(&log_state.lock);
    if (!w->buf.failed && w->buf.n <= RING_BYTES - log_state.n) {
        if (log_state.n == 0) /* else the writer is about to look */
            pthread_cond_signal(&log_state.filled);
        ring_put_locked(w->buf.at, w->buf.n);
        log_state.dropped -= dropped < log_state.dropped ? dropped : log_state.dropped;
    } else {
        log_state.dropped++;
    }
    pthread_mutex_unlock(&log_state.lock);
    json_write_done(w);
}

void log_note(enum log_level level, const char *event, const char *fmt, ...)
{
    struct json_writer w;
    char message[512];
    va_list args;
    if (!log_begin(&w, level, event))
        return;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    json_write_key_string(&w, "message", message);
    log_end(&w, level);
}
