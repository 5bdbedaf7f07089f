/* Texts that are continued: the same alone and among others that join and leave, with any
 * crew, with and without kept states; stop texts, ends, limits, refusals. What is written
 * is compared with transformers in tests/golden/test_generation.c. */
#include "model/seq.h"
#include "tests/unit/net_maker.h"
#include "tests/unit/tiny_models.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

static uint64_t state = 88172645463325252u;

static size_t below(size_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (size_t)(state >> 33) % n;
}

/* ---- made models ----------------------------------------------------------------- */

/* Reads prompts of several parts, which the tiny models don't. */
enum { LONG_CONTEXT = 400 };

static struct maker made;

static void make_tokenizer(const char *of)
{
    char dir[200];
    snprintf(dir, sizeof dir, "tests/fixtures/models/%s", of);
    char *text = fixture_text(dir, "tokenizer.json");
    fixture_write(made.dir, "tokenizer.json", text, strlen(text));
    free(text);
}

static const char *make_gpt2(void)
{
    maker_gpt2(&made, 320, 32, LONG_CONTEXT);
    make_tokenizer("tiny-gpt2");
    return made.dir;
}

static const char *make_llama(void)
{
    maker_llama(&made, 360, 32, LONG_CONTEXT);
    make_tokenizer("tiny-llama");
    return made.dir;
}

static const char *make_lstm(void)
{
    maker_recurrent(&made, "lstm", 320, 24, false);
    make_tokenizer("tiny-gpt2");
    return made.dir;
}

static const char *(*const MADE[])(void) = {make_gpt2, make_llama, make_lstm};
enum { N_MADE = sizeof MADE / sizeof *MADE };

static void unmake(void)
{
    static const char *const more[] = {"tokenizer.json", "generation_config.json"};
    char path[100];
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", made.dir, more[i]);
        unlink(path);
    }
    maker_remove(&made);
}

static struct fixture open_dir(const char *dir, size_t cache_bytes, struct crew *crew)
{
    struct fixture f = {0};
    struct seq_load_options opt = {.state_cache_bytes = cache_bytes};
    enum err_code code = seq_model_load(dir, &opt, &f.m, &f.err);
    ck_assert_msg(code == ERR_OK, "%s: %s", dir, f.err.msg);
    ck_assert_int_eq(seq_worker_new(crew, &f.w, &f.err), ERR_OK);
    return f;
}

/* ---- one text -------------------------------------------------------------------- */

static struct seq_generation *begin(struct fixture *f, const int32_t *prompt, size_t n,
                                    const struct seq_generate_options *opt)
{
    struct seq_generation *g = NULL;
    enum err_code code = seq_generation_new(f->m, prompt, n, opt, &g, &f->err);
    ck_assert_msg(code == ERR_OK, "%s", f->err.msg);
    return g;
}

static void step(struct fixture *f, size_t n, struct seq_generation *const *all)
{
    enum err_code code = seq_generate(f->m, f->w, n, all, &f->err);
    ck_assert_msg(code == ERR_OK, "%s", f->err.msg);
}

/* Steps to the end; what it is then. */
static struct seq_generated finish(struct fixture *f, struct seq_generation *g)
{
    struct seq_generated r;
    do {
        step(f, 1, &g);
        seq_generation_view(g, &r);
    } while (r.finish == SEQ_FINISH_NOT);
    ck_assert_uint_eq(seq_generation_cost(g), 0);
    return r;
}

static struct seq_generated write_text(struct fixture *f, const char *prompt,
                                       const struct seq_generate_options *opt,
                                       struct seq_generation **g)
{
    int32_t ids[100];
    struct seq_tokens t = tokenize(f, SEQ_NEXT_WORD, prompt);
    ck_assert_uint_le(t.n, 100);
    for (size_t i = 0; i < t.n; i++)
        ids[i] = t.at[i].id;
    *g = begin(f, ids, t.n, opt);
    seq_tokens_done(&t);
    return finish(f, *g);
}

/* ---- jobs, and all that is told of them ------------------------------------------ */

enum { JOBS = 14, PROMPT_MAX = 330, BIASES = 6, MOST_TOKENS = 24, ANSWER = 1 << 16 };

struct job {
    int32_t prompt[PROMPT_MAX];
    size_t n;
    struct seq_generate_options opt;
    struct seq_bias bias[BIASES];
    struct seq_stop stops[2];
    struct seq_generation *g;
    size_t n_text; /* seen so far */
    char text[2048];
};

static struct job jobs[JOBS];

static double some(const double *of, size_t n)
{
    return of[below(n)];
}

