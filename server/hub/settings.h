/* Settings: where the hub is and where its cache lies, from the variables that Python's
 * huggingface_hub reads too, so that both programs see the same files. Any thread. */
#ifndef SERVER_HUB_SETTINGS_H
#define SERVER_HUB_SETTINGS_H

#include "model/seq.h"

#include <limits.h>
#include <stdbool.h>

enum { SETTINGS_URL_BYTES = 512, SETTINGS_TOKEN_BYTES = 256 };

struct settings {
    char cache[PATH_MAX];              /* HF_HUB_CACHE, else $HF_HOME/hub, ... */
    char endpoint[SETTINGS_URL_BYTES]; /* HF_ENDPOINT, without a '/' at its end */
    char token[SETTINGS_TOKEN_BYTES];  /* HF_TOKEN, else a file; "" = none */
    char ca_file[PATH_MAX];            /* CURL_CA_BUNDLE, ...; "" = the system's */
    bool offline;                      /* HF_HUB_OFFLINE */
};

/* All of them. env is an environ-like list. ERR_INPUT names the variable at fault. */
enum err_code settings_read(char *const *env, struct settings *out,
                            struct err *err) MUST_CHECK;

/* The cache's folder alone; it need not be there. */
enum err_code settings_cache(char *const *env, char out[PATH_MAX],
                             struct err *err) MUST_CHECK;

#endif
