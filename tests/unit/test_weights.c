/* weights and safetensors: folders of tests/fixtures/safetensors (see make.py there), the
 * lookups, and what happens when memory runs out. */
#include "model/base/mem.h"
#include "model/load/safetensors.h"
#include "model/load/weights.h"
#include "tests/suite.h"
#include "tests/unit/fixture.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const VALID = "tests/fixtures/safetensors/valid";
static const char *const INVALID = "tests/fixtures/safetensors/invalid";

static struct weights *open_good(const char *dir)
{
    struct weights *w = NULL;
    struct err err = {0};
    ck_assert_msg(weights_open(dir, &w, &err) == ERR_OK, "%s: %s", dir, err.msg);
    return w;
}

/* Reads up to 4 numbers at *at; moves *at behind them. Returns how many. */
static size_t read_dims(const char **at, size_t dims[4])
{
    size_t n = 0;
    char *end;
    for (; n < 4; n++) {
        unsigned long v = strtoul(*at, &end, 10);
        if (end == *at)
            break;
        dims[n] = v;
        *at = end;
    }
    return n;
}

/* ---- fixtures ---------------------------------------------------------------------- */

/* One line of `expect`: "name dims = bits bits ..." or "name skip". */
static void check_line(struct weights *w, const char *dir, char *line)
{
    char *blank = strchr(line, ' ');
    if (!blank)
        return;
    *blank = '\0';
    const char *at = blank + 1;
    ck_assert_msg(weights_has(w, line), "%s: %s is missing", dir, line);
    if (strcmp(at, "skip") == 0) {
        weights_ignore(w, line);
        return;
    }
    size_t dims[4] = {0}, rank = read_dims(&at, dims), n = 1;
    for (size_t i = 0; i < rank; i++)
        n *= dims[i];
    uint32_t *got = malloc(n * 4 + 1);
    struct err err = {0};
    ck_assert_msg(weights_get(w, line, rank, dims, (float *)got, &err) == ERR_OK,
                  "%s: %s", dir, err.msg);
    ck_assert_uint_eq(weights_rows(w, line), dims[0]);
    at = strchr(at, '=') + 1;
    for (size_t i = 0; i < n; i++) {
        char *end;
        uint32_t want = (uint32_t)strtoul(at, &end, 16);
        ck_assert_msg(end != at && got[i] == want, "%s: %s[%zu]: %08x, want %08x", dir,
                      line, i, got[i], want);
        at = end;
    }
    free(got);
}

static void check_valid(const char *dir)
{
    struct weights *w = open_good(dir);
    struct err err = {0};
    char *expect = fixture_text(dir, "expect"), *rest = expect;
    ck_assert_msg(expect, "%s: no expect", dir);
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n"))
        check_line(w, dir, line);
    ck_assert_msg(weights_finish(w, &err) == ERR_OK, "%s: %s", dir, err.msg);
    free(expect);
    weights_close(w);
}

START_TEST(valid_folders_are_read_bit_for_bit)
{
    fixture_each(VALID, 9, check_valid);
}
END_TEST

/* Opens the folder, asks for what `ask` says, and finishes. */
static enum err_code load(const char *dir, struct err *err)
{
    struct weights *w = NULL;
    enum err_code code = weights_open(dir, &w, err);
    char *ask = fixture_text(dir, "ask"), *rest = ask;
    for (char *line = strsep(&rest, "\n"); line && code == ERR_OK;
         line = strsep(&rest, "\n")) {
        char *blank = strchr(line, ' ');
        if (!blank)
            continue;
        *blank = '\0';
        const char *at = blank + 1;
        float out[256];
        size_t dims[4], rank = read_dims(&at, dims);
        code = weights_get(w, line, rank, dims, out, err);
    }
    free(ask);
    if (code == ERR_OK)
        code = weights_finish(w, err);
    weights_close(w);
    return code;
}

static void check_invalid(const char *dir)
{
    struct err err = {0};
    enum err_code code = load(dir, &err);
    fixture_refused(dir, code, &err);
}

START_TEST(invalid_folders_are_refused_with_their_message)
{
    fixture_each(INVALID, 75, check_invalid);
}
END_TEST

static void check_faults(const char *dir)
{
    fixture_faults(dir, load);
}

START_TEST(every_failing_allocation_is_reported)
{
    fixture_each(VALID, 9, check_faults);
    fixture_each(INVALID, 75, check_faults);
}
END_TEST

