/* Modules: how a folder of sentence-transformers makes one vector of a text's hidden
 * rows: modules.json, the config.json of its Pooling, and sentence_bert_config.json. A
 * folder without these files is taken to mean the usual: the mean of all rows, as it is.
 * What would make other vectors, as a Dense module does, is refused by name. One thread.
 */
#ifndef SEQ_LOAD_MODULES_H
#define SEQ_LOAD_MODULES_H

#include "model/base/err.h"
#include "model/base/problems.h"
#include "model/load/config.h"

#include <stdbool.h>
#include <stddef.h>

struct modules {
    bool given;           /* modules.json says how: the model was made for vectors */
    enum pooling pooling; /* POOL_MEAN, POOL_MAX, POOL_FIRST or POOL_LAST */
    bool normalize;       /* to the length 1 */
    size_t max_tokens;    /* of a text, special ones included; 0: as many as fit */
};

/* Of rows that are `width` wide. p: as in problems_take. ERR_IO, ERR_FORMAT,
 * ERR_UNSUPPORTED, ERR_MISMATCH, ERR_LIMIT, ERR_NOMEM. */
enum err_code modules_read(const char *dir, size_t width, struct problems *p,
                           struct modules *out, struct err *err) MUST_CHECK;

#endif
