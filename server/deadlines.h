/* Deadlines: absolute limits on what a connection may take its time for, and the thread
 * that keeps them. libmicrohttpd's own time-out is about inactivity only: a client that
 * sends a byte now and then would stay for ever.
 *
 * A connection is watched from accept to close. The timer looks every DEADLINES_TICK_MS;
 * who is late is shut down, which the HTTP thread then sees as the client's end.
 * Connections whose request waits for a worker are not read by libmicrohttpd; the timer
 * looks whether their client is still there. Any thread; every function locks shortly. */
#ifndef SERVER_DEADLINES_H
#define SERVER_DEADLINES_H

#include "model/seq.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct deadlines;
struct watch;

enum { DEADLINES_TICK_MS = 100 };

enum watch_phase {
    WATCH_HEADERS, /* nothing, or a part of a request's head: closed silently */
    WATCH_BODY,    /* in the middle of a body: 408, then closed */
    WATCH_WAITING, /* a worker has it: no deadline, but is the client still there? */
    WATCH_REPLY    /* the client reads its answer: closed */
};

/* Starts the thread. on_tick(arg) is called at every tick, without locks; on_late for
 * every connection that is shut down. */
struct deadlines_hooks {
    void (*on_tick)(void *arg);
    void (*on_late)(void *arg, enum watch_phase phase);
    void *arg;
};

enum err_code deadlines_start(const struct deadlines_hooks *hooks, struct deadlines **out,
                              struct err *err) MUST_CHECK;
void deadlines_stop(struct deadlines *d); /* ends the thread; NULL is fine */
void deadlines_free(struct deadlines *d); /* after deadlines_stop; no watch is left */

/* A new connection; NULL if there is no memory. fd stays the caller's. */
struct watch *deadlines_open(struct deadlines *d, int fd, uint64_t deadline_us);
/* Before the fd is closed. If a reply was sent before the client had sent all, the rest
 * is read and thrown away for a while (`linger`): closing at once would make the kernel
 * send a reset, which can destroy the reply on its way. */
void deadlines_close(struct deadlines *d, struct watch *take_w);

void deadlines_set(struct deadlines *d, struct watch *w, enum watch_phase phase,
                   uint64_t deadline_us);
/* WATCH_WAITING; *gone is set when the client closes its side. Until the next _set. */
void deadlines_wait(struct deadlines *d, struct watch *w, atomic_bool *gone);
void deadlines_linger(struct deadlines *d, struct watch *w);
/* Whether the timer has shut it down; a body that was late has been answered 408. */
bool deadlines_late(struct deadlines *d, const struct watch *w);

/* Whether the client of this socket has closed its side, by the kernel's word. */
bool deadlines_hung_up(int fd);

#endif
