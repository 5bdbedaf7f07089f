/* importance.c: occluded texts are said what the model says of those tokens; units,
 * targets, attention's share, rank correlation. */
#include "tests/suite.h"
#include "tests/unit/fixture.h"
#include "tests/unit/tiny_models.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static const char TEXT[] = "The movie was great, not terrible at all";

/* What the fixtures read; a masked model's text holds its mask. */
static const struct {
    const char *name, *text;
} MODELS[] = {
    {"tiny-bert", TEXT},
    {"tiny-bilstm", TEXT},
    {"tiny-gpt2-labels", TEXT},
    {"tiny-distilbert-multi", TEXT},
    {"tiny-roberta-regression", TEXT},
    {"tiny-bert-one", TEXT},
    {"tiny-gpt2", TEXT},
    {"tiny-lstm", TEXT},
    {"tiny-llama", TEXT},
    {"tiny-bert-mlm", "the cat [MASK] on the mat, not great"},
    {"tiny-roberta-mlm", "the cat <mask> on the mat, not great"},
};
enum { N_MODELS = sizeof MODELS / sizeof *MODELS };

static struct seq_tokens read_text(struct fixture *f, const char *text)
{
    bool labels = seq_model_info(f->m)->tasks & SEQ_CLASSIFY;
    return tokenize(f, labels ? SEQ_CLASSIFY : SEQ_NEXT_TOKEN, text);
}

static struct importance *start(struct fixture *f, const struct seq_tokens *t,
                                const struct importance_ask *ask)
{
    struct importance *im = NULL;
    enum err_code code = importance_new(f->m, t, ask, &im, &f->err);
    ck_assert_msg(code == ERR_OK, "%s", f->err.msg);
    return im;
}

/* Steps of `most` tokens, each within that unless it is one text alone. */
static struct importance_view finish(struct fixture *f, struct importance *im,
                                     size_t most)
{
    struct importance_view v;
    while (importance_tokens_left(im)) {
        size_t before = importance_tokens_left(im);
        enum err_code code = importance_step(im, f->w, most, &f->err);
        ck_assert_msg(code == ERR_OK, "%s", f->err.msg);
        ck_assert_uint_lt(importance_tokens_left(im), before);
    }
    importance_look(im, &v);
    return v;
}

static void check_error(struct fixture *f, const struct seq_tokens *t,
                        const struct importance_ask *ask, enum err_code code,
                        const char *param)
{
    struct importance *im = NULL;
    f->err = (struct err){0};
    ck_assert_int_eq(importance_new(f->m, t, ask, &im, &f->err), code);
    ck_assert_str_eq(f->err.param, param);
    ck_assert_ptr_null(im);
}

/* The text without tokens first..last, or with `id` in their places. */
static struct seq_tokens edit(const struct seq_tokens *t, size_t first, size_t last,
                              int32_t id)
{
    struct seq_tokens e = {.at = malloc((t->n + 1) * sizeof *e.at)};
    for (size_t i = 0; i < t->n; i++) {
        bool out = i >= first && i <= last;
        if (out && id < 0)
            continue;
        e.at[e.n] = t->at[i];
        if (out)
            e.at[e.n].id = id;
        e.n++;
    }
    return e;
}

/* What the ordinary task says of the tokens. */
static void ask_task(struct fixture *f, const struct seq_tokens *t, int32_t target,
                     float *score, double *logprob)
{
    const struct seq_info *info = seq_model_info(f->m);
    if (info->tasks & SEQ_CLASSIFY) {
        float scores[16];
        ck_assert_uint_le(info->n_labels, 16);
        ck_assert_int_eq(seq_classify(f->m, f->w, 1, &t, NULL, scores, &f->err), ERR_OK);
        *score = scores[target];
        *logprob = NAN;
        return;
    }
    static struct seq_next_result r;
    const struct seq_next_request q = {
        .tokens = t, .top_k = SEQ_TOP_MAX, .unit = SEQ_UNIT_TOKEN, .prefix = ""};
    enum err_code code = seq_next_word(f->m, f->w, 1, &q, &r, &f->err);
    ck_assert_msg(code == ERR_OK, "%s", f->err.msg);
    *logprob = NAN;
    for (size_t i = 0; i < r.n; i++)
        if (r.at[i].tokens[0] == target)
            *logprob = r.at[i].logprob;
    *score = (float)exp(*logprob);
}

