/* Oip: KServe's Open Inference Protocol, version 2, over REST: health, metadata and what
 * its routes share. Triton's clients speak it, too. A model has one version, "1". */
#ifndef SERVER_API_OIP_H
#define SERVER_API_OIP_H

#include "server/api/openapi.h"
#include "server/api/oip_tensor.h"
#include "server/route.h"
#include "server/server.h"

#define OIP_VERSION "1"

/* What a model says of each text. */
enum oip_output {
    OIP_LABEL,
    OIP_SCORE,
    OIP_PROBABILITIES,
    OIP_LOGITS,
    OIP_NEXT_TOKEN,
    OIP_NEXT_TOKEN_ID,
    OIP_NEXT_LOGPROBS,
    OIP_TOKENS,
    OIP_TOKEN_IDS,
    OIP_OFFSETS,
    OIP_ATTENTIONS,
    OIP_OUTPUTS
};

struct oip_output_row {
    const char *name;
    enum oip_datatype datatype;
    enum seq_task task; /* of the models that have it; 0: all */
    size_t rank;        /* 1: [texts], 2: of each as many as labels or top_k */
    bool inspects;      /* looks inside: only by name, and of one text */
};
extern const struct oip_output_row OIP_OUTPUT_ROWS[OIP_OUTPUTS];

/* What infer asks of it: SEQ_CLASSIFY, else SEQ_NEXT_WORD, else 0: nothing. */
enum seq_task oip_task(const struct model *m);

/* Whether this server gives that output of the model. */
bool oip_gives(const struct server *s, const struct model *m, size_t which);

/* The model that the path names; NULL, and ERR_NOT_FOUND, also for another version. */
const struct model *oip_model(const struct server *s, const struct request *q,
                              struct err *err);

/* GET /v2, /v2/health/live, /v2/health/ready, /v2/models,
 * /v2/models/{model}[/versions/{version}][/ready] */
enum err_code oip_server(struct server *s, const struct request *q, struct answer *out,
                         struct err *err);
enum err_code oip_live(struct server *s, const struct request *q, struct answer *out,
                       struct err *err);
enum err_code oip_ready(struct server *s, const struct request *q, struct answer *out,
                        struct err *err);
enum err_code oip_models(struct server *s, const struct request *q, struct answer *out,
                         struct err *err);
enum err_code oip_metadata(struct server *s, const struct request *q, struct answer *out,
                           struct err *err);
enum err_code oip_model_ready(struct server *s, const struct request *q,
                              struct answer *out, struct err *err);
extern const struct route_doc oip_server_doc, oip_live_doc, oip_ready_doc, oip_models_doc,
    oip_metadata_doc, oip_model_ready_doc;

#endif
