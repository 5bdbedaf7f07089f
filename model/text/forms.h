/* Forms: Unicode normalization forms of aligned texts, as the `tokenizers` library aligns
 * them: a composed character stands for the first of its sources only, a decomposed one's
 * parts for the whole. Any thread. */
#ifndef SEQ_TEXT_FORMS_H
#define SEQ_TEXT_FORMS_H

#include "model/base/err.h"
#include "model/text/aligned.h"

#include <stdint.h>

enum form { FORM_C, FORM_D, FORM_KC, FORM_KD };

/* Appends the form of `in` to *out. A character that is added before all others stands
 * for nothing, at byte `origin` of the original. Linear. ERR_NOMEM, ERR_LIMIT. */
enum err_code form_apply(enum form form, const struct aligned *in, uint32_t origin,
                         struct aligned *out, struct err *err) MUST_CHECK;

#endif
