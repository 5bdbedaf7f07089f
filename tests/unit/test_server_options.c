/* options: where values come from, and what stops the start-up. */
#include "server/options.h"
#include "tests/suite.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "model/seq.h"
#include "server/log.h"
#include "server/nearest.h"

enum { ARGS = 12 };

static struct options got;
static enum options_action action;
static struct err err;

/* argv after "seqd" and env, both ending at the first NULL. */
static enum err_code read_all(const char *const args[ARGS], const char *const env[ARGS])
{
    char *argv[ARGS + 2] = {(char *)"seqd"}, *envp[ARGS + 1] = {NULL};
    int argc = 1;
    for (int i = 0; args && i < ARGS && args[i]; i++)
        argv[argc++] = (char *)args[i];
    for (int i = 0; env && i < ARGS && env[i]; i++)
        envp[i] = (char *)env[i];
    err = (struct err){0};
    return options_read(argc, argv, envp, &got, &action, &err);
}

#define LIST(...) ((const char *const[ARGS]){__VA_ARGS__})

static void refused(const char *const args[ARGS], const char *const env[ARGS],
                    const char *message)
{
    ck_assert_int_ne(read_all(args, env), ERR_OK);
    ck_assert_msg(strstr(err.msg, message), "%s lacks %s", err.msg, message);
}

/* A file that lives until the test's process ends. */
static const char *file(const char *text)
{
    static char path[] = "/tmp/seqd-options-XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return path;
}

START_TEST(defaults_are_those_of_the_readme)
{
    ck_assert_int_eq(read_all(NULL, NULL), ERR_OK);
    ck_assert_str_eq(got.host, "127.0.0.1");
    ck_assert_int_eq(got.port, 8080);
    ck_assert_int_eq(got.attention_max_values, 1048576);
    ck_assert_int_eq(got.inspect, 1);
    ck_assert_int_eq(got.inspect_jobs, 0);
    ck_assert_int_eq(got.inspect_queue, 32);
    ck_assert_int_eq(got.log_level, LOG_INFO);
    ck_assert_str_eq(got.cors_origin, "");
    ck_assert_uint_eq(got.n_model_dirs, 0);
    ck_assert_int_eq(action, OPTIONS_RUN);
    options_done(&got);
}
END_TEST

START_TEST(flags_take_both_forms_and_folders_stand_between)
{
    ck_assert_int_eq(read_all(LIST("a", "--port", "0", "b", "--host=::1", "--log-level",
                                   "debug", "--cpu=ref", "--", "--c"),
                              NULL),
                     ERR_OK);
    ck_assert_int_eq(got.port, 0);
    ck_assert_str_eq(got.host, "::1");
    ck_assert_int_eq(got.log_level, LOG_DEBUG);
    ck_assert_str_eq(got.cpu, "ref");
    ck_assert_uint_eq(got.n_model_dirs, 3);
    ck_assert_str_eq(got.model_dirs[1], "b");
    ck_assert_str_eq(got.model_dirs[2], "--c");
    options_done(&got);
}
END_TEST

START_TEST(flag_beats_variable_beats_file_beats_default)
{
    const char *path = file("{\"port\": 1, \"workers\": 2, \"max-texts\": 3,"
                            "\"host\": \"0.0.0.0\"}");
    ck_assert_int_eq(read_all(LIST("--config", path, "--port=11"),
                              LIST("SEQD_PORT=21", "SEQD_WORKERS=22", "HOME=/x")),
                     ERR_OK);
    unlink(path);
    ck_assert_int_eq(got.port, 11);
    ck_assert_int_eq(got.workers, 22);
    ck_assert_int_eq(got.max_texts, 3);
    ck_assert_str_eq(got.host, "0.0.0.0");
    ck_assert_int_eq(got.max_tokens, 65536);
    options_done(&got);
}
END_TEST

START_TEST(the_file_may_be_named_by_a_variable)
{
    const char *path = file("{\"port\": 77}");
    char variable[64];
    snprintf(variable, sizeof variable, "SEQD_CONFIG=%s", path);
    ck_assert_int_eq(read_all(NULL, LIST(variable)), ERR_OK);
    ck_assert_int_eq(got.port, 77);
    unlink(path);
    options_done(&got);
}
END_TEST

START_TEST(unknown_names_stop_the_start_and_get_a_suggestion)
{
    refused(LIST("--prot", "1"), NULL, "did you mean --port?");
    refused(LIST("--max-body-byte=1"), NULL, "did you mean --max-body-bytes?");
    refused(LIST("--xyzzyplugh"), NULL, "unknown option");
    refused(LIST("-x"), NULL, "unknown option");
    refused(LIST("--help=yes"), NULL, "unknown option");
    refused(NULL, LIST("SEQD_PROT=1"), "the nearest is SEQD_PORT");
    const char *path = file("{\"prot\": 1}");
    refused(LIST("--config", path), NULL, "did you mean \"port\"?");
    unlink(path);
}
END_TEST

START_TEST(variables_that_kubernetes_makes_are_not_ours)
{
    ck_assert_int_eq(read_all(NULL, LIST("SEQD_SERVICE_HOST=10.0.0.1",
                                         "SEQD_PORT_8080_TCP_ADDR=10.0.0.1")),
                     ERR_OK);
    options_done(&got);
    refused(NULL, LIST("SEQD_PORT=tcp://10.0.0.1:8080"), "SEQD_PORT must be");
}
END_TEST

