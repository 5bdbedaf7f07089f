/* /v1/attention as it is served, on all golden nets and beside other requests: equal to
 * transformers' own maps, exact zeros, in bounded memory, and without any effect on what
 * others are answered. */
#include "model/load/weights.h"
#include "server/api/capture.h"
#include "tests/json_look.h"
#include "tests/suite.h"
#include "tests/unit/api_server.h"
#include "tests/unit/net_maker.h"

#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

static struct api_server api;
static const char *const PATH = "/v1/attention";

/* ---- equal to transformers ------------------------------------------------------- */

static const char *const NETS = "tests/golden/nets";
enum { LINE_MAX_BYTES = 4096, BODY_BYTES = 8192 };

/* Line b of a folder's file without its end; false if there is none. */
static bool read_line(const char *dir, const char *name, size_t b, char *to)
{
    char *text = fixture_text(dir, name), *at = text;
    for (size_t line = 0; at && line < b; line++) {
        at = strchr(at, '\n');
        at = at ? at + 1 : NULL;
    }
    bool found = at && *at;
    if (found) {
        size_t n = strcspn(at, "\n");
        ck_assert_uint_lt(n, LINE_MAX_BYTES);
        memcpy(to, at, n);
        to[n] = '\0';
    }
    free(text);
    return found;
}

/* A number that was not seen is 0 on both sides, exactly; rows sum to 1. */
static void check_maps(const char *dir, size_t rows, size_t T, const float *have,
                       const float *want)
{
    double worst = 0, off = 0;
    size_t outside = 0, leaks = 0;
    for (size_t r = 0; r < rows; r++) {
        double sum = 0;
        for (size_t k = r * T; k < (r + 1) * T; k++) {
            sum += have[k];
            outside += !(have[k] >= 0 && have[k] <= 1 + 1e-6f);
            leaks += want[k] == 0 && have[k] != 0;
            worst = fmax(worst, fabs((double)have[k] - want[k]));
        }
        off = fmax(off, fabs(sum - 1));
    }
    ck_assert_msg(worst <= 1e-5, "%s: off by %g", dir, worst);
    ck_assert_msg(off <= 1e-5, "%s: a row's sum is off by %g", dir, off);
    ck_assert_msg(outside == 0, "%s: %zu weights are no shares", dir, outside);
    ck_assert_msg(leaks == 0, "%s: %zu keys seen that are masked", dir, leaks);
}

/* Text b of a folder with its types as tokens; false if there is none. */
static bool read_tokens(const char *dir, size_t b, struct seq_tokens *to)
{
    char ids[LINE_MAX_BYTES], types[LINE_MAX_BYTES] = "", *at = ids, *end;
    struct err err = {0};
    if (!read_line(dir, "ids", b, ids))
        return false;
    for (to->n = 0; *at; at = end) {
        int32_t id = (int32_t)strtol(at, &end, 10);
        ck_assert_ptr_ne(at, end);
        ck_assert_msg(seq_tokens_of_ids(api.models->at[0].seq, &id, 1, to, &err) ==
                          ERR_OK,
                      "%s", err.msg);
    }
    (void)read_line(dir, "types", b, types);
    at = types;
    for (size_t i = 0; *at; at = end)
        to->at[i++].type = (uint8_t)strtol(at, &end, 10);
    return true;
}

/* All maps of the text by the way that a request goes; free() them. */
static float *capture_all(const struct seq_tokens *tokens, size_t n)
{
    const struct attention_request ask = {.encoding = MAP_NPY};
    const struct model *m = &api.models->at[0];
    struct map_plan plan;
    struct capture c;
    struct err err = {0};
    ck_assert_int_eq(map_plan_init(&plan, &ask, m, tokens, &err), ERR_OK);
    ck_assert_int_eq(capture_init(&c, &plan, &err), ERR_OK);
    const struct seq_sink sink = {.arg = &c, .row = capture_row};
    ck_assert_msg(seq_inspect(m->seq, api.worker, tokens, &sink, NULL, &err) == ERR_OK,
                  "%s", err.msg);
    ck_assert_int_eq(capture_finish(&c, &err), ERR_OK);
    ck_assert_uint_eq(plan.n_maps * c.map_bytes, n * sizeof(float));
    float *maps = malloc(n * sizeof *maps);
    ck_assert_ptr_nonnull(maps);
    memcpy(maps, c.bytes, n * sizeof *maps);
    capture_done(&c);
    map_plan_done(&plan);
    return maps;
}

