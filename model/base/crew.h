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

/* Runs fn over 0..n-1 in slices of `grain` iterations. c NULL: all here. Any worker
 * thread, also from inside a slice. */
void crew_for(struct crew *c, size_t n, size_t grain, crew_fn fn, void *arg);

/* True while somebody would help with a loop; c NULL: nobody. A hint, soon outdated. */
bool crew_idle(const struct crew *c);

/* One idle member's turn: waits until a loop is posted or until crew_wake, and works on
 * the loop if there is one. Returns when there is nothing (more) to do for this turn.
 * `still_idle` is asked, without locks held, before sleeping; false returns at once. */
void crew_assist(struct crew *c, bool (*still_idle)(void *arg), void *arg);

/* Makes every member inside crew_assist return; called when a job or a stop arrives. */
void crew_wake(struct crew *c);

#endif
