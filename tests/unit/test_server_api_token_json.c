/* token_json.c: texts that are no UTF-8 alone, offsets in three units. */
#include "server/api/token_json.h"
#include "tests/suite.h"

#include <string.h>

static void check_text(const char *bytes, size_t n, const char *wanted)
{
    struct json_writer w = {0};
    json_write_object(&w);
    token_json_text(&w, bytes, n);
    json_write_end(&w);
    ck_assert_msg(w.buf.n == strlen(wanted) && memcmp(w.buf.at, wanted, w.buf.n) == 0,
                  "%.*s", (int)w.buf.n, w.buf.at);
    json_write_done(&w);
}

START_TEST(half_a_character_is_shown_as_bytes)
{
    check_text(" mat", 4, "{\"text\":\" mat\"}");
    check_text("", 0, "{\"text\":\"\"}");
    check_text("\xc3\xa9", 2, "{\"text\":\"\xc3\xa9\"}");
    check_text("\xf0\x9f", 2, "{\"text\":null,\"bytes\":\"f09f\"}");
    check_text(" \xa9", 2, "{\"text\":null,\"bytes\":\"20a9\"}");
}
END_TEST

/* Bytes: a 0-1, é 1-3, 漢 3-6, an emoji 6-10, b 10-11. */
static const char TEXT[] = "a\xc3\xa9\xe6\xbc\xa2\xf0\x9f\x98\x80"
                           "b";

static void check_offsets(enum utf8_unit unit, const size_t wanted[6])
{
    static const size_t bytes[] = {0, 1, 3, 6, 10, 11};
    struct token_cursor at = {0};
    for (size_t i = 0; i < 6; i++)
        ck_assert_uint_eq(token_json_offset(&at, TEXT, bytes[i], unit), wanted[i]);
    for (size_t i = 6; i-- > 0;) /* and back again */
        ck_assert_uint_eq(token_json_offset(&at, TEXT, bytes[i], unit), wanted[i]);
}

START_TEST(offsets_count_bytes_code_points_or_utf16_units)
{
    check_offsets(UTF8_BYTES, (const size_t[]){0, 1, 3, 6, 10, 11});
    check_offsets(UTF8_CODE_POINTS, (const size_t[]){0, 1, 2, 3, 4, 5});
    check_offsets(UTF16_UNITS, (const size_t[]){0, 1, 2, 3, 5, 6});
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {half_a_character_is_shown_as_bytes,
                                  offsets_count_bytes_code_points_or_utf16_units, NULL};
    return suite_run("api_token_json", tests, 30);
}
