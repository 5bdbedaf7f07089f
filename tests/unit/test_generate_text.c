/* What continued texts are: stop texts, characters, ends, limits, refusals. What is
 * written is compared with transformers in tests/golden/test_generation.c. */
#include "tests/unit/generations.h"

#include <math.h>

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

int main(void)
{
    const TTest *const tests[] = {stops_are_found_across_tokens,
                                  what_may_become_a_stop_waits,
                                  half_a_character_waits_for_the_other_half,
                                  the_context_is_filled_and_not_passed,
                                  recurrent_texts_go_on_as_long_as_they_are_asked_to,
                                  no_token_and_one_token,
                                  an_end_of_text_ends_it,
                                  every_end_of_generation_config_ends_it,
                                  forbidding_all_but_one_leaves_that_one,
                                  what_cannot_be_is_refused_by_name,
                                  NULL};
    return suite_run("generate_text", tests, 120);
}
