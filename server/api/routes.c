#include "server/api/attention.h"
#include "server/api/completions.h"
#include "server/api/explain.h"
#include "server/api/importance.h"
#include "server/api/model_list.h"
#include "server/api/next_word.h"
#include "server/api/openapi.h"
#include "server/api/page.h"
#include "server/api/probes.h"
#include "server/api/sentiment.h"
#include "server/api/states.h"
#include "server/server.h"

/* The one table of routes; those that look inside models come last. */
static const struct route ROUTES[] = {
    {"POST", "/v1/next-word", next_word_handle,
     "The likeliest next words or tokens of a text", false, &next_word_doc, false},
    {"POST", "/v1/sentiment", sentiment_handle, "Scores of a text for every label", false,
     &sentiment_doc, false},
    {"POST", "/v1/completions", completions_handle, "Texts that continue a prompt", false,
     &completions_doc, false},
    {"GET", "/v1/models", model_list_handle, "All loaded models", false, &model_list_doc,
     false},
    {"GET", "/v1/models/{model}", model_list_one_handle, "One loaded model", false,
     &model_list_one_doc, false},
    {"GET", "/livez", probes_livez, "Whether the process answers", true,
     &probes_livez_doc, false},
    {"GET", "/readyz", probes_readyz, "Whether it takes requests", true,
     &probes_readyz_doc, false},
    {"GET", "/health", probes_health, "Whether it takes requests, and some figures", true,
     &probes_health_doc, false},
    {"GET", "/metrics", probes_metrics, "Counters and histograms as Prometheus text",
     true, &probes_metrics_doc, false},
    {"GET", "/openapi.json", openapi_handle, "This document", false, &openapi_doc, false},
    {"GET", "/", page_handle, "A page to try it all", false, &page_doc, false},
    {"GET", "/web/{file}", page_file_handle, NULL, false, NULL, false},
    {"POST", "/v1/attention", attention_handle, "Attention maps of a text", false,
     &attention_doc, true},
    {"POST", "/v1/states", states_handle,
     "Gates, states and hidden rows of a text, step by step", false, &states_doc, true},
    {"POST", "/v1/importance", importance_handle,
     "What the answer owes to each word of a text", false, &importance_doc, true},
    {"POST", "/v1/models/{model}:explain", explain_handle,
     "The same for several texts, as KServe's clients ask", false, &explain_doc, true},
};

const struct route *api_routes(bool inspect, size_t *n)
{
    *n = sizeof ROUTES / sizeof *ROUTES;
    while (!inspect && ROUTES[*n - 1].inspects)
        --*n;
    return ROUTES;
}