static void make_job(struct job *j, size_t V, size_t longest)
{
    static const char *const stops[] = {"the", "s", " ", "a b", "w1", "\xc3\xa9"};
    size_t n_bias = below(3) ? 0 : BIASES;
    *j = (struct job){.n = 1 + below(below(3) ? 12 : longest)};
    for (size_t i = 0; i < j->n; i++)
        j->prompt[i] = (int32_t)below(V);
    for (size_t i = 0; i < BIASES; i++)
        j->bias[i] =
            (struct seq_bias){(int32_t)(i * V / BIASES), i % 2 ? 2.5f : -INFINITY};
    for (size_t i = 0; i < 2; i++) {
        const char *stop = stops[below(6)];
        j->stops[i] = (struct seq_stop){stop, strlen(stop)};
    }
    j->opt = (struct seq_generate_options){
        .sampling = {.temperature = some((double[]){0, 0.7, 1, 2}, 4),
                     .top_k = below(3) ? 0 : 1 + below(40),
                     .top_p = some((double[]){0, 0.5, 0.95}, 3),
                     .min_p = some((double[]){0, 0, 0.1}, 3),
                     .repetition_penalty = some((double[]){0, 1.3}, 2),
                     .presence_penalty = some((double[]){0, 0.5}, 2),
                     .frequency_penalty = some((double[]){0, -0.5}, 2),
                     .seed = below(1000),
                     .n_bias = n_bias,
                     .bias = j->bias},
        .max_tokens = below(6) ? 1 + below(MOST_TOKENS) : 0,
        .n_stops = below(3),
        .stops = j->stops,
        .ignore_end = below(2),
        .keep_specials = below(2),
        .logprobs = below(2),
        .prompt_logprobs = below(3) == 0,
        .n_top = below(SEQ_TOP_LOGPROBS + 1)};
}

static size_t put(char *answer, size_t at, const void *bytes, size_t n)
{
    ck_assert_uint_le(at + n, ANSWER);
    memcpy(answer + at, bytes, n);
    return at + n;
}

static size_t put_tokens(char *answer, size_t at, const struct seq_generated_token *t,
                         size_t n)
{
    for (size_t i = 0; i < n; i++) {
        at = put(answer, at, &t[i].chosen.id, sizeof t[i].chosen.id);
        at = put(answer, at, &t[i].chosen.logprob, sizeof t[i].chosen.logprob);
        at = put(answer, at, &t[i].text_end, sizeof t[i].text_end);
        at = put(answer, at, &t[i].n_top, sizeof t[i].n_top);
        at = put(answer, at, t[i].n_top ? (const void *)t[i].top : "",
                 t[i].n_top * sizeof *t[i].top);
    }
    return at;
}

/* All but what depends on the cache, as bytes. */
static size_t answer_of(const struct seq_generation *g, char *answer)
{
    struct seq_generated r;
    seq_generation_view(g, &r);
    size_t at = put(answer, 0, &r.finish, sizeof r.finish);
    at = put_tokens(answer, at, r.tokens, r.n_tokens);
    at = put_tokens(answer, at, r.prompt, r.prompt ? r.n_prompt : 0);
    at = put(answer, at, r.prompt_text, r.n_prompt_text);
    return put(answer, at, r.text, r.n_text);
}

/* What was final stays, and is UTF-8. */
static void look(struct job *j)
{
    struct seq_generated r;
    seq_generation_view(j->g, &r);
    ck_assert_uint_ge(r.n_text, j->n_text);
    ck_assert_uint_le(r.n_text, sizeof j->text);
    ck_assert_mem_eq(r.text, j->text, j->n_text);
    ck_assert_uint_eq(utf8_valid(r.text, r.n_text), r.n_text);
    ck_assert_uint_eq(utf8_valid(r.prompt_text, r.n_prompt_text), r.n_prompt_text);
    memcpy(j->text, r.text, r.n_text);
    j->n_text = r.n_text;
    for (size_t i = 0; i < r.n_tokens; i++)
        ck_assert(r.tokens[i].text_end <= r.n_text &&
                  (i == 0 || r.tokens[i].text_end >= r.tokens[i - 1].text_end));
    ck_assert(r.finish == SEQ_FINISH_STOP || !r.n_tokens ||
              r.tokens[r.n_tokens - 1].text_end == r.n_text);
}

static bool done(const struct job *j)
{
    struct seq_generated r;
    if (!j->g)
        return false;
    seq_generation_view(j->g, &r);
    return r.finish != SEQ_FINISH_NOT;
}

/* ---- bit for bit ----------------------------------------------------------------- */

static char want[JOBS][ANSWER], got[ANSWER];
static size_t want_n[JOBS];

static void write_alone(const char *dir)
{
    struct fixture f = open_dir(dir, 0, NULL);
    size_t V = seq_model_info(f.m)->vocab;
    size_t context = seq_model_info(f.m)->context;
    for (size_t i = 0; i < JOBS; i++) {
        struct job *j = &jobs[i];
        make_job(j, V, context && context < PROMPT_MAX ? context - 1 : PROMPT_MAX);
        j->g = begin(&f, j->prompt, j->n, &j->opt);
        while (!done(j)) {
            step(&f, 1, &j->g);
            look(j);
        }
        want_n[i] = answer_of(j->g, want[i]);
        seq_generation_free(j->g);
    }
    close_fixture(&f);
}

/* One step of some of those that are not done; those who haven't begun may begin. */
static void step_some(struct fixture *f)
{
    struct seq_generation *all[JOBS];
    struct job *members[JOBS];
    size_t n = 0;
    for (size_t k = 0, at = below(JOBS); k < JOBS; k++) {
        struct job *j = &jobs[(at + k) % JOBS];
        if (done(j) || below(3) == 0)
            continue;
        if (!j->g)
            j->g = begin(f, j->prompt, j->n, &j->opt);
        ck_assert_uint_gt(seq_generation_cost(j->g), 0);
        members[n] = j;
        all[n++] = j->g;
    }
    step(f, n, all);
    for (size_t i = 0; i < n; i++)
        look(members[i]);
}