/* Returns whether there were maps to compare with. */
static bool check_text(const char *dir, struct weights *w, size_t b,
                       const struct seq_tokens *tokens)
{
    const struct seq_info *info = api.models->at[0].info;
    bool pools = info->mask == SEQ_MASK_POOLING;
    char name[40];
    struct err err = {0};
    size_t T = tokens->n;
    size_t shape[] = {info->n_map_layers, info->n_map_heads, pools ? 1 : T, T};
    size_t rows = shape[0] * shape[1] * shape[2];
    snprintf(name, sizeof name, "attention.%zu", b);
    if (!weights_has(w, name))
        return false;
    float *want = malloc(rows * T * sizeof *want);
    ck_assert_ptr_nonnull(want);
    ck_assert_msg(weights_get(w, name, 4, shape, want, &err) == ERR_OK, "%s", err.msg);
    float *have = capture_all(tokens, rows * T);
    check_maps(dir, rows, T, have, want);
    free(have);
    free(want);
    return true;
}

/* Returns how many texts were compared. */
static size_t check_folder(const char *dir)
{
    char path[PATH_MAX];
    struct weights *w = NULL;
    struct seq_tokens tokens = {0};
    struct err err = {0};
    size_t n = 0;
    api_start_with(&api, &dir, 1);
    snprintf(path, sizeof path, "%s/expected", dir);
    ck_assert_msg(weights_open(path, &w, &err) == ERR_OK, "%s", err.msg);
    bool has_maps = api.models->at[0].info->tasks & SEQ_ATTENTION;
    for (size_t b = 0; has_maps && read_tokens(dir, b, &tokens); b++)
        n += check_text(dir, w, b, &tokens);
    ck_assert_msg((n > 0) == has_maps, "%s: %zu texts", dir, n);
    seq_tokens_done(&tokens);
    weights_close(w);
    api_stop(&api);
    return n;
}

START_TEST(maps_of_every_architecture_are_those_of_transformers)
{
    static const char *const families[] = {
        "bert",    "roberta", "xlm-roberta", "camembert", "distilbert",
        "electra", "mpnet",   "modernbert",  "gpt2",      "llama",
        "mistral", "qwen2",   "qwen3",       "lstm"};
    enum { FAMILIES = sizeof families / sizeof *families };
    size_t seen[FAMILIES] = {0};
    DIR *folder = opendir(NETS);
    ck_assert_ptr_nonnull(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        char dir[PATH_MAX];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(dir, sizeof dir, "%s/%s", NETS, entry->d_name);
        size_t n = check_folder(dir);
        for (size_t i = 0; i < FAMILIES; i++)
            if (strncmp(entry->d_name, families[i], strlen(families[i])) == 0)
                seen[i] += n;
    }
    closedir(folder);
    for (size_t i = 0; i < FAMILIES; i++)
        ck_assert_msg(seen[i] > 0, "no maps of %s", families[i]);
}
END_TEST

/* ---- windows and hops ------------------------------------------------------------ */

/* The body that asks for all maps of these ids, written "1 2 3". */
static void write_body(char *to, const char *ids)
{
    int n = snprintf(to, BODY_BYTES, "{\"predict\":false,\"input_ids\":[%s]}", ids);
    ck_assert_int_lt(n, BODY_BYTES);
    for (char *at = strchr(to, '[') + 1; *at != ']'; at++)
        *at = *at == ' ' ? ',' : *at;
}

static json_t *ask_ids(const char *dir)
{
    char body[BODY_BYTES], ids[LINE_MAX_BYTES];
    api_start_with(&api, &dir, 1);
    ck_assert(read_line(dir, "ids", 0, ids));
    write_body(body, ids);
    json_t *reply = api_json(&api, "POST", PATH, body, 200);
    api_stop(&api);
    return reply;
}

/* The layers and the width that the reply tells are those of its zeros. */
static void check_window(const char *dir, json_int_t window, bool causal)
{
    json_t *reply = ask_ids(dir), *told = json_object_get(reply, "sliding_window");
    json_t *data = at(at(reply, "attention"), "data");
    ck_assert_int_eq(told ? json_integer_value(at(told, "window")) : 0, window);
    json_int_t T = (json_int_t)json_array_size(at(reply, "tokens"));
    for (size_t l = 0; l < json_array_size(data); l++) {
        bool narrow = false;
        for (size_t i = 0; told && i < json_array_size(at(told, "layers")); i++)
            narrow |= json_integer_value(item(at(told, "layers"), i)) == (json_int_t)l;
        json_t *map = item(item(data, l), 0);
        for (json_int_t q = 0; q < T; q++)
            for (json_int_t k = 0; k < T; k++) {
                json_int_t away = q > k ? q - k : k - q;
                bool sees = (!causal || k <= q) && (!narrow || away < window);
                double p = json_number_value(item(item(map, (size_t)q), (size_t)k));
                ck_assert_msg((p > 0) == sees, "%s, layer %zu: %d on %d: %g", dir, l,
                              (int)q, (int)k, p);
            }
    }
    json_decref(reply);
}

