/* attention.c and what it is made of, on the tiny models, without HTTP: every selector
 * and reduction, tokens, what the pass says besides, and what is refused. */
#include "server/api/attention.h"
#include "tests/json_look.h"
#include "tests/suite.h"
#include "tests/unit/api_server.h"

#include <math.h>
#include <stdlib.h>

static struct api_server api;
static const char *const PATH = "/v1/attention";

static json_t *ask(const char *body)
{
    return api_json(&api, "POST", PATH, body, 200);
}

static json_t *maps_of(json_t *reply)
{
    return at(at(reply, "attention"), "data");
}

static size_t length_of_axis(json_t *attention, size_t axis)
{
    return (size_t)json_integer_value(item(at(attention, "shape"), axis));
}

enum { MOST = 40000 };

/* ---- selectors and shapes -------------------------------------------------------- */

/* What `value` is nested like, down from an axis; every row of the last axis is looked at
 * by `row`. */
static void check_nesting(json_t *attention, json_t *value, size_t axis,
                          void (*row)(json_t *attention, json_t *row))
{
    size_t i, n = length_of_axis(attention, axis);
    bool last = axis + 1 == json_array_size(at(attention, "shape"));
    json_t *element;
    ck_assert(json_is_array(value));
    ck_assert_uint_eq(json_array_size(value), n);
    if (last)
        row(attention, value);
    json_array_foreach(value, i, element)
    {
        if (!last)
            check_nesting(attention, element, axis + 1, row);
    }
}

static void check_row(json_t *attention, json_t *row)
{
    bool scores = strcmp(json_string_value(at(attention, "kind")), "scores") == 0;
    bool steps = strcmp(json_string_value(at(attention, "dtype")), "uint8") == 0;
    double sum = 0;
    size_t i;
    json_t *value;
    json_array_foreach(row, i, value)
    {
        ck_assert(json_is_number(value) || (scores && json_is_null(value)));
        ck_assert(scores || json_number_value(value) >= 0);
        sum += json_number_value(value) / (steps ? 255 : 1);
    }
    if (json_is_number(at(attention, "row_sum")))
        ck_assert_double_eq_tol(sum, 1,
                                json_number_value(at(attention, "row_sum_tolerance")));
}

static const char *pick(const char *const *list, size_t n)
{
    return list[(size_t)rand() % n];
}
#define PICK(list) pick(list, sizeof(list) / sizeof *(list))

static void random_body(char *to, size_t cap)
{
    static const char *const models[] = {"tiny-gpt2", "tiny-bert", "tiny-bilstm"};
    static const char *const inputs[] = {
        "\"text\":\"the cat sat on the mat, great\"", "\"text\":\"a\"",
        "\"text\":\"a caf\xc3\xa9, not terrible\"", "\"input_ids\":[5,6,7,8,5,6,7,8,9]"};
    static const char *const which[] = {"",
                                        "",
                                        ",\"layers\":[-1]",
                                        ",\"layers\":[]",
                                        ",\"heads\":[1,0]",
                                        ",\"heads\":[]",
                                        ",\"layers\":[1,0],\"heads\":[-1]",
                                        ",\"select\":[[0,1],[-1,0]]",
                                        ",\"select\":[[7,0]]"};
    static const char *const queries[] = {"",
                                          "",
                                          ",\"queries\":\"last\"",
                                          ",\"queries\":[0]",
                                          ",\"queries\":[-1,0]",
                                          ",\"queries\":[]",
                                          ",\"queries\":[40]"};
    static const char *const kinds[] = {"", "", ",\"kind\":\"scores\"",
                                        ",\"kind\":\"value_norm\""};
    static const char *const heads[] = {"none", "none", "mean", "max", "min"};
    static const char *const layers[] = {"none", "none", "mean", "max", "rollout"};
    static const char *const words[] = {"none", "none", "word"};
    static const char *const specials[] = {"", ",\"special_tokens\":\"drop\"",
                                           ",\"special_tokens\":\"drop_renormalize\""};
    static const char *const sizes[] = {"",
                                        "",
                                        ",\"pool\":8",
                                        ",\"top_k\":3",
                                        ",\"top_k\":3000",
                                        ",\"min_weight\":0.2",
                                        ",\"min_weight\":0.05,\"top_k\":2"};
    static const char *const more[] = {"",
                                       ",\"metrics\":true",
                                       ",\"predict\":false",
                                       ",\"dtype\":\"uint8\"",
                                       ",\"decimals\":2",
                                       ",\"generate\":{\"max_tokens\":3}"};
    snprintf(to, cap,
             "{\"model\":\"%s\",%s%s%s%s%s%s%s%s,\"reduce\":{\"heads\":\"%s\","
             "\"layers\":\"%s\",\"tokens\":\"%s\"}}",
             PICK(models), PICK(inputs), PICK(which), PICK(queries), PICK(kinds),
             PICK(specials), PICK(sizes), PICK(more), PICK(more), PICK(heads),
             PICK(layers), PICK(words));
}

