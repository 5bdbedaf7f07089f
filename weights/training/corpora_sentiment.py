"""Reading, cleaning and deduplicating the corpora of the sentiment models.

Every reader yields ordinary written English: the movie-review corpora are stored in
the Penn Treebank's tokenised form ("it 's n't -lrb- ... -rrb-"), which nobody sends to
a server, so `detokenise` turns train, dev and test sets back into plain text alike.

`Corpora` loads everything that is trained on and removes from it whatever also
occurs in a set that is measured on; `Corpora.removed` counts what went.
"""
import collections
import html
import io
import os
import re
import zipfile

import numpy as np

NEGATIVE, POSITIVE = 0, 1
IMDB_DEV = 2000

_TREEBANK = [
    (r"-lrb-", "("), (r"-rrb-", ")"), (r"-lsb-", "["), (r"-rsb-", "]"),
    (r"``", '"'), (r"(?<=\s)''", '"'), (r"\\/", "/"), (r"\\\*", "*"),
    (r"\b(\w+) (n't|n’t)\b", r"\1\2"),
    (r" ('(?:s|re|ve|ll|d|m))(?!\w)", r"\1"),
    (r"(?<=s) '(?= )", "'"),
    (r"\b(gon|wan) na\b", r"\1na"), (r"\bgot ta\b", "gotta"),
    (r"\bcan not\b", "cannot"),
    (r" ([.,;:!?%)\]]+)", r"\1"), (r"([(\[$#]) ", r"\1"),
    (r"(^|\s)\" ([^\"]*?) ?\"(?=\W|$)", r'\1"\2"'),
]
_TREEBANK = [(re.compile(pattern, re.I), new) for pattern, new in _TREEBANK]


def detokenise(text):
    """Penn Treebank tokens, separated by blanks, to ordinary spelling."""
    for pattern, new in _TREEBANK:
        text = pattern.sub(new, text)
    return " ".join(text.split())


def plain(text):
    """One line without markup or control characters."""
    text = html.unescape(re.sub(r"<br\s*/?>", " ", text))
    return " ".join(text.replace("\x85", "...").split())


def key(text):
    """What two texts have in common when they are the same for a reader."""
    return "".join(re.findall(r"[a-z0-9]+", text.lower()))


def sentences(text):
    return [s for s in re.split(r"(?<=[.!?])[\"')\]]*\s+", text) if s]


def _lines(path):
    with open(path, encoding="utf-8") as file:
        return file.read().split("\n")


def read_sst2(data, split):
    """GLUE's SST-2: train (phrases), dev or test (sentences)."""
    rows = _lines(os.path.join(data, "sst2-glue", split + ".tsv"))[1:]
    rows = [row.split("\t", 1) for row in rows if row]
    return [(detokenise(text), int(label)) for label, text in rows]


def read_imdb(data, name):
    """train_pos, train_neg, train_unsup, test_pos or test_neg; unsup has label -1."""
    import zstandard
    path = os.path.join(data, "imdb", name + ".tsv.zst")
    label = {"pos": POSITIVE, "neg": NEGATIVE}.get(name.split("_")[1], -1)
    with open(path, "rb") as raw:
        text = zstandard.ZstdDecompressor().stream_reader(raw).read().decode("utf-8")
    rows = [row.split("\t", 2) for row in text.split("\n") if row]
    return [(plain(row[2]), label) for row in rows]


def read_imdb_test(data):
    return read_imdb(data, "test_neg") + read_imdb(data, "test_pos")


def _zip_texts(data, name):
    path = os.path.join(data, "nltk", name + ".zip")
    with zipfile.ZipFile(path) as archive:
        for member in sorted(archive.namelist()):
            if member.endswith((".txt", ".neg", ".pos")) and "README" not in member:
                with io.TextIOWrapper(archive.open(member), "latin-1") as file:
                    yield member, file.read()


def read_movie_reviews(data):
    """2,000 whole reviews (Pang and Lee 2004)."""
    return [(detokenise(text), POSITIVE if "/pos/" in name else NEGATIVE)
            for name, text in _zip_texts(data, "movie_reviews")]


def read_sentence_polarity(data):
    """10,662 sentences of film reviews (Pang and Lee 2005)."""
    return [(detokenise(line), POSITIVE if name.endswith("pos") else NEGATIVE)
            for name, text in _zip_texts(data, "sentence_polarity")
            for line in text.split("\n") if line.strip()]


def read_pros_cons(data):
    """45,900 pros and cons of products (Liu)."""
    return [(plain(line), POSITIVE if "Pros" in name else NEGATIVE)
            for name, text in _zip_texts(data, "pros_cons")
            for line in re.findall(r"<(?:Pros|Cons)>(.*?)</", text)]


def read_product_reviews(data):
    """Sentences of product reviews whose marked opinions all point one way (Liu)."""
    rows = []
    for part in ("product_reviews_1", "product_reviews_2"):
        for _, text in _zip_texts(data, part):
            for line in text.split("\n"):
                tags, mark, sentence = line.partition("##")
                signs = set(re.findall(r"\[([+-])\d?\]", tags))
                if mark and len(signs) == 1:
                    rows.append((detokenise(sentence),
                                 POSITIVE if "+" in signs else NEGATIVE))
    return rows


