#include "model/tasks/prefixes.h"

#include "model/base/mem.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

/* The tokens that a text, or some texts, go on with after the parent's. No two children
 * of a node begin with the same token. Every node without children has a state; where
 * states can be cut back, no other has. */
struct node {
    struct node *parent, *child; /* child: any, NULL = none */
    struct node *prev, *next;    /* children of the same parent */
    struct node *chain;          /* in the same bucket */
    struct node *newer, *older;  /* by last use, among nodes with a state */
    struct net_state *state;     /* behind its last token; NULL = none */
    size_t n, room;              /* tokens; room is what its bytes are counted by */
    int32_t *ids;                /* [room] */
};

struct prefixes {
    const struct net *net;
    size_t max_bytes;

    pthread_mutex_t lock;

    struct node root; /* no tokens, no state; under lock from here on */
    /* All other nodes, by parent and first token. */
    struct node **bucket; /* [n_buckets], a power of 2 */
    size_t n_buckets, n_nodes;
    struct node *newest, *oldest;
    struct seq_reuse counts;
};

enum { FIRST_BUCKETS = 64 };

enum err_code prefixes_new(const struct net *n, size_t max_bytes, struct prefixes **out,
                           struct err *err)
{
    assert(n->ops->state_new && max_bytes > 0);
    struct prefixes *p = mem_zero(1, sizeof *p);
    struct node **bucket = mem_zero(FIRST_BUCKETS, sizeof(struct node *));
    if (!p || !bucket) {
        mem_free(p);
        mem_free(bucket);
        return err_set(err, ERR_NOMEM, "out of memory: prefixes");
    }
    p->net = n;
    p->max_bytes = max_bytes;
    p->bucket = bucket;
    p->n_buckets = FIRST_BUCKETS;
    p->counts.max_bytes = max_bytes;
    p->counts.bytes = sizeof *p + FIRST_BUCKETS * sizeof(struct node *);
    pthread_mutex_init(&p->lock, NULL);
    *out = p;
    return ERR_OK;
}

bool prefixes_by_length(const struct prefixes *p)
{
    return !p->net->ops->state_truncate;
}

/* ---- children -------------------------------------------------------------------- */

/* Says only where to look: parent and token are compared there. */
static struct node **bucket_of(const struct prefixes *p, const struct node *parent,
                               int32_t id)
{
    uint64_t h = (uint64_t)(uintptr_t)parent / sizeof(void *);
    h = (h ^ (uint64_t)(uint32_t)id << 32) * UINT64_C(0x9E3779B97F4A7C15);
    h = (h ^ h >> 32) * UINT64_C(0xD6E8FEB86659FD93);
    return &p->bucket[(h >> 32) & (p->n_buckets - 1)];
}

static struct node *child_of(const struct prefixes *p, const struct node *parent,
                             int32_t id)
{
    struct node *n = *bucket_of(p, parent, id);
    while (n && (n->parent != parent || n->ids[0] != id))
        n = n->chain;
    return n;
}

/* Makes n, whose ids are set, a child of its parent. */
static void link_child(struct prefixes *p, struct node *n)
{
    struct node **bucket = bucket_of(p, n->parent, n->ids[0]);
    n->chain = *bucket;
    *bucket = n;
    n->prev = NULL;
    n->next = n->parent->child;
    if (n->next)
        n->next->prev = n;
    n->parent->child = n;
}

static void unlink_child(struct prefixes *p, struct node *n)
{
    struct node **at = bucket_of(p, n->parent, n->ids[0]);
    while (*at != n)
        at = &(*at)->chain;
    *at = n->chain;
    if (n->prev)
        n->prev->next = n->next;
    else
        n->parent->child = n->next;
    if (n->next)
        n->next->prev = n->prev;
}

/* Twice the buckets; without memory for them chains grow longer instead. */
static void widen(struct prefixes *p)
{
    size_t old_n = p->n_buckets;
    struct node **old = p->bucket, **bucket = mem_zero(2 * old_n, sizeof(struct node *));
    if (!bucket)
        return;
    p->bucket = bucket;
    p->n_buckets = 2 * old_n;
    p->counts.bytes += old_n * sizeof(struct node *);
    for (size_t i = 0; i < old_n; i++)
        for (struct node *n = old[i], *next; n; n = next) {
            next = n->chain;
            struct node **at = bucket_of(p, n->parent, n->ids[0]);
            n->chain = *at;
            *at = n;
        }
    mem_free(old);
}

static size_t node_bytes(const struct node *n)
{
    return sizeof *n + n->room * sizeof *n->ids;
}

