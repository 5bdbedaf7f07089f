/* Whole model folders: those of tests/fixtures/folders (see make.py there) load, or are
 * refused with their message, and seq_check finds all that is wrong with them. */
#include "model/load/weights.h"
#include "model/seq.h"
#include "tests/suite.h"
#include "tests/unit/fixture.h"

#include <stdbool.h>
#include <unistd.h>

/* ---- what seq_check says --------------------------------------------------------- */

enum { FOUND_MAX = 64 };

struct found {
    size_t n;
    char said[FOUND_MAX][ERR_MSG_BYTES];
    bool loading;
};

static void add(void *arg, enum err_code code, const char *message)
{
    struct found *f = arg;
    ck_assert_int_ne(code, ERR_OK);
    ck_assert_uint_lt(f->n, FOUND_MAX);
    snprintf(f->said[f->n++], ERR_MSG_BYTES, "%s", message);
}

static void note_loading(void *arg)
{
    ((struct found *)arg)->loading = true;
}

static bool has_said(const struct found *f, const char *message)
{
    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->said[i], message) == 0)
            return true;
    return false;
}

static enum err_code check(const char *dir, struct found *f, struct seq_report *r,
                           struct err *err)
{
    struct seq_check_hooks hooks = {.arg = f, .found = add, .loading = note_loading};
    f->n = 0;
    f->loading = false;
    *r = (struct seq_report){0};
    *err = (struct err){0};
    return seq_check(dir, NULL, &hooks, r, err);
}

/* ---- folders that are fine ------------------------------------------------------- */

/* Beside the folders lie the scripts that make them. */
static bool is_script(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && strcmp(dot, ".py") == 0;
}

static void check_good(const char *dir)
{
    if (is_script(dir))
        return;
    static struct found f;
    struct seq_report r;
    struct err err;
    ck_assert_msg(check(dir, &f, &r, &err) == ERR_OK, "%s: %s", dir, err.msg);
    ck_assert_uint_eq(f.n, 0);
    ck_assert(f.loading);
    const struct seq_info *info = seq_model_info(r.model);
    ck_assert_uint_gt(info->n_params, 0);
    ck_assert_uint_gt(r.scratch_bytes, 0);
    ck_assert_uint_gt(r.scratch_tokens, 0);
    for (size_t i = 0; i < r.n_specials; i++)
        ck_assert_ptr_nonnull(r.specials[i].piece);
    seq_model_unref(r.model);
}

START_TEST(nothing_is_found_in_folders_that_load)
{
    fixture_each("tests/fixtures/folders/valid", 8, check_good);
    fixture_each("tests/fixtures/models", 12, check_good);
    fixture_each("tests/golden/nets", 80, check_good);
}
END_TEST

static void check_bare(const char *dir, const char *note)
{
    static struct found f;
    struct seq_report r;
    struct err err;
    ck_assert_msg(check(dir, &f, &r, &err) == ERR_OK, "%s: %s", dir, err.msg);
    ck_assert_uint_eq(seq_model_info(r.model)->tasks,
                      SEQ_ATTENTION | SEQ_INSPECT | SEQ_EMBED);
    if (note)
        ck_assert_msg(r.note && strstr(r.note, note), "%s: %s", dir, r.note);
    else
        ck_assert_ptr_null(r.note);
    seq_model_unref(r.model);
}

START_TEST(what_has_no_head_is_served_bare_and_says_so)
{
    struct seq_report r;
    struct err err;
    static struct found f;
    check_bare("tests/fixtures/folders/valid/micro-without-head", "head");
    check_bare("tests/fixtures/folders/valid/micro-without-architectures",
               "architectures");
    check_bare("tests/fixtures/folders/valid/micro-gpt2-without-architectures",
               "architectures");
    check_bare("tests/fixtures/folders/valid/micro-electra-discriminator", NULL);
    ck_assert_int_eq(check("tests/fixtures/folders/valid/micro-bert", &f, &r, &err),
                     ERR_OK);
    ck_assert_ptr_null(r.note);
    seq_model_unref(r.model);
}
END_TEST

