#include "model/load/tokenizer_steps.h"

#include "model/base/base64.h"
#include "model/base/mem.h"
#include "model/base/utf8.h"
#include "model/load/json.h"

#include <string.h>

static const char where_normalizer[] = "tokenizer.json: normalizer";
static const char where_splitter[] = "tokenizer.json: pre_tokenizer";
static const char where_decoder[] = "tokenizer.json: decoder";

/* ---- lists of components --------------------------------------------------------- */

enum err_code plan_unroll(const json_t *value, const char *where, const char *list_key,
                          struct plan_components *out, struct err *err)
{
    if (!value || json_is_null(value))
        return ERR_OK;
    const char *type = NULL;
    if (!json_is_object(value))
        return err_set(err, ERR_FORMAT, "%s: want an object with a type", where);
    enum err_code code = json_read_string(value, where, "type", &type, err);
    if (code != ERR_OK)
        return code;
    if (strcmp(type, "Sequence") != 0) {
        if (out->n == PLAN_MAX_STEPS)
            return err_set(err, ERR_LIMIT, "%s: more than %d components", where,
                           PLAN_MAX_STEPS);
        out->at[out->n++] = value;
        return ERR_OK;
    }
    json_t *list = NULL;
    code = json_read_array(value, where, list_key, &list, err);
    for (size_t i = 0; code == ERR_OK && i < json_array_size(list); i++) {
        const json_t *member = json_array_get(list, i);
        if (!json_is_object(member))
            return err_set(err, ERR_FORMAT, "%s: %s: want objects in the list", where,
                           list_key);
        code = plan_unroll(member, where, list_key, out, err);
    }
    return code;
}

static enum err_code no_memory(const char *where, struct err *err)
{
    return err_set(err, ERR_NOMEM, "%s: no memory", where);
}

/* ---- members that several components have ---------------------------------------- */

static enum err_code read_text(struct tokenizer_plan *p, const json_t *object,
                               const char *where, const char *key, struct plan_text *out,
                               struct err *err)
{
    const char *s = NULL;
    enum err_code code = json_read_string(object, where, key, &s, err);
    return code ? code : plan_keep(p, json_object_get(object, key), out, err);
}

/* Exactly one code point. */
static enum err_code read_character(struct tokenizer_plan *p, const json_t *object,
                                    const char *where, const char *key,
                                    struct plan_text *out, struct err *err)
{
    enum err_code code = read_text(p, object, where, key, out, err);
    if (code == ERR_OK && utf8_count(out->at, out->n, UTF8_CODE_POINTS) != 1)
        return err_set(err, ERR_FORMAT, "%s: %s: want one character", where, key);
    return code;
}

static enum err_code read_pattern(struct tokenizer_plan *p, const json_t *object,
                                  const char *where, struct plan_pattern *out,
                                  struct err *err)
{
    json_t *pattern = NULL;
    enum err_code code = json_read_object(object, where, "pattern", &pattern, err);
    if (code != ERR_OK)
        return code;
    out->regex = json_object_get(pattern, "Regex") != NULL;
    if (json_object_size(pattern) != 1)
        return err_set(err, ERR_FORMAT, "%s: pattern: want one of String and Regex",
                       where);
    code = read_text(p, pattern, where, out->regex ? "Regex" : "String", &out->text, err);
    if (code == ERR_OK && out->text.n == 0)
        return err_set(err, ERR_UNSUPPORTED, "%s: pattern: an empty one is not served",
                       where);
    return code;
}

static enum err_code read_flag(const json_t *object, const char *where, const char *key,
                               bool absent, bool *out, struct err *err)
{
    *out = absent;
    if (!json_read_has(object, key))
        return ERR_OK;
    return json_read_bool(object, where, key, out, err);
}

/* prepend_scheme of Metaspace. Files before it had add_prefix_space instead, which may
 * still stand beside it but not against it. */
static enum err_code read_scheme(const json_t *object, const char *where,
                                 enum prepend_scheme *out, struct err *err)
{
    static const char *const names[] = {[PREPEND_ALWAYS] = "always",
                                        [PREPEND_FIRST] = "first",
                                        [PREPEND_NEVER] = "never"};
    size_t scheme = PREPEND_ALWAYS;
    bool prefix = true;
    enum err_code code = ERR_OK;
    if (json_read_has(object, "prepend_scheme"))
        code = json_read_choice(object, where, "prepend_scheme", names, 3, &scheme, err);
    if (code == ERR_OK)
        code = read_flag(object, where, "add_prefix_space", true, &prefix, err);
    if (code == ERR_OK && !prefix && scheme != PREPEND_NEVER)
        return err_set(err, ERR_FORMAT,
                       "%s: add_prefix_space is false, but prepend_scheme is \"%s\"",
                       where, names[scheme]);
    *out = (enum prepend_scheme)scheme;
    return code;
}

