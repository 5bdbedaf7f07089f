#include "model/text/pattern.h"

#include "model/base/mem.h"
#include "model/base/utf8.h"
#include "model/text/regex.h"
#include "model/text/unicode.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

/* An expression first sees FIRST_WINDOW bytes of the text and may take FIRST_STEPS steps;
 * if it asks for more of either, it gets it and starts again. What an attempt may cost at
 * most is the product; the attempts of one call together get MAX_COST, in units of the
 * first one. So no expression takes more than a bounded time per character, while one
 * match over a million characters costs some ten thousand units. */
enum { FIRST_WINDOW = 64, FIRST_STEPS = 512, MAX_COST = 2000000 };
/* When the JIT's 32 KiB of stack don't do. */
enum { MAX_HEAP_KIB = 64 << 10 };

static void *pcre2_alloc(size_t n, void *data)
{
    (void)data;
    return mem_alloc(n, 1);
}

static void pcre2_free(void *block, void *data)
{
    (void)data;
    mem_free(block);
}

static enum err_code no_memory(const char *where, struct err *err)
{
    return err_set(err, ERR_NOMEM, "%s: no memory for a pattern", where);
}

/* A match of nothing would be found everywhere; the library's way with it is not ours. */
static enum err_code check_compiled(const pcre2_code *code, const char *where,
                                    struct err *err)
{
    uint32_t empty = 0;
    pcre2_pattern_info(code, PCRE2_INFO_MATCHEMPTY, &empty);
    if (empty)
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: a pattern that matches nothing at all is "
                       "not served",
                       where);
    return ERR_OK;
}

static enum err_code compile(const char *regex, size_t n, const char *where,
                             pcre2_compile_context *context, pcre2_code **out,
                             struct err *err)
{
    int number = 0;
    PCRE2_SIZE at = 0;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)regex, n,
                                     PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C |
                                         PCRE2_NO_AUTO_CAPTURE | PCRE2_MULTILINE,
                                     &number, &at, context);
    if (!code && number == PCRE2_ERROR_HEAP_FAILED)
        return no_memory(where, err);
    if (!code) {
        unsigned char text[128] = "";
        pcre2_get_error_message(number, text, sizeof text);
        return err_set(err, ERR_FORMAT, "%s: pattern \"%.*s\": %s", where,
                       (int)(n < 120 ? n : 120), regex, (const char *)text);
    }
    enum err_code status = check_compiled(code, where, err);
    if (status != ERR_OK) {
        pcre2_code_free(code);
        return status;
    }
    /* Without a JIT, or memory for it, the interpreter gives the same matches. */
    (void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD);
    *out = code;
    return ERR_OK;
}

static enum err_code compile_regex(const struct plan_text *text, const char *where,
                                   pcre2_code **out, struct err *err)
{
    struct text regex = {0};
    pcre2_general_context *general = NULL;
    pcre2_compile_context *context = NULL;
    enum err_code code = regex_rewrite(text->at, text->n, where, &regex, err);
    if (code != ERR_OK)
        goto out;
    general = pcre2_general_context_create(pcre2_alloc, pcre2_free, NULL);
    context = general ? pcre2_compile_context_create(general) : NULL;
    if (!context) {
        code = no_memory(where, err);
        goto out;
    }
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    code = compile(regex.at, regex.n, where, context, out, err);
out:
    pcre2_compile_context_free(context);
    pcre2_general_context_free(general);
    text_done(&regex);
    return code;
}

enum err_code pattern_init(struct pattern *p, const struct plan_pattern *plan,
                           const char *where, struct err *err)
{
    *p = (struct pattern){0};
    if (!plan->regex) {
        p->literal = mem_copy(plan->text.at, plan->text.n);
        p->n_literal = plan->text.n;
        return p->literal ? ERR_OK : no_memory(where, err);
    }
    p->scan = scan_known(plan->text.at, plan->text.n);
    if (p->scan)
        return ERR_OK;
    pcre2_code *compiled = NULL;
    enum err_code code = compile_regex(&plan->text, where, &compiled, err);
    p->code = compiled;
    return code;
}

void pattern_done(struct pattern *p)
{
    mem_free(p->literal);
    pcre2_code_free(p->code);
    *p = (struct pattern){0};
}

void matcher_done(struct matcher *m)
{
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->context);
    text_done(&m->shown);
    *m = (struct matcher){0};
}

static enum err_code matcher_ready(struct matcher *m, struct err *err)
{
    if (m->data && m->context)
        return ERR_OK;
    pcre2_general_context *general =
        pcre2_general_context_create(pcre2_alloc, pcre2_free, NULL);
    if (general && !m->data)
        m->data = pcre2_match_data_create(1, general);
    if (general && !m->context)
        m->context = pcre2_match_context_create(general);
    pcre2_general_context_free(general);
    if (!m->data || !m->context)
        return no_memory("encoding", err);
    pcre2_set_heap_limit(m->context, MAX_HEAP_KIB);
    m->cost_left = MAX_COST;
    return ERR_OK;
}