/* Bit for bit, and among the tokens that seq_next_word tells of; returns 1 if so. */
static size_t check_answer(struct fixture *f, const struct seq_tokens *t, int32_t target,
                           float score, double logprob)
{
    float own;
    double log;
    ask_task(f, t, target, &own, &log);
    if (!(seq_model_info(f->m)->tasks & SEQ_CLASSIFY)) {
        if (isnan(log))
            return 0;
        ck_assert_mem_eq(&log, &logprob, sizeof log);
    }
    ck_assert_mem_eq(&own, &score, sizeof own);
    return 1;
}

static size_t check_parts(struct fixture *f, const struct seq_tokens *t,
                          const struct importance_view *v)
{
    size_t told = 0;
    bool raw = seq_model_info(f->m)->scores == SEQ_SCORES_RAW &&
               seq_model_info(f->m)->tasks & SEQ_CLASSIFY;
    for (size_t i = 0; i < v->n; i++) {
        const struct importance_part *p = &v->parts[i];
        struct seq_tokens e = edit(t, p->first, p->last, -1);
        told += check_answer(f, &e, v->target, p->score, p->logprob);
        double drop = raw ? (double)v->score - p->score : v->logprob - p->logprob;
        ck_assert_mem_eq(&drop, &p->drop, sizeof drop);
        free(e.at);
    }
    return told;
}

START_TEST(what_is_left_is_answered_as_ever)
{
    static const enum importance_unit units[] = {IMPORTANCE_WORD, IMPORTANCE_TOKEN};
    for (size_t m = 0; m < N_MODELS; m++) {
        struct fixture f = open_fixture(MODELS[m].name, NULL);
        struct seq_tokens t = read_text(&f, MODELS[m].text);
        for (size_t u = 0; u < 2; u++) {
            const struct importance_ask ask = {.unit = units[u]};
            struct importance *im = start(&f, &t, &ask);
            struct importance_view v = finish(&f, im, 40);
            ck_assert_uint_eq(v.n, importance_count(f.m, &t, units[u]));
            ck_assert_uint_gt(v.n, 4);
            ck_assert_uint_eq(check_answer(&f, &t, v.target, v.score, v.logprob), 1);
            size_t told = check_parts(&f, &t, &v);
            ck_assert_msg(2 * told > v.n, "%s: %zu of %zu", MODELS[m].name, told, v.n);
            importance_free(im);
        }
        seq_tokens_done(&t);
        close_fixture(&f);
    }
}
END_TEST

/* Of the text without the part, or with a replaced one: what comes behind the tokens in
 * front of it, one at least, where these are known. */
static size_t tokens_read(struct fixture *f, const struct seq_tokens *t,
                          const struct importance_part *p, bool removes)
{
    size_t n = t->n - (removes ? p->last - p->first + 1 : 0);
    if (!(seq_model_info(f->m)->tasks & SEQ_STATES))
        return n;
    return n > p->first ? n - p->first : 1;
}

