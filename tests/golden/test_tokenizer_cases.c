/* Tokenizers of known models against recorded answers, if they lie beside the checkout in
 * ../shared/cases/tokenizers (they are too big, and not ours, to be committed). */
#include "model/base/mem.h"
#include "model/text/tokenizer.h"
#include "tests/suite.h"
#include "tests/unit/fixture.h"

#include <unistd.h>

static const char *const FOLDER = "../shared/cases/tokenizers";
static const char *const MODELS[] = {"gpt2", "bert_base_cased", "gpt_neox", "llama2"};

/* The bytes of FOLDER/<set>_<what><model>.txt, or NULL. */
static char *read_case(const char *set, const char *what, const char *model, size_t *n)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s_%s%s.txt", FOLDER, set, what, model);
    FILE *in = fopen(path, "rb");
    if (!in)
        return NULL;
    char *text = calloc(1, 1 << 20);
    *n = fread(text, 1, (1 << 20) - 1, in);
    fclose(in);
    return text;
}

/* Undoes the escapes of the one-line files, \n and \s, in place; returns the new length.
 */
static size_t unescape(char *s, size_t n)
{
    size_t to = 0;
    for (size_t i = 0; i < n; i++) {
        bool escape = s[i] == '\\' && i + 1 < n && (s[i + 1] == 'n' || s[i + 1] == 's');
        s[to++] = escape ? s[i + 1] == 'n' ? '\n' : ' ' : s[i];
        i += escape;
    }
    return to;
}

struct one_case {
    const struct tokenizer *t;
    const char *model, *set;
    size_t line;
};

/* ids: "1, 2, 3"; output NULL if none was recorded. */
static void check_case(const struct one_case *c, const char *text, size_t n, char *ids,
                       const char *output, size_t n_output)
{
    struct seq_tokens got = {0};
    struct text decoded = {0};
    struct err err = {0};
    int32_t *list = calloc(1 << 16, sizeof *list);
    size_t n_ids = 0;
    ck_assert_msg(tokenizer_encode(c->t, text, n, false, &got, &err) == ERR_OK, "%s",
                  err.msg);
    for (char *rest = ids, *id; (id = strsep(&rest, ",\n")) && *id; n_ids++) {
        ck_assert_uint_lt(n_ids, 1 << 16);
        list[n_ids] = (int32_t)strtol(id, NULL, 10);
        ck_assert_msg(n_ids < got.n && got.at[n_ids].id == list[n_ids],
                      "%s, %s, line %zu: token %zu differs", c->model, c->set, c->line,
                      n_ids);
    }
    ck_assert_msg(got.n == n_ids, "%s, %s, line %zu: %zu tokens, want %zu", c->model,
                  c->set, c->line, got.n, n_ids);
    if (output) {
        ck_assert_int_eq(tokenizer_decode(c->t, list, n_ids, false, &decoded, &err),
                         ERR_OK);
        ck_assert_msg(decoded.n == n_output && memcmp(decoded.at, output, n_output) == 0,
                      "%s, %s, line %zu: decoded otherwise", c->model, c->set, c->line);
    }
    free(list);
    text_done(&decoded);
    mem_free(got.at);
}

static size_t check_lines(const struct tokenizer *t, const char *model, const char *set)
{
    size_t n, lines = 0;
    char *input = read_case(set, "input", "", &n), *in = input;
    char *tokens = read_case(set, "tokens_", model, &n), *ids = tokens;
    char *output = read_case(set, "output_", model, &n), *out = output;
    ck_assert_ptr_nonnull(input);
    ck_assert_ptr_nonnull(tokens);
    for (char *line; (line = strsep(&in, "\n")) && *line; lines++) {
        struct one_case c = {t, model, set, lines + 1};
        char *want = strsep(&ids, "\n"), *text = out ? strsep(&out, "\n") : NULL;
        ck_assert_ptr_nonnull(want);
        size_t n_text = text ? unescape(text, strlen(text)) : 0;
        check_case(&c, line, unescape(line, strlen(line)), want, text, n_text);
    }
    free(input);
    free(tokens);
    free(output);
    return lines;
}

static void check_model(const char *model)
{
    char dir[] = "/tmp/tokenizer-cases-XXXXXX", from[PATH_MAX], to[PATH_MAX];
    struct tokenizer *t = NULL;
    struct err err = {0};
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(from, sizeof from, "%s/%s.json", FOLDER, model);
    snprintf(to, sizeof to, "%s/tokenizer.json", dir);
    char *target = realpath(from, NULL);
    ck_assert_ptr_nonnull(target);
    ck_assert_int_eq(symlink(target, to), 0);
    enum err_code code = tokenizer_load(dir, &t, &err);
    unlink(to);
    rmdir(dir);
    free(target);
    ck_assert_msg(code == ERR_OK, "%s: %s", model, err.msg);
    ck_assert_uint_eq(check_lines(t, model, "small"), 20);
    ck_assert_uint_eq(check_lines(t, model, "mixed"), 120);
    struct one_case c = {t, model, "utf8", 0};
    size_t n, n_ids, n_output = 0;
    char *text = read_case("utf8", "input", "", &n);
    char *ids = read_case("utf8", "tokens_", model, &n_ids);
    char *output = read_case("utf8", "output_", model, &n_output);
    check_case(&c, text, n, ids, output, n_output);
    free(text);
    free(ids);
    free(output);
    tokenizer_free(t);
}

START_TEST(known_models_give_the_recorded_tokens)
{
    if (access(FOLDER, R_OK) != 0) {
        printf("skipped: no cases folder (%s)\n", FOLDER);
        return;
    }
    for (size_t i = 0; i < sizeof MODELS / sizeof *MODELS; i++)
        check_model(MODELS[i]);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {known_models_give_the_recorded_tokens, NULL};
    return suite_run("tokenizer cases", tests, 120);
}
