/* Breaks: what a long computation asks whoever wants it, every few milliseconds.
 *
 * The one who lends a worker may want it to do something shorter first, or to give up. A
 * pass looks between its parts, none of which takes more than some ten milliseconds on
 * the models this server is for. Neither answer changes a bit of any result. */
#ifndef SEQ_BASE_BREAKS_H
#define SEQ_BASE_BREAKS_H

#include <stdbool.h>
#include <stddef.h>

struct breaks {
    void *arg;
    /* True: nobody wants the result any more; it stays true until the call that was given
     * these breaks has returned, with ERR_STOPPED. Any thread of the crew. NULL = never.
     */
    bool (*stop)(void *arg);
    /* May compute other things in between, with another worker, but only on the thread
     * that was given these breaks: others of the crew call it as well. NULL = nothing. */
    void (*pause)(void *arg);
};

/* b may be NULL. */
static inline bool breaks_stop(const struct breaks *b)
{
    return b && b->stop && b->stop(b->arg);
}

static inline void breaks_pause(const struct breaks *b)
{
    if (b && b->pause)
        b->pause(b->arg);
}

#endif
