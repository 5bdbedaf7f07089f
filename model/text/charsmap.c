#include "model/text/charsmap.h"

#include "model/base/mem.h"
#include "model/base/utf8.h"
#include "model/text/grapheme.h"

#include <stdbool.h>
#include <string.h>

static const char where[] = "tokenizer.json: normalizer: precompiled_charsmap";

/* NFKC's own has 46,000. */
enum { MAX_UNITS = 1 << 20 };
/* Clusters of so many bytes and more are taken apart. */
enum { CLUSTER_BYTES = 6 };

/* ---- the trie: a node is the place p that its children's units lie around; the one for
 * byte c is units[p ^ c], and if a key ends at the node its value is units[p] ----------
 */

enum { HAS_LEAF = 1 << 8, LONG_OFFSET = 1 << 9 };
static const uint32_t VALUE_BITS = 0x7fffffff, LABEL_BITS = 0x800000ff;

static size_t offset_of(uint32_t unit)
{
    return (size_t)(unit >> 10) << (unit & LONG_OFFSET ? 8 : 0);
}

/* Goes from the node *at over a byte; *leaf tells whether a key ends there. False if
 * there is no such child. */
static bool step(const struct charsmap *c, size_t *at, unsigned char byte, bool *leaf)
{
    size_t child = *at ^ byte;
    if (child >= c->n_units || (c->units[child] & LABEL_BITS) != byte)
        return false;
    *leaf = c->units[child] & HAS_LEAF;
    *at = child ^ offset_of(c->units[child]);
    return true;
}

static bool begins_character(const struct charsmap *c, size_t at)
{
    return ((unsigned char)c->texts[at] & 0xc0) != 0x80;
}

/* A node that a walk has reached: inside the array, its value inside the texts. */
static bool node_is_sound(const struct charsmap *c, size_t at, bool leaf)
{
    if (at >= c->n_units)
        return false;
    size_t value = c->units[at] & VALUE_BITS;
    return !leaf || (value < c->n_texts && begins_character(c, value));
}

/* Walks through all that can be reached. A node may be reached in several ways. */
static enum err_code check_trie(const struct charsmap *c, struct err *err)
{
    size_t root = offset_of(c->units[0]), n = 0;
    unsigned char *seen = mem_zero(c->n_units, 1);
    uint32_t *open = mem_alloc(c->n_units, sizeof *open);
    bool ok = seen && open, sound = ok && root < c->n_units;
    if (sound) {
        seen[root] = 1;
        open[n++] = (uint32_t)root;
    }
    while (sound && n > 0) {
        size_t node = open[--n];
        for (unsigned byte = 1; sound && byte < 256; byte++) {
            size_t at = node;
            bool leaf;
            if (!step(c, &at, (unsigned char)byte, &leaf))
                continue;
            sound = node_is_sound(c, at, leaf);
            if (sound && !seen[at]) {
                seen[at] = 1;
                open[n++] = (uint32_t)at;
            }
        }
    }
    mem_free(seen);
    mem_free(open);
    if (!ok)
        return err_set(err, ERR_NOMEM, "%s: no memory", where);
    return sound ? ERR_OK : err_set(err, ERR_FORMAT, "%s: its trie leads outside", where);
}

/* What the shortest key that s[0..n) begins with is replaced by; NULL if there is none.
 */
static const char *find(const struct charsmap *c, const char *s, size_t n)
{
    size_t at = offset_of(c->units[0]);
    bool leaf = false;
    for (size_t i = 0; i < n && s[i]; i++) {
        if (!step(c, &at, (unsigned char)s[i], &leaf))
            return NULL;
        if (leaf)
            return c->texts + (c->units[at] & VALUE_BITS);
    }
    return NULL;
}

/* ---- building -------------------------------------------------------------------- */

static uint32_t read_u32(const unsigned char *s)
{
    return (uint32_t)s[0] | (uint32_t)s[1] << 8 | (uint32_t)s[2] << 16 |
           (uint32_t)s[3] << 24;
}

