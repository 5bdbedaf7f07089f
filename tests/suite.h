/* Suite: the main of a libcheck test program. Each program is one suite, of one case as a
 * rule. */
#ifndef TESTS_SUITE_H
#define TESTS_SUITE_H

#include <check.h>
#include <stdlib.h>

/* Runs a suite, frees it, and prints libcheck's closing line; main returns this. */
static inline int suite_finish(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Runs a NULL-terminated list of tests as suite_finish does. A test may take `timeout_s`
 * seconds (sanitizers make everything slower). */
static inline int suite_run(const char *name, const TTest *const *tests, int timeout_s)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, timeout_s);
    for (; *tests; tests++)
        tcase_add_test(tcase, *tests);
    suite_add_tcase(suite, tcase);
    return suite_finish(suite);
}

#endif
