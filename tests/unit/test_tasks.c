/* The front door on the tiny models of tests/fixtures/models: answers equal PyTorch's
 * (expect.json), and do not depend on what else is computed. */
#include "model/seq.h"
#include "tests/unit/tiny_models.h"

#include <ctype.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

static const char *const text_list[] = {
    "the cat sat on the", "I loved every minute of it", "not great, not terrible",
    "don't you think so?", "a caf\xc3\xa9, not great"};
enum { TEXTS = sizeof text_list / sizeof *text_list };

/* ---- equal to PyTorch ------------------------------------------------------------ */

static void scores_equal_pytorch(const char *name)
{
    for (const char *const *cpu = seq_cpu_names(); *cpu; cpu++) {
        struct fixture f = open_fixture(name, *cpu);
        json_t *all = expected(name);
        for (size_t i = 0; i < TEXTS; i++) {
            const json_t *row = json_array_get(all, i);
            struct seq_tokens t = tokenize(&f, SEQ_CLASSIFY, text_list[i]);
            const struct seq_tokens *texts[] = {&t};
            float scores[2];
            check_ids(row, &t);
            ck_assert_int_eq(seq_classify(f.m, f.w, 1, texts, NULL, scores, &f.err),
                             ERR_OK);
            for (size_t l = 0; l < 2; l++)
                ck_assert_double_eq_tol(
                    scores[l],
                    json_real_value(json_array_get(json_object_get(row, "values"), l)),
                    2e-5);
            seq_tokens_done(&t);
        }
        json_decref(all);
        close_fixture(&f);
    }
}

START_TEST(bert_scores_equal_pytorch)
{
    scores_equal_pytorch("tiny-bert");
}
END_TEST

START_TEST(bilstm_scores_equal_pytorch)
{
    scores_equal_pytorch("tiny-bilstm");
}
END_TEST

/* One batch, another activation for each text: all are of the same logits. */
START_TEST(activations_are_each_texts_own)
{
    struct fixture f = open_fixture("tiny-bert", NULL);
    size_t L = seq_model_info(f.m)->n_labels;
    static const enum seq_activation how[] = {SEQ_ACTIVATION_OWN, SEQ_ACTIVATION_NONE,
                                              SEQ_ACTIVATION_SOFTMAX,
                                              SEQ_ACTIVATION_SIGMOID};
    struct seq_tokens t = tokenize(&f, SEQ_CLASSIFY, text_list[0]);
    const struct seq_tokens *texts[] = {&t, &t, &t, &t};
    float own[4 * 8]; /* [4,L] */
    ck_assert_uint_le(L, 8);
    ck_assert_int_eq(seq_classify(f.m, f.w, 4, texts, how, own, &f.err), ERR_OK);
    const float *logits = own + L, *softmax = logits + L, *sigmoid = softmax + L;
    double sum = 0;
    for (size_t l = 0; l < L; l++)
        sum += exp((double)logits[l]);
    for (size_t l = 0; l < L; l++) {
        double p = exp((double)logits[l]) / sum, s = 1 / (1 + exp(-(double)logits[l]));
        ck_assert_double_eq_tol((double)softmax[l], p, 1e-6);
        ck_assert_double_eq_tol((double)sigmoid[l], s, 1e-6);
        ck_assert(own[l] == softmax[l]);
    }
    seq_tokens_done(&t);
    close_fixture(&f);
}
END_TEST

