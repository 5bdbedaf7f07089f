/* The tree of prefixes: what it finds are the very states that were kept, the longest
 * there are, within its bound; and next words are the same bits with it and without,
 * whatever is asked in which order, on whichever thread. Run under ThreadSanitizer too.
 */
#include "model/seq.h"
#include "model/tasks/prefixes.h"
#include "tests/suite.h"
#include "tests/unit/net_maker.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* ---- a net whose state is what it has read --------------------------------------- */

enum { STATE_IDS = 64 };

struct net_state {
    size_t length;
    int32_t ids[STATE_IDS];
};

static enum err_code note_new(const struct net *n, struct net_state **out,
                              struct err *err)
{
    (void)n;
    *out = mem_zero(1, sizeof **out);
    return *out ? ERR_OK : err_set(err, ERR_NOMEM, "out of memory: a note");
}

static void note_free(struct net_state *s)
{
    mem_free(s);
}

static enum err_code note_copy(struct net_state *to, const struct net_state *from,
                               struct err *err)
{
    (void)err;
    *to = *from;
    return ERR_OK;
}

static void note_reset(struct net_state *s)
{
    *s = (struct net_state){0};
}

static size_t note_bytes(const struct net_state *s)
{
    return sizeof *s;
}

static void note_truncate(struct net_state *s, size_t length)
{
    ck_assert_uint_le(length, s->length);
    s->length = length;
}

static const struct net_ops by_length_ops = {.state_new = note_new,
                                             .state_free = note_free,
                                             .state_copy = note_copy,
                                             .state_reset = note_reset,
                                             .state_bytes = note_bytes};
static const struct net_ops cut_ops = {.state_new = note_new,
                                       .state_free = note_free,
                                       .state_copy = note_copy,
                                       .state_reset = note_reset,
                                       .state_bytes = note_bytes,
                                       .state_truncate = note_truncate};

struct tree {
    struct net net;
    struct prefixes *p;
};

static void tree_open(struct tree *t, const struct net_ops *ops, size_t max_bytes)
{
    struct err err = {0};
    *t = (struct tree){.net = {.ops = ops}};
    ck_assert_int_eq(prefixes_new(&t->net, max_bytes, &t->p, &err), ERR_OK);
}

static struct seq_reuse counts(const struct tree *t)
{
    struct seq_reuse r;
    prefixes_counts(t->p, &r);
    return r;
}

static void keep(struct tree *t, const int32_t *ids, size_t n)
{
    struct net_state s = {.length = n};
    ck_assert_uint_le(n, STATE_IDS);
    memcpy(s.ids, ids, n * sizeof *ids);
    prefixes_keep(t->p, ids, n, &s);
}

/* What is found is what these ids lead to. */
static size_t find(struct tree *t, const int32_t *ids, size_t n)
{
    struct net_state s = {0};
    size_t k = prefixes_find(t->p, ids, n, &s);
    ck_assert_uint_lt(k, n);
    ck_assert_uint_eq(s.length, k);
    ck_assert_int_eq(memcmp(s.ids, ids, k * sizeof *ids), 0);
    return k;
}

static void keep_text(struct tree *t, const char *text)
{
    int32_t ids[STATE_IDS];
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++)
        ids[i] = (unsigned char)text[i];
    keep(t, ids, n);
}

static size_t find_text(struct tree *t, const char *text)
{
    int32_t ids[STATE_IDS];
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++)
        ids[i] = (unsigned char)text[i];
    return find(t, ids, n);
}

static const size_t PLENTY = 1 << 24;

START_TEST(states_by_length_serve_their_own_length)
{
    struct tree t;
    tree_open(&t, &by_length_ops, PLENTY);
    ck_assert(prefixes_by_length(t.p));
    ck_assert_uint_eq(find_text(&t, "abcdef"), 0);
    keep_text(&t, "abcd");
    ck_assert_uint_eq(find_text(&t, "abcdef"), 4);
    ck_assert_uint_eq(find_text(&t, "abcde"), 4);
    ck_assert_uint_eq(find_text(&t, "abcd"), 0); /* one token is always left to feed */
    ck_assert_uint_eq(find_text(&t, "abcx"), 0);
    keep_text(&t, "ab"); /* inside */
    ck_assert_uint_eq(find_text(&t, "abcx"), 2);
    ck_assert_uint_eq(find_text(&t, "abcd"), 2);
    keep_text(&t, "abxy");
    ck_assert_uint_eq(find_text(&t, "abxyz"), 4);
    ck_assert_uint_eq(find_text(&t, "abcde"), 4);
    ck_assert_uint_eq(find_text(&t, "axyz"), 0);
    ck_assert_uint_eq(counts(&t).states, 3);
    keep_text(&t, "abxy"); /* known */
    ck_assert_uint_eq(counts(&t).states, 3);
    ck_assert_uint_eq(counts(&t).hits, 6);
    ck_assert_uint_eq(counts(&t).misses, 4);
    prefixes_free(t.p);
}
END_TEST

