#include "server/api/capture.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* ---- life ------------------------------------------------------------------------ */

static enum err_code begin_metrics(struct capture *c, struct err *err)
{
    const struct map_plan *p = c->plan;
    size_t T = p->T;
    c->metrics = mem_alloc(p->n_pieces * MAPS_METRICS + 1, sizeof *c->metrics);
    c->special = mem_alloc(T, sizeof *c->special);
    c->same = mem_alloc(3 * T, sizeof *c->same); /* before, behind, and the ids */
    if (!c->metrics || !c->special || !c->same)
        return err_set(err, ERR_NOMEM, "out of memory for the metrics of heads");
    int32_t *ids = c->same + 2 * T;
    for (size_t t = 0; t < T; t++) {
        c->special[t] = p->tokens->at[t].special;
        ids[t] = p->tokens->at[t].id;
    }
    maps_find_same(T, ids, c->same, c->same + T);
    c->measured = (struct maps_text){.n = T,
                                     .causal = p->info->mask == SEQ_MASK_CAUSAL,
                                     .special = c->special,
                                     .same_before = c->same,
                                     .same_behind = c->same + T};
    return ERR_OK;
}

static bool begin_output(struct capture *c)
{
    const struct map_plan *p = c->plan;
    size_t rows = map_plan_out_rows(p), keys = map_plan_out_keys(p);
    if (p->sparse)
        return map_sparse_init(&c->top, p->n_maps * rows, p->top_k, p->least);
    if (p->ask->encoding == MAP_JSON) {
        c->text = mem_zero(p->n_maps + 1, sizeof *c->text);
        return c->text != NULL;
    }
    c->map_bytes = rows * keys * map_dtype_bytes((enum map_dtype)p->ask->dtype);
    c->bytes = mem_zero(p->n_maps * c->map_bytes + 1, 1);
    return c->bytes != NULL;
}

enum err_code capture_init(struct capture *c, const struct map_plan *plan,
                           struct err *err)
{
    *c = (struct capture){.plan = plan};
    c->rows = plan->pooling ? 1 : plan->whole ? plan->T : plan->n_rows;
    size_t map = c->rows * plan->T;
    bool sums = plan->ask->layers_by != LAYERS_NONE;
    bool good = begin_output(c);
    if (good && !plan->nothing) {
        c->layer = mem_zero(plan->n_slots * map, sizeof *c->layer);
        c->scratch = mem_alloc(map, sizeof *c->scratch);
        c->picked = mem_alloc(map, sizeof *c->picked);
        if (sums)
            c->sums = mem_zero(plan->n_slots * map, sizeof *c->sums);
        good = c->layer && c->scratch && c->picked && (!sums || c->sums);
    }
    enum err_code code = ERR_OK;
    if (!good)
        code = err_set(err, ERR_NOMEM, "out of memory for the attention maps");
    else if (plan->ask->metrics)
        code = begin_metrics(c, err);
    if (code != ERR_OK)
        capture_done(c);
    return code;
}

void capture_done(struct capture *c)
{
    for (size_t i = 0; c->text && i < c->plan->n_maps; i++)
        json_write_done(&c->text[i]);
    mem_free(c->text);
    mem_free(c->bytes);
    map_sparse_done(&c->top);
    mem_free(c->layer);
    mem_free(c->sums);
    mem_free(c->scratch);
    mem_free(c->picked);
    mem_free(c->metrics);
    mem_free(c->special);
    mem_free(c->same);
    *c = (struct capture){0};
}

/* ---- one map --------------------------------------------------------------------- */

/* A map on its way through the steps; `spare` is where the next one may write. */
struct map {
    float *at, *spare;
    size_t rows, keys;
};

static void moved(struct map *m, size_t rows, size_t keys)
{
    float *was = m->at;
    m->at = m->spare;
    m->spare = was;
    m->rows = rows;
    m->keys = keys;
}

static void to_words(const struct map_plan *p, struct map *m)
{
    maps_word_keys(m->rows, p->T, p->word, p->n_units, m->at, m->spare);
    moved(m, m->rows, p->n_units);
    if (p->pooling)
        return;
    maps_word_queries(p->T, p->word, p->n_units, m->keys, m->at, m->spare);
    moved(m, p->n_units, p->n_units);
}

