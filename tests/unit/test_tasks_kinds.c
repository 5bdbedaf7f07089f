/* The front door on models as transformers saves them: masked ones, bare ones,
 * classifiers of every kind, pairs of texts. Answers equal PyTorch's (expect.json). */
#include "model/seq.h"
#include "tests/unit/tiny_models.h"

#include <ctype.h>
#include <math.h>

/* ---- masked language models ------------------------------------------------------ */

static const char *const masked[] = {"tiny-bert-mlm", "tiny-roberta-mlm"};
enum { MASKED = sizeof masked / sizeof *masked, MASKED_TEXTS = 3 };

static void predict(struct fixture *f, const struct seq_tokens *t, enum seq_unit unit,
                    const char *prefix, struct seq_next_result *r)
{
    struct seq_next_request q = {.tokens = t,
                                 .top_k = SEQ_TOP_MAX,
                                 .unit = unit,
                                 .prefix = prefix,
                                 .prefix_n = strlen(prefix)};
    enum err_code code = seq_next_word(f->m, f->w, 1, &q, r, &f->err);
    ck_assert_msg(code == ERR_OK, "%s", f->err.msg);
}

static void check_value(const json_t *row, const struct seq_prediction *p)
{
    double want = expected_value(row, (size_t)p->tokens[0]);
    ck_assert_uint_eq(p->n_tokens, 1);
    ck_assert_double_eq_tol(p->logprob, want, 1e-4 * fabs(want) + 1e-5);
}

START_TEST(masked_tokens_equal_pytorch)
{
    static struct seq_next_result r;
    for (size_t i = 0; i < MASKED; i++) {
        struct fixture f = open_fixture(masked[i], NULL);
        const struct seq_info *info = seq_model_info(f.m);
        ck_assert_uint_eq(info->tasks, SEQ_NEXT_WORD | SEQ_ATTENTION | SEQ_INSPECT |
                                           SEQ_EMBED | SEQ_IMPORTANCE);
        ck_assert_int_eq(info->mask, SEQ_MASK_FULL);
        ck_assert_str_eq(info->mask_token, i ? "<mask>" : "[MASK]");
        json_t *all = expected(masked[i]);
        for (size_t k = 0; k < MASKED_TEXTS; k++) {
            const json_t *row = json_array_get(all, k);
            struct seq_tokens t = tokenize(&f, SEQ_NEXT_WORD, expected_text(row));
            check_ids(row, &t);
            predict(&f, &t, SEQ_UNIT_TOKEN, "", &r);
            ck_assert_uint_eq(r.n, SEQ_TOP_MAX);
            for (size_t p = 0; p < r.n; p++) {
                check_value(row, &r.at[p]);
                ck_assert(p == 0 || r.at[p - 1].logprob >= r.at[p].logprob);
                ck_assert(r.at[p].n_bytes == 0 || r.at[p].bytes[0] != ' ');
            }
            /* The best 100: none that is left out is better than the last. */
            size_t better = 0;
            for (size_t id = 0; id < info->vocab; id++)
                better += expected_value(row, id) > r.at[r.n - 1].logprob + 1e-3;
            ck_assert_uint_lt(better, r.n);
            seq_tokens_done(&t);
        }
        json_decref(all);
        close_fixture(&f);
    }
}
END_TEST

/* True if the token is a whole word in that text's place: `blank`, which all words have
 * there, and word characters. */
static bool is_word(const struct fixture *f, int32_t id, const char *blank)
{
    size_t n, skip = strlen(blank);
    const char *s = seq_piece_bytes(f->m, id, &n);
    if (n <= skip || memcmp(s, blank, skip) != 0 || utf8_valid(s, n) != n)
        return false;
    for (size_t i = skip; i < n; i++)
        if (!isalnum((unsigned char)s[i]) && (unsigned char)s[i] < 0x80)
            return false;
    return true;
}

