/* base64: the test vectors of RFC 4648, and what is not base64. */
#include "model/base/base64.h"
#include "tests/suite.h"

#include <stdlib.h>
#include <string.h>

/* Decodes a copy of exact size into a block of exactly the promised room. */
static bool decode(const char *s, char *out, size_t *n_out)
{
    size_t n = strlen(s);
    char *copy = malloc(n + !n);
    unsigned char *room = malloc(base64_room(n));
    for (size_t i = 0; i < n; i++)
        copy[i] = s[i];
    bool ok = base64_decode(copy, n, room, n_out);
    if (ok)
        memcpy(out, room, *n_out);
    free(copy);
    free(room);
    return ok;
}

START_TEST(known_texts_are_decoded)
{
    static const char *const pairs[][2] = {{"", ""},
                                           {"Zg==", "f"},
                                           {"Zm8=", "fo"},
                                           {"Zm9v", "foo"},
                                           {"Zm9vYg==", "foob"},
                                           {"Zm9vYmE=", "fooba"},
                                           {"Zm9vYmFy", "foobar"},
                                           {"Zg", "f"},
                                           {"Zm8", "fo"},
                                           {"+/+/", "\xfb\xff\xbf"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char got[16];
        size_t n = 99;
        ck_assert_msg(decode(pairs[i][0], got, &n), "%s", pairs[i][0]);
        ck_assert_uint_eq(n, strlen(pairs[i][1]));
        ck_assert_mem_eq(got, pairs[i][1], n);
    }
}
END_TEST

/* Of exact size on both sides. */
START_TEST(bytes_of_any_number_come_back)
{
    static const char *const texts[] = {"",         "Zg==",     "Zm8=",    "Zm9v",
                                        "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    for (size_t n = 0; n < sizeof texts / sizeof *texts; n++) {
        char out[16];
        ck_assert_uint_eq(base64_length(n), strlen(texts[n]));
        base64_encode((const unsigned char *)"foobar", n, out);
        ck_assert_mem_eq(out, texts[n], strlen(texts[n]));
    }
    for (size_t n = 250; n < 260; n++) {
        unsigned char *in = malloc(n), *back = malloc(base64_room(base64_length(n)));
        char *out = malloc(base64_length(n));
        size_t n_back = 0;
        for (size_t i = 0; i < n; i++)
            in[i] = (unsigned char)(i * 7);
        base64_encode(in, n, out);
        ck_assert(base64_decode(out, base64_length(n), back, &n_back));
        ck_assert_uint_eq(n_back, n);
        ck_assert_mem_eq(back, in, n);
        free(in);
        free(out);
        free(back);
    }
    ck_assert_uint_eq(base64_length(SIZE_MAX), 0);
}
END_TEST

START_TEST(what_is_not_base64_is_refused)
{
    static const char *const bad[] = {"Z",     "Zm9vY", "Zh==",     "Zm9=",
                                      "Zm 9v", "Z===",  "====",     "=Zm9",
                                      "Zg=",   "Z-_v",  "Zg==Zg==", "Zm9v\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char got[16];
        size_t n;
        ck_assert_msg(!decode(bad[i], got, &n), "%s", bad[i]);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {known_texts_are_decoded, bytes_of_any_number_come_back,
                                  what_is_not_base64_is_refused, NULL};
    return suite_run("base64", tests, 30);
}
