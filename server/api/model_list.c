#include "server/api/model_list.h"

#include "server/json_write.h"
#include "server/server.h"

static const char *const MASKS[] = {[SEQ_MASK_CAUSAL] = "causal",
                                    [SEQ_MASK_FULL] = "full",
                                    [SEQ_MASK_POOLING] = "pooling"};

static const char *const SCORES[] = {[SEQ_SCORES_SOFTMAX] = "softmax",
                                     [SEQ_SCORES_SIGMOID] = "sigmoid",
                                     [SEQ_SCORES_RAW] = "raw"};

static const struct doc_shape MAPS[] = {
    {"mask", DOC_STRING, .help = "causal, full or pooling"},
    {"layers", DOC_INTEGER, .help = "That have maps"},
    {"heads", DOC_INTEGER, .help = "Or hops of attention pooling"},
    {0}};

static const struct doc_shape VECTORS[] = {
    {"dimensions", DOC_INTEGER, .help = "How many numbers"},
    {"pooling", DOC_STRING, .help = "Of hidden rows: mean, max, cls or last_token"},
    {"normalized", DOC_BOOLEAN, .help = "Of length 1 by the folder's own account"},
    {"context", DOC_INTEGER, .nullable = true, .help = "As above, of a text for vectors"},
    {"trained", DOC_BOOLEAN,
     .help = "The model was made for them: modules.json is there"},
    {0}};

static const struct doc_shape MODEL[] = {
    {"id", DOC_STRING, .help = "The name requests use: the folder's name"},
    {"object", DOC_STRING, .help = "model"},
    {"created", DOC_INTEGER, .help = "When its config.json was written, Unix time"},
    {"owned_by", DOC_STRING, .help = "seqd"},
    {"architecture", DOC_STRING, .help = "As its config.json says"},
    {"family", DOC_STRING, .help = "lstm, gru, rnn, or its model_type: gpt2, bert, ..."},
    {"tasks", DOC_STRINGS,
     .help = "What it serves: next-word, sentiment, embeddings, attention, states, "
             "importance"},
    {"default_for", DOC_STRINGS, .help = "Of these, where requests naming no model go"},
    {"parameters", DOC_INTEGER, .help = "How many weights"},
    {"context", DOC_INTEGER, .nullable = true,
     .help = "Most tokens of one text; null = any number"},
    {"vocabulary", DOC_INTEGER, .help = "How many tokens it knows"},
    {"width", DOC_INTEGER, .help = "Of its hidden states"},
    {"layers", DOC_INTEGER, .help = "Of the whole net"},
    {"labels", DOC_STRINGS, .help = "Of a classifier"},
    {"scores", DOC_STRING, .nullable = true,
     .help = "Of a classifier: softmax, sigmoid (each of its own) or raw (a regression)"},
    {"pairs", DOC_BOOLEAN, .help = "Reads two texts as one: text and text_pair"},
    {"mask_token", DOC_STRING, .nullable = true,
     .help =
         "What a text for next-word holds where a masked model's word is wanted; null "
         "for models that predict what follows the text"},
    {"word_level", DOC_BOOLEAN, .help = "One token is one word"},
    {"attention", DOC_OBJECT, .nullable = true, .of = MAPS, .help = "Its maps, if any"},
    {"embeddings", DOC_OBJECT, .of = VECTORS, .help = "Its vectors of texts"},
    {"dtype", DOC_STRING, .help = "Of the weights in the file"},
    {"kernels", DOC_STRING, .help = "Variant that computes"},
    {"precision", DOC_STRING, .help = "What the weights count as: f32, bf16 or int8"},
    {"file_bytes", DOC_INTEGER, .help = "Size of the weights on disk"},
    {"resident_bytes", DOC_INTEGER, .help = "Memory its weights take"},
    {"load_ms", DOC_NUMBER, .help = "How long loading took"},
    {0}};

static const struct doc_shape LIST[] = {
    {"object", DOC_STRING, .help = "list"},
    {"data", DOC_LIST, .of = MODEL, .help = "In the order of loading"},
    {0}};

const struct route_doc model_list_doc = {
    .name = "models", .reply = LIST, .names = "model", .names_at = "/data/0/id"};
const struct route_doc model_list_one_doc = {.name = "model", .reply = MODEL};

static void write_tasks(struct json_writer *w, const struct server *s,
                        const struct model *m, bool only_default)
{
    json_write_array(w);
    for (const struct models_task *t = MODELS_TASKS; t < MODELS_TASKS + MODELS_TASKS_N;
         t++)
        if (m->info->tasks & (unsigned)t->task && (!t->inspects || s->options->inspect) &&
            (!only_default || models_default(s->models, t->task) == m))
            json_write_string(w, t->name);
    json_write_end(w);
}

