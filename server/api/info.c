#include "server/api/info.h"

#include "server/json_write.h"
#include "server/server.h"

#include <stdio.h>
#include <string.h>

static const struct doc_shape INFO[] = {
    {"model_id", DOC_STRING, .help = "Of the first of --default-models"},
    {"model_sha", DOC_STRING, .nullable = true, .help = "null"},
    {"served_model_name", DOC_STRING, .help = "The same as model_id"},
    {"model_dtype", DOC_STRING,
     .help = "What its weights count as: float32, bfloat16 or int8"},
    {"model_device_type", DOC_STRING, .help = "cpu"},
    {"model_type", DOC_ANY,
     .help = "{\"classifier\":{\"id2label\",\"label2id\"}}, with a single label "
             "{\"reranker\":..}, else {\"embedding\":{\"pooling\"}}"},
    {"model_pipeline_tag", DOC_STRING,
     .help = "text-classification, text-generation, fill-mask or feature-extraction"},
    {"max_concurrent_requests", DOC_INTEGER, .help = "--queue-limit"},
    {"max_input_length", DOC_INTEGER, .help = "Most tokens of one text"},
    {"max_input_tokens", DOC_INTEGER, .help = "The same"},
    {"max_total_tokens", DOC_INTEGER, .help = "With those that continue it"},
    {"max_batch_tokens", DOC_INTEGER, .help = "--batch-tokens"},
    {"max_batch_requests", DOC_INTEGER, .help = "--batch-jobs"},
    {"max_client_batch_size", DOC_INTEGER, .help = "--max-texts"},
    {"max_stop_sequences", DOC_INTEGER, .help = "Of one generation"},
    {"auto_truncate", DOC_BOOLEAN, .help = "true: what says nothing about it is cut"},
    {"tokenization_workers", DOC_INTEGER, .help = "Computing threads"},
    {"validation_workers", DOC_INTEGER, .help = "--http-threads"},
    {"router", DOC_STRING, .help = "seqd"},
    {"version", DOC_STRING, .help = "Of seqd"},
    {"sha", DOC_STRING, .nullable = true, .help = "null"},
    {"docker_label", DOC_STRING, .nullable = true, .help = "null"},
    {0}};

const struct route_doc info_doc = {
    .name = "info",
    .reply = INFO,
    .more = "These clients know servers of one model: told is the first of "
            "--default-models, or of the order of loading. GET /v1/models tells all."};

static const struct doc_shape VERSION[] = {{"version", DOC_STRING, .help = "Of seqd"},
                                           {0}};

const struct route_doc info_version_doc = {.name = "version", .reply = VERSION};

/* ---- the model ------------------------------------------------------------------- */

static const char *dtype_of(const struct seq_info *info)
{
    if (strcmp(info->precision, "f32") == 0)
        return "float32";
    return strcmp(info->precision, "bf16") == 0 ? "bfloat16" : info->precision;
}

static const char *pipeline_of(const struct seq_info *info)
{
    if (info->tasks & SEQ_CLASSIFY)
        return "text-classification";
    if (info->tasks & SEQ_NEXT_WORD)
        return info->mask_token ? "fill-mask" : "text-generation";
    return "feature-extraction";
}

static void write_labels(struct json_writer *w, const struct seq_info *info)
{
    char id[24];
    json_write_key(w, "id2label");
    json_write_object(w);
    for (size_t i = 0; i < info->n_labels; i++) {
        snprintf(id, sizeof id, "%zu", i);
        json_write_key_string(w, id, info->labels[i]);
    }
    json_write_end(w);
    json_write_key(w, "label2id");
    json_write_object(w);
    for (size_t i = 0; i < info->n_labels; i++)
        json_write_key_uint(w, info->labels[i], i);
    json_write_end(w);
}

static void write_type(struct json_writer *w, const struct seq_info *info)
{
    bool labels = info->tasks & SEQ_CLASSIFY;
    json_write_key(w, "model_type");
    json_write_object(w);
    json_write_key(w, !labels               ? "embedding"
                      : info->n_labels == 1 ? "reranker"
                                            : "classifier");
    json_write_object(w);
    if (labels)
        write_labels(w, info);
    else
        json_write_key_string(w, "pooling", info->vector_pooling);
    json_write_end(w);
    json_write_end(w);
}

static void write_model(struct json_writer *w, const struct model *m)
{
    json_write_key_string(w, "model_id", m->name);
    json_write_key_string(w, "model_sha", NULL);
    json_write_key_string(w, "served_model_name", m->name);
    json_write_key_string(w, "model_dtype", dtype_of(m->info));
    json_write_key_string(w, "model_device_type", "cpu");
    write_type(w, m->info);
    json_write_key_string(w, "model_pipeline_tag", pipeline_of(m->info));
}

/* ---- the server ------------------------------------------------------------------ */

static void write_limits(struct json_writer *w, const struct options *o,
                         const struct seq_info *info)
{
    uint64_t most = info->context ? info->context : (uint64_t)o->max_tokens;
    json_write_key_uint(w, "max_concurrent_requests", (uint64_t)o->queue_limit);
    json_write_key_uint(w, "max_input_length", most);
    json_write_key_uint(w, "max_input_tokens", most);
    json_write_key_uint(w, "max_total_tokens", most);
    json_write_key_uint(w, "max_batch_tokens", (uint64_t)o->batch_tokens);
    json_write_key_uint(w, "max_batch_requests", (uint64_t)o->batch_jobs);
    json_write_key_uint(w, "max_client_batch_size", (uint64_t)o->max_texts);
    json_write_key_uint(w, "max_stop_sequences", SEQ_STOPS_MAX);
    json_write_key_bool(w, "auto_truncate", true);
    json_write_key_uint(w, "tokenization_workers", options_workers(o));
    json_write_key_uint(w, "validation_workers", (uint64_t)o->http_threads);
}

static enum err_code hand_over(struct json_writer *w, struct answer *out, struct err *err)
{
    buf_put(&w->buf, "\n", 1);
    if (w->buf.failed) {
        json_write_done(w);
        return err_set(err, ERR_NOMEM, "out of memory for the reply");
    }
    reply_take_json(&out->reply, w);
    return ERR_OK;
}

enum err_code info_handle(struct server *s, const struct request *q, struct answer *out,
                          struct err *err)
{
    (void)q;
    struct json_writer w = {0};
    const struct model *m = &s->models->at[s->models->preferred[0]];
    json_write_object(&w);
    write_model(&w, m);
    write_limits(&w, s->options, m->info);
    json_write_key_string(&w, "router", "seqd");
    json_write_key_string(&w, "version", SEQD_VERSION);
    json_write_key_string(&w, "sha", NULL);
    json_write_key_string(&w, "docker_label", NULL);
    json_write_end(&w);
    return hand_over(&w, out, err);
}

enum err_code info_version(struct server *s, const struct request *q, struct answer *out,
                           struct err *err)
{
    (void)s, (void)q;
    struct json_writer w = {0};
    json_write_object(&w);
    json_write_key_string(&w, "version", SEQD_VERSION);
    json_write_end(&w);
    return hand_over(&w, out, err);
}
