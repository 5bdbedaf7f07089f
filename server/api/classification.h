/* Classification: the scores of texts for every label, as all dialects ask for them:
 * requests of all of them share batches. Results come as struct text_result's values,
 * [n_labels], in the activation that the request asked for. */
#ifndef SERVER_API_CLASSIFICATION_H
#define SERVER_API_CLASSIFICATION_H

#include "server/api/texts.h"

extern const struct text_task classification_task;
extern const struct job_kind classification_kind;

#endif
