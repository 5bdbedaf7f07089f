"""Everyday English for the two language models: one cleaned text per line.

Four corpora are mixed: task dialogues (SGD), read-aloud sentences (Common
Voice), Reddit comments (GoEmotions) and paragraphs of film reviews (IMDB, the
unlabelled ones). A text of the dev or the test split that is also in the
training split, after dropping case and punctuation, is taken out of the dev or
test split, so no held-out line was seen in training.
"""

import hashlib
import re
import subprocess
import unicodedata
from pathlib import Path

SEED = 20261123
MAX_TRAIN_BYTES = 1100   # about 256 byte-pair tokens
MAX_TEST_BYTES = 700     # short enough for every model to see a line whole
MAX_FAR_BYTES = 500      # the same for WikiText, which takes more tokens per byte

PLAIN = str.maketrans({
    "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"',
    "\u00a0": " ", "\u2026": "...", "\u2013": "-", "\u2014": "-"})
MARKUP = re.compile(r"<[^>]*>|https?://\S+|www\.\S+|\[(?:NAME|RELIGION)\]")
FOREIGN = re.compile(r"[^\x20-\x7e\u00a1-\u024f\u20ac]")
# A next-word suggestion should not swear first. The list is short on purpose:
# it takes out the commonest words, it does not pretend to make a corpus clean.
COARSE = re.compile(
    r"\b(?:\w*fuck\w*|\w*shit\w*|\w*cunt\w*|bitch\w*|nigg\w*|fag\w*|retard\w*|"
    r"whore\w*|slut\w*|dick|dicks|cock|cocks|pussy|asshole\w*|rape\w*|porn\w*)\b",
    re.IGNORECASE)
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def clean(text):
    """One line of plain text, or None when it should not be used."""
    text = unicodedata.normalize("NFC", text).translate(PLAIN)
    if MARKUP.search(text) or FOREIGN.search(text) or COARSE.search(text):
        return None
    text = " ".join(text.split())
    if sum(c.isalpha() for c in text) < max(2, len(text) // 2):
        return None
    return text


def key(text):
    """What two texts share when they differ in case or punctuation only."""
    return "".join(c for c in text.lower() if c.isalnum())


def shuffled(lines, name):
    """A fixed order that does not depend on a random number generator."""
    def rank(line):
        return hashlib.sha256(f"{SEED}{name}{line}".encode()).digest()
    return sorted(lines, key=rank)


def cut(text, limit):
    """Cut a long text at sentence ends into pieces of at most limit bytes."""
    pieces, current = [], ""
    for sentence in SENTENCE_END.split(text):
        while len(sentence.encode()) > limit:
            head = sentence.encode()[:limit].decode(errors="ignore")
            head = head[:head.rindex(" ")] if " " in head else head
            pieces += [p for p in (current, head) if p]
            current, sentence = "", sentence[len(head):].lstrip()
        joined = f"{current} {sentence}" if current else sentence
        if len(joined.encode()) > limit:
            pieces.append(current)
            joined = sentence
        current = joined
    return pieces + [current] if current else pieces


def cleaned(texts, limit):
    """Clean, cut, keep the order."""
    good = (clean(text) for text in texts)
    return [piece for text in good if text for piece in cut(text, limit)]


def first_per_key(lines):
    """Drop the lines whose key an earlier line has."""
    seen = {}
    for line in lines:
        seen.setdefault(key(line), line)
    return list(seen.values())


def read_columns(path, column):
    with open(path, encoding="utf-8") as file:
        return [line.rstrip("\n").split("\t")[column] for line in file]


def read_dialogues(data, split):
    return read_columns(data / "sgd-dialogues" / f"{split}.tsv", 2)


def read_comments(data, split):
    return read_columns(data / "goemotions" / "original" / f"{split}.tsv", 0)


def read_sentences(data):
    lines = []
    for path in sorted((data / "common-voice-cc0" / "en-US").rglob("*.txt")):
        lines += path.read_text(encoding="utf-8", errors="replace").splitlines()
    return lines


def read_reviews(data, count):
    """The paragraphs of the first count unlabelled reviews."""
    path = data / "imdb" / "train_unsup.tsv.zst"
    raw = subprocess.run(["zstd", "-dc", str(path)], check=True,
                         capture_output=True).stdout.decode()
    rows = raw.split("\n")[:count]
    texts = [row.split("\t", 2)[2] for row in rows if row.count("\t") >= 2]
    return [part for text in texts for part in text.split("<br /><br />")]


def split_by_rank(lines, name, dev, test):
    """Unique lines in a fixed order, cut into train, dev and test shares."""
    lines = shuffled(first_per_key(lines), name)
    a, b = int(len(lines) * test), int(len(lines) * (test + dev))
    return {"test": lines[:a], "dev": lines[a:b], "train": lines[b:]}


def load_sources(data):
    """{source: {split: [line]}}, before held-out lines are deduplicated."""
    sources = {"dialogues": {}, "comments": {}}
    for split in ("train", "dev", "test"):
        limit = MAX_TRAIN_BYTES if split == "train" else MAX_TEST_BYTES
        sources["dialogues"][split] = cleaned(read_dialogues(data, split), limit)
        sources["comments"][split] = cleaned(read_comments(data, split), limit)
    sources["sentences"] = split_by_rank(
        cleaned(read_sentences(data), MAX_TEST_BYTES), "sentences", 0.04, 0.08)
    reviews = split_by_rank(
        cleaned(read_reviews(data, 4000), MAX_TRAIN_BYTES), "reviews", 0.02, 0.04)
    for split in ("dev", "test"):
        reviews[split] = [piece for line in reviews[split]
                          for piece in cut(line, MAX_TEST_BYTES)]
    sources["reviews"] = reviews
    return sources


# How many held-out lines each source gives: all of them but for the dialogues,
# whose test split alone is three times as long as the rest together.
HELD_OUT = {"dialogues": {"dev": 2000, "test": 5000}}


def load_mixture(data, report=print):
    """{"train": [line], "dev": [line], "test": [line]}; train is shuffled."""
    data = Path(data)
    sources = load_sources(data)
    seen = {key(line) for splits in sources.values() for line in splits["train"]}
    mixture = {"train": [], "dev": [], "test": []}
    for name, splits in sources.items():
        for split in ("test", "dev"):
            unique = first_per_key(splits[split])
            fresh = [line for line in unique if key(line) not in seen]
            seen.update(key(line) for line in fresh)
            most = HELD_OUT.get(name, {}).get(split, len(fresh))
            kept = shuffled(fresh, name)[:most]
            report(f"{name} {split}: {len(splits[split])} lines, "
                   f"{len(splits[split]) - len(unique)} repeated in the split, "
                   f"{len(unique) - len(fresh)} also in training or another "
                   f"split, {len(kept)} kept, "
                   f"{sum(len(line.split()) for line in kept)} words")
            mixture[split] += kept
        mixture["train"] += [f"{i}\t{line}" for i, line in
                             enumerate(splits["train"])]
        report(f"{name} train: {len(splits['train'])} lines, "
               f"{sum(len(line.split()) for line in splits['train'])} words")
    train = shuffled(mixture["train"], "train")
    mixture["train"] = [line.split("\t", 1)[1] for line in train]
    return mixture


# WikiText's tokens put back together, as far as rules can.
JOINS = [(" @-@ ", "-"), (" @,@ ", ","), (" @.@ ", "."), (" 's", "'s"),
         (" n't", "n't"), (" ' ", "' "), ("( ", "("), (" )", ")"),
         (" ,", ","), (" .", "."), (" ;", ";"), (" :", ":"), (" !", "!"),
         (" ?", "?"), (" %", "%"), ("$ ", "$")]
QUOTED = re.compile(r'" ([^"]*?) "')


def load_wikitext(data):
    """The test split as running text, headings left out, <unk> left as it is."""
    lines = []
    path = Path(data) / "wikitext-2" / "test.txt"
    for line in path.read_text(encoding="utf-8").splitlines():
        line = line.strip()
        if not line or line.startswith("="):
            continue
        line = QUOTED.sub(r'"\1"', line)
        for old, new in JOINS:
            line = line.replace(old, new)
        lines += cut(" ".join(line.split()), MAX_FAR_BYTES)
    return lines