/* Rows have k entries each, or with a least weight as many as reach it. */
static void check_sparse(json_t *attention)
{
    json_t *sparse = json_object_get(attention, "sparse");
    json_t *least = json_object_get(sparse, "min_weight");
    json_t *starts = json_object_get(sparse, "indptr");
    size_t rows = 1, k = (size_t)json_integer_value(at(sparse, "k")), n = 0;
    size_t axes = json_array_size(at(attention, "shape"));
    bool steps = strcmp(json_string_value(at(attention, "dtype")), "uint8") == 0;
    for (size_t i = 0; i + 1 < axes; i++)
        rows *= length_of_axis(attention, i);
    ck_assert((least != NULL) == (starts != NULL));
    if (!starts)
        ck_assert_uint_eq(length_of_axis(attention, axes - 1), k);
    else
        ck_assert_uint_eq(json_array_size(starts), rows + 1);
    for (size_t r = 0; r < rows && starts; r++) {
        size_t end = (size_t)json_integer_value(item(starts, r + 1));
        ck_assert_uint_le(end - (size_t)json_integer_value(item(starts, r)), k);
        n = end;
    }
    n = starts ? n : rows * k;
    ck_assert_uint_eq(json_array_size(at(sparse, "indices")), n);
    ck_assert_uint_eq(json_array_size(at(sparse, "values")), n);
    ck_assert_uint_eq(json_array_size(at(sparse, "residual")), rows);
    for (size_t i = 0; i < n && least; i++)
        ck_assert_double_ge(json_number_value(item(at(sparse, "values"), i)) /
                                (steps ? 255 : 1),
                            json_number_value(least) - 0.006);
}

static void check_shape(json_t *reply)
{
    json_t *attention = at(reply, "attention"), *metrics;
    size_t axes = json_array_size(at(attention, "axes"));
    ck_assert_uint_eq(json_array_size(at(attention, "shape")), axes);
    if (json_object_get(attention, "sparse")) {
        check_sparse(attention);
    } else {
        check_nesting(attention, at(attention, "data"), 0, check_row);
        ck_assert_uint_eq(json_array_size(at(reply, "key_tokens")),
                          length_of_axis(attention, axes - 1));
    }
    if (strcmp(json_string_value(at(reply, "mask")), "pooling") != 0)
        ck_assert_uint_eq(json_array_size(at(reply, "query_tokens")),
                          length_of_axis(attention, axes - 2));
    metrics = json_object_get(reply, "metrics");
    if (metrics) {
        static double numbers[MOST];
        size_t n = 1;
        for (size_t i = 0; i < json_array_size(at(metrics, "shape")); i++)
            n *= length_of_axis(metrics, i);
        ck_assert_uint_eq(flatten(at(metrics, "data"), numbers, 0, MOST), n);
    }
}

/* Any combination is refused by the name of a field, or has the declared shape and the
 * declared sums. */
START_TEST(every_selector_is_refused_or_gives_the_declared_shape)
{
    size_t good = 0, refused = 0;
    api_start(&api);
    for (size_t i = 0; i < 4000; i++) {
        char body[700];
        struct reply r;
        random_body(body, sizeof body);
        unsigned status = api_ask(&api, "POST", PATH, body, &r);
        json_t *reply = json_loadb(r.body.at, r.body.n, JSON_REJECT_DUPLICATES, NULL);
        ck_assert_msg(reply != NULL, "%s", body);
        if (status == 200) {
            check_shape(reply);
            good++;
        } else {
            bool ours = status == 400 || status == 422;
            ck_assert_msg(ours, "%u: %s: %.*s", status, body, (int)r.body.n, r.body.at);
            ck_assert_msg(json_is_string(at(at(reply, "error"), "param")), "%s", body);
            refused++;
        }
        json_decref(reply);
        reply_done(&r);
    }
    ck_assert_uint_gt(good, 400);
    ck_assert_uint_gt(refused, 400);
    api_stop(&api);
}
END_TEST

