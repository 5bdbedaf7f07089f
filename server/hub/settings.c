#include "server/hub/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* The value of a variable, NULL if it is not set or empty. */
static const char *lookup(char *const *env, const char *name)
{
    size_t n = strlen(name);
    for (; env && *env; env++)
        if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
            return (*env)[n + 1] ? *env + n + 1 : NULL;
    return NULL;
}

static bool is_true(const char *value)
{
    return value && (strcmp(value, "1") == 0 || strcasecmp(value, "on") == 0 ||
                     strcasecmp(value, "yes") == 0 || strcasecmp(value, "true") == 0);
}

/* value/tail ("" = none), with a "~" in front of value replaced. */
static enum err_code set_path(char *const *env, const char *value, const char *tail,
                              char out[PATH_MAX], struct err *err)
{
    const char *home = "";
    if (value[0] == '~' && (value[1] == '/' || !value[1])) {
        home = lookup(env, "HOME");
        value++;
        if (!home)
            return err_set(err, ERR_INPUT,
                           "neither HF_HOME nor HOME is set: where is the hub's cache?");
    }
    int n = snprintf(out, PATH_MAX, "%s%s%s%s", home, value, *tail ? "/" : "", tail);
    if (n < 0 || n >= PATH_MAX)
        return err_set(err, ERR_INPUT, "%.120s...: this path is too long", value);
    return ERR_OK;
}

/* $HF_HOME/tail */
static enum err_code set_home_path(char *const *env, const char *tail, char out[PATH_MAX],
                                   struct err *err)
{
    const char *value;
    char below[64];
    if ((value = lookup(env, "HF_HOME")))
        return set_path(env, value, tail, out, err);
    value = lookup(env, "XDG_CACHE_HOME");
    snprintf(below, sizeof below, "huggingface/%s", tail);
    return set_path(env, value ? value : "~/.cache", below, out, err);
}

enum err_code settings_cache(char *const *env, char out[PATH_MAX], struct err *err)
{
    const char *value = lookup(env, "HF_HUB_CACHE");
    if (!value)
        value = lookup(env, "HUGGINGFACE_HUB_CACHE");
    return value ? set_path(env, value, "", out, err)
                 : set_home_path(env, "hub", out, err);
}

/* ---- the hub --------------------------------------------------------------------- */

static enum err_code set_endpoint(const char *value, struct settings *s, struct err *err)
{
    size_t n = strlen(value);
    while (n > 0 && value[n - 1] == '/')
        n--;
    if (n >= sizeof s->endpoint || strcspn(value, "?#@ \t\r\n") < n ||
        (strncasecmp(value, "http://", 7) != 0 && strncasecmp(value, "https://", 8) != 0))
        return err_set(err, ERR_INPUT,
                       "HF_ENDPOINT: want a URL like https://huggingface.co, found "
                       "\"%.120s\"",
                       value);
    memcpy(s->endpoint, value, n);
    s->endpoint[n] = '\0';
    return ERR_OK;
}

/* Goes into a header: printable, no blanks but around it. */
static enum err_code set_token(const char *value, const char *where, struct settings *s,
                               struct err *err)
{
    value += strspn(value, " \t\r\n");
    size_t n = strcspn(value, " \t\r\n");
    bool plain = value[n + strspn(value + n, " \t\r\n")] == '\0';
    for (size_t i = 0; i < n; i++)
        plain = plain && value[i] > ' ' && value[i] < 127;
    if (!plain || n >= sizeof s->token)
        return err_set(err, ERR_INPUT, "%s holds no token of the hub", where);
    memcpy(s->token, value, n);
    s->token[n] = '\0';
    return ERR_OK;
}

/* The token that a login has left. No file is no token. */
static enum err_code read_token(const char *path, struct settings *s, struct err *err)
{
    char text[SETTINGS_TOKEN_BYTES + 16];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return ERR_OK;
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    int why = errno;
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return err_set(err, ERR_IO, "%s: %s", path, strerror(why));
    text[n] = '\0';
    return set_token(text, path, s, err);
}

static enum err_code find_token(char *const *env, struct settings *s, struct err *err)
{
    static const char *const names[] = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"};
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = lookup(env, names[i]);
        if (value)
            return set_token(value, names[i], s, err);
    }
    const char *file = lookup(env, "HF_TOKEN_PATH");
    enum err_code code = file ? set_path(env, file, "", path, err)
                              : set_home_path(env, "token", path, err);
    return code == ERR_OK ? read_token(path, s, err) : code;
}

/* Certificates of a company's own authority, as other programs are told of them. */
static enum err_code find_authorities(char *const *env, struct settings *s,
                                      struct err *err)
{
    static const char *const names[] = {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
                                        "SSL_CERT_FILE"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = lookup(env, names[i]);
        if (value)
            return set_path(env, value, "", s->ca_file, err);
    }
    return ERR_OK;
}

enum err_code settings_read(char *const *env, struct settings *out, struct err *err)
{
    struct settings s = {0};
    const char *endpoint = lookup(env, "HF_ENDPOINT");
    enum err_code code =
        set_endpoint(endpoint ? endpoint : "https://huggingface.co", &s, err);
    if (code == ERR_OK)
        code = find_token(env, &s, err);
    if (code == ERR_OK)
        code = find_authorities(env, &s, err);
    if (code == ERR_OK)
        code = settings_cache(env, s.cache, err);
    s.offline = is_true(lookup(env, "HF_HUB_OFFLINE"));
    if (code == ERR_OK)
        *out = s;
    return code;
}