/* All whole words and nothing else: as many as the vocabulary has, up to 100. */
START_TEST(masked_words_are_all_whole_words)
{
    /* Byte-level: " word" within a text, "word" at its beginning and behind a comma. */
    static const char *const blanks[MASKED][MASKED_TEXTS] = {{" ", " ", " "},
                                                             {" ", "", ""}};
    static struct seq_next_result r;
    for (size_t i = 0; i < MASKED; i++) {
        struct fixture f = open_fixture(masked[i], NULL);
        json_t *all = expected(masked[i]);
        for (size_t k = 0; k < MASKED_TEXTS; k++) {
            const json_t *row = json_array_get(all, k);
            struct seq_tokens t = tokenize(&f, SEQ_NEXT_WORD, expected_text(row));
            predict(&f, &t, SEQ_UNIT_WORD, "", &r);
            double last = r.at[r.n - 1].logprob;
            size_t words = 0;
            for (size_t id = 0; id < seq_model_info(f.m)->vocab; id++)
                words += is_word(&f, (int32_t)id, blanks[i][k]) &&
                         expected_value(row, id) > last - 1e-5;
            for (size_t p = 0; p < r.n; p++) {
                check_value(row, &r.at[p]);
                ck_assert(is_word(&f, r.at[p].tokens[0], blanks[i][k]));
                ck_assert_int_ne(r.at[p].bytes[0], ' ');
            }
            ck_assert_uint_gt(r.n, 20);
            ck_assert_uint_eq(words, r.n);
            seq_tokens_done(&t);
        }
        json_decref(all);
        close_fixture(&f);
    }
}
END_TEST

START_TEST(a_blank_before_the_mask_is_seen)
{
    static struct seq_next_result r;
    struct fixture f = open_fixture("tiny-roberta-mlm", NULL);
    static const char *const texts[] = {"great,<mask>", "great, <mask>"};
    for (size_t i = 0; i < 2; i++) {
        size_t n;
        struct seq_tokens t = tokenize(&f, SEQ_NEXT_WORD, texts[i]);
        predict(&f, &t, SEQ_UNIT_WORD, "", &r);
        const char *s = seq_piece(f.m, r.at[0].tokens[0], &n);
        ck_assert_int_eq(strncmp(s, "\xc4\xa0", 2) == 0, i == 1);
        seq_tokens_done(&t);
    }
    close_fixture(&f);
}
END_TEST

START_TEST(masked_words_begin_with_the_prefix)
{
    static struct seq_next_result all, some;
    for (size_t i = 0; i < MASKED; i++) {
        struct fixture f = open_fixture(masked[i], NULL);
        json_t *rows = expected(masked[i]);
        struct seq_tokens t =
            tokenize(&f, SEQ_NEXT_WORD, expected_text(json_array_get(rows, 0)));
        predict(&f, &t, SEQ_UNIT_WORD, "", &all);
        predict(&f, &t, SEQ_UNIT_WORD, "c", &some);
        size_t n = 0;
        for (size_t p = 0; p < all.n; p++)
            if (all.at[p].bytes[0] == 'c') {
                ck_assert_uint_lt(n, some.n);
                ck_assert_int_eq(all.at[p].tokens[0], some.at[n].tokens[0]);
                ck_assert_mem_eq(&all.at[p].logprob, &some.at[n].logprob, sizeof(double));
                n++;
            }
        ck_assert_uint_gt(n, 0);
        seq_tokens_done(&t);
        json_decref(rows);
        close_fixture(&f);
    }
}
END_TEST

START_TEST(masked_texts_are_the_same_alone_and_batched)
{
    static struct seq_next_result alone[MASKED_TEXTS], batched[MASKED_TEXTS];
    struct fixture f = open_fixture("tiny-bert-mlm", NULL);
    json_t *rows = expected("tiny-bert-mlm");
    struct seq_tokens t[MASKED_TEXTS];
    struct seq_next_request q[MASKED_TEXTS];
    for (size_t b = 0; b < MASKED_TEXTS; b++) {
        t[b] = tokenize(&f, SEQ_NEXT_WORD, expected_text(json_array_get(rows, b)));
        q[b] = (struct seq_next_request){
            .tokens = &t[b], .top_k = 3 + b, .unit = SEQ_UNIT_WORD, .prefix = ""};
        q[b].unit = b == 1 ? SEQ_UNIT_TOKEN : SEQ_UNIT_WORD;
        ck_assert_int_eq(seq_next_word(f.m, f.w, 1, &q[b], &alone[b], &f.err), ERR_OK);
        ck_assert_uint_eq(alone[b].n, 3 + b);
    }
    ck_assert_int_eq(seq_next_word(f.m, f.w, MASKED_TEXTS, q, batched, &f.err), ERR_OK);
    for (size_t b = 0; b < MASKED_TEXTS; b++) {
        ck_assert_uint_eq(alone[b].n, batched[b].n);
        for (size_t p = 0; p < alone[b].n; p++) {
            ck_assert_int_eq(alone[b].at[p].tokens[0], batched[b].at[p].tokens[0]);
            ck_assert_mem_eq(&alone[b].at[p].logprob, &batched[b].at[p].logprob,
                             sizeof(double));
        }
        seq_tokens_done(&t[b]);
    }
    json_decref(rows);
    close_fixture(&f);
}
END_TEST

