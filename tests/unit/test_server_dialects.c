/* README.md against the table of routes: what it promises is there, and what is there is
 * in it. */
#include "tests/suite.h"
#include "tests/unit/fixture.h"

#include "server/api/openapi.h"
#include "server/route.h"
#include "server/server.h"

static char *readme;
static const struct route *routes;
static size_t n_routes;

static void begin(void)
{
    readme = fixture_text(".", "README.md");
    ck_assert_ptr_nonnull(readme);
    routes = api_routes(true, &n_routes);
}

static void end(void)
{
    free(readme);
}

/* ---- routes as README.md writes them --------------------------------------------- */

enum { PATH_BYTES = 160, MOST_ROUTES = 400 };

struct named {
    char method[8], path[PATH_BYTES];
};

/* Those that a piece of README.md names. */
struct names {
    struct named at[MOST_ROUTES];
    size_t n;
};

static bool has(const struct names *names, const char *method, const char *path)
{
    for (size_t i = 0; i < names->n; i++)
        if (strcmp(names->at[i].method, method) == 0 &&
            strcmp(names->at[i].path, path) == 0)
            return true;
    return false;
}

/* "/a[/b]/c" is both, /a/c and /a/b/c. */
static void add_path(struct names *names, const char *method, const char *path)
{
    char without[PATH_BYTES], with[PATH_BYTES];
    const char *open = strchr(path, '['), *close = open ? strchr(open, ']') : NULL;
    if (open) {
        ck_assert_msg(close != NULL, "%s", path);
        snprintf(without, sizeof without, "%.*s%s", (int)(open - path), path, close + 1);
        snprintf(with, sizeof with, "%.*s%.*s%s", (int)(open - path), path,
                 (int)(close - open - 1), open + 1, close + 1);
        add_path(names, method, without);
        add_path(names, method, with);
        return;
    }
    ck_assert_msg(!has(names, method, path), "README.md has %s %s twice", method, path);
    ck_assert_uint_lt(names->n, MOST_ROUTES);
    struct named *to = &names->at[names->n++];
    snprintf(to->method, sizeof to->method, "%s", method);
    snprintf(to->path, sizeof to->path, "%s", path);
}

/* All of `GET /a`, `/b`: one without a method has that of the one in front. */
static void add_spans(struct names *names, const char *from, const char *to)
{
    char method[8] = "";
    while ((from = memchr(from, '`', (size_t)(to - from)))) {
        char span[PATH_BYTES];
        from++;
        const char *close = memchr(from, '`', (size_t)(to - from));
        ck_assert_msg(close && close - from < PATH_BYTES, "%.40s", from);
        snprintf(span, sizeof span, "%.*s", (int)(close - from), from);
        char *path = strchr(span, '/');
        ck_assert_msg(path != NULL, "no path: %s", span);
        if (path > span)
            snprintf(method, sizeof method, "%.*s", (int)(path - span - 1), span);
        add_path(names, method, path);
        from = close + 1;
    }
}

/* The lines of the table below a heading, until the next heading. */
static void add_table(struct names *names, const char *heading)
{
    const char *line = strstr(readme, heading);
    ck_assert_msg(line != NULL, "no %s", heading);
    const char *stop = strstr(line + 1, "\n#");
    while ((line = strstr(line, "\n| `")) && line < stop) {
        const char *cell = strstr(line, " |");
        ck_assert_ptr_nonnull(cell);
        add_spans(names, line + 2, cell);
        line = cell;
    }
}

/* "### POST /v1/states" */
static void add_headings(struct names *names)
{
    for (const char *line = readme; (line = strstr(line, "\n### ")); line++) {
        struct named is;
        if (sscanf(line + 5, "%7s %159s", is.method, is.path) == 2 && *is.path == '/')
            add_path(names, is.method, is.path);
    }
}

static const char DIALECTS[] = "\n## Speaking other servers' languages\n";
static const char REST[] = "\n### The rest\n";

