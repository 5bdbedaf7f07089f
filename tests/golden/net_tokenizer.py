"""Gives the folders of tests/golden/nets a tokenizer.json, so that seqd serves them whole.

    python3 tests/golden/net_tokenizer.py        (all folders; the standard library only)

Word number i of the vocabulary reads "w<i>", w0 stands for unknown words, and the last
word of a masked model is its [MASK]. The nets' own tests feed ids and don't read it.
"""

import json
from pathlib import Path

NETS = Path(__file__).resolve().parent / "nets"


def tokenizer_for(config):
    words = [f"w{i}" for i in range(config["vocab_size"])]
    added = []
    if config["architectures"][0].endswith("ForMaskedLM"):
        words[-1] = "[MASK]"
        added = [{"id": len(words) - 1, "content": "[MASK]", "single_word": False,
                  "lstrip": False, "rstrip": False, "normalized": False, "special": True}]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
            "normalizer": None, "pre_tokenizer": {"type": "WhitespaceSplit"},
            "post_processor": None, "decoder": None,
            "model": {"type": "WordLevel", "unk_token": "w0",
                      "vocab": {word: i for i, word in enumerate(words)}}}


def write_tokenizer(folder):
    config = json.loads((folder / "config.json").read_text())
    text = json.dumps(tokenizer_for(config), separators=(",", ":"))
    (folder / "tokenizer.json").write_text(text + "\n")


if __name__ == "__main__":
    for each in sorted(NETS.iterdir()):
        write_tokenizer(each)
