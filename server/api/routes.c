#include "server/api/attention.h"
#include "server/api/completions.h"
#include "server/api/embed.h"
#include "server/api/embeddings.h"
#include "server/api/explain.h"
#include "server/api/importance.h"
#include "server/api/info.h"
#include "server/api/model_list.h"
#include "server/api/next_word.h"
#include "server/api/oip.h"
#include "server/api/oip_infer.h"
#include "server/api/openapi.h"
#include "server/api/page.h"
#include "server/api/probes.h"
#include "server/api/sentiment.h"
#include "server/api/sessions.h"
#include "server/api/states.h"
#include "server/server.h"

/* The one table of routes; those that look inside models come last. */
static const struct route ROUTES[] = {
    {"POST", "/v1/next-word", next_word_handle,
     "The likeliest next words or tokens of a text", .doc = &next_word_doc},
    {"POST", "/v1/sentiment", sentiment_handle, "Scores of a text for every label",
     .doc = &sentiment_doc},
    {"POST", "/v1/completions", completions_handle, "Texts that continue a prompt",
     .doc = &completions_doc},
    {"POST", "/v1/embeddings", embeddings_handle, "A vector for each text",
     .doc = &embeddings_doc},
    {"POST", "/embed", embed_handle, "A vector for each text, as TEI's clients ask",
     .doc = &embed_doc, .dialect = DIALECT_TEI},
    {"POST", "/v1/sessions", sessions_create, "A sequence that is kept to go on from",
     .doc = &sessions_create_doc},
    {"GET", "/v1/sessions/{session}", sessions_get, "How long a session is, and lives",
     .doc = &sessions_get_doc},
    {"DELETE", "/v1/sessions/{session}", sessions_delete, "Ends a session",
     .doc = &sessions_delete_doc},
    {"POST", "/v1/sessions/{session}/step", sessions_step,
     "Reads more behind a session's tokens; the likeliest next ones",
     .doc = &sessions_step_doc},
    {"POST", "/v1/sessions/{session}/fork", sessions_fork,
     "A second session that goes on from the same tokens", .doc = &sessions_fork_doc},
    {"GET", "/v1/models", model_list_handle, "All loaded models", .doc = &model_list_doc},
    {"GET", "/v1/models/{model}", model_list_one_handle, "One loaded model",
     .doc = &model_list_one_doc},
    {"GET", "/info", info_handle, "The first model and the limits, as TEI's clients ask",
     .doc = &info_doc, .dialect = DIALECT_TEI},
    {"GET", "/version", info_version, "The version, as vLLM's clients ask",
     .doc = &info_version_doc, .dialect = DIALECT_VLLM},
    {"GET", "/v2", oip_server, "Name, version and extensions, as KServe's clients ask",
     .doc = &oip_server_doc, .dialect = DIALECT_OIP},
    {"GET", "/v2/health/live", oip_live, "Whether the process answers", .quiet = true,
     .doc = &oip_live_doc, .dialect = DIALECT_OIP},
    {"GET", "/v2/health/ready", oip_ready, "Whether it takes requests", .quiet = true,
     .doc = &oip_ready_doc, .dialect = DIALECT_OIP},
    {"GET", "/v2/models", oip_models, "The names of all loaded models",
     .doc = &oip_models_doc, .dialect = DIALECT_OIP},
    {"GET", "/v2/models/{model}", oip_metadata, "A model's inputs and outputs",
     .doc = &oip_metadata_doc, .dialect = DIALECT_OIP},
    {"GET", "/v2/models/{model}/versions/{version}", oip_metadata,
     "The same of the only version", .doc = &oip_metadata_doc, .dialect = DIALECT_OIP},
    {"GET", "/v2/models/{model}/ready", oip_model_ready, "Whether it takes requests",
     .quiet = true, .doc = &oip_model_ready_doc, .dialect = DIALECT_OIP},
    {"GET", "/v2/models/{model}/versions/{version}/ready", oip_model_ready,
     "Whether the only version takes requests", .quiet = true,
     .doc = &oip_model_ready_doc, .dialect = DIALECT_OIP},
    {"POST", "/v2/models/{model}/infer", oip_infer_handle,
     "Labels of texts, or their next tokens, as tensors", .doc = &oip_infer_doc,
     .dialect = DIALECT_OIP, .binary = true},
    {"POST", "/v2/models/{model}/versions/{version}/infer", oip_infer_handle,
     "The same of the only version", .doc = &oip_infer_doc, .dialect = DIALECT_OIP,
     .binary = true},
    {"GET", "/livez", probes_livez, "Whether the process answers", .quiet = true,
     .doc = &probes_livez_doc},
    {"GET", "/readyz", probes_readyz, "Whether it takes requests", .quiet = true,
     .doc = &probes_readyz_doc},
    {"GET", "/health", probes_health, "Whether it takes requests, and some figures",
     .quiet = true, .doc = &probes_health_doc},
    {"GET", "/metrics", probes_metrics, "Counters and histograms as Prometheus text",
     .quiet = true, .doc = &probes_metrics_doc},
    {"GET", "/openapi.json", openapi_handle, "This document", .doc = &openapi_doc},
    {"GET", "/", page_handle, "A page to try it all", .doc = &page_doc},
    {"GET", "/web/{file}", page_file_handle, .summary = NULL},
    {"POST", "/v1/attention", attention_handle, "Attention maps of a text",
     .doc = &attention_doc, .inspects = true},
    {"POST", "/v1/states", states_handle,
     "Gates, states and hidden rows of a text, step by step", .doc = &states_doc,
     .inspects = true},
    {"POST", "/v1/importance", importance_handle,
     "What the answer owes to each word of a text", .doc = &importance_doc,
     .inspects = true},
    {"POST", "/v1/models/{model}:explain", explain_handle,
     "The same for several texts, as KServe's clients ask", .doc = &explain_doc,
     .inspects = true},
};

const struct route *api_routes(bool inspect, size_t *n)
{
    *n = sizeof ROUTES / sizeof *ROUTES;
    while (!inspect && ROUTES[*n - 1].inspects)
        --*n;
    return ROUTES;
}
