#include "model/load/tokenizer_legacy.h"

#include "model/base/mem.h"
#include "model/base/utf8.h"
#include "model/load/file.h"
#include "model/load/json.h"
#include "model/load/tokenizer_json.h"

#include <string.h>

enum { MAX_TEXT_BYTES = 32 << 20, MAX_VOCAB_DEPTH = 4, MAX_MERGES = PLAN_MAX_IDS };
static const struct json_limits vocab_limits = {MAX_VOCAB_DEPTH, 2 * PLAN_MAX_IDS + 16};

static const char config_name[] = "tokenizer_config.json";

/* ---- classes --------------------------------------------------------------------- */

#define BERT_ROLES                                                                       \
    {                                                                                    \
        [TOKENIZER_MASK] = "[MASK]", [TOKENIZER_UNK] = "[UNK]",                          \
        [TOKENIZER_PAD] = "[PAD]", [TOKENIZER_SEP] = "[SEP]", [TOKENIZER_CLS] = "[CLS]"  \
    }
#define ROBERTA_ROLES(unk)                                                               \
    {                                                                                    \
        [TOKENIZER_MASK] = "<mask>", [TOKENIZER_BOS] = "<s>", [TOKENIZER_EOS] = "</s>",  \
        [TOKENIZER_UNK] = (unk), [TOKENIZER_PAD] = "<pad>", [TOKENIZER_SEP] = "</s>",    \
        [TOKENIZER_CLS] = "<s>"                                                          \
    }
#define GPT2_END "<|endoftext|>"

static const struct legacy_class classes[] = {
    {"BertTokenizer", LEGACY_BERT, false, BERT_ROLES},
    {"DistilBertTokenizer", LEGACY_BERT, false, BERT_ROLES},
    {"ElectraTokenizer", LEGACY_BERT, false, BERT_ROLES},
    {"MobileBertTokenizer", LEGACY_BERT, false, BERT_ROLES},
    {"ConvBertTokenizer", LEGACY_BERT, false, BERT_ROLES},
    {"SqueezeBertTokenizer", LEGACY_BERT, false, BERT_ROLES},
    {"MPNetTokenizer", LEGACY_MPNET, false, ROBERTA_ROLES("[UNK]")},
    {"RobertaTokenizer", LEGACY_ROBERTA, false, ROBERTA_ROLES("<unk>")},
    {"LongformerTokenizer", LEGACY_ROBERTA, false, ROBERTA_ROLES("<unk>")},
    {"BartTokenizer", LEGACY_ROBERTA, true, ROBERTA_ROLES("<unk>")},
    {"GPT2Tokenizer",
     LEGACY_GPT2,
     false,
     {[TOKENIZER_BOS] = GPT2_END,
      [TOKENIZER_EOS] = GPT2_END,
      [TOKENIZER_UNK] = GPT2_END}},
    {"Qwen2Tokenizer",
     LEGACY_QWEN2,
     false,
     {[TOKENIZER_EOS] = GPT2_END,
      [TOKENIZER_UNK] = GPT2_END,
      [TOKENIZER_PAD] = GPT2_END}},
};

static const struct {
    const char *model_type, *class_name;
} models[] = {
    {"bert", "BertTokenizer"},
    {"distilbert", "DistilBertTokenizer"},
    {"electra", "ElectraTokenizer"},
    {"mobilebert", "MobileBertTokenizer"},
    {"convbert", "ConvBertTokenizer"},
    {"squeezebert", "SqueezeBertTokenizer"},
    {"mpnet", "MPNetTokenizer"},
    {"roberta", "RobertaTokenizer"},
    {"longformer", "LongformerTokenizer"},
    {"bart", "BartTokenizer"},
    {"gpt2", "GPT2Tokenizer"},
    {"gpt_neo", "GPT2Tokenizer"},
    {"gptj", "GPT2Tokenizer"},
    {"opt", "GPT2Tokenizer"},
    {"qwen2", "Qwen2Tokenizer"},
};

const struct legacy_class *legacy_class_find(const char *name)
{
    static const char fast[] = "Fast";
    size_t n = strlen(name), tail = sizeof fast - 1;
    if (n > tail && strcmp(name + n - tail, fast) == 0)
        n -= tail;
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strlen(classes[i].name) == n && memcmp(classes[i].name, name, n) == 0)
            return &classes[i];
    return NULL;
}

