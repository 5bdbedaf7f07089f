#include "server/api/input.h"

#include <stdio.h>

#include "server/api/texts.h"
#include "server/clock.h"

const char *const INPUT_UNITS[] = {[UTF8_BYTES] = "byte",
                                   [UTF8_CODE_POINTS] = "codepoint",
                                   [UTF16_UNITS] = "utf16",
                                   NULL};
const char *const INPUT_ONE_OF[] = {"text", "input_ids", NULL};

enum err_code input_check(const struct input *in, const struct model *m, struct err *err)
{
    if (!in->text.at && !in->ids.at)
        return err_param(err, ERR_FORMAT, "text", "\"text\" or \"input_ids\" is missing");
    if (in->text.at && in->ids.at)
        return err_param(err, ERR_FORMAT, "input_ids",
                         "\"text\" and \"input_ids\" are given; one of them goes");
    if (in->text_pair.at && !in->text.at)
        return err_param(err, ERR_FORMAT, "text_pair", "\"text_pair\" needs \"text\"");
    return in->text_pair.at ? texts_check_pairs(m, "text_pair", err) : ERR_OK;
}

size_t input_cost(const struct input *in)
{
    return (in->text.n + in->text_pair.n) / 3 + in->ids.n + 1;
}

static enum err_code read_ids(const struct json_ints *wanted, const struct seq_model *m,
                              struct seq_tokens *out, struct err *err)
{
    int32_t *ids = mem_alloc(wanted->n, sizeof *ids);
    if (!ids)
        return err_set(err, ERR_NOMEM, "out of memory for \"input_ids\"");
    for (size_t i = 0; i < wanted->n; i++)
        ids[i] =
            wanted->at[i] < 0 || wanted->at[i] > INT32_MAX ? -1 : (int32_t)wanted->at[i];
    enum err_code code = seq_tokens_of_ids(m, ids, wanted->n, out, err);
    mem_free(ids);
    if (code != ERR_OK && err->param[0]) { /* "ids[3]", which we call otherwise */
        char param[ERR_PARAM_BYTES];
        snprintf(param, sizeof param, "input_%.*s", (int)sizeof param - 7, err->param);
        snprintf(err->param, sizeof err->param, "%s", param);
    }
    return code;
}

static enum err_code tokenize(const struct input *in, const struct seq_model *m,
                              enum seq_task task, struct seq_tokens *out, struct err *err)
{
    const struct json_text *text = &in->text, *pair = &in->text_pair;
    enum seq_keep keep = in->truncate ? SEQ_KEEP_USUAL : SEQ_WHOLE;
    if (in->ids.at)
        return read_ids(&in->ids, m, out, err);
    if (pair->at)
        return seq_tokenize_pair(m, text->at, text->n, pair->at, pair->n, keep, out, err);
    return seq_tokenize(m, task, text->at, text->n, keep, out, err);
}

enum err_code input_tokens(const struct input *in, const struct server *s,
                           enum seq_task task, struct job *job, struct seq_tokens *out)
{
    uint64_t start = clock_us();
    size_t most = (size_t)s->options->max_tokens;
    enum err_code code = tokenize(in, job->model->seq, task, out, &job->err);
    if (code == ERR_OK && out->n > most)
        code = err_param(&job->err, ERR_LIMIT, in->text.at ? "text" : "input_ids",
                         "more than %zu tokens in one request (--max-tokens)", most);
    job->n_texts = 1;
    job->n_tokens = out->n;
    job->tokenize_us = clock_us() - start;
    return code;
}

struct token_source input_source(const struct input *in, const struct model *m,
                                 const struct seq_tokens *tokens)
{
    return (struct token_source){.m = m->seq,
                                 .text = in->text,
                                 .pair = in->text_pair,
                                 .tokens = tokens,
                                 .n_text = tokens->n,
                                 .unit = (enum utf8_unit)in->offset_unit};
}
