/* Which variants this CPU runs, and their tables: each is filled when it is first asked
 * for, in layers. */
#include "model/kernels/kernels.h"

#include "model/kernels/kern.h"

#ifdef __x86_64__
#include <cpuid.h>
#endif
#include <pthread.h>
#include <string.h>

static bool always(void)
{
    return true;
}

#ifdef __x86_64__
/* clang's builtin doesn't know this one. */
static bool has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && c & bit_F16C;
}

/* The builtin also asks the operating system whether it saves the wide registers. */
static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq");
}

static void fill_avx512_int8(struct kernels *k)
{
    if (__builtin_cpu_supports("avx512vnni"))
        kern_avx512_int8_fill(k);
}

static void fill_avx512_bf16(struct kernels *k)
{
    if (__builtin_cpu_supports("avx512bf16"))
        kern_avx512_bf16_fill(k);
}
#endif

/* Best first. Each is the layers below filled in order, the reference before all. */
static const struct variant {
    const char *name;
    bool (*runs_here)(void);
    void (*layers[10])(struct kernels *k); /* up to the first NULL */
} variants[] = {
#ifdef __x86_64__
    {"avx512",
     has_avx512,
     {kern_avx2_fill, kern_avx2_int8_fill, kern_avx2_attention_fill, kern_avx512_fill,
      fill_avx512_bf16, fill_avx512_int8, kern_avx512_cells_fill,
      kern_avx512_attention_fill, kern_avx512_functions_fill}},
    {"avx2", has_avx2, {kern_avx2_fill, kern_avx2_int8_fill, kern_avx2_attention_fill}},
#endif
    {"blas", kern_blas_runs_here, {kern_portable_fill, kern_blas_fill}},
    {"ref", always, {NULL}},
};
enum { N_VARIANTS = sizeof(variants) / sizeof(variants[0]) };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct kernels tables[N_VARIANTS]; /* under lock until filled, then constant */
static bool filled[N_VARIANTS];           /* under lock */

static const struct kernels *table_locked(size_t v)
{
    struct kernels *k = &tables[v];
    if (filled[v])
        return k;
    kern_ref_fill(k);
    kern_int8_fill(k);
    for (size_t i = 0; variants[v].layers[i]; i++)
        variants[v].layers[i](k);
    k->name = variants[v].name;
    filled[v] = true;
    return k;
}

const struct kernels *kernels_get(const char *name)
{
    const struct kernels *found = NULL;
    pthread_mutex_lock(&lock);
    for (size_t v = 0; v < N_VARIANTS && !found; v++)
        if ((!name || !strcmp(variants[v].name, name)) && variants[v].runs_here())
            found = table_locked(v);
    pthread_mutex_unlock(&lock);
    return found;
}

const char *const *kernels_names(void)
{
    static const char *names[N_VARIANTS + 1]; /* under lock until filled, then constant */
    static bool named;                        /* under lock */
    pthread_mutex_lock(&lock);
    for (size_t v = 0, n = 0; v < N_VARIANTS && !named; v++)
        if (variants[v].runs_here())
            names[n++] = variants[v].name;
    named = true;
    pthread_mutex_unlock(&lock);
    return names;
}
