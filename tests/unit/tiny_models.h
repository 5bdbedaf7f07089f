/* Tiny_models: the models of tests/fixtures/models, opened for one test. */
#ifndef TESTS_UNIT_TINY_MODELS_H
#define TESTS_UNIT_TINY_MODELS_H

#include "model/seq.h"
#include "tests/suite.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

struct fixture {
    struct seq_model *m;
    struct seq_worker *w;
    struct err err;
};

static inline struct fixture open_fixture(const char *name, const char *cpu)
{
    struct fixture f = {0};
    char dir[200];
    snprintf(dir, sizeof dir, "tests/fixtures/models/%s", name);
    struct seq_load_options opt = {.cpu = cpu};
    enum err_code code = seq_model_load(dir, &opt, &f.m, &f.err);
    ck_assert_msg(code == ERR_OK, "%s: %s", dir, f.err.msg);
    ck_assert_int_eq(seq_worker_new(NULL, &f.w, &f.err), ERR_OK);
    return f;
}

static inline void close_fixture(struct fixture *f)
{
    seq_worker_free(f->w);
    seq_model_unref(f->m);
}

static inline struct seq_tokens tokenize(struct fixture *f, enum seq_task task,
                                         const char *text)
{
    struct seq_tokens t = {0};
    enum err_code code =
        seq_tokenize(f->m, task, text, strlen(text), SEQ_KEEP_START, &t, &f->err);
    ck_assert_msg(code == ERR_OK, "%s", f->err.msg);
    return t;
}

/* What PyTorch answers: a list of {"text", "ids", "values", ...}. */
static inline json_t *expected(const char *name)
{
    char path[200];
    snprintf(path, sizeof path, "tests/fixtures/models/%s/expect.json", name);
    json_t *all = json_load_file(path, 0, NULL);
    ck_assert_ptr_nonnull(all);
    return all;
}

static inline const char *expected_text(const json_t *row)
{
    return json_string_value(json_object_get(row, "text"));
}

static inline size_t expected_values(const json_t *row)
{
    return json_array_size(json_object_get(row, "values"));
}

static inline double expected_value(const json_t *row, size_t i)
{
    const json_t *value = json_array_get(json_object_get(row, "values"), i);
    ck_assert(json_is_number(value));
    return json_number_value(value);
}

static inline void check_ids(const json_t *row, const struct seq_tokens *t)
{
    const json_t *ids = json_object_get(row, "ids");
    ck_assert_uint_eq(json_array_size(ids), t->n);
    for (size_t i = 0; i < t->n; i++)
        ck_assert_int_eq(json_integer_value(json_array_get(ids, i)), t->at[i].id);
}

#endif
