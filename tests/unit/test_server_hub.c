/* Names of repositories, the variables of the hub, and the folders of its cache. */
#include "server/hub/cache.h"
#include "server/hub/hub.h"
#include "server/hub/repo.h"
#include "server/hub/settings.h"
#include "tests/suite.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define COMMIT "0123456789abcdef0123456789abcdef01234567"

/* ---- names ----------------------------------------------------------------------- */

START_TEST(names_split_into_their_parts)
{
    static const char *const good[][4] = {
        {"a/b", "a", "b", "main"},
        {"distilbert/distilbert-base-uncased", "distilbert", "distilbert-base-uncased",
         "main"},
        {"Org_1/N.a-m_e@v1.0", "Org_1", "N.a-m_e", "v1.0"},
        {"a/b@refs/pr/12", "a", "b", "refs/pr/12"},
        {"a/b@" COMMIT, "a", "b", COMMIT},
        {"a/b@feature/x@y", "a", "b", "feature/x@y"},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct repo r;
        struct err err = {0};
        ck_assert_msg(repo_parse(good[i][0], &r, &err) == ERR_OK, "%s", err.msg);
        ck_assert_str_eq(r.org, good[i][1]);
        ck_assert_str_eq(r.name, good[i][2]);
        ck_assert_str_eq(r.revision, good[i][3]);
    }
}
END_TEST

START_TEST(names_that_could_leave_the_cache_are_refused)
{
    static const char *const bad[] = {
        "",       "a",          "/b",        "a/",       "a/b/c",    "./b",
        "a/..",   "../b",       "~/b",       "a/.b",     "a/b.",     "-a/b",
        "a--b/c", "a/b..c",     "a/b.git",   "a/b c",    "a/b%2f",   "a/\xc3\xa9",
        "a/b\n",  "a/b@",       "a/b@/x",    "a/b@x/",   "a/b@..",   "a/b@x/../y",
        "a/b@.x", "a/b@x y",    "a/b@x^",    "a/b@x:y",  "a/b@x?y",  "a/b@x#y",
        "a/b@-x", "a/b@x.lock", "a/b@x@{1}", "a/b@x\\y", "a/b@x//y", "a/b@x\x7f"};
    char longest[300];
    struct repo r;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err err = {0};
        ck_assert_msg(repo_parse(bad[i], &r, &err) == ERR_INPUT, "'%s' passes", bad[i]);
        ck_assert(!hub_is_name(bad[i]));
    }
    memset(longest, 'x', sizeof longest);
    memcpy(longest, "a/", 2);
    for (size_t n = 96; n < sizeof longest; n++) {
        struct err err = {0};
        char end = longest[n];
        longest[n] = '\0';
        enum err_code want = n <= 96 ? ERR_OK : ERR_INPUT;
        ck_assert_int_eq(repo_parse(longest, &r, &err), want);
        longest[n] = end;
    }
}
END_TEST

START_TEST(folders_that_are_there_are_no_names)
{
    ck_assert(hub_is_name("tests/nothing-here"));
    ck_assert(!hub_is_name("tests/unit"));
    ck_assert(!hub_is_name("tests/suite.h"));
}
END_TEST

/* ---- variables ------------------------------------------------------------------- */

static void cache_is(const char *want, const char *one, const char *two)
{
    char *const env[] = {(char *)"HOME=/home/me", (char *)one, (char *)two, NULL};
    char cache[PATH_MAX];
    struct err err = {0};
    ck_assert_msg(settings_cache(env, cache, &err) == ERR_OK, "%s", err.msg);
    ck_assert_str_eq(cache, want);
}

