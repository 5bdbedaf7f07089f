"""Word vectors from co-occurrence counts, in a few minutes on one core.

Positive pointwise mutual information within a window of words, factored by a
randomised truncated SVD (Levy and Goldberg 2014; Halko, Martinsson and Tropp 2011).
Works on token ids, so words and word pieces are the same to it.
"""
import numpy as np
from scipy import sparse

WINDOW = 6
SMOOTHING = 0.75
LEAST_COUNT = 0.6
OVERSAMPLING = 16


def _flatten(texts, n_words):
    """All ids end to end, texts separated by WINDOW times the number n_words."""
    gap = np.full(WINDOW, n_words, dtype=np.int32)
    parts = []
    for ids in texts:
        parts.append(np.asarray(ids, dtype=np.int32))
        parts.append(gap)
    return np.concatenate(parts)


def cooccurrence(texts, n_words):
    """Sparse symmetric [V,V]: sum over pairs within the window of 1/distance."""
    flat = _flatten(texts, n_words)
    total = sparse.csr_matrix((n_words, n_words), dtype=np.float32)
    for distance in range(1, WINDOW + 1):
        a, b = flat[:-distance], flat[distance:]
        real = (a < n_words) & (b < n_words)
        a, b = a[real], b[real]
        weight = np.full(len(a), 1.0 / distance, dtype=np.float32)
        total = total + sparse.csr_matrix((weight, (a, b)), shape=total.shape)
    return (total + total.T).tocsr()


def ppmi(counts):
    """max(0, log p(a,b) / (p(a) p(b)^SMOOTHING)) of a count matrix."""
    rows = np.asarray(counts.sum(axis=1)).ravel() + 1e-9
    context = rows ** SMOOTHING
    context /= context.sum()
    counts = counts.tocoo()
    seen = counts.data >= LEAST_COUNT
    a, b, n = counts.row[seen], counts.col[seen], counts.data[seen]
    value = np.log(n / (rows[a] * context[b])).astype(np.float32)
    above = value > 0
    return sparse.csr_matrix((value[above], (a[above], b[above])), shape=counts.shape)


def truncated_svd(matrix, size, seed, rounds=3):
    """U sqrt(S) of the `size` largest singular values of a symmetric matrix."""
    random = np.random.RandomState(seed)
    q = random.randn(matrix.shape[0], size + OVERSAMPLING).astype(np.float32)
    for _ in range(rounds):
        q, _ = np.linalg.qr(matrix @ q)
    small = q.T @ (matrix @ q)
    values, vectors = np.linalg.eigh((small + small.T) / 2)
    order = np.argsort(-np.abs(values))[:size]
    return (q @ vectors[:, order]) * np.sqrt(np.abs(values[order]))


def log_count_ratio(texts, labels, n_words, prior=3.0):
    """How much more often a word's texts are positive: log odds, shrunk to 0."""
    hits = np.full((2, n_words), prior)
    for ids, label in zip(texts, labels):
        hits[int(label)][np.unique(ids)] += 1
    hits /= hits.sum(axis=1, keepdims=True)
    return np.log(hits[1] / hits[0])


def word_vectors(texts, n_words, size, ratios, seed=1):
    """[n_words,size] float32: the last len(ratios) columns are the given ratios.

    Rows are scaled to about the same length (rms 0.3); a word never seen is 0.
    """
    matrix = ppmi(cooccurrence(texts, n_words))
    vectors = truncated_svd(matrix, size - len(ratios), seed)
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors *= 0.3 * np.sqrt(vectors.shape[1]) / np.maximum(norm, norm[norm > 0].mean())
    extra = [np.clip(r / r.std(), -4, 4)[:, None] * 0.5 for r in ratios]
    return np.concatenate([vectors] + extra, axis=1).astype(np.float32)
