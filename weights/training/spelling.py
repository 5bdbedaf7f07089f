"""What a word model owes for the words that it does not know.

A word model predicts `<unk>` for every word outside its vocabulary; a model over
bytes predicts the word itself. To compare them in bits per byte, the word model
also pays for the letters: a byte 5-gram (interpolated Kneser-Ney, trained on the
unknown words of the training text) spells each unknown word, its end included.
White space costs the word model nothing, which is generous to it.
"""

import numpy as np

import kneser_ney

START = 256              # ids 0 to 255 are bytes
ORDER = 5


def unknown_words(tokenizer, lines, unknown="<unk>"):
    """The words of the lines, as written, that became the unknown token."""
    missing = tokenizer.token_to_id(unknown)
    words = []
    for line, encoding in zip(lines, tokenizer.encode_batch(lines)):
        words += [line[a:b] for i, (a, b) in zip(encoding.ids, encoding.offsets)
                  if i == missing]
    return words


def as_ids(words):
    return [[START] + list(word.encode()) for word in words]


class Speller:
    """A probability for every string of bytes."""

    def __init__(self, tokenizer, train_lines):
        words = unknown_words(tokenizer, train_lines)
        self.model = kneser_ney.KneserNey(as_ids(words), START + 1, START, ORDER)

    def nats(self, words):
        """What spelling these words costs in all."""
        return float(-np.sum(self.model.score(as_ids(words)))) if words else 0.0
