#include "server/reply.h"

#include "server/json_write.h"

void reply_done(struct reply *r)
{
    buf_done(&r->body);
    *r = (struct reply){0};
}

void reply_header(struct reply *r, const char *name, const char *value)
{
    if (r->n_headers < REPLY_HEADERS)
        r->headers[r->n_headers++] = (struct reply_header){name, value};
}

void reply_take_json(struct reply *r, struct json_writer *take_w)
{
    buf_done(&r->body);
    r->body = take_w->buf;
    take_w->buf = (struct buf){0};
    json_write_done(take_w);
}