START_TEST(states_that_can_be_cut_serve_every_beginning)
{
    struct tree t;
    tree_open(&t, &cut_ops, PLENTY);
    ck_assert(!prefixes_by_length(t.p));
    keep_text(&t, "abcdefghij");
    ck_assert_uint_eq(find_text(&t, "abcdefghij"), 9);
    ck_assert_uint_eq(find_text(&t, "abcxyz"), 3);
    ck_assert_uint_eq(find_text(&t, "ab"), 1);
    ck_assert_uint_eq(find_text(&t, "xabcdef"), 0);
    keep_text(&t, "abcd"); /* known */
    ck_assert_uint_eq(counts(&t).states, 1);
    keep_text(&t, "abcdefghijkl"); /* grown */
    ck_assert_uint_eq(counts(&t).states, 1);
    ck_assert_uint_eq(find_text(&t, "abcdefghijklm"), 12);
    keep_text(&t, "abcdefghijxyz"); /* its last word became another */
    ck_assert_uint_eq(counts(&t).states, 1);
    ck_assert_uint_eq(find_text(&t, "abcdefghijxyzu"), 13);
    ck_assert_uint_eq(find_text(&t, "abcdefghijklm"), 10);
    keep_text(&t, "abcuvw"); /* another text */
    ck_assert_uint_eq(counts(&t).states, 2);
    ck_assert_uint_eq(find_text(&t, "abcdefghijxyzu"), 13);
    ck_assert_uint_eq(find_text(&t, "abcuvwx"), 6);
    ck_assert_uint_eq(find_text(&t, "abcq"), 3);
    prefixes_free(t.p);
}
END_TEST

START_TEST(the_least_recently_used_goes_first)
{
    static const char *const texts[] = {"alpha....", "bravo....", "charlie.."};
    const struct net_ops *const kinds[] = {&by_length_ops, &cut_ops};
    for (size_t i = 0; i < 2; i++) {
        struct tree t;
        tree_open(&t, kinds[i], PLENTY);
        size_t empty = (size_t)counts(&t).bytes;
        keep_text(&t, texts[0]);
        size_t one = (size_t)counts(&t).bytes - empty;
        prefixes_free(t.p);
        tree_open(&t, kinds[i], empty + 2 * one);
        keep_text(&t, texts[0]);
        keep_text(&t, texts[1]);
        ck_assert_uint_eq(counts(&t).bytes, empty + 2 * one);
        ck_assert_uint_eq(find_text(&t, "alpha....!"), 9);
        keep_text(&t, texts[2]);
        ck_assert_uint_eq(counts(&t).evictions, 1);
        ck_assert_uint_eq(counts(&t).bytes, empty + 2 * one);
        ck_assert_uint_eq(find_text(&t, "bravo....!"), 0);
        ck_assert_uint_eq(find_text(&t, "alpha....!"), 9);
        ck_assert_uint_eq(find_text(&t, "charlie..!"), 9);
        prefixes_free(t.p);
        tree_open(&t, kinds[i], empty + one - 1); /* no room for any */
        keep_text(&t, texts[0]);
        ck_assert_uint_eq(counts(&t).states, 0);
        ck_assert_uint_eq(counts(&t).bytes, empty);
        prefixes_free(t.p);
    }
}
END_TEST

/* ---- against a plain list -------------------------------------------------------- */

static uint64_t seed;

static size_t below(uint64_t *state, size_t n)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (size_t)(*state >> 33) % n;
}

enum { KEPT = 400, LONGEST = 24 };

struct list {
    size_t n, length[KEPT];
    int32_t ids[KEPT][LONGEST];
};

static size_t same_start(const int32_t *a, size_t n_a, const int32_t *b, size_t n_b)
{
    size_t i = 0;
    while (i < n_a && i < n_b && a[i] == b[i])
        i++;
    return i;
}

