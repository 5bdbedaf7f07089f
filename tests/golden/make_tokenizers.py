#!/usr/bin/env python3
"""Writes tests/golden/tokenizers/: small tokenizers of every kind that model/text serves,
and what the `tokenizers` library makes of some nasty texts with each.

    python make_tokenizers.py          (needs `pip install tokenizers`; writes beside itself)

texts.json is the list of texts. NAME/tokenizer.json is a tokenizer (one that is there is kept,
as training gives another each time), NAME/expect.json has one entry per text: ids,
offsets in code points (start, end, start, end, ..) and words of the tokens, types and the
special mask if any is not 0, and the decoded text, with and (if that differs: `plain`) without
special tokens; then `decode`: ids at random and their texts; then `pairs`: text `a` and the one
behind it as a pair, also with `parts`, every other one without special tokens; then, where the
model cuts pieces, `long`: the ids of each of texts.json's long texts, pieces of hundreds of
characters.
truncation.json: `pairs` of lengths n1, n2, limit and what is kept of each; `windows` of length,
limit, stride, 1 for left, and the ends of the windows.
"""
import base64
import json
import os
import random
import struct

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tokenizers")

CORPUS = """The cat sat on the mat, and the dog didn't like it at all.
She'll say that they've seen 12 or 345 birds; I'm not so sure (we're late).
A café in Zürich: naïve, façade, Ångström, jalapeño, œuvre and smörgåsbord!
"Don't," he said, "it's 3.14 - or 2,718 - isn't it?"  Yes... no?
Привет, мир! Как дела? Всё хорошо. Ελληνικά: καλημέρα κόσμε.
日本語のテキストと中文文字。한국어 문장입니다. שלום עולם، مرحبا بالعالم.
hello hello help helping helped helper hellish he held heaps of health
lower lowest newer newest wider widest under understand understanding
\tfor i in range(10):\n\t\tprint("x =", i)  # a comment\n
Emoji 😀 and 🏃‍♂️ and 👍🏽 stand side by side with plain words like word and words.
""".split("\n")

# Characters that the parts of a tokenizer treat in special ways.
ATOMS = (
    list("aabcdehlmorstTHE") + ["the", "he", "hello", "ing", "er", "est", "word", " ", " ", " ",
    "  ", "   ", "\n", "\r\n", "\t", "\n\n", "0", "1", "23", "456", "7890", ".", ",", "!", "?", "...",
    "-", "_", "'", "'s", "'t", "'S", "'LL", "'ll", "n't", "’", "’s", "’t", "‘", "“", "”", "\"",
    "(", ")", "[", "]", "{", "}", "<", ">", "|", "/", "\\", "$", "+", "=", "^", "`", "~", "#", "##",
    "@", "%", "&", "*", ":", ";", "\u0000", "\u0001", "\u007f", "\u0085", "\u00a0", "\u00ad", "\u1680",
    "\u180e", "\u2000", "\u2009", "\u200b", "\u200c", "\u200d", "\u2028", "\u2029", "\u202f", "\u205f",
    "\u3000", "\ufeff", "\ufffd", "\ufffc", "\ue000", "é", "e\u0301", "ê", "É", "ñ", "n\u0303", "ö", "ü",
    "ß", "ẞ", "ſ", "'ſ", "K", "Å", "Å", "İ", "ı", "Ⅷ", "ⓩ", "²", "½", "٣", "೭", "ﬁ", "ﷺ", "㋿", "㍿", "ǆ",
    "\u0301", "\u0323", "\u0308\u0301", "\u0344", "\u0345", "a\u0301\u0323", "ẹ\u0301", "\u0f73",
    "\u0b47\u0b3e", "각", "가\u11a8", "\u1100\u1161", "한국", "中", "文字", "日本", "の", "が", "か\u3099",
    "ー", "。", "、", "🎉", "😀", "👍🏽", "🏃‍♂️", "🇩🇪", "𝔾", "𝕠", "𠀀", "\U0002b820", "\U0002b920", "\U0002f800",
    "\U0001e900", "𑂙", "\u1cd0", "\u20dd", "\u0903", "\u093e", "ก็", "привет", "Мир", "ё", "Σ", "ς", "ά", "α\u0301",
    "שלום", "ﭏ", "مرحبا", "ـ", "\U000e0100", "\U0010ffff", "\u0378", "\u2fe0", "▁", "Ġ", "Ċ", "ā", "</w>",
    "<0x0A>", "\u1c89", "\ua7cb", "\u0897", "\u0cf3", "\U00010d50", "\U00016ea0", "\U0001e4ec", "\u1b4e",
    "\u166d", "\u2e5d", "\u061c", "\u2069"])