/* All jobs at once; returns how many tokens were found in the cache. */
static size_t write_together(struct fixture *f)
{
    size_t left = JOBS, reused = 0;
    for (size_t i = 0; i < JOBS; i++) {
        jobs[i].g = NULL;
        jobs[i].n_text = 0;
    }
    while (left > 0) {
        step_some(f);
        left = 0;
        for (size_t i = 0; i < JOBS; i++)
            left += !done(&jobs[i]);
    }
    for (size_t i = 0; i < JOBS; i++) {
        struct seq_generated r;
        seq_generation_view(jobs[i].g, &r);
        ck_assert(r.n_reused < r.n_prompt);
        ck_assert(!r.prompt || r.n_reused == 0);
        reused += r.n_reused;
        ck_assert_uint_eq(answer_of(jobs[i].g, got), want_n[i]);
        ck_assert_mem_eq(got, want[i], want_n[i]);
        seq_generation_free(jobs[i].g);
    }
    return reused;
}

enum { HELPERS = 3 };

struct team {
    struct crew *crew;
    pthread_t threads[HELPERS];
    atomic_bool stop;
};

static bool idle(void *arg)
{
    return !atomic_load(&((struct team *)arg)->stop);
}

static void *assist(void *arg)
{
    struct team *t = arg;
    while (!atomic_load(&t->stop))
        crew_assist(t->crew, idle, t);
    return NULL;
}

static void team_start(struct team *t)
{
    struct err err = {0};
    atomic_init(&t->stop, false);
    ck_assert_int_eq(crew_new(&t->crew, &err), ERR_OK);
    for (int i = 0; i < HELPERS; i++)
        ck_assert_int_eq(pthread_create(&t->threads[i], NULL, assist, t), 0);
}

static void team_stop(struct team *t)
{
    atomic_store(&t->stop, true);
    crew_wake(t->crew);
    for (int i = 0; i < HELPERS; i++)
        pthread_join(t->threads[i], NULL);
    crew_free(t->crew);
}

static void same_bits(const char *dir, struct team *team)
{
    struct fixture plain = open_dir(dir, 0, NULL);
    struct fixture helped = open_dir(dir, 0, team->crew);
    struct fixture cached = open_dir(dir, 64 << 20, NULL);
    struct fixture tight = open_dir(dir, 40000, team->crew);
    struct fixture *const all[] = {&plain, &helped, &cached, &tight};
    for (size_t round = 0; round < 3; round++) {
        write_alone(dir);
        for (size_t i = 0; i < 4; i++)
            ck_assert(write_together(all[i]) == 0 || i >= 2);
        ck_assert_uint_gt(write_together(&cached), 0); /* all of it again */
        write_together(&tight);
    }
    struct seq_reuse reuse;
    seq_model_reuse(tight.m, &reuse);
    ck_assert_uint_gt(reuse.evictions, 0);
    for (size_t i = 0; i < 4; i++)
        close_fixture(all[i]);
}

START_TEST(others_crews_and_kept_states_change_no_bit)
{
    static struct team team;
    team_start(&team);
    for (size_t i = 0; i < N_MADE; i++) {
        same_bits(MADE[i](), &team);
        unmake();
    }
    same_bits("tests/fixtures/models/tiny-gpt2", &team);
    same_bits("tests/fixtures/models/tiny-lstm", &team);
    team_stop(&team);
}
END_TEST

/* ---- against plain feeding ------------------------------------------------------- */

/* The greedy token behind ids[0..n), its log probability, and how many are better. */
static int32_t plain_best(const float *logits, size_t V, double *total)
{
    size_t best = 0;
    double sum = 0;
    for (size_t i = 0; i < V; i++)
        best = logits[i] > logits[best] ? i : best;
    for (size_t i = 0; i < V; i++)
        sum += exp((double)logits[i] - logits[best]);
    *total = logits[best] + log(sum);
    return (int32_t)best;
}

static void check_top(const struct seq_generated_token *t, const float *logits, size_t V,
                      double total, size_t n_top)
{
    ck_assert_uint_eq(t->n_top, n_top < V ? n_top : V);
    for (size_t k = 0; k < t->n_top; k++) {
        size_t better = 0, id = (size_t)t->top[k].id;
        for (size_t i = 0; i < V; i++)
            better += logits[i] > logits[id] || (logits[i] == logits[id] && i < id);
        ck_assert_uint_eq(better, k);
        ck_assert_double_eq_tol(t->top[k].logprob, logits[id] - total, 1e-5);
    }
    ck_assert_double_eq_tol(t->chosen.logprob, logits[t->chosen.id] - total, 1e-5);
}