START_TEST(the_cache_is_where_huggingface_hub_has_it)
{
    cache_is("/home/me/.cache/huggingface/hub", NULL, NULL);
    cache_is("/x/huggingface/hub", "XDG_CACHE_HOME=/x", NULL);
    cache_is("/h/hub", "HF_HOME=/h", "XDG_CACHE_HOME=/x");
    cache_is("/home/me/h/hub", "HF_HOME=~/h", NULL);
    cache_is("/c", "HF_HOME=/h", "HF_HUB_CACHE=/c");
    cache_is("/old", "HUGGINGFACE_HUB_CACHE=/old", NULL);
    cache_is("/new", "HUGGINGFACE_HUB_CACHE=/old", "HF_HUB_CACHE=/new");
    cache_is("/home/me/.cache/huggingface/hub", "HF_HOME=", "HF_HUB_CACHE=");
    cache_is("/home/me/.cache/huggingface/hub", "HF_HOMES=/h", NULL);
    char *const none[] = {NULL};
    char cache[PATH_MAX];
    struct err err = {0};
    ck_assert_int_eq(settings_cache(none, cache, &err), ERR_INPUT);
    ck_assert_ptr_nonnull(strstr(err.msg, "HF_HOME"));
}
END_TEST

static enum err_code read_one(const char *variable, struct settings *s)
{
    char *const env[] = {(char *)"HF_HOME=/nowhere/at/all", (char *)variable, NULL};
    struct err err = {0};
    enum err_code code = settings_read(env, s, &err);
    if (code != ERR_OK && variable)
        ck_assert_msg(strncmp(err.msg, variable, strcspn(variable, "=")) == 0, "%s",
                      err.msg);
    return code;
}

START_TEST(tokens_and_endpoints_are_checked)
{
    struct settings s;
    ck_assert_int_eq(read_one(NULL, &s), ERR_OK);
    ck_assert_str_eq(s.endpoint, "https://huggingface.co");
    ck_assert_str_eq(s.token, "");
    ck_assert(!s.offline);
    ck_assert_int_eq(read_one("HF_TOKEN= hf_x \n", &s), ERR_OK);
    ck_assert_str_eq(s.token, "hf_x");
    ck_assert_int_eq(read_one("HF_ENDPOINT=http://localhost:8000//", &s), ERR_OK);
    ck_assert_str_eq(s.endpoint, "http://localhost:8000");
    ck_assert_int_eq(read_one("HF_HUB_OFFLINE=yes", &s), ERR_OK);
    ck_assert(s.offline);
    ck_assert_int_eq(read_one("HF_HUB_OFFLINE=0", &s), ERR_OK);
    ck_assert(!s.offline);
    ck_assert_int_eq(read_one("HF_TOKEN=a\r\nX-Evil: 1", &s), ERR_INPUT);
    ck_assert_int_eq(read_one("HF_TOKEN=\xc3\xa9", &s), ERR_INPUT);
    ck_assert_int_eq(read_one("HF_ENDPOINT=huggingface.co", &s), ERR_INPUT);
    ck_assert_int_eq(read_one("HF_ENDPOINT=file:///etc", &s), ERR_INPUT);
    ck_assert_int_eq(read_one("HF_ENDPOINT=http://me:secret@host", &s), ERR_INPUT);
}
END_TEST

/* ---- the cache ------------------------------------------------------------------- */