/* ---- lookups ----------------------------------------------------------------------- */

struct tensor {
    const char *name, *dtype;
    size_t rows, columns; /* 0 columns: rank 1 */
};

/* Writes a folder with model.safetensors whose data counts up from 1. */
static void make_folder(char *dir, const struct tensor *tensors, size_t n)
{
    char header[2048] = "{", *at = header + 1;
    static unsigned char data[1 << 18], file[sizeof data + sizeof header + 8];
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        const struct tensor *t = &tensors[i];
        bool half = strcmp(t->dtype, "F32") != 0;
        size_t count = t->rows * (t->columns ? t->columns : 1), begin = bytes;
        for (size_t k = 0; k < count; k++) { /* bf16 is the upper half of f32 */
            float value = (float)(k + 1);
            memcpy(data + bytes, (const char *)&value + (half ? 2 : 0), half ? 2 : 4);
            bytes += half ? 2 : 4;
        }
        char columns[24] = "";
        if (t->columns)
            snprintf(columns, sizeof columns, ",%zu", t->columns);
        at += snprintf(at, (size_t)(header + sizeof header - at),
                       "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%zu%s],"
                       "\"data_offsets\":[%zu,%zu]}",
                       i ? "," : "", t->name, t->dtype, t->rows, columns, begin, bytes);
    }
    *at++ = '}';
    uint64_t length = (uint64_t)(at - header);
    memcpy(file, &length, 8);
    memcpy(file + 8, header, length);
    memcpy(file + 8 + length, data, bytes);
    ck_assert_ptr_nonnull(mkdtemp(dir));
    fixture_write(dir, "model.safetensors", file, 8 + length + bytes);
}

static void remove_folder(const char *dir)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(rmdir(dir), 0);
}

START_TEST(prefix_is_used_if_any_tensor_has_it)
{
    static const struct tensor with[] = {
        {"bert.a", "F32", 2, 0}, {"a", "F32", 3, 0}, {"head", "F32", 4, 0}};
    static const struct tensor without[] = {{"a", "F32", 3, 0}, {"head", "F32", 4, 0}};
    char one[] = "/tmp/test_weights_XXXXXX", two[] = "/tmp/test_weights_XXXXXX";
    make_folder(one, with, 3);
    make_folder(two, without, 2);
    struct weights *w = open_good(one);
    weights_prefix(w, "bert.");
    ck_assert_uint_eq(weights_rows(w, "a"), 2);
    ck_assert(!weights_has(w, "head"));
    ck_assert(!weights_has(w, "bert.a"));
    weights_prefix(w, "");
    ck_assert_uint_eq(weights_rows(w, "a"), 3);
    ck_assert_uint_eq(weights_rows(w, "head"), 4);
    weights_prefix(w, "bertram."); /* longer than a name, beginning alike */
    ck_assert_uint_eq(weights_rows(w, "a"), 3);
    weights_close(w);
    w = open_good(two);
    weights_prefix(w, "bert.");
    ck_assert_uint_eq(weights_rows(w, "a"), 3);
    ck_assert_uint_eq(weights_rows(w, "b"), 0);
    weights_close(w);
    remove_folder(one);
    remove_folder(two);
}
END_TEST

START_TEST(parts_are_those_of_the_whole)
{
    static const struct tensor tensors[] = {{"x", "BF16", 1, 0}, {"m", "BF16", 9, 7}};
    const size_t shape[2] = {9, 7}, turned[2] = {7, 9};
    char dir[] = "/tmp/test_weights_XXXXXX";
    float whole[63], part[63];
    struct err err = {0};
    make_folder(dir, tensors, 2);
    struct weights *w = open_good(dir);
    ck_assert_int_eq(weights_get(w, "m", 2, shape, whole, &err), ERR_OK);
    for (size_t i = 0; i < 63; i++)
        ck_assert(whole[i] == (float)(i + 1));
    const struct weights_tensor *t = NULL;
    ck_assert_int_eq(weights_find(w, "m", 2, shape, &t, &err), ERR_OK);
    for (size_t first = 0; first <= 63; first++) {
        for (size_t last = first; last <= 63; last++) {
            ck_assert_int_eq(weights_read(t, first, last - first, part, &err), ERR_OK);
            ck_assert_mem_eq(part, whole + first, (last - first) * sizeof *part);
        }
    }
    ck_assert_int_eq(weights_find(w, "m", 2, turned, &t, &err), ERR_MISMATCH);
    ck_assert_str_eq(err.msg,
                     "model.safetensors: tensor m: shape [9,7], config.json wants "
                     "[7,9]");
    weights_close(w);
    remove_folder(dir);
}
END_TEST