static void check_plainly(struct fixture *f, size_t n_prompt)
{
    enum { TOKENS = 12, TOP = 5 };
    size_t V = seq_model_info(f->m)->vocab, one = 1;
    int32_t prompt[PROMPT_MAX];
    const int32_t *ids = prompt;
    float *logits = calloc(V, sizeof *logits);
    struct seq_state *s = NULL;
    double total = 0;
    ck_assert_int_eq(seq_state_new(f->m, &s, &f->err), ERR_OK);
    for (size_t i = 0; i < n_prompt; i++)
        prompt[i] = (int32_t)below(V);
    struct seq_generate_options opt = {.max_tokens = TOKENS,
                                       .ignore_end = true,
                                       .logprobs = true,
                                       .prompt_logprobs = true,
                                       .n_top = TOP};
    struct seq_generation *g = begin(f, prompt, n_prompt, &opt);
    struct seq_generated r = finish(f, g);
    ck_assert_uint_eq(r.n_tokens, TOKENS);
    for (size_t i = 0; i + 1 < n_prompt; i++) {
        const int32_t *next = &prompt[i];
        ck_assert_int_eq(seq_feed(f->m, f->w, 1, &s, &next, &one, logits, &f->err),
                         ERR_OK);
        plain_best(logits, V, &total);
        ck_assert_int_eq(r.prompt[i + 1].chosen.id, prompt[i + 1]);
        check_top(&r.prompt[i + 1], logits, V, total, TOP);
    }
    ck_assert(isnan(r.prompt[0].chosen.logprob) && r.prompt[0].n_top == 0);
    seq_state_reset(s); /* and now all of it at once */
    ck_assert_int_eq(seq_feed(f->m, f->w, 1, &s, &ids, &n_prompt, logits, &f->err),
                     ERR_OK);
    for (size_t i = 0; i < TOKENS; i++) {
        int32_t best = plain_best(logits, V, &total);
        const int32_t *next = &best;
        ck_assert_int_eq(r.tokens[i].chosen.id, best);
        check_top(&r.tokens[i], logits, V, total, TOP);
        ck_assert_int_eq(seq_feed(f->m, f->w, 1, &s, &next, &one, logits, &f->err),
                         ERR_OK);
    }
    seq_generation_free(g);
    seq_state_free(s);
    free(logits);
}

START_TEST(prompts_in_parts_are_read_as_if_whole)
{
    for (size_t i = 0; i < N_MADE; i++) {
        struct fixture f = open_dir(MADE[i](), 0, NULL);
        for (size_t n = 1; n <= PROMPT_MAX; n += n < 120 ? 37 : 13)
            check_plainly(&f, n);
        close_fixture(&f);
        unmake();
    }
}
END_TEST

/* A long prompt takes several steps, a short one beside it goes on meanwhile. */
START_TEST(a_long_prompt_holds_nobody_up)
{
    struct fixture f = open_dir(make_gpt2(), 0, NULL);
    int32_t prompt[PROMPT_MAX] = {0};
    struct seq_generate_options opt = {.max_tokens = 10, .ignore_end = true};
    struct seq_generation *g[] = {begin(&f, prompt, PROMPT_MAX, &opt),
                                  begin(&f, prompt, 3, &opt)};
    struct seq_generated slow, quick;
    size_t read = 0, steps = 0;
    do {
        read += seq_generation_cost(g[0]);
        ck_assert_uint_le(seq_generation_cost(g[0]), 256);
        step(&f, 2, g);
        seq_generation_view(g[0], &slow);
        seq_generation_view(g[1], &quick);
        steps++;
        ck_assert_uint_eq(quick.n_tokens, steps);
        ck_assert_uint_eq(seq_generation_cost(g[1]), 1);
    } while (slow.n_tokens == 0);
    ck_assert_uint_ge(steps, 2);
    ck_assert_uint_eq(read, PROMPT_MAX);
    seq_generation_free(g[0]);
    seq_generation_free(g[1]);
    close_fixture(&f);
    unmake();
}
END_TEST

/* ---- kept states ----------------------------------------------------------------- */

static size_t reused(struct fixture *f, const int32_t *ids, size_t n, size_t max_tokens)
{
    struct seq_generate_options opt = {.max_tokens = max_tokens, .ignore_end = true};
    struct seq_generation *g = begin(f, ids, n, &opt);
    size_t found = finish(f, g).n_reused;
    seq_generation_free(g);
    return found;
}

/* The same prompt again, and a turn that goes on behind the whole text. */
START_TEST(prompts_and_texts_are_begun_with_again)
{
    for (size_t i = 0; i < N_MADE; i++) {
        struct fixture f = open_dir(MADE[i](), 64 << 20, NULL);
        struct seq_generate_options opt = {.max_tokens = 20, .ignore_end = true};
        int32_t ids[PROMPT_MAX];
        for (size_t k = 0; k < 200; k++)
            ids[k] = (int32_t)below(300);
        ck_assert_uint_eq(reused(&f, ids, 1, 1), 0);
        ck_assert_uint_le(reused(&f, ids, 200, 1), 1);
        ck_assert_uint_eq(reused(&f, ids, 200, 1), 199);
        struct seq_generation *g = begin(&f, ids, 200, &opt);
        struct seq_generated r = finish(&f, g);
        ck_assert_uint_eq(r.n_reused, 199);
        for (size_t k = 0; k < 20; k++)
            ids[200 + k] = r.tokens[k].chosen.id;
        for (size_t k = 220; k < 230; k++)
            ids[k] = (int32_t)below(300);
        seq_generation_free(g);
        ck_assert_uint_eq(reused(&f, ids, 230, 0), 219); /* the last was never fed */
        close_fixture(&f);
        unmake();
    }
}
END_TEST

/* ---- stop texts ------------------------------------------------------------------ */

