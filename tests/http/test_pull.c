/* `seqd pull` against a hub of our own, with its redirects and its faults; and `seqd
 * ORG/NAME` on what was pulled. */
#include "tests/http/client.h"
#include "tests/http/daemon.h"
#include "tests/http/fake_hub.h"
#include "tests/suite.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char BERT[] = "tests/fixtures/models/tiny-bert";
static const char GPT2[] = "tests/fixtures/models/tiny-gpt2";
static const char REPO[] = "acme/polite-bert";
static const char FOLDER[] = "models--acme--polite-bert";
static const char WEIGHTS[] = "model.safetensors";

/* A hub with a repository, and an empty cache; each test is a process of its own. */
static struct fake_hub hub;
static char home[64], cache[80], said[65536];

static void begin(const char *repo, const char *model)
{
    static const char *const clear[] = {"HF_TOKEN",
                                        "HUGGING_FACE_HUB_TOKEN",
                                        "HF_TOKEN_PATH",
                                        "HF_HUB_CACHE",
                                        "XDG_CACHE_HOME",
                                        "HF_HUB_OFFLINE",
                                        "HUGGINGFACE_HUB_CACHE"};
    char endpoint[64];
    for (size_t i = 0; i < sizeof clear / sizeof *clear; i++)
        unsetenv(clear[i]);
    snprintf(home, sizeof home, "/tmp/test_pull_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(home));
    snprintf(cache, sizeof cache, "%s/hub", home);
    fake_hub_start(&hub, repo);
    if (model)
        fake_hub_add_folder(&hub, model);
    fake_hub_add(&hub, "README.md", "# hello\n", 8, false);
    fake_hub_add(&hub, "onnx/model.onnx", "not ours", 8, true);
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%u/", hub.port);
    setenv("HF_ENDPOINT", endpoint, 1);
    setenv("HF_HOME", home, 1);
    setenv("no_proxy", "*", 1);
}

static void end(void)
{
    char command[128];
    fake_hub_stop(&hub);
    snprintf(command, sizeof command, "rm -rf %s", home);
    ck_assert_int_eq(system(command), 0);
}

/* Runs `seqd pull name [flag]`; its output is in `said`. */
static int pull_with(const char *name, const char *flag)
{
    const char *args[] = {"pull", "--retries=2", name, flag, NULL};
    return daemon_run(args, said, sizeof said);
}

static int pull(const char *name)
{
    return pull_with(name, NULL);
}

#define SAYS(text) ck_assert_msg(strstr(said, text) != NULL, "no '%s' in: %s", text, said)

#define PULLS(name, status)                                                              \
    do {                                                                                 \
        int got = pull(name);                                                            \
        ck_assert_msg(got == (status), "exit status %d: %s", got, said);                 \
    } while (0)

/* A path below the repository's folder in the cache. */
static const char *path_of(const char *rest)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s/%s", cache, FOLDER, rest);
    return path;
}

static const char *blob_of(const char *file, const char *suffix)
{
    char rest[160];
    snprintf(rest, sizeof rest, "blobs/%s%s", fake_hub_file(&hub, file)->etag, suffix);
    return path_of(rest);
}

static const char *link_of(const char *file)
{
    char rest[256];
    snprintf(rest, sizeof rest, "snapshots/" FAKE_HUB_COMMIT "/%s", file);
    return path_of(rest);
}

static long long size_at(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (long long)st.st_size : -1;
}

static size_t entries_in(const char *path)
{
    size_t n = 0;
    const struct dirent *entry;
    DIR *dir = opendir(path);
    while (dir && (entry = readdir(dir)))
        n += entry->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return n;
}

