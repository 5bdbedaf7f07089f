/* What looks inside one text: its tokens and its attention maps, as outputs of the Open
 * Inference Protocol. */
#include "server/api/attention_request.h"
#include "server/api/capture.h"
#include "server/api/input.h"
#include "server/api/map_plan.h"
#include "server/api/oip_job.h"
#include "server/api/size_guard.h"
#include "server/clock.h"
#include "server/server.h"

static struct oip_tensor *tensor(struct oip_job *j, enum oip_output which)
{
    for (size_t i = 0; i < j->n_tensors; i++)
        if (j->which[i] == which)
            return &j->tensors[i];
    return NULL;
}

/* The model's labels or next tokens are wanted, too. */
static bool wants_result(const struct oip_job *j)
{
    size_t i = 0;
    while (i < j->n_tensors && OIP_OUTPUT_ROWS[j->which[i]].inspects)
        i++;
    return i < j->n_tensors;
}

/* ---- the pass -------------------------------------------------------------------- */

static enum err_code check_size(const struct oip_job *j, const struct map_plan *plan,
                                struct err *err)
{
    size_t most = SIZE_GUARD_BINARY * (size_t)j->t.server->options->attention_max_values;
    size_t values = map_plan_values(plan), floats = map_plan_floats(plan);
    if (values <= most && floats <= most)
        return ERR_OK;
    return err_param(err, ERR_LIMIT, "outputs",
                     "the attentions have %zu numbers, at most %zu go "
                     "(--attention-max-values); POST /v1/attention gives parts of them",
                     values > floats ? values : floats, most);
}

/* The captured maps become the tensor. */
static void take_maps(struct oip_tensor *t, const struct map_plan *plan,
                      struct capture *c)
{
    size_t n = plan->n_maps * c->map_bytes;
    t->data = (struct buf){.at = (char *)capture_take_bytes(c), .n = n, .cap = n};
    t->rank = plan->n_axes;
    for (size_t i = 0; i < plan->n_axes; i++)
        t->shape[i] = plan->axes[i].n;
}

static enum err_code look(struct oip_job *j, const struct map_plan *plan,
                          struct seq_worker *w, struct err *err)
{
    struct capture c;
    enum err_code code = capture_init(&c, plan, err);
    if (code != ERR_OK)
        return code;
    const struct seq_sink sink = {.arg = &c,
                                  .map = SEQ_MAP_WEIGHTS,
                                  .n_layers = plan->n_layers,
                                  .row = capture_row};
    code = seq_inspect(j->t.job.model->seq, w, &j->looked, &sink, j->scores, err);
    if (code == ERR_OK)
        code = capture_finish(&c, err);
    if (code == ERR_OK)
        take_maps(tensor(j, OIP_ATTENTIONS), plan, &c);
    capture_done(&c);
    return code;
}

static enum err_code compute(struct oip_job *j, struct seq_worker *w, struct err *err)
{
    const struct oip_tensor *maps = tensor(j, OIP_ATTENTIONS);
    const struct seq_sink nothing = {0};
    struct map_plan plan;
    if (!maps)
        return j->scores ? seq_inspect(j->t.job.model->seq, w, &j->looked, &nothing,
                                       j->scores, err)
                         : ERR_OK;
    const struct attention_request ask = {
        .layers = {.all = true},
        .heads = {.all = true},
        .queries = {.all = true},
        .encoding = MAP_BINARY,
        .dtype = maps->datatype == OIP_FP16 ? MAP_FLOAT16 : MAP_FLOAT32};
    enum err_code code = map_plan_init(&plan, &ask, j->t.job.model, &j->looked, err);
    if (code != ERR_OK)
        return code;
    code = check_size(j, &plan, err);
    if (code == ERR_OK)
        code = look(j, &plan, w, err);
    map_plan_done(&plan);
    return code;
}

/* ---- outputs --------------------------------------------------------------------- */

