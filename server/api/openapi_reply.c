#include "server/api/openapi_reply.h"

#include "server/api/openapi_schema.h"

/* What a type is made of. */
struct type_row {
    const char *element; /* in the innermost; NULL: anything */
    unsigned lists;      /* so many lists, one in the other */
    bool or_text;        /* or one string in place of them */
    bool map;            /* in these an object with any keys, */
    unsigned map_lists;  /* whose values are so many lists or null */
    bool nullable;       /* the innermost may be null */
};

static const struct type_row TYPES[] = {
    [DOC_OBJECT] = {.element = "object"},
    [DOC_STRING] = {.element = "string"},
    [DOC_INTEGER] = {.element = "integer"},
    [DOC_NUMBER] = {.element = "number"},
    [DOC_BOOLEAN] = {.element = "boolean"},
    [DOC_LIST] = {.lists = 1, .element = "object"},
    [DOC_LISTS] = {.lists = 2, .element = "object"},
    [DOC_TABLE] = {.lists = 3, .element = "object"},
    [DOC_STRINGS] = {.lists = 1, .element = "string"},
    [DOC_INTEGERS] = {.lists = 1, .element = "integer"},
    [DOC_NUMBERS] = {.lists = 1, .element = "number", .nullable = true},
    [DOC_NUMBER_LISTS] = {.lists = 2, .element = "number"},
    [DOC_VECTOR] = {.lists = 1, .or_text = true, .element = "number"},
    [DOC_SCORES] = {.map = true, .element = "number"},
    [DOC_SCORE_LIST] = {.lists = 1, .map = true, .element = "number", .nullable = true},
    [DOC_RANGES] = {.map = true, .map_lists = 1, .element = "number", .nullable = true},
    [DOC_ANY_LIST] = {.lists = 1},
    [DOC_ARRAY] = {.lists = 1},
    [DOC_ANY] = {0},
};

/* ---- shapes ---------------------------------------------------------------------- */

/* "type" of a list, or of what may stand in its place. */
static void write_list_type(struct json_writer *w, bool or_text, bool nullable)
{
    if (!or_text) {
        schema_type(w, "array", nullable);
        return;
    }
    json_write_key(w, "type");
    json_write_array(w);
    json_write_string(w, "array");
    json_write_string(w, "string");
    if (nullable)
        json_write_string(w, "null");
    json_write_end(w);
}

static void write_shape(struct json_writer *w, const struct doc_shape *shape);

/* An object's members, of which no others are there. */
static void write_members(struct json_writer *w, const struct doc_shape *members)
{
    schema_begin(w, "properties");
    for (const struct doc_shape *m = members; m->name; m++) {
        schema_begin(w, m->name);
        write_shape(w, m);
        if (m->help)
            json_write_key_string(w, "description", m->help);
        json_write_end(w);
    }
    json_write_end(w);
    json_write_key(w, "required");
    json_write_array(w);
    for (const struct doc_shape *m = members; m->name; m++)
        if (!m->optional)
            json_write_string(w, m->name);
    json_write_end(w);
    json_write_key_bool(w, "additionalProperties", false);
}

/* What stands in the innermost list, or alone. */
static void write_element(struct json_writer *w, const struct type_row *row,
                          const struct doc_shape *shape)
{
    bool alone = row->lists == 0; /* its null is the member's, not the type's */
    if (row->map) {
        schema_type(w, "object", alone ? shape->nullable : row->nullable);
        schema_begin(w, "additionalProperties");
        for (unsigned i = 0; i < row->map_lists; i++) {
            schema_type(w, "array", true);
            schema_begin(w, "items");
        }
        schema_type(w, row->element, row->nullable);
        for (unsigned i = 0; i < row->map_lists; i++)
            json_write_end(w);
        json_write_end(w);
    } else if (row->element) {
        schema_type(w, row->element, alone ? shape->nullable : row->nullable);
    }
    if (shape->of)
        write_members(w, shape->of);
}