static void logprobs_equal_pytorch(const char *name)
{
    struct fixture f = open_fixture(name, NULL);
    json_t *all = expected(name);
    for (size_t i = 0; i < TEXTS; i++) {
        const json_t *row = json_array_get(all, i);
        struct seq_tokens t = tokenize(&f, SEQ_NEXT_WORD, text_list[i]);
        check_ids(row, &t);
        struct seq_next_request q = {.tokens = &t, .top_k = SEQ_TOP_MAX, .prefix = ""};
        q.unit = SEQ_UNIT_TOKEN;
        static struct seq_next_result r;
        ck_assert_int_eq(seq_next_word(f.m, f.w, 1, &q, &r, &f.err), ERR_OK);
        size_t vocab = seq_model_info(f.m)->vocab;
        ck_assert_uint_eq(r.n, vocab < SEQ_TOP_MAX ? vocab : SEQ_TOP_MAX);
        size_t seen = 0;
        for (size_t k = 0; k < r.n; k++) {
            const json_t *values = json_object_get(row, "values");
            ck_assert(k == 0 || r.at[k - 1].logprob >= r.at[k].logprob);
            if ((size_t)r.at[k].tokens[0] >= json_array_size(values))
                continue;
            double want =
                json_real_value(json_array_get(values, (size_t)r.at[k].tokens[0]));
            ck_assert_double_eq_tol(r.at[k].logprob, want, 1e-4 * fabs(want) + 1e-5);
            seen++;
        }
        ck_assert_uint_gt(seen, 0);
        seq_tokens_done(&t);
    }
    json_decref(all);
    close_fixture(&f);
}

START_TEST(gpt2_logprobs_equal_pytorch)
{
    logprobs_equal_pytorch("tiny-gpt2");
}
END_TEST

START_TEST(lstm_logprobs_equal_pytorch)
{
    logprobs_equal_pytorch("tiny-lstm");
}
END_TEST

/* ---- words ----------------------------------------------------------------------- */

/* log p(ids | text) followed by log p of each token after, by plain feeding. */
static void feed_logits(struct fixture *f, struct seq_state *s, const int32_t *ids,
                        size_t n, double *logprobs)
{
    size_t V = seq_model_info(f->m)->vocab;
    float *logits = calloc(V, sizeof *logits);
    ck_assert_int_eq(seq_feed(f->m, f->w, 1, &s, &ids, &n, logits, &f->err), ERR_OK);
    double max = -INFINITY, sum = 0;
    for (size_t i = 0; i < V; i++)
        max = fmax(max, logits[i]);
    for (size_t i = 0; i < V; i++)
        sum += exp(logits[i] - max);
    for (size_t i = 0; i < V; i++)
        logprobs[i] = logits[i] - max - log(sum);
    free(logits);
}

/* In the tiny GPT-2: true if the token ends the word before it. Words are ASCII letters,
 * digits and apostrophes here, or bytes of other letters. */
static bool ends_word(struct fixture *f, int32_t id)
{
    size_t n;
    const char *s = seq_piece_bytes(f->m, id, &n);
    if (n == 0)
        return true;
    if (s[0] == '\'')
        return n == 1;
    return !((unsigned char)s[0] >= 0x80 || isalnum((unsigned char)s[0]));
}

static double word_logprob(struct fixture *f, const struct seq_tokens *text,
                           const struct seq_prediction *p)
{
    size_t V = seq_model_info(f->m)->vocab;
    double *next = calloc(V, sizeof *next), total = 0, border = 0;
    int32_t *ids = calloc(text->n, sizeof *ids);
    struct seq_state *s;
    ck_assert_int_eq(seq_state_new(f->m, &s, &f->err), ERR_OK);
    for (size_t i = 0; i < text->n; i++)
        ids[i] = text->at[i].id;
    feed_logits(f, s, ids, text->n, next);
    for (size_t i = 0; i < p->n_tokens; i++) {
        total += next[p->tokens[i]];
        feed_logits(f, s, &p->tokens[i], 1, next);
    }
    for (size_t id = 0; id < V; id++)
        border += ends_word(f, (int32_t)id) ? exp(next[id]) : 0;
    seq_state_free(s);
    free(ids);
    free(next);
    return total + log(border);
}

