#include "server/api/map_plan.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

/* ---- heads ----------------------------------------------------------------------- */

static enum err_code no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "out of memory for the request's maps");
}

static enum err_code choose_product(struct map_plan *p, struct err *err)
{
    const struct seq_info *info = p->info;
    enum err_code code =
        selection_init(&p->layers, "layers", &p->ask->layers, info->n_map_layers, err);
    if (code == ERR_OK)
        code = selection_init(&p->heads, "heads", &p->ask->heads, info->n_map_heads, err);
    if (code != ERR_OK)
        return code;
    p->n_slots = p->heads.n;
    p->n_pieces = p->layers.n * p->heads.n;
    p->piece = mem_alloc(info->n_map_layers * p->n_slots + 1, sizeof *p->piece);
    if (!p->piece)
        return no_memory(err);
    for (size_t l = 0; l < p->layers.n; l++)
        for (size_t h = 0; h < p->heads.n; h++) {
            size_t layer = p->layers.at[l];
            p->slot[layer * info->n_map_heads + p->heads.at[h]] = (long)h;
            p->piece[layer * p->n_slots + h] = l * p->heads.n + h;
        }
    return ERR_OK;
}

/* Pair i of "select" as a place in p->slot. */
static enum err_code find_pair(const struct map_plan *p, size_t i, size_t *at,
                               struct err *err)
{
    const int64_t *pair = p->ask->select.at + 2 * i;
    int64_t n[2] = {(int64_t)p->info->n_map_layers, (int64_t)p->info->n_map_heads};
    char param[ERR_PARAM_BYTES];
    size_t index[2];
    snprintf(param, sizeof param, "select[%zu]", i);
    for (size_t j = 0; j < 2; j++) {
        if (pair[j] < -n[j] || pair[j] >= n[j])
            return err_param(err, ERR_INPUT, param,
                             "\"%s\" names %s %lld; there are %lld", param,
                             j ? "head" : "layer", (long long)pair[j], (long long)n[j]);
        index[j] = (size_t)(pair[j] < 0 ? pair[j] + n[j] : pair[j]);
    }
    *at = index[0] * p->info->n_map_heads + index[1];
    if (p->slot[*at] != SELECTION_NONE)
        return err_param(err, ERR_INPUT, param, "\"%s\" is chosen already", param);
    return ERR_OK;
}

static enum err_code choose_pairs(struct map_plan *p, struct err *err)
{
    size_t n = p->ask->select.n / 2, H = p->info->n_map_heads, at = 0;
    p->n_pieces = n;
    for (size_t i = 0; i < n; i++) {
        if (find_pair(p, i, &at, err) != ERR_OK)
            return err->code;
        size_t slot = 0; /* behind those of its layer so far */
        for (size_t j = at / H * H; j < at / H * H + H; j++)
            slot += p->slot[j] != SELECTION_NONE;
        p->slot[at] = (long)slot;
        p->n_slots = slot >= p->n_slots ? slot + 1 : p->n_slots;
    }
    p->piece = mem_alloc(p->info->n_map_layers * p->n_slots + 1, sizeof *p->piece);
    if (!p->piece)
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        const int64_t *pair = p->ask->select.at + 2 * i;
        size_t layer =
            (size_t)(pair[0] < 0 ? pair[0] + (int64_t)p->info->n_map_layers : pair[0]);
        size_t head = (size_t)(pair[1] < 0 ? pair[1] + (int64_t)H : pair[1]);
        p->piece[layer * p->n_slots + (size_t)p->slot[layer * H + head]] = i;
    }
    return ERR_OK;
}

/* Of nothing there is no mean. */
static enum err_code check_reduced(const struct map_plan *p, struct err *err)
{
    bool rollout = p->ask->layers_by == LAYERS_ROLLOUT;
    bool one = p->pooling && p->ask->heads_by != MAPS_NONE; /* row, of the one layer */
    if ((one || p->ask->layers_by != LAYERS_NONE) && p->layers.n == 0)
        return err_param(err, ERR_INPUT, "layers", "\"reduce\" needs at least one layer");
    if ((p->ask->heads_by != MAPS_NONE || rollout) && p->heads.n == 0)
        return err_param(err, ERR_INPUT, "heads", "\"reduce\" needs at least one head");
    return ERR_OK;
}

static enum err_code choose_heads(struct map_plan *p, struct err *err)
{
    size_t n = p->info->n_map_layers * p->info->n_map_heads;
    p->slot = mem_alloc(n + 1, sizeof *p->slot);
    if (!p->slot)
        return no_memory(err);
    for (size_t i = 0; i < n; i++)
        p->slot[i] = SELECTION_NONE;
    enum err_code code =
        p->ask->select.at ? choose_pairs(p, err) : choose_product(p, err);
    if (code == ERR_OK)
        code = check_reduced(p, err);
    for (size_t i = 0; i < n && code == ERR_OK; i++)
        if (p->slot[i] != SELECTION_NONE)
            p->n_layers = i / p->info->n_map_heads + 1;
    return code;
}

