/* What nets refuse: tokens and rows that they have no answer for, and folders that
 * disagree with themselves. */
#include "tests/suite.h"
#include "tests/unit/net_models.h"

/* Runs the batch and returns the code; the state's length must not change. */
static enum err_code refused(struct loaded *l, const struct net_batch *batch,
                             enum net_want want)
{
    struct err err = {0};
    static float y[TOKENS_MAX * 64];
    size_t T = batch->starts[batch->B];
    size_t bytes = l->net->ops->scratch_bytes(l->net, batch->B, T, T, want);
    ck_assert_int_eq(arena_reserve(&l->tmp, bytes, &err), ERR_OK);
    enum err_code code = l->net->ops->forward(l->net, batch, want, y, &l->x, &err);
    ck_assert_int_eq(code, err.code);
    ck_assert_uint_eq(l->tmp.used, 0);
    return code;
}

START_TEST(refuses_tokens_past_the_context)
{
    struct loaded l;
    int32_t ids[41] = {0};
    size_t starts[2] = {0, 33};
    struct net_batch batch = {.B = 1, .starts = starts, .ids = ids};
    loaded_open(&l, "tests/golden/nets/gpt2", kernels_get(NULL));
    ck_assert_int_eq(refused(&l, &batch, NET_ONE), ERR_LIMIT);
    struct net_state *s = new_state(&l);
    free(feed(&l, s, ids, 20));
    batch.states = &s;
    starts[1] = 13;
    ck_assert_int_eq(refused(&l, &batch, NET_ONE), ERR_LIMIT);
    ck_assert_uint_eq(l.net->ops->state_length(s), 20);
    starts[1] = 12;
    ck_assert_int_eq(refused(&l, &batch, NET_ONE), ERR_OK);
    starts[1] = 1;
    ck_assert_int_eq(refused(&l, &batch, NET_ONE), ERR_LIMIT);
    l.net->ops->state_free(s);
    loaded_close(&l);
    loaded_open(&l, "tests/golden/nets/bert", kernels_get(NULL));
    batch.states = NULL;
    starts[1] = 41;
    ck_assert_int_eq(refused(&l, &batch, NET_LABELS), ERR_LIMIT);
    starts[1] = 40;
    ck_assert_int_eq(refused(&l, &batch, NET_LABELS), ERR_OK);
    loaded_close(&l);
}
END_TEST

static void check_ids(struct loaded *l)
{
    size_t n_types = l->net->cfg.n_types;
    int32_t ids[3] = {0, (int32_t)l->net->cfg.vocab, 0};
    uint8_t types[3] = {0, n_types ? (uint8_t)n_types : 2, 0};
    size_t starts[2] = {0, 3};
    struct net_batch batch = {.B = 1, .starts = starts, .ids = ids};
    ck_assert_int_eq(refused(l, &batch, loaded_want(l)), ERR_INPUT);
    ids[1] = -1;
    ck_assert_int_eq(refused(l, &batch, loaded_want(l)), ERR_INPUT);
    ids[1] = (int32_t)l->net->cfg.vocab - 1;
    ck_assert_int_eq(refused(l, &batch, loaded_want(l)), ERR_OK);
    batch.types = types;
    ck_assert_int_eq(refused(l, &batch, loaded_want(l)), n_types ? ERR_INPUT : ERR_OK);
}

START_TEST(refuses_ids_and_types_out_of_range)
{
    each_model(check_ids);
}
END_TEST

static void check_wants(struct loaded *l)
{
    int32_t id = 0;
    size_t starts[2] = {0, 1};
    struct err err = {0};
    struct net_batch batch = {.B = 1, .starts = starts, .ids = &id};
    float h[64] = {0}, y[64];
    bool labels = l->net->cfg.head == HEAD_LABELS;
    bool bare = l->net->cfg.head == HEAD_NONE, hidden = gives_rows(l);
    ck_assert_int_eq(refused(l, &batch, NET_LABELS), labels ? ERR_OK : ERR_TASK);
    ck_assert_int_eq(refused(l, &batch, NET_ONE), hidden ? ERR_OK : ERR_TASK);
    ck_assert_int_eq(refused(l, &batch, NET_ALL), hidden ? ERR_OK : ERR_TASK);
    ck_assert_int_eq(l->net->ops->logits(l->net, 1, h, y, &l->x, &err),
                     labels || bare ? ERR_TASK : ERR_OK);
    if (!labels || !l->net->ops->state_new)
        return;
    struct net_state *s = new_state(l);
    batch.states = &s;
    ck_assert_int_eq(refused(l, &batch, NET_LABELS), ERR_TASK);
    ck_assert_int_eq(refused(l, &batch, NET_ONE), ERR_OK);
    l->net->ops->state_free(s);
}

START_TEST(refuses_rows_it_does_not_make)
{
    each_model(check_wants);
}
END_TEST

/* Every line of `expect` has to be in the message. */
static void check_invalid(const char *dir)
{
    struct err err = {0};
    struct net *net = NULL;
    char *expect = fixture_text(dir, "expect");
    ck_assert_ptr_nonnull(expect);
    ck_assert_msg(loaded_try(dir, kernels_get(NULL), &net, &err) != ERR_OK,
                  "%s: not refused", dir);
    ck_assert_ptr_null(net);
    for (char *line = expect, *end; line; line = end) {
        end = strchr(line, '\n');
        if (end)
            *end++ = '\0';
        ck_assert_msg(strstr(err.msg, line) != NULL, "%s: no \"%s\" in: %s", dir, line,
                      err.msg);
    }
    free(expect);
}

START_TEST(refuses_folders_that_disagree_with_themselves)
{
    fixture_each("tests/fixtures/nets/invalid", 45, check_invalid);
}
END_TEST

START_TEST(refuses_weights_packed_for_other_kernels)
{
    struct loaded l;
    int32_t id = 0;
    size_t starts[2] = {0, 1};
    struct net_batch batch = {.B = 1, .starts = starts, .ids = &id};
    struct kernels other = *kernels_get(NULL);
    loaded_open(&l, "tests/golden/nets/gpt2", kernels_get(NULL));
    l.x.k = &other;
    ck_assert_int_eq(refused(&l, &batch, NET_ONE), ERR_BUG);
    loaded_close(&l);
}
END_TEST
int main(void)
{
    const TTest *const tests[] = {
        refuses_tokens_past_the_context,
        refuses_ids_and_types_out_of_range,
        refuses_rows_it_does_not_make,
        refuses_folders_that_disagree_with_themselves,
        refuses_weights_packed_for_other_kernels,
        NULL,
    };
    return suite_run("nets: refusals", tests, 120);
}