/* A child of `parent` with n tokens; NULL without memory. */
static struct node *node_new(struct prefixes *p, struct node *parent, const int32_t *ids,
                             size_t n)
{
    struct node *fresh = mem_zero(1, sizeof *fresh);
    int32_t *copy = mem_alloc(n, sizeof *copy);
    if (!fresh || !copy) {
        mem_free(fresh);
        mem_free(copy);
        return NULL;
    }
    memcpy(copy, ids, n * sizeof *ids);
    fresh->parent = parent;
    fresh->ids = copy;
    fresh->n = fresh->room = n;
    link_child(p, fresh);
    p->counts.bytes += node_bytes(fresh);
    if (++p->n_nodes > p->n_buckets)
        widen(p);
    return fresh;
}

/* Takes n out of the tree, and then each parent that nothing is left of. */
static void prune(struct prefixes *p, struct node *n)
{
    while (n != &p->root && !n->state && !n->child) {
        struct node *parent = n->parent;
        unlink_child(p, n);
        p->counts.bytes -= node_bytes(n);
        p->n_nodes--;
        mem_free(n->ids);
        mem_free(n);
        n = parent;
    }
}

/* ---- states ---------------------------------------------------------------------- */

static void set_newest(struct prefixes *p, struct node *n)
{
    n->newer = NULL;
    n->older = p->newest;
    if (p->newest)
        p->newest->newer = n;
    else
        p->oldest = n;
    p->newest = n;
}

static void unlist(struct prefixes *p, struct node *n)
{
    if (n->newer)
        n->newer->older = n->older;
    else
        p->newest = n->older;
    if (n->older)
        n->older->newer = n->newer;
    else
        p->oldest = n->newer;
}

static void touch(struct prefixes *p, struct node *n)
{
    unlist(p, n);
    set_newest(p, n);
}

static void put_state(struct prefixes *p, struct node *n, struct net_state *take_state)
{
    const struct net_ops *ops = p->net->ops;
    n->state = take_state;
    p->counts.bytes +=
        ops->state_enter ? ops->state_enter(take_state) : ops->state_bytes(take_state);
    p->counts.states++;
    set_newest(p, n);
}

/* The state, which is the caller's to free. */
static struct net_state *take_state(struct prefixes *p, struct node *n)
{
    const struct net_ops *ops = p->net->ops;
    struct net_state *state = n->state;
    n->state = NULL;
    p->counts.bytes -=
        ops->state_leave ? ops->state_leave(state) : ops->state_bytes(state);
    p->counts.states--;
    unlist(p, n);
    return state;
}

/* Takes the state used least recently while there are too many bytes, up to `cap`. */
static size_t take_excess(struct prefixes *p, struct net_state **out, size_t cap)
{
    size_t n = 0;
    while (n < cap && p->oldest && p->counts.bytes > p->max_bytes) {
        struct node *oldest = p->oldest;
        out[n++] = take_state(p, oldest);
        prune(p, oldest);
        p->counts.evictions++;
    }
    return n;
}

void prefixes_free(struct prefixes *p)
{
    if (!p)
        return;
    while (p->oldest) {
        struct node *oldest = p->oldest;
        p->net->ops->state_free(take_state(p, oldest));
        prune(p, oldest);
    }
    pthread_mutex_destroy(&p->lock);
    mem_free(p->bucket);
    mem_free(p);
}

/* ---- finding --------------------------------------------------------------------- */

/* How far ids are known: to the first `into` tokens of node, `length` in all. */
struct place {
    struct node *node;
    size_t into, length;
};

static struct place walk(struct prefixes *p, const int32_t *ids, size_t n)
{
    struct place at = {.node = &p->root};
    while (at.length < n && at.into == at.node->n) {
        struct node *next = child_of(p, at.node, ids[at.length]);
        if (!next)
            break;
        size_t most = n - at.length < next->n ? n - at.length : next->n;
        size_t same = 1;
        while (same < most && next->ids[same] == ids[at.length + same])
            same++;
        at = (struct place){next, same, at.length + same};
    }
    return at;
}

/* A text that goes on from there. */
static struct node *end_of(struct node *n)
{
    while (n->child)
        n = n->child;
    return n;
}

/* Back to the nearest place that has a state of its own, or to the root. */
static struct place with_state(struct prefixes *p, struct place at)
{
    while (at.node != &p->root && (at.into < at.node->n || !at.node->state)) {
        at.length -= at.into;
        at.node = at.node->parent;
        at.into = at.node->n;
    }
    return at;
}

static size_t find(struct prefixes *p, const int32_t *ids, size_t n, struct net_state *to)
{
    const struct net_ops *ops = p->net->ops;
    struct place at = walk(p, ids, n - 1);
    struct err err = {0};
    if (ops->state_truncate && at.length > 0)
        at.node = end_of(at.node);
    else if (!ops->state_truncate)
        at = with_state(p, at);
    if (at.length == 0)
        return 0;
    touch(p, at.node);
    if (ops->state_copy(to, at.node->state, &err) != ERR_OK) {
        ops->state_reset(to);
        return 0;
    }
    if (ops->state_truncate)
        ops->state_truncate(to, at.length);
    return at.length;
}