START_TEST(a_part_is_the_part_of_the_whole)
{
    api_start(&api);
    json_t *whole = ask("{\"text\":\"a cat sat\",\"model\":\"tiny-bert\"}");
    json_t *part = ask("{\"text\":\"a cat sat\",\"model\":\"tiny-bert\",\"layers\":[1,0],"
                       "\"heads\":[2,-4],\"queries\":[-1,1]}");
    json_t *pairs =
        ask("{\"text\":\"a cat sat\",\"model\":\"tiny-bert\",\"select\":[[1,2],"
            "[0,-4]],\"predict\":false}");
    static const size_t layers[] = {1, 0}, heads[] = {2, 0}, queries[] = {4, 1};
    for (size_t l = 0; l < 2; l++)
        for (size_t h = 0; h < 2; h++)
            for (size_t q = 0; q < 2; q++)
                ck_assert(json_equal(
                    item(item(item(maps_of(part), l), h), q),
                    item(item(item(maps_of(whole), layers[l]), heads[h]), queries[q])));
    for (size_t i = 0; i < 2; i++)
        ck_assert(json_equal(item(maps_of(pairs), i),
                             item(item(maps_of(whole), layers[i]), heads[i])));
    json_decref(whole);
    json_decref(part);
    json_decref(pairs);
    api_stop(&api);
}
END_TEST

/* ---- hostile bodies -------------------------------------------------------------- */

/* Bytes of a good body changed, left out, doubled or taken from another one. */
static size_t spoil(char *body, size_t n, size_t cap)
{
    static const char marks[] = "{}[]\":,\\0-9.eE\xff\xc3 ";
    for (size_t more = 1 + (size_t)rand() % 4; more > 0 && n > 1; more--) {
        size_t at = (size_t)rand() % n, part = 1 + (size_t)rand() % 12;
        part = part < n - at ? part : n - at;
        switch (rand() % 4) {
        case 0:
            body[at] = (char)rand();
            break;
        case 1:
            body[at] = marks[(size_t)rand() % sizeof marks];
            break;
        case 2:
            memmove(body + at, body + at + part, n - at - part);
            n -= part;
            break;
        default:
            if (n + part < cap) {
                memmove(body + at + part, body + at, n - at);
                n += part;
            }
        }
    }
    return n;
}

/* Whatever the bytes are: an error with a status of the client's, or an answer that keeps
 * its promises. */
