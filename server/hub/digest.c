#include "server/hub/digest.h"

#include <stdio.h>
#include <string.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

enum { SHA1_DIGITS = 40, SHA256_DIGITS = 64 };

bool digest_is_known(const char *etag)
{
    size_t n = strlen(etag);
    return (n == SHA1_DIGITS || n == SHA256_DIGITS) &&
           strspn(etag, "0123456789abcdef") == n;
}

enum err_code digest_begin(struct digest *d, const char *etag, int64_t size,
                           struct err *err)
{
    char head[32];
    gnutls_hash_hd_t state;
    digest_done(d);
    if (!digest_is_known(etag))
        return err_set(err, ERR_UNSUPPORTED, "\"%.80s\" is no hash", etag);
    bool git = strlen(etag) == SHA1_DIGITS;
    if (gnutls_hash_init(&state, git ? GNUTLS_DIG_SHA1 : GNUTLS_DIG_SHA256) < 0)
        return err_set(err, ERR_NOMEM, "out of memory for a hash");
    d->state = state;
    memcpy(d->want, etag, strlen(etag) + 1);
    int n = snprintf(head, sizeof head, "blob %lld", (long long)size);
    if (git)
        digest_add(d, head, (size_t)n + 1);
    return ERR_OK;
}

void digest_add(struct digest *d, const void *bytes, size_t n)
{
    if (gnutls_hash(d->state, bytes, n) < 0)
        d->failed = true;
}

bool digest_matches(struct digest *d)
{
    unsigned char raw[SHA256_DIGITS / 2] = {0};
    char text[SHA256_DIGITS + 1];
    size_t n = strlen(d->want) / 2;
    gnutls_hash_output(d->state, raw);
    for (size_t i = 0; i < n; i++)
        snprintf(text + 2 * i, 3, "%02x", raw[i]);
    bool same = !d->failed && strcmp(text, d->want) == 0;
    digest_done(d);
    return same;
}

void digest_done(struct digest *d)
{
    if (d->state)
        gnutls_hash_deinit(d->state, NULL);
    *d = (struct digest){0};
}
