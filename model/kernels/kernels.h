/* Kernels: arithmetic on plain float arrays, one table of function pointers per CPU kind.
 *
 * Contract of every entry, in every variant ("batch invariance"): an output element is
 * computed by one fixed sequence of operations that depends on its own inputs and on the
 * row length only - never on the number of rows, the position of the row or element in
 * the array, the column range asked for, or the alignment. A row computed alone, in a
 * batch of 500 or in slices by several threads has the same bits. Variants may differ
 * from each other within the bounds stated here.
 *
 * Arrays may be unaligned and don't overlap unless said; lengths may be 0. Nothing is
 * read or written past the lengths given. No entry allocates. Any thread. */
#ifndef SEQ_KERNELS_KERNELS_H
#define SEQ_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Columns of a product may be computed in slices that begin at multiples of
 * KERNELS_STEP; slices of whole multiples of KERNELS_COLUMNS are the fast ones. */
enum { KERNELS_STEP = 16, KERNELS_COLUMNS = 64 };

/* How weights are held. Sums are in f32 (or, for int8, exact integers) whatever it is.
 * bf16 is the upper half of a float, rounded to nearest, ties to even: 8 significant
 * bits, |err| <= 2^-9 |w|, the range of f32. int8 is whole steps of a size that every row
 * of W has for itself: the largest |w[2j]| + |w[2j+1]| of the row is 127 of them, and
 * |err| half a step.
 *
 * The FILE_ ones are f32 that takes half the room: weights that a file holds as IEEE half
 * precision or as bf16 stay as they stand there. Each is made a float, exactly, when it
 * is multiplied, and no x is rounded: all results have the bits that f32 gives. */
enum precision {
    PRECISION_F32,
    PRECISION_BF16,
    PRECISION_INT8,
    PRECISION_FILE_F16,
    PRECISION_FILE_BF16
};

/* Most columns K of an int8 matrix: no sum wraps that far. */
enum { KERNELS_INT8_K = 1 << 17 };

/* A weight matrix W [N,K] (PyTorch's Linear layout: y = x W^T + b), packed once at load
 * for one variant. `data` is 64-byte aligned, matrix_bytes(precision, N, K) long, owned
 * by whoever called pack. Every variant's layout keeps rows recoverable. */
struct matrix {
    size_t N, K;
    enum precision precision;
    void *data;
};

/* One product: y[:, first..last-1] of y [M,ldy] = act(x [M,ldx] W^T + bias). */
struct product {
    size_t first, last; /* columns; first is a multiple of KERNELS_STEP, last too, or N */
    size_t M;           /* rows */
    const float *x;     /* [M,ldx], K floats of each row are used */
    size_t ldx;
    const float *bias; /* [N], or NULL */
    float *y;          /* [M,ldy], first..last-1 of each row are written */
    size_t ldy;
    bool accumulate; /* the old y is added after the product's own sum and bias */
    /* Last of all, or NULL: an elementwise function of the same table, in place on what
     * was just stored. The bits are those of a product and then the function. */
    void (*act)(size_t n, float *x);
};

/* Attention takes keys in blocks of so many, and query rows in tiles of up to so many,
 * of each key head and in all. */
enum { KERNELS_KEYS = 16, KERNELS_QUERIES = 6, KERNELS_ROWS = 12 };

/* A tile of query rows over the keys and values of some neighbouring heads, in blocks of
 * KERNELS_KEYS positions: block i has keys [heads,E,KERNELS_KEYS] at blocks[i] + keys and
 * values [heads,KERNELS_KEYS,E] at blocks[i] + values. Row r is one of head r / rows, and
 * sees the keys first[r]..end[r]-1, at least one; places that no row sees may hold
 * anything. Several heads are for few rows over more keys than a cache holds: blocks are
 * then read one by one, all heads of each. */
struct attend {
    size_t heads, rows; /* rows of each head, 1 to KERNELS_QUERIES; KERNELS_ROWS in all */
    size_t E;
    float scale;
    const float *q[KERNELS_ROWS]; /* each [E] */
    float *out[KERNELS_ROWS];     /* each [E] */
    const float *const *blocks;
    size_t keys, values;
    size_t first[KERNELS_ROWS], end[KERNELS_ROWS];
    float *s; /* [heads*rows,lds] by key; lds: up to the end of the last block seen, or
                 more */
    size_t lds;
};

/* Rows of x as products with int8 weights read them: x is about scale * (q - zero).
 * scale is (high - low) / 255, low and high the least and largest value or 0 if that is
 * further out, so |err| <= 0.5001 * scale. A row whose scale would be below 2^-126 has
 * scale 0, one with a NaN or an infinity has scale NaN: its q mean nothing. */
