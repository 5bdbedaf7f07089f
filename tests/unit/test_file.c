/* file: only whole regular files, through links too, and nothing else. */
#include "model/base/mem.h"
#include "model/load/file.h"
#include "tests/suite.h"
#include "tests/unit/fixture.h"

#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/test_file_XXXXXX";

static void make_dir(void)
{
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void remove_file(const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    ck_assert_int_eq(remove(path), 0);
}

static void check_refused(const char *name, size_t max_bytes, enum err_code code,
                          const char *msg)
{
    struct file f = {0};
    struct err err = {0};
    ck_assert_int_eq(file_read(dir, name, max_bytes, &f, &err), code);
    ck_assert_str_eq(err.msg, msg);
    ck_assert_ptr_null(f.at);
}

START_TEST(a_file_and_a_link_to_it_are_read_whole)
{
    char link[PATH_MAX];
    make_dir();
    fixture_write(dir, "blob", "a\0b", 3);
    snprintf(link, sizeof link, "%s/model", dir);
    ck_assert_int_eq(symlink("blob", link), 0);
    for (int i = 0; i < 2; i++) {
        struct file f = {0};
        struct err err = {0};
        ck_assert_int_eq(file_read(dir, i ? "model" : "blob", 3, &f, &err), ERR_OK);
        ck_assert_uint_eq(f.n, 3);
        ck_assert_mem_eq(f.at, "a\0b", 3);
        file_done(&f);
        ck_assert_ptr_null(f.at);
    }
    remove_file("model");
    remove_file("blob");
    rmdir(dir);
}
END_TEST

START_TEST(an_empty_file_has_a_pointer)
{
    struct file f = {0};
    struct err err = {0};
    make_dir();
    fixture_write(dir, "empty", "", 0);
    ck_assert_int_eq(file_read(dir, "empty", 0, &f, &err), ERR_OK);
    ck_assert_uint_eq(f.n, 0);
    ck_assert_ptr_nonnull(f.at);
    file_done(&f);
    remove_file("empty");
    rmdir(dir);
}
END_TEST

START_TEST(a_fifo_is_refused_without_waiting)
{
    char path[PATH_MAX];
    make_dir();
    snprintf(path, sizeof path, "%s/fifo", dir);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    check_refused("fifo", 10, ERR_IO, "fifo: want a regular file, found a FIFO");
    remove_file("fifo");
    rmdir(dir);
}
END_TEST

START_TEST(other_things_are_refused)
{
    char path[PATH_MAX], longest[PATH_MAX + 1];
    make_dir();
    snprintf(path, sizeof path, "%s/null", dir);
    ck_assert_int_eq(symlink("/dev/null", path), 0);
    check_refused("null", 10, ERR_IO, "null: want a regular file, found a device");
    remove_file("null");
    snprintf(path, sizeof path, "%s/lost", dir);
    ck_assert_int_eq(symlink("nowhere", path), 0);
    check_refused("lost", 10, ERR_IO,
                  "lost: cannot be opened: No such file or directory");
    ck_assert(file_exists(dir, "lost"));
    remove_file("lost");
    ck_assert(!file_exists(dir, "lost"));
    check_refused(".", 10, ERR_IO, ".: want a regular file, found a folder");
    memset(longest, 'x', PATH_MAX);
    longest[PATH_MAX] = '\0';
    struct file f = {0};
    struct err err = {0};
    ck_assert_int_eq(file_read(longest, "x", 10, &f, &err), ERR_IO);
    ck_assert_str_eq(err.msg, "x: the path is too long");
    rmdir(dir);
}
END_TEST

START_TEST(a_file_over_the_limit_is_refused)
{
    make_dir();
    fixture_write(dir, "big", "12345", 5);
    check_refused("big", 4, ERR_LIMIT, "big: 5 bytes, at most 4 are read");
    remove_file("big");
    rmdir(dir);
}
END_TEST

/* Files of /proc say that they hold 0 bytes and then hold more. */
START_TEST(a_file_that_grows_is_refused)
{
    struct file f = {0};
    struct err err = {0};
    ck_assert_int_eq(file_read("/proc/self", "status", 1 << 20, &f, &err), ERR_IO);
    ck_assert_str_eq(err.msg,
                     "status: changed while it was read: 0 bytes, then more than 0");
}
END_TEST

START_TEST(pieces_are_those_of_the_file_that_was_opened)
{
    struct file_reader r = {0};
    struct err err = {0};
    unsigned char two[2] = {0};
    make_dir();
    fixture_write(dir, "some", "12345", 5);
    ck_assert_int_eq(file_open(dir, "some", 5, &r, &err), ERR_OK);
    ck_assert_uint_eq(r.n, 5);
    remove_file("some");
    fixture_write(dir, "some", "abc", 3);
    ck_assert_int_eq(file_read_part(&r, "some", 3, 2, two, &err), ERR_OK);
    ck_assert_mem_eq(two, "45", 2);
    ck_assert_int_eq(file_read_part(&r, "some", 0, 2, two, &err), ERR_OK);
    ck_assert_mem_eq(two, "12", 2);
    ck_assert_int_eq(file_read_part(&r, "some", 5, 0, two, &err), ERR_OK);
    ck_assert_int_eq(file_check_end(&r, "some", &err), ERR_OK);
    file_close(&r);
    file_close(&r);
    remove_file("some");
    rmdir(dir);
}
END_TEST

START_TEST(a_file_that_shrinks_or_grows_between_pieces_is_refused)
{
    struct file_reader r = {0};
    struct err err = {0};
    unsigned char two[2] = {0};
    char path[PATH_MAX];
    make_dir();
    fixture_write(dir, "some", "12345", 5);
    snprintf(path, sizeof path, "%s/some", dir);
    ck_assert_int_eq(file_open(dir, "some", 5, &r, &err), ERR_OK);
    ck_assert_int_eq(truncate(path, 4), 0);
    ck_assert_int_eq(file_read_part(&r, "some", 3, 2, two, &err), ERR_IO);
    ck_assert_str_eq(err.msg, "some: changed while it was read: 5 bytes, then only 4");
    ck_assert_int_eq(file_check_end(&r, "some", &err), ERR_IO);
    ck_assert_int_eq(truncate(path, 6), 0);
    struct err grown = {0};
    ck_assert_int_eq(file_check_end(&r, "some", &grown), ERR_IO);
    ck_assert_str_eq(grown.msg,
                     "some: changed while it was read: 5 bytes, then more than 5");
    file_close(&r);
    remove_file("some");
    rmdir(dir);
}
END_TEST

START_TEST(no_memory_is_reported)
{
    struct file f = {0};
    struct err err = {0};
    make_dir();
    fixture_write(dir, "some", "12345", 5);
    mem_fail_after(0);
    ck_assert_int_eq(file_read(dir, "some", 5, &f, &err), ERR_NOMEM);
    ck_assert_str_eq(err.msg, "some: no memory for its 5 bytes");
    ck_assert(!mem_fail_pending());
    remove_file("some");
    rmdir(dir);
}
END_TEST

START_TEST(base_names_have_no_folder)
{
    char name[NAME_MAX + 2];
    memset(name, 'x', NAME_MAX + 1);
    name[NAME_MAX + 1] = '\0';
    ck_assert(!file_is_basename(name));
    name[NAME_MAX] = '\0';
    ck_assert(file_is_basename(name));
    ck_assert(file_is_basename("model-00001-of-00002.safetensors"));
    ck_assert(file_is_basename("..."));
    ck_assert(!file_is_basename(""));
    ck_assert(!file_is_basename("."));
    ck_assert(!file_is_basename(".."));
    ck_assert(!file_is_basename("../x"));
    ck_assert(!file_is_basename("/x"));
    ck_assert(!file_is_basename("x/"));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_file_and_a_link_to_it_are_read_whole,
        an_empty_file_has_a_pointer,
        a_fifo_is_refused_without_waiting,
        other_things_are_refused,
        a_file_over_the_limit_is_refused,
        a_file_that_grows_is_refused,
        pieces_are_those_of_the_file_that_was_opened,
        a_file_that_shrinks_or_grows_between_pieces_is_refused,
        no_memory_is_reported,
        base_names_have_no_folder,
        NULL,
    };
    return suite_run("file", tests, 30);
}