SPECIALS = ["<s>", "</s>", "<unk>", "[CLS]", "[SEP]", "[MASK]", "<|endoftext|>", "<mask>", "<x>", " <x> ",
            "<Yy>", "<yy>", "<z>", "a<z>", "é<z>", "<z>b", "wORD", "  <l>", "<r>  ", "<rl> ", "\u2003<l>", "<r>\n"]


def texts(n, seed):
    """n texts of 1 to 14 atoms."""
    rng = random.Random(seed)
    out = []
    for i in range(n):
        kind = rng.random()
        if kind < 0.15:
            pool = rng.sample(ATOMS, 4)
        elif kind < 0.4:
            pool = ATOMS[:60]
        else:
            pool = ATOMS
        parts = [rng.choice(SPECIALS) if rng.random() < 0.08 else rng.choice(pool)
                 for _ in range(rng.randint(1, 14))]
        out.append("".join(parts))
    return out


GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
WORDS = r"[\p{L}\p{N}]+(?:'[\p{L}]+)*|[^\s\p{L}\p{N}]"
WORDS_CURLY = r"[\p{L}\p{N}]+(?:['’][\p{L}]+)*|[^\s\p{L}\p{N}]"
REVIEWS = (r"[\p{L}\p{N}]+(?:['’]t)?|['’](?:s|re|ve|ll|d|m)\b|\.\.\."
           r"|[^\s\p{L}\p{N}]")
# Not among the hand-written scanners: goes through the regex engine.
OTHER = r"\b[a-zA-Z]+\b|[0-9]{2}|\h+z?|\w(?=\W)|(?i:é)|[^\S\n]+|[^a-z]"

special = processors.TemplateProcessing


def words_of(splitter, normalizer=None, n=300):
    words = {}
    for line in CORPUS:
        text = normalizer.normalize_str(line) if normalizer else line
        for word, _ in splitter.pre_tokenize_str(text):
            words.setdefault(word, len(words) + 2)
            if len(words) == n:
                return words
    return words


def word_level(splitter, normalizer=None, marks=("<unk>", "<s>")):
    vocab = {marks[0]: 0, marks[1]: 1, **words_of(splitter, normalizer)}
    t = Tokenizer(models.WordLevel(vocab, unk_token=marks[0]))
    t.pre_tokenizer = splitter
    if normalizer:
        t.normalizer = normalizer
    return t


def wordlevel_split():
    n = normalizers.Sequence([normalizers.NFC()] + [normalizers.Replace(a, b) for a, b in (
        ("’", "'"), ("‘", "'"), ("“", '"'), ("”", '"'))])
    t = word_level(pre_tokenizers.Split(Regex(WORDS), "removed", invert=True), n)
    t.post_processor = special(single="<s> $A", special_tokens=[("<s>", 1)])
    t.add_special_tokens(["<unk>", "<s>"])
    return t


def pair_swapped():
    t = word_level(pre_tokenizers.WhitespaceSplit())
    t.post_processor = special(single="$A:2 <s>:1", pair="<unk>:3 $B:4 <s>:5 <s>:6 $A:7 <unk>:8",
                               special_tokens=[("<s>", 1), ("<unk>", 0)])
    return t


def wordlevel_curly():
    t = word_level(pre_tokenizers.Split(Regex(WORDS_CURLY), "removed", invert=True))
    t.post_processor = special(single="<s> $A:1 <s>:1", special_tokens=[("<s>", 1)])
    return t