/* ---- normalizers ----------------------------------------------------------------- */

static enum err_code read_bert(const json_t *o, struct plan_normalizer *n,
                               struct err *err)
{
    static const char *const known[] = {"type", "clean_text", "handle_chinese_chars",
                                        "strip_accents", "lowercase"};
    const char *where = where_normalizer;
    enum err_code code = json_read_known(o, where, known, 5, err);
    if (code == ERR_OK)
        code = json_read_bool(o, where, "clean_text", &n->clean_text, err);
    if (code == ERR_OK)
        code = json_read_bool(o, where, "handle_chinese_chars", &n->chinese_chars, err);
    if (code == ERR_OK)
        code = json_read_bool(o, where, "lowercase", &n->lowercase, err);
    if (code == ERR_OK)
        code = read_flag(o, where, "strip_accents", n->lowercase, &n->strip_accents, err);
    return code;
}

static enum err_code read_strip(const json_t *o, struct plan_normalizer *n,
                                struct err *err)
{
    static const char *const known[] = {"type", "strip_left", "strip_right"};
    enum err_code code = json_read_known(o, where_normalizer, known, 3, err);
    if (code == ERR_OK)
        code = json_read_bool(o, where_normalizer, "strip_left", &n->left, err);
    if (code == ERR_OK)
        code = json_read_bool(o, where_normalizer, "strip_right", &n->right, err);
    return code;
}

static enum err_code read_replace(struct tokenizer_plan *p, const json_t *o,
                                  const char *where, struct plan_pattern *pattern,
                                  struct plan_text *content, struct err *err)
{
    static const char *const known[] = {"type", "pattern", "content"};
    enum err_code code = json_read_known(o, where, known, 3, err);
    if (code == ERR_OK)
        code = read_pattern(p, o, where, pattern, err);
    if (code == ERR_OK)
        code = read_text(p, o, where, "content", content, err);
    return code;
}

/* The table of Precompiled, as bytes. */
static enum err_code read_charsmap(struct tokenizer_plan *p, const json_t *o,
                                   struct plan_text *out, struct err *err)
{
    static const char *const known[] = {"type", "precompiled_charsmap"};
    const char *s = NULL, *where = where_normalizer;
    enum err_code code = json_read_known(o, where, known, 2, err);
    if (code == ERR_OK)
        code = json_read_string(o, where, "precompiled_charsmap", &s, err);
    if (code != ERR_OK)
        return code;
    size_t n = json_string_length(json_object_get(o, "precompiled_charsmap"));
    unsigned char *bytes = plan_alloc(p, base64_room(n), 1);
    if (!bytes)
        return no_memory(where, err);
    if (!base64_decode(s, n, bytes, &out->n))
        return err_set(err, ERR_FORMAT, "%s: precompiled_charsmap is not base64", where);
    out->at = (const char *)bytes;
    return ERR_OK;
}

static enum err_code read_normalizer(struct tokenizer_plan *p, const json_t *o,
                                     struct plan_normalizer *n, struct err *err)
{
    static const char *const names[] = {[NORMALIZER_BERT] = "BertNormalizer",
                                        [NORMALIZER_LOWERCASE] = "Lowercase",
                                        [NORMALIZER_NFC] = "NFC",
                                        [NORMALIZER_NFD] = "NFD",
                                        [NORMALIZER_NFKC] = "NFKC",
                                        [NORMALIZER_NFKD] = "NFKD",
                                        [NORMALIZER_STRIP_ACCENTS] = "StripAccents",
                                        [NORMALIZER_STRIP] = "Strip",
                                        [NORMALIZER_REPLACE] = "Replace",
                                        [NORMALIZER_PREPEND] = "Prepend",
                                        [NORMALIZER_BYTE_LEVEL] = "ByteLevel",
                                        [NORMALIZER_NMT] = "Nmt",
                                        [NORMALIZER_PRECOMPILED] = "Precompiled"};
    static const char *const known[] = {"type", "prepend"};
    const char *where = where_normalizer;
    size_t kind = 0;
    enum err_code code =
        json_read_choice(o, where, "type", names, NORMALIZER_PRECOMPILED + 1, &kind, err);
    if (code != ERR_OK)
        return code;
    n->kind = (enum normalizer_kind)kind;
    if (kind == NORMALIZER_BERT)
        return read_bert(o, n, err);
    if (kind == NORMALIZER_STRIP)
        return read_strip(o, n, err);
    if (kind == NORMALIZER_REPLACE)
        return read_replace(p, o, where, &n->pattern, &n->content, err);
    if (kind == NORMALIZER_PRECOMPILED)
        return read_charsmap(p, o, &n->content, err);
    code = json_read_known(o, where, known, kind == NORMALIZER_PREPEND ? 2 : 1, err);
    if (code == ERR_OK && kind == NORMALIZER_PREPEND)
        code = read_text(p, o, where, "prepend", &n->content, err);
    return code;
}

