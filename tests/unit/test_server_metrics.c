/* metrics: the text that Prometheus reads. */
#include "server/metrics.h"
#include "tests/suite.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum err_code nothing(struct server *s, const struct request *q,
                             struct answer *out, struct err *err)
{
    (void)s;
    (void)q;
    (void)out;
    (void)err;
    return ERR_OK;
}

static const struct route ROUTES[] = {
    {.method = "POST", .path = "/v1/sentiment", .handle = nothing},
    {.method = "GET", .path = "/livez", .handle = nothing}};

static struct metrics *new_metrics(void)
{
    struct metrics *m = NULL;
    struct err err = {0};
    ck_assert_int_eq(metrics_new(ROUTES, 2, &m, &err), ERR_OK);
    return m;
}

static char *text(struct metrics *m, struct buf *out)
{
    metrics_write(m, NULL, 3, out);
    buf_put(out, "", 1);
    ck_assert(!out->failed);
    return out->at;
}

static void has(const char *all, const char *line)
{
    ck_assert_msg(strstr(all, line), "lacks %s", line);
}

START_TEST(requests_are_counted_by_route_and_status)
{
    struct metrics *m = new_metrics();
    struct metrics_times t = {1500, 100, UINT64_MAX, 20000000, 900};
    struct buf out = {0};
    metrics_request(m, 0, 200, &t);
    metrics_request(m, 0, 200, &t);
    metrics_request(m, 0, 429, &t);
    metrics_request(m, 2, 404, &t);
    metrics_request(m, 1, 418, &t); /* not in the list */
    const char *all = text(m, &out);
    has(all, "\nseqd_requests_total{method=\"POST\",route=\"/v1/"
             "sentiment\",status=\"200\"} 2\n");
    has(all, "\nseqd_requests_total{method=\"POST\",route=\"/v1/"
             "sentiment\",status=\"429\"} 1\n");
    has(all, "\nseqd_requests_total{method=\"any\",route=\"other\",status=\"404\"} 1\n");
    has(all,
        "\nseqd_requests_total{method=\"GET\",route=\"/livez\",status=\"other\"} 1\n");
    has(all, "_bucket{method=\"POST\",route=\"/v1/sentiment\",le=\"0.001\"} 0\n");
    has(all, "_bucket{method=\"POST\",route=\"/v1/sentiment\",le=\"0.0025\"} 3\n");
    has(all, "\nseqd_queue_seconds_bucket{le=\"0.0001\"} 5\n");
    has(all, "\nseqd_tokenize_seconds_count 0\n");
    has(all, "\nseqd_compute_seconds_bucket{le=\"10\"} 0\n");
    has(all, "\nseqd_compute_seconds_bucket{le=\"+Inf\"} 5\n");
    has(all, "\nseqd_compute_seconds_sum 100.000000\n");
    has(all, "\nseqd_queue_depth 3\n");
    buf_done(&out);
    metrics_free(m);
}
END_TEST

START_TEST(everything_else_is_counted)
{
    struct metrics *m = new_metrics();
    struct buf out = {0};
    metrics_batch(m, 1);
    metrics_batch(m, 5);
    metrics_batch(m, 1000);
    metrics_reject(m, METRICS_REJECT_QUEUE_FULL);
    metrics_abandoned(m);
    metrics_tokens(m, 2, 30, 7);
    metrics_connections(m, 3);
    metrics_connections(m, -1);
    const char *all = text(m, &out);
    has(all, "\nseqd_batch_size_bucket{le=\"1\"} 1\n"); /* a bound is inside */
    has(all, "\nseqd_batch_size_bucket{le=\"4\"} 1\n");
    has(all, "\nseqd_batch_size_bucket{le=\"8\"} 2\n");
    has(all, "\nseqd_batch_size_bucket{le=\"+Inf\"} 3\n");
    has(all, "\nseqd_rejections_total{reason=\"queue_full\"} 1\n");
    has(all, "\nseqd_rejections_total{reason=\"slow\"} 0\n");
    has(all, "\nseqd_abandoned_total 1\n");
    has(all, "\nseqd_texts_total 2\n");
    has(all, "\nseqd_tokens_total 30\n");
    has(all, "\nseqd_connections 2\n");
    has(all, "\nseqd_build_info{version=\"");
    ck_assert_ptr_null(strstr(all, "process_resident_memory_bytes 0\n"));
    buf_done(&out);
    metrics_free(m);
}
END_TEST

START_TEST(models_are_listed_with_escaped_labels)
{
    struct seq_info info = {.architecture = "A",
                            .family = "lstm",
                            .dtype = "F32",
                            .kernels = "ref",
                            .resident_bytes = 77};
    char name[] = "a\"b\\c";
    struct model at = {.name = name, .info = &info};
    struct models models = {.at = &at, .n = 1};
    struct metrics *m = new_metrics();
    struct buf out = {0};
    metrics_write(m, &models, 0, &out);
    buf_put(&out, "", 1);
    has(out.at,
        "\nseqd_model_info{model=\"a\\\"b\\\\c\",architecture=\"A\",family=\"lstm\","
        "dtype=\"F32\",kernels=\"ref\"} 1\n");
    has(out.at, "\nseqd_model_resident_bytes{model=\"a\\\"b\\\\c\"} 77\n");
    buf_done(&out);
    metrics_free(m);
}
END_TEST