START_TEST(word_probabilities_are_those_of_their_tokens)
{
    struct fixture f = open_fixture("tiny-gpt2", NULL);
    static struct seq_next_result r;
    size_t longest = 0;
    for (size_t i = 0; i < TEXTS; i++) {
        struct seq_tokens t = tokenize(&f, SEQ_NEXT_WORD, text_list[i]);
        struct seq_next_request q = {
            .tokens = &t, .top_k = 10, .unit = SEQ_UNIT_WORD, .prefix = ""};
        ck_assert_int_eq(seq_next_word(f.m, f.w, 1, &q, &r, &f.err), ERR_OK);
        ck_assert_uint_eq(r.n, 10);
        for (size_t k = 0; k < r.n; k++) {
            ck_assert_double_eq_tol(r.at[k].logprob, word_logprob(&f, &t, &r.at[k]),
                                    1e-4);
            ck_assert(k == 0 || r.at[k - 1].logprob >= r.at[k].logprob);
            ck_assert_uint_eq(utf8_valid(r.at[k].bytes, r.at[k].n_bytes),
                              r.at[k].n_bytes);
            longest = r.at[k].n_tokens > longest ? r.at[k].n_tokens : longest;
        }
        seq_tokens_done(&t);
    }
    ck_assert_uint_ge(longest, 2); /* words of several tokens are found at all */
    close_fixture(&f);
}
END_TEST

START_TEST(prefix_completes_the_word_being_typed)
{
    static const char *const models[] = {"tiny-gpt2", "tiny-lstm"};
    for (size_t i = 0; i < 2; i++) {
        struct fixture f = open_fixture(models[i], NULL);
        struct seq_tokens t = tokenize(&f, SEQ_NEXT_WORD, "the cat sat on the");
        static struct seq_next_result r;
        struct seq_next_request q = {.tokens = &t, .top_k = 5, .unit = SEQ_UNIT_WORD};
        q.prefix = "ca";
        q.prefix_n = 2;
        ck_assert_int_eq(seq_next_word(f.m, f.w, 1, &q, &r, &f.err), ERR_OK);
        ck_assert_uint_gt(r.n, 0);
        for (size_t k = 0; k < r.n; k++)
            ck_assert_int_eq(strncmp(r.at[k].bytes, " ca", 3), 0);
        q.after_space = true;
        ck_assert_int_eq(seq_next_word(f.m, f.w, 1, &q, &r, &f.err), ERR_OK);
        for (size_t k = 0; k < r.n; k++)
            ck_assert_int_eq(strncmp(r.at[k].bytes, "ca", 2), 0);
        q.prefix = "\xf0\x9f\x98\x80";
        q.prefix_n = 4;
        ck_assert_int_eq(seq_next_word(f.m, f.w, 1, &q, &r, &f.err), ERR_OK);
        ck_assert_uint_eq(r.n, 0);
        seq_tokens_done(&t);
        close_fixture(&f);
    }
}
END_TEST

START_TEST(words_after_no_text_begin_without_a_blank)
{
    static const char *const models[] = {"tiny-gpt2", "tiny-lstm"};
    for (size_t i = 0; i < 2; i++) {
        struct fixture f = open_fixture(models[i], NULL);
        struct seq_tokens t = tokenize(&f, SEQ_NEXT_WORD, "");
        static struct seq_next_result r;
        struct seq_next_request q = {
            .tokens = &t, .top_k = 3, .unit = SEQ_UNIT_WORD, .prefix = ""};
        ck_assert_int_eq(seq_next_word(f.m, f.w, 1, &q, &r, &f.err), ERR_OK);
        ck_assert_uint_eq(r.n, 3);
        for (size_t k = 0; k < r.n; k++)
            ck_assert_int_ne(r.at[k].bytes[0], ' ');
        seq_tokens_done(&t);
        close_fixture(&f);
    }
}
END_TEST

/* ---- bit for bit ----------------------------------------------------------------- */

static void same_predictions(const struct seq_next_result *a,
                             const struct seq_next_result *b)
{
    ck_assert_uint_eq(a->n, b->n);
    for (size_t k = 0; k < a->n; k++) {
        ck_assert_mem_eq(&a->at[k].logprob, &b->at[k].logprob, sizeof(double));
        ck_assert_uint_eq(a->at[k].n_bytes, b->at[k].n_bytes);
        ck_assert_mem_eq(a->at[k].bytes, b->at[k].bytes, a->at[k].n_bytes);
    }
}

