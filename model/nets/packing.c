#include "model/nets/packing.h"

#include "model/base/mem.h"
#include "model/load/dtype.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* A thread reads and packs about this many floats at a time, which its second-level cache
 * holds; whole panels of them where that is so many. Of a transposed tensor it reads
 * stretches of a row, which should not be too short for a system call each. */
enum { PIECE_FLOATS = 1 << 17, STRETCH_FLOATS = 512, THREADS_MAX = 64 };

/* Where memory is wanted: one of the two. */
struct place {
    struct matrix *m;
    void **table;
    size_t bytes; /* of a matrix they are known last */
};

/* A tensor and where it goes: rows of m, or all of *table, one "row" of K numbers each.
 */
struct tensor_job {
    const struct weights_tensor *tensor;
    struct matrix *m;
    void **table;
    size_t first, rows, K;
    size_t step; /* rows of a piece */
    bool transposed;
};

struct packing {
    struct place *places;
    size_t n_places;
    struct tensor_job *jobs;
    size_t n_jobs;
    size_t piece; /* floats of the largest piece that is read beside its place */
};

enum err_code packing_new(struct packing **out, struct err *err)
{
    *out = mem_zero(1, sizeof **out);
    return *out ? ERR_OK : err_set(err, ERR_NOMEM, "out of memory: list of weights");
}

void packing_free(struct packing *p)
{
    if (!p)
        return;
    mem_free(p->places);
    mem_free(p->jobs);
    mem_free(p);
}

void packed_done(struct packed *p)
{
    mem_unmap(p->block, p->bytes);
    *p = (struct packed){0};
}

/* ---- listing --------------------------------------------------------------------- */

/* A list that grows by doubling: room for one more behind its n elements. */
static enum err_code grow(void **list, size_t n, size_t size, struct err *err)
{
    if (n & (n - 1)) /* room up to the next power of two */
        return ERR_OK;
    void *more = mem_resize(*list, n ? 2 * n : 1, size);
    if (!more)
        return err_set(err, ERR_NOMEM, "out of memory: list of weights");
    *list = more;
    return ERR_OK;
}

static enum err_code add_place(struct packing *p, struct place place, struct err *err)
{
    void *list = p->places;
    enum err_code code = grow(&list, p->n_places, sizeof place, err);
    p->places = list;
    if (code == ERR_OK)
        p->places[p->n_places++] = place;
    return code;
}

static enum err_code add_job(struct packing *p, struct tensor_job job, struct err *err)
{
    void *list = p->jobs;
    enum err_code code = grow(&list, p->n_jobs, sizeof job, err);
    p->jobs = list;
    if (code == ERR_OK)
        p->jobs[p->n_jobs++] = job;
    return code;
}

enum err_code packing_matrix(struct packing *p, struct matrix *m, struct err *err)
{
    m->data = NULL;
    return add_place(p, (struct place){.m = m}, err);
}

/* Rows of K floats: as many as make a piece, whole slices of a product if that many. */
static size_t rows_of_piece(size_t rows, size_t K, size_t least)
{
    size_t n = K ? PIECE_FLOATS / K : PIECE_FLOATS;
    if (n < least)
        n = least;
    if (n > KERNELS_COLUMNS)
        n -= n % KERNELS_COLUMNS;
    return n < rows ? n : rows;
}

enum err_code packing_rows(struct packing *p, struct matrix *m,
                           const struct weights_tensor *t, size_t first, size_t rows,
                           bool transposed, struct err *err)
{
    assert(!transposed || (first == 0 && rows == m->N));
    if (rows == 0)
        return ERR_OK;
    struct tensor_job job = {.tensor = t,
                             .m = m,
                             .first = first,
                             .rows = rows,
                             .K = m->K,
                             .transposed = transposed};
    job.step = rows_of_piece(rows, m->K, transposed ? STRETCH_FLOATS : 1);
    if (job.step * m->K > p->piece)
        p->piece = job.step * m->K;
    return add_job(p, job, err);
}

static size_t stored_bytes(const struct weights_tensor *t)
{
    return dtype_bits(weights_tensor_dtype(t)) / 8;
}