const char *legacy_class_of_model(const char *model_type)
{
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        if (strcmp(models[i].model_type, model_type) == 0)
            return models[i].class_name;
    return NULL;
}

const char *legacy_class_names(void)
{
    return "BertTokenizer (and DistilBert, Electra, MobileBert, ConvBert, SqueezeBert), "
           "MPNetTokenizer, RobertaTokenizer, LongformerTokenizer, BartTokenizer, "
           "GPT2Tokenizer, Qwen2Tokenizer";
}

/* ---- what all of them need ------------------------------------------------------- */

static enum err_code no_memory(const char *name, struct err *err)
{
    return err_set(err, ERR_NOMEM, "%s: no memory", name);
}

/* config[key], or `absent` if config is NULL or does not say. */
static enum err_code read_flag(const json_t *config, const char *key, bool absent,
                               bool *out, struct err *err)
{
    *out = absent;
    if (!json_read_has(config, key))
        return ERR_OK;
    return json_read_bool(config, config_name, key, out, err);
}

/* The id of a token that the conversion puts around texts: the vocabulary has it. */
static enum err_code find_role(const json_t *vocab, const char *file,
                               const struct legacy_class *c, const char *token,
                               const char *role, json_int_t *id, struct err *err)
{
    if (!token)
        return err_set(err, ERR_UNSUPPORTED, "%s: %s is null, which %s needs",
                       config_name, role, c->name);
    const json_t *value = json_object_get(vocab, token);
    if (!value)
        return err_set(err, ERR_MISMATCH, "%s: it lacks \"%.60s\", the %s of %s", file,
                       token, role, c->name);
    *id = json_integer_value(value);
    return ERR_OK;
}

/* The lines of a text as Python reads them: \n, \r and \r\n end one. */
struct lines {
    const char *at;
    size_t n;      /* bytes left */
    size_t number; /* of the line read last, from 1 */
    bool ended;    /* that line had an end */
};

/* False when there is none left. A text of no bytes has no line; what stands behind the
 * last end is one if it is not empty. */
static bool next_line(struct lines *l, const char **s, size_t *n)
{
    if (l->n == 0)
        return false;
    size_t i = 0;
    while (i < l->n && l->at[i] != '\n' && l->at[i] != '\r')
        i++;
    *s = l->at;
    *n = i;
    l->ended = i < l->n;
    if (l->ended)
        i += l->at[i] == '\r' && i + 1 < l->n && l->at[i + 1] == '\n' ? 2 : 1;
    l->at += i;
    l->n -= i;
    l->number++;
    return true;
}

/* Reads a whole text file; NUL and bytes that are not UTF-8 are refused. */
static enum err_code read_text(const char *dir, const char *name, struct file *f,
                               struct err *err)
{
    enum err_code code = file_read(dir, name, MAX_TEXT_BYTES, f, err);
    if (code != ERR_OK)
        return code;
    size_t valid = utf8_valid((const char *)f->at, f->n);
    if (valid < f->n)
        return err_set(err, ERR_FORMAT, "%s: not UTF-8 at byte %zu", name, valid);
    const unsigned char *nul = f->n ? memchr(f->at, 0, f->n) : NULL;
    if (nul)
        return err_set(err, ERR_FORMAT, "%s: NUL at byte %zu", name,
                       (size_t)(nul - f->at));
    return ERR_OK;
}

/* ---- vocab.txt ------------------------------------------------------------------- */

static const char words_name[] = "vocab.txt";

/* One piece a line, its number is the id; of equal lines the last one counts. */
static enum err_code add_words(struct lines *l, json_t *vocab, struct err *err)
{
    char key[PLAN_MAX_PIECE + 1];
    const char *s;
    size_t n;
    while (next_line(l, &s, &n)) {
        if (n > PLAN_MAX_PIECE)
            return err_set(err, ERR_LIMIT, "%s: line %zu has %zu bytes, the limit is %d",
                           words_name, l->number, n, PLAN_MAX_PIECE);
        if (l->number > PLAN_MAX_IDS)
            return err_set(err, ERR_LIMIT, "%s: more than %d lines", words_name,
                           PLAN_MAX_IDS);
        memcpy(key, s, n);
        key[n] = '\0';
        json_t *id = json_integer((json_int_t)l->number - 1);
        if (json_object_set_new_nocheck(vocab, key, id) != 0)
            return no_memory(words_name, err);
    }
    return ERR_OK;
}

