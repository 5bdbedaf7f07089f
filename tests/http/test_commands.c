/* seqd check, seqd tokenize and the choice of a command: the real program, run with
 * something to read, and judged by its exit status and what it writes. */
#include "tests/http/client.h"
#include "tests/http/daemon.h"
#include "tests/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const BERT = "tests/fixtures/models/tiny-bert";
static const char *const GPT2 = "tests/fixtures/models/tiny-gpt2";
static const char *const LSTM = "tests/fixtures/models/tiny-lstm";

/* ---- running it ------------------------------------------------------------------ */

enum { MAX_ARGS = 16 };

struct ran {
    int status; /* exit status, or -signal */
    char *out, *err;
    size_t out_n;
};

static char *binary(void)
{
    static char path[PATH_MAX];
    const char *name = getenv("TEST_BINARY");
    if (!*path)
        ck_assert_ptr_nonnull(realpath(name ? name : "build/release/seqd", path));
    return path;
}

/* Becomes seqd with args, NULL-terminated. */
static void become(const char *const *args)
{
    char *all[MAX_ARGS + 2] = {binary()};
    for (size_t n = 0; n < MAX_ARGS && args[n]; n++)
        all[n + 1] = (char *)args[n];
    execv(all[0], all);
    _exit(127);
}

static char *slurp(FILE *f, size_t *n)
{
    ck_assert_int_eq(fseek(f, 0, SEEK_END), 0);
    long size = ftell(f);
    ck_assert_int_ge((int)size, 0);
    rewind(f);
    char *text = malloc((size_t)size + 1);
    ck_assert_ptr_nonnull(text);
    *n = fread(text, 1, (size_t)size, f);
    text[*n] = '\0';
    fclose(f);
    return text;
}

/* Runs seqd to its end with n bytes to read. */
static void run(struct ran *r, const char *const *args, const char *input, size_t n)
{
    FILE *in = tmpfile(), *out = tmpfile(), *err = tmpfile();
    size_t err_n;
    int status = 0;
    ck_assert(in && out && err);
    ck_assert_uint_eq(fwrite(input, 1, n, in), n);
    fflush(in);
    rewind(in);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        dup2(fileno(in), STDIN_FILENO);
        dup2(fileno(out), STDOUT_FILENO);
        dup2(fileno(err), STDERR_FILENO);
        become(args);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    r->status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    fclose(in);
    r->out = slurp(out, &r->out_n);
    r->err = slurp(err, &err_n);
}

static void ran_done(struct ran *r)
{
    free(r->out);
    free(r->err);
}

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Every byte of it is a token that stands for all of it: where the text is counted anew
 * for each, this takes longer than any test may. */
START_TEST(a_long_run_of_unknown_characters_is_counted_once)
{
    enum { N = 200000 };
    char *text = malloc(N);
    struct ran r;
    ck_assert_ptr_nonnull(text);
    memset(text, 'A', N);
    run(&r, ARGS("tokenize", "tests/fixtures/folders/valid/micro-bytes-for-the-unknown"),
        text, N);
    ck_assert_int_eq(r.status, 0);
    const char *end = "[0,200000],[0,200000]]}\n";
    ck_assert_uint_gt(r.out_n, (size_t)N * 12);
    ck_assert_str_eq(r.out + r.out_n - strlen(end), end);
    ran_done(&r);
    free(text);
}
END_TEST

/* Runs, and judges: the exit status, all of stdout unless NULL, a part of stderr. */
static void expect(const char *const *args, const char *input, int status,
                   const char *out, const char *err)
{
    struct ran r;
    run(&r, args, input, strlen(input));
    ck_assert_msg(r.status == status, "exit %d, want %d: %s%s", r.status, status, r.out,
                  r.err);
    if (out)
        ck_assert_str_eq(r.out, out);
    ck_assert_msg(*err ? strstr(r.err, err) != NULL : !*r.err, "said: %s\nwant: %s",
                  r.err, err);
    ran_done(&r);
}

/* ---- choosing a command ---------------------------------------------------------- */