def wordlevel_blank():
    t = word_level(pre_tokenizers.WhitespaceSplit())
    t.post_processor = special(single="<s> $A", special_tokens=[("<s>", 1)])
    t.add_special_tokens(["<unk>", "<s>"])
    return t


def wordlevel_reviews():
    n = normalizers.BertNormalizer()
    return word_level(pre_tokenizers.Split(Regex(REVIEWS), "removed", invert=True), n,
                      ("[PAD]", "[UNK]"))


def wordpiece_lower():
    t = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=40))
    t.normalizer = normalizers.BertNormalizer(lowercase=True)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    t.train_from_iterator(CORPUS, trainers.WordPieceTrainer(
        vocab_size=420, special_tokens=marks, show_progress=False))
    t.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    t.decoder = decoders.WordPiece("##", True)
    return t


def wordpiece_cased():
    t = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=12))
    t.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=False,
                                              strip_accents=False, lowercase=False)
    t.pre_tokenizer = pre_tokenizers.Whitespace()
    t.train_from_iterator(CORPUS, trainers.WordPieceTrainer(
        vocab_size=400, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False))
    t.post_processor = special(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
                               special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    t.decoder = decoders.WordPiece("##", False)
    t.add_special_tokens([AddedToken("[MASK]", lstrip=True)])
    return t


def byte_bpe(splitter, marks=("<|endoftext|>",), size=400, **options):
    t = Tokenizer(models.BPE(**options))
    t.pre_tokenizer = splitter
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(marks), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    t.decoder = decoders.ByteLevel()
    return t


def bpe_gpt2():
    t = byte_bpe(pre_tokenizers.ByteLevel(add_prefix_space=False))
    t.post_processor = special(single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)])
    return t


def bpe_roberta():
    marks = ("<s>", "<pad>", "</s>", "<unk>")
    t = byte_bpe(pre_tokenizers.ByteLevel(add_prefix_space=True), marks)
    t.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    t.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return t


def bpe_llama3():
    t = byte_bpe(pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]), ignore_merges=True)
    t.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=True, add_prefix_space=False),
        special(single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)])])
    return t


def bpe_qwen2():
    t = byte_bpe(pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN2), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]))
    t.normalizer = normalizers.NFC()
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    t.add_tokens([AddedToken("  ", normalized=True), AddedToken("    ", normalized=True)])
    return t


def bpe_smollm():
    t = byte_bpe(pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)]))
    t.post_processor = processors.ByteLevel(trim_offsets=True, add_prefix_space=True)
    return t


def pieces_bpe(normalizer, splitter, marks, size=330, train=None, **options):
    """BPE over characters, with entries for all bytes if byte_fallback."""
    t = Tokenizer(models.BPE())
    if normalizer:
        t.normalizer = normalizer
    if splitter:
        t.pre_tokenizer = splitter
    t.train_from_iterator(CORPUS[:4] + CORPUS[6:8], trainers.BpeTrainer(
        vocab_size=size, show_progress=False, **(train or {})))
    model = json.loads(t.to_str())["model"]
    vocab, merges = {}, [tuple(m) for m in model["merges"]]
    extra = [f"<0x{b:02X}>" for b in range(256)] if options.get("byte_fallback") else []
    for piece in list(marks) + extra + sorted(model["vocab"], key=model["vocab"].get):
        vocab.setdefault(piece, len(vocab))
    u = Tokenizer(models.BPE(vocab, merges, **options))
    if normalizer:
        u.normalizer = normalizer
    if splitter:
        u.pre_tokenizer = splitter
    return u