/* ---- memory ---------------------------------------------------------------------- */

/* A text as long as the report speaks of, in the model's first id. */
static void make_tokens(struct seq_tokens *t, size_t n)
{
    *t = (struct seq_tokens){.at = mem_zero(n, sizeof *t->at), .n = n, .cap = n};
    ck_assert_ptr_nonnull(t->at);
}

static void ignore_row(void *arg, size_t layer, size_t head, size_t query, size_t n_keys,
                       const float *p)
{
    (void)arg, (void)layer, (void)head, (void)query, (void)n_keys, (void)p;
}

/* What that text takes of a worker; *state gets the bytes of a sequence that holds it. */
static size_t measure(const struct seq_report *r, size_t *state)
{
    static const struct seq_sink sink = {.row = ignore_row};
    const struct seq_info *info = seq_model_info(r->model);
    struct seq_worker *w = NULL;
    struct seq_state *s = NULL;
    struct seq_tokens text;
    const struct seq_tokens *texts[] = {&text};
    struct err err = {0};
    size_t n = r->scratch_tokens;
    float *y = mem_zero(info->vocab + info->n_labels, sizeof *y);
    int32_t *ids = mem_zero(n, sizeof *ids);
    const int32_t *const all[] = {ids};
    enum err_code code = seq_worker_new(NULL, &w, &err);
    make_tokens(&text, n);
    *state = 0;
    if (code == ERR_OK && info->tasks & SEQ_CLASSIFY) {
        code = seq_classify(r->model, w, 1, texts, NULL, y, &err);
    } else if (code == ERR_OK && info->tasks & SEQ_STATES) {
        code = seq_state_new(r->model, &s, &err);
        if (code == ERR_OK)
            code = seq_feed(r->model, w, 1, &s, all, &n, y, &err);
        *state = s ? seq_state_bytes(s) : 0;
    } else if (code == ERR_OK) {
        code = seq_inspect(r->model, w, &text, &sink, NULL, &err);
    }
    ck_assert_msg(code == ERR_OK, "%s", err.msg);
    size_t peak = seq_worker_peak(w);
    seq_state_free(s);
    seq_tokens_done(&text);
    seq_worker_free(w);
    mem_free(y);
    mem_free(ids);
    return peak;
}

static void check_memory(const char *dir)
{
    static struct found f;
    struct seq_report r;
    struct err err;
    size_t state;
    if (is_script(dir))
        return;
    ck_assert_msg(check(dir, &f, &r, &err) == ERR_OK, "%s: %s", dir, err.msg);
    size_t peak = measure(&r, &state);
    ck_assert_msg(peak <= r.scratch_bytes && r.scratch_bytes <= 2 * peak,
                  "%s: %zu bytes of scratch, reported %zu", dir, peak, r.scratch_bytes);
    ck_assert_uint_eq(state, r.state_bytes);
    seq_model_unref(r.model);
}

START_TEST(memory_is_what_the_report_says)
{
    fixture_each("tests/fixtures/folders/valid", 8, check_memory);
    fixture_each("tests/fixtures/models", 12, check_memory);
}
END_TEST

/* ---- folders that are not -------------------------------------------------------- */

/* Links to all files of dir, but for the one called `but`. */
static void link_files(const char *dir, const char *folder, const char *but)
{
    struct dirent **list = NULL;
    int n = scandir(dir, &list, NULL, alphasort);
    ck_assert_int_gt(n, 0);
    for (int i = 0; i < n; i++) {
        char from[PATH_MAX], path[PATH_MAX];
        const char *name = list[i]->d_name;
        snprintf(path, sizeof path, "%s/%s", dir, name);
        ck_assert_ptr_nonnull(realpath(path, from));
        snprintf(path, sizeof path, "%s/%s", folder, name);
        if (name[0] != '.' && strcmp(name, but) != 0)
            ck_assert_int_eq(symlink(from, path), 0);
        free(list[i]);
    }
    free(list);
}