START_TEST(help_lists_the_commands_and_each_has_its_own)
{
    static const char *const names[] = {"check", "tokenize", "pull", "help"};
    struct ran r, again;
    run(&r, ARGS("--help"), "", 0);
    ck_assert_int_eq(r.status, 0);
    for (size_t i = 0; i < 4; i++) {
        char line[32];
        snprintf(line, sizeof line, "\n  %s ", names[i]);
        ck_assert_msg(strstr(r.out, line), "no %s in:\n%s", names[i], r.out);
    }
    run(&again, ARGS("help"), "", 0);
    ck_assert_str_eq(r.out, again.out);
    ran_done(&r);
    ran_done(&again);
    run(&r, ARGS("check", "--help"), "", 0);
    ck_assert_int_eq(r.status, 0);
    ck_assert_ptr_nonnull(strstr(r.out, "usage: seqd check "));
    ck_assert_ptr_nonnull(strstr(r.out, "--json"));
    run(&again, ARGS("help", "check"), "", 0);
    ck_assert_str_eq(r.out, again.out);
    ran_done(&r);
    ran_done(&again);
}
END_TEST

START_TEST(wrong_words_are_refused_with_the_nearest_right_one)
{
    expect(ARGS("chekc", "x"), "", 2, "", "no command \"chekc\"; did you mean check?");
    expect(ARGS("tokenise"), "", 2, "", "did you mean tokenize?");
    expect(ARGS("help", "tokenizer"), "", 2, "", "did you mean tokenize?");
    expect(ARGS("check"), "", 2, "", "which folder?");
    expect(ARGS("check", "--jsn", "x"), "", 2, "", "did you mean --json?");
    expect(ARGS("check", "--json=1", "x"), "", 2, "", "unknown option \"--json=1\"");
    expect(ARGS("check", "--cpu", "z80", "x"), "", 2, "", "--cpu must be one of auto, ");
    expect(ARGS("check", "--cpu"), "", 2, "", "--cpu must be one of auto, ");
    expect(ARGS("check", "-x", "x"), "", 2, "", "unknown option \"-x\"");
    expect(ARGS("tokenize"), "", 2, "", "want one folder");
    expect(ARGS("tokenize", "a", "b"), "", 2, "", "want one folder");
    expect(ARGS("tokenize", "--offset=bytes", "a"), "", 2, "", "did you mean --offsets?");
    expect(ARGS("tokenize", "--decode", "--pairs", "a"), "", 2, "", "--decode goes with");
    expect(ARGS("tokenize", "--skip-special", "a"), "", 2, "", "goes with --decode");
}
END_TEST

/* A folder may be called like a command, or nearly. */
START_TEST(a_folder_of_that_name_is_reached_by_a_path)
{
    char dir[] = "/tmp/test_commands.XXXXXX", root[PATH_MAX];
    binary();
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_ptr_nonnull(getcwd(root, sizeof root));
    ck_assert_int_eq(chdir(dir), 0);
    ck_assert_int_eq(mkdir("check", 0700), 0);
    ck_assert_int_eq(mkdir("checks", 0700), 0);
    expect(ARGS("./check"), "", 1, "", "config.json");
    expect(ARGS("checks"), "", 1, "", "config.json");
    expect(ARGS("check", "--", "check"), "", 1, NULL, "");
    rmdir("check");
    rmdir("checks");
    ck_assert_int_eq(chdir(root), 0);
    rmdir(dir);
}
END_TEST

/* ---- check ----------------------------------------------------------------------- */

static json_t *field(json_t *object, const char *name)
{
    json_t *v = json_object_get(object, name);
    ck_assert_msg(v, "no field %s", name);
    return v;
}

/* Line `i` of the output as an object; the caller decrefs. */
static json_t *line_json(const struct ran *r, size_t i)
{
    const char *at = r->out;
    for (; i > 0 && at; i--) {
        at = strchr(at, '\n');
        at += at != NULL;
    }
    ck_assert_ptr_nonnull(at);
    json_error_t e;
    json_t *v = json_loadb(at, strcspn(at, "\n"), 0, &e);
    ck_assert_msg(v, "no JSON: %s in %s", e.text, at);
    return v;
}

