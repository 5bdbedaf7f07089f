#!/usr/bin/env python3
"""Compares model/text/ with the `tokenizers` library on random texts: every tokenizer of
make_tokenizers.py, each component alone, and folders named on the command line.

    make parity        (a virtual environment with the newest `tokenizers` under build/)

or by hand, with the library installed:

    make build/release/tests/golden/tokenizer_parity
    python tests/golden/tokenizer_parity.py [--texts 100000] [--jobs 2] [FOLDER ..]
    python tests/golden/tokenizer_parity.py --record     (writes tests/golden/parity/)

For each text: ids, offsets, words, types and special mask of its tokens, and what they decode to,
with and without special tokens, at once and token by token. For each fifth: the same of a pair with the next text (without the
decoding), and what random ids decode to. Seeds are fixed. A difference is printed and kept in
build/parity/diff-NAME.txt.
"""
import argparse
import array
import itertools
import json
import multiprocessing
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
import zlib

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # one process per tokenizer instead

import tokenizers  # noqa: E402
from tokenizers import Regex, Tokenizer  # noqa: E402
from tokenizers import decoders, models, normalizers, pre_tokenizers  # noqa: E402

import make_tokenizers as make  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
RECORDS = os.path.join(HERE, "parity")
EVERY = 5       # of so many texts, one makes a pair with the next and one a list of ids
BATCH = 1000    # texts that the library gets at once
LONG = 10000    # one text of so many is 10 kB without a blank

# ---- texts -------------------------------------------------------------------------

# Where characters are that parts of a tokenizer treat in special ways.
BLOCKS = [(0x0, 0x24f), (0x2b0, 0x3ff), (0x300, 0x36f), (0x400, 0x52f), (0x590, 0x6ff), (0x900, 0x9ff),
          (0xb00, 0xbff), (0xe00, 0xfff), (0x1100, 0x11ff), (0x1680, 0x180f), (0x1ab0, 0x1cff), (0x1dc0, 0x1fff),
          (0x2000, 0x206f), (0x2070, 0x20ff), (0x2100, 0x218f), (0x2460, 0x24ff), (0x2c00, 0x2e7f),
          (0x3000, 0x30ff), (0x3130, 0x33ff), (0x4e00, 0x4fff), (0xa640, 0xabff), (0xac00, 0xad00), (0xd7b0, 0xd7ff),
          (0xe000, 0xe010), (0xf900, 0xfaff), (0xfb00, 0xfdff), (0xfe00, 0xffff), (0x10300, 0x11fff),
          (0x16a00, 0x16fff), (0x1b000, 0x1b2ff), (0x1d100, 0x1d7ff), (0x1e000, 0x1e9ff), (0x1f000, 0x1faff),
          (0x20000, 0x20100), (0x2a6d0, 0x2b920), (0x2f800, 0x2fa1f), (0x30000, 0x30100), (0xe0000, 0xe01ef)]
WORDS = sorted({word for line in make.CORPUS for word in line.split()})
UNBROKEN = ["a", "ab", "é", "\u0301", "中", "가", "1", ".", "👍🏽", "<", "'", "▁", "the", "ſ", "\u00a0\u200d"]


def any_character(rng):
    low, high = rng.choice(BLOCKS) if rng.random() < 0.9 else (0, 0x10ffff)
    c = rng.randint(low, high)
    return chr(c) if not 0xd800 <= c <= 0xdfff else "\ufffd"