enum err_code plan_normalizers(struct tokenizer_plan *p, const json_t *value,
                               struct err *err)
{
    struct plan_components list = {.n = 0};
    enum err_code code = plan_unroll(value, where_normalizer, "normalizers", &list, err);
    if (code != ERR_OK)
        return code;
    p->normalizers = plan_alloc(p, list.n, sizeof *p->normalizers);
    if (!p->normalizers)
        return no_memory(where_normalizer, err);
    for (; code == ERR_OK && p->n_normalizers < list.n; p->n_normalizers++)
        code = read_normalizer(p, list.at[p->n_normalizers],
                               &p->normalizers[p->n_normalizers], err);
    return code;
}

/* ---- pre-tokenizers -------------------------------------------------------------- */

static enum err_code read_behavior(const json_t *o, enum split_behavior *out,
                                   struct err *err)
{
    static const char *const names[] = {[SPLIT_REMOVED] = "Removed",
                                        [SPLIT_ISOLATED] = "Isolated",
                                        [SPLIT_MERGED_WITH_PREVIOUS] =
                                            "MergedWithPrevious",
                                        [SPLIT_MERGED_WITH_NEXT] = "MergedWithNext",
                                        [SPLIT_CONTIGUOUS] = "Contiguous"};
    size_t behavior = 0;
    enum err_code code =
        json_read_choice(o, where_splitter, "behavior", names, 5, &behavior, err);
    *out = (enum split_behavior)behavior;
    return code;
}

static enum err_code read_byte_level(const json_t *o, struct plan_splitter *s,
                                     struct err *err)
{
    static const char *const known[] = {"type", "add_prefix_space", "trim_offsets",
                                        "use_regex"};
    bool trim; /* matters to the post-processor of the same name only */
    enum err_code code = json_read_known(o, where_splitter, known, 4, err);
    if (code == ERR_OK)
        code =
            json_read_bool(o, where_splitter, "add_prefix_space", &s->prefix_space, err);
    if (code == ERR_OK)
        code = json_read_bool(o, where_splitter, "trim_offsets", &trim, err);
    if (code == ERR_OK)
        code = read_flag(o, where_splitter, "use_regex", true, &s->use_regex, err);
    return code;
}

static enum err_code read_split(struct tokenizer_plan *p, const json_t *o,
                                struct plan_splitter *s, struct err *err)
{
    static const char *const known[] = {"type", "pattern", "behavior", "invert"};
    enum err_code code = json_read_known(o, where_splitter, known, 4, err);
    if (code == ERR_OK)
        code = read_pattern(p, o, where_splitter, &s->pattern, err);
    if (code == ERR_OK)
        code = read_behavior(o, &s->behavior, err);
    if (code == ERR_OK)
        code = json_read_bool(o, where_splitter, "invert", &s->invert, err);
    return code;
}

static enum err_code read_metaspace(struct tokenizer_plan *p, const json_t *o,
                                    struct plan_splitter *s, struct err *err)
{
    static const char *const known[] = {"type",  "replacement",      "prepend_scheme",
                                        "split", "add_prefix_space", "str_rep"};
    enum err_code code = json_read_known(o, where_splitter, known, 6, err);
    if (code == ERR_OK)
        code = read_character(p, o, where_splitter, "replacement", &s->character, err);
    if (code == ERR_OK)
        code = read_scheme(o, where_splitter, &s->scheme, err);
    if (code == ERR_OK)
        code = read_flag(o, where_splitter, "split", true, &s->split, err);
    return code;
}

/* Punctuation and Digits. */
static enum err_code read_isolating(const json_t *o, struct plan_splitter *s,
                                    struct err *err)
{
    static const char *const known[] = {"type", "behavior", "individual_digits"};
    bool individual = true;
    enum err_code code = json_read_known(o, where_splitter, known, 3, err);
    s->behavior = SPLIT_ISOLATED;
    if (code == ERR_OK && s->kind == SPLITTER_DIGITS) {
        code = json_read_bool(o, where_splitter, "individual_digits", &individual, err);
        s->behavior = individual ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS;
    } else if (code == ERR_OK && json_read_has(o, "behavior")) {
        code = read_behavior(o, &s->behavior, err);
    }
    return code;
}