/* Every part of a text stops it where it first comes to its end. */
static size_t stop_everywhere(struct fixture *f, const struct seq_generate_options *opt)
{
    struct seq_generation *g, *cut;
    struct seq_generated whole = write_text(f, "the cat sat", opt, &g);
    size_t n = whole.n_text, stops = 0;
    for (size_t at = 0; at < n; at++)
        for (size_t length = 1; length <= 12 && at + length <= n; length++) {
            const char *s = whole.text + at;
            if (utf8_valid(s, length) < length)
                continue;
            struct seq_generate_options with = *opt;
            with.stops = &(struct seq_stop){s, length};
            with.n_stops = 1;
            const char *first = memmem(whole.text, n, s, length);
            struct seq_generated r = write_text(f, "the cat sat", &with, &cut);
            ck_assert_int_eq(r.finish, SEQ_FINISH_STOP);
            ck_assert_uint_eq(r.n_text, (size_t)(first - whole.text));
            ck_assert_mem_eq(r.text, whole.text, r.n_text);
            /* It ends with the token that completes the stop text. */
            size_t last = r.n_tokens - 1, end = r.n_text + length;
            ck_assert(last == 0 || whole.tokens[last - 1].text_end < end);
            ck_assert(whole.tokens[last].text_end >= end);
            seq_generation_free(cut);
            stops++;
        }
    seq_generation_free(g);
    return stops;
}

START_TEST(stops_are_found_across_tokens)
{
    static const char *const models[] = {"tiny-gpt2", "tiny-llama", "tiny-lstm"};
    for (size_t i = 0; i < 3; i++) {
        struct fixture f = open_fixture(models[i], NULL);
        struct seq_generate_options opt = {.max_tokens = 20,
                                           .ignore_end = true,
                                           .sampling = {.temperature = 1, .top_k = 60}};
        size_t stops = 0;
        for (opt.sampling.seed = 0; opt.sampling.seed < 3; opt.sampling.seed++)
            stops += stop_everywhere(&f, &opt);
        ck_assert_uint_gt(stops, 100);
        close_fixture(&f);
    }
}
END_TEST

/* "catca": what may become a stop waits, and comes when it doesn't. Pieces by bias. */
START_TEST(what_may_become_a_stop_waits)
{
    struct fixture f = open_fixture("tiny-lstm", NULL);
    struct seq_tokens t = tokenize(&f, SEQ_NEXT_WORD, "the cat sat on the");
    struct seq_bias bias = {t.at[t.n - 4].id, 1000};
    struct seq_stop stop = {" cat cat cat cat!", 17};
    struct seq_generate_options opt = {.max_tokens = 4,
                                       .n_stops = 1,
                                       .stops = &stop,
                                       .sampling = {.n_bias = 1, .bias = &bias}};
    int32_t the[] = {t.at[0].id, t.at[1].id};
    struct seq_generation *g = begin(&f, the, 2, &opt);
    struct seq_generated r;
    for (size_t i = 0; i < 3; i++) {
        step(&f, 1, &g);
        seq_generation_view(g, &r);
        ck_assert_uint_eq(r.n_text, 0);
    }
    step(&f, 1, &g);
    seq_generation_view(g, &r);
    ck_assert_int_eq(r.finish, SEQ_FINISH_LENGTH);
    ck_assert_uint_eq(r.n_text, 16);
    ck_assert_mem_eq(r.text, " cat cat cat cat", 16);
    ck_assert_uint_eq(r.tokens[2].text_end, 0);
    ck_assert_uint_eq(r.tokens[3].text_end, 16);
    seq_generation_free(g);
    seq_tokens_done(&t);
    close_fixture(&f);
}
END_TEST

/* ---- characters ------------------------------------------------------------------ */

/* "é" of two byte tokens: the first says nothing yet. */
START_TEST(half_a_character_waits_for_the_other_half)
{
    struct fixture f = open_fixture("tiny-gpt2", NULL);
    int32_t half[2] = {-1, -1}, start = 5;
    for (int32_t id = 0; (size_t)id < seq_model_info(f.m)->vocab; id++) {
        size_t n;
        const char *bytes = seq_piece_bytes(f.m, id, &n);
        for (size_t k = 0; k < 2; k++)
            if (n == 1 && bytes[0] == "\xc3\xa9"[k])
                half[k] = id;
    }
    ck_assert(half[0] >= 0 && half[1] >= 0);
    /* Said once each: the second is what is left when the first is taken off. */
    struct seq_bias bias[] = {{half[0], 1000}, {half[1], 990}};
    struct seq_generate_options opt = {
        .max_tokens = 2,
        .sampling = {.n_bias = 2, .bias = bias, .presence_penalty = 100}};
    struct seq_generation *g = begin(&f, &start, 1, &opt);
    struct seq_generated r;
    step(&f, 1, &g);
    seq_generation_view(g, &r);
    ck_assert_uint_eq(r.n_tokens, 1);
    ck_assert_uint_eq(r.n_text, 0);
    step(&f, 1, &g);
    seq_generation_view(g, &r);
    ck_assert_uint_eq(r.n_text, 2);
    ck_assert_mem_eq(r.text, "\xc3\xa9", 2);
    seq_generation_free(g);
    /* Begun by the prompt, it is told whole. */
    opt.max_tokens = 1;
    opt.sampling.bias = &bias[1];
    opt.sampling.n_bias = 1;
    g = begin(&f, &half[0], 1, &opt);
    r = finish(&f, g);
    ck_assert_uint_eq(r.n_text, 2);
    ck_assert_mem_eq(r.text, "\xc3\xa9", 2);
    ck_assert_uint_eq(r.n_prompt_text, 3); /* U+FFFD */
    seq_generation_free(g);
    /* Never completed, it is replaced at the end. */
    opt.sampling.bias = &bias[0];
    g = begin(&f, &start, 1, &opt);
    r = finish(&f, g);
    ck_assert_uint_eq(r.n_text, 3);
    ck_assert_mem_eq(r.text, "\xef\xbf\xbd", 3);
    seq_generation_free(g);
    close_fixture(&f);
}
END_TEST