/* The file is in the snapshot, by a link into blobs/, and has the hub's bytes. */
static void is_there(const char *name)
{
    const struct fake_file *f = fake_hub_file(&hub, name);
    char target[128] = "", want[128];
    unsigned char *bytes = malloc(f->n + 1);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_msg(readlink(link_of(name), target, sizeof target - 1) > 0, "no %s", name);
    snprintf(want, sizeof want, "../../blobs/%s", f->etag);
    ck_assert_str_eq(target, want);
    int fd = open(link_of(name), O_RDONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(read(fd, bytes, f->n + 1), (ssize_t)f->n);
    ck_assert_mem_eq(bytes, f->bytes, f->n);
    close(fd);
    free(bytes);
}

static void ref_is(const char *ref, const char *want)
{
    char rest[128], text[64] = "";
    snprintf(rest, sizeof rest, "refs/%s", ref);
    int fd = open(path_of(rest), O_RDONLY);
    ck_assert_msg((fd >= 0) == (want != NULL), "refs/%s", ref);
    if (fd >= 0)
        ck_assert_int_gt(read(fd, text, sizeof text - 1), 0);
    if (fd >= 0)
        close(fd);
    if (want)
        ck_assert_str_eq(text, want);
}

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
    begin(REPO, BERT);
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
    end();
}
END_TEST

START_TEST(a_second_pull_downloads_nothing)
{
    begin(REPO, BERT);
    PULLS(REPO, 0);
    ck_assert_int_gt(fake_hub_sent(&hub), 0);
    PULLS(REPO, 0);
    SAYS("there already");
    ck_assert_uint_eq(fake_hub_asked(&hub, "resolve"), 0);
    ck_assert_int_eq(fake_hub_sent(&hub), 0);
    end();
}
END_TEST

START_TEST(a_lost_link_is_made_again_from_the_blob)
{
    begin(REPO, BERT);
    PULLS(REPO, 0);
    fake_hub_sent(&hub);
    ck_assert_int_eq(unlink(link_of(WEIGHTS)), 0);
    PULLS(REPO, 0);
    ck_assert_int_eq(fake_hub_sent(&hub), 0);
    is_there(WEIGHTS);
    ck_assert_int_eq(unlink(blob_of("config.json", "")), 0); /* the link leads nowhere */
    PULLS(REPO, 0);
    is_there("config.json");
    end();
}
END_TEST

START_TEST(a_revision_has_a_reference_and_is_served_by_it)
{
    struct daemon d;
    const char *args[] = {"acme/polite-bert@v1.0", NULL};
    const char *absent[] = {"--port=0", REPO, NULL};
    begin(REPO, BERT);
    PULLS("acme/polite-bert@v1.0", 0);
    SAYS("seqd acme/polite-bert@v1.0\n");
    ref_is("v1.0", FAKE_HUB_COMMIT);
    ref_is("main", NULL);
    daemon_start(&d, args);
    json_decref(ask_json(d.port, "GET", "/v1/models/polite-bert", NULL, 200));
    ck_assert_int_eq(daemon_stop(&d), 0);
    ck_assert_int_eq(daemon_run(absent, said, sizeof said), 1);
    SAYS("seqd pull acme/polite-bert");
    SAYS("v1.0");
    ck_assert_int_eq(pull_with(REPO, "--revision=refs/pr/1"), 0);
    ref_is("refs/pr/1", FAKE_HUB_COMMIT);
    PULLS("acme/polite-bert@" FAKE_HUB_COMMIT, 0);
    ref_is(FAKE_HUB_COMMIT, NULL);
    end();
}
END_TEST

