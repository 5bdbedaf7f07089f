"""Writes a model folder as seqd reads it: config.json, model.safetensors, tokenizer.json.
Needs numpy and the standard library."""

import json
import struct
from pathlib import Path

import numpy as np

TYPES = {"F32": np.float32, "F16": np.float16}
PUNCTUATION = "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'"
UNKNOWN = ("[UNK]", "<unk>", "<UNK>", "<OOV>", "UNK")


class Refusal(Exception):
    """What the input has that seqd does not compute, in words for its owner."""


def write_safetensors(path, tensors, kind="F32"):
    header, blobs, at = {}, [], 0
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name], dtype=TYPES[kind])
        if not np.isfinite(array).all():
            raise Refusal(f"{name}: a value is not finite as {kind}")
        header[name] = {"dtype": kind, "shape": list(array.shape),
                        "data_offsets": [at, at + array.nbytes]}
        blobs.append(array.tobytes())
        at += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def word_tokenizer(words, standardize, split):
    """A tokenizer.json for a list of words: id i is words[i]. standardize "keras" does
    what keras.layers.TextVectorization does by default: lower case, no punctuation."""
    words = [w or f"[PAD{i or ''}]" for i, w in enumerate(words)]
    if len(set(words)) != len(words):
        raise Refusal("the vocabulary has a word twice")
    unknown = next((w for w in UNKNOWN if w in words), None)
    if unknown is None:
        raise Refusal(f"the vocabulary has none of {', '.join(UNKNOWN)} for other words")
    steps = [{"type": "Lowercase"}] + [
        {"type": "Replace", "pattern": {"String": c}, "content": ""} for c in PUNCTUATION]
    pre = {"type": "WhitespaceSplit"} if split == "whitespace" else {
        "type": "Split", "pattern": {"Regex": "[\\s\\S]"}, "behavior": "Isolated",
        "invert": False}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
            "normalizer": {"type": "Sequence", "normalizers": steps}
            if standardize == "keras" else None,
            "pre_tokenizer": pre, "post_processor": None, "decoder": None,
            "model": {"type": "WordLevel", "vocab": {w: i for i, w in enumerate(words)},
                      "unk_token": unknown}}


def write(folder, config, tensors, tokenizer, kind="F32"):
    """tokenizer: what tokenizer.json holds, or None."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "model.safetensors", tensors, kind)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    if tokenizer is not None:
        (folder / "tokenizer.json").write_text(
            json.dumps(tokenizer, ensure_ascii=False, indent=1) + "\n")