START_TEST(spoilt_bodies_are_refused_or_answered)
{
    size_t good = 0, refused = 0;
    struct router_match match;
    api_start(&api);
    router_find(api.s.routes, api.s.n_routes, "POST", PATH, &match);
    for (size_t i = 0; i < 20000; i++) {
        char body[800];
        struct answer answer = {0};
        struct reply r = {0};
        struct err err = {0};
        random_body(body, sizeof body);
        size_t n = spoil(body, strlen(body), sizeof body);
        char *exact = mem_copy(body, n); /* reading past it is seen by the sanitizer */
        struct request q = {
            .route = match.route, .path = PATH, .body = exact, .body_n = n};
        enum err_code code = match.route->handle(&api.s, &q, &answer, &err);
        mem_free(exact);
        if (code != ERR_OK) {
            reply_err(&r, DIALECT_SEQD, &err);
        } else if (answer.job) {
            api_run(&api, answer.job);
            api_finish(answer.job, DIALECT_SEQD, &r);
        } else {
            r = answer.reply;
        }
        bool fine = !r.status || (r.status >= 400 && r.status < 500);
        ck_assert_msg(fine, "%u: %.*s", r.status, (int)n, body);
        if (r.status) {
            refused++;
        } else {
            json_t *reply = json_loadb(r.body.at, r.body.n,
                                       JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
            ck_assert_msg(reply != NULL, "%.*s", (int)n, body);
            check_shape(reply);
            json_decref(reply);
            good++;
        }
        reply_done(&r);
    }
    ck_assert_uint_gt(good, 20);
    ck_assert_uint_gt(refused, 10000);
    api_stop(&api);
}
END_TEST

/* ---- reductions ------------------------------------------------------------------ */

enum { LAYERS = 2, HEADS = 4, T = 5 };
static double whole[LAYERS][HEADS][T][T];

static void get_whole(void)
{
    json_t *reply =
        ask("{\"text\":\"the cat sat\",\"model\":\"tiny-bert\",\"decimals\":9}");
    ck_assert_uint_eq(flatten(maps_of(reply), &whole[0][0][0][0], 0, MOST),
                      sizeof whole / sizeof(double));
    json_decref(reply);
}

static void check_close(const double *have, const double *want, size_t n, double bound)
{
    for (size_t i = 0; i < n; i++)
        ck_assert_double_le(fabs(have[i] - want[i]), bound);
}

static void check_reduced(const char *reduce, size_t n, const double *want)
{
    char body[300];
    static double have[MOST];
    snprintf(body, sizeof body,
             "{\"text\":\"the cat sat\",\"model\":\"tiny-bert\",\"decimals\":9,"
             "\"reduce\":%s}",
             reduce);
    json_t *reply = ask(body);
    ck_assert_uint_eq(flatten(maps_of(reply), have, 0, MOST), n);
    check_close(have, want, n, 2e-7);
    json_decref(reply);
}

START_TEST(reductions_are_those_of_the_whole)
{
    double heads[LAYERS][T][T] = {{{0}}}, layers[HEADS][T][T] = {{{0}}};
    double both[T][T], rollout[T][T] = {{0}}, next[T][T] = {{0}};
    api_start(&api);
    get_whole();
    for (size_t i = 0; i < (size_t)LAYERS * HEADS * T * T; i++) {
        size_t l = i / (HEADS * T * T), h = i / (T * T) % HEADS, q = i / T % T, k = i % T;
        heads[l][q][k] += whole[l][h][q][k] / HEADS;
        layers[h][q][k] = fmax(layers[h][q][k], whole[l][h][q][k]);
    }
    for (size_t i = 0; i < (size_t)T * T; i++)
        both[i / T][i % T] = (heads[0][i / T][i % T] + heads[1][i / T][i % T]) / 2;
    for (size_t i = 0; i < (size_t)T * T; i++)
        rollout[i / T][i % T] = 0.5 * heads[0][i / T][i % T] + 0.5 * (i / T == i % T);
    for (size_t i = 0; i < (size_t)T * T * T; i++) {
        size_t q = i / (T * T), k = i / T % T, j = i % T;
        next[q][k] += (0.5 * heads[1][q][j] + 0.5 * (q == j)) * rollout[j][k];
    }
    check_reduced("{\"heads\":\"mean\"}", (size_t)LAYERS * T * T, &heads[0][0][0]);
    check_reduced("{\"layers\":\"max\"}", (size_t)HEADS * T * T, &layers[0][0][0]);
    check_reduced("{\"heads\":\"mean\",\"layers\":\"mean\"}", (size_t)T * T, &both[0][0]);
    check_reduced("{\"layers\":\"rollout\"}", (size_t)T * T, &next[0][0]);
    api_stop(&api);
}
END_TEST

/* ---- tokens ---------------------------------------------------------------------- */

static size_t units_of(const char *text, size_t bytes, const char *unit)
{
    enum utf8_unit u = strcmp(unit, "byte") == 0        ? UTF8_BYTES
                       : strcmp(unit, "codepoint") == 0 ? UTF8_CODE_POINTS
                                                        : UTF16_UNITS;
    return utf8_count(text, bytes, u);
}

/* A text as its bytes and as JSON spells it. */
struct spelled {
    const char *at;
    size_t n;
    const char *json;
};
#define PLAIN(text)                                                                      \
    {                                                                                    \
        text, sizeof(text) - 1, text                                                     \
    }
static const struct spelled TEXTS[] = {
    PLAIN("a cat"),
    PLAIN("a caf\xc3\xa9 sat"),
    PLAIN("\xe6\xbc\xa2\xe5\xad\x97 cat"),
    PLAIN(
        "x \xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7 cat"),
    PLAIN("cafe\xcc\x81 on"),
    {"a\0cat \0 on", 10, "a\\u0000cat \\u0000 on"}};
enum { N_TEXTS = sizeof TEXTS / sizeof *TEXTS };

/* The token's text is what its offsets cut out of the part that it is of. Returns how
 * many have one. */
static size_t check_offsets(json_t *tokens, const struct spelled *const parts[2],
                            const char *unit)
{
    size_t i, before[2] = {0, 0}, n_cut = 0;
    json_t *token;
    json_array_foreach(tokens, i, token)
    {
        json_t *own = at(token, "text");
        size_t start = (size_t)json_integer_value(at(token, "start"));
        size_t end = (size_t)json_integer_value(at(token, "end"));
        ck_assert_uint_le(start, end);
        if (json_is_true(at(token, "special")))
            continue;
        size_t part = (size_t)json_integer_value(json_object_get(token, "part"));
        ck_assert_uint_lt(part, 2);
        const struct spelled *text = parts[part];
        ck_assert_uint_ge(start, before[part]);
        before[part] = start;
        ck_assert_uint_le(end, units_of(text->at, text->n, unit));
        if (!json_is_string(own))
            continue;
        size_t from = 0; /* the byte that `start` units are in front of */
        while (units_of(text->at, from, unit) < start ||
               (from < text->n && (text->at[from] & 0xc0) == 0x80))
            from++;
        size_t n = json_string_length(own);
        ck_assert_uint_le(from + n, text->n);
        ck_assert_mem_eq(text->at + from, json_string_value(own), n);
        ck_assert_uint_eq(units_of(text->at, from + n, unit), end);
        n_cut++;
    }
    return n_cut;
}

static const char *const UNITS[] = {"byte", "codepoint", "utf16"};

START_TEST(offsets_cut_the_text_in_every_unit)
{
    api_start(&api);
    for (size_t m = 0; m < 2; m++)
        for (size_t i = 0; i < N_TEXTS; i++)
            for (size_t u = 0; u < 3; u++) {
                char body[300];
                snprintf(body, sizeof body,
                         "{\"text\":\"%s\",\"model\":\"%s\",\"offset_unit\":\"%s\","
                         "\"layers\":[],\"predict\":false}",
                         TEXTS[i].json, m ? "tiny-gpt2" : "tiny-bert", UNITS[u]);
                json_t *reply = ask(body);
                const struct spelled *const parts[] = {&TEXTS[i], &TEXTS[i]};
                ck_assert_uint_gt(check_offsets(at(reply, "tokens"), parts, UNITS[u]), 0);
                json_decref(reply);
            }
    api_stop(&api);
}
END_TEST

START_TEST(offsets_of_a_pair_cut_the_text_that_they_are_of)
{
    api_start(&api);
    for (size_t i = 0; i < (size_t)N_TEXTS * N_TEXTS; i++) {
        const struct spelled *const parts[] = {&TEXTS[i / N_TEXTS], &TEXTS[i % N_TEXTS]};
        char body[400];
        snprintf(body, sizeof body,
                 "{\"text\":\"%s\",\"text_pair\":\"%s\",\"offset_unit\":\"%s\","
                 "\"layers\":[],\"predict\":false}",
                 parts[0]->json, parts[1]->json, UNITS[i % 3]);
        json_t *reply = ask(body);
        ck_assert_uint_gt(check_offsets(at(reply, "tokens"), parts, UNITS[i % 3]), 1);
        json_decref(reply);
    }
    api_stop(&api);
}
END_TEST

START_TEST(ids_are_read_as_they_are)
{
    char body[300] = "{\"decimals\":9,\"input_ids\":[";
    api_start(&api);
    json_t *text = ask("{\"text\":\"the cat sat\",\"decimals\":9}"), *token;
    size_t i, n = strlen(body);
    json_array_foreach(at(text, "tokens"), i, token)
    {
        n += (size_t)snprintf(body + n, sizeof body - n, "%s%d", i ? "," : "",
                              (int)json_integer_value(at(token, "id")));
    }
    snprintf(body + n, sizeof body - n, "]}");
    json_t *ids = ask(body);
    ck_assert(json_equal(maps_of(text), maps_of(ids)));
    ck_assert(json_equal(at(text, "prediction"), at(ids, "prediction")));
    json_array_foreach(at(ids, "tokens"), i, token)
    {
        ck_assert(json_is_null(at(token, "start")));
        ck_assert(
            json_equal(at(token, "special"), at(item(at(text, "tokens"), i), "special")));
    }
    json_decref(ids);
    json_decref(text);
    api_stop(&api);
}
END_TEST

START_TEST(words_have_the_tokens_that_are_theirs)
{
    api_start(&api);
    json_t *reply = ask("{\"text\":\"terribleness sat\",\"reduce\":{\"tokens\":\"word\"},"
                        "\"decimals\":9}");
    json_t *words = at(reply, "words"), *word, *index;
    size_t i, j, next = 0;
    json_array_foreach(words, i, word)
    {
        json_array_foreach(at(word, "tokens"), j, index)
        {
            ck_assert_int_eq(json_integer_value(index), (json_int_t)next++);
        }
    }
    ck_assert_uint_eq(next, json_array_size(at(reply, "tokens")));
    ck_assert_uint_lt(json_array_size(words), next);
    check_shape(reply);
    json_decref(reply);
    api_stop(&api);
}
END_TEST

/* ---- what else the pass says ----------------------------------------------------- */

START_TEST(what_is_watched_changes_no_answer)
{
    static const char *const more[] = {"",
                                       ",\"kind\":\"scores\"",
                                       ",\"kind\":\"value_norm\"",
                                       ",\"metrics\":true",
                                       ",\"reduce\":{\"layers\":\"rollout\"}",
                                       ",\"layers\":[]"};
    api_start(&api);
    json_t *labels = api_json(&api, "POST", "/v1/sentiment",
                              "{\"text\":\"not great\",\"model\":\"tiny-bert\"}", 200);
    json_t *words = api_json(&api, "POST", "/v1/next-word",
                             "{\"text\":\"the cat\",\"model\":\"tiny-gpt2\",\"unit\":"
                             "\"token\",\"top_k\":5}",
                             200);
    json_t *label = item(at(labels, "results"), 0);
    json_t *next = at(item(at(words, "results"), 0), "predictions");
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        char body[200];
        snprintf(body, sizeof body, "{\"text\":\"not great\",\"model\":\"tiny-bert\"%s}",
                 more[i]);
        json_t *reply = ask(body);
        ck_assert(json_equal(at(at(reply, "prediction"), "scores"), at(label, "scores")));
        ck_assert(json_equal(at(at(reply, "prediction"), "label"), at(label, "label")));
        json_decref(reply);
        snprintf(body, sizeof body, "{\"text\":\"the cat\",\"model\":\"tiny-gpt2\"%s}",
                 more[i]);
        reply = ask(body);
        json_t *have = at(at(reply, "prediction"), "next");
        ck_assert_uint_eq(json_array_size(have), 5);
        for (size_t k = 0; k < 5; k++) {
            ck_assert(json_equal(at(item(have, k), "id"), at(item(next, k), "id")));
            ck_assert_double_eq_tol(json_number_value(at(item(have, k), "logprob")),
                                    json_number_value(at(item(next, k), "logprob")),
                                    1e-6);
        }
        json_decref(reply);
    }
    json_decref(labels);
    json_decref(words);
    api_stop(&api);
}
END_TEST

