/* Fake hub: a small server that speaks the URLs of the Hugging Face hub, for tests.
 *
 * Two ports of 127.0.0.1: the hub itself, and another origin where large files lie, as on
 * the real one. One repository, one commit, which the names `main` and `v1.0` stand for.
 *
 *   GET  hub  /api/models/REPO/revision/REV    the commit and the list of files (JSON)
 *   HEAD hub  /REPO/resolve/COMMIT/FILE        small: 307 to a path of the hub with ETag
 *   GET                                        large: 302 to the other origin, X-Linked-*
 *   GET  cdn  /blobs/FILE?signature=secret     bytes, also ranges
 *
 * Faults are fields, and they and the files may be changed while the hub is closed: its
 * threads live from fake_hub_open to fake_hub_close. What was asked is kept as lines of
 * text: "hub HEAD /path", with " range=5" and " token=abc" where they were sent. */
#ifndef TESTS_HTTP_FAKE_HUB_H
#define TESTS_HTTP_FAKE_HUB_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

enum { FAKE_HUB_FILES = 24, FAKE_HUB_THREADS = 256, FAKE_HUB_LOG = 65536 };

#define FAKE_HUB_COMMIT "0123456789abcdef0123456789abcdef01234567"

struct fake_file {
    char name[80];
    unsigned char *bytes;
    size_t n;
    bool large;          /* lies in the other origin, named by SHA-256 */
    char etag[65];       /* what the hub says; a test may spoil it */
    long long announced; /* its size as the hub says it */
};

struct fake_hub {
    unsigned port, cdn_port;
    const char *repo;  /* "acme/polite-bert" */
    const char *token; /* NULL: anybody may read; else 401 without it */
    bool gated;        /* 403 instead, with the hub's error code for gated repositories */
    bool renamed;      /* all of "acme/..." is redirected to "fresh/..." */
    bool ignore_range, insecure_redirect;
    /* The connection closes after so many bytes of a large file, or where its byte of
     * this number would come; 0 = never. */
    long long cut_after, cut_at;
    int cuts, busy; /* how many times; how many requests are answered 503 first */
    int slow_us;    /* pause after each 4096 bytes of a large file */
    struct fake_file files[FAKE_HUB_FILES];
    size_t n_files;

    int listening[2]; /* the hub's, the other origin's */
    int wake[2];
    pthread_t acceptor, threads[FAKE_HUB_THREADS];
    size_t n_threads;

    pthread_mutex_t lock;
    char log[FAKE_HUB_LOG]; /* under lock from here on */
    size_t log_n;
    long long sent; /* bytes of files */
};

/* An empty repository; the ports are known from now on. */
void fake_hub_init(struct fake_hub *h, const char *repo);
void fake_hub_done(struct fake_hub *h);

/* Serves until it is closed, which waits for the last answer. */
void fake_hub_open(struct fake_hub *h);
void fake_hub_close(struct fake_hub *h);

/* Adds a file; its bytes are copied. */
struct fake_file *fake_hub_add(struct fake_hub *h, const char *name, const void *bytes,
                               size_t n, bool large);
/* Adds all regular files of a folder; *.safetensors are large. */
void fake_hub_add_folder(struct fake_hub *h, const char *folder);
struct fake_file *fake_hub_file(struct fake_hub *h, const char *name);

/* How many lines of the log contain text. */
size_t fake_hub_asked(struct fake_hub *h, const char *text);
/* Bytes of files sent since the last call; also empties the log. */
long long fake_hub_sent(struct fake_hub *h);

#endif
