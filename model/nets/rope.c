#include "model/nets/rope.h"

#include "model/base/mem.h"
#include "model/nets/cache.h"
#include "model/nets/layers.h"

#include <assert.h>
#include <math.h>

/* ---- frequencies ----------------------------------------------------------------- */

/* Llama 3.1: long waves are stretched, short ones stay, those between are mixed. */
static float stretch_long_waves(const struct rope_config *c, float f)
{
    float old = (float)c->original_context, factor = (float)c->factor;
    float low = (float)c->low_freq_factor, high = (float)c->high_freq_factor;
    float wave = (float)(2 * M_PI) / f;
    if (wave < old / high)
        return f;
    if (wave > old / low)
        return f / factor;
    float smooth = (old / wave - low) / (high - low);
    return (1 - smooth) * f / factor + smooth * f;
}

/* YaRN (Peng et al. 2023): the pair that turns `turns` times over the original context,
 * as a fraction. */
static double pair_of(const struct rope_config *c, size_t E, double turns)
{
    return (double)E * log(c->original_context / (turns * 2 * M_PI)) /
           (2 * log(c->theta));
}

/* YaRN: fast pairs stay, slow ones are stretched, with a ramp between them. power is
 * theta^(2j/E). */
static float ramp(const struct rope_config *c, size_t E, size_t j, float power)
{
    double low = fmax(floor(pair_of(c, E, c->beta_fast)), 0);
    double high = fmin(ceil(pair_of(c, E, c->beta_slow)), (double)E - 1);
    if (low == high)
        high += 0.001;
    float at = ((float)j - (float)low) / (float)(high - low);
    float keep = 1 - fminf(fmaxf(at, 0), 1);
    return 1 / ((float)c->factor * power) * (1 - keep) + 1 / power * keep;
}

static float frequency(const struct rope_config *c, size_t E, size_t j)
{
    float power =
        (float)pow((double)(float)c->theta, (double)((float)(2 * j) / (float)E));
    switch (c->kind) {
    case ROPE_LINEAR:
        return 1 / power / (float)c->factor;
    case ROPE_LLAMA3:
        return stretch_long_waves(c, 1 / power);
    case ROPE_YARN:
        return ramp(c, E, j, power);
    case ROPE_NONE:
    case ROPE_DEFAULT:
        break;
    }
    return 1 / power;
}

void rope_load(struct builder *b, struct rope *r, const struct rope_config *c, size_t E)
{
    assert(E % 2 == 0);
    r->half = E / 2;
    r->factor = c->kind == ROPE_YARN ? (float)c->attention_factor : 1;
    r->frequency = builder_array(b, r->half, sizeof *r->frequency);
    for (size_t j = 0; r->frequency && j < r->half; j++)
        r->frequency[j] = frequency(c, E, j);
}

void rope_done(struct rope *r)
{
    mem_free(r->frequency);
}

/* ---- a pass ---------------------------------------------------------------------- */

struct turns_job {
    const struct rope *r;
    size_t position; /* of row 0 */
    float *turns;
};

static void turn_rows(void *arg, size_t first, size_t last)
{
    const struct turns_job *j = arg;
    size_t half = j->r->half;
    for (size_t t = first; t < last; t++) {
        float *cosines = j->turns + t * 2 * half, *sines = cosines + half;
        for (size_t i = 0; i < half; i++) {
            float angle = (float)(j->position + t) * j->r->frequency[i];
            cosines[i] = (float)cos((double)angle) * j->r->factor;
            sines[i] = (float)sin((double)angle) * j->r->factor;
        }
    }
}

void rope_turns(const struct rope *r, const struct net_batch *batch, struct exec *x,
                float *turns)
{
    enum { NS = 60 }; /* of one sine and cosine */
    for (size_t b = 0; b < batch->B; b++) {
        size_t start = batch->starts[b];
        const struct cache *cache = cache_of(batch, b);
        struct turns_job j = {.r = r,
                              .position = cache ? cache_length(cache) : 0,
                              .turns = turns + start * 2 * r->half};
        layer_rows(x, batch->starts[b + 1] - start, r->half * NS, turn_rows, &j);
    }
}

struct rotate_job {
    const struct kernels *k;
    const struct rope *r;
    size_t n_heads, ld;
    const float *turns; /* [T,2,half] */
    float *rows;        /* [T,ld] */
};

static void rotate_rows(void *arg, size_t first, size_t last)
{
    const struct rotate_job *j = arg;
    size_t half = j->r->half;
    for (size_t t = first; t < last; t++) {
        const float *cosines = j->turns + t * 2 * half;
        for (size_t h = 0; h < j->n_heads; h++)
            j->k->rotate(2 * half, cosines, cosines + half,
                         j->rows + t * j->ld + h * 2 * half);
    }
}

void rope_rotate(const struct rope *r, size_t T, size_t n_heads, size_t ld,
                 const float *turns, struct exec *x, float *rows)
{
    struct rotate_job j = {
        .k = x->k, .r = r, .n_heads = n_heads, .ld = ld, .turns = turns, .rows = rows};
    layer_rows(x, T, n_heads * r->half / 2, rotate_rows, &j);
}
