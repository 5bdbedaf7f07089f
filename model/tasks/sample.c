#include "model/tasks/sample.h"

#include "model/base/mem.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

/* ---- random numbers -------------------------------------------------------------- */

enum { PHILOX_ROUNDS = 10 };

void sample_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (size_t i = 0; i < PHILOX_ROUNDS; i++) {
        uint64_t a = UINT64_C(0xD2511F53) * c0, b = UINT64_C(0xCD9E8D57) * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)a;
        k0 += UINT32_C(0x9E3779B9);
        k1 += UINT32_C(0xBB67AE85);
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

double sample_random(uint64_t seed, uint64_t step)
{
    uint32_t counter[4] = {(uint32_t)step, (uint32_t)(step >> 32), 0, 0}, out[4];
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    sample_philox(counter, key, out);
    uint64_t bits = (uint64_t)out[1] << 32 | out[0];
    return (double)(bits >> 11) * 0x1p-53;
}

/* ---- checking -------------------------------------------------------------------- */

static enum err_code check_range(const char *name, double v, double low, double high,
                                 struct err *err)
{
    if (v >= low && v <= high)
        return ERR_OK;
    return err_param(err, ERR_INPUT, name, "%s is %g, it must be %g to %g", name, v, low,
                     high);
}

enum { BIAS_MAX = 1000 };

static enum err_code check_bias(const struct seq_sampling *how, size_t V, struct err *err)
{
    for (size_t i = 0; i < how->n_bias; i++) {
        const struct seq_bias *b = &how->bias[i];
        if (b->id < 0 || (size_t)b->id >= V)
            return err_param(err, ERR_INPUT, "bias",
                             "token id %d is outside the vocabulary of %zu", b->id, V);
        if (b->bias != -INFINITY && !(fabsf(b->bias) <= BIAS_MAX))
            return err_param(err, ERR_INPUT, "bias",
                             "the bias of token %d is %g, it must be -%d to %d, or "
                             "-inf to forbid it",
                             b->id, (double)b->bias, BIAS_MAX, BIAS_MAX);
    }
    return ERR_OK;
}

static enum err_code check(const struct seq_sampling *how, size_t V, struct err *err)
{
    const struct {
        const char *name;
        double value, low, high;
    } fields[] = {{"temperature", how->temperature, 0, 10},
                  {"top_p", how->top_p, 0, 1},
                  {"min_p", how->min_p, 0, 1},
                  {"repetition_penalty", how->repetition_penalty, 0, 100},
                  {"presence_penalty", how->presence_penalty, -100, 100},
                  {"frequency_penalty", how->frequency_penalty, -100, 100}};
    enum err_code code = check_bias(how, V, err);
    for (size_t i = 0; i < sizeof fields / sizeof *fields && code == ERR_OK; i++)
        code = check_range(fields[i].name, fields[i].value, fields[i].low, fields[i].high,
                           err);
    return code;
}

/* ---- marks ----------------------------------------------------------------------- */

/* The slot of an id's mark, or the empty one where it goes. */
static uint32_t *slot_of(const struct sampler *s, int32_t id)
{
    size_t at = (uint32_t)id * UINT32_C(0x9E3779B1) & s->mask;
    while (s->slot[at] && s->mark[s->slot[at] - 1].id != id)
        at = (at + 1) & s->mask;
    return &s->slot[at];
}

/* The id's mark, a new one if need be; `fresh` tells. */
static struct sampler_mark *mark_of(struct sampler *s, int32_t id, bool *fresh)
{
    uint32_t *slot = slot_of(s, id);
    *fresh = *slot == 0;
    if (*fresh) {
        assert(s->n_marks < s->room);
        s->mark[s->n_marks] = (struct sampler_mark){.id = id};
        *slot = (uint32_t)++s->n_marks;
    }
    return &s->mark[*slot - 1];
}

static enum err_code put_bias(struct sampler *s, const struct seq_sampling *how, size_t V,
                              struct err *err)
{
    size_t forbidden = 0;
    for (size_t i = 0; i < how->n_bias; i++) {
        bool fresh;
        struct sampler_mark *mark = mark_of(s, how->bias[i].id, &fresh);
        if (!fresh)
            return err_param(err, ERR_INPUT, "bias", "token id %d has two biases",
                             mark->id);
        mark->bias = how->bias[i].bias;
        forbidden += mark->bias == -INFINITY;
    }
    if (forbidden == V)
        return err_param(err, ERR_INPUT, "bias", "every token is forbidden");
    return ERR_OK;
}

