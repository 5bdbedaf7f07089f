/* Crew: lets one caller split a loop over workers that have nothing else to do.
 *
 * The scheduler's workers are the crew's members: while a worker waits for jobs it also
 * offers to assist (crew_assist). A worker that runs a forward pass posts loops with
 * crew_for; idle members take slices, the caller takes slices too, and crew_for returns
 * when all are done. With nobody idle the caller simply does everything, and a member
 * that has something better to do (crew_wake) leaves after its slice. Every iteration is
 * done by exactly one thread, so results must not depend on who did which (the kernels
 * promise that: one output element is always computed whole). */
#ifndef SEQ_BASE_CREW_H
#define SEQ_BASE_CREW_H

#include "model/base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct crew;

/* Does iterations first..last-1. Called concurrently with disjoint ranges. */
typedef void (*crew_fn)(void *arg, size_t first, size_t last);

enum err_code crew_new(struct crew **out, struct err *err) MUST_CHECK;
void crew_free(struct crew *c); /* nobody may be inside; NULL is fine */

/* Runs fn over 0..n-1, each of which takes about `ns` nanoseconds; only how the loop is
 * cut depends on that: large slices first, small ones last, so that all are done at about
 * the same time. c NULL: all here. Any worker thread, also from inside a slice. */
void crew_for(struct crew *c, size_t n, size_t ns, crew_fn fn, void *arg);

/* True while somebody would help with a loop; c NULL: nobody. A hint, soon outdated. */
bool crew_idle(const struct crew *c);

/* One idle member's turn: works on loops that are posted, and waits for them, until a
 * wake. `still_idle` is asked first, without locks held; false returns at once. Whatever
 * makes it false must be followed by a wake. */
void crew_assist(struct crew *c, bool (*still_idle)(void *arg), void *arg);

/* Makes every member inside crew_assist return: everything has changed, as at a stop. */
void crew_wake(struct crew *c);

/* Makes one of the members that wait return at least, and those that help after their
 * slice: there is something better to do for one of them. */
void crew_wake_one(struct crew *c);

#endif
