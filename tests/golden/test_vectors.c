/* Vectors of texts against sentence-transformers' formulas (vectors.json, see
 * make_vectors.py): each way of pooling, of models of each kind, with every kernel
 * variant of this machine. Bound: 1e-5 of the vector's largest number. */
#include "tests/unit/fixture.h"
#include "tests/unit/tiny_models.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEXTS = 3 };

/* ---- folders --------------------------------------------------------------------- */

/* A model of tests/fixtures/models with what sentence-transformers would say of it. */
struct folder {
    char dir[64];
};

static const char *const LINKED[] = {"config.json", "model.safetensors",
                                     "tokenizer.json"};
enum { N_LINKED = sizeof LINKED / sizeof *LINKED };

static void write_text(const char *dir, const char *name, const char *text)
{
    fixture_write(dir, name, text, strlen(text));
}

static void make_folder(struct folder *f, const char *model, const char *pooling,
                        bool normalize)
{
    static const char OWN[] = "{\"idx\":0,\"name\":\"0\",\"path\":\"\",\"type\":"
                              "\"sentence_transformers.models.Transformer\"},"
                              "{\"idx\":1,\"name\":\"1\",\"path\":\"1_Pooling\",\"type\":"
                              "\"sentence_transformers.models.Pooling\"}";
    static const char UNIT[] = ",{\"idx\":2,\"name\":\"2\",\"path\":\"2_Normalize\","
                               "\"type\":\"sentence_transformers.models.Normalize\"}";
    char text[1000], here[PATH_MAX];
    snprintf(f->dir, sizeof f->dir, "/tmp/seqd_vectors_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(f->dir));
    ck_assert_ptr_nonnull(getcwd(here, sizeof here));
    for (size_t i = 0; i < N_LINKED; i++) {
        char from[2 * PATH_MAX], to[PATH_MAX];
        snprintf(from, sizeof from, "%s/tests/fixtures/models/%s/%s", here, model,
                 LINKED[i]);
        snprintf(to, sizeof to, "%s/%s", f->dir, LINKED[i]);
        ck_assert_int_eq(symlink(from, to), 0);
    }
    snprintf(text, sizeof text, "[%s%s]", OWN, normalize ? UNIT : "");
    write_text(f->dir, "modules.json", text);
    char folder[80];
    snprintf(folder, sizeof folder, "%s/1_Pooling", f->dir);
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    snprintf(text, sizeof text, "{\"pooling_mode\":\"%s\"}", pooling);
    write_text(folder, "config.json", text);
}

static void remove_folder(const struct folder *f)
{
    static const char *const MADE[] = {"1_Pooling/config.json", "1_Pooling",
                                       "modules.json", NULL};
    char path[PATH_MAX];
    for (size_t i = 0; i < N_LINKED; i++) {
        snprintf(path, sizeof path, "%s/%s", f->dir, LINKED[i]);
        ck_assert_int_eq(unlink(path), 0);
    }
    for (size_t i = 0; MADE[i]; i++) {
        snprintf(path, sizeof path, "%s/%s", f->dir, MADE[i]);
        ck_assert_int_eq(remove(path), 0);
    }
    ck_assert_int_eq(rmdir(f->dir), 0);
}

/* ---- comparing ------------------------------------------------------------------- */

static double largest(const json_t *want)
{
    double most = 0;
    for (size_t i = 0; i < json_array_size(want); i++)
        most = fmax(most, fabs(json_number_value(json_array_get(want, i))));
    return most;
}

static void compare(const json_t *want, const float *got, const char *what)
{
    double scale = largest(want), worst = 0;
    ck_assert_double_gt(scale, 0);
    for (size_t i = 0; i < json_array_size(want); i++) {
        double off = fabs(json_number_value(json_array_get(want, i)) - got[i]) / scale;
        ck_assert_msg(!isnan(off), "%s: NaN", what);
        worst = fmax(worst, off);
    }
    ck_assert_msg(worst < 1e-5, "%s: %g", what, worst);
}

static void run(const char *dir, const json_t *texts, const json_t *one, const char *cpu)
{
    struct seq_load_options opt = {.cpu = cpu};
    struct fixture f = {0};
    struct seq_tokens tokens[TEXTS];
    const struct seq_tokens *at[TEXTS];
    char what[200];
    enum err_code code = seq_model_load(dir, &opt, &f.m, &f.err);
    snprintf(what, sizeof what, "%s, %s of %s%s", cpu,
             json_string_value(json_object_get(one, "pooling")),
             json_string_value(json_object_get(one, "model")),
             json_is_true(json_object_get(one, "normalize")) ? ", unit" : "");
    ck_assert_msg(code == ERR_OK, "%s: %s", what, f.err.msg);
    ck_assert_int_eq(seq_worker_new(NULL, &f.w, &f.err), ERR_OK);
    size_t W = seq_model_info(f.m)->vector_width;
    float *vectors = mem_alloc(TEXTS, W * sizeof *vectors);
    ck_assert_ptr_nonnull(vectors);
    for (size_t i = 0; i < TEXTS; i++) {
        tokens[i] = tokenize(&f, SEQ_EMBED, json_string_value(json_array_get(texts, i)));
        at[i] = &tokens[i];
    }
    ck_assert_int_eq(seq_embed(f.m, f.w, TEXTS, at, NULL, vectors, &f.err), ERR_OK);
    for (size_t i = 0; i < TEXTS; i++) {
        const json_t *want = json_array_get(json_object_get(one, "vectors"), i);
        ck_assert_uint_eq(json_array_size(want), W);
        compare(want, vectors + i * W, what);
        seq_tokens_done(&tokens[i]);
    }
    mem_free(vectors);
    close_fixture(&f);
}

START_TEST(every_way_of_pooling_is_that_of_sentence_transformers)
{
    json_t *all = json_load_file("tests/golden/vectors.json", 0, NULL);
    const json_t *texts = json_object_get(all, "texts");
    const json_t *cases = json_object_get(all, "cases");
    ck_assert_uint_eq(json_array_size(texts), TEXTS);
    ck_assert_uint_ge(json_array_size(cases), 35);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i);
        struct folder f;
        make_folder(&f, json_string_value(json_object_get(one, "model")),
                    json_string_value(json_object_get(one, "pooling")),
                    json_is_true(json_object_get(one, "normalize")));
        for (const char *const *cpu = seq_cpu_names(); *cpu; cpu++)
            run(f.dir, texts, one, *cpu);
        remove_folder(&f);
    }
    json_decref(all);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {every_way_of_pooling_is_that_of_sentence_transformers,
                                  NULL};
    return suite_run("vectors", tests, 120);
}