/* Writes the tensors first..last of a safetensors file as a file of its own. */
static void add_shard(json_t *header, const unsigned char *data, size_t first,
                      size_t last, const char *name, json_t *map)
{
    static unsigned char out[1 << 20], body[1 << 20];
    json_t *own = json_object(), *entry;
    const char *key;
    size_t i = 0, n = 0;
    json_object_foreach(header, key, entry)
    {
        if (strcmp(key, "__metadata__") == 0 || i++ < first || i > last)
            continue;
        json_t *copy = json_deep_copy(entry),
               *at = json_object_get(entry, "data_offsets");
        size_t from = (size_t)json_integer_value(json_array_get(at, 0));
        size_t length = (size_t)json_integer_value(json_array_get(at, 1)) - from;
        json_int_t begins = (json_int_t)n, ends = begins + (json_int_t)length;
        ck_assert_uint_le(n + length, sizeof body);
        memcpy(body + n, data + from, length);
        json_object_set_new(copy, "data_offsets", json_pack("[I,I]", begins, ends));
        json_object_set_new(own, key, copy);
        json_object_set_new(map, key, json_string(name));
        n += length;
    }
    size_t head = json_dumpb(own, (char *)out + 8, sizeof out - 8, JSON_COMPACT);
    for (i = 0; i < 8; i++)
        out[i] = (unsigned char)((unsigned long long)head >> (8 * i));
    ck_assert_uint_le(8 + head + n, sizeof out);
    memcpy(out + 8 + head, body, n);
    fake_hub_add(&hub, name, out, 8 + head + n, true);
    json_decref(own);
}

/* The repository's model.safetensors in two files and an index instead. */
static void shard_weights(void)
{
    struct fake_file *f = fake_hub_file(&hub, WEIGHTS);
    size_t head = 0;
    for (size_t i = 0; i < 8; i++)
        head |= (size_t)f->bytes[i] << (8 * i);
    json_t *header = json_loadb((char *)f->bytes + 8, head, 0, NULL);
    json_t *index = json_object(), *map = json_object();
    size_t n = json_object_size(header);
    add_shard(header, f->bytes + 8 + head, 0, n / 2, "model-00001-of-00002.safetensors",
              map);
    add_shard(header, f->bytes + 8 + head, n / 2, n, "model-00002-of-00002.safetensors",
              map);
    json_object_set_new(index, "metadata", json_object());
    json_object_set_new(index, "weight_map", map);
    char *text = json_dumps(index, JSON_COMPACT);
    fake_hub_add(&hub, "model.safetensors.index.json", text, strlen(text), false);
    snprintf(f->name, sizeof f->name, "elsewhere.safetensors");
    free(text);
    json_decref(index);
    json_decref(header);
}

START_TEST(shards_are_pulled_as_the_index_says)
{
    struct daemon d;
    const char *args[] = {"acme/polite-bert", NULL};
    begin(REPO, GPT2);
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
    end();
}
END_TEST

START_TEST(a_renamed_repository_is_followed)
{
    begin(REPO, BERT);
    hub.renamed = true;
    PULLS("old-name/polite-bert", 0);
    ck_assert_uint_gt(fake_hub_asked(&hub, "/old-name/"), 0);
    snprintf(said, sizeof said, "%s/models--old-name--polite-bert/snapshots/%s/%s", cache,
             FAKE_HUB_COMMIT, WEIGHTS);
    ck_assert_int_eq(size_at(said), (long long)fake_hub_file(&hub, WEIGHTS)->n);
    end();
}
END_TEST

START_TEST(two_pulls_at_once_share_one_download)
{
    long long all = 0;
    int status = -1;
    begin(REPO, BERT);
    hub.slow_us = 20000;
    pid_t pid = fork();
    if (pid == 0)
        _exit(pull(REPO));
    int mine = pull(REPO);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(mine, 0);
    is_there(WEIGHTS);
    const char *const names[] = {"config.json", "tokenizer.json", WEIGHTS};
    for (size_t i = 0; i < 3; i++)
        all += (long long)fake_hub_file(&hub, names[i])->n;
    ck_assert_int_eq(fake_hub_sent(&hub), all);
    end();
}
END_TEST

START_TEST(offline_means_the_cache_and_nothing_else)
{
    begin(REPO, BERT);
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
    end();
}
END_TEST

START_TEST(the_cache_is_where_the_variables_say)
{
    char dir[128], flag[128], path[512];
    begin(REPO, BERT);
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
    end();
}
END_TEST

