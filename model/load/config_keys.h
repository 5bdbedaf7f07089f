/* Config_keys: what config.json may say, as tables: one row per architecture that is
 * served and one per key that changes its answers. Private to model/load/config*.c. */
#ifndef SEQ_LOAD_CONFIG_KEYS_H
#define SEQ_LOAD_CONFIG_KEYS_H

#include "model/load/config.h"

#include <stdbool.h>
#include <stddef.h>

enum key_kind {
    KEY_SIZE,   /* an integer min..max into a size_t */
    KEY_REAL,   /* a number real_min..real_max into a float */
    KEY_BOOL,   /* into a bool */
    KEY_NEGATE, /* a bool whose opposite goes into a bool */
    KEY_CHOICE, /* a word of `choices` into an enum */
    KEY_ONLY,   /* json_read_show(value) must be `only`; has no field */
    KEY_EMPTY   /* an object or list without members; has no field */
};

struct key_choice {
    const char *word; /* NULL ends a list */
    unsigned value;
};

struct config_key {
    const char *name;
    enum key_kind kind;
    bool required;             /* else absent and null mean `fallback` (real_fallback) */
    size_t offset;             /* of the field in struct config */
    size_t min, max, fallback; /* fallback: of the field, also for bools and choices */
    double real_min, real_max, real_fallback;
    const struct key_choice *choices;
    const char *only;
};

struct config_family {
    const char *model_type;
    enum arch arch;
    const struct config_key *keys;
    size_t n_keys;
    const char *const *irrelevant; /* keys that change nothing here; NULL ends */
};

struct config_architecture {
    const char *name;
    enum head head;
    const struct config_family *family;
};

/* NULL if it is not served. */
const struct config_architecture *config_keys_find(const char *architecture);

/* "RNNForCausalLM, ...", for messages. Returns buf. */
enum { CONFIG_KEYS_LIST_BYTES = 256 };
const char *config_keys_served(char buf[CONFIG_KEYS_LIST_BYTES]);

/* True if the key is in a table of the family or known to change nothing in any family.
 */
bool config_keys_known(const struct config_family *family, const char *key);

#endif