def bpe_llama2():
    t = pieces_bpe(
        normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None,
        ["<unk>", "<s>", "</s>"], unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    t.post_processor = special(single="<s> $A", special_tokens=[("<s>", 1)])
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(),
                                   decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    t.add_special_tokens(["<unk>", "<s>", "</s>"])
    return t


def bpe_metaspace(scheme, name, **options):
    def make():
        t = pieces_bpe(None, pre_tokenizers.Metaspace("▁", scheme, **options),
                       ["<unk>", "<s>"], size=200, unk_token="<unk>")
        t.decoder = decoders.Metaspace("▁", scheme)
        t.add_special_tokens(["<s>"])
        return t
    make.__name__ = name
    return make


def bpe_suffix():
    n = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "),
                              normalizers.Lowercase()])
    t = pieces_bpe(n, pre_tokenizers.Whitespace(), ["<unk>"], size=260,
                   train={"end_of_word_suffix": "</w>"},
                   unk_token="<unk>", end_of_word_suffix="</w>", fuse_unk=True)
    t.decoder = decoders.BPEDecoder("</w>")
    return t


def bpe_prefix():
    t = pieces_bpe(None, pre_tokenizers.Whitespace(), ["<unk>"], size=260,
                   train={"continuing_subword_prefix": "##"},
                   unk_token="<unk>", continuing_subword_prefix="##")
    t.decoder = decoders.WordPiece("##", True)
    return t


def bpe_no_unk():
    return pieces_bpe(None, pre_tokenizers.WhitespaceSplit(), [], size=200)


def unigram(name, normalizer, splitter, *, size=300, decoder=None, extra=(), **options):
    """Scores of the kind that ties are made of: few digits, many alike."""
    def make():
        t = Tokenizer(models.Unigram())
        if normalizer:
            t.normalizer = normalizer
        if splitter:
            t.pre_tokenizer = splitter
        t.train_from_iterator(CORPUS, trainers.UnigramTrainer(
            vocab_size=size, unk_token="<unk>", special_tokens=["<pad>", "</s>", "<unk>"],
            show_progress=False))
        model = json.loads(t.to_str())["model"]
        vocab = [tuple(p) for p in model["vocab"]] + list(extra)
        if options.get("byte_fallback"):
            vocab += [(f"<0x{b:02X}>", 0.0) for b in range(256)]
        t.model = models.Unigram(vocab, unk_id=model["unk_id"], **options)
        t.post_processor = special(single="$A </s>", pair="$A </s> $B </s>",
                                   special_tokens=[("</s>", 1)])
        if decoder:
            t.decoder = decoder
        return t
    make.__name__ = name
    return make


def unigram_ties():
    """Every path of some lengths has the same score, up to rounding."""
    pieces = ["a", "b", "c", "ab", "bc", "ca", "aa", "aaa", "aab", "abc", "é", "éa", "▁", "▁a", "中", "中文"]
    vocab = [("<unk>", 0.0)] + [(p, -1.1 * len(p) - 0.3 * (len(p) % 2)) for p in pieces]
    t = Tokenizer(models.Unigram(vocab, unk_id=0))
    t.pre_tokenizer = pre_tokenizers.Metaspace("▁", "never", split=False)
    t.decoder = decoders.Metaspace("▁", "never")
    t.post_processor = processors.ByteLevel(trim_offsets=True, add_prefix_space=False)
    return t


def added_flags():
    t = word_level(pre_tokenizers.Whitespace(), normalizers.Lowercase())
    for content, flags in (
            ("<x>", {}), ("<Yy>", {"normalized": True}), ("<z>", {"single_word": True}),
            ("<l>", {"lstrip": True}), ("<r>", {"rstrip": True}),
            ("<rl>", {"lstrip": True, "rstrip": True, "normalized": True}),
            ("wORD", {"normalized": True, "single_word": True}), ("<", {}), ("<s>>", {}),
            (" the", {"normalized": True})):
        flags.setdefault("normalized", False)
        t.add_tokens([AddedToken(content, **flags)])
    t.add_special_tokens(["<s>", "</s>"])
    t.post_processor = processors.ByteLevel(trim_offsets=True, add_prefix_space=True)
    return t


def offsets_only(name, normalizer, splitter):
    """A vocabulary of nothing: what counts is where the pieces are."""
    def make():
        t = Tokenizer(models.WordLevel({"?": 0, "a": 1, "é": 2, " ": 3}, unk_token="?"))
        if normalizer:
            t.normalizer = normalizer
        t.pre_tokenizer = splitter
        return t
    make.__name__ = name
    return make


