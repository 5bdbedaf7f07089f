/* Which variants this CPU runs, and their tables: filled once, in layers. */
#include "model/kernels/kernels.h"

#include "model/kernels/kern.h"

#include <pthread.h>
#include <string.h>

static bool always(void)
{
    return true;
}

#ifdef __x86_64__
/* The builtin also asks the operating system whether it saves the wide registers. */
static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
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
#endif

/* Best first. Each is the layers below filled in order, the reference before all. */
static const struct variant {
    bool (*runs_here)(void);
    void (*layers[7])(struct kernels *k); /* up to the first NULL */
} variants[] = {
#ifdef __x86_64__
    {has_avx512,
     {kern_avx2_fill, kern_avx2_int8_fill, kern_avx2_attention_fill, kern_avx512_fill,
      fill_avx512_int8, kern_avx512_attention_fill}},
    {has_avx2, {kern_avx2_fill, kern_avx2_int8_fill, kern_avx2_attention_fill}},
#endif
    {always, {kern_portable_fill, kern_blas_fill}},
    {always, {NULL}},
};
enum { N_VARIANTS = sizeof(variants) / sizeof(variants[0]) };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct kernels tables[N_VARIANTS]; /* those that run here, best first */
static const char *names[N_VARIANTS + 1]; /* of the tables; constant after `once` */
static size_t n_tables;

static void fill_tables(void)
{
    for (size_t v = 0; v < N_VARIANTS; v++) {
        if (!variants[v].runs_here())
            continue;
        struct kernels *k = &tables[n_tables];
        kern_ref_fill(k);
        kern_int8_fill(k);
        for (size_t i = 0; variants[v].layers[i]; i++)
            variants[v].layers[i](k);
        names[n_tables++] = k->name;
    }
}

const struct kernels *kernels_get(const char *name)
{
    pthread_once(&once, fill_tables);
    if (!name)
        return &tables[0];
    for (size_t i = 0; i < n_tables; i++)
        if (!strcmp(tables[i].name, name))
            return &tables[i];
    return NULL;
}

const char *const *kernels_names(void)
{
    pthread_once(&once, fill_tables);
    return names;
}