static enum err_code read_length(const json_t *o, struct plan_splitter *s,
                                 struct err *err)
{
    static const char *const known[] = {"type", "length"};
    int64_t length = 5;
    enum err_code code = json_read_known(o, where_splitter, known, 2, err);
    if (code == ERR_OK && json_read_has(o, "length"))
        code = json_read_integer(o, where_splitter, "length",
                                 (struct json_range){1, INT32_MAX}, &length, err);
    s->length = (size_t)length;
    return code;
}

static enum err_code read_splitter(struct tokenizer_plan *p, const json_t *o,
                                   struct plan_splitter *s, struct err *err)
{
    static const char *const names[] = {[SPLITTER_BYTE_LEVEL] = "ByteLevel",
                                        [SPLITTER_BERT] = "BertPreTokenizer",
                                        [SPLITTER_WHITESPACE] = "Whitespace",
                                        [SPLITTER_WHITESPACE_SPLIT] = "WhitespaceSplit",
                                        [SPLITTER_PUNCTUATION] = "Punctuation",
                                        [SPLITTER_DIGITS] = "Digits",
                                        [SPLITTER_PATTERN] = "Split",
                                        [SPLITTER_METASPACE] = "Metaspace",
                                        [SPLITTER_CHAR] = "CharDelimiterSplit",
                                        [SPLITTER_SCRIPTS] = "UnicodeScripts",
                                        [SPLITTER_FIXED_LENGTH] = "FixedLength"};
    static const char *const known[] = {"type", "delimiter"};
    size_t kind = 0;
    enum err_code code = json_read_choice(o, where_splitter, "type", names,
                                          SPLITTER_FIXED_LENGTH + 1, &kind, err);
    if (code != ERR_OK)
        return code;
    s->kind = (enum splitter_kind)kind;
    switch (s->kind) {
    case SPLITTER_BYTE_LEVEL:
        return read_byte_level(o, s, err);
    case SPLITTER_PATTERN:
        return read_split(p, o, s, err);
    case SPLITTER_METASPACE:
        return read_metaspace(p, o, s, err);
    case SPLITTER_PUNCTUATION:
    case SPLITTER_DIGITS:
        return read_isolating(o, s, err);
    case SPLITTER_FIXED_LENGTH:
        return read_length(o, s, err);
    case SPLITTER_CHAR:
        code = json_read_known(o, where_splitter, known, 2, err);
        return code ? code
                    : read_character(p, o, where_splitter, "delimiter", &s->character,
                                     err);
    default:
        return json_read_known(o, where_splitter, known, 1, err);
    }
}

enum err_code plan_splitters(struct tokenizer_plan *p, const json_t *value,
                             struct err *err)
{
    struct plan_components list = {.n = 0};
    enum err_code code = plan_unroll(value, where_splitter, "pretokenizers", &list, err);
    if (code != ERR_OK)
        return code;
    p->splitters = plan_alloc(p, list.n, sizeof *p->splitters);
    if (!p->splitters)
        return no_memory(where_splitter, err);
    for (; code == ERR_OK && p->n_splitters < list.n; p->n_splitters++)
        code =
            read_splitter(p, list.at[p->n_splitters], &p->splitters[p->n_splitters], err);
    return code;
}

/* ---- decoders -------------------------------------------------------------------- */

static enum err_code read_strip_decoder(struct tokenizer_plan *p, const json_t *o,
                                        struct plan_decoder *d, struct err *err)
{
    static const char *const known[] = {"type", "content", "start", "stop"};
    struct json_range any = {0, INT32_MAX};
    int64_t start = 0, stop = 0;
    enum err_code code = json_read_known(o, where_decoder, known, 4, err);
    if (code == ERR_OK)
        code = read_character(p, o, where_decoder, "content", &d->affix, err);
    if (code == ERR_OK)
        code = json_read_integer(o, where_decoder, "start", any, &start, err);
    if (code == ERR_OK)
        code = json_read_integer(o, where_decoder, "stop", any, &stop, err);
    d->start = (size_t)start;
    d->stop = (size_t)stop;
    return code;
}