def charsmap(rules):
    """The bytes of a SentencePiece charsmap: size and units of a Darts-clone trie, then texts."""
    texts, root = b"", {}
    for key, text in rules.items():
        node = root
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[0] = len(texts)
        texts += text.encode() + b"\0"
    units, taken, bases = {}, {0}, set()

    def place(node, index):
        """Finds a base for a node's children; its unit at `index` leads there."""
        base = 1
        while base in bases or base in taken or any(base ^ b in taken for b in node):
            base += 1
        bases.add(base)
        taken.update(base ^ b for b in node)
        units[index] |= (index ^ base) << 10 | (0 in node) << 8
        for byte, child in sorted(node.items()):
            if byte == 0:
                units[base] = 1 << 31 | child
            else:
                units[base ^ byte] = byte
                place(child, base ^ byte)

    units[0] = 0
    place(root, 0)
    size = (max(units) // 256 + 1) * 256
    return struct.pack("<I%dI" % size, 4 * size, *(units.get(i, 0) for i in range(size))) + texts


# Longer, shorter, emptied, several at once, prefixes of one another and marks that get lost.
RULES = {"ﬁ": "fi", "Å": "A\u030a", "é": "e", "e\u0301": "é", "ñ": "", "\u00ad": "", "\u200b": " ",
         "½": "1/2", "㍿": "株式会社", "ab": "X", "a": "α", "the": "th", "\r": " ", "\r\n": "\n",
         "😀": ":)", "k": "kk", "か": "ka", "か\u3099": "ga", "٣": "3", "\u0001": "", "中": "",
         "ö\u0301": "oe"}


def precompiled(name, rules, steps=()):
    def make():
        t = Tokenizer(models.WordLevel({"?": 0, "a": 1, "é": 2, " ": 3}, unk_token="?"))
        t.pre_tokenizer = EACH
        whole = {"type": "Precompiled",
                 "precompiled_charsmap": base64.b64encode(charsmap(rules)).decode()}
        root = json.loads(t.to_str())
        root["normalizer"] = {"type": "Sequence", "normalizers": [whole, *steps]}
        return Tokenizer.from_str(json.dumps(root))
    make.__name__ = name
    return make


def ctc(cleanup, name):
    def make():
        vocab = {p: i for i, p in enumerate(
            ["<pad>", "<unk>", "|", "a", "b", "ab", " .", " do not|", "x<pad>", "é", "' s", " '", "||"])}
        t = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
        t.pre_tokenizer = EACH
        t.decoder = decoders.CTC("<pad>", "|", cleanup)
        return t
    make.__name__ = name
    return make


EACH = pre_tokenizers.Split(Regex(r"(?:.|\n)"), "isolated")

MAKERS = [
    wordlevel_split, pair_swapped, wordlevel_curly, wordlevel_blank, wordlevel_reviews, wordpiece_lower,
    wordpiece_cased, bpe_gpt2, bpe_roberta, bpe_llama3, bpe_qwen2, bpe_smollm, bpe_llama2,
    bpe_metaspace("always", "bpe_metaspace"), bpe_metaspace("first", "bpe_metaspace_first"),
    bpe_metaspace("never", "bpe_metaspace_never", split=False),
    bpe_suffix, bpe_prefix, bpe_no_unk, added_flags,
    unigram("unigram_t5", normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(
        Regex(" {2,}"), " ")]), pre_tokenizers.Metaspace("▁", "always"),
            decoder=decoders.Metaspace("▁", "always"), byte_fallback=False),
    unigram("unigram_bytes", None, pre_tokenizers.Metaspace("▁", "first"), size=200,
            decoder=decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace("▁", "first")]),
            byte_fallback=True),
    unigram("unigram_trimmed", None, pre_tokenizers.ByteLevel(add_prefix_space=True), size=260,
            extra=[("<unk>the", -3.0), ("hello", -2.5), ("ĠĠ", -4.25)],
            decoder=decoders.ByteLevel()),
    unigram_ties,
    offsets_only("form_c", normalizers.NFC(), EACH),
    offsets_only("form_d", normalizers.NFD(), EACH),
    offsets_only("form_kc", normalizers.NFKC(), EACH),
    offsets_only("form_kd", normalizers.NFKD(), EACH),
    offsets_only("strip_accents", normalizers.Sequence(
        [normalizers.Strip(), normalizers.StripAccents()]), EACH),
    offsets_only("strip_left", normalizers.Sequence(
        [normalizers.Strip(True, False), normalizers.NFKD(), normalizers.StripAccents(),
         normalizers.Lowercase()]), EACH),
    offsets_only("bert", normalizers.BertNormalizer(), EACH),
    offsets_only("bert_clean", normalizers.BertNormalizer(True, True, False, False), EACH),
    offsets_only("replaced", normalizers.Sequence(
        [normalizers.Replace("he", "<HE>"), normalizers.Replace(Regex("[aeé]+"), "é"),
         normalizers.Replace("l", ""), normalizers.Prepend("éa")]), EACH),
    offsets_only("bytes", normalizers.ByteLevel(), EACH),
    offsets_only("digits", None, pre_tokenizers.Digits(individual_digits=False)),
    offsets_only("punctuation", None, pre_tokenizers.Punctuation("merged_with_previous")),
    offsets_only("delimiter", None, pre_tokenizers.Sequence(
        [pre_tokenizers.CharDelimiterSplit("é"), pre_tokenizers.Punctuation()])),
    offsets_only("split_previous", None,
                 pre_tokenizers.Split(Regex(r"\s"), "merged_with_previous")),
    offsets_only("split_next", None, pre_tokenizers.Split(" ", "merged_with_next")),
    offsets_only("split_contiguous", None,
                 pre_tokenizers.Split(Regex(r"[^a-z]"), "contiguous")),
    offsets_only("split_inverted", None,
                 pre_tokenizers.Split(Regex(r"[a-z]+"), "merged_with_next", invert=True)),
    offsets_only("split_other", None, pre_tokenizers.Split(Regex(OTHER), "isolated")),
    offsets_only("nmt", normalizers.Nmt(), EACH),
    offsets_only("scripts", None, pre_tokenizers.UnicodeScripts()),
    offsets_only("scripts_words", normalizers.NFKC(), pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.UnicodeScripts()])),
    offsets_only("fixed_length", normalizers.NFD(), pre_tokenizers.FixedLength(3)),
    precompiled("precompiled", RULES),
    precompiled("precompiled_blanks", {**RULES, "a\u0301": "", " ": "", "\n": ""},
                [{"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]),
    precompiled("precompiled_clusters", {"a": "α", "\u0958": "q", "\u0600": "p", "\U000113d1": "P",
                                         "\U00011a3a": "R", "©": "c"}),
    ctc(True, "ctc"), ctc(False, "ctc_raw"),
    offsets_only("split_gpt2", None, pre_tokenizers.Split(Regex(GPT2), "merged_with_previous")),
]


# Texts that are a pair with the one behind them.
PAIRS = (3, 10, 17, 24, 33, 38, 90, 92, 93, 94, 101, 102)


def expectation(t, text):
    e = t.encode(text)
    out = {"ids": e.ids, "at": [x for o in e.offsets for x in o],
           "words": [-1 if w is None else w for w in e.word_ids],
           "text": t.decode(e.ids, skip_special_tokens=False)}
    plain = t.decode(e.ids, skip_special_tokens=True)
    if plain != out["text"]:
        out["plain"] = plain
    if any(e.type_ids):
        out["types"] = e.type_ids
    if any(e.special_tokens_mask):
        out["special"] = e.special_tokens_mask
    return out


def pair_expectation(t, texts, a):
    e = t.encode(texts[a], texts[a + 1], add_special_tokens=a % 2 == 0)
    return {"a": a, "ids": e.ids, "at": [x for o in e.offsets for x in o],
            "words": [-1 if w is None else w for w in e.word_ids], "types": e.type_ids,
            "special": e.special_tokens_mask,
            "parts": [p if p and not s else 0 for p, s in zip(e.sequence_ids, e.special_tokens_mask)]}


def truncation():
    """What the library keeps of pairs, and its windows over a text that is too long."""
    t = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    t.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    pairs, windows = [], []
    for n1 in range(8):
        for n2 in range(8):
            for most in range(1, 11):
                t.enable_truncation(most, strategy="longest_first")
                e = t.encode("a " * n1, "b " * n2)
                pairs.append([n1, n2, most, e.ids.count(0), e.ids.count(1)])
    t.no_truncation()
    for n in (0, 1, 2, 3, 7, 10, 11, 12, 23):
        for most in (1, 2, 3, 4, 5, 10, 11, 12):
            for stride in {s for s in (0, 1, 2, 4, most - 1) if s < most}:
                for left in (0, 1):
                    e = t.encode("a " * n)
                    e.truncate(most, stride, "left" if left else "right")
                    windows.append([n, most, stride, left] + [
                        x // 2 for w in [e] + e.overflowing for x in
                        ((w.offsets[0][0], w.offsets[-1][0] + 2) if w.offsets else (0, 0))])
    return {"pairs": pairs, "windows": windows}


def long_texts():
    rng = random.Random(3)
    return ["".join(rng.choice(pool) for _ in range(n)) for pool, n in (
        (list("abcdehlmorst"), 500), (["the", "he", "hello", "ing", "a", "é", "中", "😀"], 300),
        (list("aab"), 400))]


def random_ids(t, n, seed):
    rng = random.Random(seed)
    size = t.get_vocab_size() + 2
    return [[rng.randrange(size) for _ in range(rng.randint(0, 9))] for _ in range(n)]


def dump(path, value):
    with open(path, "w", encoding="utf-8") as f:
        f.write(value if isinstance(value, str) else json.dumps(
            value, ensure_ascii=True, separators=(",", ":")).replace("},{", "},\n{"))
        f.write("\n")


def main():
    os.makedirs(HERE, exist_ok=True)
    some = texts(90, 1) + CORPUS[:3] + [
        "", " ", "a" * 90, "\u0301" * 40, "a" + "\u0323\u0301" * 20, "é" * 50, " " * 30 + "x", "中" * 20,
        "it'ſ K'LL x\u0085y 1234567 \u200bz\n\n end", "hi hié <s>hi zq", "Café ab中文! \u0000hello",
        # Grapheme clusters, of which a charsmap cares about short ones: conjuncts, newer marks.
        "\u0915\u094d\u0958\u0301 \u0915\u0958\u0301 \u0915\u093c\u094d\u200d\u0958\u0301 "
        "\u0915\u094d\u200c\u0958\u0301 \u0915\u094d\u0903\u0958\u0301 \u1000\u1039\u0958\u0301",
        "a\u0897 a\u1aeb a\U000113b8 a\U000113b9 a\U000113ba\u0301 a\U0001612a ka\u0301\u0301 a\u0301x "
        "\U000113d1a \U00011a3aa \u0600a \u0600\u0301 ©\u0301 ©\u200d© a\u200d\u0301 \r\na a\u0903"]
    dump(os.path.join(HERE, "texts.json"), {"library": tokenizers.__version__, "texts": some,
                                            "long": long_texts()})
    dump(os.path.join(HERE, "truncation.json"), truncation())
    for make in MAKERS:
        folder = os.path.join(HERE, make.__name__)
        path = os.path.join(folder, "tokenizer.json")
        os.makedirs(folder, exist_ok=True)
        if not os.path.exists(path):
            dump(path, make().to_str())
        t = Tokenizer.from_file(path)
        ids = random_ids(t, 30, 2)
        dump(os.path.join(folder, "expect.json"), {
            "encode": [expectation(t, text) for text in some],
            "decode": [{"ids": i, "text": t.decode(i, skip_special_tokens=False)} for i in ids],
            "long": [t.encode(text, add_special_tokens=False).ids for text in long_texts()]
            if make.__name__.startswith(("bpe_", "unigram_")) else [],
            "pairs": [pair_expectation(t, some, a) for a in PAIRS]})


if __name__ == "__main__":
    main()