enum err_code packing_table(struct packing *p, void **table,
                            const struct weights_tensor *t, size_t n, struct err *err)
{
    struct tensor_job job = {.tensor = t, .table = table, .rows = n, .K = 1};
    struct place place = {.table = table, .bytes = n * stored_bytes(t)};
    *table = NULL;
    job.step = rows_of_piece(n, 1, 1);
    enum err_code code = add_place(p, place, err);
    return n == 0 || code != ERR_OK ? code : add_job(p, job, err);
}

/* ---- filling --------------------------------------------------------------------- */

/* Pieces are dealt in order. After a failure no more are, and all before it are dealt
 * already: the first that fails in the order of the list is always found. */
struct run {
    const struct packing *p; /* fixed before threads start */
    const struct kernels *k;

    pthread_mutex_t lock;

    size_t job, row; /* under lock from here on: the next piece */
    size_t dealt;    /* pieces so far */
    size_t failed;   /* the number of the failure in *err */
    enum err_code code;
    struct err *err;
};

struct piece {
    const struct tensor_job *job;
    size_t first, last; /* rows of the tensor */
    size_t number;
};

static bool next_piece(struct run *r, struct piece *out)
{
    pthread_mutex_lock(&r->lock);
    bool more = r->code == ERR_OK && r->job < r->p->n_jobs;
    if (more) {
        const struct tensor_job *job = &r->p->jobs[r->job];
        size_t last = job->rows - r->row > job->step ? r->row + job->step : job->rows;
        *out = (struct piece){job, r->row, last, r->dealt++};
        r->job += last == job->rows;
        r->row = last == job->rows ? 0 : last;
    }
    pthread_mutex_unlock(&r->lock);
    return more;
}

static void piece_failed(struct run *r, const struct piece *piece, enum err_code code,
                         const struct err *err)
{
    pthread_mutex_lock(&r->lock);
    if (r->code == ERR_OK || piece->number < r->failed) {
        r->code = code;
        r->failed = piece->number;
        *r->err = *err;
    }
    pthread_mutex_unlock(&r->lock);
}

/* n elements of a tensor as pack takes them, to w + to of those. */
static enum err_code read_some(const struct tensor_job *job, size_t first, size_t n,
                               void *w, size_t to, struct err *err)
{
    enum precision held = job->m->precision;
    if (held == PRECISION_FILE_F16 || held == PRECISION_FILE_BF16)
        return weights_read_stored(job->tensor, first, n, (uint16_t *)w + to, err);
    return weights_read(job->tensor, first, n, (float *)w + to, err);
}

/* Columns of a tensor [K,rows] as w [K,n]. */
static enum err_code read_columns(const struct piece *piece, void *w, struct err *err)
{
    const struct tensor_job *job = piece->job;
    size_t n = piece->last - piece->first;
    enum err_code code = ERR_OK;
    for (size_t k = 0; k < job->K && code == ERR_OK; k++)
        code = read_some(job, k * job->rows + piece->first, n, w, k * n, err);
    return code;
}

static enum err_code fill_table(const struct tensor_job *job, size_t first, size_t n,
                                struct err *err)
{
    char *to = (char *)*job->table + first * stored_bytes(job->tensor);
    return weights_read_stored(job->tensor, first, n, to, err);
}

/* `room` is for a piece that is packed. */
static enum err_code do_piece(const struct run *r, const struct piece *piece, float *room,
                              struct err *err)
{
    const struct tensor_job *job = piece->job;
    size_t at = piece->first * job->K, n = (piece->last - piece->first) * job->K;
    if (job->table)
        return fill_table(job, at, n, err);
    enum err_code code = job->transposed ? read_columns(piece, room, err)
                                         : read_some(job, at, n, room, 0, err);
    if (code == ERR_OK)
        r->k->pack(job->m, job->first + piece->first, job->first + piece->last, room,
                   job->transposed);
    return code;
}

static void do_pieces(struct run *r, float *room)
{
    struct piece piece;
    while (next_piece(r, &piece)) {
        struct err err = {0};
        enum err_code code = do_piece(r, &piece, room, &err);
        if (code != ERR_OK)
            piece_failed(r, &piece, code, &err);
    }
}

struct helper {
    struct run *run;
    float *room;
    pthread_t thread;
};

static void *help(void *arg)
{
    struct helper *h = arg;
    do_pieces(h->run, h->room);
    return NULL;
}

