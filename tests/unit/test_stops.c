/* Stop texts: random texts in random pieces against a plain search. */
#include "model/tasks/stops.h"
#include "tests/suite.h"

#include <string.h>

static uint64_t state = 88172645463325252u;

static size_t below(size_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (size_t)(state >> 33) % n;
}

enum { TEXT = 300, STOP = 8 };

static void fill(char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        s[i] = "ab"[below(2)];
}

/* True if one of the texts ends behind text[0..n); *length of the longest. */
static bool ends_here(const struct seq_stop *stops, size_t n_stops, const char *text,
                      size_t n, size_t *length)
{
    *length = 0;
    for (size_t k = 0; k < n_stops; k++)
        if (stops[k].n <= n && stops[k].n > *length &&
            memcmp(text + n - stops[k].n, stops[k].text, stops[k].n) == 0)
            *length = stops[k].n;
    return *length > 0;
}

/* The longest end of text[0..n) that one of them begins with. */
static size_t open_end(const struct seq_stop *stops, size_t n_stops, const char *text,
                       size_t n)
{
    size_t most = 0;
    for (size_t k = 0; k < n_stops; k++)
        for (size_t m = 1; m < stops[k].n && m <= n; m++)
            if (m > most && memcmp(text + n - m, stops[k].text, m) == 0)
                most = m;
    return most;
}

START_TEST(stops_are_found_as_a_plain_search_finds_them)
{
    size_t found_some = 0, found_none = 0;
    for (size_t round = 0; round < 3000; round++) {
        static char text[TEXT], words[SEQ_STOPS_MAX][STOP];
        struct seq_stop stops[SEQ_STOPS_MAX];
        struct stops s;
        struct err err = {0};
        size_t n_stops = below(round % 2 ? 3 : SEQ_STOPS_MAX) + 1;
        for (size_t k = 0; k < n_stops; k++) {
            stops[k] =
                (struct seq_stop){words[k], round % 5 ? 4 + below(STOP - 3) : STOP};
            fill(words[k], stops[k].n);
        }
        fill(text, TEXT);
        size_t n = round % 2 ? 20 : TEXT, at = 0, found = 0, want = 0, end = 1;
        while (end < n && !ends_here(stops, n_stops, text, end, &want))
            end++;
        ends_here(stops, n_stops, text, end, &want);
        ck_assert_int_eq(stops_init(&s, stops, n_stops, &err), ERR_OK);
        memset(words, '-', sizeof words); /* it has copies */
        while (at < n && !found) {
            size_t some = 1 + below(n - at);
            size_t read = stops_read(&s, text + at, some, &found);
            ck_assert(read == some || (found && read < some));
            at += read;
        }
        ck_assert_uint_eq(found, want);
        ck_assert_uint_eq(at, end);
        found_some += found > 0;
        found_none += found == 0;
        stops_done(&s);
    }
    ck_assert_uint_gt(found_some, 300);
    ck_assert_uint_gt(found_none, 100);
}
END_TEST

START_TEST(what_may_become_a_stop_is_open)
{
    static char text[TEXT], words[3][STOP];
    struct seq_stop stops[3];
    for (size_t round = 0; round < 300; round++) {
        struct stops s;
        struct err err = {0};
        for (size_t k = 0; k < 3; k++) {
            stops[k] = (struct seq_stop){words[k], STOP};
            fill(words[k], STOP);
        }
        fill(text, TEXT);
        ck_assert_int_eq(stops_init(&s, stops, 3, &err), ERR_OK);
        size_t found = 0;
        for (size_t at = 0; at < TEXT && !found; at++) {
            ck_assert_uint_eq(stops_read(&s, text + at, 1, &found), 1);
            if (!found)
                ck_assert_uint_eq(stops_open(&s), open_end(stops, 3, text, at + 1));
        }
        stops_done(&s);
    }
}
END_TEST

START_TEST(no_stop_texts_stop_nothing)
{
    struct stops s;
    struct err err = {0};
    size_t found = 1;
    ck_assert_int_eq(stops_init(&s, NULL, 0, &err), ERR_OK);
    ck_assert_uint_eq(stops_read(&s, "abc", 3, &found), 3);
    ck_assert_uint_eq(found, 0);
    ck_assert_uint_eq(stops_open(&s), 0);
    stops_done(&s);
}
END_TEST

static void refuses(const struct seq_stop *texts, size_t n, const char *part)
{
    struct stops s;
    struct err err = {0};
    ck_assert_int_eq(stops_init(&s, texts, n, &err), ERR_INPUT);
    ck_assert_str_eq(err.param, "stops");
    ck_assert_msg(strstr(err.msg, part), "%s", err.msg);
    stops_done(&s);
}

START_TEST(bad_stop_texts_are_refused)
{
    static char longest[SEQ_STOP_BYTES + 1];
    struct seq_stop many[SEQ_STOPS_MAX + 1];
    struct stops s;
    struct err err = {0};
    memset(longest, 'x', sizeof longest);
    for (size_t i = 0; i <= SEQ_STOPS_MAX; i++)
        many[i] = (struct seq_stop){longest, SEQ_STOP_BYTES};
    refuses(many, SEQ_STOPS_MAX + 1, "17 stop texts");
    ck_assert_int_eq(stops_init(&s, many, SEQ_STOPS_MAX, &err), ERR_OK);
    stops_done(&s);
    refuses(&(struct seq_stop){longest, SEQ_STOP_BYTES + 1}, 1, "257 bytes");
    refuses(&(struct seq_stop){"", 0}, 1, "0 bytes");
    refuses(&(struct seq_stop){"\xc3", 1}, 1, "UTF-8");
    refuses(&(struct seq_stop){"\xa9", 1}, 1, "UTF-8");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        stops_are_found_as_a_plain_search_finds_them, what_may_become_a_stop_is_open,
        no_stop_texts_stop_nothing, bad_stop_texts_are_refused, NULL};
    return suite_run("stops", tests, 60);
}
