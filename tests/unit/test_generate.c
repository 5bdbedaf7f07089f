/* Texts that are continued: the same alone and among others that join and leave, with any
 * crew, with and without kept states, when memory fails. Which texts:
 * test_generate_text.c and tests/golden/test_generation.c. */
#include "tests/unit/generations.h"
#include "tests/unit/team.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

static const char *(*const MADE[])(void) = {make_gpt2, make_llama, make_lstm};
enum { N_MADE = sizeof MADE / sizeof *MADE };

static uint64_t state = 88172645463325252u;

static size_t below(size_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (size_t)(state >> 33) % n;
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
    team_start(&team, HELPERS);
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

/* ---- memory ---------------------------------------------------------------------- */

/* Two texts beside each other; the second's answer. */
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
    struct seq_generation *g[2] = {0};
    struct seq_generated r = {0};
    f->err = (struct err){0};
    enum err_code code = ERR_OK;
    for (size_t i = 0; i < 2 && code == ERR_OK; i++)
        code = seq_generation_new(f->m, prompt, 4, &opt, &g[i], &f->err);
    while (code == ERR_OK && r.finish == SEQ_FINISH_NOT) {
        code = seq_generate(f->m, f->w, 2, g, &f->err);
        seq_generation_view(g[1], &r);
    }
    if (code == ERR_OK)
        *n = answer_of(g[1], answer);
    seq_generation_free(g[0]);
    seq_generation_free(g[1]);
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
                                  exhausted_memory_is_told_and_nothing_is_lost,
                                  hardly_a_step_takes_memory,
                                  NULL};
    return suite_run("generate", tests, 300);
}
