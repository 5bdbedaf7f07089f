#include "model/seq.h"

#include "model/kernels/kernels.h"
#include "model/load/config.h"
#include "model/load/weights.h"
#include "model/tasks/model.h"
#include "model/tasks/prefixes.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

enum err_code model_kernels(const struct seq_load_options *opt,
                            const struct kernels **out, struct err *err)
{
    const char *cpu = opt ? opt->cpu : NULL;
    *out = kernels_get(cpu);
    if (*out)
        return ERR_OK;
    bool blas = cpu && strcmp(cpu, "blas") == 0;
    return err_set(err, ERR_UNSUPPORTED, "no kernels '%s' on this machine%s",
                   cpu ? cpu : "", blas ? ": no library libopenblas.so.0" : "");
}

enum err_code seq_init(const struct seq_load_options *opt, struct err *err)
{
    const struct kernels *k;
    enum err_code code = model_kernels(opt, &k, err);
    if (code != ERR_OK)
        return code;
    if (strcmp(k->name, "blas") == 0 && !kernels_blas_single_thread())
        return err_set(
            err, ERR_UNSUPPORTED,
            "the BLAS library insists on threads of its own; install the serial "
            "or pthread flavour of OpenBLAS");
    return ERR_OK;
}

const char *const *seq_cpu_names(void)
{
    return kernels_names();
}

/* ---- loading --------------------------------------------------------------------- */

static const char *const PRECISIONS[] = {
    [PRECISION_F32] = "f32", [PRECISION_BF16] = "bf16", [PRECISION_INT8] = "int8"};

static enum err_code find_precision(const struct seq_load_options *opt,
                                    enum precision *out, struct err *err)
{
    const char *name = opt && opt->precision ? opt->precision : "f32";
    for (size_t i = 0; i < sizeof PRECISIONS / sizeof PRECISIONS[0]; i++)
        if (strcmp(PRECISIONS[i], name) == 0) {
            *out = (enum precision)i;
            return ERR_OK;
        }
    return err_set(err, ERR_UNSUPPORTED,
                   "no precision '%s'; there are f32, bf16 and int8", name);
}

static const char *family_name(const struct config *cfg)
{
    if (cfg->arch != ARCH_RNN)
        return cfg->family;
    if (cfg->cell == CELL_LSTM)
        return "lstm";
    return cfg->cell == CELL_GRU ? "gru" : "rnn";
}

static enum seq_mask map_mask(const struct config *cfg)
{
    if (config_is_encoder(cfg))
        return SEQ_MASK_FULL;
    if (cfg->arch != ARCH_RNN)
        return SEQ_MASK_CAUSAL;
    bool pooled = cfg->head == HEAD_LABELS && cfg->pooling == POOL_ATTENTION;
    return pooled ? SEQ_MASK_POOLING : SEQ_MASK_NONE;
}

static unsigned tasks_of(const struct net *n, enum seq_mask mask)
{
    unsigned tasks =
        SEQ_INSPECT | SEQ_EMBED | (mask == SEQ_MASK_NONE ? 0 : SEQ_ATTENTION);
    switch (n->cfg.head) {
    case HEAD_LM:
        return tasks | SEQ_NEXT_WORD | SEQ_IMPORTANCE |
               (n->ops->state_new ? SEQ_STATES : 0);
    case HEAD_MASKED_LM:
        return tasks | SEQ_NEXT_WORD | SEQ_IMPORTANCE;
    case HEAD_LABELS:
        return tasks | SEQ_CLASSIFY | SEQ_IMPORTANCE;
    case HEAD_NONE:
        break;
    }
    return tasks;
}

static enum seq_scores scores_of(enum problem problem)
{
    if (problem == PROBLEM_SINGLE_LABEL)
        return SEQ_SCORES_SOFTMAX;
    return problem == PROBLEM_MULTI_LABEL ? SEQ_SCORES_SIGMOID : SEQ_SCORES_RAW;
}

/* Rows from which on weights are read often enough to keep the arithmetic busy: products
 * reach their peak at 4 to 16 rows from a cache and some 32 from memory, and batches of
 * unequal texts lose some on the way. Texts of a recurrent net end at different steps. */
enum { FULL_TOKENS = 64, FULL_TEXTS = 32 };