static size_t longest_of(const struct list *l, const int32_t *ids, size_t n, bool cut)
{
    size_t best = 0;
    for (size_t i = 0; i < l->n; i++) {
        size_t same = same_start(l->ids[i], l->length[i], ids, n - 1);
        if (same > best && (cut || same == l->length[i]))
            best = same;
    }
    return best;
}

/* Three symbols make texts that branch everywhere. */
static void against_a_list(const struct net_ops *ops, size_t max_bytes)
{
    static struct list l;
    struct tree t;
    size_t found = 0, exact = 0;
    bool cut = ops == &cut_ops, roomy = max_bytes == PLENTY;
    tree_open(&t, ops, max_bytes);
    for (l.n = 0; l.n < KEPT; l.n++) {
        int32_t *ids = l.ids[l.n];
        size_t n = l.length[l.n] = 1 + below(&seed, LONGEST);
        if (l.n > 0 && below(&seed, 2))
            memcpy(ids, l.ids[below(&seed, l.n)], sizeof l.ids[0]);
        else
            for (size_t i = 0; i < LONGEST; i++)
                ids[i] = (int32_t)below(&seed, 3);
        ids[below(&seed, LONGEST)] = (int32_t)below(&seed, 3);
        size_t k = find(&t, ids, n), best = longest_of(&l, ids, n, cut);
        ck_assert_uint_le(k, best);
        if (roomy && !cut)
            ck_assert_uint_eq(k, best);
        found += k;
        exact += k == best;
        keep(&t, ids, n);
        ck_assert_uint_le(counts(&t).bytes, max_bytes);
    }
    ck_assert_uint_gt(found, 0);
    ck_assert_uint_gt(exact, roomy ? KEPT * 9 / 10 : 0);
    ck_assert(roomy == (counts(&t).evictions == 0));
    prefixes_free(t.p);
}

START_TEST(random_texts_find_what_was_kept)
{
    for (size_t round = 0; round < 20; round++) {
        seed = round;
        against_a_list(&by_length_ops, PLENTY);
        against_a_list(&cut_ops, PLENTY);
        against_a_list(&by_length_ops, 8000);
        against_a_list(&cut_ops, 8000);
    }
}
END_TEST

START_TEST(what_cannot_be_kept_is_not)
{
    const struct net_ops *const kinds[] = {&by_length_ops, &cut_ops};
    for (size_t i = 0; i < 2; i++) {
        bool struck = true;
        for (long n = 0; struck; n++) {
            struct tree t;
            tree_open(&t, kinds[i], PLENTY);
            keep_text(&t, "abcdefghijkl");
            mem_fail_after(n);
            keep_text(&t, "abcxyz"); /* splits, makes a node */
            keep_text(&t, "abcdefghijklmnop");
            keep_text(&t, "abcdefghijq");
            struck = !mem_fail_pending();
            mem_fail_after(-1);
            ck_assert_uint_ge(find_text(&t, "abcdefghijklz"), 12 - (i == 1 ? 2 : 0));
            find_text(&t, "abcxyzz");
            keep_text(&t, "abcxyz");
            ck_assert_uint_eq(find_text(&t, "abcxyzz"), 6);
            prefixes_free(t.p);
        }
    }
}
END_TEST

/* ---- next words, with and without ------------------------------------------------ */

static const char *const NETS[] = {"models/tiny-gpt2", "models/tiny-lstm",
                                   "models/tiny-llama", NULL};
static const char *const GOLDEN[] = {"gpt2",
                                     "gru-lm",
                                     "gru-lm-tied",
                                     "lstm-lm",
                                     "rnn-tanh-lm",
                                     "llama",
                                     "llama-rope-dynamic",
                                     "llama-one-key-head",
                                     "qwen2-window",
                                     "qwen3",
                                     "keras-lstm-lm-hard",
                                     "mistral",
                                     NULL};

enum { SESSIONS = 6, TEXT_BYTES = 300, MOST_ASKED = 4, TOP = 3 };

/* The same model three times: it keeps nothing, all, next to nothing. */
enum { NONE, ALL, LITTLE, KINDS };
struct trio {
    struct seq_model *m[KINDS];
};