enum err_code sampler_init(struct sampler *s, const struct seq_sampling *how, size_t V,
                           size_t most, struct err *err)
{
    *s = (struct sampler){.how = *how};
    s->how.bias = NULL;
    enum err_code code = check(how, V, err);
    if (code != ERR_OK)
        return code;
    if (s->how.repetition_penalty == 0)
        s->how.repetition_penalty = 1;
    s->penalties = s->how.repetition_penalty != 1 || s->how.presence_penalty != 0 ||
                   s->how.frequency_penalty != 0;
    size_t seen = s->penalties ? most : 0;
    /* Different ids, so no more than V. One more than that shows a bias given twice. */
    s->room = how->n_bias < V && seen < V - how->n_bias ? how->n_bias + seen : V;
    if (s->room == 0)
        return ERR_OK;
    s->mask = 1;
    while (s->mask < 2 * s->room)
        s->mask *= 2;
    s->mark = mem_alloc(s->room, sizeof *s->mark);
    s->slot = mem_zero(s->mask, sizeof *s->slot);
    s->mask--;
    if (!s->mark || !s->slot)
        return err_set(err, ERR_NOMEM, "out of memory: %zu tokens' biases and penalties",
                       s->room);
    return put_bias(s, how, V, err);
}

void sampler_done(struct sampler *s)
{
    mem_free(s->mark);
    mem_free(s->slot);
    *s = (struct sampler){0};
}

void sampler_saw(struct sampler *s, int32_t id, bool generated)
{
    bool fresh;
    if (!s->penalties)
        return;
    struct sampler_mark *mark = mark_of(s, id, &fresh);
    mark->seen = true;
    mark->generated += generated;
}

/* The logit as bias and penalties make it. */
static float changed(const struct sampler *s, const struct sampler_mark *mark,
                     float logit)
{
    double z = (double)logit + (double)mark->bias;
    if (s->penalties && mark->seen)
        z = z > 0 ? z / s->how.repetition_penalty : z * s->how.repetition_penalty;
    if (mark->generated > 0)
        z -= s->how.presence_penalty + mark->generated * s->how.frequency_penalty;
    return (float)(z > FLT_MAX ? FLT_MAX : z);
}

/* ---- rows ------------------------------------------------------------------------ */

void sample_clean(size_t V, float *logits)
{
    for (size_t i = 0; i < V; i++) {
        float z = logits[i];
        z = z > FLT_MAX ? FLT_MAX : z;
        logits[i] = z == z ? z : -INFINITY;
    }
}

size_t sample_bytes(size_t V)
{
    return 2 * arena_float_cost(V) + arena_byte_cost(V * sizeof(int32_t));
}

enum err_code sample_take(struct sample_kept *kept, size_t V, struct arena *tmp,
                          struct err *err)
{
    *kept = (struct sample_kept){.id = arena_bytes(tmp, V * sizeof *kept->id),
                                 .logit = arena_floats(tmp, V),
                                 .weight = arena_floats(tmp, V)};
    if (!kept->id || !kept->logit || !kept->weight)
        return err_set(err, ERR_BUG, "arena too small to sample from %zu tokens", V);
    return ERR_OK;
}

/* ---- blocks ---------------------------------------------------------------------- */

enum { BLOCK = KERNELS_COLUMNS };

/* Cleans the row; the largest logit of each block goes to top [V / BLOCK, rounded up].
 * Returns that of all. */
static float clean_blocks(const struct kernels *k, size_t V, float *logits, float *top)
{
    float most = -INFINITY;
    for (size_t at = 0, n; at < V; at += n) {
        struct tally t;
        n = V - at < BLOCK ? V - at : BLOCK;
        k->tally(n, logits + at, 0, &t);
        if (isnan(t.sum)) {
            sample_clean(n, logits + at);
            k->tally(n, logits + at, 0, &t);
        }
        most = t.top > most ? t.top : most;
        *top++ = t.top;
    }
    return most;
}

