/* pings.c: which stream wants a comment, and when. */
#include "server/pings.h"
#include "tests/suite.h"

START_TEST(who_waits_longest_is_due_first)
{
    struct pings p = {.every_us = 5000};
    struct ping a = {0}, b = {0}, c = {0};
    ck_assert_int_eq(pings_timeout(&p, 0, 1000), 1000);
    pings_sent(&p, &a, 1000);
    pings_sent(&p, &b, 2000);
    pings_sent(&p, &c, 3000);
    ck_assert_ptr_null(pings_due(&p, 5999));
    ck_assert_int_eq(pings_timeout(&p, 1000, 1000), 5);
    ck_assert_int_eq(pings_timeout(&p, 5999, 1000), 1); /* never too early */
    ck_assert_int_eq(pings_timeout(&p, 1000, 2), 2);
    ck_assert_int_eq(pings_timeout(&p, 9000, 1000), 0);
    ck_assert_ptr_eq(pings_due(&p, 6000), &a);
    pings_sent(&p, &a, 6000);
    ck_assert_ptr_null(pings_due(&p, 6000));
    ck_assert_ptr_eq(pings_due(&p, 7000), &b);
    pings_sent(&p, &b, 6500); /* a part came in between */
    ck_assert_ptr_null(pings_due(&p, 7000));
    ck_assert_ptr_eq(pings_due(&p, 8000), &c);
}
END_TEST

START_TEST(a_stream_leaves_from_anywhere)
{
    struct pings p = {.every_us = 10};
    struct ping all[5] = {{0}};
    static const size_t order[] = {2, 0, 4, 1, 3};
    for (size_t i = 0; i < 5; i++)
        pings_sent(&p, &all[i], 1);
    for (size_t i = 0; i < 5; i++) {
        size_t n = 0;
        pings_remove(&p, &all[order[i]]);
        pings_remove(&p, &all[order[i]]); /* is in none by now */
        for (const struct ping *at = p.first; at; at = at->next, n++)
            ck_assert_ptr_eq(at->next ? at->next->before : p.last, at);
        ck_assert_uint_eq(n, 4 - i);
    }
    ck_assert_ptr_null(p.first);
    ck_assert_ptr_null(p.last);
}
END_TEST

START_TEST(without_a_time_nothing_is_ever_due)
{
    struct pings p = {0};
    struct ping a = {0};
    pings_sent(&p, &a, 1);
    ck_assert_ptr_null(pings_due(&p, UINT64_MAX));
    ck_assert_int_eq(pings_timeout(&p, UINT64_MAX, 7), 7);
    pings_remove(&p, &a);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {who_waits_longest_is_due_first,
                                  a_stream_leaves_from_anywhere,
                                  without_a_time_nothing_is_ever_due, NULL};
    return suite_run("pings", tests, 30);
}
