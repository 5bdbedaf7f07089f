#include "model/nets/rnn_names.h"

#include <stdio.h>

static const char *const PREFIXES[] = {"", "module.", "model.", NULL};
static const char *const EMBEDDINGS[] = {
    "embedding", "encoder", "embed", "embeddings", "emb", "word_embeddings", NULL};
static const char *const CELLS[] = {"rnn.", "lstm.", "gru.", NULL};
static const char *const OUTPUTS[] = {"decoder", "classifier", "fc", "linear",
                                      "out",     "output",     NULL};

/* One role: what it may be called, and the tensor that shows it is there. */
struct role {
    const char *what;         /* for messages */
    const char *const *words; /* first choice first */
    const char *tensor;       /* behind the word */
};

static const struct role EMBEDDING = {"embeddings", EMBEDDINGS, ".weight"};
static const struct role CELL = {"recurrent layers", CELLS, "weight_ih_l0"};
static const struct role OUTPUT = {"output layers", OUTPUTS, ".weight"};
/* Of a tied output layer that file may hold nothing else. */
static const struct role OUTPUT_BIAS = {"output layers", OUTPUTS, ".bias"};

struct place {
    const char *prefix, *word; /* word NULL: not found */
};

static void look(struct builder *b, const struct role *role, const char *prefix,
                 struct place *found)
{
    char name[64];
    for (const char *const *word = role->words; *word && b->rc == ERR_OK; word++) {
        snprintf(name, sizeof name, "%s%s%s", prefix, *word, role->tensor);
        if (!builder_has(b, name))
            continue;
        if (found->word)
            builder_fail(b, ERR_MISMATCH,
                         "two %s, %s%s%s and %s: one is wanted, and nothing says which",
                         role->what, found->prefix, found->word, role->tensor, name);
        *found = (struct place){prefix, *word};
    }
}

/* NULL if there is none. */
static const char *find(struct builder *b, const struct role *role)
{
    struct place found = {0};
    look(b, role, "", &found);
    return found.word;
}

void rnn_names_find(struct builder *b, struct rnn_names *out)
{
    struct place found = {0};
    for (const char *const *prefix = PREFIXES; *prefix; prefix++)
        look(b, &EMBEDDING, *prefix, &found);
    if (found.word && found.prefix[0])
        weights_prefix(b->w, found.prefix);
    *out = (struct rnn_names){.embedding = found.word ? found.word : EMBEDDINGS[0],
                              .cells = find(b, &CELL),
                              .output = find(b, &OUTPUT)};
    if (!out->output)
        out->output = find(b, &OUTPUT_BIAS);
    if (!out->cells)
        out->cells = CELLS[0];
}