/* ---- tokens ---------------------------------------------------------------------- */

START_TEST(the_token_is_sent_to_the_hub_and_nowhere_else)
{
    begin(REPO, BERT);
    hub.token = "hf_abc";
    setenv("HF_TOKEN", " hf_abc\n", 1);
    PULLS(REPO, 0);
    ck_assert_uint_gt(fake_hub_asked(&hub, "cdn GET"), 0);
    ck_assert_uint_gt(fake_hub_asked(&hub, " token=hf_abc"), 0);
    ck_assert_uint_eq(fake_hub_asked(&hub, " token="), fake_hub_asked(&hub, "hub "));
    ck_assert_ptr_null(strstr(said, "hf_abc"));
    end();
}
END_TEST

START_TEST(a_login_leaves_the_token_in_a_file)
{
    char path[128];
    begin(REPO, BERT);
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
    end();
}
END_TEST

START_TEST(without_access_the_message_names_the_token)
{
    begin(REPO, BERT);
    hub.token = "hf_abc";
    PULLS(REPO, 1);
    SAYS("401");
    SAYS("set HF_TOKEN");
    hub.gated = true;
    PULLS(REPO, 1);
    SAYS("gated");
    SAYS("set HF_TOKEN");
    ck_assert_uint_eq(entries_in(path_of("")), 0);
    end();
}
END_TEST

/* ---- the network's faults -------------------------------------------------------- */

START_TEST(a_cut_connection_is_taken_up_where_it_broke)
{
    begin(REPO, BERT);
    hub.cut_after = 30000;
    hub.cuts = 3; /* more than the tries without progress */
    PULLS(REPO, 0);
    is_there(WEIGHTS);
    ck_assert_uint_eq(fake_hub_asked(&hub, "cdn GET"), 4);
    ck_assert_uint_eq(fake_hub_asked(&hub, "secret range=30000"), 1);
    ck_assert_uint_eq(fake_hub_asked(&hub, "secret range=60000"), 1);
    ck_assert_uint_eq(fake_hub_asked(&hub, "secret range=90000"), 1);
    end();
}
END_TEST

START_TEST(after_some_tries_the_next_run_goes_on)
{
    begin(REPO, BERT);
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
    end();
}
END_TEST

START_TEST(a_server_without_ranges_sends_all_again)
{
    begin(REPO, BERT);
    hub.ignore_range = true;
    hub.cut_at = 40000;
    hub.cuts = 1;
    PULLS(REPO, 0);
    is_there(WEIGHTS);
    ck_assert_uint_eq(fake_hub_asked(&hub, "secret range=40000"), 1);
    end();
}
END_TEST

START_TEST(a_busy_hub_is_asked_again)
{
    begin(REPO, BERT);
    hub.busy = 2;
    PULLS(REPO, 0);
    hub.busy = 1000;
    ck_assert_int_eq(unlink(link_of(WEIGHTS)), 0);
    ck_assert_int_eq(pull_with(REPO, "--retries=0"), 1);
    SAYS("503");
    SAYS("come back");
    end();
}
END_TEST

START_TEST(no_hub_at_all_is_said_at_once)
{
    begin(REPO, BERT);
    setenv("HF_ENDPOINT", "http://127.0.0.1:1", 1);
    PULLS(REPO, 1);
    SAYS("127.0.0.1:1");
    end();
}
END_TEST

START_TEST(redirects_to_other_schemes_are_refused)
{
    begin(REPO, BERT);
    hub.insecure_redirect = true;
    PULLS(REPO, 1);
    SAYS("redirects");
    ck_assert_int_eq(size_at(blob_of(WEIGHTS, "")), -1);
    end();
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
        begin(REPO, BERT);
        char *digit = fake_hub_file(&hub, files[i])->etag;
        *digit = *digit == '0' ? '1' : '0';
        PULLS(REPO, 1);
        SAYS(files[i]);
        SAYS("hash");
        is_absent(files[i]);
        end();
    }
}
END_TEST

