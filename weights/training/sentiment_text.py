"""The two tokenizers of the sentiment models, and encoding corpora with them."""
import collections

from tokenizers import (Regex, Tokenizer, models, normalizers, pre_tokenizers,
                        processors, trainers)

PAD, UNK = 0, 1
# A word with its contracted "not", another contraction, an ellipsis, or one symbol.
WORD = (r"[\p{L}\p{N}]+(?:['’]t)?|['’](?:s|re|ve|ll|d|m)\b|\.\.\."
        r"|[^\s\p{L}\p{N}]")
TYPOGRAPHY = {"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "..."}


def _lower():
    return normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True,
                                      strip_accents=True, lowercase=True)


def _pieces(normalizer, splitter, texts):
    for text in texts:
        for piece, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)):
            yield piece


def word_tokenizer(corpora, size):
    """WordLevel over the `size` most frequent words; (texts, weight) per corpus.

    Words that end in a contraction are listed with the typographic apostrophe too.
    """
    normalizer = _lower()
    splitter = pre_tokenizers.Split(Regex(WORD), behavior="removed", invert=True)
    counts = collections.Counter()
    for texts, weight in corpora:
        for piece, n in collections.Counter(_pieces(normalizer, splitter,
                                                    texts)).items():
            counts[piece] += weight * n
    words = [word for word, _ in sorted(counts.items(), key=lambda x: (-x[1], x[0]))]
    words = words[:size - 2]
    curly = [w.replace("'", "’") for w in words if "'" in w and len(w) > 1]
    vocabulary = {"[PAD]": PAD, "[UNK]": UNK}
    for word in words + curly + list(TYPOGRAPHY):
        vocabulary.setdefault(word, len(vocabulary))
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    return tokenizer


def piece_tokenizer(corpora, size):
    """WordPiece in BERT's arrangement, trained on (texts, weight) per corpus."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = _lower()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, min_frequency=2, show_progress=False, limit_alphabet=160,
        initial_alphabet=list(TYPOGRAPHY),
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    texts = (text for rows, weight in corpora for _ in range(weight) for text in rows)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", tokenizer.token_to_id("[SEP]")),
        ("[CLS]", tokenizer.token_to_id("[CLS]")))
    return tokenizer


def encode(tokenizer, texts, chunk=5000):
    """Ids of every text, without special tokens; an unreadable one is [UNK]."""
    out = []
    for at in range(0, len(texts), chunk):
        batch = tokenizer.encode_batch(texts[at:at + chunk], add_special_tokens=False)
        out += [e.ids or [UNK] for e in batch]
    return out


def typographic_twins(tokenizer):
    """(id of a token with a typographic sign, id of its plain spelling) pairs."""
    vocabulary = tokenizer.get_vocab()
    for word, number in vocabulary.items():
        twin = "".join(TYPOGRAPHY.get(c, c) for c in word)
        twin = twin if twin in vocabulary else "."
        if any(c in TYPOGRAPHY for c in word):
            yield number, vocabulary[twin]