def read_goemotions(data, split):
    """Reddit comments whose only group is positive or negative."""
    labels = {"1": NEGATIVE, "3": POSITIVE}
    rows = _lines(os.path.join(data, "goemotions", "group", split + ".tsv"))
    rows = [row.split("\t") for row in rows if row]
    return [(plain(row[0]), labels[row[1]]) for row in rows if row[1] in labels]


def read_uci(data, site):
    """1,000 sentences of amazon_cells, imdb or yelp."""
    folder = os.path.join(data, "uci-sentiment", "sentiment labelled sentences")
    rows = _lines(os.path.join(folder, site + "_labelled.txt"))
    rows = [row.rsplit("\t", 1) for row in rows if row.strip()]
    return [(plain(row[0]), int(row[1])) for row in rows]


_FRAMES = ["not {0}", "not very {0}", "not {0} at all", "it is not {0}", "it's not {0}.",
           "this isn't {0}.", "a film that is not {0}", "it wasn't {0} at all.",
           "nice, but not {0}", "the acting is not {0}.", "that was not so {0}"]
_LIKED = ["like", "love", "enjoy", "recommend"]
_NOT_LIKED = ["I don't {0} it.", "I don't {0} this film.", "I didn't {0} it at all.",
              "I do not {0} this.", "we did not {0} the food.", "can't {0} it"]


def negations(data, reviews, often=10):
    """Made-up phrases that deny a word of opinion ("it's not great.").

    The words are those of the opinion lexicon (Liu) that follow "very" at least
    `often` times in the reviews, which makes them adjectives. Denied praise counts
    as negative; denied blame is milder, 0.75 positive.
    """
    after = collections.Counter(word for text, _ in reviews
                                for word in re.findall(r"very ([a-z]+)", text.lower()))
    rows = []
    lexicon = dict(_zip_texts(data, "opinion_lexicon"))
    for name, text in lexicon.items():
        label = 0.05 if "positive" in name else 0.75
        words = [w for w in text.split("\n") if after[w.strip()] >= often]
        rows += [(frame.format(w.strip()), label) for w in words for frame in _FRAMES]
    rows += [(frame.format(w), 0.05) for w in _LIKED for frame in _NOT_LIKED]
    return rows


class Measured:
    """Keys of everything that is measured on: whole texts, and their sentences."""

    def __init__(self, data):
        sst = read_sst2(data, "dev") + read_sst2(data, "test")
        uci = [row for site in ("amazon_cells", "imdb", "yelp")
               for row in read_uci(data, site)]
        reddit = read_goemotions(data, "dev") + read_goemotions(data, "test")
        short = sst + uci + reddit
        self.whole = {key(text) for text, _ in short + read_imdb_test(data)}
        self.parts = set(self.whole)
        self.quoted = {key(text) for text, _ in short if len(text.split()) >= 5}
        for text, _ in short + read_imdb_test(data):
            self.parts.update(key(s) for s in sentences(text))

    def holds(self, text):
        """The text, or for a longer text one of its sentences, is measured on."""
        if key(text) in self.parts:
            return True
        return any(key(s) in self.quoted for s in sentences(text))


class Corpora:
    """Training sets (list of (text, label)), cleaned, and the two dev sets."""

    def __init__(self, data, unlabelled=True):
        self.data = data
        self.measured = Measured(data)
        self.removed = {}
        self.sst = self._keep("sst2 train", read_sst2(data, "train"))
        self.sst_dev = read_sst2(data, "dev")
        imdb = self._keep("imdb train", read_imdb(data, "train_neg")
                          + read_imdb(data, "train_pos"))
        order = np.random.RandomState(1).permutation(len(imdb))
        self.imdb_dev = [imdb[i] for i in order[:IMDB_DEV]]
        self.imdb = [imdb[i] for i in order[IMDB_DEV:]]
        self.unlabelled = []
        if unlabelled:
            self.unlabelled = self._keep("imdb unlabelled",
                                         read_imdb(data, "train_unsup"))
        self._read_others(data)

    def _read_others(self, data):
        self.polarity = self._keep("sentence_polarity", read_sentence_polarity(data))
        self.reviews = self._keep("movie_reviews", read_movie_reviews(data))
        self.products = self._keep("product_reviews", read_product_reviews(data))
        self.pros_cons = self._keep("pros_cons", read_pros_cons(data))
        self.reddit = self._keep("goemotions train", read_goemotions(data, "train"))
        self.denied = self._keep("negations", negations(data, self.imdb))

    def _keep(self, name, rows):
        """Without empty texts, repetitions and everything that is measured on."""
        kept, seen, leaks, again = [], set(), 0, 0
        for text, label in rows:
            k = key(text)
            if not k:
                continue
            if self.measured.holds(text):
                leaks += 1
            elif (k, label) in seen:
                again += 1
            else:
                seen.add((k, label))
                kept.append((text, label))
        self.removed[name] = (len(rows), leaks, again, len(kept))
        return kept

    def report(self):
        lines = ["corpus                read   measured-on  repeated  kept"]
        for name, (read, leaks, again, kept) in self.removed.items():
            lines.append(f"{name:18}{read:8}{leaks:14}{again:10}{kept:6}")
        return "\n".join(lines)