START_TEST(a_masked_text_holds_one_mask_token)
{
    static const struct {
        const char *text, *says;
    } bad[] = {{"the cat sat on the mat", "put [MASK] where"},
               {"", "put [MASK] where"},
               {"[mask]", "put [MASK] where"},
               {"the [MASK] sat on the [MASK].", "holds 2 mask tokens [MASK]"}};
    struct fixture f = open_fixture("tiny-bert-mlm", NULL);
    struct seq_tokens t = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err err = {0};
        const char *text = bad[i].text;
        ck_assert_int_eq(
            seq_tokenize(f.m, SEQ_NEXT_WORD, text, strlen(text), SEQ_WHOLE, &t, &err),
            ERR_INPUT);
        ck_assert_str_eq(err.param, "text");
        ck_assert_msg(strstr(err.msg, bad[i].says) != NULL, "%s", err.msg);
        ck_assert_int_eq(
            seq_tokenize(f.m, SEQ_ATTENTION, text, strlen(text), SEQ_WHOLE, &t, &err),
            ERR_OK);
    }
    static struct seq_next_result r; /* tokens of another task */
    struct seq_next_request q = {.tokens = &t, .top_k = 1, .prefix = ""};
    ck_assert_int_eq(seq_next_word(f.m, f.w, 1, &q, &r, &f.err), ERR_INPUT);
    seq_tokens_done(&t);
    close_fixture(&f);
}
END_TEST

/* "great great ... [MASK] ... great": `before` words, the mask, `behind` words. */
static char *around_mask(const char *mask, size_t before, size_t behind)
{
    size_t bytes = 6 * (before + behind) + strlen(mask) + 2, at = 0;
    char *text = malloc(bytes);
    for (size_t i = 0; i < before; i++)
        at += (size_t)snprintf(text + at, bytes - at, "great ");
    at += (size_t)snprintf(text + at, bytes - at, "%s", mask);
    for (size_t i = 0; i < behind; i++)
        at += (size_t)snprintf(text + at, bytes - at, " great");
    return text;
}

static void check_cut(struct fixture *f, size_t before, size_t behind, enum seq_keep keep,
                      size_t wanted)
{
    const struct seq_info *info = seq_model_info(f->m);
    char *text = around_mask(info->mask_token, before, behind);
    struct seq_tokens t = {0};
    ck_assert_int_eq(
        seq_tokenize(f->m, SEQ_NEXT_WORD, text, strlen(text), keep, &t, &f->err), ERR_OK);
    ck_assert_uint_eq(t.n, info->context);
    ck_assert_uint_eq(t.n + t.n_dropped, before + behind + 3);
    ck_assert(t.at[0].special);
    ck_assert(t.at[t.n - 1].special);
    size_t n;
    ck_assert_str_eq(seq_piece(f->m, t.at[wanted].id, &n), info->mask_token);
    /* What is left is one stretch of the text. */
    for (size_t i = 2; i + 1 < t.n; i++)
        ck_assert_uint_le(t.at[i].start - t.at[i - 1].end, 1);
    ck_assert_int_eq(
        seq_tokenize(f->m, SEQ_NEXT_WORD, text, strlen(text), SEQ_WHOLE, &t, &f->err),
        ERR_LIMIT);
    f->err = (struct err){0};
    seq_tokens_done(&t);
    free(text);
}

