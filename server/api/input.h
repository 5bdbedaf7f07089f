/* Input: what an inspection is about: one text, a pair of texts, or tokens by their ids;
 * its fields in requests, and its tokens. */
#ifndef SERVER_API_INPUT_H
#define SERVER_API_INPUT_H

#include "model/seq.h"
#include "server/api/token_list.h"
#include "server/job.h"
#include "server/json_read.h"
#include "server/models.h"
#include "server/server.h"

#include <stdbool.h>

/* A member of a request's struct; `truncate` is true unless the request says otherwise.
 */
struct input {
    struct json_text text, text_pair;
    struct json_ints ids;
    int offset_unit; /* enum utf8_unit */
    bool truncate;
};

extern const char *const INPUT_UNITS[];  /* of offsets, by enum utf8_unit */
extern const char *const INPUT_ONE_OF[]; /* of these fields one is given */

/* The rows of a table of fields whose struct `holder` has the input as `member`. */
#define INPUT_FIELDS(holder, member)                                                     \
    {.name = "text",                                                                     \
     .type = JSON_FIELD_TEXT,                                                            \
     .offset = offsetof(struct holder, member.text),                                     \
     .help = "The text; either this or input_ids"},                                      \
        {.name = "text_pair",                                                            \
         .type = JSON_FIELD_TEXT,                                                        \
         .offset = offsetof(struct holder, member.text_pair),                            \
         .help =                                                                         \
             "A second text, for models that read two as one (pairs in /v1/models)"},    \
        {.name = "input_ids",                                                            \
         .type = JSON_FIELD_IDS,                                                         \
         .offset = offsetof(struct holder, member.ids),                                  \
         .min = 1,                                                                       \
         .help = "Tokens by their numbers, read as they are, nothing added"},            \
        {.name = "offset_unit",                                                          \
         .type = JSON_FIELD_CHOICE,                                                      \
         .offset = offsetof(struct holder, member.offset_unit),                          \
         .choices = INPUT_UNITS,                                                         \
         .help = "What start and end count, default byte; utf16 for JavaScript"},        \
    {                                                                                    \
        .name = "truncate", .type = JSON_FIELD_BOOL,                                     \
        .offset = offsetof(struct holder, member.truncate),                              \
        .help = "false refuses a text longer than the model reads (413), true, the "     \
                "default, cuts it"                                                       \
    }

/* Exactly one of text and ids is given, and a second text only to models that take one.
 * ERR_FORMAT, ERR_INPUT. */
enum err_code input_check(const struct input *in, const struct model *m,
                          struct err *err) MUST_CHECK;

/* About how many tokens it has, before they are known. */
size_t input_cost(const struct input *in);

/* Its tokens as the job's model reads them for `task`, at most --max-tokens, into *out;
 * also the job's figures and, on failure, its error. */
enum err_code input_tokens(const struct input *in, const struct server *s,
                           enum seq_task task, struct job *job,
                           struct seq_tokens *out) MUST_CHECK;

/* For the list of tokens in a reply, all of them the input's. */
struct token_source input_source(const struct input *in, const struct model *m,
                                 const struct seq_tokens *tokens);

#endif