/* ---- rows and keys --------------------------------------------------------------- */

/* Words are runs of tokens of the same word; a special token is one of its own. */
static enum err_code find_units(struct map_plan *p, const struct seq_model *m,
                                struct err *err)
{
    p->first = mem_alloc(p->T + 1, sizeof *p->first);
    if (p->ask->tokens_by)
        p->word = mem_alloc(p->T, sizeof *p->word);
    if (!p->first || (p->ask->tokens_by && !p->word))
        return no_memory(err);
    for (size_t t = 0; t < p->T; t++) {
        bool more = p->word && seq_continues_word(m, p->tokens, t);
        if (!more)
            p->first[p->n_units++] = t;
        if (p->word)
            p->word[t] = p->n_units - 1;
    }
    p->first[p->n_units] = p->T;
    return ERR_OK;
}

static void choose_keys(struct map_plan *p)
{
    bool drops = p->ask->specials != SPECIALS_KEEP;
    for (size_t u = 0; u < p->n_units; u++) {
        p->place[u] = SELECTION_NONE;
        if (!drops || !p->tokens->at[p->first[u]].special)
            p->key_at[p->n_keys++] = u;
    }
    p->picks = p->n_keys < p->n_units;
}

/* Rows of self-attention are chosen among those that are there as keys. */
static void choose_rows(struct map_plan *p, const struct selection *queries)
{
    p->n_rows = queries->n;
    for (size_t i = 0; i < queries->n; i++) {
        p->row_at[i] = p->pooling ? 0 : p->key_at[queries->at[i]];
        p->place[p->row_at[i]] = (long)i;
        p->picks |= p->row_at[i] != i;
    }
    p->picks |= !p->pooling && p->n_rows < p->n_units;
}

static enum err_code choose(struct map_plan *p, struct err *err)
{
    struct selection queries = {0};
    p->key_at = mem_alloc(p->n_units + 1, sizeof *p->key_at);
    p->row_at = mem_alloc(p->n_units + 1, sizeof *p->row_at);
    p->place = mem_alloc(p->n_units + 1, sizeof *p->place);
    if (!p->key_at || !p->row_at || !p->place)
        return no_memory(err);
    choose_keys(p);
    enum err_code code = selection_init(&queries, "queries", &p->ask->queries,
                                        p->pooling ? 1 : p->n_keys, err);
    if (code == ERR_OK && p->pooling && queries.n == 0)
        code = err_param(err, ERR_INPUT, "queries", "attention pooling has one row");
    if (code == ERR_OK)
        choose_rows(p, &queries);
    selection_done(&queries);
    return code;
}

/* ---- the shape ------------------------------------------------------------------- */

static void add_axis(struct map_plan *p, const char *name, size_t n)
{
    p->axes[p->n_axes].name = name;
    p->axes[p->n_axes++].n = n;
}

static void find_shape(struct map_plan *p)
{
    const struct attention_request *ask = p->ask;
    bool rollout = ask->layers_by == LAYERS_ROLLOUT;
    size_t keys = map_plan_out_keys(p);
    if (ask->select.at)
        add_axis(p, "pair", p->n_pieces);
    if (!ask->select.at && !p->pooling && ask->layers_by == LAYERS_NONE)
        add_axis(p, "layer", p->layers.n);
    if (!ask->select.at && ask->heads_by == MAPS_NONE && !rollout)
        add_axis(p, p->pooling ? "hop" : "head", p->pooling ? p->n_pieces : p->heads.n);
    p->n_maps = 1;
    for (size_t i = 0; i < p->n_axes; i++)
        p->n_maps *= p->axes[i].n;
    if (!p->pooling)
        add_axis(p, "query", map_plan_out_rows(p));
    add_axis(p, "key", p->sparse && p->least <= 0 ? p->top_k : keys);
}

/* Of weights whose sum is 1 at most, only so many can be as large as min_weight. */
static size_t most_entries(const struct map_plan *p)
{
    const struct attention_request *ask = p->ask;
    bool shares = ask->kind == SEQ_MAP_WEIGHTS && ask->heads_by != MAPS_MAX &&
                  ask->layers_by != LAYERS_MAX;
    size_t most = p->n_keys;
    if (ask->top_k && (size_t)ask->top_k < most)
        most = (size_t)ask->top_k;
    double reach = shares && p->least > 0 ? 1.001 / (double)p->least : INFINITY;
    return reach < (double)most ? (size_t)reach : most;
}

