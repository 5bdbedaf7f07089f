#include "model/tasks/stops.h"

#include "model/base/mem.h"
#include "model/base/utf8.h"

#include <string.h>

static enum err_code check(const struct seq_stop *texts, size_t n, size_t *bytes,
                           struct err *err)
{
    *bytes = 0;
    if (n > SEQ_STOPS_MAX)
        return err_param(err, ERR_INPUT, "stops", "%zu stop texts, at most %d are read",
                         n, SEQ_STOPS_MAX);
    for (size_t i = 0; i < n; i++) {
        if (texts[i].n < 1 || texts[i].n > SEQ_STOP_BYTES)
            return err_param(err, ERR_INPUT, "stops",
                             "stop text %zu has %zu bytes, it must have 1 to %d", i,
                             texts[i].n, SEQ_STOP_BYTES);
        if (utf8_valid(texts[i].text, texts[i].n) < texts[i].n)
            return err_param(err, ERR_INPUT, "stops", "stop text %zu is not valid UTF-8",
                             i);
        *bytes += texts[i].n;
    }
    return ERR_OK;
}

/* The state behind one more byte. */
static size_t next(const struct stop_text *t, size_t seen, char byte)
{
    while (seen > 0 && t->at[seen] != byte)
        seen = t->back[seen - 1];
    return seen + (t->at[seen] == byte);
}

enum err_code stops_init(struct stops *s, const struct seq_stop *texts, size_t n,
                         struct err *err)
{
    size_t bytes;
    *s = (struct stops){0};
    enum err_code code = check(texts, n, &bytes, err);
    if (code != ERR_OK || n == 0)
        return code;
    s->bytes = mem_alloc(bytes, 1);
    s->back = mem_alloc(bytes, sizeof *s->back);
    if (!s->bytes || !s->back)
        return err_set(err, ERR_NOMEM, "out of memory: %zu stop texts", n);
    size_t at = 0;
    for (; s->n < n; s->n++) {
        struct stop_text *t = &s->text[s->n];
        *t = (struct stop_text){
            .at = s->bytes + at, .back = s->back + at, .n = texts[s->n].n};
        memcpy(s->bytes + at, texts[s->n].text, t->n);
        t->back[0] = 0;
        for (size_t i = 1; i < t->n; i++)
            t->back[i] = (uint16_t)next(t, t->back[i - 1], t->at[i]);
        at += t->n;
    }
    return ERR_OK;
}

void stops_done(struct stops *s)
{
    mem_free(s->bytes);
    mem_free(s->back);
    *s = (struct stops){0};
}

size_t stops_read(struct stops *s, const char *at, size_t n, size_t *found)
{
    *found = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < s->n; k++) {
            struct stop_text *t = &s->text[k];
            t->seen = next(t, t->seen, at[i]);
            if (t->seen == t->n && t->n > *found)
                *found = t->n;
        }
        if (*found)
            return i + 1;
    }
    return n;
}

size_t stops_open(const struct stops *s)
{
    size_t most = 0;
    for (size_t k = 0; k < s->n; k++)
        most = s->text[k].seen > most ? s->text[k].seen : most;
    return most;
}