/* Words are all tokens but the specials and the mask, each once, in order. */
START_TEST(units_cover_the_text)
{
    for (size_t m = 0; m < N_MODELS; m++) {
        struct fixture f = open_fixture(MODELS[m].name, NULL);
        struct seq_tokens t = read_text(&f, MODELS[m].text);
        const char *mask = seq_model_info(f.m)->mask_token;
        for (int unit = IMPORTANCE_WORD; unit <= IMPORTANCE_TOKEN; unit++) {
            const struct importance_ask ask = {.unit = (enum importance_unit)unit};
            struct importance *im = start(&f, &t, &ask);
            struct importance_view v;
            importance_look(im, &v);
            size_t part = 0, all = t.n;
            for (size_t i = 0; i < t.n; i++) {
                size_t n = 0;
                const char *piece = seq_piece(f.m, t.at[i].id, &n);
                if (t.at[i].special ||
                    (mask && n == strlen(mask) && memcmp(piece, mask, n) == 0))
                    continue;
                while (part < v.n && v.parts[part].last < i)
                    part++;
                ck_assert_uint_lt(part, v.n);
                ck_assert_uint_le(v.parts[part].first, i);
                if (unit == IMPORTANCE_TOKEN)
                    ck_assert_uint_eq(v.parts[part].first, i);
                else if (i > v.parts[part].first)
                    ck_assert_int_eq(t.at[i].word, t.at[i - 1].word);
            }
            for (size_t i = 0; i < v.n; i++)
                all += tokens_read(&f, &t, &v.parts[i], true);
            ck_assert_uint_eq(importance_tokens(im), all);
            importance_free(im);
        }
        seq_tokens_done(&t);
        close_fixture(&f);
    }
}
END_TEST

static void copy_file(const char *from, const char *to, const char *name)
{
    char path[200];
    size_t n = 0;
    snprintf(path, sizeof path, "%s/%s", from, name);
    FILE *in = fopen(path, "rb");
    ck_assert_ptr_nonnull(in);
    char *bytes = malloc(1 << 22);
    n = fread(bytes, 1, 1 << 22, in);
    fclose(in);
    fixture_write(to, name, bytes, n);
    free(bytes);
}

/* A tokenizer that puts its blanks in the normalizer, as Llama 2's, takes the whole text
 * for one word; where its pieces begin with the blank, words begin all the same. */
