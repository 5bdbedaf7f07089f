#!/usr/bin/env python3
"""Compares model/text/ with the `tokenizers` library on random texts, for every tokenizer
of make_tokenizers.py and for folders named on the command line. Development time only.

    make build/release/tests/golden/tokenizer_parity
    python tests/golden/tokenizer_parity.py [--texts 20000] [--seed 7] [FOLDER ..]
"""
import argparse
import os
import struct
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer

import make_tokenizers as make


def ask(driver, folder, texts):
    """One list of tokens (id, start, end, word, type, special) and two texts per text."""
    raw = [t.encode() for t in texts]
    request = b"".join(struct.pack("<I", len(r)) + r for r in raw)
    done = subprocess.run([driver, folder], input=request, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)
    if done.returncode:
        print(done.stderr.decode(errors="replace")[:2000])
    data, at = done.stdout, 0

    def number():
        nonlocal at
        at += 4
        return struct.unpack_from("<i", data, at - 4)[0]

    def text():
        nonlocal at
        n = number()
        at += n
        return data[at - n:at].decode()

    for _ in texts:
        if at >= len(data):
            return
        tokens = [tuple(number() for _ in range(6)) for _ in range(number())]
        yield tokens, text(), text()


def theirs(t, text):
    e = t.encode(text)
    bytes_at = [0]
    for c in text:
        bytes_at.append(bytes_at[-1] + len(c.encode()))
    tokens = [(i, bytes_at[o[0]], bytes_at[o[1]], -1 if w is None else w, k, s) for i, o, w, k, s in
              zip(e.ids, e.offsets, e.word_ids, e.type_ids, e.special_tokens_mask)]
    return (tokens, t.decode(e.ids, skip_special_tokens=False),
            t.decode(e.ids, skip_special_tokens=True))


def compare(name, t, driver, folder, texts, show):
    texts = [text for text in texts if not make.is_newer(name, text)]
    wrong, seen = 0, 0
    for text, ours in zip(texts, ask(driver, folder, texts)):
        seen += 1
        want = theirs(t, text)
        if ours == want:
            continue
        wrong += 1
        if wrong <= show:
            print("  ", ascii(text))
            for a, b in zip(ours, want):
                if a != b:
                    print("     ours  ", ascii(a)[:700], "\n     theirs", ascii(b)[:700])
    print("%-24s %6d texts, %d different%s" % (
        name, seen, wrong, "" if seen == len(texts) else ", THEN IT STOPPED"))
    return wrong + len(texts) - seen


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--show", type=int, default=2)
    parser.add_argument("--only", default="")
    parser.add_argument("--driver", default="build/release/tests/golden/tokenizer_parity")
    parser.add_argument("folders", nargs="*")
    options = parser.parse_args()
    texts = make.texts(options.texts, options.seed)
    wrong = 0
    for folder in options.folders:
        t = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        t.no_truncation()
        t.no_padding()
        wrong += compare(folder, t, options.driver, folder, texts, options.show)
    for maker in [] if options.folders else make.MAKERS:
        if options.only not in maker.__name__:
            continue
        t = maker()
        with tempfile.TemporaryDirectory() as folder:
            t.save(os.path.join(folder, "tokenizer.json"))
            wrong += compare(maker.__name__, t, options.driver, folder, texts, options.show)
    sys.exit(wrong != 0)


if __name__ == "__main__":
    main()