/* The schema of one value, in the open object. */
static void write_shape(struct json_writer *w, const struct doc_shape *shape)
{
    const struct type_row *row = &TYPES[shape->type];
    bool open_items = row->element || row->map;
    for (unsigned i = 0; i < row->lists; i++) {
        write_list_type(w, row->or_text, i == 0 && shape->nullable);
        if (open_items)
            schema_begin(w, "items");
    }
    if (!open_items)
        return;
    write_element(w, row, shape);
    for (unsigned i = 0; i < row->lists; i++)
        json_write_end(w);
}

bool openapi_reply_is_known(const struct route_doc *doc)
{
    return doc->reply || doc->reply_type != DOC_OBJECT;
}

void openapi_reply_schemas(struct json_writer *w, const struct route_doc *doc)
{
    if (openapi_reply_is_known(doc)) {
        schema_begin_named(w, doc->name, "_reply");
        write_shape(w, &(struct doc_shape){.type = doc->reply_type, .of = doc->reply});
        json_write_end(w);
    }
    if (doc->event) {
        schema_begin_named(w, doc->name, "_event");
        write_shape(w, &(struct doc_shape){.of = doc->event});
        json_write_end(w);
    }
}

/* ---- errors ---------------------------------------------------------------------- */

static const struct doc_shape SEQD[] = {
    {"message", DOC_STRING, .help = "One sentence for people"},
    {"type", DOC_STRING, .help = "Whose fault it is"},
    {"code", DOC_STRING, .help = "What went wrong, for programs"},
    {"param", DOC_STRING, .nullable = true, .help = "The field at fault"},
    {"needed_values", DOC_INTEGER, .optional = true, .help = "What it would need"},
    {"limit", DOC_INTEGER, .optional = true, .help = "What it may need"},
    {"hint", DOC_STRING, .optional = true, .help = "What to ask instead"},
    {0}};
static const struct doc_shape LLAMA[] = {
    {"message", DOC_STRING, .help = "One sentence for people"},
    {"type", DOC_STRING, .help = "What went wrong, for programs"},
    {"code", DOC_INTEGER, .help = "The status, once more"},
    {0}};
static const struct doc_shape VLLM[] = {
    {"message", DOC_STRING, .help = "One sentence for people"},
    {"type", DOC_STRING, .help = "What went wrong, for programs"},
    {"code", DOC_INTEGER, .help = "The status, once more"},
    {"param", DOC_STRING, .nullable = true, .help = "The field at fault"},
    {0}};

static const struct doc_shape OF_SEQD[] = {{"error", .of = SEQD}, {0}};
static const struct doc_shape OF_LLAMA[] = {{"error", .of = LLAMA}, {0}};
static const struct doc_shape OF_VLLM[] = {{"error", .of = VLLM}, {0}};
static const struct doc_shape OF_TEI[] = {
    {"error", DOC_STRING, .help = "One sentence for people"},
    {"error_type", DOC_STRING, .help = "Validation, Backend, Overloaded, ..."},
    {0}};
static const struct doc_shape OF_OIP[] = {
    {"error", DOC_STRING, .help = "One sentence for people"}, {0}};

static const struct error_schema {
    const char *name;
    const struct doc_shape *of;
} ERRORS[DIALECT_COUNT] = {[DIALECT_SEQD] = {"error", OF_SEQD},
                           [DIALECT_TEI] = {"error_tei", OF_TEI},
                           [DIALECT_OIP] = {"error_oip", OF_OIP},
                           [DIALECT_LLAMA] = {"error_llama", OF_LLAMA},
                           [DIALECT_VLLM] = {"error_vllm", OF_VLLM}};

void openapi_reply_errors(struct json_writer *w)
{
    for (size_t d = 0; d < DIALECT_COUNT; d++) {
        schema_begin(w, ERRORS[d].name);
        write_shape(w, &(struct doc_shape){.of = ERRORS[d].of});
        json_write_end(w);
    }
}

const char *openapi_reply_error(enum dialect d)
{
    return ERRORS[d].name;
}