START_TEST(a_sliding_window_is_told_and_kept)
{
    check_window("tests/golden/nets/mistral", 7, true);
    check_window("tests/golden/nets/mistral-no-window", 0, true);
    check_window("tests/golden/nets/qwen2-window", 7, true);
    check_window("tests/golden/nets/modernbert", 4, false);
}
END_TEST

START_TEST(several_hops_tell_how_alike_they_are)
{
    static double rows[4096];
    json_t *reply = ask_ids("tests/golden/nets/lstm-both-hops");
    json_t *maps = at(reply, "attention");
    size_t n = flatten(at(maps, "data"), rows, 0, 4096);
    size_t R = json_array_size(at(maps, "data")), T = n / R;
    double sum = 0;
    ck_assert_uint_gt(R, 1);
    for (size_t i = 0; i < R * R; i++) {
        double dot = i / R == i % R ? -1 : 0;
        for (size_t k = 0; k < T; k++)
            dot += rows[i / R * T + k] * rows[i % R * T + k];
        sum += dot * dot;
    }
    ck_assert_double_eq_tol(json_number_value(at(maps, "redundancy")), sum, 1e-6);
    json_decref(reply);
}
END_TEST

/* ---- the pass ends early --------------------------------------------------------- */

static size_t n_pauses;

static void count(void *arg)
{
    (void)arg;
    n_pauses++;
}

static size_t pauses_of(const char *more)
{
    char body[200];
    snprintf(body, sizeof body, "{\"model\":\"tiny-bert\",\"text\":\"a cat\"%s}", more);
    n_pauses = 0;
    json_decref(api_json(&api, "POST", PATH, body, 200));
    return n_pauses;
}

START_TEST(without_a_prediction_the_pass_ends_behind_the_last_layer_asked_for)
{
    const struct breaks breaks = {.pause = count};
    api_start(&api);
    seq_worker_breaks(api.worker, &breaks);
    size_t all = pauses_of(""), first = pauses_of(",\"layers\":[0],\"predict\":false");
    ck_assert_uint_gt(first, 0);
    ck_assert_uint_lt(first, all);
    ck_assert_uint_eq(pauses_of(",\"layers\":[0]"), all);
    ck_assert_uint_eq(pauses_of(",\"layers\":[],\"predict\":false"), 0);
    seq_worker_breaks(api.worker, NULL);
    api_stop(&api);
}
END_TEST

/* ---- beside others --------------------------------------------------------------- */

static const char *const OTHERS[][2] = {
    {"/v1/sentiment", "{\"model\":\"tiny-bert\",\"text\":\"a cat sat on the mat\"}"},
    {"/v1/sentiment", "{\"model\":\"tiny-bilstm\",\"texts\":[\"not great\",\"a\"]}"},
    {"/v1/next-word", "{\"model\":\"tiny-gpt2\",\"text\":\"the cat\"}"},
    {"/v1/next-word", "{\"model\":\"tiny-lstm\",\"text\":\"the cat sat\"}"},
    {"/v1/attention", "{\"model\":\"tiny-bert\",\"text\":\"a cat sat\"}"},
    {"/v1/attention",
     "{\"model\":\"tiny-gpt2\",\"text\":\"the cat\",\"kind\":\"scores\"}"},
    {"/v1/attention", "{\"model\":\"tiny-gpt2\",\"text\":\"a mat\",\"metrics\":true,"
                      "\"generate\":{\"max_tokens\":4}}"},
    {"/v1/attention", "{\"model\":\"tiny-bilstm\",\"text\":\"not great\"}"}};
enum { N_OTHERS = sizeof OTHERS / sizeof *OTHERS, CLIENTS = 3, EACH = 80 };

struct client {
    pthread_t thread;
    struct scheduler *scheduler;
    const struct reply *alone; /* [N_OTHERS] */
    unsigned seed;
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool finished;
};

static void finish(void *arg, struct job *take_job)
{
    struct client *c = arg;
    (void)take_job;
    pthread_mutex_lock(&c->lock);
    c->finished = true;
    pthread_cond_signal(&c->done);
    pthread_mutex_unlock(&c->lock);
}