/* Lists the tokens of logits from `least` on. out->weight holds the blocks' largest. */
static void gather(size_t V, const float *logits, float least, struct sample_kept *out)
{
    size_t n = 0;
    for (size_t at = 0, end; at < V; at = end) {
        end = V - at < BLOCK ? V : at + BLOCK;
        if (out->weight[at / BLOCK] < least)
            continue;
        for (size_t i = at; i < end; i++) { /* no branch that nobody can foretell */
            out->id[n] = (int32_t)i;
            out->logit[n] = logits[i];
            n += logits[i] >= least;
        }
    }
    out->n = n;
}

/* Four sums beside each other, which the processor adds at the same time. */
static double sum_of(size_t n, const float *x)
{
    double sum[4] = {0};
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (size_t k = 0; k < 4; k++)
            sum[k] += x[i + k];
    for (; i < n; i++)
        sum[0] += x[i];
    return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

/* ---- selecting ------------------------------------------------------------------- */

/* A key with the order of the numbers. */
static uint32_t key_of(float z)
{
    uint32_t bits;
    z += 0.0f; /* -0 is 0 */
    memcpy(&bits, &z, sizeof bits);
    return bits ^ (bits >> 31 ? UINT32_MAX : UINT32_C(1) << 31);
}

static float number_of(uint32_t key)
{
    float z;
    uint32_t bits = key ^ (key >> 31 ? UINT32_C(1) << 31 : UINT32_MAX);
    memcpy(&z, &bits, sizeof z);
    return z;
}

enum { DIGITS = 3, DIGIT_BITS = 11, DIGIT = 1 << DIGIT_BITS };

/* The largest logits that together have `enough`, where each has its weight (NULL: 1). */
struct selection {
    uint32_t last; /* the key of the smallest of them */
    double above;  /* what those above it have */
};

static struct selection select_enough(size_t n, const float *logit, const float *weight,
                                      double enough)
{
    static const unsigned shifts[DIGITS] = {21, 10, 0};
    double sum[DIGIT]; /* of the logits whose key begins like `last`, by the next digit */
    struct selection s = {0};
    for (size_t d = 0; d < DIGITS; d++) {
        unsigned shift = shifts[d], bits = d + 1 < DIGITS ? DIGIT_BITS : 10;
        uint32_t low = (UINT32_C(1) << bits) - 1;
        memset(sum, 0, sizeof sum);
        for (size_t i = 0; i < n; i++) {
            uint32_t key = key_of(logit[i]);
            if (key >> shift >> bits == s.last >> shift >> bits)
                sum[key >> shift & low] += weight ? weight[i] : 1;
        }
        /* Rounding may leave the sum of all short of enough: then it is the last digit
         * that anything has. */
        uint32_t at = 0;
        double above = s.above, before = above;
        for (uint32_t v = low + 1; v-- > 0 && above < enough;)
            if (sum[v] > 0) {
                at = v;
                before = above;
                above += sum[v];
            }
        s.above = before;
        s.last |= at << shift;
    }
    return s;
}

/* Returns the weight. */
static double move(struct sample_kept *c, size_t to, size_t from)
{
    c->id[to] = c->id[from];
    c->logit[to] = c->logit[from];
    return c->weight[to] = c->weight[from];
}

/* Like TopKLogitsWarper, which keeps all that equal the last one. Before the weights. */
static void keep_top_k(struct sample_kept *c, size_t top_k)
{
    if (top_k == 0 || top_k >= c->n)
        return;
    float last = number_of(select_enough(c->n, c->logit, NULL, (double)top_k).last);
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++) {
        c->id[n] = c->id[i];
        c->logit[n] = c->logit[i];
        n += c->logit[i] >= last;
    }
    c->n = n;
}

static void keep_weights(struct sample_kept *c, double least)
{
    size_t n = 0;
    least = fmax(least, DBL_MIN); /* not 0 */
    for (size_t i = 0; i < c->n; i++)
        n += move(c, n, i) >= least;
    c->n = n;
}