struct quantised_row {
    float scale;
    int32_t zero;
};

struct quantised {
    const uint8_t *q;                 /* [M,ld] */
    size_t ld;                        /* at least K rounded up to a multiple of 4 */
    const struct quantised_row *rows; /* [M] */
};

/* A run of a row of logits: its maximum, the maximum of the elements that a mask has, and
 * the sums of e^(x - top) over all and over those that the mask has not. */
struct tally {
    float top, best;
    double sum, rest;
};

struct kernels {
    const char *name; /* "ref", "avx2", "avx512", "blas" */

    /* Bytes that `data` of a packed [N,K] matrix needs; 0 if the product wraps, or an
     * int8 matrix has more than KERNELS_INT8_K columns. */
    size_t (*matrix_bytes)(enum precision precision, size_t N, size_t K);
    /* Fills rows first..last-1 of m->data (allocated by the caller, zeroed) from w
     * [last-first,K], or from w [K,last-first] if transposed (GPT-2's Conv1D), so that a
     * matrix can be packed piece by piece, by several threads. w holds floats, for the
     * FILE_ precisions the 16 bits of each weight. */
    void (*pack)(struct matrix *m, size_t first, size_t last, const void *w,
                 bool transposed);
    /* out [K] = row n of W, as it is held: bf16 and int8 rounded, all else exactly as it
     * was packed (embedding look-up from tied weights). */
    void (*row)(const struct matrix *m, size_t n, float *out);

    /* Error: k-term chain of float FMAs, |err| <= (K+2) * 2^-24 * (sum |x_k w_k| + |bias|
     * + |y|), w as it is held (ref: in double, rounded once; blas: float sums in BLAS's
     * own order); act then adds its own error. With bf16 weights and K up to 16384 a
     * variant may round x to bf16 as well, all of it (avx512 does where the CPU has
     * BF16): the bound is then that of the rounded x, plus K * 2^-126 for products too
     * small. */
    void (*matmul)(const struct matrix *w, const struct product *p);

    /* One row x [K] into q, K rounded up to a multiple of 4, and *row. The same bits in
     * every variant, of *row and, if it has a number for a scale, of q. */
    void (*quantise)(size_t K, const float *x, uint8_t *q, struct quantised_row *row);
    /* The product with int8 weights, of rows that were quantised; p->x and p->ldx are not
     * looked at. y = float(sum) * step of the column * scale of the row + bias + old y,
     * rounded after each operation, with the sum over (q - zero) * steps of w in exact
     * integers: the same bits in every variant, before act. With w' for W as it is held,
     * |err| <= 0.5001 * (scale * sum |w'| + step * sum |x|)
     *          + 2^-22 * (sum |x' w'| + |bias| + |y|). A row of scale NaN gives NaN. */
    void (*matmul_int8)(const struct matrix *w, const struct quantised *x,
                        const struct product *p);

    /* Lays out the keys of n <= KERNELS_KEYS positions, rows of k [n,ld], for a block:
     * keys[e*KERNELS_KEYS + i] = k[i*ld + e], exactly. keys points to the place of the
     * first of them in row 0 of the block. */
    void (*turn)(size_t n, size_t E, const float *k, size_t ld, float *keys);
    /* s[r][j] = scale * dot(q_r, k_j) for the keys j that row r sees; what s holds for
     * other keys of the blocks that the tile touches is undefined afterwards.
     * |err| <= (E+2) * 2^-24 * scale * sum |q k|. */
    void (*scores)(const struct attend *a);
    /* out[r] = sum of s[r][j] v_j over the keys that row r sees, one chain of
     * multiply-adds in the order of j (ref: in double, rounded once).
     * |err| <= (n+1) * 2^-24 * sum |s v| for n keys. */
    void (*mix)(const struct attend *a);
    /* In place softmax over x [n], computed in float with the maximum subtracted; entries
     * of -INFINITY become exactly 0; an all -INFINITY row becomes all 0. Sum is 1 within
     * 1e-6 for n <= 4096. NaN in gives NaN out, as does +INFINITY. Error of an entry p:
     * 2^-21 * p * (1 + max|x - max x|/8). */
    void (*softmax)(size_t n, float *x);
    /* The tally of x [n], n <= KERNELS_COLUMNS; bit i of the mask stands for x[i]. Maxima
     * ignore NaN and are -INFINITY of nothing; e^-INFINITY is 0, also where top is that.
     * Error of each e^d: 2^-21 * (1 + |d|/8) of it. NaN and +INFINITY make the sum NaN,
     * and the rest too if it has them. */
    void (*tally)(size_t n, const float *x, uint64_t mask, struct tally *t);
    /* Weighted rows, for pooling. acc [E] += sum_j p[j] * v_j, v_j = v + j*ld: one chain
     * of multiply-adds over j per element that begins with acc, so that cutting the run
     * anywhere gives the same bits.
     * |err| <= (n+1) * 2^-24 * (|acc| + sum |p v|). */
    void (*weigh)(size_t n, size_t E, const float *p, const float *v, size_t ld,
                  float *acc);

