/* The token loop allocates nothing: a text that grows by a token takes the memory that is
 * there. What strikes is mem.h's fault hook, which sees every allocation of the project.
 */
#include "model/base/mem.h"
#include "tests/unit/tiny_models.h"

enum { WARM = 4, STEPS = 60, BLOCK = 16 /* positions that a cache grows by */ };

struct text {
    struct seq_state *state;
    int32_t id;
};

static enum err_code feed(struct fixture *f, struct text *t, float *logits)
{
    const int32_t *ids = &t->id;
    size_t one = 1;
    t->id = 3 + (t->id + 1) % 5;
    return seq_feed(f->m, f->w, 1, &t->state, &ids, &one, logits, &f->err);
}

/* Feeds a token of which no allocation may come. */
static void feed_quietly(struct fixture *f, struct text *t, float *logits)
{
    mem_fail_after(0);
    enum err_code code = feed(f, t, logits);
    bool quiet = mem_fail_pending();
    mem_fail_after(-1);
    ck_assert_msg(code == ERR_OK && quiet, "token %zu allocates",
                  seq_state_length(t->state));
}

/* The text's first tokens, for which the worker's scratch grows. */
static float *begin(struct fixture *f, const char *name, struct text *t)
{
    *f = open_fixture(name, NULL);
    *t = (struct text){0};
    float *logits = mem_alloc(seq_model_info(f->m)->vocab, sizeof *logits);
    ck_assert_ptr_nonnull(logits);
    ck_assert_int_eq(seq_state_new(f->m, &t->state, &f->err), ERR_OK);
    for (int i = 0; i < WARM; i++)
        ck_assert_msg(feed(f, t, logits) == ERR_OK, "%s", f->err.msg);
    return logits;
}

static void end(struct fixture *f, struct text *t, float *logits)
{
    mem_free(logits);
    seq_state_free(t->state);
    close_fixture(f);
}

START_TEST(a_recurrent_net_reads_on_without_an_allocation)
{
    struct fixture f;
    struct text t;
    float *logits = begin(&f, "tiny-lstm", &t);
    for (int i = 0; i < STEPS; i++)
        feed_quietly(&f, &t, logits);
    end(&f, &t, logits);
}
END_TEST

START_TEST(a_decoder_takes_a_block_for_many_tokens_and_else_nothing)
{
    static const char *const names[] = {"tiny-gpt2", "tiny-llama"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct fixture f;
        struct text t;
        float *logits = begin(&f, names[i], &t);
        size_t context = seq_model_info(f.m)->context, n;
        ck_assert_uint_gt(context, 2 * BLOCK);
        while ((n = seq_state_length(t.state)) < context && n < STEPS)
            if (n % BLOCK)
                feed_quietly(&f, &t, logits);
            else
                ck_assert_int_eq(feed(&f, &t, logits), ERR_OK);
        end(&f, &t, logits);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_recurrent_net_reads_on_without_an_allocation,
        a_decoder_takes_a_block_for_many_tokens_and_else_nothing, NULL};
    return suite_run("steady", tests, 60);
}
