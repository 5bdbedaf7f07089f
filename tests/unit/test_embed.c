/* Vectors of texts: that they depend on nothing but the text, and what can be asked of
 * them. Whether they are the right ones is tests/golden/test_vectors.c. */
#include "tests/unit/team.h"
#include "tests/unit/tiny_models.h"

#include <math.h>

static const char *const MODELS[] = {
    "tiny-bert-sentences", "tiny-bert-bare",   "tiny-bert-mlm", "tiny-distilbert-multi",
    "tiny-gpt2",           "tiny-gpt2-labels", "tiny-llama",    "tiny-lstm",
    "tiny-bilstm"};
static const char *const TEXTS[] = {"the cat sat on the mat", "great",
                                    "don't you think so?",
                                    "a dog, a cat, a great cat and a dog"};
enum {
    N_MODELS = sizeof MODELS / sizeof *MODELS,
    N_TEXTS = sizeof TEXTS / sizeof *TEXTS,
    WIDTH_MAX = 64
};

struct texts {
    struct seq_tokens tokens[N_TEXTS];
    const struct seq_tokens *at[N_TEXTS];
};

static void read_texts(struct fixture *f, struct texts *t)
{
    for (size_t i = 0; i < N_TEXTS; i++) {
        t->tokens[i] = tokenize(f, SEQ_EMBED, TEXTS[i]);
        t->at[i] = &t->tokens[i];
    }
}

static void free_texts(struct texts *t)
{
    for (size_t i = 0; i < N_TEXTS; i++)
        seq_tokens_done(&t->tokens[i]);
}

static void embed(struct fixture *f, size_t n, const struct seq_tokens *const *texts,
                  const struct seq_vector_ask *ask, float *out)
{
    enum err_code code = seq_embed(f->m, f->w, n, texts, ask, out, &f->err);
    ck_assert_msg(code == ERR_OK, "%s", f->err.msg);
}

static double norm_of(const float *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)v[i] * v[i];
    return sqrt(sum);
}

static void check_same(const char *name, struct crew *crew)
{
    struct fixture f = open_fixture(name, NULL);
    struct texts t;
    float alone[N_TEXTS * WIDTH_MAX], batch[N_TEXTS * WIDTH_MAX];
    size_t W = seq_model_info(f.m)->vector_width;
    ck_assert_uint_le(W, WIDTH_MAX);
    read_texts(&f, &t);
    for (size_t i = 0; i < N_TEXTS; i++)
        embed(&f, 1, &t.at[i], NULL, alone + i * W);
    seq_worker_free(f.w);
    ck_assert_int_eq(seq_worker_new(crew, &f.w, &f.err), ERR_OK);
    embed(&f, N_TEXTS, t.at, NULL, batch);
    ck_assert_mem_eq(alone, batch, N_TEXTS * W * sizeof(float));
    ck_assert_mem_ne(batch, batch + W, W * sizeof(float));
    free_texts(&t);
    close_fixture(&f);
}

START_TEST(a_vector_is_the_same_alone_in_a_batch_and_with_helpers)
{
    struct team team;
    team_start(&team, 2);
    for (size_t i = 0; i < N_MODELS; i++)
        check_same(MODELS[i], team.crew);
    team_stop(&team);
}
END_TEST

START_TEST(every_model_says_what_its_vectors_are)
{
    for (size_t i = 0; i < N_MODELS; i++) {
        struct fixture f = open_fixture(MODELS[i], NULL);
        const struct seq_info *info = seq_model_info(f.m);
        bool sentences = strcmp(MODELS[i], "tiny-bert-sentences") == 0;
        ck_assert(info->tasks & SEQ_EMBED);
        ck_assert_str_eq(info->vector_pooling, sentences ? "cls" : "mean");
        ck_assert(info->vector_model == sentences && info->vector_unit == sentences);
        ck_assert_uint_eq(info->vector_context, sentences ? 12 : info->context);
        close_fixture(&f);
    }
}
END_TEST

/* As sentence-transformers saves a cross-encoder. */
START_TEST(a_list_of_the_model_alone_says_nothing_of_vectors)
{
    struct seq_model *m = NULL;
    struct err err;
    const char *dir = "tests/fixtures/folders/valid/micro-cross-encoder";
    ck_assert_int_eq(seq_model_load(dir, NULL, &m, &err), ERR_OK);
    ck_assert(!seq_model_info(m)->vector_model);
    ck_assert_str_eq(seq_model_info(m)->vector_pooling, "mean");
    seq_model_unref(m);
}
END_TEST