static enum err_code read_words(const char *dir, json_t **out, struct err *err)
{
    struct file f = {0};
    json_t *vocab = json_object();
    enum err_code code =
        vocab ? read_text(dir, words_name, &f, err) : no_memory(words_name, err);
    if (code == ERR_OK) {
        struct lines l = {.at = (const char *)f.at, .n = f.n};
        code = add_words(&l, vocab, err);
    }
    file_done(&f);
    if (code == ERR_OK)
        *out = vocab;
    else
        json_decref(vocab);
    return code;
}

static enum err_code bert_normalizer(const struct legacy_class *c, const json_t *config,
                                     json_t **out, struct err *err)
{
    bool lower = true, chinese = true, basic = true, strip = false;
    enum err_code code = read_flag(config, "do_lower_case", true, &lower, err);
    if (code == ERR_OK)
        code = read_flag(config, "tokenize_chinese_chars", true, &chinese, err);
    if (code == ERR_OK)
        code = read_flag(config, "do_basic_tokenize", true, &basic, err);
    if (code == ERR_OK)
        code = read_flag(config, "strip_accents", false, &strip, err);
    if (code != ERR_OK)
        return code;
    if (c->kind == LEGACY_MPNET && !basic)
        chinese = false; /* the other classes set it again behind the conversion */
    *out = json_pack("{s:s, s:b, s:b, s:b}", "type", "BertNormalizer", "clean_text", 1,
                     "handle_chinese_chars", chinese, "lowercase", lower);
    if (!*out || (json_read_has(config, "strip_accents") &&
                  json_object_set_new(*out, "strip_accents", json_boolean(strip)) != 0)) {
        json_decref(*out);
        return no_memory(words_name, err);
    }
    return ERR_OK;
}

static json_t *special(const char *token, int type)
{
    return json_pack("{s:{s:s, s:i}}", "SpecialToken", "id", token, "type_id", type);
}

static json_t *sequence(const char *which, int type)
{
    return json_pack("{s:{s:s, s:i}}", "Sequence", "id", which, "type_id", type);
}

/* [CLS] A [SEP] and [CLS] A [SEP] B [SEP]; MPNet has [SEP] [SEP] in between. */
static json_t *bert_post(const struct legacy_class *c, const char *cls, json_int_t cls_id,
                         const char *sep, json_int_t sep_id)
{
    json_t *single =
        json_pack("[o, o, o]", special(cls, 0), sequence("A", 0), special(sep, 0));
    json_t *pair = c->kind == LEGACY_MPNET
                       ? json_pack("[o, o, o, o, o, o]", special(cls, 0),
                                   sequence("A", 0), special(sep, 0), special(sep, 0),
                                   sequence("B", 1), special(sep, 1))
                       : json_pack("[o, o, o, o, o]", special(cls, 0), sequence("A", 0),
                                   special(sep, 0), sequence("B", 1), special(sep, 1));
    json_t *tokens = json_pack("{s:{s:[I]}}", cls, "ids", cls_id);
    if (strcmp(cls, sep) != 0) {
        json_t *entry = json_pack("{s:[I]}", "ids", sep_id);
        if (json_object_set_new(tokens, sep, entry) != 0) {
            json_decref(tokens);
            tokens = NULL;
        }
    }
    return json_pack("{s:s, s:o, s:o, s:o}", "type", "TemplateProcessing", "single",
                     single, "pair", pair, "special_tokens", tokens);
}