static void trio_open(struct trio *t, const char *dir, size_t little)
{
    const size_t bytes[KINDS] = {0, 1 << 26, little};
    for (size_t i = 0; i < KINDS; i++) {
        struct seq_load_options opt = {.state_cache_bytes = bytes[i]};
        struct err err = {0};
        ck_assert_msg(seq_model_load(dir, &opt, &t->m[i], &err) == ERR_OK, "%s: %s", dir,
                      err.msg);
    }
}

static void trio_close(struct trio *t)
{
    for (size_t i = 0; i < KINDS; i++)
        seq_model_unref(t->m[i]);
}

/* Texts as people write them: they grow, shrink, branch, change in the middle. */
struct session {
    size_t n;
    char text[TEXT_BYTES];
};

static void append(struct session *s, const char *more)
{
    size_t n = strlen(more);
    if (s->n + n > TEXT_BYTES)
        s->n = 0;
    memcpy(s->text + s->n, more, n);
    s->n += n;
}

static void edit(struct session *all, size_t which, uint64_t *rng)
{
    static const char *const bits[] = {
        "the", " cat",         " sat on", " mat", "s",      "e",   "n",
        " ",   ". ",           "?",       "'t",   " great", " w1", " w2",
        " w3", " caf\xc3\xa9", "12"};
    struct session *s = &all[which];
    size_t at = below(rng, s->n + 1);
    switch (below(rng, 8)) {
    case 0: /* back */
        s->n -= s->n && (unsigned char)s->text[s->n - 1] < 0x80;
        break;
    case 1: /* branch */
        *s = all[below(rng, SESSIONS)];
        break;
    case 2: /* in the middle */
        if (at < s->n && (unsigned char)s->text[at] < 0x80)
            s->text[at] = (char)('a' + below(rng, 26));
        break;
    default:
        append(s, bits[below(rng, sizeof bits / sizeof *bits)]);
    }
}

static bool same_bits(double a, double b)
{
    uint64_t x, y;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    return x == y;
}

static bool same_results(const struct seq_next_result *a, const struct seq_next_result *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (!same_bits(a->at[i].logprob, b->at[i].logprob) ||
            a->at[i].n_bytes != b->at[i].n_bytes ||
            memcmp(a->at[i].bytes, b->at[i].bytes, a->at[i].n_bytes) != 0)
            return false;
    return true;
}

struct asked {
    size_t n, texts, tokens;
    struct seq_tokens tokens_of[MOST_ASKED];
    struct seq_next_request request[MOST_ASKED];
    struct seq_next_result want[MOST_ASKED], got[MOST_ASKED];
};

/* A random batch of sessions, each perhaps a keystroke later. */
static bool choose(struct asked *a, const struct trio *t, struct session *sessions,
                   uint64_t *rng)
{
    struct err err = {0};
    a->n = 1 + below(rng, MOST_ASKED);
    for (size_t i = 0; i < a->n; i++) {
        size_t which = below(rng, SESSIONS);
        edit(sessions, which, rng);
        enum err_code code =
            seq_tokenize(t->m[NONE], SEQ_NEXT_WORD, sessions[which].text,
                         sessions[which].n, SEQ_KEEP_USUAL, &a->tokens_of[i], &err);
        if (code != ERR_OK && code != ERR_INPUT)
            return false;
        if (code == ERR_INPUT) { /* empty, and the template adds nothing */
            append(&sessions[which], "the");
            code = seq_tokenize(t->m[NONE], SEQ_NEXT_WORD, "the", 3, SEQ_KEEP_USUAL,
                                &a->tokens_of[i], &err);
        }
        if (code != ERR_OK)
            return false;
        a->request[i] = (struct seq_next_request){.tokens = &a->tokens_of[i],
                                                  .top_k = 1 + below(rng, TOP),
                                                  .unit = below(rng, 4) ? SEQ_UNIT_TOKEN
                                                                        : SEQ_UNIT_WORD,
                                                  .prefix = "",
                                                  .after_space = below(rng, 2)};
        a->texts++;
        a->tokens += a->tokens_of[i].n;
    }
    return true;
}

/* Asks all three the same; false if any answer differs. */
static bool ask(struct asked *a, const struct trio *t, struct seq_worker *w)
{
    struct err err = {0};
    if (seq_next_word(t->m[NONE], w, a->n, a->request, a->want, &err) != ERR_OK)
        return false;
    for (size_t kind = ALL; kind < KINDS; kind++) {
        if (seq_next_word(t->m[kind], w, a->n, a->request, a->got, &err) != ERR_OK)
            return false;
        for (size_t i = 0; i < a->n; i++)
            if (!same_results(&a->want[i], &a->got[i]))
                return false;
    }
    return true;
}

