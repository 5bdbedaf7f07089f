/* kern_blas: OpenBLAS is loaded for the variant "blas" and for nothing else. Nothing here
 * asks for kernels_names before the tests run, each in a process of its own. */
#include "model/kernels/kernels.h"
#include "tests/suite.h"

#include <stdio.h>
#include <string.h>

static bool is_mapped(const char *library)
{
    char line[4096];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "r");
    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof line, maps))
        found |= strstr(line, library) != NULL;
    fclose(maps);
    return found;
}

START_TEST(openblas_is_loaded_only_for_the_variant_blas)
{
    ck_assert(!is_mapped("openblas"));
    ck_assert_ptr_nonnull(kernels_get("ref"));
    bool best = strcmp(kernels_get(NULL)->name, "blas") == 0;
    ck_assert_int_eq(is_mapped("openblas"), best);
    const struct kernels *k = kernels_get("blas");
    ck_assert_int_eq(is_mapped("openblas"), k != NULL);
}
END_TEST

START_TEST(blas_is_named_where_it_can_be_loaded)
{
    bool named = false;
    for (const char *const *name = kernels_names(); *name; name++)
        named |= strcmp(*name, "blas") == 0;
    ck_assert_int_eq(named, kernels_get("blas") != NULL);
    ck_assert_int_eq(named, is_mapped("openblas"));
}
END_TEST

START_TEST(openblas_stays_single_threaded)
{
    ck_assert(kernels_blas_single_thread());
    ck_assert_int_eq(is_mapped("openblas"), kernels_get("blas") != NULL);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        openblas_is_loaded_only_for_the_variant_blas,
        blas_is_named_where_it_can_be_loaded,
        openblas_stays_single_threaded,
        NULL,
    };
    return suite_run("kernels_blas", tests, 30);
}