START_TEST(snapshots_are_named_as_their_repository)
{
    char name[REPO_NAME_BYTES] = "";
    ck_assert(cache_snapshot_name("/h/hub/models--a--b-c/snapshots/" COMMIT, name));
    ck_assert_str_eq(name, "b-c");
    ck_assert(
        cache_snapshot_name("/models--x--y/z/models--a--d/snapshots/" COMMIT, name));
    ck_assert_str_eq(name, "d");
    static const char *const others[] = {"/models/models--a--b",
                                         "/models--a--b/snapshots/main",
                                         "/models--a--b/snapshots/" COMMIT "/sub",
                                         "/models--gpt2/snapshots/" COMMIT,
                                         "/models--a--b/blobs/" COMMIT,
                                         "/xmodels--a--b/snapshots/" COMMIT,
                                         "/models--a--../snapshots/" COMMIT,
                                         "/"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        ck_assert_msg(!cache_snapshot_name(others[i], name), "%s", others[i]);
    ck_assert_str_eq(name, "d");
}
END_TEST

START_TEST(what_is_written_is_found)
{
    char root[] = "/tmp/test_hub_XXXXXX", commit[REPO_COMMIT_BYTES], dir[PATH_MAX];
    char command[64], path[PATH_MAX], target[PATH_MAX] = "";
    struct cache c;
    struct repo r;
    struct err err = {0}, missing = {0};
    int lock, again;
    ck_assert_ptr_nonnull(mkdtemp(root));
    ck_assert_int_eq(repo_parse("a/b", &r, &err), ERR_OK);
    ck_assert_int_eq(cache_of(root, &r, &c, &err), ERR_OK);
    ck_assert_int_eq(cache_find(&c, "main", commit, dir, &missing), ERR_NOT_FOUND);
    for (int twice = 0; twice < 2; twice++) {
        ck_assert_int_eq(cache_link(&c, COMMIT, "config.json", "abc", &err), ERR_OK);
        ck_assert_int_eq(cache_set_ref(&c, "main", COMMIT, &err), ERR_OK);
        ck_assert_int_eq(cache_set_ref(&c, "refs/pr/1", COMMIT, &err), ERR_OK);
        ck_assert_int_eq(cache_set_ref(&c, COMMIT, COMMIT, &err), ERR_OK);
    }
    ck_assert_int_eq(cache_find(&c, "main", commit, dir, &err), ERR_OK);
    ck_assert_str_eq(commit, COMMIT);
    ck_assert_int_eq(cache_find(&c, "refs/pr/1", commit, dir, &err), ERR_OK);
    ck_assert_int_eq(cache_find(&c, COMMIT, commit, dir, &err), ERR_OK);
    snprintf(path, sizeof path, "%.4000s/config.json", dir);
    ck_assert_int_gt(readlink(path, target, sizeof target - 1), 0);
    ck_assert_str_eq(target, "../../blobs/abc");
    missing = (struct err){0};
    ck_assert_int_eq(cache_find(&c, "v2", commit, dir, &missing), ERR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(missing.msg, "main"));

    ck_assert_int_eq(cache_lock(&c, "abc", false, &lock, &err), ERR_OK);
    missing = (struct err){0};
    ck_assert_int_eq(cache_lock(&c, "abc", false, &again, &missing), ERR_LIMIT);
    close(lock);
    ck_assert_int_eq(cache_lock(&c, "abc", false, &again, &err), ERR_OK);
    close(again);
    snprintf(command, sizeof command, "rm -rf %s", root);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

START_TEST(a_reference_that_is_no_commit_is_not_followed)
{
    char root[] = "/tmp/test_hub_XXXXXX", path[PATH_MAX], command[64], dir[PATH_MAX];
    char commit[REPO_COMMIT_BYTES];
    struct cache c;
    struct repo r;
    struct err err = {0};
    ck_assert_ptr_nonnull(mkdtemp(root));
    ck_assert_int_eq(repo_parse("a/b", &r, &err), ERR_OK);
    ck_assert_int_eq(cache_of(root, &r, &c, &err), ERR_OK);
    ck_assert(cache_path(&c, path, "refs/main"));
    ck_assert_int_eq(cache_make_parents(path, &err), ERR_OK);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs("../../../../../../etc", file);
    fclose(file);
    ck_assert_int_eq(cache_find(&c, "main", commit, dir, &err), ERR_NOT_FOUND);
    snprintf(command, sizeof command, "rm -rf %s", root);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {names_split_into_their_parts,
                                  names_that_could_leave_the_cache_are_refused,
                                  folders_that_are_there_are_no_names,
                                  the_cache_is_where_huggingface_hub_has_it,
                                  tokens_and_endpoints_are_checked,
                                  snapshots_are_named_as_their_repository,
                                  what_is_written_is_found,
                                  a_reference_that_is_no_commit_is_not_followed,
                                  NULL};
    return suite_run("hub", tests, 30);
}
