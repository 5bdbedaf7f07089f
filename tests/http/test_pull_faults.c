/* `seqd pull` when the network, the hub, the repository or the command line is not as it
 * should be. */
#include "tests/http/pulling.h"
#include "tests/suite.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the network's faults -------------------------------------------------------- */

START_TEST(a_cut_connection_is_taken_up_where_it_broke)
{
    hub_begin(REPO, BERT);
    hub.cut_after = 30000;
    hub.cuts = 3; /* more than the tries without progress */
    PULLS(REPO, 0);
    is_there(WEIGHTS);
    ck_assert_uint_eq(fake_hub_asked(&hub, "cdn GET"), 4);
    ck_assert_uint_eq(fake_hub_asked(&hub, "secret range=30000"), 1);
    ck_assert_uint_eq(fake_hub_asked(&hub, "secret range=60000"), 1);
    ck_assert_uint_eq(fake_hub_asked(&hub, "secret range=90000"), 1);
    hub_end();
}
END_TEST

START_TEST(after_some_tries_the_next_run_goes_on)
{
    hub_begin(REPO, BERT);
    hub.cut_at = 40000;
    hub.cuts = 1000;
    PULLS(REPO, 1);
    SAYS("40000 of 99904 bytes");
    SAYS("run the same command again");
    ck_assert_uint_eq(fake_hub_asked(&hub, "cdn GET"), 3);
    ck_assert_int_eq(size_at(blob_of(WEIGHTS, ".incomplete")), 40000);
    ck_assert_int_eq(size_at(blob_of(WEIGHTS, "")), -1);
    ck_assert_int_eq(size_at(path_of("snapshots")), -1);
    ref_is("main", NULL);
    hub.cuts = 0;
    fake_hub_sent(&hub);
    PULLS(REPO, 0);
    ck_assert_int_eq(fake_hub_sent(&hub), 99904 - 40000);
    is_there(WEIGHTS);
    ck_assert_int_eq(size_at(blob_of(WEIGHTS, ".incomplete")), -1);
    hub_end();
}
END_TEST

START_TEST(a_server_without_ranges_sends_all_again)
{
    hub_begin(REPO, BERT);
    hub.ignore_range = true;
    hub.cut_at = 40000;
    hub.cuts = 1;
    PULLS(REPO, 0);
    is_there(WEIGHTS);
    ck_assert_uint_eq(fake_hub_asked(&hub, "secret range=40000"), 1);
    hub_end();
}
END_TEST

START_TEST(a_busy_hub_is_asked_again)
{
    hub_begin(REPO, BERT);
    hub.busy = 2;
    PULLS(REPO, 0);
    hub.busy = 1000;
    ck_assert_int_eq(unlink(link_of(WEIGHTS)), 0);
    ck_assert_int_eq(pull_with(REPO, "--retries=0"), 1);
    SAYS("503");
    SAYS("come back");
    hub_end();
}
END_TEST

START_TEST(no_hub_at_all_is_said_at_once)
{
    hub_begin(REPO, BERT);
    setenv("HF_ENDPOINT", "http://127.0.0.1:1", 1);
    PULLS(REPO, 1);
    SAYS("127.0.0.1:1");
    hub_end();
}
END_TEST

START_TEST(redirects_to_other_schemes_are_refused)
{
    hub_begin(REPO, BERT);
    hub.insecure_redirect = true;
    PULLS(REPO, 1);
    SAYS("redirects");
    ck_assert_int_eq(size_at(blob_of(WEIGHTS, "")), -1);
    hub_end();
}
END_TEST

/* ---- wrong bytes ----------------------------------------------------------------- */

/* Nothing of the file is left, and no snapshot. */
static void is_absent(const char *file)
{
    ck_assert_int_eq(size_at(blob_of(file, "")), -1);
    ck_assert_int_eq(size_at(blob_of(file, ".incomplete")), -1);
    ck_assert_int_eq(size_at(path_of("snapshots")), -1);
    ref_is("main", NULL);
}

