/* Prediction: what a model says of a text, as the replies of inspection show it beside
 * what they are about. Pure; any thread. */
#ifndef SERVER_API_PREDICTION_H
#define SERVER_API_PREDICTION_H

#include "server/api/openapi.h"
#include "server/json_write.h"
#include "server/models.h"

extern const struct doc_shape prediction_shape[];

/* The object: of a classifier's scores [L] the best label and all of them; of a language
 * model's log probabilities [V] the best tokens. */
void prediction_write(struct json_writer *w, const struct model *m, const float *result);

/* Members of an object: the best label, its score, and those of all, [L]. */
void prediction_write_scores(struct json_writer *w, const struct seq_info *info,
                             const float *scores);

#endif