START_TEST(next_words_are_the_same_alone_and_batched)
{
    static const char *const models[] = {"tiny-gpt2", "tiny-lstm"};
    static struct seq_next_result alone[TEXTS], batched[TEXTS];
    for (size_t i = 0; i < 2; i++) {
        struct fixture f = open_fixture(models[i], NULL);
        struct seq_tokens t[TEXTS];
        struct seq_next_request q[TEXTS];
        for (size_t b = 0; b < TEXTS; b++) {
            t[b] = tokenize(&f, SEQ_NEXT_WORD, text_list[b]);
            q[b] = (struct seq_next_request){
                .tokens = &t[b], .top_k = 3 + b, .unit = SEQ_UNIT_WORD, .prefix = ""};
            q[b].unit = b == 2 ? SEQ_UNIT_TOKEN : SEQ_UNIT_WORD;
            ck_assert_int_eq(seq_next_word(f.m, f.w, 1, &q[b], &alone[b], &f.err),
                             ERR_OK);
        }
        ck_assert_int_eq(seq_next_word(f.m, f.w, TEXTS, q, batched, &f.err), ERR_OK);
        for (size_t b = 0; b < TEXTS; b++) {
            same_predictions(&alone[b], &batched[b]);
            seq_tokens_done(&t[b]);
        }
        close_fixture(&f);
    }
}
END_TEST

static void note_row(void *arg, size_t layer, size_t head, size_t query, size_t n_keys,
                     const float *p)
{
    (void)layer, (void)head, (void)query;
    size_t *rows = arg;
    double sum = 0;
    for (size_t i = 0; i < n_keys; i++)
        sum += p[i];
    ck_assert_double_eq_tol(sum, 1, 1e-5);
    ++*rows;
}

START_TEST(scores_are_the_same_alone_batched_and_traced)
{
    static const char *const models[] = {"tiny-bert", "tiny-bilstm"};
    for (size_t i = 0; i < 2; i++) {
        struct fixture f = open_fixture(models[i], NULL);
        struct seq_tokens t[TEXTS];
        const struct seq_tokens *texts[TEXTS];
        float batched[TEXTS][2], alone[2], traced[2];
        for (size_t b = 0; b < TEXTS; b++) {
            t[b] = tokenize(&f, SEQ_CLASSIFY, text_list[b]);
            texts[b] = &t[b];
        }
        ck_assert_int_eq(seq_classify(f.m, f.w, TEXTS, texts, NULL, batched[0], &f.err),
                         ERR_OK);
        const struct seq_info *info = seq_model_info(f.m);
        for (size_t b = 0; b < TEXTS; b++) {
            size_t rows = 0;
            struct seq_sink sink = {.arg = &rows, .row = note_row};
            ck_assert_int_eq(seq_classify(f.m, f.w, 1, &texts[b], NULL, alone, &f.err),
                             ERR_OK);
            ck_assert_int_eq(seq_inspect(f.m, f.w, &t[b], &sink, traced, &f.err), ERR_OK);
            ck_assert_mem_eq(alone, batched[b], sizeof alone);
            ck_assert_mem_eq(traced, batched[b], sizeof traced);
            size_t queries = info->mask == SEQ_MASK_POOLING ? 1 : t[b].n;
            ck_assert_uint_eq(rows, info->n_map_layers * info->n_map_heads * queries);
            seq_tokens_done(&t[b]);
        }
        close_fixture(&f);
    }
}
END_TEST

START_TEST(scored_tokens_equal_the_distribution)
{
    static const char *const models[] = {"tiny-gpt2", "tiny-lstm"};
    for (size_t i = 0; i < 2; i++) {
        struct fixture f = open_fixture(models[i], NULL);
        struct seq_tokens t = {0};
        const char *text = text_list[0];
        ck_assert_int_eq(seq_encode(f.m, text, strlen(text), &t, &f.err), ERR_OK);
        double logprob[64], next[512];
        ck_assert_int_eq(seq_score(f.m, f.w, &t, 0, logprob, &f.err), ERR_OK);
        struct seq_state *s;
        ck_assert_int_eq(seq_state_new(f.m, &s, &f.err), ERR_OK);
        for (size_t k = 0; k < t.n; k++) {
            feed_logits(&f, s, &t.at[k].id, 1, next);
            int32_t target = k + 1 < t.n ? t.at[k + 1].id : 0;
            ck_assert_double_eq_tol(logprob[k + 1], next[target], 1e-5);
        }
        ck_assert_uint_eq(seq_state_length(s), t.n);
        seq_state_free(s);
        seq_tokens_done(&t);
        close_fixture(&f);
    }
}
END_TEST

