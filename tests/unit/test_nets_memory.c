/* What nets take: scratch as scratch_bytes says, nothing from the heap in a pass, weights
 * as counted, caches by blocks; and that every failed allocation is survived. */
#include "tests/suite.h"
#include "tests/unit/net_models.h"

static void check_scratch(struct loaded *l)
{
    const struct net_ops *ops = l->net->ops;
    struct err err = {0};
    struct texts t;
    random_texts(l, &t, MIXED, N_MIXED);
    struct net_batch all = texts_batch(&t);
    enum net_want want = loaded_want(l);
    size_t bytes =
        ops->scratch_bytes(l->net, t.B, t.starts[t.B], texts_longest(&t), want);
    float *y = loaded_run(l, &all, want);
    ck_assert_uint_eq(l->tmp.peak, bytes);
    /* One line of memory less is refused, not overrun. */
    arena_done(&l->tmp);
    arena_init(&l->tmp);
    ck_assert_int_eq(arena_reserve(&l->tmp, bytes - 64, &err), ERR_OK);
    ck_assert_int_eq(ops->forward(l->net, &all, want, y, &l->x, &err), ERR_BUG);
    ck_assert_uint_eq(l->tmp.used, 0);
    free(y);
    /* More of anything never needs less. */
    for (size_t B = 1; B < 600; B += 1 + B / 4)
        for (size_t T = B; T < 3000; T += 1 + T / 3) {
            size_t at = ops->scratch_bytes(l->net, B, T, T / B, want);
            ck_assert_uint_le(at, ops->scratch_bytes(l->net, B + 1, T, T / B, want));
            ck_assert_uint_le(at, ops->scratch_bytes(l->net, B, T + 1, T / B, want));
            ck_assert_uint_le(at, ops->scratch_bytes(l->net, B, T, T / B + 1, want));
        }
}

START_TEST(scratch_is_what_scratch_bytes_says)
{
    each_model(check_scratch);
}
END_TEST

static void check_no_heap(struct loaded *l)
{
    struct texts t;
    random_texts(l, &t, MIXED, N_MIXED);
    struct net_batch all = texts_batch(&t);
    free(loaded_run(l, &all, loaded_want(l))); /* the arena has its size now */
    mem_fail_after(0);
    free(loaded_run(l, &all, loaded_want(l)));
    ck_assert_msg(mem_fail_pending(), "a pass took memory from the heap");
    mem_fail_after(-1);
}

START_TEST(a_pass_takes_nothing_from_the_heap)
{
    each_model(check_no_heap);
}
END_TEST

START_TEST(memory_of_one_way_nets_does_not_grow_with_the_text)
{
    struct loaded l;
    enum { LONG = 10000 };
    loaded_open(&l, "tests/golden/nets/lstm-lm", kernels_get(NULL));
    const struct net_ops *ops = l.net->ops;
    size_t long_bytes = ops->scratch_bytes(l.net, 1, LONG, LONG, NET_ONE);
    ck_assert_uint_eq(long_bytes, ops->scratch_bytes(l.net, 1, 500, 500, NET_ONE));
    int32_t *ids = malloc(LONG * sizeof *ids);
    ck_assert_ptr_nonnull(ids);
    for (size_t i = 0; i < LONG; i++)
        ids[i] = (int32_t)below(l.net->cfg.vocab);
    size_t starts[2] = {0, LONG};
    struct net_batch batch = {.B = 1, .starts = starts, .ids = ids};
    float *once = loaded_run(&l, &batch, NET_ONE), *last = NULL;
    struct net_state *s = new_state(&l);
    for (size_t at = 0, n; at < LONG; at += n) {
        n = LONG - at < 997 ? LONG - at : 997;
        free(last);
        last = feed(&l, s, ids + at, n);
    }
    size_t D = l.net->out_width, rest = LONG % 997;
    assert_bits(&l, "10,000 tokens differ in pieces", once, last + (rest - 1) * D, D);
    ops->state_free(s);
    free(once);
    free(last);
    free(ids);
    loaded_close(&l);
}
END_TEST

/* Files that hold a tensor twice. */
static bool holds_copies(const char *dir)
{
    static const char *const names[] = {"gpt2-unscaled", "bert-masked-first-names",
                                        "camembert-masked", "llama-one-key-head"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(strrchr(dir, '/') + 1, names[i]) == 0)
            return true;
    return false;
}

/* The reference keeps matrices as they are: as many bytes for each parameter of matrices
 * and tables as the file has, 4 for others, less the second bias of an LSTM or RNN, which
 * is added to the first; MPNet's bias by bucket is kept by distance. */
static void check_resident(const char *dir)
{
    struct config cfg = {0};
    struct weights *w = NULL;
    struct net *net = NULL;
    struct err err = {0};
    if (holds_copies(dir))
        return;
    ck_assert_int_eq(config_read(dir, &cfg, &err), ERR_OK);
    ck_assert_int_eq(weights_open(dir, &w, &err), ERR_OK);
    ck_assert_int_eq(net_load(&cfg, w, kernels_get("ref"), PRECISION_F32, 1, &net, &err),
                     ERR_OK);
    const struct config *c = &net->cfg;
    size_t params = weights_params(w);
    if (c->n_buckets)
        params += c->n_heads * (2 * c->context - 1) - c->n_heads * c->n_buckets;
    if (c->arch == ARCH_RNN && c->cell != CELL_GRU && c->bias)
        params -= c->n_layers * (c->bidirectional ? 2 : 1) * c->hidden *
                  (c->cell == CELL_LSTM ? 4 : 1);
    size_t packed = net->packed.used, width = strcmp(weights_dtype(w), "F32") ? 2 : 4;
    ck_assert_msg(packed / width + (net->resident_bytes - packed) / 4 == params,
                  "%s: %zu bytes of %zu packed, %zu parameters", dir, net->resident_bytes,
                  packed, params);
    weights_close(w);
    net_free(net);
}