/* The element is counted from the start of the tensor, and only what is read is checked.
 */
START_TEST(parts_with_nan_are_refused_by_element)
{
    const char header[] = "{\"m\":{\"dtype\":\"F32\",\"shape\":[3,2],"
                          "\"data_offsets\":[0,24]}}";
    const size_t shape[2] = {3, 2};
    char dir[] = "/tmp/test_weights_XXXXXX", file[256];
    float data[6] = {1, 2, 3, 4, 5, 0}, out[4];
    uint64_t length = sizeof header - 1;
    uint32_t nan = 0x7fc00000;
    struct err err = {0};
    memcpy(data + 5, &nan, 4);
    memcpy(file, &length, 8);
    memcpy(file + 8, header, length);
    memcpy(file + 8 + length, data, sizeof data);
    ck_assert_ptr_nonnull(mkdtemp(dir));
    fixture_write(dir, "model.safetensors", file, 8 + length + sizeof data);
    struct weights *w = open_good(dir);
    const struct weights_tensor *t = NULL;
    ck_assert_int_eq(weights_find(w, "m", 2, shape, &t, &err), ERR_OK);
    ck_assert_int_eq(weights_read(t, 0, 4, out, &err), ERR_OK);
    ck_assert_int_eq(weights_read(t, 2, 4, out, &err), ERR_FORMAT);
    ck_assert_str_eq(err.msg,
                     "model.safetensors: tensor m: element 5 is NaN or infinite");
    weights_close(w);
    remove_folder(dir);
}
END_TEST

/* 40,000 elements are read in several stretches. */
START_TEST(a_file_that_changes_meanwhile_is_refused)
{
    static const struct tensor tensors[] = {{"m", "F32", 200, 200}};
    const size_t shape[2] = {200, 200};
    const struct weights_tensor *t = NULL;
    char dir[] = "/tmp/test_weights_XXXXXX", path[64];
    float *out = malloc(40000 * sizeof *out);
    struct err err = {0};
    make_folder(dir, tensors, 1);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    struct weights *w = open_good(dir);
    ck_assert_int_eq(weights_find(w, "m", 2, shape, &t, &err), ERR_OK);
    ck_assert_int_eq(weights_read(t, 0, 40000, out, &err), ERR_OK);
    ck_assert_int_eq(weights_check_end(w, &err), ERR_OK);
    for (size_t i = 0; i < 40000; i++)
        ck_assert(out[i] == (float)(i + 1));
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    struct timespec times[2] = {st.st_atim, st.st_mtim};
    times[1].tv_nsec ^= 1;
    ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
    ck_assert_int_eq(weights_check_end(w, &err), ERR_IO);
    ck_assert_str_eq(err.msg, "model.safetensors: changed while it was read: it was "
                              "written");
    ck_assert_int_eq(truncate(path, st.st_size - 4), 0);
    ck_assert_int_eq(weights_read(t, 0, 39999, out, &err), ERR_OK);
    ck_assert_int_eq(weights_read(t, 39000, 1000, out, &err), ERR_IO);
    ck_assert_ptr_nonnull(
        strstr(err.msg, "model.safetensors: changed while it was read: "));
    ck_assert_int_eq(weights_check_end(w, &err), ERR_IO);
    /* Another file of the name is nobody's business. */
    ck_assert_int_eq(remove(path), 0);
    ck_assert_int_eq(weights_read(t, 0, 1000, out, &err), ERR_OK);
    weights_close(w);
    rmdir(dir);
    free(out);
}
END_TEST