static void put_json(struct capture *c, size_t out, const struct map *m)
{
    const struct attention_request *ask = c->plan->ask;
    struct json_writer *w = &c->text[out];
    if (!c->plan->pooling)
        json_write_array(w);
    for (size_t r = 0; r < m->rows; r++)
        map_encode_json(w, (enum map_dtype)ask->dtype, (unsigned)ask->decimals, m->keys,
                        m->at + r * m->keys);
    if (!c->plan->pooling)
        json_write_end(w);
}

/* Map [rows,T] becomes number `out` of those that come out. What it stands on may be
 * overwritten. */
static void put_map(struct capture *c, size_t out, float *map)
{
    const struct map_plan *p = c->plan;
    struct map m = {map, c->scratch, c->rows, p->T};
    if (p->word)
        to_words(p, &m);
    if (p->whole && p->picks) {
        maps_pick(m.at, m.keys, p->row_at, p->n_rows, p->key_at, p->n_keys, c->picked);
        m = (struct map){c->picked, c->scratch, p->n_rows, p->n_keys};
    }
    if (p->ask->specials == SPECIALS_DROP_RENORMALIZE)
        c->massless |= !maps_renormalize(m.rows, m.keys, m.at);
    if (p->pool) {
        maps_pool(m.keys, p->pool, m.at, m.spare);
        moved(&m, p->pool, p->pool);
    }
    if (p->sparse)
        map_sparse_put(&c->top, out * m.rows, m.rows, m.keys, m.at);
    else if (c->text)
        put_json(c, out, &m);
    else
        map_encode((enum map_dtype)p->ask->dtype, m.rows * m.keys, m.at,
                   c->bytes + out * c->map_bytes);
}

/* ---- one layer ------------------------------------------------------------------- */

static bool has_slot(const struct map_plan *p, size_t layer, size_t slot)
{
    for (size_t h = 0; h < p->info->n_map_heads; h++)
        if (p->slot[layer * p->info->n_map_heads + h] == (long)slot)
            return true;
    return false;
}

static void measure(struct capture *c, size_t slot, const float *map)
{
    const struct map_plan *p = c->plan;
    size_t piece = p->piece[c->at * p->n_slots + slot];
    if (c->metrics)
        maps_metrics(&c->measured, map, c->metrics + piece * MAPS_METRICS);
}

/* The heads of the layer become the first of them. */
static void reduce_heads(struct capture *c, enum maps_reduce how, size_t map)
{
    for (size_t s = 1; s < c->plan->n_slots; s++)
        maps_fold(how, map, c->layer + s * map, c->layer);
    if (how == MAPS_MEAN)
        maps_mean_of(map, c->plan->n_slots, c->layer);
}

static void sum_layer(struct capture *c, size_t n_maps, size_t map)
{
    enum maps_reduce how = c->plan->ask->layers_by == LAYERS_MAX ? MAPS_MAX : MAPS_MEAN;
    if (c->plan->ask->layers_by == LAYERS_ROLLOUT) {
        maps_rollout(c->rows, c->layer, c->n_summed ? c->sums : NULL, c->scratch);
        memcpy(c->sums, c->scratch, map * sizeof *c->sums);
    } else if (c->n_summed) {
        maps_fold(how, n_maps * map, c->layer, c->sums);
    } else {
        memcpy(c->sums, c->layer, n_maps * map * sizeof *c->sums);
    }
    c->n_summed++;
}

/* The layer is complete: to what is asked of it. */
static void flush(struct capture *c)
{
    const struct map_plan *p = c->plan;
    size_t map = c->rows * p->T, n_maps = p->n_slots;
    bool rollout = p->ask->layers_by == LAYERS_ROLLOUT;
    enum maps_reduce how = rollout ? MAPS_MEAN : (enum maps_reduce)p->ask->heads_by;
    if (!c->open)
        return;
    assert(p->n_slots > 0);
    c->open = false;
    for (size_t s = 0; s < p->n_slots; s++)
        if (c->metrics && has_slot(p, c->at, s))
            measure(c, s, c->layer + s * map);
    if (p->pooling && p->ask->kind == SEQ_MAP_WEIGHTS)
        c->redundancy = maps_redundancy(p->n_slots, p->T, c->layer);
    if (how != MAPS_NONE) {
        reduce_heads(c, how, map);
        n_maps = 1;
    }
    if (c->sums) {
        sum_layer(c, n_maps, map);
        return;
    }
    for (size_t s = 0; s < n_maps; s++) {
        size_t piece = p->piece[c->at * p->n_slots + s];
        if (has_slot(p, c->at, s))
            put_map(c, how == MAPS_NONE ? piece : piece / p->n_slots, c->layer + s * map);
    }
}