/* Of those that equal the last one, the lower ids. */
static void keep_top_p(struct sample_kept *c, double top_p)
{
    if (top_p == 0 || top_p == 1)
        return;
    double all = sum_of(c->n, c->weight), enough = top_p * all;
    /* If n tokens have this at most they don't have together what isn't needed. */
    keep_weights(c, (all - enough) / (2 * (double)c->n));
    struct selection s = select_enough(c->n, c->logit, c->weight, enough);
    float last = number_of(s.last);
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++) {
        float logit = c->logit[i];
        bool tie = logit == last && s.above < enough;
        if (tie)
            s.above += c->weight[i];
        move(c, n, i);
        n += tie || logit > last;
    }
    c->n = n;
}

/* weight = exp((logit - max) / temperature) */
static void weigh(struct sample_kept *c, const struct kernels *k, double max,
                  double temperature)
{
    enum { AT_ONCE = 8 };
    double scale = fmin(1 / temperature, DBL_MAX); /* 0 stays 0 */
    size_t i = 0;
    for (; i + AT_ONCE <= c->n; i += AT_ONCE) {
        float x[AT_ONCE];
        memcpy(x, c->logit + i, sizeof x);
        for (size_t j = 0; j < AT_ONCE; j++)
            x[j] = (float)(((double)x[j] - max) * scale);
        memcpy(c->weight + i, x, sizeof x);
    }
    for (; i < c->n; i++)
        c->weight[i] = (float)(((double)c->logit[i] - max) * scale);
    k->exp(c->n, c->weight);
}

/* ---- from row to token ----------------------------------------------------------- */

/* e^-88 is 0 to the kernels: results below FLT_MIN are. */
enum { NOTHING = 88 };

/* A logit below which no token is kept, or has no weight. Of k blocks each has a token as
 * good as the k-th best largest of a block. */
static float least_of(const struct seq_sampling *how, size_t n_blocks,
                      const float *block_top, double max)
{
    double least = max - NOTHING * how->temperature;
    if (how->min_p > 0 && (how->top_p == 0 || how->top_p == 1))
        least = fmax(least, max + how->temperature * (log(how->min_p) - 1e-4));
    if (how->top_k > 0 && how->top_k <= n_blocks)
        least = fmax(
            least,
            number_of(select_enough(n_blocks, block_top, NULL, (double)how->top_k).last));
    return (float)fmax(least, -FLT_MAX);
}

static void keep_some(const struct seq_sampling *how, const struct kernels *k, size_t V,
                      float *logits, struct sample_kept *out)
{
    float max = clean_blocks(k, V, logits, out->weight);
    out->n = 0;
    if (max == -INFINITY)
        return;
    if (how->temperature == 0) {
        gather(V, logits, max, out);
        out->n = 1;
        out->weight[0] = 1;
        return;
    }
    gather(V, logits, least_of(how, (V + BLOCK - 1) / BLOCK, out->weight, max), out);
    keep_top_k(out, how->top_k);
    weigh(out, k, max, how->temperature);
    keep_top_p(out, how->top_p);
    keep_weights(out, how->min_p);
}

void sampler_keep(const struct sampler *s, const struct kernels *k, size_t V,
                  float *logits, struct sample_kept *out)
{
    for (size_t i = 0; i < s->n_marks; i++) {
        struct sampler_mark *mark = &s->mark[i];
        float *logit = &logits[mark->id];
        sample_clean(1, logit);
        mark->was = *logit;
        *logit = changed(s, mark, mark->was);
    }
    keep_some(&s->how, k, V, logits, out);
    for (size_t i = 0; i < s->n_marks; i++)
        logits[s->mark[i].id] = s->mark[i].was;
}

int32_t sample_draw(const struct sample_kept *kept, uint64_t seed, uint64_t step)
{
    double all = 0, upto = 0, sum = 0;
    for (size_t i = 0; i < kept->n; i += BLOCK)
        all += sum_of(kept->n - i < BLOCK ? kept->n - i : BLOCK, kept->weight + i);
    double at = sample_random(seed, step) * all;
    size_t i = 0;
    for (; i + BLOCK < kept->n; i += BLOCK, upto += sum) {
        sum = sum_of(BLOCK, kept->weight + i);
        if (upto + sum > at)
            break;
    }
    size_t last = kept->n - i < BLOCK ? kept->n - 1 : i + BLOCK - 1;
    while (i < last && (upto += kept->weight[i]) <= at)
        i++;
    return kept->id[i];
}
