/* Generations: models with longer contexts than the tiny ones, and texts written to their
 * end. Included by the test programs of seq_generate. */
#ifndef SEQ_TESTS_UNIT_GENERATIONS_H
#define SEQ_TESTS_UNIT_GENERATIONS_H

#include "model/seq.h"
#include "tests/unit/net_maker.h"
#include "tests/unit/tiny_models.h"

/* ---- made models ----------------------------------------------------------------- */

/* Reads prompts of several parts, which the tiny models don't. */
enum { LONG_CONTEXT = 400 };

static struct maker made;

static inline void make_tokenizer(const char *of)
{
    char dir[200];
    snprintf(dir, sizeof dir, "tests/fixtures/models/%s", of);
    char *text = fixture_text(dir, "tokenizer.json");
    fixture_write(made.dir, "tokenizer.json", text, strlen(text));
    free(text);
}

static inline const char *make_gpt2(void)
{
    maker_gpt2(&made, 320, 32, LONG_CONTEXT);
    make_tokenizer("tiny-gpt2");
    return made.dir;
}

static inline const char *make_llama(void)
{
    maker_llama(&made, 360, 32, LONG_CONTEXT);
    make_tokenizer("tiny-llama");
    return made.dir;
}

static inline const char *make_lstm(void)
{
    maker_recurrent(&made, "lstm", 320, 24, false);
    make_tokenizer("tiny-gpt2");
    return made.dir;
}

static inline void unmake(void)
{
    static const char *const more[] = {"tokenizer.json", "generation_config.json"};
    char path[100];
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", made.dir, more[i]);
        unlink(path);
    }
    maker_remove(&made);
}

static inline struct fixture open_dir(const char *dir, size_t cache_bytes,
                                      struct crew *crew)
{
    struct fixture f = {0};
    struct seq_load_options opt = {.state_cache_bytes = cache_bytes};
    enum err_code code = seq_model_load(dir, &opt, &f.m, &f.err);
    ck_assert_msg(code == ERR_OK, "%s: %s", dir, f.err.msg);
    ck_assert_int_eq(seq_worker_new(crew, &f.w, &f.err), ERR_OK);
    return f;
}

/* ---- one text -------------------------------------------------------------------- */

static inline struct seq_generation *begin(struct fixture *f, const int32_t *prompt,
                                           size_t n,
                                           const struct seq_generate_options *opt)
{
    struct seq_generation *g = NULL;
    enum err_code code = seq_generation_new(f->m, prompt, n, opt, &g, &f->err);
    ck_assert_msg(code == ERR_OK, "%s", f->err.msg);
    return g;
}

static inline void step(struct fixture *f, size_t n, struct seq_generation *const *all)
{
    enum err_code code = seq_generate(f->m, f->w, n, all, &f->err);
    ck_assert_msg(code == ERR_OK, "%s", f->err.msg);
}

/* Steps to the end; what it is then. */
static inline struct seq_generated finish(struct fixture *f, struct seq_generation *g)
{
    struct seq_generated r;
    do {
        step(f, 1, &g);
        seq_generation_view(g, &r);
    } while (r.finish == SEQ_FINISH_NOT);
    ck_assert_uint_eq(seq_generation_cost(g), 0);
    return r;
}

static inline struct seq_generated write_text(struct fixture *f, const char *prompt,
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

#endif