static enum err_code read_bert(const char *dir, const struct legacy_class *c,
                               const json_t *config, const char *const *roles,
                               json_t **out, struct err *err)
{
    json_t *vocab = NULL, *normalizer = NULL;
    const char *cls = roles[TOKENIZER_CLS], *sep = roles[TOKENIZER_SEP];
    const char *unk = roles[TOKENIZER_UNK];
    json_int_t unk_id = 0, cls_id = 0, sep_id = 0;
    enum err_code code = read_words(dir, &vocab, err);
    if (code == ERR_OK)
        code = find_role(vocab, words_name, c, unk, "unk_token", &unk_id, err);
    if (code == ERR_OK)
        code = find_role(vocab, words_name, c, cls, "cls_token", &cls_id, err);
    if (code == ERR_OK)
        code = find_role(vocab, words_name, c, sep, "sep_token", &sep_id, err);
    if (code == ERR_OK)
        code = bert_normalizer(c, config, &normalizer, err);
    if (code != ERR_OK) {
        json_decref(vocab);
        return code;
    }
    *out = json_pack("{s:s, s:o, s:{s:s}, s:o, s:{s:s, s:s, s:b},"
                     " s:{s:s, s:o, s:s, s:s, s:i}}",
                     "version", "1.0", "normalizer", normalizer, "pre_tokenizer", "type",
                     "BertPreTokenizer", "post_processor",
                     bert_post(c, cls, cls_id, sep, sep_id), "decoder", "type",
                     "WordPiece", "prefix", "##", "cleanup", 1, "model", "type",
                     "WordPiece", "vocab", vocab, "unk_token", unk,
                     "continuing_subword_prefix", "##", "max_input_chars_per_word", 100);
    return *out ? ERR_OK : no_memory(words_name, err);
}

/* ---- vocab.json ------------------------------------------------------------------ */

static const char pieces_name[] = "vocab.json";

static enum err_code check_pieces(const json_t *vocab, unsigned char *seen,
                                  struct err *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)vocab, key, value)
    {
        char found[JSON_SHOW_BYTES];
        json_int_t id = json_integer_value(value);
        if (!json_is_integer(value) || id < 0 || id >= PLAN_MAX_IDS)
            return err_set(err, ERR_FORMAT, "%s: \"%.60s\": want an id 0 to %d, found %s",
                           pieces_name, key, PLAN_MAX_IDS - 1,
                           json_read_show(value, found));
        if (strlen(key) > PLAN_MAX_PIECE)
            return err_set(err, ERR_LIMIT,
                           "%s: \"%.40s...\" has %zu bytes, the limit is %d", pieces_name,
                           key, strlen(key), PLAN_MAX_PIECE);
        if (seen[id])
            return err_set(err, ERR_FORMAT, "%s: \"%.60s\": another piece has id %d too",
                           pieces_name, key, (int)id);
        seen[id] = 1;
    }
    return ERR_OK;
}

static enum err_code read_pieces(const char *dir, json_t **out, struct err *err)
{
    json_t *vocab = NULL;
    enum err_code code =
        json_read_file(dir, pieces_name, MAX_TEXT_BYTES, &vocab_limits, &vocab, err);
    if (code != ERR_OK)
        return code;
    unsigned char *seen = mem_zero(PLAN_MAX_IDS, 1);
    code = seen ? check_pieces(vocab, seen, err) : no_memory(pieces_name, err);
    mem_free(seen);
    if (code == ERR_OK)
        *out = vocab;
    else
        json_decref(vocab);
    return code;
}

/* ---- merges.txt ------------------------------------------------------------------ */

static const char merges_name[] = "merges.txt";

struct merges {
    const json_t *vocab;
    json_t *list; /* of [left, right] */
    json_t *seen; /* "left right", so that only the first of equal lines counts */
};

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f);
}

/* The next word of *s: its length, 0 at the end. *s is put behind it. */
static size_t next_word(const char **s, const char *end, const char **word)
{
    while (*s < end && is_blank(**s))
        ++*s;
    *word = *s;
    while (*s < end && !is_blank(**s))
        ++*s;
    return (size_t)(*s - *word);
}

/* Room for "left right", and in it for the two pieces and what they make. */
struct merge {
    char left[PLAN_MAX_PIECE + 1], right[PLAN_MAX_PIECE + 1];
    char both[2 * PLAN_MAX_PIECE + 2];
};