def long_text(rng):
    """10 kB without a blank."""
    parts = rng.choice([[rng.choice(UNBROKEN)], rng.sample(UNBROKEN, 3),
                        [a for a in make.ATOMS if not any(c.isspace() for c in a)]])
    return "".join(rng.choice(parts) for _ in range(10000 // max(len(p.encode()) for p in parts) + 1))


def one_text(rng):
    kind = rng.random()
    if kind < 0.3:
        pool = make.ATOMS[:60]
    elif kind < 0.6:
        pool = make.ATOMS
    elif kind < 0.7:
        pool = rng.sample(make.ATOMS, 4)
    elif kind < 0.85:
        pool = rng.sample(WORDS, 12) + [" "] * 8 + rng.sample(make.ATOMS, 5)
    elif kind < 0.97:
        pool = [any_character(rng) for _ in range(6)] + rng.sample(make.ATOMS, 2) + [" ", "e", "a"]
    else:
        pool = [rng.choice(make.ATOMS) * rng.randint(2, 40)] * 2 + rng.sample(make.ATOMS, 2)
    return "".join(rng.choice(make.SPECIALS) if rng.random() < 0.07 else rng.choice(pool)
                   for _ in range(rng.randint(1, 14)))


def all_texts(n, seed):
    rng = random.Random(seed)
    return [long_text(rng) if i % LONG == LONG // 2 else one_text(rng) for i in range(n)]


def all_ids(n, seed):
    """Numbers to be taken modulo the size of a vocabulary."""
    rng = random.Random(seed + 1)
    return [[rng.randrange(1 << 24) for _ in range(rng.randint(0, 12))] for _ in range(n)]


# ---- tokenizers --------------------------------------------------------------------

PIECES = (["?", "<s>", "##a", "##ing", "##", "##.", "##n't", "n't", "do", "not", " do not", "'m", "'s", "'ve", "'re",
           "▁", "▁the", "the▁", "▁▁", "a▁b", "Ġ", "Ġthe", "ĠĠ", "Ċ", "Ã", "©", "Ã©", "æ", "Ĺ", "¥", "ð", "Ł", "ĺ", "Ģ",
           "</w>", "the</w>", "a</w></w>", "|", "||", "<pad>", "<unk>", "</s>", "cat", " cat", "  ", "a", "e"]
          + ["<0x%02X>" % b for b in (0, 10, 32, 65, 0x80, 0xA9, 0xC3, 0xE4, 0xB8, 0xAD, 0xF0, 0x9F, 0x98, 0x80, 0xFF)]
          + ["<0xé>", "<0x1>", "<0xzz>", "<0xe4>"])


def decoder_alone(name, decoder):
    def maker():
        vocab = {}
        for piece in PIECES + make.ATOMS:
            if "\0" not in piece:
                vocab.setdefault(piece, len(vocab))
        t = Tokenizer(models.WordLevel(vocab, unk_token="?"))
        t.pre_tokenizer = pre_tokenizers.Split(Regex("(?:.|\\n)"), "isolated")
        t.add_special_tokens(["<s>"])
        if decoder:
            t.decoder = decoder
        return t
    maker.__name__ = "decoder_" + name
    return maker


def alone(name, normalizer, splitter=None):
    return make.offsets_only("alone_" + name, normalizer, splitter or make.EACH)


BEHAVIORS = ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous")
MAKERS = (
    [alone(name, normalizer) for name, normalizer in (
        ("lowercase", normalizers.Lowercase()), ("strip", normalizers.Strip()),
        ("strip_right", normalizers.Strip(False, True)), ("accents", normalizers.StripAccents()),
        ("prepend", normalizers.Prepend("▁")), ("replace", normalizers.Replace(" ", "▁")),
        ("replace_regex", normalizers.Replace(Regex(r"\s+"), " ")), ("nmt", normalizers.Nmt()),
        ("bert_plain", normalizers.BertNormalizer(False, False, True, False)),
        ("bert_lower", normalizers.BertNormalizer(False, False, False, True)),
        ("bert_chinese", normalizers.BertNormalizer(False, True, False, False)))]
    + [alone("punctuation_" + b, None, pre_tokenizers.Punctuation(b)) for b in BEHAVIORS]
    + [alone("split_" + b, None, pre_tokenizers.Split(Regex(r"\p{L}+|\s"), b)) for b in BEHAVIORS]
    + [alone("split_invert_" + b, None, pre_tokenizers.Split("he", b, invert=True)) for b in BEHAVIORS]
    + [alone(name, None, splitter) for name, splitter in (
        ("byte_level", pre_tokenizers.ByteLevel(add_prefix_space=True)),
        ("byte_level_plain", pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)),
        ("whitespace", pre_tokenizers.Whitespace()), ("whitespace_split", pre_tokenizers.WhitespaceSplit()),
        ("bert_splitter", pre_tokenizers.BertPreTokenizer()), ("digits", pre_tokenizers.Digits(individual_digits=True)),
        ("metaspace", pre_tokenizers.Metaspace()), ("metaspace_first", pre_tokenizers.Metaspace("▁", "first")),
        ("metaspace_never", pre_tokenizers.Metaspace("_", "never", split=False)),
        ("delimiter", pre_tokenizers.CharDelimiterSplit(" ")), ("scripts", pre_tokenizers.UnicodeScripts()),
        ("fixed_length", pre_tokenizers.FixedLength(5)),
        ("llama3", pre_tokenizers.Split(Regex(make.LLAMA3), "isolated")),
        ("qwen2", pre_tokenizers.Split(Regex(make.QWEN2), "isolated")))]
    + [decoder_alone(name, decoder) for name, decoder in (
        ("none", None), ("byte_level", decoders.ByteLevel()), ("wordpiece", decoders.WordPiece()),
        ("wordpiece_plain", decoders.WordPiece("##", False)), ("bpe", decoders.BPEDecoder()),
        ("metaspace", decoders.Metaspace()), ("metaspace_first", decoders.Metaspace("▁", "first")),
        ("metaspace_never", decoders.Metaspace("▁", "never")), ("byte_fallback", decoders.ByteFallback()),
        ("fuse", decoders.Fuse()), ("strip", decoders.Strip("a", 1, 0)),
        ("strip_end", decoders.Strip("a", 0, 1)), ("replace", decoders.Replace("e", "é")),
        ("replace_regex", decoders.Replace(Regex(r"\s+|a"), "_")), ("ctc", decoders.CTC("<pad>", "|", True)),
        ("ctc_plain", decoders.CTC("<pad>", "|", False)),
        ("llama2", decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                      decoders.Strip(" ", 1, 0)])))])