    /* y [D] = (x - mean) / sqrt(var + eps) * w + b, biased variance; b may be NULL, which
     * is 0; y may be x. |err| <= 2^-21 * (|y - b| + |b|). */
    void (*layer_norm)(size_t D, const float *x, const float *w, const float *b,
                       float eps, float *y);
    /* y [D] = x / sqrt(mean of squares + eps) * w; y may be x. |err| <= 2^-22 * |y|. */
    void (*rms_norm)(size_t D, const float *x, const float *w, float eps, float *y);
    /* Turns the pairs (x[i], x[E/2+i]) of one head's row by angles given as cos, sin
     * [E/2] (rotary positions, Su et al. 2021, in the order of transformers), in place; E
     * is even. |err| <= 2^-22 * (|x[i]| + |x[E/2+i]|), for cos, sin of at most 1. */
    void (*rotate)(size_t E, const float *cos, const float *sin, float *x);
    /* y [n] += x [n] */
    void (*add)(size_t n, const float *x, float *y);
    /* y [n] *= x [n] */
    void (*mul)(size_t n, const float *x, float *y);

    /* In place over n floats. Max error against libm in double, for all finite inputs:
     * exp 2 ulp (overflow to +inf; results below FLT_MIN become 0), tanh and sigmoid 4
     * ulp or 1e-7 absolute, gelu_erf, gelu_tanh and silu 2e-6 absolute + 2e-6 relative.
     * Infinities go to the limits, except that a GELU or SiLU of -inf is NaN like its
     * formula. */
    void (*exp)(size_t n, float *x);
    void (*tanh)(size_t n, float *x);
    void (*sigmoid)(size_t n, float *x);
    void (*relu)(size_t n, float *x);      /* max(x, 0); NaN stays NaN */
    void (*gelu_erf)(size_t n, float *x);  /* 0.5x(1+erf(x/sqrt 2)) */
    void (*gelu_tanh)(size_t n, float *x); /* 0.5x(1+tanh(sqrt(2/pi)(x+0.044715x^3))) */
    void (*silu)(size_t n, float *x);      /* x / (1+e^-x) */

    /* One cell update of one sequence; both biases are already in the gates.
     * lstm: g [4H] pre-activations in PyTorch order i,f,g,o; overwritten with the
     * activated gates; c [H] and h [H] with the new state (Hochreiter & Schmidhuber 1997,
     * forget gate of Gers 2000): c = f*c + i*g, h = o*tanh(c). Errors: gates as above, c
     * and h 5e-7 * (1 + |c before|). */
    void (*lstm)(size_t H, float *g, float *c, float *h);
    /* gru: x [3H] = W_i x + b_i, r,z,n; r [3H] = W_h h + b_h; x becomes the activated
     * gates r,z,n; h = (1-z)*n + z*h with n = tanh(x_n + r*(W_hn h + b_hn)).
     * Errors: r and z as above, n and h 5e-7 * (1 + |r_n| + |h before|). */
    void (*gru)(size_t H, float *x, const float *r, float *h);
    /* The same cells with hard gates: a sigmoid is min(max(slope * x + 1/2, 0), 1), tanh
     * stays. slope is 0.2 in Keras 2, 1/6 in Keras 3. Errors: gates 2^-22 absolute, the
     * rest as above. NaN stays NaN. */
    void (*lstm_hard)(size_t H, float slope, float *g, float *c, float *h);
    void (*gru_hard)(size_t H, float slope, float *x, const float *r, float *h);
};

/* Name NULL: the best this CPU runs. Else that variant, or NULL if it is unknown, this
 * CPU lacks the instructions or, for "blas", there is no OpenBLAS. That library is loaded
 * when "blas" is what is asked for or the best, and by kernels_names. */
const struct kernels *kernels_get(const char *name);

/* The names kernels_get accepts on this machine, best first; NULL after the last. */
const char *const *kernels_names(void);

/* Sets OpenBLAS to one thread, process wide. False if it doesn't obey: it still reports
 * more, or it is the OpenMP flavour, whose setting holds for the calling thread only.
 * Call before the variant "blas" is used from several threads. True without OpenBLAS. */
bool kernels_blas_single_thread(void);

#endif