/* The format's own rules: HELP and TYPE before a family's samples, no series twice. */
START_TEST(the_text_keeps_the_formats_rules)
{
    struct metrics *m = new_metrics();
    struct metrics_times t = {1500, 100, 5, 7, UINT64_MAX};
    struct buf out = {0};
    char family[80] = "", seen[400][120];
    size_t n = 0;
    metrics_request(m, 0, 200, &t);
    metrics_request(m, 1, 200, &t);
    text(m, &out);
    for (char *line = out.at, *next; *line; line = next) {
        next = line + strcspn(line, "\n") + 1;
        next[-1] = '\0';
        if (strncmp(line, "# TYPE ", 7) == 0) {
            snprintf(family, sizeof family, "%.*s", (int)strcspn(line + 7, " "),
                     line + 7);
            continue;
        }
        if (line[0] == '#')
            continue;
        ck_assert_msg(strncmp(line, family, strlen(family)) == 0, "%s", line);
        char *blank = strrchr(line, ' ');
        ck_assert_ptr_nonnull(blank);
        ck_assert_uint_lt(n, 400);
        snprintf(seen[n], sizeof seen[n], "%.*s", (int)(blank - line), line);
        for (size_t i = 0; i < n; i++)
            ck_assert_str_ne(seen[i], seen[n]);
        n++;
    }
    ck_assert_uint_gt(n, 60);
    buf_done(&out);
    metrics_free(m);
}
END_TEST

static void *count_many(void *m)
{
    struct metrics_times t = {1, 1, 1, 1, 1};
    for (int i = 0; i < 2000; i++) {
        metrics_request(m, 0, 200, &t);
        metrics_reject(m, METRICS_REJECT_SLOW);
    }
    return NULL;
}

START_TEST(threads_lose_no_count)
{
    struct metrics *m = new_metrics();
    pthread_t threads[4];
    struct buf out = {0};
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, count_many, m);
    text(m, &out);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    buf_clear(&out);
    const char *all = text(m, &out);
    has(all, "status=\"200\"} 8000\n");
    has(all, "{reason=\"slow\"} 8000\n");
    buf_done(&out);
    metrics_free(m);
}
END_TEST

/* The value of a sample line, which must be there. */
static unsigned long long value_of(const char *all, const char *sample)
{
    const char *at = strstr(all, sample);
    ck_assert_msg(at && at[strlen(sample)] == ' ', "lacks %s", sample);
    return strtoull(at + strlen(sample), NULL, 10);
}

START_TEST(kept_states_are_counted_for_models_that_keep_any)
{
    static const char *const dirs[] = {"tests/fixtures/models/tiny-gpt2",
                                       "tests/fixtures/models/tiny-bert"};
    static struct seq_next_result result;
    struct seq_load_options options = {.state_cache_bytes = 1 << 20};
    struct models *models = NULL;
    struct seq_worker *w = NULL;
    struct err err = {0};
    struct metrics *m = new_metrics();
    ck_assert_int_eq(models_load(dirs, 2, &options, "f32", "", &models, &err), ERR_OK);
    ck_assert_int_eq(seq_worker_new(NULL, &w, &err), ERR_OK);
    static const char *const texts[] = {"the cat", "the cat sat"};
    size_t tokens = 0;
    for (size_t i = 0; i < 2; i++) {
        struct seq_tokens t = {0};
        const struct seq_model *gpt2 = models->at[0].seq;
        ck_assert_int_eq(seq_tokenize(gpt2, SEQ_NEXT_WORD, texts[i], strlen(texts[i]),
                                      SEQ_WHOLE, &t, &err),
                         ERR_OK);
        struct seq_next_request q = {.tokens = &t, .top_k = 1, .prefix = ""};
        ck_assert_int_eq(seq_next_word(gpt2, w, 1, &q, &result, &err), ERR_OK);
        tokens += t.n;
        seq_tokens_done(&t);
    }
    struct buf out = {0};
    metrics_write(m, models, 0, &out);
    buf_put(&out, "", 1);
    ck_assert(!out.failed);
    has(out.at, "\nseqd_state_cache_hits_total{model=\"tiny-gpt2\"} 1\n");
    has(out.at, "\nseqd_state_cache_misses_total{model=\"tiny-gpt2\"} 1\n");
    has(out.at, "\nseqd_state_cache_evictions_total{model=\"tiny-gpt2\"} 0\n");
    has(out.at, "\nseqd_state_cache_states{model=\"tiny-gpt2\"} 1\n");
    has(out.at, "\nseqd_state_cache_max_bytes{model=\"tiny-gpt2\"} 1048576\n");
    has(out.at, "\n# TYPE seqd_state_cache_bytes gauge\n");
    unsigned long long
        bytes = value_of(out.at, "\nseqd_state_cache_bytes{model=\"tiny-gpt2\"}"),
        reused = value_of(out.at,
                          "\nseqd_state_cache_reused_tokens_total{model=\"tiny-gpt2\"}"),
        computed = value_of(
            out.at, "\nseqd_state_cache_computed_tokens_total{model=\"tiny-gpt2\"}");
    ck_assert(bytes > 0 && bytes <= 1048576);
    ck_assert_uint_gt(reused, 1);
    ck_assert_uint_eq(reused + computed, tokens);
    ck_assert_ptr_null(strstr(out.at, "state_cache_hits_total{model=\"tiny-bert\"}"));
    buf_done(&out);
    seq_worker_free(w);
    models_free(models);
    metrics_free(m);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {requests_are_counted_by_route_and_status,
                                  everything_else_is_counted,
                                  models_are_listed_with_escaped_labels,
                                  the_text_keeps_the_formats_rules,
                                  threads_lose_no_count,
                                  kept_states_are_counted_for_models_that_keep_any,
                                  NULL};
    return suite_run("metrics", tests, 30);
}