START_TEST(bytes_that_are_not_those_of_the_hash_are_removed)
{
    static const char *const files[] = {"model.safetensors", "tokenizer.json"};
    for (size_t i = 0; i < 2; i++) {
        hub_begin(REPO, BERT);
        char *digit = fake_hub_file(&hub, files[i])->etag;
        *digit = *digit == '0' ? '1' : '0';
        PULLS(REPO, 1);
        SAYS(files[i]);
        SAYS("hash");
        is_absent(files[i]);
        hub_end();
    }
}
END_TEST

START_TEST(sizes_other_than_announced_are_refused)
{
    static const char *const files[] = {"model.safetensors", "tokenizer.json"};
    for (size_t i = 0; i < 2; i++)
        for (int off = -7; off <= 7; off += 14) {
            hub_begin(REPO, BERT);
            fake_hub_file(&hub, files[i])->announced += off;
            PULLS(REPO, 1);
            SAYS(files[i]);
            ck_assert_int_eq(size_at(blob_of(files[i], "")), -1);
            ck_assert_int_eq(size_at(path_of("snapshots")), -1);
            hub_end();
        }
}
END_TEST

START_TEST(what_lay_there_and_is_wrong_is_fetched_anew)
{
    static const size_t lengths[] = {1000, 99904, 200000};
    for (size_t i = 0; i < 3; i++) {
        char *junk = calloc(1, lengths[i]);
        hub_begin(REPO, BERT);
        ck_assert_ptr_nonnull(junk);
        ck_assert_int_eq(mkdir(cache, 0777), 0);
        ck_assert_int_eq(mkdir(path_of(""), 0777), 0);
        ck_assert_int_eq(mkdir(path_of("blobs"), 0777), 0);
        FILE *file = fopen(blob_of(WEIGHTS, ".incomplete"), "w");
        ck_assert_ptr_nonnull(file);
        ck_assert_uint_eq(fwrite(junk, 1, lengths[i], file), lengths[i]);
        fclose(file);
        free(junk);
        PULLS(REPO, 0);
        is_there(WEIGHTS);
        hub_end();
    }
}
END_TEST

START_TEST(a_file_without_a_known_hash_is_refused)
{
    hub_begin(REPO, BERT);
    snprintf(fake_hub_file(&hub, WEIGHTS)->etag, 65, "../../../etc/passwd");
    PULLS(REPO, 1);
    SAYS("can't be checked");
    hub_end();
}
END_TEST

/* ---- what is not there, or not ours ---------------------------------------------- */

START_TEST(what_is_missing_is_named)
{
    hub_begin(REPO, GPT2);
    PULLS("acme/rude-bert", 1);
    SAYS("no repository acme/rude-bert");
    PULLS("acme/polite-bert@v9", 1);
    SAYS("no revision v9");
    shard_weights();
    struct fake_file *f = fake_hub_file(&hub, "model-00002-of-00002.safetensors");
    snprintf(f->name, sizeof f->name, "gone.safetensors");
    PULLS(REPO, 1);
    SAYS("no file model-00002-of-00002.safetensors");
    ck_assert_int_eq(size_at(path_of("snapshots")), -1);
    hub_end();
}
END_TEST

/* The repository's file gets another name, and seqd pull says `mention`. */
static void refuses_without(const char *file, const char *other, const char *mention)
{
    hub_begin(REPO, BERT);
    struct fake_file *f = fake_hub_file(&hub, file);
    snprintf(f->name, sizeof f->name, "%s", other);
    fake_hub_sent(&hub);
    PULLS(REPO, 1);
    SAYS(mention);
    ck_assert_uint_eq(fake_hub_asked(&hub, "resolve"), 0);
    hub_end();
}

START_TEST(what_could_not_be_served_is_not_downloaded)
{
    refuses_without("config.json", "params.json", "no config.json");
    refuses_without(
        WEIGHTS, "pytorch_model.bin",
        "p = h.snapshot_download('acme/polite-bert', local_dir='polite-bert', ");
    SAYS("p + '/model.safetensors')\"\n  seqd polite-bert\n");
    refuses_without(WEIGHTS, "tf_model.h5", "neither model.safetensors nor");
    refuses_without("tokenizer.json", "spiece.model", "t.AutoTokenizer.from_pretrained");
    refuses_without("tokenizer.json", "tokenizer.txt", "no tokenizer.json");
}
END_TEST