/* One request on its way through the scheduler. */
static void ask_beside(struct client *c, size_t which)
{
    struct router_match match;
    struct answer answer = {0};
    struct err err = {0};
    struct reply r = {0};
    const char *path = OTHERS[which][0], *body = OTHERS[which][1];
    router_find(api.s.routes, api.s.n_routes, "POST", path, &match);
    struct request q = {
        .route = match.route, .path = path, .body = body, .body_n = strlen(body)};
    ck_assert_int_eq(match.route->handle(&api.s, &q, &answer, &err), ERR_OK);
    c->finished = false;
    answer.job->finish = finish;
    answer.job->arg = c;
    ck_assert_int_eq(scheduler_push(c->scheduler, answer.job, &err), ERR_OK);
    pthread_mutex_lock(&c->lock);
    while (!c->finished)
        pthread_cond_wait(&c->done, &c->lock);
    pthread_mutex_unlock(&c->lock);
    api_finish(answer.job, DIALECT_SEQD, &r);
    ck_assert_uint_eq(r.body.n, c->alone[which].body.n);
    ck_assert_mem_eq(r.body.at, c->alone[which].body.at, r.body.n);
    reply_done(&r);
}

static void *ask_many(void *arg)
{
    struct client *c = arg;
    for (size_t i = 0; i < EACH; i++)
        ask_beside(c, (size_t)rand_r(&c->seed) % N_OTHERS);
    return NULL;
}

/* All at random: batches, pauses and helpers differ from run to run, no reply does. */
START_TEST(captures_change_no_bit_of_what_others_are_answered)
{
    struct reply alone[N_OTHERS];
    static struct client clients[CLIENTS];
    const struct scheduler_limits limits = {.n_workers = 2,
                                            .queue_limit = 100,
                                            .batch_jobs = 8,
                                            .batch_cost = 256,
                                            .inspect_jobs = 1,
                                            .inspect_queue = CLIENTS};
    struct scheduler *scheduler = NULL;
    struct err err = {0};
    api_start(&api);
    for (size_t i = 0; i < N_OTHERS; i++)
        ck_assert_uint_eq(api_ask(&api, "POST", OTHERS[i][0], OTHERS[i][1], &alone[i]),
                          200);
    ck_assert_int_eq(scheduler_new(&limits, NULL, &scheduler, &err), ERR_OK);
    for (size_t i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.scheduler = scheduler,
                                     .alone = alone,
                                     .seed = (unsigned)i + 1,
                                     .lock = PTHREAD_MUTEX_INITIALIZER,
                                     .done = PTHREAD_COND_INITIALIZER};
        pthread_create(&clients[i].thread, NULL, ask_many, &clients[i]);
    }
    for (size_t i = 0; i < CLIENTS; i++)
        pthread_join(clients[i].thread, NULL);
    ck_assert(scheduler_stop(scheduler, 1000000));
    scheduler_free(scheduler);
    for (size_t i = 0; i < N_OTHERS; i++)
        reply_done(&alone[i]);
    api_stop(&api);
}
END_TEST

/* ---- memory ---------------------------------------------------------------------- */

enum { LAYERS = 12, HEADS = 12, TOKENS = 512, WIDTH = 96, VOCABULARY = 320 };

/* A decoder of twelve layers with the tokenizer of tiny-gpt2. */
static void make_deep(struct maker *m)
{
    static const char *const parts[] = {"ln_1", "attn.c_attn", "attn.c_proj",
                                        "ln_2", "mlp.c_fc",    "mlp.c_proj"};
    enum { D = WIDTH };
    const size_t N[] = {D, 3 * D, D, D, 4 * D, D}, K[] = {0, D, D, 0, D, 4 * D};
    char name[64];
    maker_begin(m, "{\"architectures\":[\"GPT2LMHeadModel\"],\"model_type\":\"gpt2\","
                   "\"vocab_size\":320,\"n_positions\":512,\"n_embd\":96,"
                   "\"n_layer\":12,\"n_head\":12}");
    maker_tensor(m, "wte.weight", VOCABULARY, D, 0, 0.2f);
    maker_tensor(m, "wpe.weight", TOKENS, D, 0, 0.2f);
    for (size_t layer = 0; layer < LAYERS; layer++)
        for (size_t i = 0; i < 6; i++) {
            snprintf(name, sizeof name, "h.%zu.%s", layer, parts[i]);
            if (K[i])
                maker_conv1d(m, name, N[i], K[i], 0.1f);
            else
                maker_norm(m, name, D);
        }
    maker_norm(m, "ln_f", D);
    maker_end(m);
    char *text = fixture_text("tests/fixtures/models/tiny-gpt2", "tokenizer.json");
    ck_assert_ptr_nonnull(text);
    fixture_write(m->dir, "tokenizer.json", text, strlen(text));
    free(text);
}

