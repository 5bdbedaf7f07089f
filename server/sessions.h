/* Sessions: sequences that clients keep here from request to request, by random ids. Each
 * is a seq_state of one model; a step costs its new tokens only.
 *
 * A session has one user at a time: who takes it gives it back, and meanwhile it is busy.
 * It ends when it was not used for its time to live, or is dropped. All of them together
 * hold at most so many bytes; beyond that new ones and steps that need more are refused,
 * because those that live were promised their time. Any thread. */
#ifndef SERVER_SESSIONS_H
#define SERVER_SESSIONS_H

#include "model/seq.h"
#include "server/models.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SESSION_ID_BYTES = 33 }; /* 128 bits in hexadecimal, and a zero */

struct sessions;

struct session {
    char id[SESSION_ID_BYTES];
    const struct model *model;
    struct seq_state *state; /* of who has taken it */

    /* the store's own, under its lock */
    bool busy;
    uint64_t used_us;            /* when it was given back */
    size_t bytes;                /* counted for it */
    size_t tokens;               /* when it was given back */
    struct session *next, *prev; /* by used_us; busy ones stand in no order */
    struct session *same_bucket;
};

/* What is told of a session. */
struct session_view {
    char id[SESSION_ID_BYTES];
    const struct model *model;
    size_t tokens, bytes;
    uint64_t expires_us; /* from now, if it is not used */
};

enum session_found { SESSION_FOUND, SESSION_BUSY, SESSION_UNKNOWN };

enum err_code sessions_new(uint64_t ttl_us, size_t max_bytes, struct sessions **out,
                           struct err *err) MUST_CHECK;
/* None may be taken; NULL is fine. Before the models are freed. */
void sessions_free(struct sessions *s);

/* A new session, empty and taken. ERR_LIMIT: they hold too many bytes; ERR_NOMEM, ERR_IO
 * and those of seq_state_new. */
enum err_code sessions_open(struct sessions *s, const struct model *m, uint64_t now_us,
                            struct session **out, struct err *err) MUST_CHECK;
/* Takes the session of that id, n bytes. */
enum session_found sessions_take(struct sessions *s, const char *id, size_t n,
                                 uint64_t now_us, struct session **out);
/* Room for bytes more, which the taken session is about to hold; false: there is none. */
bool sessions_reserve(struct sessions *s, struct session *taken, size_t bytes,
                      uint64_t now_us);
/* Back, with what its state holds now. *out (NULL: not wanted) tells of it. */
void sessions_give(struct sessions *s, struct session *take_taken, uint64_t now_us,
                   struct session_view *out);
/* Ends a taken session. */
void sessions_drop(struct sessions *s, struct session *take_taken);

/* Tells of a session, busy or not; that is no use of it. */
enum session_found sessions_look(struct sessions *s, const char *id, size_t n,
                                 uint64_t now_us, struct session_view *out);

/* Ends all whose time is over. Called by a timer. */
void sessions_sweep(struct sessions *s, uint64_t now_us);

/* How many there are, and what they hold. */
void sessions_figures(struct sessions *s, size_t *n, size_t *bytes);

#endif