enum err_code map_plan_init(struct map_plan *p, const struct attention_request *ask,
                            const struct model *m, const struct seq_tokens *tokens,
                            struct err *err)
{
    *p = (struct map_plan){.ask = ask,
                           .info = m->info,
                           .tokens = tokens,
                           .T = tokens->n,
                           .pooling = m->info->mask == SEQ_MASK_POOLING};
    enum err_code code = choose_heads(p, err);
    if (code == ERR_OK)
        code = find_units(p, m->seq, err);
    if (code == ERR_OK)
        code = choose(p, err);
    if (code != ERR_OK) {
        map_plan_done(p);
        return code;
    }
    size_t square = p->n_rows < p->n_keys ? p->n_rows : p->n_keys;
    p->pool = (size_t)ask->pool < square ? (size_t)ask->pool : square;
    if (!ask->pool)
        p->pool = 0;
    if (ask->min_weight > 0)
        p->least = fmaxf((float)ask->min_weight, FLT_MIN);
    p->sparse = ask->top_k || p->least > 0;
    if (p->sparse)
        p->top_k = most_entries(p);
    p->whole = p->word || ask->specials != SPECIALS_KEEP || ask->pool || ask->metrics ||
               ask->layers_by == LAYERS_ROLLOUT || p->pooling;
    p->nothing = p->n_pieces == 0 || (p->n_rows == 0 && !ask->metrics);
    find_shape(p);
    return ERR_OK;
}

void map_plan_done(struct map_plan *p)
{
    selection_done(&p->layers);
    selection_done(&p->heads);
    mem_free(p->slot);
    mem_free(p->piece);
    mem_free(p->word);
    mem_free(p->first);
    mem_free(p->row_at);
    mem_free(p->key_at);
    mem_free(p->place);
    *p = (struct map_plan){0};
}

/* ---- sizes ----------------------------------------------------------------------- */

size_t map_plan_out_rows(const struct map_plan *p)
{
    return p->pool ? p->pool : p->n_rows;
}

size_t map_plan_out_keys(const struct map_plan *p)
{
    return p->pool ? p->pool : p->n_keys;
}

static size_t product(size_t a, size_t b, size_t c)
{
    size_t n;
    return mem_mul(a, b, &n) && mem_mul(n, c, &n) ? n : SIZE_MAX;
}

static size_t sum(size_t a, size_t b)
{
    size_t n;
    return mem_add(a, b, &n) ? n : SIZE_MAX;
}

size_t map_plan_values(const struct map_plan *p)
{
    size_t rows = product(p->n_maps, map_plan_out_rows(p), 1);
    size_t n = product(rows, p->sparse ? p->top_k : map_plan_out_keys(p), 1);
    if (p->sparse) /* index and value of each, and what is left over */
        n = sum(product(n, 2, 1), rows);
    if (p->least > 0) /* and where each row begins */
        n = sum(n, sum(rows, 1));
    return p->ask->metrics ? sum(n, p->n_pieces * MAPS_METRICS) : n;
}

size_t map_plan_floats(const struct map_plan *p)
{
    enum { SCRATCH = 2 }; /* maps between the steps */
    size_t rows = p->pooling ? 1 : p->whole ? p->T : p->n_rows;
    size_t map = product(rows, p->T, 1);
    bool sums = p->ask->layers_by != LAYERS_NONE;
    return p->nothing ? 0 : product(map, sum(p->n_slots * (sums ? 2 : 1), SCRATCH), 1);
}

/* ---- what rows sum to ------------------------------------------------------------ */

bool map_plan_row_sum(const struct map_plan *p, double *tolerance, double *rounding)
{
    const struct attention_request *ask = p->ask;
    bool one = ask->kind == SEQ_MAP_WEIGHTS && ask->heads_by <= MAPS_MEAN &&
               ask->layers_by != LAYERS_MAX && ask->specials != SPECIALS_DROP &&
               !p->pool && !p->sparse && p->n_keys > 0;
    /* The softmax's own bound; and a unit of the last place for each addition. */
    double keys = (double)p->T, added = 0;
    if (ask->heads_by == MAPS_MEAN || ask->layers_by == LAYERS_ROLLOUT)
        added += (double)p->n_slots;
    if (ask->layers_by == LAYERS_MEAN)
        added += (double)p->layers.n;
    if (ask->layers_by == LAYERS_ROLLOUT)
        added += (double)p->layers.n * keys;
    if (p->word)
        added += 2 * keys;
    size_t layers = ask->layers_by == LAYERS_ROLLOUT ? p->layers.n : 1;
    *tolerance = 4e-6 * (double)(layers ? layers : 1) + added * 0x1p-23;
    *rounding = map_dtype_row_error((enum map_dtype)ask->dtype, p->n_keys);
    if (ask->encoding == MAP_JSON && ask->dtype != MAP_UINT8)
        *rounding = 0.5 * pow(10, -(double)ask->decimals) * (double)p->n_keys;
    return one;
}
