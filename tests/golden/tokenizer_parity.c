/* The C side of tokenizer_parity.py: encodes and decodes what stdin brings.
 *
 *   tokenizer_parity FOLDER   with FOLDER/tokenizer.json
 *
 * A request is a 32-bit kind and then: 'T' a text, 'P' two texts, 'I' token ids. Each of
 * these is a 32-bit length and that many bytes, or ids. A reply is a 32-bit length and
 * what tokenizer_answers.h makes; or -1, a length and a message. Little endian. */
#include "tests/golden/tokenizer_answers.h"

#include <stdio.h>

static bool read_number(uint32_t *out)
{
    return fread(out, sizeof *out, 1, stdin) == 1;
}

/* `size` bytes each; of exact size, for the sanitizers. mem_free(). */
static void *read_list(size_t size, size_t *n)
{
    uint32_t count;
    if (!read_number(&count))
        return NULL;
    void *list = mem_alloc(count, size);
    if (list && fread(list, size, count, stdin) != count) {
        mem_free(list);
        return NULL;
    }
    *n = count;
    return list;
}

static enum err_code answer_texts(const struct tokenizer *t, bool pair, struct text *out,
                                  struct err *err)
{
    struct bytes texts[2] = {{NULL, 0}, {NULL, 0}};
    enum err_code code = ERR_OK;
    for (size_t i = 0; code == ERR_OK && i < 1 + (size_t)pair; i++) {
        texts[i].at = read_list(1, &texts[i].n);
        if (!texts[i].at)
            code = err_set(err, ERR_IO, "a request is cut off");
        else if (utf8_valid(texts[i].at, texts[i].n) != texts[i].n)
            code = err_set(err, ERR_INPUT, "not UTF-8");
    }
    if (code == ERR_OK)
        code = answer_encode(t, texts, pair, out, err);
    mem_free((char *)texts[0].at);
    mem_free((char *)texts[1].at);
    return code;
}

static enum err_code answer(const struct tokenizer *t, uint32_t kind, struct text *out,
                            struct err *err)
{
    if (kind != 'I')
        return answer_texts(t, kind == 'P', out, err);
    size_t n = 0;
    int32_t *ids = read_list(sizeof *ids, &n);
    enum err_code code = ids ? answer_ids(t, ids, n, out, err)
                             : err_set(err, ERR_IO, "a request is cut off");
    mem_free(ids);
    return code;
}

/* False when stdin has no more requests, or stdout takes no more replies. */
static bool serve(const struct tokenizer *t, struct text *reply)
{
    struct err err = {0};
    uint32_t kind, refused = UINT32_MAX;
    if (!read_number(&kind))
        return false;
    reply->n = 0;
    if (answer(t, kind, reply, &err) != ERR_OK) {
        reply->n = 0;
        struct err other = {0};
        if (fwrite(&refused, sizeof refused, 1, stdout) != 1 ||
            text_add(reply, err.msg, strlen(err.msg), &other) != ERR_OK)
            return false;
    }
    uint32_t n = (uint32_t)reply->n;
    return fwrite(&n, sizeof n, 1, stdout) == 1 &&
           (n == 0 || fwrite(reply->at, 1, n, stdout) == n);
}

int main(int argc, char **argv)
{
    struct err err = {0};
    struct tokenizer *t = NULL;
    struct text reply = {0};
    enum err_code code = argc == 2 ? tokenizer_load(argv[1], &t, &err)
                                   : err_set(&err, ERR_INPUT, "usage: FOLDER");
    if (code != ERR_OK)
        fprintf(stderr, "%s: %s\n", err_name(code), err.msg);
    while (code == ERR_OK && serve(t, &reply))
        continue;
    text_done(&reply);
    tokenizer_free(t);
    return code != ERR_OK;
}