START_TEST(words_begin_with_sentencepiece_blanks)
{
    static const char from[] = "tests/fixtures/models/tiny-llama";
    static const char normalizer[] =
        "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":"
        "\"\xe2\x96\x81\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},"
        "\"content\":\"\xe2\x96\x81\"}]}";
    char dir[] = "/tmp/seqd_test_XXXXXX", path[200];
    static const char *const names[] = {"config.json", "model.safetensors",
                                        "tokenizer.json"};
    struct fixture f = {0};
    ck_assert_ptr_nonnull(mkdtemp(dir));
    copy_file(from, dir, names[0]);
    copy_file(from, dir, names[1]);
    snprintf(path, sizeof path, "%s/tokenizer.json", from);
    json_t *file = json_load_file(path, 0, NULL);
    json_object_set_new(file, "pre_tokenizer", json_null());
    json_object_set_new(file, "normalizer", json_loads(normalizer, 0, NULL));
    char *text = json_dumps(file, 0);
    fixture_write(dir, names[2], text, strlen(text));
    free(text);
    json_decref(file);
    ck_assert_msg(seq_model_load(dir, NULL, &f.m, &f.err) == ERR_OK, "%s", f.err.msg);
    ck_assert_int_eq(seq_worker_new(NULL, &f.w, &f.err), ERR_OK);
    struct seq_tokens t = read_text(&f, "the cat sat on the mat");
    for (size_t i = 1; i + 1 < t.n; i++)
        ck_assert_int_eq(t.at[i].word, t.at[i + 1].word);
    ck_assert_uint_eq(importance_count(f.m, &t, IMPORTANCE_WORD), 6);
    seq_tokens_done(&t);
    close_fixture(&f);
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

/* How it is cut into steps changes no bit. */
START_TEST(steps_of_any_size_agree)
{
    static const size_t most[] = {1, 7, 33, 100000};
    for (size_t m = 0; m < N_MODELS; m++) {
        struct fixture f = open_fixture(MODELS[m].name, NULL);
        struct seq_tokens t = read_text(&f, MODELS[m].text);
        const struct importance_ask ask = {.unit = IMPORTANCE_TOKEN};
        struct importance *first = start(&f, &t, &ask);
        struct importance_view a = finish(&f, first, most[0]), b;
        for (size_t i = 1; i < 4; i++) {
            struct importance *im = start(&f, &t, &ask);
            b = finish(&f, im, most[i]);
            ck_assert_uint_eq(a.n, b.n);
            for (size_t p = 0; p < a.n; p++) {
                ck_assert_mem_eq(&a.parts[p].drop, &b.parts[p].drop, sizeof(double));
                ck_assert_mem_eq(&a.parts[p].score, &b.parts[p].score, sizeof(float));
                ck_assert_mem_eq(&a.parts[p].attention, &b.parts[p].attention,
                                 sizeof(double));
            }
            importance_free(im);
        }
        importance_free(first);
        seq_tokens_done(&t);
        close_fixture(&f);
    }
}
END_TEST

static int32_t id_of(struct fixture *f, const char *piece)
{
    size_t n = 0;
    for (int32_t id = 0; (size_t)id < seq_model_info(f->m)->vocab; id++) {
        const char *own = seq_piece(f->m, id, &n);
        if (own && n == strlen(piece) && memcmp(own, piece, n) == 0)
            return id;
    }
    ck_abort_msg("no %s", piece);
    return -1;
}

/* By the mask token where there is one, else by the unknown one, else not at all. */
START_TEST(parts_are_replaced_by_mask_or_unknown)
{
    static const struct {
        const char *name, *by;
    } rows[] = {{"tiny-bert", "[UNK]"},
                {"tiny-bert-one", "[MASK]"},
                {"tiny-bilstm", "<unk>"},
                {"tiny-lstm", "<unk>"},
                {"tiny-roberta-regression", "<mask>"},
                {"tiny-llama", "<unk>"}};
    const struct importance_ask ask = {.mode = IMPORTANCE_REPLACE};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fixture f = open_fixture(rows[i].name, NULL);
        struct seq_tokens t = read_text(&f, TEXT);
        struct importance *im = start(&f, &t, &ask);
        struct importance_view v = finish(&f, im, 64);
        size_t all = t.n;
        for (size_t p = 0; p < v.n; p++)
            all += tokens_read(&f, &t, &v.parts[p], false);
        ck_assert_uint_eq(importance_tokens(im), all);
        int32_t id = id_of(&f, rows[i].by);
        for (size_t p = 0; p < v.n; p++) {
            struct seq_tokens e = edit(&t, v.parts[p].first, v.parts[p].last, id);
            check_answer(&f, &e, v.target, v.parts[p].score, v.parts[p].logprob);
            free(e.at);
        }
        importance_free(im);
        seq_tokens_done(&t);
        close_fixture(&f);
    }
    struct fixture f = open_fixture("tiny-gpt2", NULL);
    struct seq_tokens t = read_text(&f, TEXT);
    check_error(&f, &t, &ask, ERR_INPUT, "mode");
    seq_tokens_done(&t);
    close_fixture(&f);
}
END_TEST

START_TEST(a_mask_that_replaces_is_not_the_one_that_is_read)
{
    struct fixture f = open_fixture("tiny-bert-mlm", NULL);
    struct seq_tokens t = read_text(&f, MODELS[9].text);
    const struct importance_ask ask = {.mode = IMPORTANCE_REPLACE};
    const struct importance_ask plain = {.mode = IMPORTANCE_DELETE};
    struct importance *a = start(&f, &t, &ask), *b = start(&f, &t, &plain);
    struct importance_view va = finish(&f, a, 64), vb = finish(&f, b, 64);
    ck_assert_int_eq(va.target, vb.target);
    ck_assert_mem_eq(&va.logprob, &vb.logprob, sizeof va.logprob);
    ck_assert_double_ne(va.parts[0].drop, vb.parts[0].drop);
    importance_free(a);
    importance_free(b);
    seq_tokens_done(&t);
    t = tokenize(&f, SEQ_CLASSIFY, "no mask here");
    check_error(&f, &t, &plain, ERR_INPUT, "text");
    seq_tokens_done(&t);
    close_fixture(&f);
}
END_TEST