/* Threads that share one model and help each other: every answer stays the same. */
struct reader {
    struct fixture *f;
    struct crew *crew;
    atomic_bool *stop;
    const float *want; /* [TEXTS,2] */
    bool good;
};

static bool same_bits(const float *a, const float *b, size_t n)
{
    return memcmp(a, b, n * sizeof *a) == 0;
}

static bool reader_idle(void *arg)
{
    return !atomic_load(((struct reader *)arg)->stop);
}

static void *reader_main(void *arg)
{
    struct reader *r = arg;
    struct seq_worker *w;
    struct err err = {0};
    r->good = seq_worker_new(r->crew, &w, &err) == ERR_OK;
    for (size_t round = 0; round < 40 && r->good; round++) {
        struct seq_tokens t = {0};
        const struct seq_tokens *texts[] = {&t};
        const char *text = text_list[round % TEXTS];
        float got[2];
        r->good = seq_tokenize(r->f->m, SEQ_CLASSIFY, text, strlen(text), SEQ_WHOLE, &t,
                               &err) == ERR_OK &&
                  seq_classify(r->f->m, w, 1, texts, NULL, got, &err) == ERR_OK &&
                  same_bits(got, r->want + round % TEXTS * 2, 2);
        seq_tokens_done(&t);
    }
    seq_worker_free(w);
    return NULL;
}

static void *helper_main(void *arg)
{
    struct reader *r = arg;
    while (!atomic_load(r->stop))
        crew_assist(r->crew, reader_idle, r);
    return NULL;
}

START_TEST(threads_and_helpers_change_no_bit)
{
    struct fixture f = open_fixture("tiny-bert", NULL);
    float want[TEXTS][2];
    for (size_t b = 0; b < TEXTS; b++) {
        struct seq_tokens t = tokenize(&f, SEQ_CLASSIFY, text_list[b]);
        const struct seq_tokens *texts[] = {&t};
        ck_assert_int_eq(seq_classify(f.m, f.w, 1, texts, NULL, want[b], &f.err), ERR_OK);
        seq_tokens_done(&t);
    }
    struct crew *crew;
    ck_assert_int_eq(crew_new(&crew, &f.err), ERR_OK);
    atomic_bool stop = false;
    struct reader readers[2], helper = {.crew = crew, .stop = &stop};
    pthread_t threads[2], idle;
    pthread_create(&idle, NULL, helper_main, &helper);
    for (size_t i = 0; i < 2; i++) {
        readers[i] = (struct reader){&f, crew, &stop, want[0], false};
        pthread_create(&threads[i], NULL, reader_main, &readers[i]);
    }
    for (size_t i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&stop, true);
    crew_wake(crew);
    pthread_join(idle, NULL);
    crew_free(crew);
    ck_assert(readers[0].good);
    ck_assert(readers[1].good);
    close_fixture(&f);
}
END_TEST

/* ---- tokenizers alone ------------------------------------------------------------ */