/* Reads the two words of a line into *m. */
static enum err_code read_merge(const char *s, size_t n, size_t number, struct merge *m,
                                struct err *err)
{
    const char *end = s + n, *left, *right, *more;
    size_t n_left = next_word(&s, end, &left), n_right = next_word(&s, end, &right);
    if (n_right == 0 || next_word(&s, end, &more) != 0)
        return err_set(err, ERR_FORMAT, "%s: line %zu: want two pieces, found \"%.*s\"",
                       merges_name, number, (int)(n < 60 ? n : 60), end - n);
    if (n_left > PLAN_MAX_PIECE || n_right > PLAN_MAX_PIECE)
        return err_set(err, ERR_LIMIT, "%s: line %zu: a piece of more than %d bytes",
                       merges_name, number, PLAN_MAX_PIECE);
    memcpy(m->left, left, n_left);
    m->left[n_left] = '\0';
    memcpy(m->right, right, n_right);
    m->right[n_right] = '\0';
    memcpy(m->both, left, n_left);
    memcpy(m->both + n_left, right, n_right);
    m->both[n_left + n_right] = '\0';
    return ERR_OK;
}

static enum err_code add_merge(struct merges *all, struct merge *m, size_t number,
                               struct err *err)
{
    const char *const pieces[] = {m->left, m->right, m->both};
    for (size_t i = 0; i < 3; i++)
        if (!json_object_get(all->vocab, pieces[i]))
            return err_set(err, ERR_MISMATCH, "%s: line %zu: \"%.60s\" is not in %s",
                           merges_name, number, pieces[i], pieces_name);
    size_t n = strlen(m->left);
    m->both[n] = ' ';
    memcpy(m->both + n + 1, m->right, strlen(m->right) + 1);
    if (json_object_get(all->seen, m->both))
        return ERR_OK;
    if (json_array_size(all->list) == MAX_MERGES)
        return err_set(err, ERR_LIMIT, "%s: more than %d merges", merges_name,
                       MAX_MERGES);
    if (json_object_set_new_nocheck(all->seen, m->both, json_true()) != 0 ||
        json_array_append_new(all->list, json_pack("[s, s]", m->left, m->right)) != 0)
        return no_memory(merges_name, err);
    return ERR_OK;
}

/* GPT-2's reader leaves out the first line, whatever it says, and a last one without an
 * end; Qwen2's all that is blank or begins with "#". */
static bool is_left_out(const struct lines *l, const struct legacy_class *c,
                        const char *s, size_t n)
{
    const char *word, *end = s + n;
    if (c->kind != LEGACY_QWEN2)
        return l->number == 1 || !l->ended;
    return next_word(&s, end, &word) == 0 || *word == '#';
}

static enum err_code add_merges(struct merges *all, const struct legacy_class *c,
                                struct lines *l, struct err *err)
{
    struct merge m;
    const char *s;
    size_t n;
    enum err_code code = ERR_OK;
    while (code == ERR_OK && next_line(l, &s, &n)) {
        if (is_left_out(l, c, s, n))
            continue;
        code = read_merge(s, n, l->number, &m, err);
        if (code == ERR_OK)
            code = add_merge(all, &m, l->number, err);
    }
    return code;
}

static enum err_code read_merges(const char *dir, const struct legacy_class *c,
                                 const json_t *vocab, json_t **out, struct err *err)
{
    struct file f = {0};
    struct merges all = {vocab, json_array(), json_object()};
    enum err_code code = all.list && all.seen ? read_text(dir, merges_name, &f, err)
                                              : no_memory(merges_name, err);
    if (code == ERR_OK) {
        struct lines l = {.at = (const char *)f.at, .n = f.n};
        code = add_merges(&all, c, &l, err);
    }
    file_done(&f);
    json_decref(all.seen);
    if (code == ERR_OK)
        *out = all.list;
    else
        json_decref(all.list);
    return code;
}

/* ---- what stands around byte-level BPE ------------------------------------------- */

static json_t *byte_level(bool prefix_space, bool trim, bool use_regex)
{
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space",
                     prefix_space, "trim_offsets", trim, "use_regex", use_regex);
}

static enum err_code gpt2_post(const struct legacy_class *c, const json_t *config,
                               const json_t *vocab, const char *const *roles,
                               json_t **out, struct err *err)
{
    bool add_bos;
    json_int_t id = 0;
    const char *bos = roles[TOKENIZER_BOS];
    enum err_code code = read_flag(config, "add_bos_token", false, &add_bos, err);
    if (code == ERR_OK && add_bos)
        code = find_role(vocab, pieces_name, c, bos, "bos_token", &id, err);
    if (code != ERR_OK)
        return code;
    *out = add_bos
               ? json_pack("{s:s, s:[o, o], s:[o, o, o], s:{s:{s:[I]}}}", "type",
                           "TemplateProcessing", "single", special(bos, 0),
                           sequence("A", 0), "pair", special(bos, 0), sequence("A", 0),
                           sequence("B", 1), "special_tokens", bos, "ids", id)
               : byte_level(true, false, true);
    return *out ? ERR_OK : no_memory(pieces_name, err);
}

