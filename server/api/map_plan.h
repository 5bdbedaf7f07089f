/* Map_plan: from a checked request and the tokens to what exactly is computed and what
 * comes out: which heads of which layers, what each row and key stands for, the shape,
 * how many numbers that are and what rows sum to. Made before any computing, so that a
 * request can be refused by its size. One owner; request, model and tokens are borrowed.
 */
#ifndef SERVER_API_MAP_PLAN_H
#define SERVER_API_MAP_PLAN_H

#include "server/api/attention_request.h"
#include "server/api/selection.h"

enum { MAP_AXES = 4 };

struct map_plan {
    const struct attention_request *ask;
    const struct seq_info *info;
    const struct seq_tokens *tokens; /* all of them were fed */
    size_t T;                        /* of tokens */
    bool pooling;                    /* rows are hops, there is no query axis */

    /* What is taken down of each layer. */
    struct selection layers, heads; /* by "layers" and "heads"; empty with "select" */
    size_t n_slots;                 /* most heads of one layer */
    long *slot; /* [layers*heads of the model] where a head goes among those of its layer,
                   SELECTION_NONE: not wanted */
    size_t *piece;   /* [layers*n_slots] which of the maps below a slot is */
    size_t n_pieces; /* chosen heads in all */
    size_t n_layers; /* the pass may end behind so many */
    bool whole;      /* all rows are taken down, not only the chosen queries */
    bool nothing;    /* no row is wanted at all */

    /* What comes out: n_maps maps of n_rows by n_keys. Their rows and keys are picked
     * from units, which are tokens or words. */
    size_t *word;            /* [T] unit of each token, NULL: units are tokens */
    size_t n_units;          /* T, or the number of words */
    size_t *first;           /* [n_units+1] first token of each unit */
    size_t *row_at, *key_at; /* [n_rows],[n_keys] units, as they are before pooling */
    bool picks;              /* these are not simply all units in order */
    long *place;             /* [n_units] where in row_at a unit is, or SELECTION_NONE */
    size_t n_rows, n_keys;
    size_t pool;  /* rows and keys of a thumbnail, 0: none are made */
    bool sparse;  /* of each row only the largest come out: */
    float least;  /* no smaller ones, 0: whatever they are */
    size_t top_k; /* at most so many, with a least weight as many as can reach it */
    size_t n_maps;
    size_t n_axes;
    struct map_axis axes[MAP_AXES]; /* the last is the keys', or the k of a row */
};

/* ERR_INPUT for selections that name what is not there, as selection_init; ERR_NOMEM. */
enum err_code map_plan_init(struct map_plan *p, const struct attention_request *ask,
                            const struct model *m, const struct seq_tokens *tokens,
                            struct err *err) MUST_CHECK;
void map_plan_done(struct map_plan *p);

/* Numbers in the reply, and floats in memory while the pass runs; SIZE_MAX stands for
 * more than can be said. */
size_t map_plan_values(const struct map_plan *p);
size_t map_plan_floats(const struct map_plan *p);

/* Rows and keys of the map that come out, before top_k. */
size_t map_plan_out_rows(const struct map_plan *p);
size_t map_plan_out_keys(const struct map_plan *p);

/* True if every row sums to 1 as far as the request goes. `tolerance` gets how exactly in
 * float arithmetic, `rounding` what the encoding changes at most. */
bool map_plan_row_sum(const struct map_plan *p, double *tolerance, double *rounding);

#endif