# ---- answers -----------------------------------------------------------------------

def text_bytes(text):
    raw = text.encode()
    return struct.pack("<I", len(raw)) + raw


def tokens_bytes(e, pair):
    """As answer_tokens of tokenizer_answers.h."""
    ids = e.ids
    numbers = [len(ids), *ids, *itertools.chain.from_iterable(e.offsets),
               *(-1 if w is None else w for w in e.word_ids), *e.type_ids, *e.special_tokens_mask]
    if pair:
        numbers += [s or 0 for s in e.sequence_ids]
    return array.array("i", numbers).tobytes()


def ids_bytes(t, lists):
    """As answer_ids: decoded with and without special tokens."""
    whole = t.decode_batch(lists, skip_special_tokens=False)
    plain = t.decode_batch(lists, skip_special_tokens=True)
    return [text_bytes(a) + text_bytes(b) for a, b in zip(whole, plain)]


def has_pair(t):
    """Templates without a second text are refused here, where the library sets it aside."""
    e = t.encode("a", "b")
    return 1 in e.sequence_ids or not t.encode("a", add_special_tokens=False).ids


def theirs(t, kind, items):
    """The library's answers to a batch of requests."""
    if kind == "I":
        return ids_bytes(t, items)
    encodings = t.encode_batch(items)
    rows = [tokens_bytes(e, kind == "P") for e in encodings]
    if kind == "P":
        return rows
    decoded = ids_bytes(t, [e.ids for e in encodings])
    return [row + more for row, more in zip(rows, decoded)]


def request(kind, item):
    if kind == "I":
        return struct.pack("<II", ord(kind), len(item)) + array.array("i", item).tobytes()
    texts = item if kind == "P" else (item,)
    return struct.pack("<I", ord(kind)) + b"".join(text_bytes(text) for text in texts)


def ours(driver, folder, requests):
    """One answer per request; a string where it was refused."""
    with tempfile.TemporaryFile() as f:
        for kind, item in requests:
            f.write(request(kind, item))
        f.seek(0)
        with subprocess.Popen([driver, folder], stdin=f, stdout=subprocess.PIPE, bufsize=1 << 20) as p:
            while True:
                head = p.stdout.read(4)
                if len(head) < 4:
                    break
                n, = struct.unpack("<I", head)
                if n == 0xffffffff:
                    n, = struct.unpack("<I", p.stdout.read(4))
                    yield p.stdout.read(n).decode()
                else:
                    yield p.stdout.read(n)


