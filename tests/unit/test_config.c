/* config, config_keys and labels: folders of tests/fixtures/config.
 *
 *     valid/<what>/    config.json; `expect`: lines out of what describe() writes
 *     invalid/<what>/  config.json; `expect`: text that "code: message" must contain */
#include "model/base/mem.h"
#include "model/load/config.h"
#include "tests/suite.h"
#include "tests/unit/fixture.h"

static const char *const VALID = "tests/fixtures/config/valid";
static const char *const INVALID = "tests/fixtures/config/invalid";

enum { TEXT_BYTES = 4096 };

static void describe_rope(FILE *out, const char *name, const struct rope_config *r)
{
    fprintf(out, "%s kind=%d theta=%g factor=%g low=%g high=%g original=%g\n", name,
            (int)r->kind, r->theta, r->factor, r->low_freq_factor, r->high_freq_factor,
            r->original_context);
}

/* Every field of the config, a few to a line; enums as their numbers. */
static void describe(const struct config *c, char text[TEXT_BYTES])
{
    static const char *const archs[] = {"rnn", "gpt2", "llama", "bert", "modernbert"};
    static const char *const heads[] = {"lm", "masked", "labels", "none"};
    static const char *const problems[] = {"single", "multi", "regression"};
    FILE *out = fmemopen(text, TEXT_BYTES, "w");
    ck_assert_ptr_nonnull(out);
    fprintf(out, "\narch %s %s %s\n", archs[c->arch], heads[c->head], c->architecture);
    fprintf(
        out,
        "sizes vocab=%zu width=%zu layers=%zu heads=%zu mlp=%zu context=%zu types=%zu\n",
        c->vocab, c->width, c->n_layers, c->n_heads, c->mlp_width, c->context,
        c->n_types);
    fprintf(out, "numbers eps=%g act=%d by_layer=%d unscaled=%d tied=%d\n",
            (double)c->norm_eps, (int)c->act, c->scale_by_layer, c->unscaled, c->tied);
    fprintf(out, "encoder layout=%d head_act=%d\n", (int)c->layout, (int)c->head_act);
    fprintf(out, "rnn cell=%d hidden=%zu bi=%d bias=%d pooling=%d A=%zu R=%zu\n",
            (int)c->cell, c->hidden, c->bidirectional, c->bias, (int)c->pooling,
            c->attention_size, c->hops);
    fprintf(out, "gates %d\n", (int)c->gates);
    fprintf(out, "heads kv=%zu E=%zu first_position=%zu embedding=%zu buckets=%zu\n",
            c->n_kv_heads, c->head_width, c->first_position, c->embedding_width,
            c->n_buckets);
    fprintf(out, "window %zu every=%zu first=%zu\n", c->window, c->window_every,
            c->first_window);
    fprintf(out, "biases qkv=%d out=%d mlp=%d norm=%d head=%d output=%d qk_norm=%d\n",
            c->qkv_bias, c->attention_bias, c->mlp_bias, c->norm_bias, c->head_bias,
            c->output_bias, c->qk_norm);
    describe_rope(out, "rope", &c->rope);
    describe_rope(out, "window_rope", &c->window_rope);
    fprintf(out, "yarn fast=%g slow=%g attention=%g\n", c->rope.beta_fast,
            c->rope.beta_slow, c->rope.attention_factor);
    fprintf(out, "ids bos=%d eos=%d pad=%d\n", c->bos_id, c->eos_id, c->pad_id);
    fprintf(out, "ends");
    for (size_t i = 0; i < c->n_eos; i++)
        fprintf(out, " %d", c->eos_ids[i]);
    fprintf(out, "\n");
    fprintf(out, "labels %zu", c->n_labels);
    if (c->n_labels)
        fprintf(out, " %s", problems[c->problem]);
    for (size_t i = 0; i < c->n_labels; i++)
        fprintf(out, " %s", c->labels[i]);
    fprintf(out, "\n");
    ck_assert_int_eq(fclose(out), 0);
}

static void check_valid(const char *dir)
{
    struct config c = {0};
    struct err err = {0};
    char text[TEXT_BYTES], line[TEXT_BYTES];
    char *expect = fixture_text(dir, "expect"), *rest = expect;
    ck_assert_msg(expect && *expect, "%s: no expect", dir);
    ck_assert_msg(config_read(dir, &c, &err) == ERR_OK, "%s: %s", dir, err.msg);
    describe(&c, text);
    for (char *want = strsep(&rest, "\n"); want; want = strsep(&rest, "\n")) {
        snprintf(line, sizeof line, "\n%s\n", want);
        ck_assert_msg(strstr(text, line), "%s: want %s\nfound%s", dir, want, text);
    }
    free(expect);
    config_done(&c);
    ck_assert_ptr_null(c.labels);
}

START_TEST(valid_files_are_read)
{
    fixture_each(VALID, 55, check_valid);
}
END_TEST

static void check_invalid(const char *dir)
{
    struct config c = {.vocab = 77};
    struct err err = {0};
    enum err_code code = config_read(dir, &c, &err);
    fixture_refused(dir, code, &err);
    ck_assert_uint_eq(c.vocab, 77); /* outputs are untouched on failure */
}

START_TEST(invalid_files_are_refused_with_their_message)
{
    fixture_each(INVALID, 130, check_invalid);
}
END_TEST

static enum err_code load(const char *dir, struct err *err)
{
    struct config c = {0};
    enum err_code code = config_read(dir, &c, err);
    config_done(&c);
    return code;
}

static void check_faults(const char *dir)
{
    fixture_faults(dir, load);
}

START_TEST(every_failing_allocation_is_reported)
{
    fixture_each(VALID, 55, check_faults);
    fixture_each(INVALID, 130, check_faults);
}
END_TEST

/* As many labels as are allowed, then one more. */
START_TEST(thousands_of_labels_are_read)
{
    for (int n = 10000; n <= 10001; n++) {
        size_t room = 400 + 32 * (size_t)n, used = 0;
        char *text = malloc(room);
        used +=
            (size_t)snprintf(text, room,
                             "{\"architectures\":[\"BertForSequenceClassification\"],"
                             "\"vocab_size\":9,\"hidden_size\":2,\"num_hidden_layers\":1,"
                             "\"num_attention_heads\":1,\"intermediate_size\":3,"
                             "\"max_position_embeddings\":4,\"id2label\":{");
        for (int i = 0; i < n; i++)
            used += (size_t)snprintf(text + used, room - used, "%s\"%d\":\"class %d\"",
                                     i ? "," : "", i, i);
        used += (size_t)snprintf(text + used, room - used, "}}");
        struct config c = {0};
        struct err err = {0};
        enum err_code code = config_parse(text, used, &c, &err);
        if (n == 10000) {
            ck_assert_msg(code == ERR_OK, "%s", err.msg);
            ck_assert_uint_eq(c.n_labels, 10000);
            ck_assert_str_eq(c.labels[9999], "class 9999");
        } else {
            ck_assert_str_eq(
                err.msg, "config.json: id2label: want 1 to 10000 labels, found 10001");
        }
        config_done(&c);
        free(text);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        valid_files_are_read,
        invalid_files_are_refused_with_their_message,
        every_failing_allocation_is_reported,
        thousands_of_labels_are_read,
        NULL,
    };
    return suite_run("config", tests, 120);
}