START_TEST(shards_with_paths_are_refused)
{
    static const char *const names[] = {"../model.safetensors", "/tmp/x.safetensors",
                                        "a/b.safetensors",      "pytorch_model.bin",
                                        ".safetensors",         "\\u001b[2J.safetensors"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char index[256];
        hub_begin(REPO, BERT);
        int n =
            snprintf(index, sizeof index, "{\"weight_map\":{\"a\":\"%s\"}}", names[i]);
        struct fake_file *f = fake_hub_file(&hub, WEIGHTS);
        snprintf(f->name, sizeof f->name, "x.safetensors");
        fake_hub_add(&hub, "model.safetensors.index.json", index, (size_t)n, false);
        PULLS(REPO, 1);
        SAYS("plain name");
        ck_assert_int_eq(size_at(path_of("snapshots")), -1);
        hub_end();
    }
}
END_TEST

START_TEST(a_full_disk_is_seen_before_the_download)
{
    hub_begin(REPO, BERT);
    ck_assert_int_eq(mkdir(cache, 0777), 0);
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", cache, "tmpfs", 0, "size=64k") != 0) {
        printf("skipped: a small file system can't be mounted here: %s\n",
               strerror(errno));
    } else {
        PULLS(REPO, 1);
        SAYS("has room for");
        ck_assert_uint_eq(fake_hub_asked(&hub, "cdn"), 0);
        ck_assert_int_eq(umount(cache), 0);
    }
    hub_end();
}
END_TEST

START_TEST(wrong_usage_is_status_two)
{
    static const char *const wrong[][2] = {
        {"polite-bert", "ORG/NAME"},
        {"a/b/c", "ORG/NAME"},
        {"../polite-bert", "ORG/NAME"},
        {"acme/..", "ORG/NAME"},
        {"acme/po--lite", "ORG/NAME"},
        {"acme/polite bert", "ORG/NAME"},
        {"acme/polite-bert@", "revision"},
        {"acme/polite-bert@../../x", "revision"},
        {"acme/polite-bert@a//b", "revision"},
        {"--revison=v1", "unknown option --revison"},
        {"--retries=many", "--retries"},
        {"--revision=", "needs a value"},
    };
    hub_begin(REPO, BERT);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const char *extra = wrong[i][0][0] == '-' ? REPO : NULL;
        const char *args[] = {"pull", wrong[i][0], extra, NULL};
        ck_assert_msg(hub_run(args) == 2, "%s: %s", wrong[i][0], said);
        SAYS(wrong[i][1]);
    }
    const char *help[] = {"pull", "--help", NULL};
    ck_assert_int_eq(hub_run(help), 0);
    SAYS("usage: seqd pull");
    ck_assert_uint_eq(fake_hub_asked(&hub, "hub"), 0);
    hub_end();
}
END_TEST

START_TEST(a_repository_that_is_not_here_names_the_pull)
{
    const char *args[] = {"--port=0", "acme/polite-bert", NULL};
    hub_begin(REPO, BERT);
    ck_assert_int_eq(hub_run(args), 1);
    SAYS("seqd pull acme/polite-bert");
    ck_assert_uint_eq(fake_hub_asked(&hub, "hub"), 0);
    hub_end();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_cut_connection_is_taken_up_where_it_broke,
                                  after_some_tries_the_next_run_goes_on,
                                  a_server_without_ranges_sends_all_again,
                                  a_busy_hub_is_asked_again,
                                  no_hub_at_all_is_said_at_once,
                                  redirects_to_other_schemes_are_refused,
                                  bytes_that_are_not_those_of_the_hash_are_removed,
                                  sizes_other_than_announced_are_refused,
                                  what_lay_there_and_is_wrong_is_fetched_anew,
                                  a_file_without_a_known_hash_is_refused,
                                  what_is_missing_is_named,
                                  what_could_not_be_served_is_not_downloaded,
                                  shards_with_paths_are_refused,
                                  a_full_disk_is_seen_before_the_download,
                                  wrong_usage_is_status_two,
                                  a_repository_that_is_not_here_names_the_pull,
                                  NULL};
    return suite_run("pull faults", tests, 60);
}