def show(answer, kind):
    """An answer in words."""
    if isinstance(answer, str):
        return "refused: " + answer
    at = 0
    out = {}
    if kind != "I":
        n, = struct.unpack_from("<i", answer, 0)
        numbers = struct.unpack_from("<%di" % ((7 if kind == "P" else 6) * n), answer, 4)
        lists = [numbers[:n], list(zip(numbers[n:3 * n:2], numbers[n + 1:3 * n:2]))]
        lists += [numbers[i * n:(i + 1) * n] for i in range(3, len(numbers) // n if n else 3)]
        out = dict(zip(("ids", "offsets", "words", "types", "special", "parts"), lists))
        at = 4 + 4 * len(numbers)
    for name in ("decoded", "plain"):
        if at < len(answer):
            n, = struct.unpack_from("<I", answer, at)
            out[name] = answer[at + 4:at + 4 + n].decode(errors="replace")
            at += 4 + n
    return out


# ---- the comparison ----------------------------------------------------------------

def requests_of(t, texts, ids):
    """All requests to one tokenizer: (kind, item)."""
    size = t.get_vocab_size(with_added_tokens=True) + 2
    out = [("T", text) for text in texts]
    if has_pair(t):
        out += [("P", (texts[i], texts[i + 1])) for i in range(0, len(texts) - 1, EVERY)]
    out += [("I", [x % size for x in row]) for row in ids]
    return out


def batches(requests):
    for kind, group in itertools.groupby(requests, key=lambda r: r[0]):
        group = [item for _, item in group]
        for at in range(0, len(group), BATCH):
            yield kind, group[at:at + BATCH]


def report(path, name, kind, item, got, want):
    a, b = show(got, kind), show(want, kind)
    lines = [json.dumps({"tokenizer": name, "kind": kind, "item": item}), "  expected " + json.dumps(b),
             "  got      " + json.dumps(a)]
    if isinstance(a, dict):
        lines += ["  differs in " + ", ".join(k for k in b if a.get(k) != b[k])]
    with open(path, "a", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")
    return lines


def compare(job):
    """One tokenizer: a line about it, the number of requests and of differences."""
    try:
        return compare_one(*job)
    except BaseException as e:  # the library panics: no Exception, and the pool would wait forever
        return "%-40s the comparison failed: %s" % (job[0], e), 0, 1


def compare_one(name, folder, options, texts, ids):
    begin = time.time()
    t = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    t.no_truncation()
    t.no_padding()
    requests = requests_of(t, texts, ids)
    answers = ours(options.driver, folder, requests)
    path = os.path.join(options.out, "diff-%s.txt" % name)
    if os.path.exists(path):
        os.remove(path)
    done = wrong = 0
    first = []
    for kind, items in batches(requests):
        for item, want, got in zip(items, theirs(t, kind, items), answers):
            done += 1
            if got == want:
                continue
            wrong += 1
            if wrong <= options.show:
                first += report(path, name, kind, item, got, want)
    missing = len(requests) - done
    line = "%-40s %7d texts, %6d pairs, %6d lists of ids: %d different%s (%.0f s)" % (
        name, *(sum(k == kind for k, _ in requests) for kind in "TPI"), wrong,
        ", THEN IT STOPPED" if missing else "", time.time() - begin)
    return "\n".join([line] + [shown[:400] for shown in first[:8]]), done, wrong + missing


def refuses_surrogates(driver, folder):
    """What is no Unicode text is refused on both sides."""
    t = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    raw = "a\ud800b".encode("utf-8", "surrogatepass")
    data = struct.pack("<II", ord("T"), len(raw)) + raw
    reply = subprocess.run([driver, folder], input=data, stdout=subprocess.PIPE, check=False).stdout
    try:
        t.encode("a\ud800b")
    except (TypeError, UnicodeError):
        return reply[:4] == b"\xff\xff\xff\xff"
    return False


def makers():
    return list(make.MAKERS) + MAKERS


def all_folders(options, scratch):
    """(name, folder) of what is to be compared; each folder has a tokenizer.json."""
    if options.folders:
        for path in options.folders:
            folder = os.path.dirname(path) if path.endswith(".json") else path
            yield os.path.basename(os.path.abspath(folder)), folder
        return
    for maker in makers():
        if options.only in maker.__name__:
            folder = os.path.join(scratch, maker.__name__)
            kept = os.path.join(make.HERE, maker.__name__, "tokenizer.json")
            os.makedirs(folder)
            t = Tokenizer.from_file(kept) if os.path.exists(kept) else maker()
            t.save(os.path.join(folder, "tokenizer.json"))
            yield maker.__name__, folder


def run(options):
    texts, ids = all_texts(options.texts, options.seed), all_ids(options.texts // EVERY, options.seed)
    os.makedirs(options.out, exist_ok=True)
    done = wrong = count = 0
    with tempfile.TemporaryDirectory() as scratch:
        folders = list(all_folders(options, scratch))
        jobs = [(name, folder, options, texts, ids) for name, folder in folders]
        with multiprocessing.get_context("fork").Pool(options.jobs) as pool:
            for line, n, bad in pool.imap(compare, jobs):
                print(line, flush=True)
                done, wrong, count = done + n, wrong + bad, count + 1
        if not refuses_surrogates(options.driver, folders[0][1]):
            print("a lone surrogate is not refused")
            wrong += 1
    print("parity: %d tokenizers, %d answers, %d different (tokenizers %s)" % (
        count, done, wrong, tokenizers.__version__))
    return wrong == 0


# ---- the record --------------------------------------------------------------------

TEXTS, PAIRS, IDS = 500, 50, 50


def record_texts(seed):
    rng = random.Random(seed)
    texts = [one_text(rng) for _ in range(TEXTS - 3)]
    return texts + [long_text(rng) for _ in range(3)]


def sums(t, texts, ids):
    """CRC-32 of each answer, in hexadecimal."""
    size = t.get_vocab_size(with_added_tokens=True) + 2
    wanted = {"texts": ("T", texts), "ids": ("I", [[x % size for x in row] for row in ids])}
    if has_pair(t):
        wanted["pairs"] = ("P", [(texts[i], texts[i + 1]) for i in range(PAIRS)])
    out = {"size": size}
    for key, (kind, items) in wanted.items():
        out[key] = "".join("%08x" % zlib.crc32(answer) for answer in theirs(t, kind, items))
    return out


def record(options):
    """parity/texts.json, and for each tokenizer a line of alone.json or a file of sums."""
    texts, ids = record_texts(options.seed), all_ids(IDS, options.seed)
    os.makedirs(RECORDS, exist_ok=True)
    make.dump(os.path.join(RECORDS, "texts.json"),
              {"library": tokenizers.__version__, "texts": texts, "ids": ids})
    answers, small = {}, {}
    for maker in makers():
        name = maker.__name__
        path = os.path.join(make.HERE, name, "tokenizer.json")
        t = Tokenizer.from_file(path) if os.path.exists(path) else maker()
        if maker in MAKERS:
            small[name] = json.loads(t.to_str())
        answers[name] = sums(t, texts, ids)
    for file, table in (("alone.json", small), ("sums.json", answers)):
        rows = ["%s:%s" % (json.dumps(name), json.dumps(value, separators=(",", ":")))
                for name, value in table.items()]
        make.dump(os.path.join(RECORDS, file), "{" + ",\n".join(rows) + "}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--show", type=int, default=20, help="differences kept of each tokenizer")
    parser.add_argument("--only", default="", help="part of the names of those to compare")
    parser.add_argument("--out", default="build/parity")
    parser.add_argument("--driver", default="build/release/tests/golden/tokenizer_parity")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("folders", nargs="*")
    options = parser.parse_args()
    if options.record:
        record(options)
    elif not run(options):
        sys.exit(1)


if __name__ == "__main__":
    main()
