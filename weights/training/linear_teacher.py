"""A strong linear classifier of long reviews, to label the unlabelled ones.

Logistic regression on the presence of 1-, 2- and 3-grams, each scaled by its
log-count ratio (Wang and Manning 2012, "NB-SVM"). N-grams are hashed.
"""
import numpy as np
from scipy import optimize, sparse

BUCKETS = 1 << 22
_MIX = np.array([1, 1_000_003, 998_244_353], dtype=np.uint64)


def features(texts):
    """Sparse 0/1 matrix [texts,BUCKETS] of hashed n-grams."""
    columns, starts = [], [0]
    for ids in texts:
        ids = np.asarray(ids, dtype=np.uint64) + np.uint64(7)
        grams = [ids]
        for n in (2, 3):
            if len(ids) >= n:
                mixed = sum(ids[k:len(ids) - n + 1 + k] * _MIX[k] * np.uint64(n * 31 + k)
                            for k in range(n))
                grams.append(mixed ^ (mixed >> np.uint64(23)))
        grams = np.unique(np.concatenate(grams) % np.uint64(BUCKETS)).astype(np.int32)
        columns.append(grams)
        starts.append(starts[-1] + len(grams))
    columns = np.concatenate(columns)
    data = np.ones(len(columns), dtype=np.float32)
    return sparse.csr_matrix((data, columns, starts), shape=(len(texts), BUCKETS))


class LinearTeacher:
    """fit(texts, labels), then probability(texts) of being positive."""

    def fit(self, texts, labels, penalty=1e-5):
        x, y = features(texts), np.asarray(labels)
        positive = np.asarray(x[y == 1].sum(axis=0)).ravel() + 1.0
        negative = np.asarray(x[y == 0].sum(axis=0)).ravel() + 1.0
        self.ratio = np.log((positive / positive.sum())
                            / (negative / negative.sum())).astype(np.float32)
        x = self._scaled(x)
        xt = x.T.tocsr()
        sign = np.where(y == 1, 1.0, -1.0).astype(np.float32)

        def loss(w):
            margin = sign * (x @ w[:-1] + w[-1])
            p = 1 / (1 + np.exp(np.clip(margin, -30, 30)))
            grad = np.append(xt @ (-sign * p), (-sign * p).sum())
            grad[:-1] += penalty * len(y) * w[:-1]
            value = np.logaddexp(0, -margin).sum()
            return (float(value + 0.5 * penalty * len(y) * (w[:-1] @ w[:-1])),
                    grad.astype(np.float64))

        start = np.zeros(BUCKETS + 1)
        found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B",
                                  options={"maxiter": 60})
        self.weight = found.x.astype(np.float32)
        return self

    def _scaled(self, x):
        """Columns times their ratio, rows to length 1."""
        x = x.copy()
        x.data *= self.ratio[x.indices]
        norm = np.sqrt(np.asarray(x.multiply(x).sum(axis=1)).ravel()) + 1e-9
        x.data /= np.repeat(norm, np.diff(x.indptr)).astype(np.float32)
        return x

    def margin(self, texts):
        return self._scaled(features(texts)) @ self.weight[:-1] + self.weight[-1]

    def calibrate(self, texts, labels):
        """Scale margins so that probabilities fit held-out labels best."""
        margin, y = self.margin(texts), np.asarray(labels)
        sign = np.where(y == 1, 1.0, -1.0)
        scales = np.geomspace(0.2, 50, 120)
        losses = [np.logaddexp(0, -s * sign * margin).mean() for s in scales]
        self.scale = scales[int(np.argmin(losses))]
        return float(((margin > 0) == (y == 1)).mean())

    def probability(self, texts):
        return 1 / (1 + np.exp(-self.scale * self.margin(texts)))
