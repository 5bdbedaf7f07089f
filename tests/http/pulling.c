#include "tests/http/pulling.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/http/client.h"
#include "tests/http/daemon.h"

struct fake_hub hub;
char home[64], cache[80], said[65536];

void hub_begin(const char *repo, const char *model)
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
    fake_hub_init(&hub, repo);
    if (model)
        fake_hub_add_folder(&hub, model);
    fake_hub_add(&hub, "README.md", "# hello\n", 8, false);
    fake_hub_add(&hub, "onnx/model.onnx", "not ours", 8, true);
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%u/", hub.port);
    setenv("HF_ENDPOINT", endpoint, 1);
    setenv("HF_HOME", home, 1);
    setenv("no_proxy", "*", 1);
}

void hub_end(void)
{
    char command[128];
    fake_hub_done(&hub);
    snprintf(command, sizeof command, "rm -rf %s", home);
    ck_assert_int_eq(system(command), 0);
}

/* Runs seqd with the hub open; its output is in `said`. */
int hub_run(const char *const *args)
{
    fake_hub_open(&hub);
    int status = daemon_run(args, said, sizeof said);
    fake_hub_close(&hub);
    return status;
}

/* seqd pull name [flag] */
int pull_with(const char *name, const char *flag)
{
    const char *args[] = {"pull", "--retries=2", name, flag, NULL};
    return hub_run(args);
}

int pull(const char *name)
{
    return pull_with(name, NULL);
}

/* A path below the repository's folder in the cache. */
const char *path_of(const char *rest)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s/%s", cache, FOLDER, rest);
    return path;
}

const char *blob_of(const char *file, const char *suffix)
{
    char rest[160];
    snprintf(rest, sizeof rest, "blobs/%s%s", fake_hub_file(&hub, file)->etag, suffix);
    return path_of(rest);
}

const char *link_of(const char *file)
{
    char rest[256];
    snprintf(rest, sizeof rest, "snapshots/" FAKE_HUB_COMMIT "/%s", file);
    return path_of(rest);
}

long long size_at(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (long long)st.st_size : -1;
}

size_t entries_in(const char *path)
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
void is_there(const char *name)
{
    const struct fake_file *f = fake_hub_file(&hub, name);
    char target[128] = "", want[128];
    unsigned char *bytes = malloc(f->n + 1);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_msg(readlink(link_of(name), target, sizeof target - 1) > 0, "no %s", name);
    const char *deeper = strchr(name, '/') ? "../" : "";
    snprintf(want, sizeof want, "%s../../blobs/%s", deeper, f->etag);
    ck_assert_str_eq(target, want);
    int fd = open(link_of(name), O_RDONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(read(fd, bytes, f->n + 1), (ssize_t)f->n);
    ck_assert_mem_eq(bytes, f->bytes, f->n);
    close(fd);
    free(bytes);
}

void ref_is(const char *ref, const char *want)
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
void shard_weights(void)
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
