/* Stops: texts that end a text, looked for while it grows (Knuth, Morris and Pratt 1977:
 * each byte is read once, for each of them). One owner at a time. */
#ifndef SEQ_TASKS_STOPS_H
#define SEQ_TASKS_STOPS_H

#include "model/base/err.h"
#include "model/seq.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stop_text {
    const char *at; /* [n] */
    uint16_t *back; /* [n] bytes at the end of at[0..i] that are its beginning as well */
    size_t n;
    size_t seen; /* bytes at the end of the text so far that are the beginning of it */
};

/* Zeroed is none. */
struct stops {
    size_t n;
    struct stop_text text[SEQ_STOPS_MAX];
    char *bytes;    /* of all texts */
    uint16_t *back; /* of all texts */
};

/* Copies the texts. ERR_INPUT, param "stops", for too many, or one that is empty, too
 * long or not UTF-8; ERR_NOMEM. */
enum err_code stops_init(struct stops *s, const struct seq_stop *texts, size_t n,
                         struct err *err) MUST_CHECK;
void stops_done(struct stops *s);

/* Reads what the text goes on with, up to the first byte that completes a stop text.
 * Returns the bytes read, and in *found the length of that stop text, the longest of
 * several; 0: none, and all n were read. Behind one that was found nothing is read. */
size_t stops_read(struct stops *s, const char *at, size_t n, size_t *found);

/* Bytes at the end of what was read that may become a stop text. */
size_t stops_open(const struct stops *s);

#endif