static void put_tokens(struct oip_job *j)
{
    struct oip_tensor *pieces = tensor(j, OIP_TOKENS), *ids = tensor(j, OIP_TOKEN_IDS),
                      *offsets = tensor(j, OIP_OFFSETS);
    for (size_t i = 0; i < j->looked.n; i++) {
        const struct seq_token *t = &j->looked.at[i];
        size_t n = 0;
        const char *piece = seq_piece(j->t.job.model->seq, t->id, &n);
        if (pieces)
            oip_put_text(pieces, piece ? piece : "", piece ? n : 0);
        if (ids)
            oip_put_int(ids, t->id);
        if (offsets) {
            oip_put_int(offsets, t->start);
            oip_put_int(offsets, t->end);
        }
    }
    if (pieces)
        pieces->shape[0] = j->looked.n;
    if (ids)
        ids->shape[0] = j->looked.n;
    if (offsets) {
        offsets->shape[0] = j->looked.n;
        offsets->shape[1] = 2;
    }
}

static void put_result(struct oip_job *j)
{
    size_t V = j->t.job.model->info->vocab;
    size_t n = (size_t)j->top_k < V ? (size_t)j->top_k : V;
    int32_t ids[SEQ_TOP_MAX];
    float logs[SEQ_TOP_MAX];
    if (!j->scores)
        return;
    if (oip_task(j->t.job.model) == SEQ_CLASSIFY) {
        oip_job_put_labels(j, NULL, j->scores);
        return;
    }
    maps_top(V, n, j->scores, ids, logs);
    oip_job_put_next(j, ids, logs, n);
}

/* ---- the job --------------------------------------------------------------------- */

static void run_one(struct oip_job *j, struct seq_worker *w)
{
    const struct text_job *t = &j->t;
    struct job *job = &j->t.job;
    const struct input in = {.text = t->at[0],
                             .text_pair = t->pair ? t->pair[0] : (struct json_text){0},
                             .truncate = !t->whole};
    enum seq_task task = oip_task(job->model);
    enum err_code code = input_tokens(
        &in, t->server, task == SEQ_CLASSIFY ? task : SEQ_ATTENTION, job, &j->looked);
    if (code != ERR_OK)
        return;
    uint64_t start = clock_us();
    if (compute(j, w, &job->err) == ERR_OK) {
        put_tokens(j);
        put_result(j);
        texts_finish(&j->t);
    }
    job->compute_us = clock_us() - start;
}

static void run(struct job **jobs, size_t n, struct seq_worker *w)
{
    for (size_t i = 0; i < n; i++)
        run_one((struct oip_job *)jobs[i], w);
}

static const struct job_kind KIND = {
    .name = "oip_inspection", .inspects = true, .run = run, .free = oip_job_free};

enum err_code oip_inspect_prepare(struct oip_job *j, struct err *err)
{
    const struct seq_info *info = j->t.job.model->info;
    bool labels = oip_task(j->t.job.model) == SEQ_CLASSIFY;
    if (j->t.n != 1)
        return err_param(err, ERR_INPUT, "inputs",
                         "outputs that look inside are of one text at a time, not of %zu",
                         j->t.n);
    if (j->t.pair && texts_check_pairs(j->t.job.model, "text_pair", err) != ERR_OK)
        return err->code;
    if (tensor(j, OIP_LOGITS) || (!labels && info->mask_token && wants_result(j)))
        return err_param(err, ERR_INPUT, "outputs",
                         "%s come of a request of their own, without outputs that look "
                         "inside",
                         tensor(j, OIP_LOGITS) ? "logits" : "a mask's next tokens");
    if (wants_result(j)) {
        j->scores = mem_alloc(labels ? info->n_labels : info->vocab, sizeof *j->scores);
        if (!j->scores)
            return err_set(err, ERR_NOMEM, "out of memory for the result");
    }
    j->t.job.kind = &KIND;
    j->t.job.cost = j->t.at[0].n / 3 + 1;
    return ERR_OK;
}