static const struct route *find(const struct named *name)
{
    for (size_t i = 0; i < n_routes; i++)
        if (strcmp(routes[i].method, name->method) == 0 &&
            strcmp(routes[i].path, name->path) == 0)
            return &routes[i];
    return NULL;
}

static void check_all_exist(const struct names *names)
{
    for (size_t i = 0; i < names->n; i++)
        ck_assert_msg(find(&names->at[i]) != NULL, "README.md has %s %s, seqd has not",
                      names->at[i].method, names->at[i].path);
}

/* ---- both ways ------------------------------------------------------------------- */

START_TEST(what_readme_promises_is_routed)
{
    struct names names = {0};
    begin();
    add_table(&names, DIALECTS);
    ck_assert_uint_gt(names.n, 8);
    check_all_exist(&names);
    names.n = 0;
    add_table(&names, REST);
    add_headings(&names);
    ck_assert_uint_gt(names.n, 8);
    check_all_exist(&names);
    end();
}
END_TEST

/* OpenAI's dialect is ours as to errors, so their paths are told by name. */
static bool is_foreign(const struct route *r)
{
    static const char *const openai[] = {"/v1/completions", "/v1/embeddings",
                                         "/v1/models", "/v1/models/{model}"};
    bool foreign = r->dialect != DIALECT_SEQD;
    for (size_t i = 0; i < sizeof openai / sizeof *openai; i++)
        foreign |= strcmp(r->path, openai[i]) == 0;
    for (const struct route_doc *doc = r->doc; doc; doc = doc->other)
        foreign |= doc->dialect != DIALECT_SEQD;
    return foreign;
}

START_TEST(routes_of_other_dialects_are_in_their_table)
{
    struct names names = {0};
    size_t n = 0;
    begin();
    add_table(&names, DIALECTS);
    for (size_t i = 0; i < n_routes; i++) {
        if (!is_foreign(&routes[i]))
            continue;
        n++;
        ck_assert_msg(has(&names, routes[i].method, routes[i].path),
                      "README.md's table of dialects lacks %s %s", routes[i].method,
                      routes[i].path);
    }
    ck_assert_uint_gt(n, 8);
    end();
}
END_TEST

START_TEST(all_routes_are_in_readme)
{
    struct names names = {0}, dialects = {0};
    begin();
    add_table(&names, REST);
    add_headings(&names);
    add_table(&dialects, DIALECTS);
    for (size_t i = 0; i < n_routes; i++)
        ck_assert_msg(!routes[i].summary ||
                          has(&names, routes[i].method, routes[i].path) ||
                          has(&dialects, routes[i].method, routes[i].path),
                      "README.md lacks %s %s", routes[i].method, routes[i].path);
    end();
}
END_TEST

/* Nobody is promised something without a word on what is missing. */
START_TEST(rows_say_what_is_supported_and_what_is_not)
{
    static const char head[] = "\n| route | dialect and clients | supported | not "
                               "supported |\n";
    size_t rows = 0;
    begin();
    const char *line = strstr(readme, DIALECTS);
    const char *stop = strstr(line + 1, "\n## ");
    ck_assert_ptr_nonnull(stop);
    const char *table = strstr(line, head);
    ck_assert(table && table < stop);
    for (line = table; (line = strstr(line, "\n| `")) && line < stop; line++, rows++) {
        size_t cells = 0;
        const char *eol = strchr(line + 1, '\n'), *cell = line + 1;
        for (; (cell = strstr(cell, "| ")) && cell < eol; cell += 2, cells++)
            ck_assert_msg(cell[1 + strspn(cell + 1, " ")] != '|', "an empty cell: %.60s",
                          line + 1);
        ck_assert_msg(cells == 4, "%zu cells: %.60s", cells, line + 1);
    }
    ck_assert_uint_gt(rows, 3);
    end();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        what_readme_promises_is_routed, routes_of_other_dialects_are_in_their_table,
        all_routes_are_in_readme, rows_say_what_is_supported_and_what_is_not, NULL};
    return suite_run("dialects", tests, 60);
}