static void write_maps(struct json_writer *w, const struct seq_info *info)
{
    json_write_key(w, "attention");
    if (!(info->tasks & SEQ_ATTENTION)) {
        json_write_null(w);
        return;
    }
    json_write_object(w);
    json_write_key_string(w, "mask", MASKS[info->mask]);
    json_write_key_uint(w, "layers", info->n_map_layers);
    json_write_key_uint(w, "heads", info->n_map_heads);
    json_write_end(w);
}

static void write_context(struct json_writer *w, size_t context)
{
    json_write_key(w, "context");
    if (context)
        json_write_uint(w, context);
    else
        json_write_null(w);
}

static void write_vectors(struct json_writer *w, const struct seq_info *info)
{
    json_write_key(w, "embeddings");
    json_write_object(w);
    json_write_key_uint(w, "dimensions", info->vector_width);
    json_write_key_string(w, "pooling", info->vector_pooling);
    json_write_key_bool(w, "normalized", info->vector_unit);
    write_context(w, info->vector_context);
    json_write_key_bool(w, "trained", info->vector_model);
    json_write_end(w);
}

static void write_model(struct json_writer *w, const struct server *s,
                        const struct model *m)
{
    const struct seq_info *info = m->info;
    json_write_object(w);
    json_write_key_string(w, "id", m->name);
    json_write_key_string(w, "object", "model");
    json_write_key_uint(w, "created", m->created);
    json_write_key_string(w, "owned_by", "seqd");
    json_write_key_string(w, "architecture", info->architecture);
    json_write_key_string(w, "family", info->family);
    json_write_key(w, "tasks");
    write_tasks(w, s, m, false);
    json_write_key(w, "default_for");
    write_tasks(w, s, m, true);
    json_write_key_uint(w, "parameters", info->n_params);
    write_context(w, info->context);
    json_write_key_uint(w, "vocabulary", info->vocab);
    json_write_key_uint(w, "width", info->width);
    json_write_key_uint(w, "layers", info->n_layers);
    json_write_key(w, "labels");
    json_write_array(w);
    for (size_t i = 0; i < info->n_labels; i++)
        json_write_string(w, info->labels[i]);
    json_write_end(w);
    json_write_key_string(w, "scores",
                          info->tasks & SEQ_CLASSIFY ? SCORES[info->scores] : NULL);
    json_write_key_bool(w, "pairs", info->pairs);
    json_write_key_string(w, "mask_token", info->mask_token);
    json_write_key_bool(w, "word_level", info->word_level);
    write_maps(w, info);
    write_vectors(w, info);
    json_write_key_string(w, "dtype", info->dtype);
    json_write_key_string(w, "kernels", info->kernels);
    json_write_key_string(w, "precision", info->precision);
    json_write_key_uint(w, "file_bytes", info->file_bytes);
    json_write_key_uint(w, "resident_bytes", info->resident_bytes);
    json_write_key_fixed(w, "load_ms", (double)m->load_us * 1e-3, 3);
    json_write_end(w);
}

static enum err_code hand_over(struct json_writer *w, struct answer *out, struct err *err)
{
    buf_put(&w->buf, "\n", 1);
    if (w->buf.failed) {
        json_write_done(w);
        return err_set(err, ERR_NOMEM, "out of memory for the list of models");
    }
    reply_take_json(&out->reply, w);
    return ERR_OK;
}

enum err_code model_list_handle(struct server *s, const struct request *q,
                                struct answer *out, struct err *err)
{
    (void)q;
    struct json_writer w = {0};
    json_write_object(&w);
    json_write_key_string(&w, "object", "list");
    json_write_key(&w, "data");
    json_write_array(&w);
    for (size_t i = 0; i < s->models->n; i++)
        write_model(&w, s, &s->models->at[i]);
    json_write_end(&w);
    json_write_end(&w);
    return hand_over(&w, out, err);
}

enum err_code model_list_one_handle(struct server *s, const struct request *q,
                                    struct answer *out, struct err *err)
{
    struct json_writer w = {0};
    const struct model *m = models_find(s->models, q->args[0].at, q->args[0].n);
    if (!m)
        return err_param(err, ERR_NOT_FOUND, "model",
                         "no model is named \"%.*s\"; GET /v1/models lists them",
                         q->args[0].n < 80 ? (int)q->args[0].n : 80, q->args[0].at);
    write_model(&w, s, m);
    return hand_over(&w, out, err);
}
