#include "server/api/attention.h"
#include "server/api/completions.h"
#include "server/api/model_list.h"
#include "server/api/next_word.h"
#include "server/api/openapi.h"
#include "server/api/page.h"
#include "server/api/probes.h"
#include "server/api/sentiment.h"
#include "server/server.h"

/* The one table of routes. */
static const struct route ROUTES[] = {
    {"POST", "/v1/next-word", next_word_handle,
     "The likeliest next words or tokens of a text", false, &next_word_doc},
    {"POST", "/v1/sentiment", sentiment_handle, "Scores of a text for every label", false,
     &sentiment_doc},
    {"POST", "/v1/attention", attention_handle, "Attention maps of a text", false,
     &attention_doc},
    {"POST", "/v1/completions", completions_handle, "Texts that continue a prompt", false,
     &completions_doc},
    {"GET", "/v1/models", model_list_handle, "All loaded models", false, &model_list_doc},
    {"GET", "/v1/models/{model}", model_list_one_handle, "One loaded model", false,
     &model_list_one_doc},
    {"GET", "/livez", probes_livez, "Whether the process answers", true,
     &probes_livez_doc},
    {"GET", "/readyz", probes_readyz, "Whether it takes requests", true,
     &probes_readyz_doc},
    {"GET", "/health", probes_health, "Whether it takes requests, and some figures", true,
     &probes_health_doc},
    {"GET", "/metrics", probes_metrics, "Counters and histograms as Prometheus text",
     true, &probes_metrics_doc},
    {"GET", "/openapi.json", openapi_handle, "This document", false, &openapi_doc},
    {"GET", "/", page_handle, "A page to try it all", false, &page_doc},
    {"GET", "/web/{file}", page_file_handle, NULL, false, NULL},
};

const struct route *api_routes(size_t *n)
{
    *n = sizeof ROUTES / sizeof *ROUTES;
    return ROUTES;
}