/* How an f32 matrix can be held: as the files hold all tensors of it. */
static enum precision narrowest(const struct packing *p, const struct matrix *m)
{
    enum precision all = PRECISION_F32;
    for (size_t i = 0, n = 0; i < p->n_jobs; i++) {
        if (p->jobs[i].m != m)
            continue;
        enum dtype dtype = weights_tensor_dtype(p->jobs[i].tensor);
        enum precision one = dtype == DTYPE_F16    ? PRECISION_FILE_F16
                             : dtype == DTYPE_BF16 ? PRECISION_FILE_BF16
                                                   : PRECISION_F32;
        if (n++ > 0 && one != all)
            return PRECISION_F32;
        all = one;
    }
    return all;
}

static enum err_code size_matrices(struct packing *p, const struct kernels *k,
                                   struct err *err)
{
    for (size_t i = 0; i < p->n_places; i++) {
        struct matrix *m = p->places[i].m;
        if (!m)
            continue;
        if (m->precision == PRECISION_F32)
            m->precision = narrowest(p, m);
        p->places[i].bytes = k->matrix_bytes(m->precision, m->N, m->K);
        if (!p->places[i].bytes)
            return err_set(err, ERR_NOMEM, "out of memory: a matrix [%zu,%zu]", m->N,
                           m->K);
    }
    return ERR_OK;
}

/* Where each matrix and table lies in the block. */
static enum err_code take_block(struct packing *p, struct packed *out, struct err *err)
{
    enum { ALIGN = 64 };
    size_t total = 0, used = 0;
    for (size_t i = 0; i < p->n_places; used += p->places[i++].bytes)
        if (!mem_add(total, p->places[i].bytes, &total) ||
            !mem_add(total, (ALIGN - total % ALIGN) % ALIGN, &total))
            return err_set(err, ERR_NOMEM, "out of memory: the weights wrap");
    char *at = mem_map(total);
    if (!at)
        return err_set(err, ERR_NOMEM, "out of memory: %zu bytes of weights", total);
    *out = (struct packed){.block = at, .bytes = total, .used = used};
    for (size_t i = 0; i < p->n_places; i++) {
        const struct place *place = &p->places[i];
        if (place->m)
            place->m->data = at;
        else
            *place->table = at;
        at += place->bytes + (ALIGN - place->bytes % ALIGN) % ALIGN;
    }
    return ERR_OK;
}

/* This thread and up to threads-1 helpers; one that can't be started is done without. */
static enum err_code fill(struct run *r, size_t threads)
{
    size_t n = 0;
    struct helper *helpers = mem_zero(threads, sizeof *helpers);
    float *rooms = mem_alloc(threads, r->p->piece * sizeof *rooms);
    if (!helpers || !rooms) {
        mem_free(helpers);
        mem_free(rooms);
        return err_set(r->err, ERR_NOMEM, "out of memory: room to pack weights in");
    }
    for (; n + 1 < threads; n++) {
        struct helper *h = &helpers[n];
        *h = (struct helper){.run = r, .room = rooms + (n + 1) * r->p->piece};
        if (pthread_create(&h->thread, NULL, help, h) != 0)
            break;
    }
    do_pieces(r, rooms);
    for (size_t i = 0; i < n; i++)
        pthread_join(helpers[i].thread, NULL);
    mem_free(helpers);
    mem_free(rooms);
    return r->code;
}

static size_t count_pieces(const struct packing *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_jobs; i++)
        n += (p->jobs[i].rows + p->jobs[i].step - 1) / p->jobs[i].step;
    return n;
}

enum err_code packing_run(struct packing *p, const struct kernels *k, size_t threads,
                          struct packed *out, struct err *err)
{
    struct packed packed = {0};
    struct run r = {.p = p, .k = k, .lock = PTHREAD_MUTEX_INITIALIZER, .err = err};
    size_t pieces = count_pieces(p);
    if (threads > THREADS_MAX)
        threads = THREADS_MAX;
    if (threads > pieces)
        threads = pieces;
    enum err_code code = size_matrices(p, k, err);
    if (code == ERR_OK)
        code = take_block(p, &packed, err);
    if (code == ERR_OK)
        code = fill(&r, threads ? threads : 1);
    pthread_mutex_destroy(&r.lock);
    if (code == ERR_OK)
        *out = packed;
    else
        packed_done(&packed);
    return code;
}