/* The probabilities of two labels move against each other. */
START_TEST(targets_are_labels_or_tokens)
{
    struct fixture f = open_fixture("tiny-bert", NULL);
    struct seq_tokens t = read_text(&f, TEXT);
    struct importance_view v[2];
    struct importance *im[2];
    for (size_t l = 0; l < 2; l++) {
        const char *name = seq_model_info(f.m)->labels[l];
        const struct importance_ask ask = {.target = name, .target_n = strlen(name)};
        im[l] = start(&f, &t, &ask);
        v[l] = finish(&f, im[l], 100);
        ck_assert_int_eq(v[l].target, (int)l);
    }
    for (size_t p = 0; p < v[0].n; p++) {
        ck_assert_double_eq_tol(v[0].parts[p].score + v[1].parts[p].score, 1, 1e-6);
        ck_assert_double_eq_tol(exp(v[0].parts[p].logprob), v[0].parts[p].score, 1e-6);
        ck_assert(v[0].parts[p].drop * v[1].parts[p].drop <= 0);
    }
    importance_free(im[0]);
    importance_free(im[1]);
    const struct importance_ask none = {.target = "bogus", .target_n = 5};
    check_error(&f, &t, &none, ERR_INPUT, "target");
    seq_tokens_done(&t);
    close_fixture(&f);
}
END_TEST

START_TEST(next_tokens_are_found_by_their_text)
{
    struct fixture f = open_fixture("tiny-gpt2", NULL);
    struct seq_tokens t = read_text(&f, "the cat sat on the");
    static const char *const texts[] = {" cat", "<|endoftext|>"};
    static const char *const pieces[] = {"\xc4\xa0"
                                         "cat",
                                         "<|endoftext|>"};
    for (size_t i = 0; i < 2; i++) {
        const struct importance_ask ask = {.target = texts[i],
                                           .target_n = strlen(texts[i])};
        struct importance *im = start(&f, &t, &ask);
        struct importance_view v = finish(&f, im, 100);
        ck_assert_int_eq(v.target, id_of(&f, pieces[i]));
        ck_assert_double_eq(v.answer[v.target], (float)v.logprob);
        importance_free(im);
    }
    static const char *const bad[] = {"", "no such token", "cat cat"};
    for (size_t i = 0; i < 3; i++) {
        const struct importance_ask ask = {.target = bad[i], .target_n = strlen(bad[i])};
        check_error(&f, &t, &ask, ERR_INPUT, "target");
    }
    seq_tokens_done(&t);
    close_fixture(&f);
    f = open_fixture("tiny-bert-mlm", NULL);
    t = read_text(&f, MODELS[9].text);
    const struct importance_ask ask = {.target = "cat", .target_n = 3};
    struct importance *im = start(&f, &t, &ask);
    importance_free(im);
    seq_tokens_done(&t);
    close_fixture(&f);
}
END_TEST

/* ---- attention ------------------------------------------------------------------- */

struct sums {
    size_t layer, row, n;
    double key[64];
};

static void add_row(void *arg, size_t layer, size_t head, size_t query, size_t n_keys,
                    const float *p)
{
    struct sums *s = arg;
    (void)head;
    for (size_t k = 0; layer == s->layer && query == s->row && k < n_keys; k++)
        s->key[k] += (double)p[k];
}

/* The shares are those of the maps that seq_inspect shows; nothing of them is left out
 * but the specials. */