static void check_tokenizer(const char *name)
{
    struct fixture f = open_fixture(name, NULL);
    char dir[200];
    snprintf(dir, sizeof dir, "tests/fixtures/models/%s", name);
    struct seq_tokenizer *t = NULL;
    ck_assert_int_eq(seq_tokenizer_load(dir, &t, &f.err), ERR_OK);
    struct seq_tokens all = {0}, plain = {0};
    json_t *rows = expected(name);
    for (size_t i = 0; i < TEXTS; i++) {
        const char *text = text_list[i];
        int32_t ids[64];
        ck_assert_int_eq(seq_tokenizer_encode(t, text, strlen(text), true, &all, &f.err),
                         ERR_OK);
        ck_assert_int_eq(
            seq_tokenizer_encode(t, text, strlen(text), false, &plain, &f.err), ERR_OK);
        check_ids(json_array_get(rows, i), &all);
        size_t n = 0, n_text;
        for (size_t k = 0; k < all.n; k++) {
            ids[k] = all.at[k].id;
            n += !all.at[k].special;
        }
        ck_assert_uint_eq(n, plain.n);
        char *decoded;
        ck_assert_int_eq(
            seq_tokenizer_decode(t, ids, all.n, true, &decoded, &n_text, &f.err), ERR_OK);
        ck_assert_uint_eq(strlen(decoded), n_text);
        if (strcmp(name, "tiny-gpt2") == 0)
            ck_assert_str_eq(decoded, text);
        mem_free(decoded);
        size_t a, b;
        const char *piece = seq_tokenizer_piece(t, all.at[0].id, &a);
        const char *same = seq_piece(f.m, all.at[0].id, &b);
        ck_assert_uint_eq(a, b);
        ck_assert_mem_eq(piece, same, a);
    }
    json_decref(rows);
    seq_tokens_done(&all);
    seq_tokens_done(&plain);
    seq_tokenizer_free(t);
    close_fixture(&f);
}

START_TEST(a_tokenizer_alone_reads_as_its_model_does)
{
    check_tokenizer("tiny-gpt2");
    check_tokenizer("tiny-bert");
}
END_TEST

START_TEST(a_tokenizer_alone_refuses_what_is_no_text_and_no_id)
{
    struct err err = {0};
    struct seq_tokenizer *t = NULL;
    ck_assert_int_eq(seq_tokenizer_load("tests/fixtures", &t, &err), ERR_IO);
    ck_assert_ptr_null(t);
    err = (struct err){0};
    ck_assert_int_eq(seq_tokenizer_load("tests/fixtures/models/tiny-gpt2", &t, &err),
                     ERR_OK);
    struct seq_tokens tokens = {0};
    ck_assert_int_eq(seq_tokenizer_encode(t, "a\xff", 2, true, &tokens, &err), ERR_INPUT);
    ck_assert_str_eq(err.param, "text");
    err = (struct err){0};
    ck_assert_int_eq(seq_tokenizer_encode(t, "", 0, false, &tokens, &err), ERR_OK);
    ck_assert_uint_eq(tokens.n, 0);
    int32_t bad[] = {-1, (int32_t)seq_tokenizer_size(t)};
    for (size_t i = 0; i < 2; i++) {
        char *text = NULL;
        size_t n;
        err = (struct err){0};
        ck_assert_int_eq(seq_tokenizer_decode(t, &bad[i], 1, false, &text, &n, &err),
                         ERR_INPUT);
        ck_assert_ptr_null(text);
    }
    seq_tokens_done(&tokens);
    seq_tokenizer_free(t);
}
END_TEST

/* ---- limits and errors ----------------------------------------------------------- */

static char *repeat(const char *word, size_t times)
{
    size_t n = strlen(word);
    char *text = malloc(n * times + 1);
    for (size_t i = 0; i < times; i++)
        memcpy(text + i * n, word, n);
    text[n * times] = '\0';
    return text;
}

/* Unit token predicts behind a text that fills the context. */
static void check_reads_all_of_its_context(struct fixture *f, const struct seq_tokens *t)
{
    struct seq_next_request q = {.tokens = t, .top_k = 1, .prefix = ""};
    struct seq_next_result result;
    ck_assert_int_eq(seq_next_word(f->m, f->w, 1, &q, &result, &f->err), ERR_OK);
    ck_assert_uint_eq(result.n, 1);
}