/* ---- ends and limits ------------------------------------------------------------- */

START_TEST(the_context_is_filled_and_not_passed)
{
    struct fixture f = open_fixture("tiny-gpt2", NULL);
    size_t context = seq_model_info(f.m)->context;
    struct seq_generate_options opt = {.max_tokens = SIZE_MAX, .ignore_end = true};
    struct seq_generation *g = NULL;
    int32_t prompt[100] = {7, 8, 9};
    ck_assert_uint_lt(context, 100);
    for (size_t n = context - 3; n < context; n++) {
        g = begin(&f, prompt, n, &opt);
        struct seq_generated r = finish(&f, g);
        ck_assert_int_eq(r.finish, SEQ_FINISH_LENGTH);
        ck_assert_uint_eq(r.n_tokens, context - n);
        seq_generation_free(g);
    }
    ck_assert_int_eq(seq_generation_new(f.m, prompt, context, &opt, &g, &f.err),
                     ERR_LIMIT);
    ck_assert_str_eq(f.err.param, "prompt");
    f.err = (struct err){0};
    opt.max_tokens = 0;
    opt.prompt_logprobs = true;
    g = begin(&f, prompt, context, &opt);
    struct seq_generated r = finish(&f, g);
    ck_assert_int_eq(r.finish, SEQ_FINISH_LENGTH);
    ck_assert_uint_eq(r.n_tokens, 0);
    ck_assert(r.prompt[context - 1].chosen.logprob < 0);
    seq_generation_free(g);
    ck_assert_int_eq(seq_generation_new(f.m, prompt, context + 1, &opt, &g, &f.err),
                     ERR_LIMIT);
    close_fixture(&f);
}
END_TEST

/* Without a context only max_tokens is a limit; more room is made as it is needed. */
START_TEST(recurrent_texts_go_on_as_long_as_they_are_asked_to)
{
    struct fixture f = open_fixture("tiny-lstm", NULL);
    struct seq_generate_options opt = {.max_tokens = 2500,
                                       .ignore_end = true,
                                       .logprobs = true,
                                       .n_top = 3,
                                       .sampling = {.temperature = 1}};
    struct seq_generation *g;
    struct seq_generated r = write_text(&f, "the cat", &opt, &g);
    ck_assert_int_eq(r.finish, SEQ_FINISH_LENGTH);
    ck_assert_uint_eq(r.n_tokens, 2500);
    for (size_t i = 0; i < r.n_tokens; i++) {
        ck_assert_uint_eq(r.tokens[i].n_top, 3);
        ck_assert(r.tokens[i].top[0].logprob >= r.tokens[i].top[1].logprob);
        ck_assert(r.tokens[i].top[0].logprob >= r.tokens[i].chosen.logprob);
        ck_assert(r.tokens[i].top[0].id >= 0 && r.tokens[i].top[0].id < 32);
    }
    seq_generation_free(g);
    close_fixture(&f);
}
END_TEST

START_TEST(no_token_and_one_token)
{
    struct fixture f = open_fixture("tiny-llama", NULL);
    struct seq_generate_options opt = {.max_tokens = 0};
    struct seq_generation *g;
    struct seq_generated r = write_text(&f, "the cat", &opt, &g);
    ck_assert_int_eq(r.finish, SEQ_FINISH_LENGTH);
    ck_assert_uint_eq(r.n_tokens + r.n_text, 0);
    ck_assert_ptr_nonnull(r.text);
    ck_assert_mem_eq(r.prompt_text, "the cat", 7);
    ck_assert_ptr_null(r.prompt);
    struct seq_generation *const again[] = {g};
    ck_assert_int_eq(seq_generate(f.m, f.w, 1, again, &f.err), ERR_INPUT);
    f.err = (struct err){0};
    seq_generation_free(g);
    opt.max_tokens = 1;
    r = write_text(&f, "the cat", &opt, &g);
    ck_assert_int_eq(r.finish, SEQ_FINISH_LENGTH);
    ck_assert_uint_eq(r.n_tokens, 1);
    ck_assert(isnan(r.tokens[0].chosen.logprob) && r.tokens[0].n_top == 0);
    ck_assert_uint_eq(r.tokens[0].text_end, r.n_text);
    seq_generation_free(g);
    close_fixture(&f);
}
END_TEST

/* What follows "the cat" when token `id` is made certain. */
static struct seq_generated certain(struct fixture *f, int32_t id,
                                    struct seq_generate_options opt,
                                    struct seq_generation **g)
{
    struct seq_bias bias = {id, 1000};
    opt.max_tokens = 5;
    opt.sampling.bias = &bias;
    opt.sampling.n_bias = 1;
    return write_text(f, "the cat", &opt, g);
}