START_TEST(the_mask_is_never_cut_off)
{
    struct fixture f = open_fixture("tiny-bert-mlm", NULL);
    ck_assert_uint_eq(seq_model_info(f.m)->context, 32);
    check_cut(&f, 0, 99, SEQ_KEEP_USUAL, 1);
    check_cut(&f, 5, 99, SEQ_KEEP_USUAL, 6);
    check_cut(&f, 29, 99, SEQ_KEEP_USUAL, 30); /* the last that fits */
    check_cut(&f, 30, 99, SEQ_KEEP_USUAL, 16); /* in the middle from here on */
    check_cut(&f, 90, 99, SEQ_KEEP_START, 16);
    check_cut(&f, 99, 0, SEQ_KEEP_USUAL, 30);
    check_cut(&f, 99, 5, SEQ_KEEP_USUAL, 25);
    check_cut(&f, 99, 5, SEQ_KEEP_END, 25);
    check_cut(&f, 5, 99, SEQ_KEEP_END, 6);
    close_fixture(&f);
}
END_TEST

START_TEST(masked_models_score_no_text_and_have_no_state)
{
    struct fixture f = open_fixture("tiny-bert-mlm", NULL);
    struct seq_tokens t = tokenize(&f, SEQ_ATTENTION, "the cat");
    double logprob[16];
    float scores[2];
    const struct seq_tokens *texts[] = {&t};
    struct seq_state *s = NULL;
    struct err err[3] = {{0}};
    ck_assert_int_eq(seq_score(f.m, f.w, &t, -1, logprob, &err[0]), ERR_TASK);
    ck_assert_int_eq(seq_state_new(f.m, &s, &err[1]), ERR_TASK);
    ck_assert_int_eq(seq_classify(f.m, f.w, 1, texts, NULL, scores, &err[2]), ERR_TASK);
    seq_tokens_done(&t);
    close_fixture(&f);
}
END_TEST

/* ---- maps and hidden rows -------------------------------------------------------- */

struct seen {
    size_t rows, hidden;       /* calls of row; rows of hidden states */
    size_t n, layers;          /* tokens; layers of the net */
    float last[32], first[64]; /* last hidden row; head 1, query 0 of the last layer */
};

static void see_row(void *arg, size_t layer, size_t head, size_t query, size_t n_keys,
                    const float *p)
{
    struct seen *s = arg;
    double sum = 0;
    for (size_t i = 0; i < n_keys; i++)
        sum += p[i];
    ck_assert_double_eq_tol(sum, 1, 1e-5);
    if (layer + 1 == s->layers && head == 1 && query == 0)
        memcpy(s->first, p, n_keys * sizeof *p);
    s->rows++;
}

static void see_hidden(void *arg, size_t layer, size_t first, size_t n, size_t D,
                       const float *h)
{
    struct seen *s = arg;
    ck_assert_uint_le(D, 32);
    if (layer == s->layers && first + n == s->n)
        memcpy(s->last, h + (n - 1) * D, D * sizeof *h);
    s->hidden += n;
}

static struct seen inspect(struct fixture *f, const struct seq_tokens *t)
{
    struct seen s = {.n = t->n, .layers = seq_model_info(f->m)->n_layers};
    struct seq_sink sink = {.arg = &s, .row = see_row, .hidden = see_hidden};
    enum err_code code = seq_inspect(f->m, f->w, t, &sink, NULL, &f->err);
    ck_assert_msg(code == ERR_OK, "%s", f->err.msg);
    return s;
}

START_TEST(every_transformer_shows_maps_and_hidden_rows)
{
    static const char *const names[] = {"tiny-bert",        "tiny-gpt2",
                                        "tiny-llama",       "tiny-bert-mlm",
                                        "tiny-roberta-mlm", "tiny-bert-bare",
                                        "tiny-gpt2-labels", "tiny-distilbert-multi"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct fixture f = open_fixture(names[i], NULL);
        const struct seq_info *info = seq_model_info(f.m);
        struct seq_tokens t = tokenize(&f, SEQ_ATTENTION, "the cat sat on the");
        struct seen s = inspect(&f, &t);
        ck_assert_uint_eq(s.rows, info->n_map_layers * info->n_map_heads * t.n);
        ck_assert_uint_eq(s.hidden, (info->n_layers + 1) * t.n);
        seq_tokens_done(&t);
        close_fixture(&f);
    }
}
END_TEST