size_t prefixes_find(struct prefixes *p, const int32_t *ids, size_t n,
                     struct net_state *to)
{
    pthread_mutex_lock(&p->lock);
    size_t known = find(p, ids, n, to);
    p->counts.hits += known > 0;
    p->counts.misses += known == 0;
    p->counts.reused_tokens += known;
    p->counts.computed_tokens += n - known;
    pthread_mutex_unlock(&p->lock);
    return known;
}

/* ---- keeping --------------------------------------------------------------------- */

/* The first `into` tokens of a node become a node between it and its parent: that one,
 * or NULL without memory. */
static struct node *split(struct prefixes *p, struct node *n, size_t into)
{
    struct node *parent = n->parent;
    unlink_child(p, n);
    struct node *upper = node_new(p, parent, n->ids, into);
    if (!upper) {
        link_child(p, n);
        return NULL;
    }
    n->n -= into;
    memmove(n->ids, n->ids + into, n->n * sizeof *n->ids);
    n->parent = upper;
    link_child(p, n);
    return upper;
}

/* The text that ends in node goes on differently behind its first `into` tokens. Returns
 * the state that is left over. */
static struct net_state *replace_tail(struct prefixes *p, const struct place *at,
                                      const int32_t *ids, size_t n,
                                      struct net_state *take)
{
    struct node *node = at->node;
    size_t more = n - at->length;
    int32_t *longer = mem_resize(node->ids, at->into + more, sizeof *longer);
    if (!longer)
        return take;
    memcpy(longer + at->into, ids + at->length, more * sizeof *ids);
    p->counts.bytes -= node_bytes(node);
    node->ids = longer;
    node->n = node->room = at->into + more;
    p->counts.bytes += node_bytes(node);
    struct net_state *old = take_state(p, node);
    put_state(p, node, take);
    return old;
}

/* Puts the state behind ids[0..n) into the tree. Returns it if the tree has one that does
 * as well, or another one that isn't needed any more, or NULL. */
static struct net_state *insert(struct prefixes *p, const int32_t *ids, size_t n,
                                struct net_state *take)
{
    bool by_length = prefixes_by_length(p);
    struct place at = walk(p, ids, n);
    struct node *node = at.node;
    bool whole = at.into == node->n;
    if (at.length == n && !by_length) {
        touch(p, end_of(node));
        return take;
    }
    /* A text that grows, and one whose last word becomes another one as it is typed. */
    if (!by_length && node != &p->root && !node->child &&
        node->n - at.into <= PREFIXES_TAIL)
        return replace_tail(p, &at, ids, n, take);
    if (at.length == n && whole && node->state) {
        touch(p, node);
        return take;
    }
    if (!whole)
        node = split(p, node, at.into);
    if (node && at.length < n)
        node = node_new(p, node, ids + at.length, n - at.length);
    if (!node)
        return take;
    put_state(p, node, take);
    return NULL;
}

/* A copy of the state for the tree; NULL without memory, or where it alone is too much.
 */
static struct net_state *copy_state(const struct prefixes *p, size_t n,
                                    const struct net_state *state)
{
    const struct net_ops *ops = p->net->ops;
    struct err err = {0};
    struct net_state *copy = NULL;
    if (ops->state_bytes(state) > p->max_bytes ||
        n > (p->max_bytes - ops->state_bytes(state)) / sizeof(int32_t))
        return NULL;
    if (ops->state_new(p->net, &copy, &err) != ERR_OK)
        return NULL;
    if (ops->state_copy(copy, state, &err) == ERR_OK)
        return copy;
    ops->state_free(copy);
    return NULL;
}

/* What goes is freed outside the lock, some at a time. */
enum { TAKE_AT_ONCE = 16 };

void prefixes_keep(struct prefixes *p, const int32_t *ids, size_t n,
                   const struct net_state *state)
{
    struct net_state *gone[TAKE_AT_ONCE], *copy = copy_state(p, n, state);
    if (!copy)
        return;
    pthread_mutex_lock(&p->lock);
    struct net_state *left = insert(p, ids, n, copy);
    size_t taken = take_excess(p, gone, TAKE_AT_ONCE);
    pthread_mutex_unlock(&p->lock);
    p->net->ops->state_free(left);
    while (taken > 0) {
        for (size_t i = 0; i < taken; i++)
            p->net->ops->state_free(gone[i]);
        pthread_mutex_lock(&p->lock);
        taken = take_excess(p, gone, TAKE_AT_ONCE);
        pthread_mutex_unlock(&p->lock);
    }
}

void prefixes_counts(struct prefixes *p, struct seq_reuse *out)
{
    pthread_mutex_lock(&p->lock);
    *out = p->counts;
    pthread_mutex_unlock(&p->lock);
}
