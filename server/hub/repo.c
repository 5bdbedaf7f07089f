#include "server/hub/repo.h"

#include <string.h>

static const char LETTERS[] = "abcdefghijklmnopqrstuvwxyz"
                              "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/* One of the two parts, n bytes. */
static bool part_is_valid(const char *part, size_t n)
{
    if (n == 0 || n >= REPO_NAME_BYTES)
        return false;
    for (size_t i = 0; i < n; i++) {
        bool edge = i == 0 || i == n - 1;
        if (!part[i] || (!strchr(LETTERS, part[i]) && part[i] != '_' &&
                         (edge || (part[i] != '-' && part[i] != '.'))))
            return false;
        if (i > 0 && part[i] == part[i - 1] && (part[i] == '-' || part[i] == '.'))
            return false;
    }
    return n < 4 || memcmp(part + n - 4, ".git", 4) != 0;
}

/* One part of a revision between slashes, n bytes: git-check-ref-format's rules. */
static bool ref_part_is_valid(const char *part, size_t n)
{
    if (n == 0 || part[0] == '.' || part[0] == '-' || part[n - 1] == '.')
        return false;
    for (size_t i = 0; i < n; i++)
        if (part[i] <= ' ' || part[i] >= 127 || strchr("~^:?*[\\\"'<>|%#&;$`", part[i]) ||
            (i > 0 && part[i] == '.' && part[i - 1] == '.') ||
            (i > 0 && part[i] == '{' && part[i - 1] == '@'))
            return false;
    return n < 5 || memcmp(part + n - 5, ".lock", 5) != 0;
}

enum err_code repo_set_revision(struct repo *r, const char *revision, struct err *err)
{
    size_t n = strlen(revision);
    const char *part = revision;
    bool valid = n < sizeof r->revision;
    while (valid) {
        size_t k = strcspn(part, "/");
        valid = ref_part_is_valid(part, k);
        if (!part[k])
            break;
        part += k + 1;
    }
    if (!valid)
        return err_set(err, ERR_INPUT,
                       "\"%.80s\" is no revision: want a branch, a tag or a commit",
                       revision);
    memcpy(r->revision, revision, n + 1);
    return ERR_OK;
}

enum err_code repo_parse(const char *text, struct repo *out, struct err *err)
{
    struct repo r = {0};
    size_t n = strcspn(text, "@"), org = strcspn(text, "/");
    size_t name = org < n ? n - org - 1 : 0;
    if (org >= n || n > REPO_NAME_BYTES - 1 || !part_is_valid(text, org) ||
        !part_is_valid(text + org + 1, name))
        return err_set(err, ERR_INPUT,
                       "\"%.120s\" is no name of a repository: want ORG/NAME or "
                       "ORG/NAME@REVISION, of letters, digits, '-', '_' and '.'",
                       text);
    memcpy(r.org, text, org);
    memcpy(r.name, text + org + 1, name);
    if (repo_set_revision(&r, text[n] ? text + n + 1 : "main", err) != ERR_OK)
        return err->code;
    *out = r;
    return ERR_OK;
}

bool repo_is_commit(const char *text)
{
    return strlen(text) == REPO_COMMIT_BYTES - 1 &&
           strspn(text, "0123456789abcdef") == REPO_COMMIT_BYTES - 1;
}
