/* Pings: the streams of one HTTP thread, and when each wants a comment because nothing
 * came, so that proxies and clients do not take it for dead. Only that thread. */
#ifndef SERVER_PINGS_H
#define SERVER_PINGS_H

#include <stdint.h>

/* A stream's place in the list, a member of what sends it. Zeroed is in none. */
struct ping {
    struct ping *next, *before;
    uint64_t due_us;
};

/* The streams that wait longest first: each goes to the end when something is sent. */
struct pings {
    struct ping *first, *last;
    uint64_t every_us; /* 0: never */
};

/* Something is sent, now or at the beginning: nothing is wanted for a while. */
void pings_sent(struct pings *p, struct ping *one, uint64_t now_us);
void pings_remove(struct pings *p, struct ping *one); /* in the list or not */

/* One that has waited for so long, NULL if there is none; pings_sent is to follow. */
struct ping *pings_due(const struct pings *p, uint64_t now_us);
/* Milliseconds until then, at most `most`. */
int pings_timeout(const struct pings *p, uint64_t now_us, int most);

#endif