START_TEST(long_texts_are_cut_and_said_so)
{
    struct fixture f = open_fixture("tiny-bert", NULL);
    char *text = repeat("great ", 200);
    struct seq_tokens t = tokenize(&f, SEQ_CLASSIFY, text);
    ck_assert_uint_eq(t.n, 64);
    ck_assert_uint_eq(t.n_dropped, 202 - 64);
    ck_assert(t.at[0].special);
    ck_assert(t.at[63].special);
    enum err_code code =
        seq_tokenize(f.m, SEQ_CLASSIFY, text, strlen(text), SEQ_WHOLE, &t, &f.err);
    ck_assert_int_eq(code, ERR_LIMIT);
    ck_assert_str_eq(f.err.param, "text");
    seq_tokens_done(&t);
    close_fixture(&f);
    f = open_fixture("tiny-gpt2", NULL);
    struct seq_tokens end = {0};
    ck_assert_int_eq(
        seq_tokenize(f.m, SEQ_NEXT_WORD, text, strlen(text), SEQ_KEEP_END, &end, &f.err),
        ERR_OK);
    ck_assert_uint_eq(end.n, 64 - SEQ_WORD_TOKENS);
    ck_assert(end.at[0].special);
    ck_assert_uint_eq(end.at[end.n - 1].end, strlen(text));
    ck_assert_int_eq(
        seq_tokenize(f.m, SEQ_NEXT_TOKEN, text, strlen(text), SEQ_KEEP_END, &end, &f.err),
        ERR_OK);
    ck_assert_uint_eq(end.n, 64);
    check_reads_all_of_its_context(&f, &end);
    seq_tokens_done(&end);
    free(text);
    close_fixture(&f);
}
END_TEST

START_TEST(ten_thousand_words_need_no_more_memory_than_a_thousand)
{
    struct fixture f = open_fixture("tiny-lstm", NULL);
    size_t peak[2];
    for (size_t i = 0; i < 2; i++) {
        struct seq_worker *w;
        ck_assert_int_eq(seq_worker_new(NULL, &w, &f.err), ERR_OK);
        char *text = repeat("the cat ", i ? 5000 : 500);
        struct seq_tokens t = tokenize(&f, SEQ_NEXT_WORD, text);
        ck_assert_uint_eq(t.n, i ? 10001 : 1001);
        double *logprob = calloc(t.n + 1, sizeof *logprob);
        ck_assert_int_eq(seq_score(f.m, w, &t, -1, logprob, &f.err), ERR_OK);
        peak[i] = seq_worker_peak(w);
        free(logprob);
        free(text);
        seq_tokens_done(&t);
        seq_worker_free(w);
    }
    ck_assert_uint_eq(peak[0], peak[1]);
    close_fixture(&f);
}
END_TEST

START_TEST(wrong_tasks_and_values_are_refused)
{
    struct fixture lm = open_fixture("tiny-lstm", NULL);
    struct fixture labels = open_fixture("tiny-bilstm", NULL);
    struct seq_tokens t = tokenize(&lm, SEQ_NEXT_WORD, "the cat");
    const struct seq_tokens *texts[] = {&t};
    static struct seq_next_result r;
    float scores[2];
    struct err err = {0};
    ck_assert_int_eq(seq_classify(lm.m, lm.w, 1, texts, NULL, scores, &err), ERR_TASK);
    struct seq_next_request q = {.tokens = &t, .top_k = 1, .prefix = ""};
    err.code = ERR_OK;
    ck_assert_int_eq(seq_next_word(labels.m, labels.w, 1, &q, &r, &err), ERR_TASK);
    struct seq_state *s = NULL;
    ck_assert_int_eq(seq_state_new(labels.m, &s, &err), ERR_TASK);
    q.top_k = SEQ_TOP_MAX + 1;
    err.code = ERR_OK;
    ck_assert_int_eq(seq_next_word(lm.m, lm.w, 1, &q, &r, &err), ERR_INPUT);
    ck_assert_str_eq(err.param, "top_k");
    err.code = ERR_OK;
    ck_assert_int_eq(seq_tokenize(lm.m, SEQ_NEXT_WORD, "a\xff", 2, SEQ_WHOLE, &t, &err),
                     ERR_INPUT);
    struct seq_sink sink = {.row = note_row};
    ck_assert_int_eq(seq_inspect(lm.m, lm.w, &t, &sink, NULL, &err), ERR_TASK);
    struct seq_tokens none = {0};
    err.code = ERR_OK;
    ck_assert_int_eq(seq_tokenize(labels.m, SEQ_CLASSIFY, " ", 1, SEQ_WHOLE, &none, &err),
                     ERR_INPUT);
    seq_tokens_done(&none);
    ck_assert_int_eq(seq_state_new(lm.m, &s, &err), ERR_OK);
    int32_t bad = (int32_t)seq_model_info(lm.m)->vocab;
    const int32_t *ids[] = {&bad};
    size_t one = 1;
    ck_assert_int_eq(seq_feed(lm.m, lm.w, 1, &s, ids, &one, NULL, &err), ERR_INPUT);
    seq_state_free(s);
    seq_tokens_done(&t);
    close_fixture(&lm);
    close_fixture(&labels);
}
END_TEST

