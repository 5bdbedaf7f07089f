#include "server/web/embed.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Each file's bytes between two labels; paths are from the root of the repository. */
__asm__(".pushsection .rodata\n"
        "web_index_html: .incbin \"server/web/index.html\"\n"
        "web_style_css: .incbin \"server/web/style.css\"\n"
        "web_api_js: .incbin \"server/web/api.js\"\n"
        "web_app_js: .incbin \"server/web/app.js\"\n"
        "web_attention_js: .incbin \"server/web/attention.js\"\n"
        "web_heatmap_js: .incbin \"server/web/heatmap.js\"\n"
        "web_next_word_js: .incbin \"server/web/next_word.js\"\n"
        "web_sentiment_js: .incbin \"server/web/sentiment.js\"\n"
        "web_end: .byte 0\n"
        ".popsection\n");

extern const char web_index_html[], web_style_css[], web_api_js[], web_app_js[],
    web_attention_js[], web_heatmap_js[], web_next_word_js[], web_sentiment_js[],
    web_end[];

enum { N_FILES = 8, ETAG_BYTES = 20 };

static const char HTML[] = "text/html; charset=utf-8";
static const char CSS[] = "text/css; charset=utf-8";
static const char JS[] = "text/javascript; charset=utf-8";

/* In the order of the labels: a file ends where the next one begins. `n` and `etag` are
 * filled once, before anybody sees them. */
static struct embed_file files[N_FILES] = {
    {"index.html", HTML, web_index_html, 0, NULL},
    {"style.css", CSS, web_style_css, 0, NULL},
    {"api.js", JS, web_api_js, 0, NULL},
    {"app.js", JS, web_app_js, 0, NULL},
    {"attention.js", JS, web_attention_js, 0, NULL},
    {"heatmap.js", JS, web_heatmap_js, 0, NULL},
    {"next_word.js", JS, web_next_word_js, 0, NULL},
    {"sentiment.js", JS, web_sentiment_js, 0, NULL},
};
static char etags[N_FILES][ETAG_BYTES];
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* FNV-1a: tells one build's file from another's, no more. */
static uint64_t hash(const char *bytes, size_t n)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
    return h;
}

static void measure(void)
{
    for (size_t i = 0; i < N_FILES; i++) {
        const char *end = i + 1 < N_FILES ? files[i + 1].at : web_end;
        files[i].n = (size_t)(end - files[i].at);
        snprintf(etags[i], sizeof etags[i], "\"%016llx\"",
                 (unsigned long long)hash(files[i].at, files[i].n));
        files[i].etag = etags[i];
    }
}

const struct embed_file *embed_list(size_t *n)
{
    pthread_once(&once, measure);
    *n = N_FILES;
    return files;
}

const struct embed_file *embed_find(const char *name, size_t n)
{
    size_t count;
    const struct embed_file *list = embed_list(&count);
    for (size_t i = 0; i < count; i++)
        if (strlen(list[i].name) == n && memcmp(list[i].name, name, n) == 0)
            return &list[i];
    return NULL;
}