START_TEST(check_tells_what_a_model_serves)
{
    struct ran r;
    run(&r, ARGS("check", BERT, LSTM, GPT2), "", 0);
    ck_assert_int_eq(r.status, 0);
    ck_assert_str_eq(r.err, "");
    static const char *const parts[] = {
        "tests/fixtures/models/tiny-bert: can be served\n",
        "\n  architecture   BertForSequenceClassification (bert), 2 layers of 32\n",
        "\n  parameters     23,906, F32 in the file, 96 kB\n",
        "\n  context        64 tokens\n",
        "\n  vocabulary     110 tokens\n",
        "cls 2 \"[CLS]\", sep 3 \"[SEP]\"",
        "\n  tasks          POST /v1/sentiment, /v1/embeddings, /v1/attention, ",
        ", /v1/states, /v1/importance\n",
        "negative, positive; scores are probabilities that sum to 1\n",
        " while computing 64 tokens\n",
        "tests/fixtures/models/tiny-lstm: can be served\n",
        "any number of tokens\n",
        "32 tokens, each a whole word\n",
        "POST /v1/next-word, /v1/embeddings, /v1/states, /v1/importance\n",
        " a sequence, "};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        ck_assert_msg(strstr(r.out, parts[i]), "no %s in:\n%s", parts[i], r.out);
    ran_done(&r);
}
END_TEST

START_TEST(check_writes_json_for_programs)
{
    struct ran r;
    run(&r, ARGS("check", "--json", "--cpu=ref", BERT, LSTM), "", 0);
    ck_assert_int_eq(r.status, 0);
    json_t *v = line_json(&r, 0);
    ck_assert_str_eq(json_string_value(field(v, "model")), BERT);
    ck_assert(json_is_true(field(v, "servable")));
    ck_assert_uint_eq(json_array_size(field(v, "problems")), 0);
    ck_assert_int_eq(json_integer_value(field(v, "parameters")), 23906);
    ck_assert_int_eq(json_integer_value(field(v, "context")), 64);
    ck_assert_str_eq(json_string_value(field(v, "kernels")), "ref");
    ck_assert_str_eq(json_string_value(field(v, "scores")), "softmax");
    ck_assert_uint_eq(json_array_size(field(v, "labels")), 2);
    json_t *task = json_array_get(field(v, "tasks"), 0);
    ck_assert_str_eq(json_string_value(field(task, "route")), "POST /v1/sentiment");
    json_t *cls = field(field(v, "special_tokens"), "cls");
    ck_assert_str_eq(json_string_value(field(cls, "piece")), "[CLS]");
    json_t *memory = field(v, "memory");
    ck_assert_int_ge((int)json_integer_value(field(memory, "weights_bytes")), 23906 * 4);
    ck_assert_int_gt((int)json_integer_value(field(memory, "scratch_bytes")), 0);
    ck_assert(json_real_value(field(v, "load_ms")) > 0);
    json_decref(v);
    v = line_json(&r, 1);
    ck_assert(json_is_null(field(v, "context")) && json_is_null(field(v, "scores")));
    /* h and c of two layers of 24 floats, and what stands around them */
    json_int_t state = json_integer_value(field(field(v, "memory"), "state_bytes"));
    ck_assert_int_ge((int)state, 2 * 2 * 24 * 4);
    ck_assert_int_le((int)state, 2 * 2 * 24 * 4 + 64);
    json_decref(v);
    ran_done(&r);
}
END_TEST