START_TEST(unknown_kernels_and_precisions_are_refused)
{
    static const struct seq_load_options none[] = {
        {.cpu = "avx1024"}, {.cpu = ""}, {.precision = "f31"}, {.precision = ""}};
    const char *dir = "tests/fixtures/models/tiny-gpt2";
    struct err err = {0};
    struct seq_model *m = NULL;
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        ck_assert_int_eq(seq_model_load(dir, &none[i], &m, &err), ERR_UNSUPPORTED);
    ck_assert_ptr_null(m);
    struct seq_load_options plain = {.precision = "f32"};
    ck_assert_int_eq(seq_model_load(dir, &plain, &m, &err), ERR_OK);
    seq_model_unref(m);
}
END_TEST

/* Every allocation of a load and of an answer fails once: reported, nothing leaked, and
 * the next try works. */
START_TEST(exhausted_memory_is_reported)
{
    bool loaded = false;
    for (long n = 0; !loaded; n++) {
        struct err err = {0};
        struct seq_model *m = NULL;
        mem_fail_after(n);
        enum err_code code =
            seq_model_load("tests/fixtures/models/tiny-gpt2", NULL, &m, &err);
        loaded = mem_fail_pending();
        mem_fail_after(-1);
        ck_assert(loaded ? code == ERR_OK : code != ERR_OK || m != NULL);
        seq_model_unref(m);
    }
    struct fixture f = open_fixture("tiny-gpt2", NULL);
    bool answered = false;
    for (long n = 0; !answered; n++) {
        struct err err = {0};
        struct seq_tokens t = {0};
        static struct seq_next_result r;
        mem_fail_after(n);
        enum err_code code =
            seq_tokenize(f.m, SEQ_NEXT_WORD, "the cat", 7, SEQ_WHOLE, &t, &err);
        struct seq_next_request q = {
            .tokens = &t, .top_k = 2, .unit = SEQ_UNIT_WORD, .prefix = ""};
        if (code == ERR_OK)
            code = seq_next_word(f.m, f.w, 1, &q, &r, &err);
        answered = mem_fail_pending();
        mem_fail_after(-1);
        if (answered)
            ck_assert_int_eq(code, ERR_OK);
        seq_tokens_done(&t);
    }
    close_fixture(&f);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {bert_scores_equal_pytorch,
                                  bilstm_scores_equal_pytorch,
                                  activations_are_each_texts_own,
                                  gpt2_logprobs_equal_pytorch,
                                  lstm_logprobs_equal_pytorch,
                                  word_probabilities_are_those_of_their_tokens,
                                  prefix_completes_the_word_being_typed,
                                  words_after_no_text_begin_without_a_blank,
                                  next_words_are_the_same_alone_and_batched,
                                  scores_are_the_same_alone_batched_and_traced,
                                  scored_tokens_equal_the_distribution,
                                  threads_and_helpers_change_no_bit,
                                  a_tokenizer_alone_reads_as_its_model_does,
                                  a_tokenizer_alone_refuses_what_is_no_text_and_no_id,
                                  long_texts_are_cut_and_said_so,
                                  ten_thousand_words_need_no_more_memory_than_a_thousand,
                                  wrong_tasks_and_values_are_refused,
                                  unknown_kernels_and_precisions_are_refused,
                                  exhausted_memory_is_reported,
                                  NULL};
    return suite_run("tasks", tests, 120);
}
