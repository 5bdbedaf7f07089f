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
        "web_colour_js: .incbin \"server/web/colour.js\"\n"
        "web_compare_js: .incbin \"server/web/compare.js\"\n"
        "web_dom_js: .incbin \"server/web/dom.js\"\n"
        "web_hash_js: .incbin \"server/web/hash.js\"\n"
        "web_head_js: .incbin \"server/web/head.js\"\n"
        "web_heads_js: .incbin \"server/web/heads.js\"\n"
        "web_heatmap_js: .incbin \"server/web/heatmap.js\"\n"
        "web_maps_js: .incbin \"server/web/maps.js\"\n"
        "web_next_word_js: .incbin \"server/web/next_word.js\"\n"
        "web_overview_js: .incbin \"server/web/overview.js\"\n"
        "web_panel_js: .incbin \"server/web/panel.js\"\n"
        "web_prediction_js: .incbin \"server/web/prediction.js\"\n"
        "web_save_js: .incbin \"server/web/save.js\"\n"
        "web_sentiment_js: .incbin \"server/web/sentiment.js\"\n"
        "web_shade_js: .incbin \"server/web/shade.js\"\n"
        "web_states_js: .incbin \"server/web/states.js\"\n"
        "web_states_steps_js: .incbin \"server/web/states_steps.js\"\n"
        "web_states_units_js: .incbin \"server/web/states_units.js\"\n"
        "web_table_js: .incbin \"server/web/table.js\"\n"
        "web_tensor_js: .incbin \"server/web/tensor.js\"\n"
        "web_tokens_js: .incbin \"server/web/tokens.js\"\n"
        "web_try_js: .incbin \"server/web/try.js\"\n"
        "web_end: .byte 0\n"
        ".popsection\n");

extern const char web_index_html[], web_style_css[], web_api_js[], web_app_js[],
    web_attention_js[], web_colour_js[], web_compare_js[], web_dom_js[], web_hash_js[],
    web_head_js[], web_heads_js[], web_heatmap_js[], web_maps_js[], web_next_word_js[],
    web_overview_js[], web_panel_js[], web_prediction_js[], web_save_js[],
    web_sentiment_js[], web_shade_js[], web_states_js[], web_states_steps_js[],
    web_states_units_js[], web_table_js[], web_tensor_js[], web_tokens_js[], web_try_js[],
    web_end[];

enum { N_FILES = 27, ETAG_BYTES = 24 };

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
    {"colour.js", JS, web_colour_js, 0, NULL},
    {"compare.js", JS, web_compare_js, 0, NULL},
    {"dom.js", JS, web_dom_js, 0, NULL},
    {"hash.js", JS, web_hash_js, 0, NULL},
    {"head.js", JS, web_head_js, 0, NULL},
    {"heads.js", JS, web_heads_js, 0, NULL},
    {"heatmap.js", JS, web_heatmap_js, 0, NULL},
    {"maps.js", JS, web_maps_js, 0, NULL},
    {"next_word.js", JS, web_next_word_js, 0, NULL},
    {"overview.js", JS, web_overview_js, 0, NULL},
    {"panel.js", JS, web_panel_js, 0, NULL},
    {"prediction.js", JS, web_prediction_js, 0, NULL},
    {"save.js", JS, web_save_js, 0, NULL},
    {"sentiment.js", JS, web_sentiment_js, 0, NULL},
    {"shade.js", JS, web_shade_js, 0, NULL},
    {"states.js", JS, web_states_js, 0, NULL},
    {"states_steps.js", JS, web_states_steps_js, 0, NULL},
    {"states_units.js", JS, web_states_units_js, 0, NULL},
    {"table.js", JS, web_table_js, 0, NULL},
    {"tensor.js", JS, web_tensor_js, 0, NULL},
    {"tokens.js", JS, web_tokens_js, 0, NULL},
    {"try.js", JS, web_try_js, 0, NULL},
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
        snprintf(etags[i], sizeof etags[i], "W/\"%016llx\"",
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