START_TEST(values_out_of_range_stop_the_start)
{
    refused(LIST("--port", "65536"), NULL,
            "--port must be a whole number from 0 to 65535");
    refused(LIST("--port", "-1"), NULL, "--port");
    refused(LIST("--port", "80x"), NULL, "80x");
    refused(LIST("--port", ""), NULL, "--port");
    refused(LIST("--workers", "99999999999999999999"), NULL, "--workers");
    refused(LIST("--queue-limit=0"), NULL, "from 1");
    refused(LIST("--log-level", "loud"), NULL, "error, warn, info, debug");
    refused(LIST("--cpu", "z80"), NULL, "auto");
    refused(LIST("--port"), NULL, "wants a value");
    refused(LIST("--host", "example.com"), NULL, "example.com");
}
END_TEST

START_TEST(bad_files_stop_the_start)
{
    static const char *const bad[] = {"",
                                      "[]",
                                      "{\"port\": \"80\"}",
                                      "{\"port\": 1.5}",
                                      "{\"host\": 5}",
                                      "{\"port\": 1, \"port\": 2}",
                                      "{\"port\": 70000}",
                                      "{\"host\": \"\xff\"}",
                                      "[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char path[] = "/tmp/seqd-options-XXXXXX";
        int fd = mkstemp(path);
        ck_assert_int_eq(write(fd, bad[i], strlen(bad[i])), (ssize_t)strlen(bad[i]));
        close(fd);
        ck_assert_msg(read_all(LIST("--config", path), NULL) != ERR_OK, "%s", bad[i]);
        unlink(path);
    }
    refused(LIST("--config", "/nowhere/at/all"), NULL, "/nowhere/at/all");
}
END_TEST

START_TEST(the_printed_config_reads_back)
{
    struct buf first = {0}, second = {0};
    ck_assert_int_eq(read_all(LIST("--port=5", "--cors-origin=https://a.b \"c\"",
                                   "--log-level=warn", "--print-config"),
                              NULL),
                     ERR_OK);
    ck_assert_int_eq(action, OPTIONS_PRINT_CONFIG);
    options_print(&got, &first);
    options_done(&got);
    buf_put(&first, "", 1);
    const char *path = file(first.at);
    ck_assert_int_eq(read_all(LIST("--config", path), NULL), ERR_OK);
    unlink(path);
    ck_assert_int_eq(got.log_level, LOG_WARN);
    options_print(&got, &second);
    options_done(&got);
    buf_put(&second, "", 1);
    ck_assert_str_eq(first.at, second.at);
    buf_done(&first);
    buf_done(&second);
}
END_TEST

START_TEST(help_shows_every_setting_with_its_variable)
{
    struct buf help = {0}, config = {0};
    char flag[80];
    options_help(&help);
    buf_put(&help, "", 1);
    ck_assert_int_eq(read_all(LIST("--help"), LIST("SEQD_NONSENSE=1")), ERR_OK);
    ck_assert_int_eq(action, OPTIONS_HELP);
    options_print(&got, &config);
    buf_put(&config, "", 1);
    int n = 0;
    for (char *p = config.at; (p = strstr(p, "\n  \"")); n++) {
        p += 4;
        snprintf(flag, sizeof flag, "\n  --%.*s ", (int)strcspn(p, "\""), p);
        ck_assert_msg(strstr(help.at, flag), "help lacks %s", flag);
    }
    ck_assert_int_gt(n, 20);
    ck_assert_ptr_nonnull(strstr(help.at, "(SEQD_MAX_BODY_BYTES)"));
    options_done(&got);
    buf_done(&help);
    buf_done(&config);
}
END_TEST

START_TEST(failing_memory_is_reported)
{
    enum err_code code = ERR_NOMEM;
    long n = 0;
    for (; code != ERR_OK; n++) {
        mem_fail_after(n);
        code = read_all(LIST("--port=5", "m"), NULL);
        mem_fail_after(-1);
        ck_assert(code == ERR_OK || code == ERR_NOMEM);
    }
    ck_assert_int_gt(n, 5);
    options_done(&got);
}
END_TEST

START_TEST(distances_count_edits)
{
    ck_assert_uint_eq(nearest_distance("port", "port"), 0);
    ck_assert_uint_eq(nearest_distance("prot", "port"), 2);
    ck_assert_uint_eq(nearest_distance("", "abc"), 3);
    ck_assert_uint_eq(nearest_distance("kitten", "sitting"), 3);
    char longer[200];
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    ck_assert_uint_eq(nearest_distance(longer, "a"), SIZE_MAX);
    ck_assert(!nearest_is_close(longer, SIZE_MAX));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {defaults_are_those_of_the_readme,
                                  flags_take_both_forms_and_folders_stand_between,
                                  flag_beats_variable_beats_file_beats_default,
                                  the_file_may_be_named_by_a_variable,
                                  unknown_names_stop_the_start_and_get_a_suggestion,
                                  variables_that_kubernetes_makes_are_not_ours,
                                  values_out_of_range_stop_the_start,
                                  bad_files_stop_the_start,
                                  the_printed_config_reads_back,
                                  help_shows_every_setting_with_its_variable,
                                  failing_memory_is_reported,
                                  distances_count_edits,
                                  NULL};
    return suite_run("options", tests, 30);
}