START_TEST(check_names_every_problem)
{
    static const char *const bad = "tests/fixtures/folders/several/five_things";
    struct ran r;
    run(&r, ARGS("check", BERT, bad, "/nowhere", "/dev/null", LSTM), "", 0);
    ck_assert_int_eq(r.status, 1);
    ck_assert_ptr_nonnull(strstr(r.out, "five_things: cannot be served, 5 problems\n"));
    ck_assert_ptr_nonnull(strstr(r.out, "/nowhere: cannot be served, 1 problem\n"));
    ck_assert_ptr_nonnull(strstr(r.out, "1 problem\n  No such file or directory\n"));
    ck_assert_ptr_nonnull(strstr(r.out, "1 problem\n  this is no folder\n"));
    ck_assert_ptr_nonnull(strstr(r.out, "tiny-lstm: can be served\n"));
    ran_done(&r);
    run(&r, ARGS("check", "tests/golden/nets"), "", 0);
    ck_assert_int_eq(r.status, 1);
    ck_assert_ptr_nonnull(strstr(r.out, "cannot be served, 1 problem\n  no config.json "
                                        "here, but in "));
    ran_done(&r);
    run(&r, ARGS("check", "--json", bad), "", 0);
    ck_assert_int_eq(r.status, 1);
    json_t *v = line_json(&r, 0), *problems = field(v, "problems");
    ck_assert(json_is_false(field(v, "servable")));
    ck_assert_uint_eq(json_array_size(problems), 5);
    json_t *first = json_array_get(problems, 0);
    ck_assert_str_eq(json_string_value(field(first, "code")), "unsupported");
    ck_assert_ptr_nonnull(
        strstr(json_string_value(field(first, "message")), "\"rope_theta\""));
    json_decref(v);
    ran_done(&r);
}
END_TEST

/* What is no folder here may have been meant as a model of the hub. */
START_TEST(folders_that_are_not_there_are_said_so_at_once)
{
    static const char *const ways[] = {"check", "tokenize", "./nowhere", "a/b",
                                       "nowhere"};
    static const char *const says[] = {
        "  No such file or directory; a model of the hub is called ORG/NAME",
        "seqd tokenize: nowhere: No such file or directory; a model of the hub is called",
        "./nowhere: No such file or directory\"",
        "a/b: no folder here, nor in the hub's cache; `seqd pull a/b` downloads it",
        "nowhere: No such file or directory; a model of the hub is called ORG/NAME"};
    for (size_t i = 0; i < 5; i++) {
        struct ran r;
        run(&r, i < 2 ? ARGS(ways[i], "nowhere") : ARGS(ways[i]), "", 0);
        ck_assert_int_eq(r.status, 1);
        ck_assert_msg(strstr(i ? r.err : r.out, says[i]) != NULL, "%s%s", r.out, r.err);
        ran_done(&r);
    }
}
END_TEST

/* ---- tokenize -------------------------------------------------------------------- */

START_TEST(lines_become_ids_tokens_and_offsets)
{
    expect(ARGS("tokenize", BERT), "the cat sät, on\n\nsat", 0,
           "{\"ids\":[2,48,53,71,5,58,3],\"tokens\":[\"[CLS]\",\"the\",\"cat\",\"sat\","
           "\",\",\"on\",\"[SEP]\"],\"offsets\":[[0,0],[0,3],[4,7],[8,11],[11,12],"
           "[13,15],[0,0]]}\n"
           "{\"ids\":[2,3],\"tokens\":[\"[CLS]\",\"[SEP]\"],\"offsets\":[[0,0],[0,0]]}\n"
           "{\"ids\":[2,71,3],\"tokens\":[\"[CLS]\",\"sat\",\"[SEP]\"],\"offsets\":"
           "[[0,0],[0,3],[0,0]]}\n",
           "");
    expect(ARGS("tokenize", "--no-special", "--offsets", "bytes", BERT), "cat sät\n", 0,
           "{\"ids\":[53,71],\"tokens\":[\"cat\",\"sat\"],\"offsets\":[[0,3],[4,8]]}\n",
           "");
    expect(ARGS("tokenize", "--no-special", "--offsets=utf16", LSTM), "😀 cat\n", 0,
           "{\"ids\":[0,6],\"tokens\":[\"<unk>\",\"cat\"],\"offsets\":[[0,2],[3,6]]}\n",
           "");
    expect(ARGS("tokenize", "--no-special", "--all", LSTM), "😀 cat\n", 0,
           "{\"ids\":[0,6],\"tokens\":[\"<unk>\",\"cat\"],\"offsets\":[[0,1],[2,5]],"
           "\"types\":[0,0],\"words\":[0,1],\"special\":[false,false]}\n",
           "");
    expect(ARGS("tokenize", BERT), "", 0, "", "");
}
END_TEST

