#include "server/gzip.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>
#include <zlib.h>

enum {
    LEAST_BYTES = 1024, /* below it the packet is the same */
    FAST_BYTES = 65536, /* from here on speed counts, not the last percents */
    GZIP_WINDOW = 15 + 16
};

/* ---- who takes it ---------------------------------------------------------------- */

/* Whether an item of the list, n bytes from its name on, has a weight above 0. */
static bool has_weight(const char *at, size_t n)
{
    const char *q = memchr(at, '=', n);
    while (n && isspace((unsigned char)at[n - 1]))
        n--;
    return !q || strspn(q + 1, "0.") < (size_t)(at + n - (q + 1));
}

bool gzip_accepted(const char *value)
{
    bool any = false;
    while (value && *value) {
        value += strspn(value, " \t,");
        size_t name = strcspn(value, " \t;,"), n = strcspn(value, ",");
        if (name == 4 && strncasecmp(value, "gzip", name) == 0)
            return has_weight(value, n);
        if (name == 1 && *value == '*')
            any = has_weight(value, n);
        value += n;
    }
    return any;
}

/* ---- packing --------------------------------------------------------------------- */

static bool is_text(const char *type)
{
    return !type || strncmp(type, "application/json", 16) == 0 ||
           (strncmp(type, "text/", 5) == 0 &&
            strncmp(type, "text/event-stream", 17) != 0);
}

static void *allocate(void *opaque, unsigned n, unsigned size)
{
    (void)opaque;
    return mem_alloc(n, size);
}

static void release(void *opaque, void *at)
{
    (void)opaque;
    mem_free(at);
}

/* The packed bytes, fewer than n; nothing (cap 0) if they are not, or for want of memory.
 */
static struct buf pack(const char *at, size_t n)
{
    struct buf to = {0};
    z_stream z = {.zalloc = allocate, .zfree = release};
    int level = n < FAST_BYTES ? Z_DEFAULT_COMPRESSION : Z_BEST_SPEED;
    if (n > UINT32_MAX ||
        deflateInit2(&z, level, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return to;
    z.next_in = (unsigned char *)at;
    z.avail_in = (unsigned)n;
    z.avail_out = (unsigned)n - 1;
    z.next_out = (unsigned char *)buf_reserve(&to, n - 1);
    if (z.next_out && deflate(&z, Z_FINISH) == Z_STREAM_END)
        to.n = n - 1 - z.avail_out;
    else
        buf_done(&to);
    deflateEnd(&z);
    return to;
}

void gzip_reply(struct reply *r)
{
    const char *at = r->fixed ? r->fixed : r->body.at;
    size_t n = r->fixed ? r->fixed_n : r->body.n;
    if (r->body.failed || n < LEAST_BYTES || !is_text(r->content_type))
        return;
    reply_header(r, "Vary", "Accept-Encoding");
    struct buf packed = pack(at, n);
    if (packed.n == 0)
        return;
    buf_done(&r->body);
    r->body = packed;
    r->fixed = NULL;
    r->fixed_n = 0;
    reply_header(r, "Content-Encoding", "gzip");
}
