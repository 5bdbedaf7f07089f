/* Log: one JSON object per line on stderr.
 *
 * Lines go through a bounded ring to a thread of their own, so that a reader who has
 * stopped reading stderr can't stop the daemon; what finds no room is counted and said in
 * the next line that does. Process-wide; any thread. Never a client's text. */
#ifndef SERVER_LOG_H
#define SERVER_LOG_H

#include "model/seq.h"
#include "server/json_write.h"

#include <stdbool.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

extern const char *const LOG_LEVELS[]; /* their names, NULL-terminated */

/* Before this, and after log_stop, lines are dropped. */
enum err_code log_start(int fd, enum log_level level, struct err *err) MUST_CHECK;
/* Writes what is in the ring, for a second at most. */
void log_stop(void);

/* Opens a line {"event":EVENT in *w (zeroed by this); the caller adds keys and values and
 * calls log_end. False, and nothing to do, if the level is not wanted. */
bool log_begin(struct json_writer *w, enum log_level level, const char *event);
void log_end(struct json_writer *w, enum log_level level);

/* A line with one "message". */
void log_note(enum log_level level, const char *event, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

#endif
