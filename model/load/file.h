/* File: one file of a model folder, read whole or piece by piece into private memory.
 *
 * A copy, never a map: a file that is cut or rewritten later can neither kill the process
 * nor change a loaded model. One that changes while it is read is refused. Only regular
 * files are read (a FIFO or device is refused without waiting on it). Symbolic links are
 * followed, since the caches of Hugging Face consist of them; names that come out of
 * another file must pass file_is_basename first. Messages begin with the file's name; the
 * caller knows the folder. Any thread. */
#ifndef SEQ_LOAD_FILE_H
#define SEQ_LOAD_FILE_H

#include "model/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

/* Exactly n bytes, no terminator. at is never NULL after a successful read. */
struct file {
    unsigned char *at;
    size_t n;
};

/* Reads dir/name. ERR_IO (missing, not a regular file, changed while it was read),
 * ERR_LIMIT (more than max_bytes), ERR_NOMEM. */
enum err_code file_read(const char *dir, const char *name, size_t max_bytes,
                        struct file *out, struct err *err) MUST_CHECK;
void file_done(struct file *f); /* a zeroed struct is fine */

/* A file to be read piece by piece. It stays the one that was opened, whatever becomes of
 * its name. */
struct file_reader {
    int fd;
    bool open;
    size_t n;                /* its bytes */
    struct timespec written; /* when it was last written, as it was opened */
};

/* As file_read, but reads nothing yet. */
enum err_code file_open(const char *dir, const char *name, size_t max_bytes,
                        struct file_reader *out, struct err *err) MUST_CHECK;
/* Its bytes first..first+n-1, which lie within it. ERR_IO, also if it is shorter now.
 * Several threads may read one file. */
enum err_code file_read_part(const struct file_reader *r, const char *name, size_t first,
                             size_t n, unsigned char *out, struct err *err) MUST_CHECK;
/* Asked after the last piece: ERR_IO if the file has grown, shrunk or been written since
 * it was opened, so that pieces of it may not belong together. */
enum err_code file_check_end(const struct file_reader *r, const char *name,
                             struct err *err) MUST_CHECK;
void file_close(struct file_reader *r); /* a zeroed struct is fine */

/* True if dir/name is there, whatever it is. */
bool file_exists(const char *dir, const char *name);

/* True for a plain file name: no '/', not "." or "..", not empty, at most 255 bytes. */
bool file_is_basename(const char *name);

#endif
