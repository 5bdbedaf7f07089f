#include "server/api/oip_tensor.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    size_t bytes; /* of an element, 0: they differ */
} DATATYPES[] = {[OIP_BYTES] = {"BYTES", 0},
                 [OIP_FP32] = {"FP32", 4},
                 [OIP_INT64] = {"INT64", 8},
                 [OIP_FP16] = {"FP16", 2}};

enum { LENGTH_BYTES = 4 };

const char *oip_datatype_name(enum oip_datatype t)
{
    return DATATYPES[t].name;
}

/* ---- filling --------------------------------------------------------------------- */

void oip_put_text(struct oip_tensor *t, const char *at, size_t n)
{
    uint32_t length = (uint32_t)n;
    buf_put(&t->data, (const char *)&length, sizeof length);
    buf_put(&t->data, at, n);
}

void oip_put_float(struct oip_tensor *t, float x)
{
    buf_put(&t->data, (const char *)&x, sizeof x);
}

void oip_put_int(struct oip_tensor *t, int64_t x)
{
    buf_put(&t->data, (const char *)&x, sizeof x);
}

/* ---- classification -------------------------------------------------------------- */

static float float_at(const char *row, size_t i)
{
    float x;
    memcpy(&x, row + i * sizeof x, sizeof x);
    return x;
}

/* Which element of the row comes behind `last` in the order of size, the largest if
 * `last` is n. */
static size_t next_largest(const char *row, size_t n, size_t last)
{
    size_t best = n;
    for (size_t i = 0; i < n; i++) {
        float x = float_at(row, i), of_last = last < n ? float_at(row, last) : 0;
        bool behind = last == n || x < of_last || (x == of_last && i > last);
        if (behind && (best == n || x > float_at(row, best)))
            best = i;
    }
    return best;
}

void oip_classify(struct oip_tensor *t, size_t most, const char *const *labels)
{
    size_t n = t->shape[1];
    struct oip_tensor texts = *t;
    texts.datatype = OIP_BYTES;
    texts.shape[1] = most < n ? most : n;
    texts.data = (struct buf){.failed = t->data.failed};
    for (size_t r = 0; r < t->shape[0] && !texts.data.failed; r++) {
        const char *row = t->data.at + r * n * sizeof(float);
        size_t at = n;
        for (size_t k = 0; k < texts.shape[1]; k++) {
            char number[80];
            struct buf text = {0};
            at = next_largest(row, n, at);
            snprintf(number, sizeof number, "%f:%zu:", (double)float_at(row, at), at);
            buf_puts(&text, number);
            buf_puts(&text, labels[at]);
            texts.data.failed |= text.failed;
            oip_put_text(&texts, text.at, text.n);
            buf_done(&text);
        }
    }
    buf_done(&t->data);
    *t = texts;
}

/* ---- writing --------------------------------------------------------------------- */

static void write_data(struct json_writer *w, const struct oip_tensor *t)
{
    size_t bytes = DATATYPES[t->datatype].bytes;
    json_write_array(w);
    for (size_t at = 0; at < t->data.n; at += bytes) {
        const char *from = t->data.at + at;
        uint32_t length;
        int64_t value;
        switch (t->datatype) {
        case OIP_BYTES:
            memcpy(&length, from, sizeof length);
            json_write_text(w, from + LENGTH_BYTES, length);
            bytes = LENGTH_BYTES + length;
            break;
        case OIP_FP32:
            json_write_float(w, float_at(from, 0));
            break;
        case OIP_INT64:
            memcpy(&value, from, sizeof value);
            json_write_int(w, value);
            break;
        case OIP_FP16: /* refused before */
            break;
        }
    }
    json_write_end(w);
}

void oip_tensor_write(struct json_writer *w, const struct oip_tensor *t)
{
    json_write_object(w);
    json_write_key_string(w, "name", t->name);
    json_write_key_string(w, "datatype", oip_datatype_name(t->datatype));
    json_write_key(w, "shape");
    json_write_array(w);
    for (size_t i = 0; i < t->rank; i++)
        json_write_uint(w, t->shape[i]);
    json_write_end(w);
    if (t->binary) {
        json_write_key(w, "parameters");
        json_write_object(w);
        json_write_key_uint(w, "binary_data_size", t->data.n);
        json_write_end(w);
    } else {
        json_write_key(w, "data");
        write_data(w, t);
    }
    json_write_end(w);
}

/* ---- reading --------------------------------------------------------------------- */

/* How many elements there are; SIZE_MAX if the last is cut off. */
static size_t count_elements(const char *at, size_t n)
{
    size_t count = 0;
    while (n) {
        uint32_t length;
        if (n < LENGTH_BYTES)
            return SIZE_MAX;
        memcpy(&length, at, sizeof length);
        if (length > n - LENGTH_BYTES)
            return SIZE_MAX;
        at += LENGTH_BYTES + (size_t)length;
        n -= LENGTH_BYTES + (size_t)length;
        count++;
    }
    return count;
}

enum err_code oip_read_bytes(const char *name, const char *at, size_t n,
                             struct json_text **out, size_t *count, struct err *err)
{
    size_t elements = count_elements(at, n);
    if (elements == SIZE_MAX)
        return err_param(err, ERR_FORMAT, name,
                         "input \"%.60s\": its %zu bytes end within an element; each is "
                         "a length of 4 bytes, little-endian, and so many bytes",
                         name, n);
    /* A text is as long as its element, with a zero in place of the length. */
    struct json_text *list = mem_alloc(1, elements * sizeof *list + n + 1);
    if (!list)
        return err_set(err, ERR_NOMEM, "out of memory for input \"%.60s\"", name);
    char *to = (char *)(list + elements);
    for (size_t i = 0; i < elements; i++) {
        uint32_t length;
        memcpy(&length, at, sizeof length);
        memcpy(to, at + LENGTH_BYTES, length);
        to[length] = '\0';
        list[i] = (struct json_text){to, length};
        to += (size_t)length + 1;
        at += LENGTH_BYTES + (size_t)length;
    }
    *out = list;
    *count = elements;
    return ERR_OK;
}
