/* Fixture: test cases that are folders, one per case, so that adding one needs no C.
 * Included by test programs only. */
#ifndef TESTS_UNIT_FIXTURE_H
#define TESTS_UNIT_FIXTURE_H

#include "model/base/err.h"
#include "model/base/mem.h"

#include <check.h>
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The text of dir/name without closing newlines, NULL if there is no such file. free().
 */
static inline char *fixture_text(const char *dir, const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *in = fopen(path, "rb");
    if (!in)
        return NULL;
    char *text = NULL;
    size_t n = 0, cap = 0, got;
    do {
        cap = cap ? 2 * cap : 4096;
        text = realloc(text, cap);
        ck_assert_ptr_nonnull(text);
        got = fread(text + n, 1, cap - n - 1, in);
        n += got;
    } while (got > 0);
    fclose(in);
    while (n > 0 && text[n - 1] == '\n')
        n--;
    text[n] = '\0';
    return text;
}

/* Calls fn for every folder in dir, of which there must be at least `least`. */
static inline void fixture_each(const char *dir, size_t least,
                                void (*fn)(const char *path))
{
    struct dirent **list = NULL;
    int n = scandir(dir, &list, NULL, alphasort);
    ck_assert_msg(n >= 0, "%s: no such folder (run from the root of the repository)",
                  dir);
    size_t called = 0;
    for (int i = 0; i < n; i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", dir, list[i]->d_name);
        if (list[i]->d_name[0] != '.') {
            fn(path);
            called++;
        }
        free(list[i]);
    }
    free(list);
    ck_assert_msg(called >= least, "%s: %zu cases, want at least %zu", dir, called,
                  least);
}

/* Writes n bytes to dir/name. */
static inline void fixture_write(const char *dir, const char *name, const void *bytes,
                                 size_t n)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *out = fopen(path, "wb");
    ck_assert_ptr_nonnull(out);
    ck_assert_uint_eq(fwrite(bytes, 1, n, out), n);
    ck_assert_int_eq(fclose(out), 0);
}

/* What a loader said of a folder that it must refuse: a part of it stands in dir/expect.
 */
static inline void fixture_refused(const char *dir, enum err_code code,
                                   const struct err *err)
{
    char said[ERR_MSG_BYTES + 32];
    char *expect = fixture_text(dir, "expect");
    ck_assert_msg(expect && *expect, "%s: no expect", dir);
    ck_assert_msg(code != ERR_OK, "%s: was not refused", dir);
    snprintf(said, sizeof said, "%s: %s", err_name(code), err->msg);
    ck_assert_msg(strstr(said, expect), "%s:\n said %s\n want %s", dir, said, expect);
    free(expect);
}

/* Loads, with each allocation failing in turn, until none is left to fail: all of them
 * must be reported, and the last time all is as without faults; leaks are the
 * sanitizer's. */
static inline void fixture_faults(const char *dir,
                                  enum err_code (*load)(const char *dir, struct err *err))
{
    struct err calm = {0};
    enum err_code want = load(dir, &calm);
    bool struck = true;
    for (long n = 0; struck; n++) {
        struct err err = {0};
        ck_assert_int_lt(n, 1000);
        mem_fail_after(n);
        enum err_code code = load(dir, &err);
        struck = !mem_fail_pending();
        mem_fail_after(-1);
        ck_assert_msg(code == (struck ? ERR_NOMEM : want), "%s: allocation %ld: %s", dir,
                      n, err.msg);
        ck_assert_ptr_nonnull(strstr(err.msg, struck ? "memory" : calm.msg));
    }
}

#endif