START_TEST(bare_encoders_equal_pytorch)
{
    struct fixture f = open_fixture("tiny-bert-bare", NULL);
    const struct seq_info *info = seq_model_info(f.m);
    ck_assert_uint_eq(info->tasks, SEQ_ATTENTION | SEQ_INSPECT | SEQ_EMBED);
    ck_assert_int_eq(info->mask, SEQ_MASK_FULL);
    ck_assert_uint_eq(info->n_labels, 0);
    json_t *all = expected("tiny-bert-bare");
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *row = json_array_get(all, i);
        struct seq_tokens t = tokenize(&f, SEQ_ATTENTION, expected_text(row));
        check_ids(row, &t);
        struct seen s = inspect(&f, &t);
        ck_assert_uint_eq(expected_values(row), info->width + t.n);
        for (size_t k = 0; k < info->width; k++)
            ck_assert_double_eq_tol(s.last[k], expected_value(row, k), 1e-4);
        for (size_t k = 0; k < t.n; k++)
            ck_assert_double_eq_tol(s.first[k], expected_value(row, info->width + k),
                                    1e-5);
        seq_tokens_done(&t);
    }
    struct seq_tokens t = tokenize(&f, SEQ_ATTENTION, "the cat");
    const struct seq_tokens *texts[] = {&t};
    struct seq_next_request q = {.tokens = &t, .top_k = 1, .prefix = ""};
    static struct seq_next_result r;
    struct err err[2] = {{0}};
    float score;
    ck_assert_int_eq(seq_classify(f.m, f.w, 1, texts, NULL, &score, &err[0]), ERR_TASK);
    ck_assert_int_eq(seq_next_word(f.m, f.w, 1, &q, &r, &err[1]), ERR_TASK);
    seq_tokens_done(&t);
    json_decref(all);
    close_fixture(&f);
}
END_TEST

/* ---- classifiers ----------------------------------------------------------------- */

/* The text, or the pair of texts, of a row. */
static struct seq_tokens tokenize_row(struct fixture *f, const json_t *row)
{
    const char *a = expected_text(row);
    const char *b = json_string_value(json_object_get(row, "pair"));
    struct seq_tokens t = {0};
    if (!b)
        return tokenize(f, SEQ_CLASSIFY, a);
    enum err_code code =
        seq_tokenize_pair(f->m, a, strlen(a), b, strlen(b), SEQ_WHOLE, &t, &f->err);
    ck_assert_msg(code == ERR_OK, "%s", f->err.msg);
    return t;
}

static void scores_equal_pytorch(const char *name, enum seq_scores scores, bool pairs)
{
    struct fixture f = open_fixture(name, NULL);
    const struct seq_info *info = seq_model_info(f.m);
    ck_assert_uint_eq(info->tasks, SEQ_CLASSIFY | SEQ_ATTENTION | SEQ_INSPECT |
                                       SEQ_EMBED | SEQ_IMPORTANCE);
    ck_assert_int_eq(info->scores, scores);
    ck_assert_int_eq(info->pairs, pairs);
    json_t *all = expected(name);
    size_t n_pairs = 0;
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *row = json_array_get(all, i);
        struct seq_tokens t = tokenize_row(&f, row);
        const struct seq_tokens *texts[] = {&t};
        float got[3], traced[3];
        check_ids(row, &t);
        ck_assert_uint_eq(expected_values(row), info->n_labels);
        ck_assert_int_eq(seq_classify(f.m, f.w, 1, texts, NULL, got, &f.err), ERR_OK);
        struct seen s = {.layers = info->n_layers};
        struct seq_sink sink = {.arg = &s, .row = see_row};
        ck_assert_int_eq(seq_inspect(f.m, f.w, &t, &sink, traced, &f.err), ERR_OK);
        ck_assert_uint_eq(s.rows, info->n_map_layers * info->n_map_heads * t.n);
        for (size_t l = 0; l < info->n_labels; l++) {
            ck_assert_double_eq_tol(got[l], expected_value(row, l), 2e-5);
            ck_assert_mem_eq(&got[l], &traced[l], sizeof *got);
        }
        n_pairs += json_is_string(json_object_get(row, "pair"));
        seq_tokens_done(&t);
    }
    ck_assert_int_eq(n_pairs > 0, pairs);
    json_decref(all);
    close_fixture(&f);
}

START_TEST(one_score_is_a_sigmoid)
{
    scores_equal_pytorch("tiny-bert-one", SEQ_SCORES_SIGMOID, true);
}
END_TEST

START_TEST(several_labels_may_be_sigmoids)
{
    scores_equal_pytorch("tiny-distilbert-multi", SEQ_SCORES_SIGMOID, true);
}
END_TEST

