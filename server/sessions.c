#include "server/sessions.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

enum { BUCKETS = 1024 };

struct sessions {
    uint64_t ttl_us; /* fixed */
    size_t max_bytes;

    pthread_mutex_t lock;

    struct session *first, *last; /* least lately used first; under lock from here on */
    struct session *bucket[BUCKETS];
    size_t n, bytes;
};

enum err_code sessions_new(uint64_t ttl_us, size_t max_bytes, struct sessions **out,
                           struct err *err)
{
    struct sessions *s = mem_zero(1, sizeof *s);
    if (!s)
        return err_set(err, ERR_NOMEM, "out of memory for the sessions");
    s->ttl_us = ttl_us;
    s->max_bytes = max_bytes;
    pthread_mutex_init(&s->lock, NULL);
    *out = s;
    return ERR_OK;
}

static void free_one(struct session *one)
{
    seq_state_free(one->state);
    mem_free(one);
}

static void free_list(struct session *list)
{
    while (list) {
        struct session *next = list->next;
        free_one(list);
        list = next;
    }
}

void sessions_free(struct sessions *s)
{
    if (!s)
        return;
    free_list(s->first);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

/* ---- lists, under the lock ------------------------------------------------------- */

/* Ids are random, so any of their bytes tell them apart as well as others. */
static struct session **bucket_locked(struct sessions *s, const char *id)
{
    uint32_t hash = 0;
    memcpy(&hash, id, sizeof hash);
    return &s->bucket[(hash * 2654435761u) >> 22];
}

static void unlink_locked(struct sessions *s, struct session *one)
{
    *(one->prev ? &one->prev->next : &s->first) = one->next;
    *(one->next ? &one->next->prev : &s->last) = one->prev;
}

static void append_locked(struct sessions *s, struct session *one)
{
    one->prev = s->last;
    one->next = NULL;
    *(s->last ? &s->last->next : &s->first) = one;
    s->last = one;
}

static void remove_locked(struct sessions *s, struct session *one)
{
    struct session **at = bucket_locked(s, one->id);
    while (*at != one)
        at = &(*at)->same_bucket;
    *at = one->same_bucket;
    unlink_locked(s, one);
    s->n--;
    s->bytes -= one->bytes;
}

static bool expired(const struct sessions *s, const struct session *one, uint64_t now_us)
{
    return !one->busy && now_us >= one->used_us && now_us - one->used_us >= s->ttl_us;
}

/* Takes those out whose time is over; they are the caller's list. Busy ones stand where
 * they stood when they were taken, and are passed over. */
static struct session *take_expired_locked(struct sessions *s, uint64_t now_us)
{
    struct session *list = NULL, *next;
    for (struct session *one = s->first; one; one = next) {
        next = one->next;
        if (one->busy)
            continue;
        if (!expired(s, one, now_us))
            break;
        remove_locked(s, one);
        one->next = list;
        list = one;
    }
    return list;
}

/* Room for so many bytes more; what had to go for it is added to *gone. */
static bool make_room_locked(struct sessions *s, size_t bytes, uint64_t now_us,
                             struct session **gone)
{
    if (bytes > s->max_bytes)
        return false;
    if (s->bytes > s->max_bytes - bytes)
        *gone = take_expired_locked(s, now_us);
    return s->bytes <= s->max_bytes - bytes;
}

static struct session *find_locked(struct sessions *s, const char *id, size_t n,
                                   uint64_t now_us)
{
    if (n != SESSION_ID_BYTES - 1)
        return NULL;
    struct session *one = *bucket_locked(s, id);
    while (one && memcmp(one->id, id, n) != 0)
        one = one->same_bucket;
    return one && !expired(s, one, now_us) ? one : NULL;
}

static void view_locked(const struct sessions *s, const struct session *one,
                        uint64_t now_us, struct session_view *out)
{
    uint64_t idle = one->busy || now_us < one->used_us ? 0 : now_us - one->used_us;
    *out = (struct session_view){.model = one->model,
                                 .tokens = one->tokens,
                                 .bytes = one->bytes,
                                 .expires_us = idle < s->ttl_us ? s->ttl_us - idle : 0};
    memcpy(out->id, one->id, sizeof out->id);
}

/* ---- one session ----------------------------------------------------------------- */

static enum err_code make_id(char id[SESSION_ID_BYTES], struct err *err)
{
    unsigned char bytes[(SESSION_ID_BYTES - 1) / 2];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return err_set(err, ERR_IO, "the kernel gives no random numbers");
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(id + 2 * i, 3, "%02x", bytes[i]);
    return ERR_OK;
}

static enum err_code make_session(const struct model *m, struct session **out,
                                  struct err *err)
{
    struct session *one = mem_zero(1, sizeof *one);
    if (!one)
        return err_set(err, ERR_NOMEM, "out of memory for a session");
    one->model = m;
    one->busy = true;
    enum err_code code = make_id(one->id, err);
    if (code == ERR_OK)
        code = seq_state_new(m->seq, &one->state, err);
    if (code != ERR_OK) {
        mem_free(one);
        return code;
    }
    one->bytes = sizeof *one + seq_state_bytes(one->state);
    *out = one;
    return ERR_OK;
}

enum err_code sessions_open(struct sessions *s, const struct model *m, uint64_t now_us,
                            struct session **out, struct err *err)
{
    struct session *one = NULL, *gone = NULL;
    enum err_code code = make_session(m, &one, err);
    if (!one)
        return code;
    pthread_mutex_lock(&s->lock);
    bool room = make_room_locked(s, one->bytes, now_us, &gone);
    if (room) {
        struct session **bucket = bucket_locked(s, one->id);
        one->same_bucket = *bucket;
        *bucket = one;
        append_locked(s, one);
        s->n++;
        s->bytes += one->bytes;
    }
    pthread_mutex_unlock(&s->lock);
    free_list(gone);
    if (!room) {
        free_one(one);
        return err_set(err, ERR_LIMIT,
                       "the sessions hold all %zu bytes they may "
                       "(--session-bytes)",
                       s->max_bytes);
    }
    *out = one;
    return ERR_OK;
}

enum session_found sessions_take(struct sessions *s, const char *id, size_t n,
                                 uint64_t now_us, struct session **out)
{
    pthread_mutex_lock(&s->lock);
    struct session *one = find_locked(s, id, n, now_us);
    enum session_found found = !one        ? SESSION_UNKNOWN
                               : one->busy ? SESSION_BUSY
                                           : SESSION_FOUND;
    if (found == SESSION_FOUND) {
        one->busy = true;
        *out = one;
    }
    pthread_mutex_unlock(&s->lock);
    return found;
}

bool sessions_reserve(struct sessions *s, struct session *taken, size_t bytes,
                      uint64_t now_us)
{
    struct session *gone = NULL;
    pthread_mutex_lock(&s->lock);
    bool room = make_room_locked(s, bytes, now_us, &gone);
    if (room) {
        taken->bytes += bytes;
        s->bytes += bytes;
    }
    pthread_mutex_unlock(&s->lock);
    free_list(gone);
    return room;
}

void sessions_give(struct sessions *s, struct session *take_taken, uint64_t now_us,
                   struct session_view *out)
{
    struct session *one = take_taken;
    size_t bytes = sizeof *one + seq_state_bytes(one->state);
    pthread_mutex_lock(&s->lock);
    s->bytes += bytes - one->bytes; /* unsigned, so either way */
    one->bytes = bytes;
    one->tokens = seq_state_length(one->state);
    one->used_us = now_us;
    one->busy = false;
    unlink_locked(s, one);
    append_locked(s, one);
    if (out)
        view_locked(s, one, now_us, out);
    pthread_mutex_unlock(&s->lock);
}

void sessions_drop(struct sessions *s, struct session *take_taken)
{
    pthread_mutex_lock(&s->lock);
    remove_locked(s, take_taken);
    pthread_mutex_unlock(&s->lock);
    free_one(take_taken);
}

enum session_found sessions_look(struct sessions *s, const char *id, size_t n,
                                 uint64_t now_us, struct session_view *out)
{
    pthread_mutex_lock(&s->lock);
    const struct session *one = find_locked(s, id, n, now_us);
    if (one)
        view_locked(s, one, now_us, out);
    pthread_mutex_unlock(&s->lock);
    return one ? SESSION_FOUND : SESSION_UNKNOWN;
}

void sessions_sweep(struct sessions *s, uint64_t now_us)
{
    pthread_mutex_lock(&s->lock);
    struct session *gone = take_expired_locked(s, now_us);
    pthread_mutex_unlock(&s->lock);
    free_list(gone);
}

void sessions_figures(struct sessions *s, size_t *n, size_t *bytes)
{
    pthread_mutex_lock(&s->lock);
    *n = s->n;
    *bytes = s->bytes;
    pthread_mutex_unlock(&s->lock);
}
