#include "server/api/prediction.h"

#include <math.h>

#include "server/api/token_json.h"

enum { NEXT_TOKENS = 5 };

static const struct doc_shape NEXT[] = {
    {"id", DOC_INTEGER, .help = "Its number in the vocabulary"},
    {"piece", DOC_STRING, .nullable = true, .help = "As tokenizer.json spells it"},
    {"text", DOC_STRING, .nullable = true,
     .help = "What it adds; null if no UTF-8 alone"},
    {"bytes", DOC_STRING, .optional = true, .help = "In place of text, in hexadecimal"},
    {"score", DOC_NUMBER, .help = "Probability"},
    {"logprob", DOC_NUMBER, .help = "Its natural logarithm"},
    {0}};

const struct doc_shape prediction_shape[] = {
    {"label", DOC_STRING, .optional = true, .help = "The label with the highest score"},
    {"score", DOC_NUMBER, .optional = true,
     .help = "Its score, as /v1/sentiment gives it"},
    {"scores", DOC_SCORES, .optional = true, .help = "Of all labels"},
    {"next", DOC_LIST, .optional = true, .of = NEXT,
     .help = "Of a language model: the likeliest tokens behind the text, or in its "
             "mask's place"},
    {0}};

void prediction_write_scores(struct json_writer *w, const struct seq_info *info,
                             const float *scores)
{
    size_t best = 0;
    for (size_t l = 1; l < info->n_labels; l++)
        if (scores[l] > scores[best])
            best = l;
    json_write_key_string(w, "label", info->labels[best]);
    json_write_key(w, "score");
    json_write_float(w, scores[best]);
    json_write_key(w, "scores");
    json_write_object(w);
    for (size_t l = 0; l < info->n_labels; l++) {
        json_write_key(w, info->labels[l]);
        json_write_float(w, scores[l]);
    }
    json_write_end(w);
}

static void write_next(struct json_writer *w, const struct model *m,
                       const float *logs /* [V] */)
{
    int32_t ids[NEXT_TOKENS];
    float best[NEXT_TOKENS];
    size_t n = m->info->vocab < NEXT_TOKENS ? m->info->vocab : NEXT_TOKENS;
    maps_top(m->info->vocab, n, logs, ids, best);
    json_write_key(w, "next");
    json_write_array(w);
    for (size_t i = 0; i < n; i++) {
        size_t bytes = 0;
        const char *own = seq_predicted_bytes(m->seq, ids[i], &bytes);
        json_write_object(w);
        json_write_key_uint(w, "id", (uint64_t)ids[i]);
        json_write_key(w, "piece");
        token_json_piece(w, m->seq, ids[i]);
        token_json_text(w, own ? own : "", own ? bytes : 0);
        json_write_key(w, "score");
        json_write_float(w, expf(best[i]));
        json_write_key(w, "logprob");
        json_write_float(w, best[i]);
        json_write_end(w);
    }
    json_write_end(w);
}

void prediction_write(struct json_writer *w, const struct model *m, const float *result)
{
    json_write_object(w);
    if (m->info->n_labels)
        prediction_write_scores(w, m->info, result);
    else
        write_next(w, m, result);
    json_write_end(w);
}
