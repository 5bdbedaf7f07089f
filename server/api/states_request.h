/* States_request: the body of POST /v1/states, read and checked as far as that needs no
 * tokens. The table of its fields is the grammar; openapi.json shows it. Any thread. */
#ifndef SERVER_API_STATES_REQUEST_H
#define SERVER_API_STATES_REQUEST_H

#include "server/api/input.h"
#include "server/api/map_format.h"
#include "server/json_read.h"
#include "server/models.h"
#include "server/route.h"

#include <stdbool.h>
#include <stdint.h>

/* By what the units are ranked of which the first few are shown. */
enum states_by {
    STATES_BY_VARIANCE,
    STATES_BY_ABS_MEAN,
    STATES_BY_DELTA,
    STATES_BY_CORR_OUTPUT
};

struct states_request {
    struct json_text model;
    struct input input;
    struct json_ints layers, steps, units; /* units: neither list nor word: the top */
    struct json_texts signals, directions;
    int64_t top;
    int by;              /* enum states_by */
    int64_t step_top;    /* tokens of each step's prediction, -1: none are asked for */
    int64_t lens_top;    /* of each row of the lens, likewise */
    int encoding, dtype; /* enum map_encoding, enum map_dtype */
    int64_t decimals;
    bool stats, predict;
};

/* What a model can be asked for besides its states. */
bool states_tells_next(const struct seq_info *info);  /* a token for every step */
bool states_tells_score(const struct seq_info *info); /* labels for every step */

/* As attention_request_read and attention_request_check. */
enum err_code states_request_read(const struct request *q, struct states_request *r,
                                  struct err *err) MUST_CHECK;
void states_request_done(struct states_request *r);
enum err_code states_request_check(const struct states_request *r, const struct model *m,
                                   struct err *err) MUST_CHECK;

#endif