START_TEST(a_regression_is_the_raw_number)
{
    scores_equal_pytorch("tiny-roberta-regression", SEQ_SCORES_RAW, true);
}
END_TEST

START_TEST(decoders_classify_as_well)
{
    scores_equal_pytorch("tiny-gpt2-labels", SEQ_SCORES_SOFTMAX, false);
    struct fixture f = open_fixture("tiny-gpt2-labels", NULL);
    ck_assert_int_eq(seq_model_info(f.m)->mask, SEQ_MASK_CAUSAL);
    struct seq_state *s = NULL;
    ck_assert_int_eq(seq_state_new(f.m, &s, &f.err), ERR_TASK);
    close_fixture(&f);
}
END_TEST

/* ---- pairs of texts -------------------------------------------------------------- */

/* Counts of each text's own tokens. */
static void count_parts(const struct seq_tokens *t, size_t n[2])
{
    n[0] = n[1] = 0;
    for (size_t i = 0; i < t->n; i++)
        if (!t->at[i].special)
            n[t->at[i].part]++;
}

START_TEST(long_pairs_lose_tokens_of_the_longer_text_first)
{
    static const struct {
        size_t words[2], left[2];
    } rows[] = {{{4, 5}, {4, 5}},     {{20, 5}, {20, 5}},   {{25, 5}, {24, 5}},
                {{5, 90}, {5, 24}},   {{90, 5}, {24, 5}},   {{14, 90}, {14, 15}},
                {{90, 90}, {14, 15}}, {{20, 90}, {14, 15}}, {{0, 90}, {0, 29}}};
    struct fixture f = open_fixture("tiny-bert-one", NULL); /* 32, of them 3 specials */
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *a = around_mask("", rows[i].words[0], 0);
        char *b = around_mask("", rows[i].words[1], 0);
        size_t all = rows[i].words[0] + rows[i].words[1] + 3;
        struct seq_tokens t = {0};
        for (size_t end = 0; end < 2; end++) {
            size_t n[2];
            ck_assert_int_eq(seq_tokenize_pair(f.m, a, strlen(a), b, strlen(b),
                                               end ? SEQ_KEEP_END : SEQ_KEEP_USUAL, &t,
                                               &f.err),
                             ERR_OK);
            count_parts(&t, n);
            ck_assert_msg(n[0] == rows[i].left[0] && n[1] == rows[i].left[1],
                          "row %zu: %zu %zu", i, n[0], n[1]);
            ck_assert_uint_eq(t.n + t.n_dropped, all);
            ck_assert_uint_eq(t.n - n[0] - n[1], 3);
            ck_assert(t.at[0].special);
            ck_assert(t.at[t.n - 1].special);
            if (n[1] > 0)
                ck_assert_uint_eq(t.at[n[0] + 2].start,
                                  end ? 6 * (rows[i].words[1] - n[1]) : 0);
        }
        struct err err = {0};
        enum err_code code =
            seq_tokenize_pair(f.m, a, strlen(a), b, strlen(b), SEQ_WHOLE, &t, &err);
        ck_assert_int_eq(code, all > 32 ? ERR_LIMIT : ERR_OK);
        seq_tokens_done(&t);
        free(a);
        free(b);
    }
    close_fixture(&f);
}
END_TEST

START_TEST(what_cannot_be_a_pair_is_refused_by_name)
{
    static const char *const alone[] = {"tiny-bilstm", "tiny-gpt2"};
    struct seq_tokens t = {0};
    for (size_t i = 0; i < 2; i++) {
        struct fixture f = open_fixture(alone[i], NULL);
        ck_assert(!seq_model_info(f.m)->pairs);
        ck_assert_int_eq(seq_tokenize_pair(f.m, "a", 1, "b", 1, SEQ_WHOLE, &t, &f.err),
                         ERR_INPUT);
        ck_assert_str_eq(f.err.param, "text_pair");
        close_fixture(&f);
    }
    struct fixture f = open_fixture("tiny-bert", NULL);
    struct err err[2] = {{0}};
    ck_assert_int_eq(seq_tokenize_pair(f.m, "a\xff", 2, "b", 1, SEQ_WHOLE, &t, &err[0]),
                     ERR_INPUT);
    ck_assert_str_eq(err[0].param, "text");
    ck_assert_int_eq(seq_tokenize_pair(f.m, "a", 1, "\xff", 1, SEQ_WHOLE, &t, &err[1]),
                     ERR_INPUT);
    ck_assert_str_eq(err[1].param, "text_pair");
    seq_tokens_done(&t);
    close_fixture(&f);
}
END_TEST