static enum err_code roberta_post(const struct legacy_class *c, const json_t *config,
                                  const json_t *vocab, const char *const *roles,
                                  json_t **out, struct err *err)
{
    bool trim, prefix;
    json_int_t sep = 0, cls = 0;
    enum err_code code = read_flag(config, "trim_offsets", true, &trim, err);
    if (code == ERR_OK)
        code = read_flag(config, "add_prefix_space", false, &prefix, err);
    if (code == ERR_OK)
        code = find_role(vocab, pieces_name, c, roles[TOKENIZER_SEP], "sep_token", &sep,
                         err);
    if (code == ERR_OK)
        code = find_role(vocab, pieces_name, c, roles[TOKENIZER_CLS], "cls_token", &cls,
                         err);
    if (code != ERR_OK)
        return code;
    *out = json_pack("{s:s, s:[s, I], s:[s, I], s:b, s:b}", "type", "RobertaProcessing",
                     "sep", roles[TOKENIZER_SEP], sep, "cls", roles[TOKENIZER_CLS], cls,
                     "trim_offsets", trim, "add_prefix_space", prefix);
    return *out ? ERR_OK : no_memory(pieces_name, err);
}

static enum err_code read_post(const struct legacy_class *c, const json_t *config,
                               const json_t *vocab, const char *const *roles,
                               json_t **out, struct err *err)
{
    if (c->kind == LEGACY_ROBERTA)
        return roberta_post(c, config, vocab, roles, out, err);
    if (c->kind == LEGACY_GPT2)
        return gpt2_post(c, config, vocab, roles, out, err);
    *out = byte_level(true, false, true);
    return *out ? ERR_OK : no_memory(pieces_name, err);
}

/* Qwen2's expression in front of the bytes; GPT-2's is part of ByteLevel. */
static json_t *pre_tokenizer(const struct legacy_class *c, bool prefix)
{
    static const char qwen2[] =
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
        "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    if (c->kind != LEGACY_QWEN2)
        return byte_level(prefix, true, true);
    return json_pack("{s:s, s:[{s:s, s:{s:s}, s:s, s:b}, o]}", "type", "Sequence",
                     "pretokenizers", "type", "Split", "pattern", "Regex", qwen2,
                     "behavior", "Isolated", "invert", 0, byte_level(false, true, false));
}

static enum err_code read_byte_level(const char *dir, const struct legacy_class *c,
                                     const json_t *config, const char *const *roles,
                                     json_t **out, struct err *err)
{
    json_t *vocab = NULL, *merges = NULL, *post = NULL;
    bool prefix;
    enum err_code code = read_flag(config, "add_prefix_space", false, &prefix, err);
    if (code == ERR_OK)
        code = read_pieces(dir, &vocab, err);
    if (code == ERR_OK)
        code = read_merges(dir, c, vocab, &merges, err);
    if (code == ERR_OK)
        code = read_post(c, config, vocab, roles, &post, err);
    if (code != ERR_OK) {
        json_decref(vocab);
        json_decref(merges);
        return code;
    }
    json_t *normalizer =
        c->kind == LEGACY_QWEN2 ? json_pack("{s:s}", "type", "NFC") : json_null();
    *out = json_pack("{s:s, s:o, s:o, s:o, s:o, s:{s:s, s:o, s:o}}", "version", "1.0",
                     "normalizer", normalizer, "pre_tokenizer", pre_tokenizer(c, prefix),
                     "post_processor", post, "decoder", byte_level(true, true, true),
                     "model", "type", "BPE", "vocab", vocab, "merges", merges);
    return *out ? ERR_OK : no_memory(pieces_name, err);
}

enum err_code legacy_read(const char *dir, const struct legacy_class *c,
                          const json_t *config, const char *const *roles, json_t **out,
                          struct err *err)
{
    if (c->kind == LEGACY_BERT || c->kind == LEGACY_MPNET)
        return read_bert(dir, c, config, roles, out, err);
    return read_byte_level(dir, c, config, roles, out, err);
}
