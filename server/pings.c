#include "server/pings.h"

#include <stddef.h>

void pings_remove(struct pings *p, struct ping *one)
{
    if (!one->due_us)
        return;
    if (one->before)
        one->before->next = one->next;
    else
        p->first = one->next;
    if (one->next)
        one->next->before = one->before;
    else
        p->last = one->before;
    *one = (struct ping){0};
}

void pings_sent(struct pings *p, struct ping *one, uint64_t now_us)
{
    pings_remove(p, one);
    if (!p->every_us)
        return;
    one->due_us = now_us + p->every_us;
    one->before = p->last;
    if (p->last)
        p->last->next = one;
    else
        p->first = one;
    p->last = one;
}

struct ping *pings_due(const struct pings *p, uint64_t now_us)
{
    return p->first && p->first->due_us <= now_us ? p->first : NULL;
}

int pings_timeout(const struct pings *p, uint64_t now_us, int most)
{
    if (!p->first)
        return most;
    uint64_t due_us = p->first->due_us;
    uint64_t ms = due_us > now_us ? (due_us - now_us + 999) / 1000 : 0;
    return ms < (uint64_t)most ? (int)ms : most;
}
