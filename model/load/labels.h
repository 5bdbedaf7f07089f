/* Labels: the classes of a classifier head, from config.json: id2label, num_labels and
 * problem_type. Private to model/load/config*.c. */
#ifndef SEQ_LOAD_LABELS_H
#define SEQ_LOAD_LABELS_H

#include "model/base/err.h"
#include "model/load/config.h"

#include <jansson.h>

/* Fills n_labels, labels and problem of *c. As in transformers, without id2label the
 * names are LABEL_0, LABEL_1, ..., and without num_labels too there are two. Partly
 * filled on failure: config_done cleans up. ERR_FORMAT, ERR_MISMATCH, ERR_UNSUPPORTED,
 * ERR_NOMEM. */
enum err_code labels_read(const json_t *root, const char *where, struct config *c,
                          struct err *err) MUST_CHECK;

#endif