/* The maps of a generation are those of all that was fed, read at once. */
START_TEST(a_generation_has_one_triangle)
{
    api_start(&api);
    json_t *said = ask("{\"text\":\"the cat sat\",\"model\":\"tiny-gpt2\",\"decimals\":9,"
                       "\"generate\":{\"max_tokens\":6}}");
    json_t *tokens = at(said, "tokens"), *attention = at(said, "attention");
    size_t n = json_array_size(tokens), fed = n - 1;
    ck_assert_int_eq(json_integer_value(at(at(said, "generated"), "tokens")), 6);
    ck_assert_uint_eq(length_of_axis(attention, 2), fed);
    ck_assert_uint_eq(length_of_axis(attention, 3), fed);
    char body[300] = "{\"model\":\"tiny-gpt2\",\"decimals\":9,\"input_ids\":[";
    size_t used = strlen(body);
    for (size_t i = 0; i < fed; i++)
        used += (size_t)snprintf(body + used, sizeof body - used, "%s%d", i ? "," : "",
                                 (int)json_integer_value(at(item(tokens, i), "id")));
    snprintf(body + used, sizeof body - used, "]}");
    json_t *read = ask(body);
    ck_assert(json_equal(at(attention, "data"), maps_of(read)));
    /* What comes last is what the model says behind all that was fed. */
    json_t *best = item(at(at(read, "prediction"), "next"), 0);
    ck_assert(json_equal(at(best, "id"), at(item(tokens, n - 1), "id")));
    for (size_t q = 0; q < fed; q++)
        for (size_t k = q + 1; k < fed; k++)
            ck_assert(json_number_value(item(
                          item(item(item(at(attention, "data"), 0), 0), q), k)) == 0);
    json_decref(read);
    json_decref(said);
    api_stop(&api);
}
END_TEST

