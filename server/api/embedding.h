/* Embedding: one vector per text, as all dialects ask for them: requests of all of them
 * share batches. Results come as struct text_result's values, as many as the request's
 * `vector` asks for. */
#ifndef SERVER_API_EMBEDDING_H
#define SERVER_API_EMBEDDING_H

#include "server/api/texts.h"

extern const struct text_task embedding_task;
extern const struct job_kind embedding_kind;

/* Before texts_prepare: chooses the request's model, unless it has one, and asks for the
 * first `dimensions` numbers of its vectors, 0: all. ERR_INPUT, naming dimensions, if
 * there are fewer; those of models_choose. */
enum err_code embedding_choose(const struct server *s, struct text_job *job,
                               int64_t dimensions, struct err *err) MUST_CHECK;

/* How `inputs`, or what `field` is called, names text i. */
void embedding_name(const char *field, const struct json_prompts *inputs, size_t i,
                    char param[ERR_PARAM_BYTES]);

/* The vector as a list of numbers. */
void embedding_write(struct json_writer *w, const struct text_result *r);

#endif
