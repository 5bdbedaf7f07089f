/* Pulling: what the tests of `seqd pull` share: a fake hub with one repository, an empty
 * cache in a folder of its own, and looks into that cache. One per test, which is a
 * process of its own; every function fails the test when something is not as it must be.
 */
#ifndef TESTS_HTTP_PULLING_H
#define TESTS_HTTP_PULLING_H

#include "tests/http/fake_hub.h"

#include <stddef.h>

#define BERT    "tests/fixtures/models/tiny-bert"
#define GPT2    "tests/fixtures/models/tiny-gpt2"
#define REPO    "acme/polite-bert"
#define FOLDER  "models--acme--polite-bert"
#define WEIGHTS "model.safetensors"

extern struct fake_hub hub;
extern char home[64], cache[80]; /* $HF_HOME, and the hub's cache in it */
extern char said[65536];         /* what the last run wrote */

/* A repository of a model's folder (NULL: empty) and some files that nobody wants; the
 * variables lead to it. */
void hub_begin(const char *repo, const char *model);
void hub_end(void);

/* Runs seqd with the hub open; returns the exit status. */
int hub_run(const char *const *args);
int pull_with(const char *name, const char *flag);
int pull(const char *name);

#define SAYS(text) ck_assert_msg(strstr(said, text) != NULL, "no '%s' in: %s", text, said)

#define PULLS(name, status)                                                              \
    do {                                                                                 \
        int got = pull(name);                                                            \
        ck_assert_msg(got == (status), "exit status %d: %s", got, said);                 \
    } while (0)

/* Paths in the cache, in static buffers: below the repository's folder, of a file's blob
 * (suffix "" or ".incomplete"), of its link in the snapshot. */
const char *path_of(const char *rest);
const char *blob_of(const char *file, const char *suffix);
const char *link_of(const char *file);

long long size_at(const char *path); /* -1: nothing is there */
size_t entries_in(const char *path);

/* The file is in the snapshot, by a link into blobs/, and has the hub's bytes. */
void is_there(const char *name);
/* refs/REF holds this; NULL: is not there. */
void ref_is(const char *ref, const char *want);

/* The repository's model.safetensors becomes two files and an index. */
void shard_weights(void);

#endif