/* Most memory that this process has held, in bytes. */
static size_t peak_bytes(void)
{
    char line[128];
    size_t kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f))
        if (strncmp(line, "VmHWM:", 6) == 0)
            kib = strtoul(line + 6, NULL, 10);
    fclose(f);
    ck_assert_uint_gt(kib, 0);
    return kib * 1024;
}

/* What it holds now counts as the most from here on. */
static void forget_peak(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs("5", f), 0);
    ck_assert_int_eq(fclose(f), 0);
}

static size_t growth_of(const char *more, const char *ids)
{
    char body[BODY_BYTES];
    struct reply r;
    int n = snprintf(body, sizeof body, "{\"input_ids\":[%s]%s}", ids, more);
    ck_assert_int_lt(n, (int)sizeof body);
    mem_trim();
    forget_peak();
    size_t before = peak_bytes();
    ck_assert_uint_eq(api_ask(&api, "POST", PATH, body, &r), 200);
    reply_done(&r);
    return peak_bytes() - before;
}

/* ThreadSanitizer keeps memory of its own for each byte that is used. */
#ifdef __SANITIZE_THREAD__
static const bool COUNTS_TRULY = false;
#else
static const bool COUNTS_TRULY = true;
#endif

/* All maps are 151 MB; those of a layer 12.6. */
START_TEST(maps_of_512_tokens_take_the_memory_of_one_layer)
{
    static const char *const all[] = {
        ",\"pool\":32,\"encoding\":\"binary\",\"dtype\":\"uint8\"",
        ",\"top_k\":2,\"encoding\":\"binary\"", ",\"metrics\":true,\"queries\":[]"};
    enum { LAYER = HEADS * TOKENS * TOKENS * 4, CONSTANT = 8 << 20 };
    struct maker m;
    char ids[BODY_BYTES] = "", path[128];
    size_t n = 0;
    if (!COUNTS_TRULY) {
        printf("skipped: memory is not counted truly under ThreadSanitizer\n");
        return;
    }
    make_deep(&m);
    const char *dir = m.dir;
    api_start_with(&api, &dir, 1);
    for (size_t i = 0; i < TOKENS; i++)
        n += (size_t)snprintf(ids + n, sizeof ids - n, "%s%zu", i ? "," : "",
                              5 + i * 7 % 300);
    growth_of(",\"layers\":[]", ids); /* the worker's memory of a pass */
    for (size_t i = 0; i < 3; i++) {
        size_t grown = growth_of(all[i], ids);
        ck_assert_msg(grown <= LAYER + CONSTANT, "%s: %zu bytes", all[i], grown);
        /* Not for nothing: these maps were in memory. */
        ck_assert_msg(grown >= LAYER / 2, "%s: %zu bytes", all[i], grown);
    }
    api_stop(&api);
    snprintf(path, sizeof path, "%s/tokenizer.json", m.dir);
    unlink(path);
    maker_remove(&m);
}
END_TEST

/* ---- --inspect=off --------------------------------------------------------------- */

START_TEST(routes_of_inspection_can_be_left_out)
{
    struct router_match match;
    size_t n_all, n_some;
    const struct route *all = api_routes(true, &n_all),
                       *some = api_routes(false, &n_some);
    for (size_t i = 0; i < n_all; i++) {
        router_find(some, n_some, all[i].method, all[i].path, &match);
        ck_assert_msg((match.route == NULL) == all[i].inspects, "%s", all[i].path);
    }
    ck_assert_uint_lt(n_some, n_all);
    api_start(&api);
    api.options.inspect = 0;
    json_t *list = api_json(&api, "GET", "/v1/models", NULL, 200), *m, *task;
    size_t i, j;
    json_array_foreach(at(list, "data"), i, m)
    {
        json_array_foreach(at(m, "tasks"), j, task)
        {
            ck_assert_str_ne(json_string_value(task), "attention");
        }
    }
    json_decref(list);
    api_stop(&api);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        maps_of_every_architecture_are_those_of_transformers,
        a_sliding_window_is_told_and_kept,
        several_hops_tell_how_alike_they_are,
        without_a_prediction_the_pass_ends_behind_the_last_layer_asked_for,
        captures_change_no_bit_of_what_others_are_answered,
        maps_of_512_tokens_take_the_memory_of_one_layer,
        routes_of_inspection_can_be_left_out,
        NULL};
    return suite_run("api_proof", tests, 120);
}
