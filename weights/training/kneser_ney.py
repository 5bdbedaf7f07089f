"""Interpolated modified Kneser-Ney n-gram model (Chen and Goodman 1998).

The baseline that the recurrent models must beat. It gets what they get: the same
token ids of the same training lines, each line by itself, `<s> w1 .. wn` and then
the end. Counts below the highest order are numbers of different words on the
left, except after `<s>`, which has nothing on its left and keeps its counts.
Three discounts per order come from the counts of counts; the unigrams are
interpolated with the uniform distribution, so every id has some probability.

    python kneser_ney.py --data ../../../shared/data --kind words \\
        --tokenizer ../next-word-lstm/tokenizer.json
"""

import argparse
import math

import numpy as np
from tokenizers import Tokenizer

import corpora_language
import corpora_music


class KneserNey:
    """vocabulary: number of ids; start: the id of <s>, whose prediction stands for
    the end of the line. Inside, the end gets an id of its own, so that it is never
    taken for a beginning; start itself is never predicted."""

    def __init__(self, lines, vocabulary, start, order=5):
        self.order, self.start, self.end = order, start, vocabulary
        self.base = np.int64(vocabulary + 1)
        self.outcomes = vocabulary
        stream, distance = self._flatten(lines)
        self.tables = []
        self._adjust(self._grams(stream, distance))

    def _flatten(self, lines):
        """All lines in one array; distance of each token from its line's <s>."""
        ends = [list(ids) + [self.end] for ids in lines]
        stream = np.concatenate([np.asarray(x, dtype=np.int64) for x in ends])
        distance = np.concatenate([np.arange(len(x)) for x in ends])
        return stream, distance

    def _grams(self, stream, distance):
        """For n = 1..order: the row of the n-gram that ends at each place of the
        stream (-1: the line is too short there) and the count of each row.

        self.keys[n - 1] holds the n-grams sorted by key: (row of its first n-1
        words) * base + last word, which fits 64 bits at any order."""
        self.keys, grams = [], []
        row = np.full(len(stream), -1, dtype=np.int64)
        for n in range(1, self.order + 1):
            if n == 1:
                key = stream
                valid = np.ones(len(stream), dtype=bool)
            else:
                valid = distance >= n - 1
                key = np.where(valid, np.roll(row, 1) * self.base + stream, -1)
            unique, inverse, count = np.unique(
                key[valid], return_inverse=True, return_counts=True)
            row = np.full(len(stream), -1, dtype=np.int64)
            row[valid] = inverse
            self.keys.append(unique)
            grams.append((row, count))
        return grams

    def _adjust(self, grams):
        """Adjusted counts, discounts, and per context the sums for interpolation."""
        rows = [row for row, _ in grams]
        self.discounts = []
        for n in range(1, self.order + 1):
            count = grams[n - 1][1].astype(np.float64)
            adjusted = count
            if n < self.order:
                adjusted = self._left_extensions(rows, grams, n, count)
            if n == 1:
                adjusted[np.searchsorted(self.keys[0], self.start)] = 0
            discount = self._discounts(adjusted)
            self.discounts.append(discount)
            size = 1 if n == 1 else len(self.keys[n - 2])
            context = (np.zeros(len(adjusted), dtype=np.int64) if n == 1
                       else self.keys[n - 1] // self.base)
            kind = np.minimum(adjusted, 3).astype(np.int64)
            total = np.bincount(context, adjusted, minlength=size)
            saved = np.bincount(context, discount[kind], minlength=size)
            share = (adjusted - discount[kind]) / total[context]
            backoff = np.where(total > 0, saved / np.maximum(total, 1.0), 1.0)
            self.tables.append((share, backoff))

    def _left_extensions(self, rows, grams, n, count):
        """Number of different words seen before each n-gram."""
        here, longer = rows[n - 1], rows[n]
        found = longer >= 0
        first = np.full(len(grams[n][1]), -1, dtype=np.int64)
        first[longer[found]] = here[found]
        different = np.bincount(first[first >= 0],
                                minlength=len(count)).astype(np.float64)
        after_start = different == 0
        return np.where(after_start, count, different)

    @staticmethod
    def _discounts(adjusted):
        """D0 = 0, D1, D2, D3+ from the counts of counts."""
        c = [np.count_nonzero(adjusted == k) for k in range(5)]
        if min(c[1:4]) == 0:
            return np.array([0.0, 0.5, 0.75, 1.0])
        y = c[1] / (c[1] + 2 * c[2])
        found = [k - (k + 1) * y * c[k + 1] / c[k] for k in (1, 2, 3)]
        return np.array([0.0] + [min(max(d, 0.0), k + 1.0)
                                 for k, d in enumerate(found)])

    def _find(self, n, key):
        """Rows of n-gram keys, -1 where there is none."""
        keys = self.keys[n - 1]
        at = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
        return np.where((key >= 0) & (keys[at] == key), at, -1)

    def _context_rows(self, n, stream, position, distance):
        """Rows among the n-grams of the n words that end at each position."""
        row = np.full(len(position), -1, dtype=np.int64)
        inside = distance >= n - 1
        at = position[inside]
        found = self._find(1, stream[at - n + 1])
        for k in range(1, n):
            word = stream[at - n + 1 + k]
            found = self._find(k + 1, np.where(
                found >= 0, found * self.base + word, -1))
        row[inside] = found
        return row

    def probabilities(self, contexts, words):
        """P(word | context); contexts[n - 1] has the rows of the n-1 words before."""
        p = np.full(len(words), 1.0 / self.outcomes)
        for n in range(1, self.order + 1):
            share, backoff = self.tables[n - 1]
            row = contexts[n - 1]
            gram = self._find(n, words if n == 1 else np.where(
                row >= 0, row * self.base + words, -1))
            high = np.where(gram >= 0, share[gram], 0.0)
            low = backoff[0] if n == 1 else np.where(row >= 0, backoff[row], 1.0)
            p = high + low * p
        return p

    def _contexts(self, stream, position, distance):
        return [None] + [self._context_rows(n - 1, stream, position, distance)
                         for n in range(2, self.order + 1)]

    def score(self, lines):
        """Natural log-probability of each word and of the end, line after line."""
        stream, distance = self._flatten(lines)
        target = np.flatnonzero(distance > 0)
        contexts = self._contexts(stream, target - 1, distance[target - 1])
        return np.log(self.probabilities(contexts, stream[target]))

    def check_sums(self, lines, many=50):
        """The probabilities of all outcomes after a context add up to 1."""
        stream, distance = self._flatten(lines)
        target = np.flatnonzero(distance > 0)
        picked = target[:: max(1, len(target) // many)]
        words = np.array([w for w in range(self.outcomes + 1) if w != self.start])
        worst = 0.0
        for t in picked:
            position = np.full(len(words), t - 1)
            contexts = self._contexts(stream, position[:1], distance[t - 1:t])
            contexts = [None if c is None else np.repeat(c, len(words))
                        for c in contexts]
            total = self.probabilities(contexts, words).sum()
            worst = max(worst, abs(total - 1.0))
        if worst > 1e-9:
            raise AssertionError(f"probabilities add up to 1 +- {worst:.3g}")
        return worst


def baseline(tokenizer_file, train, test, order=5):
    """Figures of the n-gram model on the ids that a tokenizer.json gives."""
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    train, test = ([e.ids for e in tokenizer.encode_batch(lines)]
                   for lines in (train, test))
    model = KneserNey(train, tokenizer.get_vocab_size(), train[0][0], order)
    worst = model.check_sums(test)
    logs = model.score(test)
    unknown = tokenizer.token_to_id("<unk>")
    words = sum(len(ids) - 1 for ids in test)
    return {"order": order, "vocabulary": tokenizer.get_vocab_size(),
            "test_words": words, "targets": len(logs),
            "unknown": sum(i == unknown for ids in test for i in ids) / words,
            "nats": float(-logs.sum()), "nats_per_target": float(-logs.mean()),
            "perplexity": math.exp(-logs.mean()), "sum_error": worst}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder of the corpora")
    parser.add_argument("--kind", required=True, choices=("words", "notes"))
    parser.add_argument("--tokenizer", required=True, help="tokenizer.json")
    parser.add_argument("--order", type=int, default=5)
    options = parser.parse_args()
    if options.kind == "words":
        corpus = corpora_language.load_mixture(options.data)
    else:
        corpus = corpora_music.load_tunes(options.data)
        corpus["train"] = corpora_music.augmented(corpus["train"])
    figures = baseline(options.tokenizer, corpus["train"], corpus["test"],
                       options.order)
    for name, value in figures.items():
        print(f"{name}: {value:.6g}")


if __name__ == "__main__":
    main()