static void discard(const char *folder)
{
    struct dirent **list = NULL;
    int n = scandir(folder, &list, NULL, NULL);
    for (int i = 0; i < n; i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", folder, list[i]->d_name);
        unlink(path); /* "." and ".." stay, of course */
        free(list[i]);
    }
    free(list);
    ck_assert_int_eq(rmdir(folder), 0);
}

static void check_refused(const char *dir)
{
    static struct found f;
    struct seq_model *m = NULL;
    struct seq_report r;
    struct err err = {0}, first;
    char *expect = fixture_text(dir, "expect");
    ck_assert_msg(expect && *expect, "%s: no expect", dir);
    ck_assert_msg(seq_model_load(dir, NULL, &m, &err) != ERR_OK, "%s: loads", dir);
    ck_assert_ptr_null(m);
    ck_assert_msg(strstr(err.msg, expect), "%s:\n said %s\n want %s", dir, err.msg,
                  expect);
    ck_assert_int_ne(check(dir, &f, &r, &first), ERR_OK);
    ck_assert_ptr_null(r.model);
    ck_assert_uint_ge(f.n, 1);
    ck_assert_str_eq(first.msg, f.said[0]);
    ck_assert_msg(has_said(&f, err.msg), "%s: did not say %s", dir, err.msg);
    free(expect);
}

START_TEST(what_is_wrong_is_named)
{
    fixture_each("tests/fixtures/folders/invalid", 40, check_refused);
}
END_TEST

/* Each line of `expect` belongs to one problem, in this order. */
static void check_several(const char *dir)
{
    static struct found f;
    struct seq_report r;
    struct err err;
    size_t n = 0;
    char *expect = fixture_text(dir, "expect"), *rest = expect;
    ck_assert_int_ne(check(dir, &f, &r, &err), ERR_OK);
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n"), n++)
        ck_assert_msg(n < f.n && strstr(f.said[n], line), "%s:\n said %s\n want %s", dir,
                      n < f.n ? f.said[n] : "nothing more", line);
    ck_assert_msg(f.n == n, "%s: also said %s", dir, f.said[n]);
    free(expect);
}

/* Files of 10^9 bytes are refused by their size, before a byte of them is read. */
START_TEST(huge_files_are_refused_unread)
{
    static const char *const names[] = {"config.json", "generation_config.json",
                                        "tokenizer.json", "tokenizer_config.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char folder[] = "/tmp/test_folders.XXXXXX", path[PATH_MAX];
        struct seq_model *m = NULL;
        struct err err = {0};
        ck_assert_ptr_nonnull(mkdtemp(folder));
        link_files("tests/fixtures/folders/valid/micro-lstm", folder, names[i]);
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        fixture_write(folder, names[i], "[", 1);
        ck_assert_int_eq(truncate(path, 1000000000), 0);
        ck_assert_int_ne(seq_model_load(folder, NULL, &m, &err), ERR_OK);
        ck_assert_msg(strstr(err.msg, names[i]) && strstr(err.msg, "1000000000"), "%s",
                      err.msg);
        discard(folder);
    }
}
END_TEST

START_TEST(everything_that_is_wrong_is_found)
{
    fixture_each("tests/fixtures/folders/several", 7, check_several);
}
END_TEST

/* Cases of single files: the message is there, whatever else is missing around it. */
static void check_part(const char *dir)
{
    static struct found f;
    struct seq_report r;
    struct err err;
    char *expect = fixture_text(dir, "expect"), *rest = expect;
    ck_assert_int_ne(check(dir, &f, &r, &err), ERR_OK);
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
        const char *colon = strstr(line, ": "); /* "format: config.json: ..." */
        bool told = false;
        for (size_t i = 0; i < f.n; i++)
            told |= strstr(f.said[i], line) || (colon && strstr(f.said[i], colon + 2));
        ck_assert_msg(told, "%s:\n said %s\n want %s", dir, f.said[0], line);
    }
    free(expect);
}

START_TEST(every_kind_of_broken_config_is_told)
{
    fixture_each("tests/fixtures/config/invalid", 90, check_part);
}
END_TEST