START_TEST(pairs_are_read_as_one)
{
    static const char both[] =
        "{\"ids\":[2,53,3,71,58,3],\"tokens\":[\"[CLS]\",\"cat\",\"[SEP]\",\"sat\","
        "\"on\","
        "\"[SEP]\"],\"offsets\":[[0,0],[0,3],[0,0],[0,3],[4,6],[0,0]],"
        "\"parts\":[0,0,0,1,1,0]}\n";
    expect(ARGS("tokenize", "--pairs", BERT), "cat\tsat on\n", 0, both, "");
    expect(ARGS("tokenize", "--pairs", "--json-lines", BERT), "[\"cat\",\"sat on\"]\n", 0,
           both, "");
    expect(ARGS("tokenize", "--pairs", BERT), "cat\tsat\ncat\n", 1, NULL,
           "line 2: want two texts");
    expect(ARGS("tokenize", "--pairs", BERT), "a\tb\tc\n", 1, "", "line 1: want two");
    expect(ARGS("tokenize", "--pairs", "--json-lines", BERT), "[\"cat\"]\n", 1, "",
           "line 1: want a JSON list of two strings");
    expect(ARGS("tokenize", "--pairs", "--json-lines", BERT), "[\"cat\",1]\n", 1, "",
           "line 1: want a JSON list of two strings");
}
END_TEST

