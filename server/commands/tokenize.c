/* seqd tokenize: lines of text to tokens, and token ids to text. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "server/api/token_json.h"
#include "server/commands/command.h"
#include "server/commands/lines.h"
#include "server/hub/hub.h"
#include "server/json_write.h"

struct tokenize_flags {
    bool no_special, pairs, all, json_lines, decode, skip_special;
    int offsets;
};

static const char *const OFFSETS[] = {"code_points", "bytes", "utf16", NULL};
static const enum utf8_unit UNITS[] = {UTF8_CODE_POINTS, UTF8_BYTES, UTF16_UNITS};

#define AT(member) offsetof(struct tokenize_flags, member)
static const struct command_flag FLAGS[] = {
    {"no-special", COMMAND_FLAG_BOOL, AT(no_special), NULL,
     "leave out the special tokens that the template adds"},
    {"pairs", COMMAND_FLAG_BOOL, AT(pairs), NULL,
     "a line is two texts with a tab between them (a list of two with --json-lines)"},
    {"json-lines", COMMAND_FLAG_BOOL, AT(json_lines), NULL,
     "a line is a JSON string, which may hold newlines and NUL"},
    {"offsets", COMMAND_FLAG_CHOICE, AT(offsets), OFFSETS, "what offsets count"},
    {"all", COMMAND_FLAG_BOOL, AT(all), NULL, "write types, words and special as well"},
    {"decode", COMMAND_FLAG_BOOL, AT(decode), NULL,
     "the other way: ids in (a JSON list, an object with the key ids, or numbers), JSON "
     "strings out"},
    {"skip-special", COMMAND_FLAG_BOOL, AT(skip_special), NULL,
     "leave special tokens out of decoded texts"},
};
#undef AT

static int run(int argc, char *const *argv, char *const *env);

const struct command command_tokenize = {
    .name = "tokenize",
    .arguments = "DIR|ORG/NAME",
    .summary = "turn lines of standard input into JSON lines of ids, tokens and offsets",
    .flags = FLAGS,
    .n_flags = sizeof FLAGS / sizeof *FLAGS,
    .run = run,
};

enum { FLUSH_BYTES = 1 << 16 };

struct job {
    struct tokenize_flags flags;
    struct seq_tokenizer *tok;
    struct lines in;
    struct json_writer out;
    struct seq_tokens tokens; /* of the line at hand */
    int32_t *ids;             /* the same to be decoded */
    size_t n_ids, cap_ids;
};

static enum err_code flush(void *arg, struct err *err)
{
    struct job *j = arg;
    if (j->out.buf.n == 0 || command_write(&j->out.buf))
        return ERR_OK;
    return err_set(err, ERR_STOPPED, "standard output: %s", strerror(errno));
}

/* ---- lines of JSON --------------------------------------------------------------- */

static const struct json_limits LIMITS = {.max_depth = 16, .max_values = 1 << 24};

