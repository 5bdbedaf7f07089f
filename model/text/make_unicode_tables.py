#!/usr/bin/env python3
"""Writes unicode_tables.h: what the `tokenizers` library takes each code point for.

The library mixes Unicode versions (its regex engine, Rust's standard library, the regex
crate and two old category crates), so the tables are asked from the library itself, code
point by code point. Development time only; needs `pip install tokenizers` and
libutf8proc.so.2 (the version the C code links).

    python model/text/make_unicode_tables.py > model/text/unicode_tables.h
"""
import ctypes
import unicodedata

import tokenizers
from tokenizers import Regex
from tokenizers import normalizers as norm
from tokenizers import pre_tokenizers as pre

U8 = ctypes.CDLL("libutf8proc.so.2")
U8.utf8proc_version.restype = ctypes.c_char_p
U8.utf8proc_tolower.argtypes = [ctypes.c_int32]
U8.utf8proc_get_property.restype = ctypes.POINTER(ctypes.c_uint16)
POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
CHUNK = 20000
DIRECT = 256


def chunks(points=None):
    points = POINTS if points is None else points
    for i in range(0, len(points), CHUNK):
        yield points[i:i + CHUNK]


def by_regex(pattern, points=None):
    """Code points that `pattern` matches: they are what a removing split leaves out."""
    split = pre.Split(Regex(pattern), "removed")
    out = set()
    for part in chunks(points):
        left = split.pre_tokenize_str("".join(map(chr, part)))
        kept = {i for _, (a, b) in left for i in range(a, b)}
        out |= {cp for i, cp in enumerate(part) if i not in kept}
    return out


def by_cut(splitter):
    """Code points that cut `a?a` into more than one piece."""
    out = set()
    for part in chunks():
        text = "\n".join("a%sa" % chr(c) for c in part)
        pieces = pre.Sequence([pre.Split("\n", "removed"), splitter])
        starts = {a for _, (a, _) in pieces.pre_tokenize_str(text)}
        for i, c in enumerate(part):
            if c != 10 and (4 * i + 1 in starts or 4 * i + 2 in starts):
                out.add(c)
    return out


def by_word():
    """Code points that the regex crate's \\w takes: `a?` stays one piece."""
    out = set()
    splitter = pre.Whitespace()
    for part in chunks():
        text = "\n".join("a" + chr(c) for c in part)
        ends = {b for _, (_, b) in splitter.pre_tokenize_str(text)}
        starts = {a for _, (a, _) in splitter.pre_tokenize_str(text)}
        for i, c in enumerate(part):
            if 3 * i + 2 in ends and 3 * i + 1 not in starts:
                out.add(c)
    return out


def by_removal(normalizer):
    return {c for c in POINTS if normalizer.normalize_str(chr(c)) == ""}


def utf8proc_map(text, options):
    buf = ctypes.c_void_p()
    raw = text.encode()
    n = U8.utf8proc_map(raw, ctypes.c_ssize_t(len(raw)), ctypes.byref(buf), options)
    out = ctypes.string_at(buf, n).decode()
    ctypes.CDLL(None).free(buf)
    return out


STABLE, COMPAT, COMPOSE, DECOMPOSE = 2, 4, 8, 16


def combining_class(c):
    return U8.utf8proc_get_property(c)[1]


def unknown_to_normalizer():
    """Code points newer than the library's normalization tables: never decomposed, of
    combining class 0."""
    out = set()
    nfd, nfkd = norm.NFD(), norm.NFKD()
    for c in POINTS:
        if (nfd.normalize_str(chr(c)) != utf8proc_map(chr(c), STABLE | DECOMPOSE) or
                nfkd.normalize_str(chr(c)) != utf8proc_map(chr(c), STABLE | DECOMPOSE | COMPAT)):
            assert nfkd.normalize_str(chr(c)) == chr(c), hex(c)
            out.add(c)
        k = combining_class(c)
        if k:
            other = chr(0x0334) if k > 1 else chr(0x0316)  # classes 1 and 220
            pair = chr(c) + other if k > 1 else other + chr(c)
            if nfd.normalize_str("a" + pair) == "a" + pair and nfd.normalize_str(chr(c)) == chr(c):
                out.add(c)
    return out


def cuts(pairs):
    """For each pair of characters: does UnicodeScripts cut between them?"""
    splitter = pre.Sequence([pre.Split("\n", "removed"), pre.UnicodeScripts()])
    out = []
    for i in range(0, len(pairs), CHUNK):
        part = pairs[i:i + CHUNK]
        starts = {a for _, (a, _) in splitter.pre_tokenize_str("\n".join(part))}
        out += [3 * k + 1 in starts for k in range(len(part))]
    return out