struct typist {
    const struct trio *t;
    uint64_t rng;
    size_t rounds, texts, tokens;
    bool good;
};

static void *type(void *arg)
{
    struct typist *typist = arg;
    struct session sessions[SESSIONS] = {{0}};
    struct asked *a = mem_zero(1, sizeof *a);
    struct seq_worker *w = NULL;
    struct err err = {0};
    typist->good = a && seq_worker_new(NULL, &w, &err) == ERR_OK;
    for (size_t i = 0; i < typist->rounds && typist->good; i++)
        typist->good =
            choose(a, typist->t, sessions, &typist->rng) && ask(a, typist->t, w);
    seq_worker_free(w);
    if (a) {
        typist->texts = a->texts;
        typist->tokens = a->tokens;
        for (size_t i = 0; i < MOST_ASKED; i++)
            seq_tokens_done(&a->tokens_of[i]);
    }
    mem_free(a);
    return NULL;
}

/* Of a few short states and the tree around them. */
static size_t little_of(const char *dir)
{
    struct err err = {0};
    struct seq_model *m = NULL;
    struct seq_state *s = NULL;
    ck_assert_msg(seq_model_load(dir, NULL, &m, &err) == ERR_OK, "%s", err.msg);
    ck_assert_int_eq(seq_state_new(m, &s, &err), ERR_OK);
    int32_t id = 1;
    const int32_t *ids[] = {&id};
    size_t one = 1;
    struct seq_worker *w;
    ck_assert_int_eq(seq_worker_new(NULL, &w, &err), ERR_OK);
    ck_assert_int_eq(seq_feed(m, w, 1, &s, ids, &one, NULL, &err), ERR_OK);
    size_t bytes = 4 * seq_state_bytes(s) + 1000;
    seq_worker_free(w);
    seq_state_free(s);
    seq_model_unref(m);
    return bytes;
}

static void check_counts(const struct trio *t, size_t texts, size_t tokens)
{
    struct seq_reuse r[KINDS];
    for (size_t i = 0; i < KINDS; i++)
        seq_model_reuse(t->m[i], &r[i]);
    ck_assert_uint_eq(r[NONE].max_bytes + r[NONE].hits + r[NONE].misses, 0);
    for (size_t i = ALL; i < KINDS; i++) {
        ck_assert_uint_eq(r[i].hits + r[i].misses, texts);
        ck_assert_uint_eq(r[i].reused_tokens + r[i].computed_tokens, tokens);
        ck_assert_uint_le(r[i].bytes, r[i].max_bytes);
    }
    ck_assert_uint_eq(r[ALL].evictions, 0);
    ck_assert_uint_gt(r[LITTLE].evictions, 0);
    ck_assert_uint_gt(r[ALL].reused_tokens, tokens / 3);
}

static void type_with(const char *dir, size_t n_typists, size_t rounds)
{
    struct trio t;
    struct typist typists[4];
    pthread_t threads[4];
    size_t texts = 0, tokens = 0;
    trio_open(&t, dir, little_of(dir));
    for (size_t i = 0; i < n_typists; i++) {
        typists[i] = (struct typist){.t = &t, .rng = i % 2, .rounds = rounds};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, type, &typists[i]), 0);
    }
    for (size_t i = 0; i < n_typists; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_msg(typists[i].good, "%s: typist %zu", dir, i);
        texts += typists[i].texts;
        tokens += typists[i].tokens;
    }
    check_counts(&t, texts, tokens);
    trio_close(&t);
}

/* A recurrent net that spells words in parts. */
static void type_with_parts_of_words(const char *cell)
{
    static struct maker m;
    char path[100];
    char *tokenizer = fixture_text("tests/fixtures/models/tiny-gpt2", "tokenizer.json");
    maker_recurrent(&m, cell, 320, 24, false);
    fixture_write(m.dir, "tokenizer.json", tokenizer, strlen(tokenizer));
    type_with(m.dir, 1, 150);
    free(tokenizer);
    snprintf(path, sizeof path, "%s/tokenizer.json", m.dir);
    unlink(path);
    maker_remove(&m);
}

