/* gzip.c: who takes it, and what becomes of replies. */
#include "server/gzip.h"
#include "tests/suite.h"

#include <string.h>
#include <zlib.h>

#include "model/base/mem.h"

START_TEST(gzip_goes_to_who_takes_it)
{
    static const char *const takers[] = {"gzip",
                                         "GZIP",
                                         "deflate, gzip",
                                         "deflate,gzip;q=0.5",
                                         "gzip;q=1.0, identity; q=0.5",
                                         "gzip ; q=0.001 ",
                                         "*",
                                         "br;q=1.0, *;q=0.1"};
    static const char *const others[] = {"",
                                         "identity",
                                         "deflate, br",
                                         "gzip;q=0",
                                         "gzip;q=0.000",
                                         "*, gzip;q=0",
                                         "*;q=0",
                                         "x-gzip-not, gzipped",
                                         ",,,;=",
                                         "gzip;q="};
    ck_assert(!gzip_accepted(NULL));
    for (size_t i = 0; i < sizeof takers / sizeof *takers; i++)
        ck_assert_msg(gzip_accepted(takers[i]), "%s", takers[i]);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        ck_assert_msg(!gzip_accepted(others[i]), "%s", others[i]);
}
END_TEST

enum { MOST = 200000 };
static char text[MOST], unpacked[MOST];

/* Noise does not get smaller. */
static void fill(size_t n, bool noise)
{
    unsigned long long z = 1;
    for (size_t i = 0; i < n; i++) {
        z = z * 6364136223846793005u + 1442695040888963407u;
        text[i] = noise ? (char)(z >> 56) : "[0.25,0.125],"[i % 13];
    }
}

static struct reply reply_of(size_t n, const char *type)
{
    struct reply r = {.content_type = type};
    buf_put(&r.body, text, n);
    return r;
}

static const char *value_of(const struct reply *r, const char *name)
{
    for (size_t i = 0; i < r->n_headers; i++)
        if (strcmp(r->headers[i].name, name) == 0)
            return r->headers[i].value;
    return "";
}

static void check_packed(const struct reply *r, size_t n)
{
    z_stream z = {.next_in = (unsigned char *)r->body.at,
                  .avail_in = (unsigned)r->body.n,
                  .next_out = (unsigned char *)unpacked,
                  .avail_out = MOST};
    ck_assert_str_eq(value_of(r, "Content-Encoding"), "gzip");
    ck_assert_str_eq(value_of(r, "Vary"), "Accept-Encoding");
    ck_assert_ptr_null(r->fixed);
    ck_assert_uint_lt(r->body.n, n / 4);
    ck_assert_int_eq(inflateInit2(&z, 15 + 16), Z_OK);
    ck_assert_int_eq(inflate(&z, Z_FINISH), Z_STREAM_END);
    inflateEnd(&z);
    ck_assert_uint_eq(MOST - z.avail_out, n);
    ck_assert_mem_eq(unpacked, text, n);
}

static void check_plain(const struct reply *r, size_t n)
{
    ck_assert_str_eq(value_of(r, "Content-Encoding"), "");
    ck_assert_uint_eq(r->body.n, n);
    if (n)
        ck_assert_mem_eq(r->body.at, text, n);
}

START_TEST(text_comes_back_byte_for_byte)
{
    static const size_t sizes[] = {1024, 1025, 65535, 65536, MOST};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        fill(sizes[i], false);
        struct reply r = reply_of(sizes[i], NULL);
        gzip_reply(&r);
        check_packed(&r, sizes[i]);
        reply_done(&r);
        r = (struct reply){.content_type = "text/css; charset=utf-8",
                           .fixed = text,
                           .fixed_n = sizes[i]};
        gzip_reply(&r);
        check_packed(&r, sizes[i]);
        reply_done(&r);
    }
}
END_TEST

START_TEST(what_gains_nothing_stays_as_it_is)
{
    static const struct {
        size_t n;
        const char *type;
        bool noise;
    } cases[] = {{1023, NULL, false},
                 {5000, NULL, true},
                 {5000, "application/octet-stream", false},
                 {5000, "text/event-stream", false},
                 {0, NULL, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fill(cases[i].n, cases[i].noise);
        struct reply r = reply_of(cases[i].n, cases[i].type);
        gzip_reply(&r);
        check_plain(&r, cases[i].n);
        reply_done(&r);
    }
}
END_TEST

START_TEST(without_memory_it_goes_out_plain)
{
    bool struck = true;
    fill(5000, false);
    for (long n = 0; struck; n++) {
        struct reply r = reply_of(5000, NULL);
        mem_fail_after(n);
        gzip_reply(&r);
        struck = !mem_fail_pending();
        mem_fail_after(-1);
        if (struck)
            check_plain(&r, 5000);
        else
            check_packed(&r, 5000);
        reply_done(&r);
        ck_assert_int_lt(n, 20);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        gzip_goes_to_who_takes_it, text_comes_back_byte_for_byte,
        what_gains_nothing_stays_as_it_is, without_memory_it_goes_out_plain, NULL};
    return suite_run("gzip", tests, 30);
}
