/* Attention_request: the body of POST /v1/attention, read and checked as far as that
 * needs no tokens. The table of its fields is the grammar; openapi.json shows it. Any
 * thread. */
#ifndef SERVER_API_ATTENTION_REQUEST_H
#define SERVER_API_ATTENTION_REQUEST_H

#include "model/seq.h"
#include "server/api/input.h"
#include "server/api/map_format.h"
#include "server/json_read.h"
#include "server/models.h"
#include "server/route.h"

#include <stdbool.h>
#include <stdint.h>

enum attention_layers_by { LAYERS_NONE, LAYERS_MEAN, LAYERS_MAX, LAYERS_ROLLOUT };
enum attention_specials { SPECIALS_KEEP, SPECIALS_DROP, SPECIALS_DROP_RENORMALIZE };
enum { ATTENTION_MAX_TOKENS = 1024 };

struct attention_request {
    struct json_text model;
    struct input input;
    struct json_ints layers, heads, queries;
    struct json_ints select; /* layer, head, layer, head, ... */
    int kind;                /* enum seq_map */
    int heads_by;            /* enum maps_reduce */
    int layers_by;           /* enum attention_layers_by */
    int tokens_by;           /* 1: words */
    int specials;            /* enum attention_specials */
    int encoding, dtype;     /* enum map_encoding, enum map_dtype */
    int64_t pool, top_k;     /* 0: not asked for */
    int64_t max_tokens;      /* to generate, 0: none */
    int64_t decimals;
    double min_weight;
    bool metrics, predict;
};

extern const char *const ATTENTION_KINDS[]; /* by enum seq_map */

/* Reads the body; on failure nothing is left in *r. Also what q's Accept header says of
 * the encoding, unless the body does. ERR_FORMAT, ERR_INPUT and the like of json_read. */
enum err_code attention_request_read(const struct request *q, struct attention_request *r,
                                     struct err *err) MUST_CHECK;
void attention_request_done(struct attention_request *r);

/* Whether the fields go together, and with this model; ERR_INPUT names the one that does
 * not. */
enum err_code attention_request_check(const struct attention_request *r,
                                      const struct model *m, struct err *err) MUST_CHECK;

#endif
