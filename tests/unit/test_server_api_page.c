/* page.c and web/: what is compiled in is what lies in the folder, whole and closed. */
#include "server/api/page.h"
#include "server/gzip.h"
#include "server/web/embed.h"
#include "tests/suite.h"
#include "tests/unit/fixture.h"

#include "model/base/mem.h"

#include <string.h>

enum { PAGE_BYTES = 80000 }; /* as a browser gets it, packed */

static size_t packed_size(const struct embed_file *f)
{
    struct reply r = {.content_type = f->type, .fixed = f->at, .fixed_n = f->n};
    gzip_reply(&r);
    size_t n = r.fixed ? r.fixed_n : r.body.n;
    reply_done(&r);
    return n;
}

START_TEST(every_file_is_compiled_in_as_it_is)
{
    size_t n, total = 0;
    const struct embed_file *list = embed_list(&n);
    for (size_t i = 0; i < n; i++) {
        char *disk = fixture_text("server/web", list[i].name);
        ck_assert_msg(disk != NULL, "%s", list[i].name);
        ck_assert_msg(list[i].n >= strlen(disk) &&
                          memcmp(list[i].at, disk, strlen(disk)) == 0,
                      "%s differs", list[i].name);
        ck_assert_uint_le(list[i].n, strlen(disk) + 1); /* its last newline */
        free(disk);
        total += packed_size(&list[i]);
    }
    ck_assert_uint_ge(n, 3);
    ck_assert_uint_lt(total, PAGE_BYTES);
}
END_TEST

/* The value of every ATTRIBUTE"..." in the file must be a file of ours. */
static void check_links(const struct embed_file *f, const char *attribute,
                        const char *folder)
{
    char *text = mem_copy(f->at, f->n);
    for (const char *p = strstr(text, attribute); p; p = strstr(p, attribute)) {
        p += strlen(attribute);
        size_t n = strcspn(p, "\"");
        if (strncmp(p, folder, strlen(folder)) != 0)
            continue;
        const char *name = p + strlen(folder);
        ck_assert_msg(embed_find(name, n - strlen(folder)) != NULL, "%s: %.*s", f->name,
                      (int)n, p);
    }
    mem_free(text);
}

START_TEST(what_the_files_name_is_there)
{
    size_t n;
    const struct embed_file *list = embed_list(&n);
    const struct embed_file *index = embed_find("index.html", 10);
    ck_assert_ptr_nonnull(index);
    check_links(index, "href=\"", "web/");
    check_links(index, "src=\"", "web/");
    for (size_t i = 0; i < n; i++)
        check_links(&list[i], "from \"", "./");
}
END_TEST

START_TEST(nothing_points_at_another_host)
{
    size_t n;
    const struct embed_file *list = embed_list(&n);
    for (size_t i = 0; i < n; i++) {
        char *text = mem_copy(list[i].at, list[i].n);
        for (const char *p = strstr(text, "//"); p; p = strstr(p + 2, "//"))
            ck_assert_msg(p == text || p[-1] != ':' ||
                              strncmp(p, "//www.w3.org/2000/svg", 21) == 0,
                          "%s: %.40s", list[i].name, p);
        ck_assert_ptr_null(strstr(text, "style=\"")); /* the policy forbids it */
        ck_assert_ptr_null(strstr(text, "onclick=\""));
        mem_free(text);
    }
}
END_TEST

static const char *known_tag; /* what the client says it has */

static const char *header(const struct request *q, const char *name)
{
    (void)q;
    return strcmp(name, "If-None-Match") == 0 ? known_tag : NULL;
}

static unsigned ask(route_fn handle, const char *file, struct reply *r)
{
    struct request q = {.header = header};
    struct answer out = {0};
    struct err err = {0};
    q.args[0] = (struct route_arg){file, strlen(file)};
    ck_assert_int_eq(handle(NULL, &q, &out, &err), ERR_OK);
    *r = out.reply;
    return r->status ? r->status : 200;
}

static const char *reply_value(const struct reply *r, const char *name)
{
    for (size_t i = 0; i < r->n_headers; i++)
        if (strcmp(r->headers[i].name, name) == 0)
            return r->headers[i].value;
    return "";
}

START_TEST(a_known_tag_saves_the_body)
{
    struct reply r;
    known_tag = NULL;
    ck_assert_uint_eq(ask(page_handle, "", &r), 200);
    ck_assert_uint_gt(r.fixed_n, 1000);
    ck_assert_ptr_nonnull(
        strstr(reply_value(&r, "Content-Security-Policy"), "default-src 'none'"));
    char tag[64];
    snprintf(tag, sizeof tag, "%s, \"x\"", reply_value(&r, "ETag"));
    known_tag = tag;
    ck_assert_uint_eq(ask(page_handle, "", &r), 304);
    ck_assert_uint_eq(r.fixed_n, 0);
    ck_assert_uint_eq(ask(page_file_handle, "app.js", &r), 200); /* has another tag */
    ck_assert_ptr_nonnull(strstr(r.content_type, "text/javascript"));
    known_tag = NULL;
    ck_assert_uint_eq(ask(page_file_handle, "app.jsx", &r), 404);
    reply_done(&r);
    ck_assert_uint_eq(ask(page_file_handle, "../page.c", &r), 404);
    reply_done(&r);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        every_file_is_compiled_in_as_it_is, what_the_files_name_is_there,
        nothing_points_at_another_host, a_known_tag_saves_the_body, NULL};
    return suite_run("api_page", tests, 30);
}