START_TEST(an_end_of_text_ends_it)
{
    struct fixture f = open_fixture("tiny-gpt2", NULL);
    struct seq_generation *g;
    struct seq_generated r = certain(&f, 0, (struct seq_generate_options){0}, &g);
    ck_assert_int_eq(r.finish, SEQ_FINISH_END);
    ck_assert_uint_eq(r.n_tokens, 1);
    ck_assert_int_eq(r.tokens[0].chosen.id, 0);
    ck_assert_uint_eq(r.n_text, 0);
    seq_generation_free(g);
    r = certain(&f, 0, (struct seq_generate_options){.keep_specials = true}, &g);
    ck_assert_int_eq(r.finish, SEQ_FINISH_END);
    size_t n;
    const char *piece = seq_piece(f.m, 0, &n);
    ck_assert_uint_eq(r.n_text, n);
    ck_assert_mem_eq(r.text, piece, n);
    seq_generation_free(g);
    r = certain(&f, 0, (struct seq_generate_options){.ignore_end = true}, &g);
    ck_assert_int_eq(r.finish, SEQ_FINISH_LENGTH);
    ck_assert_uint_eq(r.n_tokens, 5);
    ck_assert_uint_eq(r.n_text, 0);
    seq_generation_free(g);
    close_fixture(&f);
}
END_TEST

START_TEST(every_end_of_generation_config_ends_it)
{
    static const char ends[] = "{\"eos_token_id\":[5,9,700]}";
    make_llama();
    fixture_write(made.dir, "generation_config.json", ends, strlen(ends));
    struct fixture f = open_dir(made.dir, 0, NULL);
    for (int32_t id = 4; id < 12; id++) {
        struct seq_generation *g;
        struct seq_generated r = certain(&f, id, (struct seq_generate_options){0}, &g);
        bool end = id == 5 || id == 9;
        ck_assert_int_eq(r.finish, end ? SEQ_FINISH_END : SEQ_FINISH_LENGTH);
        ck_assert_uint_eq(r.n_tokens, end ? 1 : 5);
        seq_generation_free(g);
    }
    close_fixture(&f);
    unmake();
}
END_TEST

START_TEST(forbidding_all_but_one_leaves_that_one)
{
    static struct seq_bias bias[400];
    static const char *const models[] = {"tiny-gpt2", "tiny-lstm"};
    for (size_t i = 0; i < 2; i++) {
        struct fixture f = open_fixture(models[i], NULL);
        size_t V = seq_model_info(f.m)->vocab;
        for (size_t id = 0; id < V; id++)
            bias[id] = (struct seq_bias){(int32_t)id, -INFINITY};
        bias[11] = bias[V - 1];
        for (size_t hot = 0; hot < 2; hot++) {
            struct seq_generate_options opt = {
                .max_tokens = 6,
                .logprobs = true,
                .sampling = {.temperature = (double)hot, .n_bias = V - 1, .bias = bias}};
            struct seq_generation *g;
            struct seq_generated r = write_text(&f, "the cat", &opt, &g);
            ck_assert_uint_eq(r.n_tokens, 6);
            for (size_t k = 0; k < 6; k++) {
                ck_assert_int_eq(r.tokens[k].chosen.id, 11);
                ck_assert(r.tokens[k].chosen.logprob < -0.1); /* without the bias */
            }
            seq_generation_free(g);
        }
        close_fixture(&f);
    }
}
END_TEST

/* ---- refusals -------------------------------------------------------------------- */

static void refuses(struct fixture *f, const int32_t *prompt, size_t n,
                    const struct seq_generate_options *opt, enum err_code code,
                    const char *param)
{
    struct seq_generation *g = NULL;
    ck_assert_int_eq(seq_generation_new(f->m, prompt, n, opt, &g, &f->err), code);
    ck_assert_str_eq(f->err.param, param);
    ck_assert_ptr_null(g);
    f->err = (struct err){0};
}

START_TEST(what_cannot_be_is_refused_by_name)
{
    struct fixture f = open_fixture("tiny-gpt2", NULL);
    int32_t prompt[3] = {1, 2, 3};
    struct seq_bias bias = {320, 1};
    struct seq_stop stop = {"\xff", 1};
    struct seq_generate_options good = {.max_tokens = 3}, opt = good;
    refuses(&f, prompt, 0, &good, ERR_INPUT, "prompt");
    prompt[1] = -1;
    refuses(&f, prompt, 3, &good, ERR_INPUT, "prompt");
    prompt[1] = 320;
    refuses(&f, prompt, 3, &good, ERR_INPUT, "prompt");
    prompt[1] = 2;
    opt.n_top = SEQ_TOP_LOGPROBS + 1;
    refuses(&f, prompt, 3, &opt, ERR_INPUT, "n_top");
    opt = good;
    opt.sampling.temperature = NAN;
    refuses(&f, prompt, 3, &opt, ERR_INPUT, "temperature");
    opt = good;
    opt.sampling.bias = &bias;
    opt.sampling.n_bias = 1;
    refuses(&f, prompt, 3, &opt, ERR_INPUT, "bias");
    opt = good;
    opt.stops = &stop;
    opt.n_stops = 1;
    refuses(&f, prompt, 3, &opt, ERR_INPUT, "stops");
    close_fixture(&f);
    static const char *const none[] = {"tiny-bert", "tiny-bilstm", "tiny-bert-mlm",
                                       "tiny-gpt2-labels"};
    for (size_t i = 0; i < 4; i++) {
        f = open_fixture(none[i], NULL);
        refuses(&f, prompt, 3, &good, ERR_TASK, "");
        close_fixture(&f);
    }
    seq_generation_free(NULL);
}
END_TEST