static enum err_code copy(struct charsmap *c, const unsigned char *bytes, size_t n,
                          struct err *err)
{
    if (n < 4 || read_u32(bytes) / 4 > (n - 4) / 4 || read_u32(bytes) < 4)
        return err_set(err, ERR_FORMAT, "%s: its trie is cut off", where);
    c->n_units = read_u32(bytes) / 4;
    if (c->n_units > MAX_UNITS)
        return err_set(err, ERR_LIMIT, "%s: its trie has %zu units, the limit is %d",
                       where, c->n_units, MAX_UNITS);
    const char *texts = (const char *)bytes + 4 + 4 * c->n_units;
    c->n_texts = n - 4 - 4 * c->n_units;
    if (utf8_valid(texts, c->n_texts) != c->n_texts)
        return err_set(err, ERR_FORMAT, "%s: its texts are not UTF-8", where);
    c->units = mem_alloc(c->n_units, sizeof *c->units);
    c->texts = mem_copy(texts, c->n_texts); /* with a zero at the end */
    if (!c->units || !c->texts)
        return err_set(err, ERR_NOMEM, "%s: no memory", where);
    for (size_t i = 0; i < c->n_units; i++)
        c->units[i] = read_u32(bytes + 4 + 4 * i);
    return ERR_OK;
}

enum err_code charsmap_init(struct charsmap *c, const unsigned char *bytes, size_t n,
                            struct err *err)
{
    *c = (struct charsmap){0};
    enum err_code code = copy(c, bytes, n, err);
    if (code == ERR_OK)
        code = check_trie(c, err);
    if (code != ERR_OK)
        charsmap_done(c);
    return code;
}

void charsmap_done(struct charsmap *c)
{
    mem_free(c->units);
    mem_free(c->texts);
    *c = (struct charsmap){0};
}

/* ---- replacing ------------------------------------------------------------------- */

/* One call. The last change waits: what is taken out behind it becomes part of it. */
struct mapper {
    const struct charsmap *map;
    struct aligned_edit edit;
    bool any;
    uint32_t cp; /* the change that waits */
    int32_t change;
    struct err *err;
};

static enum err_code put(struct mapper *m, uint32_t cp, int32_t change)
{
    enum err_code code =
        m->any ? aligned_edit_put(&m->edit, m->cp, m->change, m->err) : ERR_OK;
    m->any = true;
    m->cp = cp;
    m->change = change;
    return code;
}

/* Puts the characters of `text` in the place of `old` characters. With more of them the
 * last are insertions; with less, the last one takes the others' place along. Where the
 * text begins there may be no last one: then what was taken out moves the spans of what
 * follows, as in the library. */
static enum err_code put_text(struct mapper *m, const char *text, size_t old)
{
    size_t n = strlen(text), count = utf8_count(text, n, UTF8_CODE_POINTS), len;
    enum err_code code = ERR_OK;
    for (size_t at = 0, i = 0; code == ERR_OK && at < n; at += len, i++)
        code = put(m, utf8_get(text + at, n - at, &len), i < old ? 0 : 1);
    if (count < old && m->any)
        m->change -= (int32_t)(old - count);
    return code;
}

/* A whole cluster s[0..n) if it is short and known, else its characters. */
static enum err_code put_cluster(struct mapper *m, const char *s, size_t n)
{
    const char *text = n < CLUSTER_BYTES ? find(m->map, s, n) : NULL;
    if (text)
        return put_text(m, text, utf8_count(s, n, UTF8_CODE_POINTS));
    enum err_code code = ERR_OK;
    size_t len;
    for (size_t at = 0; code == ERR_OK && at < n; at += len) {
        uint32_t cp = utf8_get(s + at, n - at, &len);
        text = find(m->map, s + at, len);
        code = text ? put_text(m, text, 1) : put(m, cp, 0);
    }
    return code;
}

enum err_code charsmap_apply(const struct charsmap *c, const struct aligned *in,
                             uint32_t origin, struct aligned *out, struct err *err)
{
    struct mapper m = {
        .map = c, .edit = {.in = in, .out = out, .origin = origin}, .err = err};
    enum err_code code = ERR_OK;
    for (size_t at = 0, end; code == ERR_OK && at < in->n; at = end) {
        bool ascii = (unsigned char)in->s[at] < 0x80 && in->s[at] != '\r' &&
                     (at + 1 == in->n || (unsigned char)in->s[at + 1] < 0x80);
        end = ascii ? at + 1 : grapheme_end(in->s, in->n, at);
        code = put_cluster(&m, in->s + at, end - at);
    }
    return code || !m.any ? code : aligned_edit_put(&m.edit, m.cp, m.change, err);
}