START_TEST(resident_bytes_are_exact)
{
    fixture_each(FOLDERS, 50, check_resident);
}
END_TEST

static void check_load_faults(const char *dir)
{
    enum err_code code = ERR_NOMEM;
    long n = 0;
    for (; code != ERR_OK; n++) {
        struct err err = {0};
        struct net *net = NULL;
        mem_fail_after(n);
        code = loaded_try(dir, kernels_get(NULL), &net, &err);
        ck_assert_msg(code == ERR_OK || code == ERR_NOMEM, "%s: allocation %ld: %s", dir,
                      n, err.msg);
        ck_assert(code == ERR_OK || !net);
        net_free(net);
    }
    mem_fail_after(-1);
    ck_assert_int_gt(n, 10);
}

START_TEST(load_survives_every_failed_allocation)
{
    check_load_faults("tests/golden/nets/lstm-both-attention");
    check_load_faults("tests/golden/nets/gru-lm-tied");
    check_load_faults("tests/golden/nets/gpt2-free");
    check_load_faults("tests/golden/nets/gpt2-unscaled");
    check_load_faults("tests/golden/nets/llama-rope-yarn");
    check_load_faults("tests/golden/nets/qwen3");
    check_load_faults("tests/golden/nets/bert");
    check_load_faults("tests/golden/nets/bert-masked-first-names");
    check_load_faults("tests/golden/nets/electra-masked");
    check_load_faults("tests/golden/nets/mpnet");
    check_load_faults("tests/golden/nets/modernbert-mean");
}
END_TEST

/* Keys and values of key heads, in blocks of 16 positions of all layers. */
START_TEST(a_cache_holds_no_more_than_its_key_heads)
{
    struct loaded l;
    int32_t ids[17] = {0};
    loaded_open(&l, "tests/golden/nets/llama", kernels_get(NULL));
    const struct config *c = &l.net->cfg;
    size_t block = c->n_layers * 2 * c->n_kv_heads * 16 * c->head_width * sizeof(float);
    struct net_state *s = new_state(&l);
    size_t empty = l.net->ops->state_bytes(s), n[] = {1, 15, 1};
    ck_assert_uint_lt(c->n_kv_heads, c->n_heads);
    for (size_t i = 0; i < 3; i++) {
        free(feed(&l, s, ids, n[i]));
        size_t blocks = i < 2 ? 1 : 2, held = l.net->ops->state_bytes(s) - empty;
        ck_assert_uint_ge(held, blocks * block);
        ck_assert_uint_le(held, blocks * (block + 64));
    }
    l.net->ops->state_free(s);
    loaded_close(&l);
}
END_TEST

START_TEST(a_cache_that_cannot_grow_keeps_what_it_has)
{
    struct loaded l;
    struct err err = {0};
    loaded_open(&l, "tests/golden/nets/gpt2", kernels_get(NULL));
    const struct net_ops *ops = l.net->ops;
    size_t lengths[1] = {32}, D = l.net->out_width, bytes;
    struct texts t;
    random_texts(&l, &t, lengths, 1);
    struct net_batch all = texts_batch(&t);
    float *want = loaded_run(&l, &all, NET_ALL);
    struct net_state *s = new_state(&l), *copy = new_state(&l);
    free(feed(&l, s, t.ids, 10));
    ck_assert_int_eq(ops->state_copy(copy, s, &err), ERR_OK);
    /* Needs a copy of the first block and a second block: two allocations. */
    size_t starts[2] = {0, 10};
    struct net_batch next = {.B = 1, .starts = starts, .ids = t.ids + 10, .states = &s};
    float y[32 * 64];
    bytes = ops->scratch_bytes(l.net, 1, 10, 10, NET_ALL);
    ck_assert_int_eq(arena_reserve(&l.tmp, bytes, &err), ERR_OK);
    for (long n = 0; n < 2; n++) {
        err = (struct err){0};
        mem_fail_after(n);
        enum err_code code = ops->forward(l.net, &next, NET_ALL, y, &l.x, &err);
        ck_assert(!mem_fail_pending());
        mem_fail_after(-1);
        ck_assert_int_eq(code, ERR_NOMEM);
        ck_assert_uint_eq(ops->state_length(s), 10);
    }
    float *rest = feed(&l, s, t.ids + 10, 22);
    assert_bits(&l, "differs after a failure", rest, want + 10 * D, 22 * D);
    mem_fail_after(0);
    struct net_state *none = NULL;
    ck_assert_int_eq(ops->state_new(l.net, &none, &err), ERR_NOMEM);
    mem_fail_after(-1);
    ops->state_free(s);
    ops->state_free(copy);
    free(rest);
    free(want);
    loaded_close(&l);
}
END_TEST
int main(void)
{
    const TTest *const tests[] = {
        scratch_is_what_scratch_bytes_says,
        a_pass_takes_nothing_from_the_heap,
        memory_of_one_way_nets_does_not_grow_with_the_text,
        resident_bytes_are_exact,
        load_survives_every_failed_allocation,
        a_cache_holds_no_more_than_its_key_heads,
        a_cache_that_cannot_grow_keeps_what_it_has,
        NULL,
    };
    return suite_run("nets: memory", tests, 120);
}