/* One batch, another wish for each text. */
START_TEST(norm_and_dimensions_are_each_texts_own)
{
    struct fixture f = open_fixture("tiny-bert-sentences", NULL);
    static const struct seq_vector_ask asks[] = {
        {SEQ_NORM_OWN, 0}, {SEQ_NORM_NONE, 0}, {SEQ_NORM_UNIT, 5}, {SEQ_NORM_NONE, 5}};
    struct texts t;
    float v[4 * WIDTH_MAX];
    size_t W = seq_model_info(f.m)->vector_width;
    read_texts(&f, &t);
    const struct seq_tokens *same[] = {t.at[0], t.at[0], t.at[0], t.at[0]};
    embed(&f, 4, same, asks, v);
    const float *own = v, *raw = v + W, *cut = v + 2 * W, *cut_raw = v + 3 * W;
    double length = norm_of(raw, W), short_length = norm_of(raw, 5);
    ck_assert_double_gt(fabs(length - 1), 0.1);
    ck_assert_double_eq_tol(norm_of(own, W), 1, 1e-6);
    ck_assert_double_eq_tol(norm_of(cut, 5), 1, 1e-6);
    for (size_t i = 0; i < W; i++) {
        ck_assert_double_eq_tol((double)own[i], raw[i] / length, 1e-6);
        ck_assert(cut_raw[i] == (i < 5 ? raw[i] : 0));
        ck_assert_double_eq_tol((double)cut[i], i < 5 ? raw[i] / short_length : 0, 1e-6);
    }
    free_texts(&t);
    close_fixture(&f);
}
END_TEST

START_TEST(a_model_without_modules_leaves_vectors_as_they_are)
{
    struct fixture f = open_fixture("tiny-bert-bare", NULL);
    static const struct seq_vector_ask none = {SEQ_NORM_NONE, 0};
    struct texts t;
    float own[WIDTH_MAX], raw[WIDTH_MAX];
    size_t W = seq_model_info(f.m)->vector_width;
    read_texts(&f, &t);
    embed(&f, 1, t.at, NULL, own);
    embed(&f, 1, t.at, &none, raw);
    ck_assert_mem_eq(own, raw, W * sizeof *own);
    free_texts(&t);
    close_fixture(&f);
}
END_TEST

START_TEST(texts_are_cut_to_what_the_folder_says_for_vectors_only)
{
    struct fixture f = open_fixture("tiny-bert-sentences", NULL);
    char text[4 * 30 + 1] = "";
    for (size_t i = 0; i < 30; i++)
        memcpy(text + 4 * i, "cat ", 5);
    struct seq_tokens t = tokenize(&f, SEQ_EMBED, text);
    ck_assert_uint_eq(t.n, 12);
    ck_assert_uint_eq(t.n_dropped, 20);
    ck_assert(t.at[0].special && t.at[11].special);
    ck_assert_int_eq(
        seq_tokenize(f.m, SEQ_EMBED, text, strlen(text), SEQ_WHOLE, &t, &f.err),
        ERR_LIMIT);
    seq_tokens_done(&t);
    t = tokenize(&f, SEQ_INSPECT, text);
    ck_assert_uint_eq(t.n, 32);
    seq_tokens_done(&t);
    close_fixture(&f);
}
END_TEST

START_TEST(pytorch_gives_the_same_vector_of_a_whole_folder)
{
    struct fixture f = open_fixture("tiny-bert-sentences", NULL);
    json_t *all = expected("tiny-bert-sentences");
    ck_assert_uint_gt(json_array_size(all), 0);
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *row = json_array_get(all, i);
        struct seq_tokens t = tokenize(&f, SEQ_EMBED, expected_text(row));
        const struct seq_tokens *at = &t;
        float v[WIDTH_MAX];
        check_ids(row, &t);
        embed(&f, 1, &at, NULL, v);
        for (size_t j = 0; j < expected_values(row); j++)
            ck_assert_double_eq_tol((double)v[j], expected_value(row, j), 1e-6);
        seq_tokens_done(&t);
    }
    json_decref(all);
    close_fixture(&f);
}
END_TEST

START_TEST(what_is_no_text_is_refused_and_none_is_fine)
{
    struct fixture f = open_fixture("tiny-lstm", NULL);
    struct seq_tokens empty = {0};
    const struct seq_tokens *at = &empty;
    float v[WIDTH_MAX];
    ck_assert_int_eq(seq_embed(f.m, f.w, 1, &at, NULL, v, &f.err), ERR_INPUT);
    ck_assert_int_eq(seq_embed(f.m, f.w, 0, NULL, NULL, v, &f.err), ERR_OK);
    close_fixture(&f);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_vector_is_the_same_alone_in_a_batch_and_with_helpers,
                                  every_model_says_what_its_vectors_are,
                                  a_list_of_the_model_alone_says_nothing_of_vectors,
                                  norm_and_dimensions_are_each_texts_own,
                                  a_model_without_modules_leaves_vectors_as_they_are,
                                  texts_are_cut_to_what_the_folder_says_for_vectors_only,
                                  pytorch_gives_the_same_vector_of_a_whole_folder,
                                  what_is_no_text_is_refused_and_none_is_fine,
                                  NULL};
    return suite_run("embed", tests, 120);
}
