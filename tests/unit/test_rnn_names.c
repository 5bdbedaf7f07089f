/* rnn_names: the same weights under other people's names. */
#include "tests/suite.h"
#include "tests/unit/net_fixture.h"
#include "tests/unit/net_maker.h"

enum { V = 7, I = 5, H = 5, L = 3 };

/* Names of the four roles; an empty output: a tied model without one. */
struct spelling {
    const char *embedding, *cells, *output;
};

static const struct spelling OURS = {"embedding", "rnn", "decoder"};

static const char *const LANGUAGE =
    "{\"architectures\":[\"LSTMForCausalLM\"],\"cell\":\"lstm\",\"vocab_size\":7,"
    "\"embedding_dim\":5,\"hidden_size\":5,\"num_layers\":1%s}";
static const char *const LABELS =
    "{\"architectures\":[\"GRUForSequenceClassification\"],\"cell\":\"gru\","
    "\"vocab_size\":7,\"embedding_dim\":5,\"hidden_size\":5,\"num_layers\":1,"
    "\"pooling\":\"last\",\"num_labels\":3%s}";

static void add(struct maker *m, const char *module, const char *part, size_t rows,
                size_t columns)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%s", module, part);
    maker_tensor(m, name, rows, columns, 0, 0.8f);
}

/* A folder; the same seed gives the same weights whatever they are called. */
static void make(struct maker *m, const char *format, const char *more,
                 const struct spelling *s)
{
    char config[512];
    bool language = format == LANGUAGE;
    size_t rows = (language ? 4 : 3) * H;
    snprintf(config, sizeof config, format, more);
    maker_begin(m, config);
    add(m, s->embedding, "weight", V, I);
    add(m, s->cells, "weight_ih_l0", rows, I);
    add(m, s->cells, "weight_hh_l0", rows, H);
    add(m, s->cells, "bias_ih_l0", rows, 0);
    add(m, s->cells, "bias_hh_l0", rows, 0);
    if (!strstr(more, "tie"))
        add(m, s->output, "weight", language ? V : L, H);
    add(m, s->output, "bias", language ? V : L, 0);
}

/* What the folder computes for one text: logits of each position, or of the labels. */
static size_t answers(struct maker *m, float *y)
{
    struct texts t = {.B = 1, .starts = {0, 6}, .ids = {3, 1, 4, 1, 5, 0}};
    struct net_batch batch = texts_batch(&t);
    struct loaded l;
    struct err err = {0};
    loaded_open(&l, m->dir, kernels_get("ref"));
    bool language = l.net->cfg.head == HEAD_LM;
    float *rows = loaded_run(&l, &batch, loaded_want(&l));
    size_t n = language ? 6 * V : L;
    if (language)
        ck_assert_int_eq(l.net->ops->logits(l.net, 6, rows, y, &l.x, &err), ERR_OK);
    else
        memcpy(y, rows, n * sizeof *y);
    free(rows);
    loaded_close(&l);
    return n;
}

static void check_same(const char *format, const char *more, const struct spelling *s)
{
    float want[6 * V], have[6 * V];
    struct maker m;
    make(&m, format, more, &OURS);
    maker_end(&m);
    size_t n = answers(&m, want);
    maker_remove(&m);
    make(&m, format, more, s);
    maker_end(&m);
    ck_assert_uint_eq(answers(&m, have), n);
    maker_remove(&m);
    ck_assert_msg(memcmp(want, have, n * sizeof *want) == 0, "%s, %s, %s: other values",
                  s->embedding, s->cells, s->output);
}

static const struct spelling USUAL[] = {
    {"encoder", "rnn", "decoder"}, /* PyTorch's word_language_model */
    {"embedding", "lstm", "fc"},
    {"embed", "gru", "linear"},
    {"embeddings", "lstm", "classifier"},
    {"emb", "rnn", "out"},
    {"word_embeddings", "gru", "output"},
    {"module.encoder", "module.rnn", "module.decoder"}, /* nn.DataParallel */
    {"model.embedding", "model.lstm", "model.fc"},
};

START_TEST(takes_the_usual_names)
{
    for (size_t i = 0; i < sizeof USUAL / sizeof *USUAL; i++) {
        check_same(LANGUAGE, "", &USUAL[i]);
        check_same(LABELS, "", &USUAL[i]);
        check_same(LANGUAGE, ",\"tie_word_embeddings\":true", &USUAL[i]);
    }
}
END_TEST

/* The folder must be refused with a message that holds both words. */
static void check_refused(struct maker *m, const char *a, const char *b)
{
    struct net *net = NULL;
    struct err err = {0};
    maker_end(m);
    ck_assert_int_ne(loaded_try(m->dir, kernels_get("ref"), &net, &err), ERR_OK);
    maker_remove(m);
    ck_assert_msg(strstr(err.msg, a) && strstr(err.msg, b), "%s or %s not in: %s", a, b,
                  err.msg);
}

START_TEST(refuses_two_of_a_role_by_naming_both)
{
    struct maker m;
    make(&m, LANGUAGE, "", &OURS);
    add(&m, "encoder", "weight", V, I);
    check_refused(&m, "embedding.weight", "encoder.weight");
    make(&m, LANGUAGE, "", &OURS);
    add(&m, "module.embedding", "weight", V, I);
    check_refused(&m, "two embeddings, embedding.weight", "module.embedding.weight");
    make(&m, LANGUAGE, "", &OURS);
    add(&m, "lstm", "weight_ih_l0", 4 * H, I);
    check_refused(&m, "rnn.weight_ih_l0", "lstm.weight_ih_l0");
    make(&m, LABELS, "", &OURS);
    add(&m, "fc", "weight", L, H);
    check_refused(&m, "decoder.weight", "fc.weight");
    make(&m, LANGUAGE, ",\"tie_word_embeddings\":true", &OURS);
    add(&m, "fc", "bias", V, 0);
    check_refused(&m, "decoder.bias", "fc.bias");
}
END_TEST

START_TEST(says_what_is_missing_by_the_first_choice)
{
    struct maker m;
    make(&m, LANGUAGE, "", &(struct spelling){"table", "rnn", "decoder"});
    check_refused(&m, "embedding.weight", "missing");
    make(&m, LANGUAGE, "", &(struct spelling){"embedding", "recurrent", "decoder"});
    check_refused(&m, "rnn.weight_ih_l0", "missing");
    make(&m, LANGUAGE, "", &(struct spelling){"embedding", "lstm", "head"});
    check_refused(&m, "decoder.weight", "missing");
    make(&m, LABELS, "", &(struct spelling){"embedding", "lstm", "head"});
    check_refused(&m, "classifier.weight", "missing");
}
END_TEST

/* Only the tensors behind the embedding's prefix belong to the net. */
START_TEST(refuses_half_a_prefix)
{
    struct maker m;
    make(&m, LANGUAGE, "", &(struct spelling){"module.encoder", "rnn", "decoder"});
    check_refused(&m, "module.", "missing");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        takes_the_usual_names, refuses_two_of_a_role_by_naming_both,
        says_what_is_missing_by_the_first_choice, refuses_half_a_prefix, NULL};
    return suite_run("rnn names", tests, 60);
}