START_TEST(json_strings_may_hold_anything)
{
    expect(ARGS("tokenize", "--json-lines", "--no-special", LSTM),
           "\"the\\ncat\"\n \"\\u0000\\ud83d\\ude00 cat\" \r\n", 0,
           "{\"ids\":[2,6],\"tokens\":[\"the\",\"cat\"],\"offsets\":[[0,3],[4,7]]}\n"
           "{\"ids\":[0,0,6],\"tokens\":[\"<unk>\",\"<unk>\",\"cat\"],\"offsets\":[[0,1],"
           "[1,2],[3,6]]}\n",
           "");
    static const char *const wrong[] = {"cat\n",   "[\"cat\"]\n", "\"\\ud800\"\n",
                                        "\"cat\n", "\n",          "\"a\" \"b\"\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        expect(ARGS("tokenize", "--json-lines", LSTM), wrong[i], 1, "", "line 1: ");
}
END_TEST

/* What came before the wrong line is written. */
START_TEST(a_wrong_line_is_named)
{
    expect(ARGS("tokenize", "--no-special", LSTM), "cat\n\xff\xfe\ncat\n", 1,
           "{\"ids\":[6],\"tokens\":[\"cat\"],\"offsets\":[[0,3]]}\n",
           "seqd tokenize: line 2: text is not valid UTF-8");
    expect(ARGS("tokenize", "--decode", LSTM), "6\n[6,\n", 1, "\"cat\"\n",
           "line 2: not JSON");
    static const struct {
        const char *line, *said;
    } wrong[] = {{"32", "token id 32 is outside the vocabulary of 32"},
                 {"-1", "want numbers"},
                 {"6 cat", "want numbers"},
                 {"99999999999999999999", "no token id"},
                 {"[6,\"6\"]", "ids[1] is no integer"},
                 {"[6,2.0]", "ids[1] is no integer"},
                 {"[-1]", "-1 is no token id"},
                 {"{\"id\":[6]}", "with \"ids\""},
                 {"[6]]", "not JSON"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        expect(ARGS("tokenize", "--decode", LSTM), wrong[i].line, 1, "", wrong[i].said);
    expect(ARGS("tokenize", "/nowhere"), "cat\n", 1, "", "seqd tokenize: /nowhere: ");
}
END_TEST

START_TEST(ids_become_text_again)
{
    expect(ARGS("tokenize", "--decode", BERT),
           "[2,48,53,3]\n{\"ids\":[48,53],\"tokens\":[]}\n48 53\n48,53, 71\r\n\n[]\n", 0,
           "\"[CLS] the cat [SEP]\"\n\"the cat\"\n\"the cat\"\n\"the cat "
           "sat\"\n\"\"\n\"\"\n",
           "");
    expect(ARGS("tokenize", "--decode", "--skip-special", BERT), "[2,48,53,3]\n", 0,
           "\"the cat\"\n", "");
    struct ran ids, text;
    static const char said[] = "the cat sät, on 😀\tand \\ \"more\"";
    run(&ids, ARGS("tokenize", GPT2), said, strlen(said));
    run(&text, ARGS("tokenize", "--decode", "--skip-special", GPT2), ids.out, ids.out_n);
    ck_assert_str_eq(text.out, "\"the cat sät, on 😀\\tand \\\\ \\\"more\\\"\"\n");
    ran_done(&ids);
    ran_done(&text);
}
END_TEST

START_TEST(folders_with_a_tokenizer_only_will_do)
{
    static const char *const folders[] = {"bert", "gpt2"};
    char dir[PATH_MAX];
    for (size_t i = 0; i < 2; i++) {
        struct ran r;
        snprintf(dir, sizeof dir, "tests/fixtures/tokenizer_files/valid/%s", folders[i]);
        run(&r, ARGS("tokenize", dir), "a cat", 5);
        ck_assert_msg(r.status == 0, "%s: %s", dir, r.err);
        ck_assert_ptr_nonnull(strstr(r.out, "{\"ids\":["));
        ran_done(&r);
    }
}
END_TEST

/* ---- streams --------------------------------------------------------------------- */

START_TEST(a_hundred_thousand_lines_go_through)
{
    enum { LINES = 100000 };
    static const char line[] = "the cat sat on the mat, and the dog saw it\n";
    size_t n = sizeof line - 1;
    char *input = malloc(LINES * n);
    ck_assert_ptr_nonnull(input);
    for (size_t i = 0; i < LINES; i++)
        memcpy(input + i * n, line, n);
    struct ran r, one;
    run(&one, ARGS("tokenize", BERT), line, n);
    run(&r, ARGS("tokenize", BERT), input, LINES * n);
    ck_assert_int_eq(r.status, 0);
    ck_assert_uint_eq(r.out_n, LINES * one.out_n);
    for (size_t i = 0; i < LINES; i++)
        ck_assert(memcmp(r.out + i * one.out_n, one.out, one.out_n) == 0);
    free(input);
    ran_done(&r);
    ran_done(&one);
}
END_TEST

/* A pipe into seqd tokenize and one out of it; ends get our sides. */
static pid_t start_piped(int *to, int *from, bool ignore_sigpipe)
{
    int in[2], out[2];
    ck_assert_int_eq(pipe(in), 0);
    ck_assert_int_eq(pipe(out), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        signal(SIGPIPE, ignore_sigpipe ? SIG_IGN : SIG_DFL);
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
        for (int i = 0; i < 2; i++) {
            close(in[i]);
            close(out[i]);
        }
        become(ARGS("tokenize", "--no-special", LSTM));
    }
    close(in[0]);
    close(out[1]);
    *to = in[1];
    *from = out[0];
    return pid;
}

START_TEST(an_answer_comes_before_the_next_line)
{
    int to, from, status;
    pid_t pid = start_piped(&to, &from, false);
    for (int i = 0; i < 3; i++) {
        char answer[128];
        struct pollfd p = {.fd = from, .events = POLLIN};
        ck_assert_int_eq(write(to, "cat\n", 4), 4);
        ck_assert_int_eq(poll(&p, 1, 20000), 1);
        ssize_t n = read(from, answer, sizeof answer - 1);
        ck_assert_int_gt(n, 0);
        answer[n] = '\0';
        ck_assert_str_eq(answer,
                         "{\"ids\":[6],\"tokens\":[\"cat\"],\"offsets\":[[0,3]]}\n");
    }
    close(to);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(from);
}
END_TEST

START_TEST(it_ends_when_nobody_reads)
{
    for (int ignore = 0; ignore < 2; ignore++) {
        int to, from, status;
        pid_t pid = start_piped(&to, &from, ignore);
        close(from);
        signal(SIGPIPE, SIG_IGN);
        for (int i = 0; i < 100000 && write(to, "the cat\n", 8) == 8; i++)
            ;
        close(to);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        if (ignore)
            ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
        else
            ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
    }
}
END_TEST

START_TEST(a_full_disk_is_told)
{
    char *const no_env[] = {NULL};
    int err[2], status;
    char said[256];
    if (access("/dev/full", W_OK) != 0)
        return;
    ck_assert_int_eq(pipe(err), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(open("/dev/full", O_WRONLY), STDOUT_FILENO);
        dup2(err[1], STDERR_FILENO);
        char *const args[] = {binary(), (char *)"check", (char *)LSTM, NULL};
        execve(args[0], args, no_env);
        _exit(127);
    }
    close(err[1]);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ssize_t n = read(err[0], said, sizeof said - 1);
    ck_assert_int_gt(n, 0);
    said[n] = '\0';
    ck_assert_msg(strstr(said, "standard output: No space"), "said: %s", said);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    close(err[0]);
}
END_TEST

/* ---- names of the hub ------------------------------------------------------------ */

static const char COMMIT[] = "0123456789abcdef0123456789abcdef01234567";

/* A cache that holds tiny-lstm as some-org/tiny, and HF_HUB_CACHE saying so. */
static void make_cache(char root[])
{
    static const char *const files[] = {"config.json", "model.safetensors",
                                        "tokenizer.json"};
    char path[PATH_MAX], from[PATH_MAX], to[PATH_MAX];
    ck_assert_ptr_nonnull(mkdtemp(root));
    static const char *const folders[] = {"", "/refs", "/snapshots"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/models--some-org--tiny%s", root, folders[i]);
        ck_assert_int_eq(mkdir(path, 0700), 0);
    }
    snprintf(path, sizeof path, "%s/models--some-org--tiny/refs/main", root);
    FILE *f = fopen(path, "w");
    ck_assert(f && fputs(COMMIT, f) >= 0 && fclose(f) == 0);
    snprintf(path, sizeof path, "%s/models--some-org--tiny/snapshots/%s", root, COMMIT);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    for (size_t i = 0; i < 3; i++) {
        snprintf(to, sizeof to, "%s/%s", LSTM, files[i]);
        ck_assert_ptr_nonnull(realpath(to, from));
        ck_assert_int_lt(snprintf(to, sizeof to, "%s/%s", path, files[i]), PATH_MAX);
        ck_assert_int_eq(symlink(from, to), 0);
    }
    ck_assert_int_eq(setenv("HF_HUB_CACHE", root, 1), 0);
}

static void remove_cache(const char *root)
{
    char command[PATH_MAX + 16];
    snprintf(command, sizeof command, "rm -r '%s'", root);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(repositories_in_the_cache_go_by_their_names)
{
    char root[] = "/tmp/test_commands.XXXXXX";
    struct daemon d;
    make_cache(root);
    expect(ARGS("tokenize", "--no-special", "some-org/tiny"), "cat\n", 0,
           "{\"ids\":[6],\"tokens\":[\"cat\"],\"offsets\":[[0,3]]}\n", "");
    expect(ARGS("tokenize", "some-org/other"), "cat\n", 1, "",
           "seqd pull some-org/other");
    expect(ARGS("check", "some-org/tiny", "some-org/other"), "", 1, NULL, "");
    daemon_start(&d, ARGS("some-org/tiny"));
    json_decref(ask_json(d.port, "GET", "/v1/models/tiny", NULL, 200));
    ck_assert_int_eq(daemon_stop(&d), 0);
    expect(ARGS("--port=0", "some-org/other"), "", 1, "", "seqd pull some-org/other");
    remove_cache(root);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {help_lists_the_commands_and_each_has_its_own,
                                  wrong_words_are_refused_with_the_nearest_right_one,
                                  a_folder_of_that_name_is_reached_by_a_path,
                                  check_tells_what_a_model_serves,
                                  check_writes_json_for_programs,
                                  check_names_every_problem,
                                  a_long_run_of_unknown_characters_is_counted_once,
                                  folders_that_are_not_there_are_said_so_at_once,
                                  lines_become_ids_tokens_and_offsets,
                                  pairs_are_read_as_one,
                                  json_strings_may_hold_anything,
                                  a_wrong_line_is_named,
                                  ids_become_text_again,
                                  folders_with_a_tokenizer_only_will_do,
                                  a_hundred_thousand_lines_go_through,
                                  an_answer_comes_before_the_next_line,
                                  it_ends_when_nobody_reads,
                                  a_full_disk_is_told,
                                  repositories_in_the_cache_go_by_their_names,
                                  NULL};
    return suite_run("commands", tests, 240);
}
