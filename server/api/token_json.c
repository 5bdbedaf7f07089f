#include "server/api/token_json.h"

void token_json_piece(struct json_writer *w, const struct seq_model *m, int32_t id)
{
    size_t n = 0;
    const char *piece = seq_piece(m, id, &n);
    if (piece)
        json_write_text(w, piece, n);
    else
        json_write_null(w);
}

static void write_hex(struct json_writer *w, const char *bytes, size_t n)
{
    static const char HEX[] = "0123456789abcdef";
    json_write_raw(w, "\"", 1); /* opens the string; plain bytes follow */
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)bytes[i];
        char pair[2] = {HEX[c >> 4], HEX[c & 15]};
        buf_put(&w->buf, pair, sizeof pair);
    }
    buf_put(&w->buf, "\"", 1);
}

void token_json_text(struct json_writer *w, const char *bytes, size_t n)
{
    json_write_key(w, "text");
    if (utf8_valid(bytes, n) == n) {
        json_write_text(w, bytes, n);
        return;
    }
    json_write_null(w);
    json_write_key(w, "bytes");
    write_hex(w, bytes, n);
}

size_t token_json_offset(struct token_cursor *at, const char *text, size_t byte,
                         enum utf8_unit unit)
{
    if (byte >= at->byte)
        at->unit += utf8_count(text + at->byte, byte - at->byte, unit);
    else
        at->unit -= utf8_count(text + byte, at->byte - byte, unit);
    at->byte = byte;
    return at->unit;
}