def scripts():
    """Numbers of scripts: (first code point, script) where it changes; 0 for those that never
    begin a piece."""
    points = [c for c in POINTS if c != 10]
    alone = pre.UnicodeScripts()
    begins = set()
    for part in chunks():
        for c in part:
            if alone.pre_tokenize_str(chr(c)):
                begins.add(c)
    of, samples = {}, []
    for c in points:
        of[c] = 0
    left = [c for c in points if c in begins]
    while left:
        sample = left[0]
        samples.append(sample)
        cut = cuts([chr(sample) + chr(c) for c in left])
        for c, is_cut in zip(left, cut):
            if not is_cut:
                of[c] = len(samples)
        left = [c for c, is_cut in zip(left, cut) if is_cut]
    of[10] = of[13]
    assert bool(alone.pre_tokenize_str("\r\n") and len(alone.pre_tokenize_str("\r\n")) == 1)
    for c in range(0xD800, 0xE000):
        of[c] = 0
    return [(c, of[c]) for c in range(0x110000) if c == 0 or of[c] != of[c - 1]]


def lower_exceptions():
    out = []
    lower = norm.Lowercase()
    for c in POINTS:
        low = lower.normalize_str(chr(c))
        if low != chr(U8.utf8proc_tolower(c)):
            if len(low) == 1:
                out.append((c, ord(low)))
            else:
                assert (c, low) == (0x130, "i\u0307")
    return out


FLAGS = [
    ("LETTER", lambda: by_regex(r"\p{L}"), "\\p{L} of the library's regex engine"),
    ("NUMBER", lambda: by_regex(r"\p{N}"), "\\p{N} of the same"),
    ("SPACE", lambda: by_regex(r"\s"), "White_Space"),
    ("WORD", by_word, "\\w of the regex crate"),
    ("NUMERIC", lambda: by_cut(pre.Digits(individual_digits=True)), "char::is_numeric of Rust"),
    ("PUNCT", lambda: by_cut(pre.Punctuation()), "BERT's punctuation"),
    ("CONTROL", lambda: by_removal(norm.BertNormalizer(True, False, False, False)),
     "removed by BERT's clean_text"),
    ("NONSPACING", lambda: by_removal(norm.BertNormalizer(False, False, True, False)),
     "removed by BERT's strip_accents"),
    ("MARK", lambda: by_removal(norm.StripAccents()), "removed by StripAccents"),
    ("UNNORMED", unknown_to_normalizer, "unknown to the library's normalization forms"),
]


CATEGORIES = ("Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf").split()

# By general category, bytes in UTF-8, and (where expressions name it) script.
STAND_INS = {
    ("Lu", 3, "Latin"): 0x1e00, ("Ll", 3, "Latin"): 0x1e01, ("Ll", 4, "Latin"): 0x1df00,
    ("Lu", 3, "Cyrillic"): 0xa640, ("Ll", 3, "Cyrillic"): 0xa641, ("Lo", 4, "Han"): 0x20000,
    ("Lo", 4, "Hiragana"): 0x1b001, ("Lo", 4, "Katakana"): 0x1b000, ("Lo", 4, "Arabic"): 0x1ee00,
    ("Mn", 3, "Arabic"): 0x8d3, ("Nd", 4, "Common"): 0x1d7ce,
    ("Lu", 4, None): 0x10400, ("Ll", 4, None): 0x10428, ("Lm", 4, None): 0x16b40,
    ("Lo", 4, None): 0x10000, ("Mn", 3, None): 0xeb1, ("Mn", 4, None): 0x101fd,
    ("Mc", 3, None): 0xcbe, ("Mc", 4, None): 0x11000, ("Nd", 4, None): 0x104a0,
    ("No", 4, None): 0x10107, ("Po", 3, None): 0x1b5a, ("Po", 4, None): 0x10100,
    ("Pd", 4, None): 0x10ead, ("Sm", 4, None): 0x1d6c1, ("So", 3, None): 0x2100,
    ("So", 4, None): 0x10137, ("Cf", 4, None): 0x13430,
}