START_TEST(sizes_other_than_announced_are_refused)
{
    static const char *const files[] = {"model.safetensors", "tokenizer.json"};
    for (size_t i = 0; i < 2; i++)
        for (int off = -7; off <= 7; off += 14) {
            begin(REPO, BERT);
            fake_hub_file(&hub, files[i])->announced += off;
            PULLS(REPO, 1);
            SAYS(files[i]);
            ck_assert_int_eq(size_at(blob_of(files[i], "")), -1);
            ck_assert_int_eq(size_at(path_of("snapshots")), -1);
            end();
        }
}
END_TEST

START_TEST(what_lay_there_and_is_wrong_is_fetched_anew)
{
    static const size_t lengths[] = {1000, 99904, 200000};
    for (size_t i = 0; i < 3; i++) {
        char *junk = calloc(1, lengths[i]);
        begin(REPO, BERT);
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
        end();
    }
}
END_TEST

START_TEST(a_file_without_a_known_hash_is_refused)
{
    begin(REPO, BERT);
    snprintf(fake_hub_file(&hub, WEIGHTS)->etag, 65, "../../../etc/passwd");
    PULLS(REPO, 1);
    SAYS("can't be checked");
    end();
}
END_TEST

/* ---- what is not there, or not ours ---------------------------------------------- */

START_TEST(what_is_missing_is_named)
{
    begin(REPO, GPT2);
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
    end();
}
END_TEST

/* The repository's file gets another name, and seqd pull says `mention`. */
static void refuses_without(const char *file, const char *other, const char *mention)
{
    begin(REPO, BERT);
    struct fake_file *f = fake_hub_file(&hub, file);
    snprintf(f->name, sizeof f->name, "%s", other);
    fake_hub_sent(&hub);
    PULLS(REPO, 1);
    SAYS(mention);
    ck_assert_uint_eq(fake_hub_asked(&hub, "resolve"), 0);
    end();
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
        begin(REPO, BERT);
        int n =
            snprintf(index, sizeof index, "{\"weight_map\":{\"a\":\"%s\"}}", names[i]);
        struct fake_file *f = fake_hub_file(&hub, WEIGHTS);
        snprintf(f->name, sizeof f->name, "x.safetensors");
        fake_hub_add(&hub, "model.safetensors.index.json", index, (size_t)n, false);
        PULLS(REPO, 1);
        SAYS("plain name");
        ck_assert_int_eq(size_at(path_of("snapshots")), -1);
        end();
    }
}
END_TEST

START_TEST(a_full_disk_is_seen_before_the_download)
{
    begin(REPO, BERT);
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
    end();
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
    begin(REPO, BERT);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const char *extra = wrong[i][0][0] == '-' ? REPO : NULL;
        const char *args[] = {"pull", wrong[i][0], extra, NULL};
        ck_assert_msg(daemon_run(args, said, sizeof said) == 2, "%s: %s", wrong[i][0],
                      said);
        SAYS(wrong[i][1]);
    }
    const char *help[] = {"pull", "--help", NULL};
    ck_assert_int_eq(daemon_run(help, said, sizeof said), 0);
    SAYS("usage: seqd pull");
    ck_assert_uint_eq(fake_hub_asked(&hub, "hub"), 0);
    end();
}
END_TEST

START_TEST(a_repository_that_is_not_here_names_the_pull)
{
    const char *args[] = {"--port=0", "acme/polite-bert", NULL};
    begin(REPO, BERT);
    ck_assert_int_eq(daemon_run(args, said, sizeof said), 1);
    SAYS("seqd pull acme/polite-bert");
    ck_assert_uint_eq(fake_hub_asked(&hub, "hub"), 0);
    end();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {pulls_a_model_that_is_then_served_by_its_name,
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
                                  a_cut_connection_is_taken_up_where_it_broke,
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
    return suite_run("pull", tests, 60);
}