/* ---- refusals -------------------------------------------------------------------- */

START_TEST(refusals_name_the_field)
{
    static const struct {
        const char *body;
        unsigned status;
        const char *param;
    } rows[] = {
        {"{}", 400, "text"},
        {"{\"text\":\"a\",\"input_ids\":[5]}", 400, "input_ids"},
        {"{\"input_ids\":\"all\"}", 400, "input_ids"},
        {"{\"input_ids\":[]}", 422, "input_ids"},
        {"{\"input_ids\":[5,-1]}", 422, "input_ids[1]"},
        {"{\"input_ids\":[99999]}", 422, "input_ids[0]"},
        {"{\"input_ids\":[5],\"text_pair\":\"b\"}", 400, "text_pair"},
        {"{\"text\":\"a\",\"select\":[[0,0]],\"layers\":[0]}", 400, "select"},
        {"{\"text\":\"a\",\"select\":[[0]]}", 400, "select[0]"},
        {"{\"text\":\"a\",\"select\":[[0,0,0]]}", 400, "select[0]"},
        {"{\"text\":\"a\",\"select\":[]}", 422, "select"},
        {"{\"text\":\"a\",\"select\":[[0,0],[0,-4]]}", 422, "select[1]"},
        {"{\"text\":\"a\",\"select\":[[2,0]]}", 422, "select[0]"},
        {"{\"text\":\"a\",\"select\":[[0,0]],\"reduce\":{\"heads\":\"mean\"}}", 422,
         "select"},
        {"{\"text\":\"a\",\"reduce\":{\"heads\":\"sum\"}}", 422, "reduce.heads"},
        {"{\"text\":\"a\",\"reduce\":{\"bogus\":1}}", 400, "reduce.bogus"},
        {"{\"text\":\"a\",\"reduce\":[]}", 400, "reduce"},
        {"{\"text\":\"a\",\"reduce\":{\"layers\":\"rollout\",\"heads\":\"max\"}}", 422,
         "reduce.heads"},
        {"{\"text\":\"a\",\"kind\":\"scores\",\"reduce\":{\"layers\":\"rollout\"}}", 422,
         "reduce.layers"},
        {"{\"text\":\"a\",\"layers\":[],\"reduce\":{\"layers\":\"mean\"}}", 422,
         "layers"},
        {"{\"text\":\"a\",\"pool\":7}", 422, "pool"},
        {"{\"text\":\"a\",\"pool\":65}", 422, "pool"},
        {"{\"text\":\"a\",\"pool\":8,\"queries\":\"last\"}", 422, "queries"},
        {"{\"text\":\"a\",\"dtype\":\"float16\"}", 422, "dtype"},
        {"{\"text\":\"a\",\"kind\":\"scores\",\"dtype\":\"uint8\"}", 422, "dtype"},
        {"{\"text\":\"a\",\"encoding\":\"npy\",\"metrics\":true}", 422, "metrics"},
        {"{\"text\":\"a\",\"encoding\":\"npy\",\"top_k\":1}", 422, "top_k"},
        {"{\"text\":\"a\",\"encoding\":\"npy\",\"min_weight\":0.1}", 422, "min_weight"},
        {"{\"text\":\"a\",\"pool\":8,\"min_weight\":0.1}", 422, "min_weight"},
        {"{\"text\":\"a\",\"kind\":\"scores\",\"min_weight\":0.1}", 422, "min_weight"},
        {"{\"text\":\"a\",\"min_weight\":-1}", 422, "min_weight"},
        {"{\"text\":\"a\",\"generate\":{\"max_tokens\":2}}", 422, "generate"},
        {"{\"text\":\"a\",\"model\":\"tiny-gpt2\",\"generate\":{\"max_tokens\":0}}", 422,
         "generate.max_tokens"},
        {"{\"text\":\"a\",\"model\":\"tiny-bilstm\",\"pool\":8}", 422, "pool"},
        {"{\"text\":\"a\",\"model\":\"tiny-bilstm\",\"metrics\":true}", 422, "metrics"},
        {"{\"text\":\"a\",\"model\":\"tiny-bilstm\",\"queries\":[]}", 422, "queries"},
    };
    api_start(&api);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *reply = api_json(&api, "POST", PATH, rows[i].body, rows[i].status);
        const char *param = json_string_value(at(at(reply, "error"), "param"));
        ck_assert_msg(param && strcmp(param, rows[i].param) == 0, "%s: param is %s",
                      rows[i].body, param ? param : "null");
        json_decref(reply);
    }
    json_t *reply =
        api_json(&api, "POST", PATH, "{\"text\":\"a\",\"model\":\"tiny-lstm\"}", 422);
    ck_assert_str_eq(json_string_value(at(at(reply, "error"), "code")), "no_attention");
    json_decref(reply);
    api_stop(&api);
}
END_TEST