def stand_ins():
    """(first, last, stand-in) of the code points that the library's regex engine puts in another
    general category than PCRE2, whose Unicode is that of this Python."""
    assert unicodedata.unidata_version == "14.0.0"
    known = sorted(by_regex(r"[^\p{Cn}\p{Co}]"))
    category = {c: name for name in CATEGORIES for c in by_regex(r"\p{%s}" % name, known)}
    newer = [c for c in known if category[c] != unicodedata.category(chr(c))]
    script = {c: name for name in sorted({s for _, _, s in STAND_INS if s})
              for c in by_regex(r"\p{%s}" % name, newer)}
    for (name, size, family), c in STAND_INS.items():
        assert category[c] == unicodedata.category(chr(c)) == name and len(chr(c).encode()) == size
        assert not family or by_regex(r"\p{%s}" % family, [c])
    out = []
    for c in newer:
        key = category[c], len(chr(c).encode())
        other = STAND_INS.get((*key, script.get(c))) or STAND_INS[(*key, None)]
        if out and out[-1][1:] == (c - 1, other):
            out[-1] = (out[-1][0], c, other)
        else:
            out.append((c, c, other))
    return out


def print_stand_ins(p):
    p("/* What the regex engine knows and PCRE2 (Unicode 14) does not: first, last, and a character")
    p(" * of the same general category and size that stands in for them. */")
    p("static const struct {")
    p("    uint32_t first, last, other;")
    p("} unicode_newer[] = {")
    for entry in stand_ins():
        p("    {0x%x, 0x%x, 0x%x}," % entry)
    p("};\n")


def lower_ranges(pairs):
    """(first, last, step, to): first, first+step .. last map to `to` and on."""
    out = []
    for c, to in pairs:
        if out and len(out[-1]) == 4:
            first, last, step, low = out[-1]
            gap = c - last
            if to - low == c - first and gap <= 2 and (step == 0 or gap == step):
                out[-1] = (first, c, gap, low)
                continue
        out.append((c, c, 0, to))
    return [(a, b, s or 1, t) for a, b, s, t in out]


def main():
    sets = [(name, make(), what) for name, make, what in FLAGS]
    spaces = next(s for n, s, _ in sets if n == "SPACE")
    assert spaces == by_cut(pre.WhitespaceSplit()) | {10}
    flags = [0] * 0x110000
    for bit, (_, members, _) in enumerate(sets):
        for c in members:
            flags[c] |= 1 << bit
    runs = [(c, flags[c]) for c in range(0x110000) if c == 0 or flags[c] != flags[c - 1]]
    p = print
    p("/* Generated by make_unicode_tables.py (tokenizers %s, utf8proc %s): do not edit."
      % (tokenizers.__version__, U8.utf8proc_version().decode()))
    p(" * What the library takes each code point for; see unicode.h. */")
    p("/* clang-format off */")
    p("#ifndef SEQ_TEXT_UNICODE_TABLES_H")
    p("#define SEQ_TEXT_UNICODE_TABLES_H\n")
    p("#include <stdint.h>\n")
    p("/* Code points per flag, lowest bit first:")
    for bit, (name, members, what) in enumerate(sets):
        p(" *   %-10s %6d  %s%s" % (name, len(members), what, " */" if bit == len(sets) - 1 else ""))
    p("")
    p("/* Where the flags change: code point << %d | flags, up to the next entry. */" % len(sets))
    p("enum { UNICODE_FLAG_BITS = %d, UNICODE_RUNS = %d };" % (len(sets), len(runs)))
    p("static const uint32_t unicode_runs[UNICODE_RUNS] = {")
    row = []
    for c, f in runs:
        row.append("0x%x," % (c << len(sets) | f))
        if len(row) == 7:
            p("    " + " ".join(row))
            row = []
    if row:
        p("    " + " ".join(row))
    p("};\n")
    p("/* The flags of the first %d code points again, for speed. */" % DIRECT)
    p("enum { UNICODE_DIRECT = %d };" % DIRECT)
    p("static const uint16_t unicode_direct[UNICODE_DIRECT] = {")
    for at in range(0, DIRECT, 16):
        p("    " + " ".join("%d," % f for f in flags[at:at + 16]))
    p("};\n")
    runs = scripts()
    p("/* Where the script changes: code point << 8 | number, up to the next entry. */")
    p("enum { UNICODE_SCRIPT_BITS = 8, UNICODE_SCRIPT_RUNS = %d };" % len(runs))
    p("static const uint32_t unicode_scripts[UNICODE_SCRIPT_RUNS] = {")
    for at in range(0, len(runs), 7):
        p("    " + " ".join("0x%x," % (c << 8 | n) for c, n in runs[at:at + 7]))
    p("};\n")
    low = lower_ranges(lower_exceptions())
    p("/* Lower case where utf8proc_tolower differs: first, first + step .. last become")
    p(" * to, to + step and so on. U+0130 has two code points and is handled in code. */")
    p("static const struct {")
    p("    uint32_t first, last, step, to;")
    p("} unicode_lower_runs[] = {")
    for entry in low:
        p("    {0x%x, 0x%x, %d, 0x%x}," % entry)
    p("};\n")
    print_stand_ins(p)
    p("#endif")


main()