/* ---- contexts and words ---------------------------------------------------------- */

/* RoBERTa's positions begin behind the padding's, so its tables hold two more. */
START_TEST(the_context_is_what_the_model_can_read)
{
    struct fixture f = open_fixture("tiny-roberta-regression", NULL);
    ck_assert_uint_eq(seq_model_info(f.m)->context, 32);
    char *text = around_mask("", 90, 0);
    struct seq_tokens t = tokenize(&f, SEQ_CLASSIFY, text);
    const struct seq_tokens *texts[] = {&t};
    float score;
    ck_assert_uint_eq(t.n, 32);
    ck_assert_int_eq(seq_classify(f.m, f.w, 1, texts, NULL, &score, &f.err), ERR_OK);
    free(text);
    seq_tokens_done(&t);
    close_fixture(&f);
}
END_TEST

START_TEST(llama_equals_pytorch)
{
    static struct seq_next_result r;
    struct fixture f = open_fixture("tiny-llama", NULL);
    const struct seq_info *info = seq_model_info(f.m);
    ck_assert_uint_eq(info->tasks, SEQ_NEXT_WORD | SEQ_ATTENTION | SEQ_STATES |
                                       SEQ_INSPECT | SEQ_EMBED | SEQ_IMPORTANCE);
    ck_assert_int_eq(info->mask, SEQ_MASK_CAUSAL);
    json_t *all = expected("tiny-llama");
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *row = json_array_get(all, i);
        struct seq_tokens t = tokenize(&f, SEQ_NEXT_WORD, expected_text(row));
        check_ids(row, &t);
        predict(&f, &t, SEQ_UNIT_TOKEN, "", &r);
        for (size_t p = 0; p < r.n; p++)
            check_value(row, &r.at[p]);
        seq_tokens_done(&t);
    }
    json_decref(all);
    close_fixture(&f);
}
END_TEST

/* The piece of a word's first token begins with the blank of SentencePiece also where no
 * text stands before it; what is shown does not. */
START_TEST(words_begin_as_the_tokenizer_has_them)
{
    static struct seq_next_result r;
    static const char *const texts[] = {"", "the cat sat on the"};
    struct fixture f = open_fixture("tiny-llama", NULL);
    for (size_t i = 0; i < 2; i++) {
        struct seq_tokens t = tokenize(&f, SEQ_NEXT_WORD, texts[i]);
        struct seq_next_request q = {
            .tokens = &t, .top_k = 5, .unit = SEQ_UNIT_WORD, .prefix = ""};
        ck_assert_int_eq(seq_next_word(f.m, f.w, 1, &q, &r, &f.err), ERR_OK);
        ck_assert_uint_eq(r.n, 5);
        for (size_t p = 0; p < r.n; p++) {
            size_t n;
            const char *piece = seq_piece(f.m, r.at[p].tokens[0], &n);
            ck_assert_int_eq(strncmp(piece, "\xe2\x96\x81", 3), 0);
            ck_assert_int_eq(r.at[p].bytes[0] == ' ', i == 1);
        }
        seq_tokens_done(&t);
    }
    close_fixture(&f);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {masked_tokens_equal_pytorch,
                                  masked_words_are_all_whole_words,
                                  a_blank_before_the_mask_is_seen,
                                  masked_words_begin_with_the_prefix,
                                  masked_texts_are_the_same_alone_and_batched,
                                  a_masked_text_holds_one_mask_token,
                                  the_mask_is_never_cut_off,
                                  masked_models_score_no_text_and_have_no_state,
                                  every_transformer_shows_maps_and_hidden_rows,
                                  bare_encoders_equal_pytorch,
                                  one_score_is_a_sigmoid,
                                  several_labels_may_be_sigmoids,
                                  a_regression_is_the_raw_number,
                                  decoders_classify_as_well,
                                  long_pairs_lose_tokens_of_the_longer_text_first,
                                  what_cannot_be_a_pair_is_refused_by_name,
                                  the_context_is_what_the_model_can_read,
                                  llama_equals_pytorch,
                                  words_begin_as_the_tokenizer_has_them,
                                  NULL};
    return suite_run("tasks_kinds", tests, 120);
}