/* The worker's memory tells whether a pass was made. */
START_TEST(what_is_too_large_is_refused_before_it_is_computed)
{
    static const char *const bodies[] = {
        "{\"text\":\"a cat sat\"}", "{\"text\":\"a cat sat\",\"metrics\":true}",
        "{\"text\":\"a cat sat\",\"model\":\"tiny-gpt2\",\"queries\":\"last\","
        "\"generate\":{\"max_tokens\":9}}"};
    api_start(&api);
    api.options.attention_max_values = 40;
    for (size_t i = 0; i < 3; i++) {
        json_t *reply = api_json(&api, "POST", PATH, bodies[i], 413);
        json_t *error = at(reply, "error");
        ck_assert_int_gt((int)json_integer_value(at(error, "needed_values")), 40);
        ck_assert_int_eq((int)json_integer_value(at(error, "limit")), 40);
        ck_assert_ptr_nonnull(json_string_value(at(error, "hint")));
        json_decref(reply);
    }
    ck_assert_uint_eq(seq_worker_peak(api.worker), 0);
    json_decref(ask("{\"text\":\"a cat sat\",\"layers\":[0],\"heads\":[0]}"));
    ck_assert_uint_gt(seq_worker_peak(api.worker), 0);
    json_decref(api_json(&api, "POST", PATH, "{\"text\":\"a\",\"queries\":[]}", 200));
    /* Sixteen times as many in binary, and in memory while a layer is computed. */
    struct reply r;
    ck_assert_uint_eq(
        api_ask(&api, "POST", PATH, "{\"text\":\"a cat sat\",\"encoding\":\"npy\"}", &r),
        200);
    reply_done(&r);
    api.options.attention_max_values = 4;
    json_t *reply = api_json(&api, "POST", PATH,
                             "{\"text\":\"a cat\",\"reduce\":{\"heads\":\"mean\","
                             "\"layers\":\"mean\"},\"queries\":[]}",
                             200);
    json_decref(reply);
    json_decref(api_json(&api, "POST", PATH,
                         "{\"text\":\"a\",\"metrics\":true,\"queries\":[],\"select\":"
                         "[[0,0]]}",
                         413));
    api_stop(&api);
}
END_TEST

