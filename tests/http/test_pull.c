/* `seqd pull` against a hub of our own, and `seqd ORG/NAME` on what was pulled. */
#include "tests/http/client.h"
#include "tests/http/daemon.h"
#include "tests/http/pulling.h"
#include "tests/suite.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- what works ------------------------------------------------------------------ */

/* The results of one request, from two models that must agree. */
static void same_answers(unsigned port, const char *path, const char *text,
                         const char *one, const char *other)
{
    json_t *results[2];
    const char *names[2] = {one, other};
    for (int i = 0; i < 2; i++) {
        char body[256];
        snprintf(body, sizeof body, "{\"model\":\"%s\",\"text\":\"%s\"}", names[i], text);
        json_t *all = ask_json(port, "POST", path, body, 200);
        results[i] = json_incref(json_object_get(all, "results"));
        ck_assert_uint_gt(json_array_size(results[i]), 0);
        json_decref(all);
    }
    ck_assert(json_equal(results[0], results[1]));
    json_decref(results[0]);
    json_decref(results[1]);
}

START_TEST(pulls_a_model_that_is_then_served_by_its_name)
{
    struct daemon d;
    const char *args[] = {REPO, NULL};
    hub_begin(REPO, BERT);
    fake_hub_add(&hub, "pytorch_model.bin", "pickle", 6, true);
    PULLS(REPO, 0);
    SAYS("seqd acme/polite-bert\n");
    SAYS(path_of("snapshots/" FAKE_HUB_COMMIT "\n"));
    is_there("config.json");
    is_there("tokenizer.json");
    is_there(WEIGHTS);
    ref_is("main", FAKE_HUB_COMMIT);
    ck_assert_uint_eq(entries_in(path_of("snapshots/" FAKE_HUB_COMMIT)), 3);
    ck_assert_uint_eq(entries_in(path_of("blobs")), 3);
    ck_assert_uint_eq(fake_hub_asked(&hub, "pytorch_model"), 0);
    ck_assert_uint_eq(fake_hub_asked(&hub, "onnx"), 0);

    daemon_start(&d, args);
    json_decref(ask_json(d.port, "GET", "/v1/models/polite-bert", NULL, 200));
    same_answers(d.port, "/v1/sentiment", "great", "polite-bert", "tiny-bert");
    ck_assert_int_eq(daemon_stop(&d), 0);
    hub_end();
}
END_TEST

/* What sentence-transformers keeps beside the model, one file of it in a folder. */
START_TEST(how_vectors_are_made_is_pulled_as_well)
{
    static const char POOLING[] = "1_Pooling/config.json";
    static const char CLS[] = "{\"pooling_mode_cls_token\":true}";
    struct daemon d;
    const char *args[] = {REPO, NULL};
    hub_begin(REPO, "tests/fixtures/models/tiny-bert-sentences");
    fake_hub_add(&hub, POOLING, CLS, sizeof CLS - 1, false);
    fake_hub_add(&hub, "2_Normalize/config.json", "{}", 2, false);
    PULLS(REPO, 0);
    is_there("modules.json");
    is_there("sentence_bert_config.json");
    is_there(POOLING);
    ck_assert_uint_eq(fake_hub_asked(&hub, "2_Normalize"), 0);
    ck_assert_int_gt(fake_hub_sent(&hub), 0);
    PULLS(REPO, 0);
    ck_assert_uint_eq(fake_hub_asked(&hub, "resolve"), 0);
    daemon_start(&d, args);
    json_t *reply = ask_json(d.port, "POST", "/v1/embeddings", "{\"input\":\"a\"}", 200);
    ck_assert_str_eq(json_string_value(json_object_get(reply, "model")), "polite-bert");
    json_decref(reply);
    ck_assert_int_eq(daemon_stop(&d), 0);
    hub_end();
}
END_TEST

START_TEST(a_second_pull_downloads_nothing)
{
    hub_begin(REPO, BERT);
    PULLS(REPO, 0);
    ck_assert_int_gt(fake_hub_sent(&hub), 0);
    PULLS(REPO, 0);
    SAYS("there already");
    ck_assert_uint_eq(fake_hub_asked(&hub, "resolve"), 0);
    ck_assert_int_eq(fake_hub_sent(&hub), 0);
    hub_end();
}
END_TEST