static size_t n_refused;

/* Whatever keeps the tensors from being listed is told, though there is no config. */
static void check_weights(const char *dir)
{
    static struct found f;
    struct weights *w = NULL;
    struct seq_report r;
    struct err err, first = {0};
    if (weights_open(dir, &w, &first) == ERR_OK) {
        weights_close(w);
        return;
    }
    ck_assert_int_ne(check(dir, &f, &r, &err), ERR_OK);
    ck_assert_uint_ge(f.n, 2);
    ck_assert_ptr_nonnull(strstr(f.said[0], "config.json"));
    ck_assert_msg(has_said(&f, first.msg), "%s: did not say %s", dir, first.msg);
    n_refused++;
}

START_TEST(every_kind_of_broken_safetensors_is_told)
{
    n_refused = 0;
    fixture_each("tests/fixtures/safetensors/invalid", 70, check_weights);
    ck_assert_uint_ge(n_refused, 60);
}
END_TEST

static const char TOKENIZER[] =
    "{\"version\":\"1.0\",\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"?\","
    "\"vocab\":{\"?\":0,\"[MASK]\":1}},\"added_tokens\":[{\"id\":1,\"content\":"
    "\"[MASK]\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
    "\"normalized\":false,\"special\":true}]}";

/* Makes `folder` (of mkdtemp) of a net that lacks a tokenizer. */
static void complete(const char *dir, char *folder)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    link_files(dir, folder, "tokenizer.json");
    fixture_write(folder, "tokenizer.json", TOKENIZER, sizeof TOKENIZER - 1);
}

static void check_net_refused(const char *dir)
{
    static struct found f;
    char folder[] = "/tmp/test_folders.XXXXXX";
    struct seq_model *m = NULL;
    struct seq_report r;
    struct err err, first = {0};
    complete(dir, folder);
    ck_assert_int_ne(seq_model_load(folder, NULL, &m, &first), ERR_OK);
    ck_assert_int_ne(check(folder, &f, &r, &err), ERR_OK);
    discard(folder);
    ck_assert_msg(has_said(&f, first.msg), "%s: did not say %s", dir, first.msg);
}

START_TEST(every_kind_of_wrong_tensor_is_told)
{
    fixture_each("tests/fixtures/nets/invalid", 22, check_net_refused);
}
END_TEST

/* ---- no memory ------------------------------------------------------------------- */

/* Fails allocation 0, 1, 2, ... until none is left to fail; leaks are the sanitizer's. */
static void check_faults(const char *dir)
{
    static struct found f;
    struct seq_report r;
    struct err err, calm;
    enum err_code want = check(dir, &f, &r, &calm);
    seq_model_unref(r.model);
    for (long n = 0;; n++) {
        ck_assert_int_lt(n, 20000);
        mem_fail_after(n);
        enum err_code code = check(dir, &f, &r, &err);
        bool struck = !mem_fail_pending();
        mem_fail_after(-1);
        seq_model_unref(r.model);
        if (!struck) {
            ck_assert_int_eq(code, want);
            break;
        }
        ck_assert_msg(code == ERR_NOMEM, "%s: allocation %ld: %s", dir, n, err.msg);
    }
}

START_TEST(every_failing_allocation_ends_the_search)
{
    fixture_each("tests/fixtures/folders/several", 7, check_faults);
    fixture_each("tests/fixtures/folders/valid", 8, check_faults);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {nothing_is_found_in_folders_that_load,
                                  what_has_no_head_is_served_bare_and_says_so,
                                  memory_is_what_the_report_says,
                                  what_is_wrong_is_named,
                                  huge_files_are_refused_unread,
                                  everything_that_is_wrong_is_found,
                                  every_kind_of_broken_config_is_told,
                                  every_kind_of_broken_safetensors_is_told,
                                  every_kind_of_wrong_tensor_is_told,
                                  every_failing_allocation_ends_the_search,
                                  NULL};
    return suite_run("folders", tests, 240);
}