/* What layers have: names in the order of struct trace_step. */
static void fill_signals(const struct config *cfg, struct seq_info *info)
{
    static const struct seq_signal lstm[] = {
        {"i", 0, 1, true, false},
        {"f", 0, 1, true, true},
        {"g", -1, 1, false, false},
        {"o", 0, 1, true, false},
        {"c", -INFINITY, INFINITY, false, false},
        {"tanh_c", -1, 1, false, false},
        {"h", -1, 1, false, false},
    };
    static const struct seq_signal gru[] = {{"r", 0, 1, true, false},
                                            {"z", 0, 1, true, true},
                                            {"n", -1, 1, false, false},
                                            {"h", -1, 1, false, false}};
    static const struct seq_signal tanh[] = {{"h", -1, 1, false, false}};
    static const struct seq_signal relu[] = {{"h", 0, INFINITY, false, false}};
    static const struct seq_signal rows[] = {
        {"hidden", -INFINITY, INFINITY, false, false}};
    static const struct {
        const struct seq_signal *at;
        size_t n;
    } CELLS[] = {[CELL_LSTM] = {lstm, sizeof lstm / sizeof *lstm},
                 [CELL_GRU] = {gru, sizeof gru / sizeof *gru},
                 [CELL_RNN_TANH] = {tanh, 1},
                 [CELL_RNN_RELU] = {relu, 1}};
    bool recurrent = cfg->arch == ARCH_RNN;
    info->recurrent = recurrent;
    info->signals = recurrent ? CELLS[cfg->cell].at : rows;
    info->n_signals = recurrent ? CELLS[cfg->cell].n : 1;
    info->n_state_layers = cfg->n_layers + !recurrent;
    info->directions = recurrent && cfg->bidirectional ? 2 : 1;
    info->state_width = recurrent ? cfg->hidden : cfg->width;
    info->lens = !recurrent && info->tasks & SEQ_NEXT_WORD;
}

static void fill_vectors(const struct seq_model *m, struct seq_info *info)
{
    static const char *const poolings[] = {[POOL_MEAN] = "mean",
                                           [POOL_MAX] = "max",
                                           [POOL_FIRST] = "cls",
                                           [POOL_LAST] = "last_token"};
    size_t most = m->modules.max_tokens, context = m->net->cfg.context;
    info->vector_pooling = poolings[m->modules.pooling];
    info->vector_model = m->modules.given;
    info->vector_unit = m->modules.normalize;
    info->vector_width = config_row_width(&m->net->cfg);
    info->vector_context = most && (!context || most < context) ? most : context;
}

static void fill_info(struct seq_model *m, const struct weights *w)
{
    const struct config *cfg = &m->net->cfg;
    struct seq_info *info = &m->info;
    info->architecture = cfg->architecture;
    info->family = family_name(cfg);
    info->dtype = weights_dtype(w);
    info->kernels = m->net->k->name;
    info->precision = PRECISIONS[m->net->precision];
    info->mask = map_mask(cfg);
    info->tasks = tasks_of(m->net, info->mask);
    info->n_params = weights_params(w);
    info->file_bytes = weights_bytes(w);
    info->resident_bytes = m->net->resident_bytes;
    info->vocab = cfg->vocab;
    info->width = cfg->arch == ARCH_RNN ? cfg->hidden : cfg->width;
    info->n_layers = cfg->n_layers;
    info->map_group = 1;
    if (info->mask == SEQ_MASK_POOLING) {
        info->n_map_layers = 1;
        info->n_map_heads = cfg->hops;
    } else if (info->mask != SEQ_MASK_NONE) {
        info->n_map_layers = cfg->n_layers;
        info->n_map_heads = cfg->n_heads;
        if (info->mask == SEQ_MASK_CAUSAL)
            info->map_group = cfg->n_heads / cfg->n_kv_heads;
    }
    fill_signals(cfg, info);
    info->context = cfg->context;
    fill_vectors(m, info);
    info->n_labels = cfg->head == HEAD_LABELS ? cfg->n_labels : 0;
    info->labels = (const char *const *)cfg->labels;
    info->scores = scores_of(cfg->problem);
    info->text_rows = cfg->arch == ARCH_RNN;
    info->full_rows = info->text_rows ? FULL_TEXTS : FULL_TOKENS;
}

/* True if the template sets two texts apart, and there is room for a token of each. */
static bool reads_pairs(const struct seq_model *m)
{
    size_t before, between, after, context = m->net->cfg.context;
    if (!tokenizer_has_pair(m->tok))
        return false;
    tokenizer_template_pair(m->tok, &before, &between, &after);
    return between > 0 && (context == 0 || context >= before + between + after + 2);
}

static enum err_code take_tokenizer(struct seq_model *m, struct err *err)
{
    const struct config *cfg = &m->net->cfg;
    enum err_code code = model_check_fit(cfg, m->tok, NULL, err);
    if (code == ERR_OK)
        code = model_check_modules(&m->modules, m->tok, NULL, err);
    if (code != ERR_OK)
        return code;
    m->info.word_level = tokenizer_word_level(m->tok);
    tokenizer_template(m->tok, &m->n_before, &m->n_after);
    m->info.pairs = reads_pairs(m);
    m->mask_id = -1;
    if (cfg->head == HEAD_MASKED_LM) {
        size_t n;
        m->mask_id = tokenizer_role(m->tok, TOKENIZER_MASK);
        m->info.mask_token = tokenizer_piece(m->tok, m->mask_id, &n);
    }
    if (!(m->info.tasks & SEQ_NEXT_WORD))
        return ERR_OK;
    return words_init(&m->words, m->tok, cfg->vocab, err);
}