START_TEST(answers_are_the_same_with_and_without_states)
{
    type_with_parts_of_words("lstm");
    type_with_parts_of_words("gru");
    char dir[200];
    for (size_t i = 0; NETS[i]; i++) {
        snprintf(dir, sizeof dir, "tests/fixtures/%s", NETS[i]);
        type_with(dir, 1, 150);
    }
    for (size_t i = 0; GOLDEN[i]; i++) {
        snprintf(dir, sizeof dir, "tests/golden/nets/%s", GOLDEN[i]);
        type_with(dir, 1, 60);
    }
}
END_TEST

START_TEST(threads_share_states)
{
    type_with("tests/fixtures/models/tiny-gpt2", 4, 60);
    type_with("tests/golden/nets/lstm-lm", 4, 60);
}
END_TEST

/* ---- exhausted memory ------------------------------------------------------------ */

static enum err_code ask_text(struct seq_model *m, struct seq_worker *w, const char *text,
                              struct seq_next_result *r)
{
    struct err err = {0};
    struct seq_tokens t = {0};
    enum err_code code =
        seq_tokenize(m, SEQ_NEXT_WORD, text, strlen(text), SEQ_KEEP_USUAL, &t, &err);
    ck_assert_msg(code == ERR_OK, "%s", err.msg);
    struct seq_next_request q = {.tokens = &t, .top_k = TOP, .prefix = ""};
    code = seq_next_word(m, w, 1, &q, r, &err);
    seq_tokens_done(&t);
    return code;
}

/* The allocations of tokenizing are counted first and passed over. */
static long allocations_of_tokens(struct seq_model *m, const char *text)
{
    struct err err = {0};
    bool done = false;
    long n = -1;
    while (!done) {
        struct seq_tokens t = {0};
        mem_fail_after(++n);
        (void)!seq_tokenize(m, SEQ_NEXT_WORD, text, strlen(text), SEQ_KEEP_USUAL, &t,
                            &err);
        done = mem_fail_pending();
        mem_fail_after(-1);
        seq_tokens_done(&t);
    }
    return n;
}

static void fail_each(const char *dir)
{
    static struct seq_next_result want, got;
    const char *text = "the cat sat on the mat and the cat sat";
    struct seq_load_options opt = {.state_cache_bytes = 1 << 20};
    struct err err = {0};
    struct seq_model *plain = NULL;
    struct seq_worker *w = NULL;
    size_t spared = 0;
    ck_assert_int_eq(seq_worker_new(NULL, &w, &err), ERR_OK);
    ck_assert_int_eq(seq_model_load(dir, NULL, &plain, &err), ERR_OK);
    ck_assert_int_eq(ask_text(plain, w, text, &want), ERR_OK);
    bool struck = true;
    for (long n = allocations_of_tokens(plain, text); struck; n++) {
        struct seq_model *m = NULL;
        ck_assert_int_eq(seq_model_load(dir, &opt, &m, &err), ERR_OK);
        ck_assert_int_eq(ask_text(m, w, "the cat sat on", &got), ERR_OK);
        mem_fail_after(n);
        enum err_code code = ask_text(m, w, text, &got);
        struck = !mem_fail_pending();
        mem_fail_after(-1);
        ck_assert(code == ERR_OK || (struck && code == ERR_NOMEM));
        if (code == ERR_OK)
            ck_assert(same_results(&want, &got));
        spared += struck && code == ERR_OK;
        for (size_t again = 0; again < 2; again++) {
            ck_assert_int_eq(ask_text(m, w, text, &got), ERR_OK);
            ck_assert(same_results(&want, &got));
        }
        seq_model_unref(m);
    }
    ck_assert_uint_ge(spared, 2); /* the copy of the state, and what it hangs on */
    seq_worker_free(w);
    seq_model_unref(plain);
}

START_TEST(exhausted_memory_costs_no_answer_because_of_the_tree)
{
    fail_each("tests/fixtures/models/tiny-gpt2");
    fail_each("tests/golden/nets/lstm-lm");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {states_by_length_serve_their_own_length,
                                  states_that_can_be_cut_serve_every_beginning,
                                  the_least_recently_used_goes_first,
                                  random_texts_find_what_was_kept,
                                  what_cannot_be_kept_is_not,
                                  answers_are_the_same_with_and_without_states,
                                  threads_share_states,
                                  exhausted_memory_costs_no_answer_because_of_the_tree,
                                  NULL};
    return suite_run("prefixes", tests, 300);
}
