/* Prefixes: states behind texts read before, found again by their tokens, so that a text
 * that comes back longer costs its new tokens only. One per model, for any thread: its
 * lock is held to look up, to share and to count, never while anything is computed.
 *
 * The texts are a tree of token ids: texts that begin alike share the beginning, and
 * every id on the way is compared, so nothing is taken for something else. States in it
 * never change; who continues one gets a copy. A state that can be cut back (a decoder's,
 * whose copies share memory) serves every prefix of its text, so the tree holds one per
 * text, at its end. Others (a recurrent net's) stand for one length, and lie along the
 * way.
 *
 * At most so many bytes are held, the tree included, each shared block counted once. The
 * states that nobody asked for the longest go first. A state that can't be kept for want
 * of memory is not: no caller ever fails because of it. */
#ifndef SEQ_TASKS_PREFIXES_H
#define SEQ_TASKS_PREFIXES_H

#include "model/nets/net.h"
#include "model/seq.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prefixes;

/* Tokens at the end of a text that may well be other ones when it comes back: the last
 * word, while it is typed. */
enum { PREFIXES_TAIL = 4 };

/* For states of n, which is borrowed; n has states, max_bytes > 0. */
enum err_code prefixes_new(const struct net *n, size_t max_bytes, struct prefixes **out,
                           struct err *err) MUST_CHECK;
void prefixes_free(struct prefixes *p); /* NULL is fine */

/* True if every state serves one length only, so that texts had better be kept before
 * their last word as well. */
bool prefixes_by_length(const struct prefixes *p);

/* Makes `to`, a fresh state, the longest known one behind ids[0..k), k < n, so that at
 * least one token is left to feed. Returns k; at 0 `to` stays fresh. n > 0. */
size_t prefixes_find(struct prefixes *p, const int32_t *ids, size_t n,
                     struct net_state *to);

/* Keeps a copy of the state behind ids[0..n), n > 0. */
void prefixes_keep(struct prefixes *p, const int32_t *ids, size_t n,
                   const struct net_state *state);

void prefixes_counts(struct prefixes *p, struct seq_reuse *out);

#endif
