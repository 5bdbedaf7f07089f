/* Progress: how far a download is, on standard error: a bar on a terminal, else a line
 * per file and one every ten seconds. One thread. */
#ifndef SERVER_HUB_PROGRESS_H
#define SERVER_HUB_PROGRESS_H

#include "model/seq.h"

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *file;
    int64_t from, at, size; /* from: what an earlier download had left */
    uint64_t began_us, drawn_us;
    bool terminal, drawn;
};

void progress_begin(struct progress *p, const char *file, int64_t size);
/* `at` bytes are there. fresh: they have just come, not from an earlier download. */
void progress_move(struct progress *p, int64_t at, bool fresh);
/* A remark below the bar. */
void progress_note(struct progress *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
void progress_end(struct progress *p, bool complete);

enum { PROGRESS_SIZE_BYTES = 32 };

/* "268 MB"; returns to. */
const char *progress_size(int64_t bytes, char to[PROGRESS_SIZE_BYTES]);

#endif