/* ---- memory ---------------------------------------------------------------------- */

static enum err_code write_failing(struct fixture *f, char *answer, size_t *n)
{
    static const int32_t prompt[] = {5, 6, 7, 8};
    struct seq_bias bias = {9, 1};
    struct seq_stop stop = {"\xc3\xa9", 2};
    struct seq_generate_options opt = {
        .max_tokens = 8,
        .n_stops = 1,
        .stops = &stop,
        .ignore_end = true,
        .logprobs = true,
        .prompt_logprobs = true,
        .n_top = 2,
        .sampling = {
            .temperature = 1, .repetition_penalty = 1.1, .n_bias = 1, .bias = &bias}};
    struct seq_generation *g = NULL;
    struct seq_generated r = {0};
    f->err = (struct err){0};
    enum err_code code = seq_generation_new(f->m, prompt, 4, &opt, &g, &f->err);
    while (code == ERR_OK && r.finish == SEQ_FINISH_NOT) {
        code = seq_generate(f->m, f->w, 1, &g, &f->err);
        seq_generation_view(g, &r);
    }
    if (code == ERR_OK)
        *n = answer_of(g, answer);
    seq_generation_free(g);
    return code;
}

START_TEST(exhausted_memory_is_told_and_nothing_is_lost)
{
    static const char *const models[] = {"tiny-gpt2", "tiny-llama", "tiny-lstm"};
    for (size_t i = 0; i < 3; i++) {
        struct fixture f = open_fixture(models[i], NULL);
        size_t n = 0, struck = 0;
        ck_assert_int_eq(write_failing(&f, want[0], &want_n[0]), ERR_OK);
        for (long at = 0;; at++) {
            seq_worker_free(f.w);
            ck_assert_int_eq(seq_worker_new(NULL, &f.w, &f.err), ERR_OK);
            mem_fail_after(at);
            enum err_code code = write_failing(&f, got, &n);
            bool pending = mem_fail_pending();
            mem_fail_after(-1);
            if (pending)
                break;
            ck_assert_int_eq(code, ERR_NOMEM);
            struck++;
            ck_assert_int_eq(write_failing(&f, got, &n), ERR_OK);
            ck_assert_uint_eq(n, want_n[0]);
            ck_assert_mem_eq(got, want[0], n);
        }
        ck_assert_uint_gt(struck, 10);
        close_fixture(&f);
    }
}
END_TEST

/* True if step number `at` of a text took memory. */
static bool step_allocates(struct fixture *f, size_t at,
                           const struct seq_generate_options *opt)
{
    int32_t start = 5;
    struct seq_generation *g = begin(f, &start, 1, opt);
    for (size_t i = 0; i < at; i++)
        step(f, 1, &g);
    struct err err = {0};
    mem_fail_after(0);
    enum err_code code = seq_generate(f->m, f->w, 1, &g, &err);
    bool struck = !mem_fail_pending();
    mem_fail_after(-1);
    ck_assert(code == ERR_OK || struck);
    seq_generation_free(g);
    return struck;
}

/* Those that do are the first, and those where the text takes half as much again. */
START_TEST(hardly_a_step_takes_memory)
{
    enum { STEPS = 60 };
    static const char *const models[] = {"tiny-gpt2", "tiny-llama", "tiny-lstm"};
    for (size_t i = 0; i < 3; i++) {
        struct fixture f = open_fixture(models[i], NULL);
        struct seq_generate_options opt = {
            .max_tokens = STEPS,
            .ignore_end = true,
            .logprobs = true,
            .n_top = 4,
            .sampling = {
                .temperature = 1, .top_p = 0.9, .repetition_penalty = 1.2, .seed = 3}};
        size_t allocating = 0;
        for (size_t at = 1; at < STEPS; at++)
            allocating += step_allocates(&f, at, &opt);
        ck_assert_uint_le(allocating, 8);
        close_fixture(&f);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {others_crews_and_kept_states_change_no_bit,
                                  prompts_in_parts_are_read_as_if_whole,
                                  a_long_prompt_holds_nobody_up,
                                  prompts_and_texts_are_begun_with_again,
                                  stops_are_found_across_tokens,
                                  what_may_become_a_stop_waits,
                                  half_a_character_waits_for_the_other_half,
                                  the_context_is_filled_and_not_passed,
                                  recurrent_texts_go_on_as_long_as_they_are_asked_to,
                                  no_token_and_one_token,
                                  an_end_of_text_ends_it,
                                  every_end_of_generation_config_ends_it,
                                  forbidding_all_but_one_leaves_that_one,
                                  what_cannot_be_is_refused_by_name,
                                  exhausted_memory_is_told_and_nothing_is_lost,
                                  hardly_a_step_takes_memory,
                                  NULL};
    return suite_run("generate", tests, 300);
}