static int match_once(const pcre2_code *regex, struct matcher *m, const char *s, size_t n,
                      size_t at, uint32_t options)
{
    options |= PCRE2_NO_UTF_CHECK;
    int rc = pcre2_match(regex, (PCRE2_SPTR)s, n, at, options, m->data, m->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(regex, (PCRE2_SPTR)s, n, at, options | PCRE2_NO_JIT, m->data,
                         m->context);
    return rc;
}

/* The end of a window over s[at..n): whole characters. */
static size_t window_end(const char *s, size_t n, size_t at, size_t window)
{
    if (n - at <= window)
        return n;
    size_t end = at + window;
    while (end < n && ((unsigned char)s[end] & 0xc0) == 0x80)
        end++;
    return end;
}

/* pcre2_match from `at` on, within what is left of the cost. Partial matching tells
 * whether an attempt looked beyond its window; if it did not, more text would have
 * changed nothing. */
static int match_bounded(const pcre2_code *regex, struct matcher *m, const char *s,
                         size_t n, size_t at)
{
    size_t window = FIRST_WINDOW;
    uint32_t steps = FIRST_STEPS;
    for (;;) {
        size_t end = window_end(s, n, at, window);
        pcre2_set_match_limit(m->context, steps);
        int rc = match_once(regex, m, s, end, at, end < n ? PCRE2_PARTIAL_HARD : 0);
        if (rc == PCRE2_ERROR_NOMATCH && end < n) {
            at = end;
            continue;
        }
        if (rc == PCRE2_ERROR_MATCHLIMIT)
            steps *= 8;
        else if (rc == PCRE2_ERROR_PARTIAL)
            window *= 4;
        else
            return rc;
        size_t cost = window / FIRST_WINDOW * (steps / FIRST_STEPS);
        if (cost > m->cost_left)
            return PCRE2_ERROR_MATCHLIMIT;
        m->cost_left -= cost;
    }
}

/* Puts a copy of s[0..n) into m->shown, characters that PCRE2 does not know replaced by
 * others that it should treat alike; leaves it empty if there are none. A character of
 * two bytes is known. */
static enum err_code show(struct matcher *m, const char *s, size_t n, struct err *err)
{
    enum err_code code = ERR_OK;
    size_t length;
    m->shown.n = 0;
    for (size_t at = 0; code == ERR_OK && at < n; at += length) {
        length = 1;
        if ((unsigned char)s[at] < 0xe0)
            continue;
        uint32_t cp = utf8_get(s + at, n - at, &length), other = unicode_stand_in(cp);
        if (other == cp)
            continue;
        if (m->shown.n == 0)
            code = text_add(&m->shown, s, n, err);
        if (code == ERR_OK)
            utf8_put(other, m->shown.at + at);
    }
    return code;
}

static enum err_code find_regex(const pcre2_code *regex, struct matcher *m, const char *s,
                                size_t n, size_t at, bool *found, struct match *out,
                                struct err *err)
{
    enum err_code code = matcher_ready(m, err);
    if (code == ERR_OK && at == 0)
        code = show(m, s, n, err);
    if (code != ERR_OK)
        return code;
    int rc = match_bounded(regex, m, m->shown.n ? m->shown.at : s, n, at);
    if (rc == PCRE2_ERROR_NOMEMORY)
        return no_memory("encoding", err);
    if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
        return err_set(err, ERR_LIMIT,
                       "the tokenizer's pattern takes too many steps on this text");
    *found = rc > 0;
    if (*found) {
        const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(m->data);
        *out = (struct match){ends[0], ends[1]};
        if (out->begin >= out->end)
            return err_set(err, ERR_BUG, "a pattern of the tokenizer matched nothing");
    }
    return ERR_OK;
}

enum err_code pattern_find(const struct pattern *p, struct matcher *m, const char *s,
                           size_t n, size_t at, bool *found, struct match *out,
                           struct err *err)
{
    *found = false;
    if (at >= n)
        return ERR_OK;
    if (p->scan) {
        *found = p->scan(s, n, at, out);
        return ERR_OK;
    }
    if (p->code)
        return find_regex(p->code, m, s, n, at, found, out, err);
    const char *hit = memmem(s + at, n - at, p->literal, p->n_literal);
    if (hit) {
        *found = true;
        *out = (struct match){(size_t)(hit - s), (size_t)(hit - s) + p->n_literal};
    }
    return ERR_OK;
}