START_TEST(attention_is_shared_out_among_the_units)
{
    static const struct {
        const char *name;
        bool last; /* the row of the last token */
    } rows[] = {{"tiny-bert", false},
                {"tiny-gpt2", true},
                {"tiny-gpt2-labels", true},
                {"tiny-bilstm", false},
                {"tiny-llama", true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fixture f = open_fixture(rows[i].name, NULL);
        struct seq_tokens t = read_text(&f, TEXT);
        struct sums s = {.layer = seq_model_info(f.m)->n_map_layers - 1,
                         .row = rows[i].last ? t.n - 1 : 0};
        const struct seq_sink sink = {.arg = &s, .row = add_row};
        ck_assert_int_eq(seq_inspect(f.m, f.w, &t, &sink, NULL, &f.err), ERR_OK);
        const struct importance_ask ask = {.unit = IMPORTANCE_WORD};
        struct importance *im = start(&f, &t, &ask);
        struct importance_view v = finish(&f, im, 64);
        double all = 0, sum = 0, shares[64], drops[64];
        ck_assert_ptr_nonnull(v.attention_of);
        for (size_t p = 0; p < v.n; p++)
            for (size_t k = v.parts[p].first; k <= v.parts[p].last; k++)
                all += s.key[k];
        for (size_t p = 0; p < v.n; p++) {
            double own = 0;
            for (size_t k = v.parts[p].first; k <= v.parts[p].last; k++)
                own += s.key[k];
            ck_assert_double_eq_tol(v.parts[p].attention, own / all, 1e-12);
            sum += v.parts[p].attention;
            shares[p] = v.parts[p].attention;
            drops[p] = fabs(v.parts[p].drop);
        }
        ck_assert_double_eq_tol(sum, 1, 1e-12);
        ck_assert_double_eq_tol(v.tau, importance_tau(v.n, shares, drops), 1e-15);
        importance_free(im);
        seq_tokens_done(&t);
        close_fixture(&f);
    }
    struct fixture f = open_fixture("tiny-lstm", NULL);
    struct seq_tokens t = read_text(&f, TEXT);
    const struct importance_ask ask = {.unit = IMPORTANCE_WORD};
    struct importance *im = start(&f, &t, &ask);
    struct importance_view v = finish(&f, im, 64);
    ck_assert_ptr_null(v.attention_of);
    ck_assert(isnan(v.tau));
    importance_free(im);
    seq_tokens_done(&t);
    close_fixture(&f);
}
END_TEST

/* scipy.stats.kendalltau of the same lists. */
START_TEST(tau_counts_pairs_and_ties)
{
    static const double a[] = {12, 2, 1, 12, 2}, b[] = {1, 4, 7, 1, 0};
    static const double up[] = {1, 2, 3, 4}, down[] = {4, 3, 2, 1}, same[] = {5, 5, 5, 5};
    static const double gap[] = {1, NAN, 3, 4};
    ck_assert_double_eq_tol(importance_tau(5, a, b), -0.47140452079103168, 1e-15);
    ck_assert_double_eq(importance_tau(4, up, up), 1);
    ck_assert_double_eq(importance_tau(4, up, down), -1);
    ck_assert_double_eq(importance_tau(4, gap, up), 1);
    ck_assert(isnan(importance_tau(4, up, same)));
    ck_assert(isnan(importance_tau(1, up, up)));
    ck_assert(isnan(importance_tau(0, up, up)));
}
END_TEST

/* ---- edges ----------------------------------------------------------------------- */

START_TEST(a_text_of_specials_alone_has_no_units)
{
    struct fixture f = open_fixture("tiny-bert", NULL);
    struct seq_tokens t = read_text(&f, "");
    const struct importance_ask ask = {.unit = IMPORTANCE_WORD};
    struct importance *im = start(&f, &t, &ask);
    struct importance_view v = finish(&f, im, 64);
    ck_assert_uint_eq(v.n, 0);
    ck_assert_uint_eq(check_answer(&f, &t, v.target, v.score, v.logprob), 1);
    ck_assert_ptr_null(v.attention_of);
    importance_free(im);
    seq_tokens_done(&t);
    close_fixture(&f);
}
END_TEST

START_TEST(where_nothing_would_be_left_nothing_is_said)
{
    struct fixture f = open_fixture("tiny-bilstm", NULL);
    struct seq_tokens t = read_text(&f, "great");
    ck_assert_uint_eq(t.n, 1);
    const struct importance_ask ask = {.unit = IMPORTANCE_WORD};
    struct importance *im = start(&f, &t, &ask);
    struct importance_view v = finish(&f, im, 64);
    ck_assert_uint_eq(v.n, 1);
    ck_assert(isnan(v.parts[0].drop) && isnan(v.parts[0].logprob));
    ck_assert_double_eq(v.parts[0].attention, 1);
    ck_assert(isnan(v.tau));
    importance_free(im);
    seq_tokens_done(&t);
    close_fixture(&f);
}
END_TEST

START_TEST(more_units_than_the_limit_are_refused)
{
    char text[514] = "";
    struct fixture f = open_fixture("tiny-lstm", NULL);
    for (size_t i = 0; i < 256; i++)
        text[2 * i] = 'a', text[2 * i + 1] = ' ';
    struct seq_tokens t = read_text(&f, text);
    const struct importance_ask ask = {.unit = IMPORTANCE_TOKEN};
    struct importance *im = start(&f, &t, &ask);
    importance_free(im);
    seq_tokens_done(&t);
    text[512] = 'a';
    t = read_text(&f, text);
    ck_assert_uint_eq(importance_count(f.m, &t, IMPORTANCE_TOKEN), 257);
    check_error(&f, &t, &ask, ERR_LIMIT, "text");
    seq_tokens_done(&t);
    close_fixture(&f);
    f = open_fixture("tiny-bert-bare", NULL);
    t = tokenize(&f, SEQ_ATTENTION, "a cat");
    check_error(&f, &t, &ask, ERR_TASK, "");
    seq_tokens_done(&t);
    close_fixture(&f);
}
END_TEST

/* Each allocation fails once: it is reported, nothing leaks, nothing is torn. */
START_TEST(survives_failing_allocations)
{
    static const size_t models[] = {0, 1, 6, 7, 9};
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        struct fixture f = open_fixture(MODELS[models[m]].name, NULL);
        struct seq_tokens t = read_text(&f, MODELS[models[m]].text);
        const struct importance_ask ask = {.unit = IMPORTANCE_WORD};
        bool struck = true;
        size_t n = 0;
        for (; struck; n++) {
            struct importance *im = NULL;
            struct err err = {0};
            mem_fail_after((long)n);
            enum err_code code = importance_new(f.m, &t, &ask, &im, &err);
            while (code == ERR_OK && importance_tokens_left(im))
                code = importance_step(im, f.w, 32, &err);
            struck = !mem_fail_pending();
            mem_fail_after(-1);
            ck_assert_int_eq(code, struck ? ERR_NOMEM : ERR_OK);
            importance_free(im);
        }
        ck_assert_uint_gt(n, 5);
        seq_tokens_done(&t);
        close_fixture(&f);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {what_is_left_is_answered_as_ever,
                                  units_cover_the_text,
                                  words_begin_with_sentencepiece_blanks,
                                  steps_of_any_size_agree,
                                  parts_are_replaced_by_mask_or_unknown,
                                  a_mask_that_replaces_is_not_the_one_that_is_read,
                                  targets_are_labels_or_tokens,
                                  next_tokens_are_found_by_their_text,
                                  attention_is_shared_out_among_the_units,
                                  tau_counts_pairs_and_ties,
                                  a_text_of_specials_alone_has_no_units,
                                  where_nothing_would_be_left_nothing_is_said,
                                  more_units_than_the_limit_are_refused,
                                  survives_failing_allocations,
                                  NULL};
    return suite_run("importance", tests, 60);
}