START_TEST(a_lost_link_is_made_again_from_the_blob)
{
    hub_begin(REPO, BERT);
    PULLS(REPO, 0);
    fake_hub_sent(&hub);
    ck_assert_int_eq(unlink(link_of(WEIGHTS)), 0);
    PULLS(REPO, 0);
    ck_assert_int_eq(fake_hub_sent(&hub), 0);
    is_there(WEIGHTS);
    ck_assert_int_eq(unlink(blob_of("config.json", "")), 0); /* the link leads nowhere */
    PULLS(REPO, 0);
    is_there("config.json");
    hub_end();
}
END_TEST

START_TEST(a_revision_has_a_reference_and_is_served_by_it)
{
    struct daemon d;
    const char *args[] = {"acme/polite-bert@v1.0", NULL};
    const char *absent[] = {"--port=0", REPO, NULL};
    hub_begin(REPO, BERT);
    PULLS("acme/polite-bert@v1.0", 0);
    SAYS("seqd acme/polite-bert@v1.0\n");
    ref_is("v1.0", FAKE_HUB_COMMIT);
    ref_is("main", NULL);
    daemon_start(&d, args);
    json_decref(ask_json(d.port, "GET", "/v1/models/polite-bert", NULL, 200));
    ck_assert_int_eq(daemon_stop(&d), 0);
    ck_assert_int_eq(hub_run(absent), 1);
    SAYS("seqd pull acme/polite-bert");
    SAYS("v1.0");
    ck_assert_int_eq(pull_with(REPO, "--revision=refs/pr/1"), 0);
    ref_is("refs/pr/1", FAKE_HUB_COMMIT);
    PULLS("acme/polite-bert@" FAKE_HUB_COMMIT, 0);
    ref_is(FAKE_HUB_COMMIT, NULL);
    hub_end();
}
END_TEST

START_TEST(shards_are_pulled_as_the_index_says)
{
    struct daemon d;
    const char *args[] = {"acme/polite-bert", NULL};
    hub_begin(REPO, GPT2);
    shard_weights();
    PULLS(REPO, 0);
    is_there("model.safetensors.index.json");
    is_there("model-00001-of-00002.safetensors");
    is_there("model-00002-of-00002.safetensors");
    ck_assert_uint_eq(fake_hub_asked(&hub, "elsewhere"), 0);
    daemon_start(&d, args);
    same_answers(d.port, "/v1/next-word", "the", "polite-bert", "tiny-gpt2");
    ck_assert_int_eq(daemon_stop(&d), 0);
    fake_hub_sent(&hub);
    PULLS(REPO, 0);
    ck_assert_uint_eq(fake_hub_asked(&hub, "resolve"), 0);
    hub_end();
}
END_TEST

START_TEST(a_renamed_repository_is_followed)
{
    hub_begin(REPO, BERT);
    hub.renamed = true;
    PULLS("old-name/polite-bert", 0);
    ck_assert_uint_gt(fake_hub_asked(&hub, "/old-name/"), 0);
    snprintf(said, sizeof said, "%s/models--old-name--polite-bert/snapshots/%s/%s", cache,
             FAKE_HUB_COMMIT, WEIGHTS);
    ck_assert_int_eq(size_at(said), (long long)fake_hub_file(&hub, WEIGHTS)->n);
    hub_end();
}
END_TEST

START_TEST(two_pulls_at_once_share_one_download)
{
    const char *args[] = {"pull", REPO, NULL};
    long long all = 0;
    int status = -1;
    hub_begin(REPO, BERT);
    hub.slow_us = 20000;
    fake_hub_open(&hub);
    pid_t pid = fork();
    if (pid == 0)
        _exit(daemon_run(args, said, sizeof said));
    int mine = daemon_run(args, said, sizeof said);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    fake_hub_close(&hub);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(mine, 0);
    is_there(WEIGHTS);
    const char *const names[] = {"config.json", "tokenizer.json", WEIGHTS};
    for (size_t i = 0; i < 3; i++)
        all += (long long)fake_hub_file(&hub, names[i])->n;
    ck_assert_int_eq(fake_hub_sent(&hub), all);
    hub_end();
}
END_TEST