static enum err_code read_wordpiece_decoder(struct tokenizer_plan *p, const json_t *o,
                                            struct plan_decoder *d, struct err *err)
{
    static const char *const known[] = {"type", "prefix", "cleanup"};
    enum err_code code = json_read_known(o, where_decoder, known, 3, err);
    if (code == ERR_OK)
        code = read_text(p, o, where_decoder, "prefix", &d->affix, err);
    if (code == ERR_OK)
        code = json_read_bool(o, where_decoder, "cleanup", &d->cleanup, err);
    return code;
}

static enum err_code read_metaspace_decoder(struct tokenizer_plan *p, const json_t *o,
                                            struct plan_decoder *d, struct err *err)
{
    static const char *const known[] = {"type",  "replacement",      "prepend_scheme",
                                        "split", "add_prefix_space", "str_rep"};
    enum err_code code = json_read_known(o, where_decoder, known, 6, err);
    if (code == ERR_OK)
        code = read_character(p, o, where_decoder, "replacement", &d->affix, err);
    if (code == ERR_OK)
        code = read_scheme(o, where_decoder, &d->scheme, err);
    return code;
}

static enum err_code read_ctc(struct tokenizer_plan *p, const json_t *o,
                              struct plan_decoder *d, struct err *err)
{
    static const char *const known[] = {"type", "pad_token", "word_delimiter_token",
                                        "cleanup"};
    const char *where = where_decoder;
    enum err_code code = json_read_known(o, where, known, 4, err);
    if (code == ERR_OK)
        code = read_text(p, o, where, "pad_token", &d->affix, err);
    if (code == ERR_OK)
        code = read_text(p, o, where, "word_delimiter_token", &d->content, err);
    if (code == ERR_OK)
        code = json_read_bool(o, where, "cleanup", &d->cleanup, err);
    if (code == ERR_OK && d->cleanup && d->content.n == 0)
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: an empty word_delimiter_token is not served", where);
    return code;
}

static enum err_code read_decoder(struct tokenizer_plan *p, const json_t *o,
                                  struct plan_decoder *d, struct err *err)
{
    static const char *const names[] = {[DECODER_BYTE_LEVEL] = "ByteLevel",
                                        [DECODER_WORDPIECE] = "WordPiece",
                                        [DECODER_BPE] = "BPEDecoder",
                                        [DECODER_METASPACE] = "Metaspace",
                                        [DECODER_BYTE_FALLBACK] = "ByteFallback",
                                        [DECODER_FUSE] = "Fuse",
                                        [DECODER_STRIP] = "Strip",
                                        [DECODER_REPLACE] = "Replace",
                                        [DECODER_CTC] = "CTC"};
    static const char *const byte_level[] = {"type", "add_prefix_space", "trim_offsets",
                                             "use_regex"};
    static const char *const known[] = {"type", "suffix"};
    size_t kind = 0;
    enum err_code code =
        json_read_choice(o, where_decoder, "type", names, DECODER_CTC + 1, &kind, err);
    if (code != ERR_OK)
        return code;
    d->kind = (enum decoder_kind)kind;
    switch (d->kind) {
    case DECODER_BYTE_LEVEL: /* its options play no part in decoding */
        return json_read_known(o, where_decoder, byte_level, 4, err);
    case DECODER_WORDPIECE:
        return read_wordpiece_decoder(p, o, d, err);
    case DECODER_METASPACE:
        return read_metaspace_decoder(p, o, d, err);
    case DECODER_STRIP:
        return read_strip_decoder(p, o, d, err);
    case DECODER_CTC:
        return read_ctc(p, o, d, err);
    case DECODER_REPLACE:
        return read_replace(p, o, where_decoder, &d->pattern, &d->content, err);
    case DECODER_BPE:
        code = json_read_known(o, where_decoder, known, 2, err);
        return code ? code : read_text(p, o, where_decoder, "suffix", &d->affix, err);
    default:
        return json_read_known(o, where_decoder, known, 1, err);
    }
}

enum err_code plan_decoders(struct tokenizer_plan *p, const json_t *value,
                            struct err *err)
{
    struct plan_components list = {.n = 0};
    enum err_code code = plan_unroll(value, where_decoder, "decoders", &list, err);
    if (code != ERR_OK)
        return code;
    p->has_decoder = value && !json_is_null(value);
    p->decoders = plan_alloc(p, list.n, sizeof *p->decoders);
    if (!p->decoders)
        return no_memory(where_decoder, err);
    for (; code == ERR_OK && p->n_decoders < list.n; p->n_decoders++)
        code = read_decoder(p, list.at[p->n_decoders], &p->decoders[p->n_decoders], err);
    return code;
}