START_TEST(totals_count_what_was_used)
{
    static const struct tensor tensors[] = {
        {"a", "F32", 2, 3}, {"b", "BF16", 5, 0}, {"h.attn.bias", "BF16", 4, 4}};
    const size_t a[2] = {2, 3}, b[1] = {5};
    char dir[] = "/tmp/test_weights_XXXXXX";
    float out[6];
    struct err err = {0}, first = {0};
    make_folder(dir, tensors, 3);
    struct weights *w = open_good(dir);
    ck_assert_str_eq(weights_dtype(w), "none");
    ck_assert_uint_eq(weights_params(w), 0);
    ck_assert_int_eq(weights_get(w, "b", 1, b, out, &err), ERR_OK);
    ck_assert_int_eq(weights_get(w, "b", 1, b, out, &err),
                     ERR_OK); /* twice counts once */
    ck_assert_str_eq(weights_dtype(w), "BF16");
    ck_assert_uint_eq(weights_params(w), 5);
    ck_assert_uint_eq(weights_bytes(w), 10);
    ck_assert_int_eq(weights_finish(w, &first), ERR_MISMATCH);
    ck_assert_ptr_nonnull(strstr(first.msg, "tensor a [2,3]"));
    const struct weights_tensor *t = NULL;
    ck_assert_int_eq(weights_find(w, "a", 2, a, &t, &err), ERR_OK);
    ck_assert_str_eq(weights_dtype(w), "mixed");
    ck_assert_uint_eq(weights_params(w), 11);
    ck_assert_uint_eq(weights_bytes(w), 34);
    weights_ignore(w, ".attn.bias");
    ck_assert_uint_eq(weights_params(w), 11);
    ck_assert_int_eq(weights_finish(w, &err), ERR_OK);
    weights_close(w);
    remove_folder(dir);
}
END_TEST

/* Names in no order of any kind; each tensor holds its own number. */
START_TEST(thousands_of_tensors_are_found)
{
    enum { N = 5000 };
    char dir[] = "/tmp/test_weights_XXXXXX", name[32];
    size_t room = 8 + 100 * N, used = 8;
    char *file = malloc(room + 4 * N);
    const size_t shape[1] = {1};
    struct err err = {0};
    for (unsigned i = 0; i < N; i++)
        used += (size_t)snprintf(file + used, room - used,
                                 "%s\"%u.w\":{\"dtype\":\"F32\",\"shape\":[1],"
                                 "\"data_offsets\":[%u,%u]}",
                                 i ? "," : "{", i * 7919 % N, 4 * i, 4 * i + 4);
    file[used++] = '}';
    uint64_t length = used - 8;
    memcpy(file, &length, 8);
    for (unsigned i = 0; i < N; i++) {
        float value = (float)(i * 7919 % N);
        memcpy(file + used + 4 * (size_t)i, &value, 4);
    }
    ck_assert_ptr_nonnull(mkdtemp(dir));
    fixture_write(dir, "model.safetensors", file, used + 4 * (size_t)N);
    free(file);
    struct weights *w = open_good(dir);
    for (unsigned i = 0; i < N; i++) {
        float value = -1;
        snprintf(name, sizeof name, "%u.w", i);
        ck_assert_int_eq(weights_get(w, name, 1, shape, &value, &err), ERR_OK);
        ck_assert(value == (float)i);
    }
    ck_assert(!weights_has(w, "5000.w"));
    ck_assert_int_eq(weights_finish(w, &err), ERR_OK);
    ck_assert_uint_eq(weights_params(w), N);
    weights_close(w);
    remove_folder(dir);
}
END_TEST

START_TEST(shape_is_written_whole)
{
    char buf[SAFETENSORS_SHAPE_BYTES];
    size_t shape[SAFETENSORS_RANK];
    for (size_t i = 0; i < SAFETENSORS_RANK; i++)
        shape[i] = SIZE_MAX;
    safetensors_shape(shape, SAFETENSORS_RANK, buf);
    ck_assert_uint_eq(strlen(buf), 20 * SAFETENSORS_RANK + SAFETENSORS_RANK - 1 + 2);
    ck_assert_str_eq(safetensors_shape(shape, 0, buf), "[]");
}
END_TEST

START_TEST(closing_nothing_is_fine)
{
    struct safetensors s = {0};
    weights_close(NULL);
    safetensors_done(&s);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        valid_folders_are_read_bit_for_bit,
        invalid_folders_are_refused_with_their_message,
        every_failing_allocation_is_reported,
        prefix_is_used_if_any_tensor_has_it,
        parts_are_those_of_the_whole,
        parts_with_nan_are_refused_by_element,
        a_file_that_changes_meanwhile_is_refused,
        totals_count_what_was_used,
        thousands_of_tensors_are_found,
        shape_is_written_whole,
        closing_nothing_is_fine,
        NULL,
    };
    return suite_run("weights", tests, 120);
}
