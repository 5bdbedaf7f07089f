/* Tokenizer_steps: the components of tokenizer.json (model, normalizer, pre_tokenizer,
 * post_processor, decoder), read into a plan. Private to model/load/tokenizer_*.c. */
#ifndef SEQ_LOAD_TOKENIZER_STEPS_H
#define SEQ_LOAD_TOKENIZER_STEPS_H

#include "model/base/problems.h"
#include "model/load/tokenizer_json.h"

#include <jansson.h>

/* The tree of dir/tokenizer.json. ERR_IO, ERR_FORMAT, ERR_LIMIT, ERR_NOMEM. */
enum err_code plan_read_tree(const char *dir, json_t **out, struct err *err) MUST_CHECK;
/* A plan from such a tree; *out must be zeroed. With a sink, what is wrong with each
 * component is told; the plan has holes then. */
enum err_code plan_read(const json_t *root, struct problems *problems,
                        struct tokenizer_plan *out, struct err *err) MUST_CHECK;

/* Memory that lives as long as the plan, zero filled; NULL if there is none. */
void *plan_alloc(struct tokenizer_plan *p, size_t count, size_t size);

/* A copy of a JSON string in the plan. ERR_NOMEM. */
enum err_code plan_keep(struct tokenizer_plan *p, const json_t *string,
                        struct plan_text *out, struct err *err) MUST_CHECK;

/* The same for n bytes. */
enum err_code plan_keep_bytes(struct tokenizer_plan *p, const char *s, size_t n,
                              struct plan_text *out, struct err *err) MUST_CHECK;

/* Components in order: borrowed from the tree. */
struct plan_components {
    const json_t *at[PLAN_MAX_STEPS];
    size_t n;
};

/* Appends the components of `value` to *out; Sequences, which keep their members under
 * `list_key`, are unrolled. Depth is bounded by the JSON's. ERR_FORMAT, ERR_LIMIT. */
enum err_code plan_unroll(const json_t *value, const char *where, const char *list_key,
                          struct plan_components *out, struct err *err) MUST_CHECK;

/* Each reads a whole component: `root`'s model, or `value`, null and absent included. */
enum err_code plan_model(struct tokenizer_plan *p, const json_t *root,
                         struct err *err) MUST_CHECK;
enum err_code plan_normalizers(struct tokenizer_plan *p, const json_t *value,
                               struct err *err) MUST_CHECK;
enum err_code plan_splitters(struct tokenizer_plan *p, const json_t *value,
                             struct err *err) MUST_CHECK;
enum err_code plan_decoders(struct tokenizer_plan *p, const json_t *value,
                            struct err *err) MUST_CHECK;
enum err_code plan_post(struct tokenizer_plan *p, const json_t *value,
                        struct err *err) MUST_CHECK;

#endif