static enum err_code parse(const char *line, size_t n, json_t **out, struct err *err)
{
    json_error_t e;
    enum err_code code = json_scan(line, n, &LIMITS, err);
    if (code != ERR_OK)
        return code;
    *out = json_loadb(line, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
    if (*out)
        return ERR_OK;
    if (json_error_code(&e) == json_error_out_of_memory)
        return err_set(err, ERR_NOMEM, "out of memory for the JSON");
    return err_set(err, ERR_FORMAT, "not JSON: %s", e.text);
}

/* ---- texts to tokens ------------------------------------------------------------- */

/* One text, or two. */
struct texts {
    const char *at[2];
    size_t n[2];
};

static void write_flags(struct json_writer *w, const struct seq_tokens *t)
{
    json_write_key(w, "types");
    json_write_array(w);
    for (size_t i = 0; i < t->n; i++)
        json_write_uint(w, t->at[i].type);
    json_write_end(w);
    json_write_key(w, "words");
    json_write_array(w);
    for (size_t i = 0; i < t->n; i++)
        if (t->at[i].word >= 0)
            json_write_int(w, t->at[i].word);
        else
            json_write_null(w);
    json_write_end(w);
    json_write_key(w, "special");
    json_write_array(w);
    for (size_t i = 0; i < t->n; i++)
        json_write_bool(w, t->at[i].special);
    json_write_end(w);
}

static void write_offsets(struct job *j, const struct texts *x)
{
    struct json_writer *w = &j->out;
    struct token_cursor starts[2] = {{0}}, ends[2] = {{0}};
    enum utf8_unit unit = UNITS[j->flags.offsets];
    json_write_key(w, "offsets");
    json_write_array(w);
    for (size_t i = 0; i < j->tokens.n; i++) {
        const struct seq_token *t = &j->tokens.at[i];
        size_t start = 0, end = 0;
        if (!t->special) {
            const char *text = x->at[t->part];
            start = token_json_offset(&starts[t->part], text, t->start, unit);
            end = token_json_offset(&ends[t->part], text, t->end, unit);
        }
        json_write_array(w);
        json_write_uint(w, start);
        json_write_uint(w, end);
        json_write_end(w);
    }
    json_write_end(w);
}

static void write_tokens(struct job *j, const struct texts *x)
{
    struct json_writer *w = &j->out;
    const struct seq_tokens *t = &j->tokens;
    json_write_object(w);
    json_write_key(w, "ids");
    json_write_array(w);
    for (size_t i = 0; i < t->n; i++)
        json_write_int(w, t->at[i].id);
    json_write_end(w);
    json_write_key(w, "tokens");
    json_write_array(w);
    for (size_t i = 0; i < t->n; i++) {
        size_t n = 0;
        const char *piece = seq_tokenizer_piece(j->tok, t->at[i].id, &n);
        if (piece)
            json_write_text(w, piece, n);
        else
            json_write_null(w);
    }
    json_write_end(w);
    write_offsets(j, x);
    if (j->flags.pairs) {
        json_write_key(w, "parts");
        json_write_array(w);
        for (size_t i = 0; i < t->n; i++)
            json_write_uint(w, t->at[i].part);
        json_write_end(w);
    }
    if (j->flags.all)
        write_flags(w, t);
    json_write_end(w);
}

static enum err_code encode(struct job *j, const struct texts *x, struct err *err)
{
    bool specials = !j->flags.no_special;
    enum err_code code =
        j->flags.pairs
            ? seq_tokenizer_encode_pair(j->tok, x->at[0], x->n[0], x->at[1], x->n[1],
                                        specials, &j->tokens, err)
            : seq_tokenizer_encode(j->tok, x->at[0], x->n[0], specials, &j->tokens, err);
    if (code == ERR_OK)
        write_tokens(j, x);
    return code;
}

static enum err_code encode_plain(struct job *j, const char *line, size_t n,
                                  struct err *err)
{
    struct texts x = {.at = {line}, .n = {n}};
    const char *tab = j->flags.pairs ? memchr(line, '\t', n) : NULL;
    if (tab) {
        x.n[0] = (size_t)(tab - line);
        x.at[1] = tab + 1;
        x.n[1] = n - x.n[0] - 1;
    }
    if (j->flags.pairs && (!tab || memchr(x.at[1], '\t', x.n[1])))
        return err_set(err, ERR_FORMAT, "want two texts with one tab between them");
    return encode(j, &x, err);
}

static enum err_code encode_json(struct job *j, const char *line, size_t n,
                                 struct err *err)
{
    struct texts x = {0};
    json_t *root = NULL;
    enum err_code code = parse(line, n, &root, err);
    if (code != ERR_OK)
        return code;
    size_t wanted = j->flags.pairs ? 2 : 1;
    bool good = j->flags.pairs ? json_array_size(root) == 2 : json_is_string(root);
    for (size_t i = 0; i < wanted && good; i++) {
        const json_t *v = j->flags.pairs ? json_array_get(root, i) : root;
        good = json_is_string(v);
        x.at[i] = json_string_value(v);
        x.n[i] = json_string_length(v);
    }
    if (good)
        code = encode(j, &x, err);
    else
        code = err_set(err, ERR_FORMAT, "want a JSON %s",
                       j->flags.pairs ? "list of two strings" : "string");
    json_decref(root);
    return code;
}

/* ---- ids to texts ---------------------------------------------------------------- */

static enum err_code add_id(struct job *j, int64_t id, struct err *err)
{
    if (id < 0 || id > INT32_MAX)
        return err_set(err, ERR_INPUT, "%lld is no token id", (long long)id);
    if (j->n_ids == j->cap_ids) {
        size_t cap = j->cap_ids ? 2 * j->cap_ids : 256;
        int32_t *ids = mem_resize(j->ids, cap, sizeof *ids);
        if (!ids)
            return err_set(err, ERR_NOMEM, "out of memory for %zu ids", cap);
        j->ids = ids;
        j->cap_ids = cap;
    }
    j->ids[j->n_ids++] = (int32_t)id;
    return ERR_OK;
}

/* A list of integers, or an object that has one as its "ids". */
static enum err_code add_list(struct job *j, const json_t *root, struct err *err)
{
    const json_t *list = json_is_object(root) ? json_object_get(root, "ids") : root, *v;
    size_t i;
    if (!json_is_array(list))
        return err_set(err, ERR_FORMAT, "want a list of ids, or an object with \"ids\"");
    json_array_foreach(list, i, v)
    {
        if (!json_is_integer(v))
            return err_set(err, ERR_FORMAT, "ids[%zu] is no integer", i);
        enum err_code code = add_id(j, json_integer_value(v), err);
        if (code != ERR_OK)
            return code;
    }
    return ERR_OK;
}

static bool is_between(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == ',';
}

/* Numbers with blanks or commas between them. */
static enum err_code add_numbers(struct job *j, const char *line, size_t n,
                                 struct err *err)
{
    enum err_code code = ERR_OK;
    for (size_t at = 0; at < n && code == ERR_OK;) {
        int64_t id = 0;
        size_t start = at;
        for (; at < n && line[at] >= '0' && line[at] <= '9'; at++)
            id = id > INT32_MAX ? id : id * 10 + (line[at] - '0');
        if (at > start)
            code = add_id(j, id, err);
        if (code == ERR_OK && at < n && !is_between(line[at++]))
            code = err_set(err, ERR_FORMAT,
                           "want numbers, found something else in byte %zu", at);
    }
    return code;
}

static enum err_code decode(struct job *j, const char *line, size_t n, struct err *err)
{
    char *text = NULL;
    size_t blanks = 0, text_n = 0;
    enum err_code code;
    j->n_ids = 0;
    while (blanks < n && (line[blanks] == ' ' || line[blanks] == '\t'))
        blanks++;
    if (blanks < n && (line[blanks] == '[' || line[blanks] == '{')) {
        json_t *root = NULL;
        code = parse(line, n, &root, err);
        if (code == ERR_OK)
            code = add_list(j, root, err);
        json_decref(root);
    } else {
        code = add_numbers(j, line, n, err);
    }
    if (code == ERR_OK)
        code = seq_tokenizer_decode(j->tok, j->ids, j->n_ids, j->flags.skip_special,
                                    &text, &text_n, err);
    if (code == ERR_OK)
        json_write_text(&j->out, text, text_n);
    mem_free(text);
    return code;
}

/* ---- the command ----------------------------------------------------------------- */

static enum err_code convert(struct job *j, const char *line, size_t n, struct err *err)
{
    if (j->flags.decode)
        return decode(j, line, n, err);
    return j->flags.json_lines ? encode_json(j, line, n, err)
                               : encode_plain(j, line, n, err);
}

/* All lines, until one is wrong. What came before it is written in any case. */
static enum err_code convert_all(struct job *j, struct err *err)
{
    const char *line = NULL;
    size_t n = 0;
    enum err_code code = lines_next(&j->in, &line, &n, err);
    while (code == ERR_OK && line) {
        size_t before = j->out.buf.n;
        code = convert(j, line, n, err);
        if (code != ERR_OK)
            j->out.buf.n = before;
        else
            buf_put(&j->out.buf, "\n", 1);
        if (code == ERR_OK && (j->out.buf.n >= FLUSH_BYTES || j->out.buf.failed))
            code = flush(j, err);
        if (code == ERR_OK)
            code = lines_next(&j->in, &line, &n, err);
    }
    if (code != ERR_OK && code != ERR_STOPPED) {
        char where[48];
        snprintf(where, sizeof where, "line %zu", j->in.number);
        err_prefix(err, where);
    }
    struct err more = {0};
    enum err_code last = code == ERR_STOPPED ? code : flush(j, &more);
    if (code == ERR_OK && last != ERR_OK)
        *err = more;
    return code == ERR_OK ? last : code;
}

static int tokenize(struct job *j, const char *arg, char *const *env)
{
    char dir[PATH_MAX];
    struct err err = {0};
    if (hub_resolve(arg, env, dir, &err) != ERR_OK ||
        seq_tokenizer_load(dir, &j->tok, &err) != ERR_OK)
        return command_fail(&command_tokenize, COMMAND_FAILED, "%s: %s", arg, err.msg);
    j->in = (struct lines){.fd = STDIN_FILENO, .before_waiting = flush, .arg = j};
    if (convert_all(j, &err) != ERR_OK)
        return command_fail(&command_tokenize, COMMAND_FAILED, "%s", err.msg);
    return COMMAND_OK;
}

/* Flags that contradict each other, NULL if none do. */
static const char *contradiction(const struct tokenize_flags *f)
{
    if (f->decode && (f->no_special || f->pairs || f->all || f->json_lines || f->offsets))
        return "--decode goes with --skip-special only";
    return f->skip_special && !f->decode ? "--skip-special goes with --decode" : NULL;
}

static int run(int argc, char *const *argv, char *const *env)
{
    struct job j = {0};
    struct command_args args;
    int status;
    if (!command_read(&command_tokenize, argc, argv, &j.flags, &args, &status))
        return status;
    const char *wrong = contradiction(&j.flags);
    if (args.n != 1)
        wrong = "want one folder: seqd tokenize DIR|ORG/NAME";
    status = wrong ? command_fail(&command_tokenize, COMMAND_USAGE, "%s", wrong)
                   : tokenize(&j, args.at[0], env);
    mem_free(args.at);
    mem_free(j.ids);
    seq_tokens_done(&j.tokens);
    json_write_done(&j.out);
    lines_done(&j.in);
    seq_tokenizer_free(j.tok);
    return status;
}