/* ---- rows ------------------------------------------------------------------------ */

static bool is_sound(enum seq_map kind, size_t n, const float *p)
{
    float sum = 0;
    for (size_t i = 0; kind != SEQ_MAP_SCORES && i < n; i++)
        sum += p[i];
    bool sound = isfinite(sum);
    for (size_t i = 0; kind == SEQ_MAP_SCORES && i < n; i++)
        sound &= p[i] < INFINITY; /* no NaN either */
    return sound;
}

void capture_row(void *arg, size_t layer, size_t head, size_t query, size_t n_keys,
                 const float *p)
{
    struct capture *c = arg;
    const struct map_plan *plan = c->plan;
    bool scores = plan->ask->kind == SEQ_MAP_SCORES;
    if (c->open && layer != c->at)
        flush(c);
    long slot = plan->slot[layer * plan->info->n_map_heads + head];
    long place = plan->whole ? (long)query : plan->place[query];
    if (slot == SELECTION_NONE || place == SELECTION_NONE)
        return;
    float *row = c->layer + ((size_t)slot * c->rows + (size_t)place) * plan->T;
    memcpy(row, p, n_keys * sizeof *row);
    for (size_t k = n_keys; k < plan->T; k++)
        row[k] = scores ? -INFINITY : 0;
    c->not_finite |= !is_sound((enum seq_map)plan->ask->kind, n_keys, p);
    c->at = layer;
    c->open = true;
}

/* ---- the end --------------------------------------------------------------------- */

static void put_sums(struct capture *c)
{
    const struct map_plan *p = c->plan;
    size_t map = c->rows * p->T;
    if (p->ask->layers_by == LAYERS_MEAN)
        maps_mean_of(p->n_maps * map, c->n_summed, c->sums);
    for (size_t i = 0; i < p->n_maps; i++)
        put_map(c, i, c->sums + i * map);
}

enum err_code capture_finish(struct capture *c, struct err *err)
{
    flush(c);
    if (c->not_finite)
        return err_set(err, ERR_BUG, "an attention weight is not finite");
    if (c->sums && c->n_summed)
        put_sums(c);
    if (c->plan->sparse)
        map_sparse_finish(&c->top);
    for (size_t i = 0; c->text && i < c->plan->n_maps; i++)
        if (c->text[i].buf.failed)
            return err_set(err, ERR_NOMEM, "out of memory for the attention maps");
    return ERR_OK;
}

size_t capture_values(const struct capture *c)
{
    size_t left_out = c->top.n_rows * c->top.k - c->top.n;
    return map_plan_values(c->plan) - 2 * left_out;
}

unsigned char *capture_take_bytes(struct capture *c)
{
    unsigned char *bytes = c->bytes;
    c->bytes = NULL;
    return bytes;
}

/* One that nothing was computed of has no rows. */
static void write_map(struct capture *c, size_t i, struct json_writer *w)
{
    if (c->text[i].buf.n)
        json_write_raw(w, c->text[i].buf.at, c->text[i].buf.n);
    else
        json_write_raw(w, "[]", 2);
    json_write_done(&c->text[i]);
}

void capture_write_json(struct capture *c, struct json_writer *w)
{
    const struct map_plan *p = c->plan;
    size_t outer = p->n_axes - (p->pooling ? 1 : 2); /* axes in front of a map's own */
    size_t inner = outer > 1 ? p->axes[1].n : 1;
    if (outer)
        json_write_array(w);
    for (size_t i = 0; i < (outer ? p->axes[0].n : 1); i++) {
        if (outer > 1)
            json_write_array(w);
        for (size_t j = 0; j < inner; j++)
            write_map(c, i * inner + j, w);
        if (outer > 1)
            json_write_end(w);
    }
    if (outer)
        json_write_end(w);
}