/* ---- memory ---------------------------------------------------------------------- */

START_TEST(memory_may_be_short_at_any_time)
{
    static const char *const bodies[] = {
        "{\"text\":\"a cat\",\"model\":\"tiny-bert\",\"metrics\":true,\"kind\":"
        "\"weights\",\"reduce\":{\"tokens\":\"word\"}}",
        "{\"text\":\"a "
        "cat\",\"model\":\"tiny-bert\",\"encoding\":\"binary\",\"top_k\":2}",
        "{\"text\":\"a\",\"model\":\"tiny-gpt2\",\"kind\":\"value_norm\",\"encoding\":"
        "\"npy\",\"generate\":{\"max_tokens\":2}}"};
    api_start(&api);
    for (size_t i = 0; i < 3; i++)
        api_check_faults(&api, PATH, bodies[i]);
    api_stop(&api);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {

        every_selector_is_refused_or_gives_the_declared_shape,
        spoilt_bodies_are_refused_or_answered,
        a_part_is_the_part_of_the_whole,
        reductions_are_those_of_the_whole,
        offsets_cut_the_text_in_every_unit,
        offsets_of_a_pair_cut_the_text_that_they_are_of,
        ids_are_read_as_they_are,
        words_have_the_tokens_that_are_theirs,
        what_is_watched_changes_no_answer,
        a_generation_has_one_triangle,
        refusals_name_the_field,
        what_is_too_large_is_refused_before_it_is_computed,

        memory_may_be_short_at_any_time,
        NULL};
    return suite_run("api_attention", tests, 120);
}