START_TEST(offline_means_the_cache_and_nothing_else)
{
    hub_begin(REPO, BERT);
    setenv("HF_HUB_OFFLINE", "1", 1);
    PULLS(REPO, 1);
    SAYS("HF_HUB_OFFLINE");
    unsetenv("HF_HUB_OFFLINE");
    PULLS(REPO, 0);
    fake_hub_sent(&hub);
    setenv("HF_HUB_OFFLINE", "TRUE", 1);
    PULLS(REPO, 0);
    SAYS(path_of("snapshots/" FAKE_HUB_COMMIT "\n"));
    ck_assert_uint_eq(fake_hub_asked(&hub, "hub"), 0);
    hub_end();
}
END_TEST

START_TEST(the_cache_is_where_the_variables_say)
{
    char dir[128], flag[128], path[512];
    hub_begin(REPO, BERT);
    snprintf(dir, sizeof dir, "%s/elsewhere", home);
    setenv("HF_HUB_CACHE", dir, 1);
    PULLS(REPO, 0);
    snprintf(path, sizeof path, "%s/%s/refs/main", dir, FOLDER);
    ck_assert_int_eq(size_at(path), 40);
    unsetenv("HF_HUB_CACHE");
    unsetenv("HF_HOME");
    setenv("HOME", home, 1);
    PULLS(REPO, 0);
    snprintf(path, sizeof path, "%s/.cache/huggingface/hub/%s/refs/main", home, FOLDER);
    ck_assert_int_eq(size_at(path), 40);
    snprintf(flag, sizeof flag, "--cache-dir=%s/third", home);
    ck_assert_int_eq(pull_with(REPO, flag), 0);
    snprintf(path, sizeof path, "serve it: seqd %s/third/%s/snapshots", home, FOLDER);
    SAYS(path);
    hub_end();
}
END_TEST

/* ---- tokens ---------------------------------------------------------------------- */

START_TEST(the_token_is_sent_to_the_hub_and_nowhere_else)
{
    hub_begin(REPO, BERT);
    hub.token = "hf_abc";
    setenv("HF_TOKEN", " hf_abc\n", 1);
    PULLS(REPO, 0);
    ck_assert_uint_gt(fake_hub_asked(&hub, "cdn GET"), 0);
    ck_assert_uint_gt(fake_hub_asked(&hub, " token=hf_abc"), 0);
    ck_assert_uint_eq(fake_hub_asked(&hub, " token="), fake_hub_asked(&hub, "hub "));
    ck_assert_ptr_null(strstr(said, "hf_abc"));
    hub_end();
}
END_TEST

START_TEST(a_login_leaves_the_token_in_a_file)
{
    char path[128];
    hub_begin(REPO, BERT);
    hub.token = "hf_file";
    snprintf(path, sizeof path, "%s/token", home);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs("hf_file\n", file);
    fclose(file);
    PULLS(REPO, 0);
    setenv("HF_TOKEN", "hf_wrong", 1); /* wins */
    ck_assert_int_eq(unlink(path_of("refs/main")), 0);
    PULLS(REPO, 1);
    SAYS("HF_TOKEN");
    setenv("HF_TOKEN", "two words", 1);
    PULLS(REPO, 2);
    SAYS("HF_TOKEN");
    hub_end();
}
END_TEST

START_TEST(without_access_the_message_names_the_token)
{
    hub_begin(REPO, BERT);
    hub.token = "hf_abc";
    PULLS(REPO, 1);
    SAYS("401");
    SAYS("set HF_TOKEN");
    hub.gated = true;
    PULLS(REPO, 1);
    SAYS("gated");
    SAYS("set HF_TOKEN");
    ck_assert_uint_eq(entries_in(path_of("")), 0);
    hub_end();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {pulls_a_model_that_is_then_served_by_its_name,
                                  how_vectors_are_made_is_pulled_as_well,
                                  a_second_pull_downloads_nothing,
                                  a_lost_link_is_made_again_from_the_blob,
                                  a_revision_has_a_reference_and_is_served_by_it,
                                  shards_are_pulled_as_the_index_says,
                                  a_renamed_repository_is_followed,
                                  two_pulls_at_once_share_one_download,
                                  offline_means_the_cache_and_nothing_else,
                                  the_cache_is_where_the_variables_say,
                                  the_token_is_sent_to_the_hub_and_nowhere_else,
                                  a_login_leaves_the_token_in_a_file,
                                  without_access_the_message_names_the_token,
                                  NULL};
    return suite_run("pull", tests, 60);
}