static enum err_code load_net(struct seq_model *m, const char *dir,
                              const struct kernels *k, enum precision precision,
                              size_t threads, struct err *err)
{
    struct config cfg = {0};
    struct weights *w = NULL;
    enum err_code code = config_read(dir, &cfg, err);
    if (code != ERR_OK)
        return code;
    code = weights_open(dir, &w, err);
    if (code == ERR_OK)
        code = net_load(&cfg, w, k, precision, threads, &m->net, err);
    else
        config_done(&cfg);
    if (code == ERR_OK)
        code = modules_read(dir, config_row_width(&m->net->cfg), NULL, &m->modules, err);
    if (code == ERR_OK)
        fill_info(m, w);
    weights_close(w);
    return code;
}

/* The tokenizer, which takes about as long as the weights of a small model, is loaded
 * beside them where there may be a thread for it. */
struct tokenizer_load {
    const char *dir;
    struct tokenizer *tok;
    enum err_code code;
    struct err err;
    pthread_t thread;
};

static void *load_tokenizer(void *arg)
{
    struct tokenizer_load *l = arg;
    l->code = tokenizer_load(l->dir, &l->tok, &l->err);
    return NULL;
}

/* What is wrong with the net is told first. */
static enum err_code load_parts(struct seq_model *m, const char *dir,
                                const struct kernels *k, enum precision precision,
                                size_t threads, struct err *err)
{
    struct tokenizer_load beside = {.dir = dir};
    bool started =
        threads > 1 && pthread_create(&beside.thread, NULL, load_tokenizer, &beside) == 0;
    enum err_code code = load_net(m, dir, k, precision, threads, err);
    if (started)
        pthread_join(beside.thread, NULL);
    else if (code == ERR_OK)
        load_tokenizer(&beside);
    m->tok = beside.tok;
    if (code == ERR_OK && beside.code != ERR_OK) {
        *err = beside.err;
        code = beside.code;
    }
    return code == ERR_OK ? take_tokenizer(m, err) : code;
}

enum err_code seq_model_load(const char *dir, const struct seq_load_options *opt,
                             struct seq_model **out, struct err *err)
{
    const struct kernels *k;
    enum precision precision = PRECISION_F32;
    enum err_code code = model_kernels(opt, &k, err);
    if (code == ERR_OK)
        code = find_precision(opt, &precision, err);
    if (code != ERR_OK)
        return code;
    struct seq_model *m = mem_zero(1, sizeof *m);
    if (!m)
        return err_set(err, ERR_NOMEM, "out of memory: model");
    atomic_init(&m->refs, 1);
    code = load_parts(m, dir, k, precision, opt ? opt->threads : 0, err);
    if (code == ERR_OK && opt && opt->state_cache_bytes && m->info.tasks & SEQ_STATES)
        code = prefixes_new(m->net, opt->state_cache_bytes, &m->prefixes, err);
    m->info.text_rows |= m->prefixes != NULL;
    if (code != ERR_OK) {
        seq_model_unref(m);
        return code;
    }
    *out = m;
    return ERR_OK;
}

struct seq_model *seq_model_ref(struct seq_model *m)
{
    atomic_fetch_add(&m->refs, 1);
    return m;
}

void seq_model_unref(struct seq_model *m)
{
    if (!m || atomic_fetch_sub(&m->refs, 1) != 1)
        return;
    prefixes_free(m->prefixes);
    net_free(m->net);
    tokenizer_free(m->tok);
    words_done(&m->words);
    mem_free(m);
}

const struct seq_info *seq_model_info(const struct seq_model *m)
{
    return &m->info;
}

void seq_model_reuse(const struct seq_model *m, struct seq_reuse *out)
{
    *out = (struct seq_reuse){0};
    if (m->prefixes)
        prefixes_counts(m->prefixes, out);
}

/* ---- workers --------------------------------------------------------------------- */

enum err_code seq_worker_new(struct crew *crew, struct seq_worker **out, struct err *err)
{
    struct seq_worker *w = mem_zero(1, sizeof *w);
    if (!w)
        return err_set(err, ERR_NOMEM, "out of memory: worker");
    arena_init(&w->tmp);
    w->crew = crew;
    *out = w;
    return ERR_OK;
}

void seq_worker_free(struct seq_worker *w)
{
    if (!w)
        return;
    arena_done(&w->tmp);
    mem_free(w);
}

size_t seq_worker_peak(const struct seq_worker *w)
{
    return w->tmp.peak;
}
