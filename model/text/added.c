#include "model/text/added.h"

#include "model/base/mem.h"
#include "model/base/utf8.h"
#include "model/text/unicode.h"

enum err_code added_init(struct added *a, size_t bytes, struct err *err)
{
    *a = (struct added){0};
    size_t edges = 16;
    while (edges < 2 * bytes)
        edges *= 2;
    a->mask = edges - 1;
    a->n_nodes = 1;
    a->max_nodes = bytes + 1;
    a->edges = mem_zero(edges, sizeof *a->edges);
    a->ends = mem_alloc(a->max_nodes, sizeof *a->ends);
    if (!a->edges || !a->ends) {
        added_done(a);
        return err_set(err, ERR_NOMEM, "tokenizer.json: no memory for added tokens");
    }
    a->ends[0].id = -1;
    return ERR_OK;
}

void added_done(struct added *a)
{
    mem_free(a->edges);
    mem_free(a->ends);
    *a = (struct added){0};
}

/* The edge out of `node` over `byte`, or the empty slot where it belongs. */
static struct added_edge *find_edge(const struct added *a, size_t node,
                                    unsigned char byte)
{
    uint32_t from = (uint32_t)(node * 256 + byte) + 1;
    size_t at = (from * UINT64_C(0x9e3779b97f4a7c15) >> 32) & a->mask;
    while (a->edges[at].from != 0 && a->edges[at].from != from)
        at = (at + 1) & a->mask;
    return &a->edges[at];
}

void added_put(struct added *a, const char *s, size_t n, struct added_token token)
{
    size_t node = 0;
    a->first[(unsigned char)s[0]] = true;
    for (size_t i = 0; i < n; i++) {
        unsigned char byte = (unsigned char)s[i];
        struct added_edge *e = find_edge(a, node, byte);
        if (e->from == 0) {
            *e = (struct added_edge){(uint32_t)(node * 256 + byte) + 1,
                                     (uint32_t)a->n_nodes};
            a->ends[a->n_nodes++].id = -1;
        }
        node = e->to;
    }
    if (a->ends[node].id < 0)
        a->ends[node] = token;
}

/* The longest token that begins at s: its end, and *token; 0 if there is none. */
static size_t longest(const struct added *a, const char *s, size_t n,
                      const struct added_token **token)
{
    size_t node = 0, end = 0;
    for (size_t i = 0; i < n; i++) {
        const struct added_edge *e = find_edge(a, node, (unsigned char)s[i]);
        if (e->from == 0)
            break;
        node = e->to;
        if (a->ends[node].id >= 0) {
            end = i + 1;
            *token = &a->ends[node];
        }
    }
    return end;
}

/* Where the character before s[at], at > 0, begins. */
static size_t step_back(const char *s, size_t at)
{
    do
        at--;
    while (at > 0 && ((unsigned char)s[at] & 0xc0) == 0x80);
    return at;
}

static unsigned flags_at(const char *s, size_t n, size_t at, size_t *len)
{
    return unicode_flags(utf8_get(s + at, n - at, len));
}

static bool is_single_word(const char *s, size_t n, size_t begin, size_t end)
{
    size_t len;
    if (begin > 0 && (flags_at(s, n, step_back(s, begin), &len) & UNICODE_WORD))
        return false;
    return end == n || !(flags_at(s, n, end, &len) & UNICODE_WORD);
}

/* The blanks before `begin`, but none before `done`; the library lets an earlier token's
 * blanks push the beginning forward, too. */
static size_t strip_left(const char *s, size_t n, size_t begin, size_t done)
{
    size_t len;
    while (begin > done) {
        size_t before = step_back(s, begin);
        if (!(flags_at(s, n, before, &len) & UNICODE_SPACE))
            break;
        begin = before;
    }
    return begin > done ? begin : done;
}

static size_t strip_right(const char *s, size_t n, size_t end)
{
    size_t len;
    while (end < n && (flags_at(s, n, end, &len) & UNICODE_SPACE))
        end += len;
    return end;
}

enum err_code added_split(const struct added *a, const char *s, size_t n, size_t shift,
                          struct pieces *out, struct err *err)
{
    size_t done = 0; /* the end of the last token's piece */
    enum err_code code = ERR_OK;
    for (size_t at = 0; code == ERR_OK && a->n_nodes > 1 && at < n;) {
        const struct added_token *token = NULL;
        size_t length =
            a->first[(unsigned char)s[at]] ? longest(a, s + at, n - at, &token) : 0;
        if (length == 0) {
            at++;
            continue;
        }
        size_t begin = at, end = at + length;
        at = end;
        if (token->single_word && !is_single_word(s, n, begin, end))
            continue;
        if (token->lstrip)
            begin = strip_left(s, n, begin, done);
        if (token->rstrip)
            end = strip_right(s, n, end);
        if (done < begin)
            code = pieces_add(out, shift + done, shift + begin, -1, err);
        if (code == ERR_OK)
            code = pieces_add(out, shift + begin, shift + end, token->id, err);
        done = end;
    }
    if (code == ERR_OK && done < n)
        code = pieces_add(out, shift + done, shift + n, -1, err);
    return code;
}
