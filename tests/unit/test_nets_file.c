/* Nets whose files hold 16 bits for a weight, beside the same numbers in files of F32:
 * the same bits of every result, in less memory. */
#include "model/load/dtype.h"
#include "tests/suite.h"
#include "tests/unit/net_models.h"

#include <jansson.h>
#include <stdint.h>
#include <unistd.h>

/* A copy of a folder of one type of 16 bits, with F32. */
struct wide {
    char dir[32];
};

static char *file_bytes(const char *dir, const char *name, size_t *n)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *in = fopen(path, "rb");
    if (!in)
        return NULL;
    ck_assert_int_eq(fseek(in, 0, SEEK_END), 0);
    *n = (size_t)ftell(in);
    rewind(in);
    char *bytes = malloc(*n + 1);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_uint_eq(fread(bytes, 1, *n, in), *n);
    fclose(in);
    return bytes;
}

/* Tells the type that all tensors of a header share, or F32 if they don't; makes them F32
 * of twice the bytes. */
static enum dtype widen_header(json_t *header)
{
    enum dtype shared = DTYPE_F32, one;
    const char *name;
    json_t *t;
    bool any = false;
    json_object_del(header, "__metadata__");
    json_object_foreach(header, name, t)
    {
        json_t *offsets = json_object_get(t, "data_offsets");
        ck_assert(dtype_find(json_string_value(json_object_get(t, "dtype")), &one));
        if (any && one != shared)
            return DTYPE_F32;
        shared = one;
        any = true;
        json_object_set_new(t, "dtype", json_string("F32"));
        for (size_t i = 0; i < 2; i++) {
            json_int_t at = json_integer_value(json_array_get(offsets, i));
            json_array_set_new(offsets, i, json_integer(2 * at));
        }
    }
    return shared;
}

static void write_wide(const struct wide *w, const json_t *header, enum dtype dtype,
                       const char *halves, size_t n)
{
    uint64_t length = json_dumpb(header, NULL, 0, JSON_COMPACT);
    unsigned char *file = malloc(8 + length + 2 * n);
    float *floats = malloc(2 * n + 1);
    ck_assert(file && floats);
    ck_assert_uint_eq(dtype_to_float(dtype, (const unsigned char *)halves, n / 2, floats),
                      n / 2);
    memcpy(file, &length, 8);
    json_dumpb(header, (char *)file + 8, length, JSON_COMPACT);
    memcpy(file + 8 + length, floats, 2 * n);
    fixture_write(w->dir, "model.safetensors", file, 8 + length + 2 * n);
    free(file);
    free(floats);
}

/* False if the folder's weights aren't all F16 or all BF16, in one file. */
static bool wide_new(const char *dir, struct wide *w)
{
    size_t n = 0, config_n = 0;
    char *file = file_bytes(dir, "model.safetensors", &n);
    if (!file)
        return false;
    uint64_t length;
    memcpy(&length, file, 8);
    json_t *header = json_loadb(file + 8, length, 0, NULL);
    enum dtype dtype = widen_header(header);
    if (dtype != DTYPE_F32) {
        char *config = file_bytes(dir, "config.json", &config_n);
        snprintf(w->dir, sizeof w->dir, "/tmp/test_nets_file_XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(w->dir));
        fixture_write(w->dir, "config.json", config, config_n);
        write_wide(w, header, dtype, file + 8 + length, n - 8 - length);
        free(config);
    }
    json_decref(header);
    free(file);
    return dtype != DTYPE_F32;
}

static void wide_remove(const struct wide *w)
{
    static const char *const names[] = {"config.json", "model.safetensors"};
    for (size_t i = 0; i < 2; i++) {
        char path[64];
        snprintf(path, sizeof path, "%s/%s", w->dir, names[i]);
        ck_assert_int_eq(unlink(path), 0);
    }
    ck_assert_int_eq(rmdir(w->dir), 0);
}

static void check_same(const char *dir, const char *wide, const struct kernels *k,
                       enum precision precision)
{
    struct loaded a, b;
    struct texts t;
    loaded_open_as(&a, dir, k, precision);
    loaded_open_as(&b, wide, k, precision);
    random_texts(&a, &t, MIXED, N_MIXED);
    struct net_batch batch = texts_batch(&t);
    enum net_want want = loaded_want(&a);
    float *ya = loaded_run(&a, &batch, want), *yb = loaded_run(&b, &batch, want);
    assert_bits(&a, dir, ya, yb, loaded_floats(&a, &batch, want));
    ck_assert_uint_le(a.net->packed.used + (precision == PRECISION_F32),
                      b.net->packed.used);
    if (precision == PRECISION_F32 && strcmp(k->name, "ref") == 0)
        ck_assert_uint_eq(2 * a.net->packed.used, b.net->packed.used);
    free(ya);
    free(yb);
    loaded_close(&a);
    loaded_close(&b);
}

static size_t compared;

static void check_folder(const char *dir)
{
    struct wide w;
    if (!wide_new(dir, &w))
        return;
    for (const char *const *name = kernels_names(); *name; name++)
        for (enum precision p = PRECISION_F32; p <= PRECISION_INT8; p++)
            check_same(dir, w.dir, kernels_get(*name), p);
    wide_remove(&w);
    compared++;
}

START_TEST(files_of_16_bits_give_the_bits_of_files_of_32)
{
    fixture_each(FOLDERS, 50, check_folder);
    ck_assert_uint_ge(compared, 5);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {files_of_16_bits_give_the_bits_of_files_of_32, NULL};
    return suite_run("nets: files of 16 bits", tests, 120);
}
