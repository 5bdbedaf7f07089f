"""Adds to some folders of tests/golden/nets what the output layer says of every layer.

    python tests/golden/make_lens.py

Wants numpy and safetensors only. lens/model.safetensors gets, for text b:
  logits.b [layers+1,T,V]   the rows that transformers computed behind each layer
                            (hidden.b of expected/model.safetensors) through the final
                            norm, if the net has one in front of its head, and the head
The last layer's must be the logits that transformers computed.
"""

import math

import numpy as np
from make_inspection import Folder, layer_norm, rms_norm
from safetensors.numpy import save_file

erf = np.vectorize(math.erf)


def gelu(x):
    return x * (1 + erf(x / math.sqrt(2))) / 2


# ---- final norms, and heads ----------------------------------------------------------


def gpt2(f):
    t = f.tensors
    return (lambda x: layer_norm(x, f["ln_f.weight"], f["ln_f.bias"], 1e-5),
            lambda x: x @ t.get("lm_head.weight", f["wte.weight"]).T)


def llama(f):
    t = f.tensors
    return (lambda x: rms_norm(x, f["norm.weight"], f.config["rms_norm_eps"]),
            lambda x: x @ t.get("lm_head.weight", f["embed_tokens.weight"]).T)


def bert(f):
    t, at = f.tensors, "cls.predictions."

    def head(x):
        x = gelu(x @ t[at + "transform.dense.weight"].T + t[at + "transform.dense.bias"])
        x = layer_norm(x, t[at + "transform.LayerNorm.weight"],
                       t[at + "transform.LayerNorm.bias"], f.config["layer_norm_eps"])
        return x @ f["embeddings.word_embeddings.weight"].T + t[at + "bias"]

    return lambda x: x, head


def modernbert(f):
    t, eps = f.tensors, f.config["norm_eps"]

    def head(x):
        x = gelu(x @ t["head.dense.weight"].T)
        x = layer_norm(x, t["head.norm.weight"], 0, eps)
        return x @ f["embeddings.tok_embeddings.weight"].T + t["decoder.bias"]

    return lambda x: layer_norm(x, f["final_norm.weight"], 0, eps), head


# ---- one folder ----------------------------------------------------------------------


def lens(name, prefix, parts):
    f, out, b = Folder(name, prefix), {}, 0
    norm, head = parts(f)
    while f"hidden.{b}" in f.expected:
        hidden = f.expected[f"hidden.{b}"]  # the last is normed already
        rows = np.stack([norm(h) for h in hidden[:-1]] + [hidden[-1]])
        logits, want = head(rows), f.expected[f"logits.{b}"]
        error = np.abs(logits[-1] - want).max() / np.abs(want).max()
        assert error < 1e-5, (name, b, error)
        out[f"logits.{b}"] = logits
        b += 1
    folder = f.path / "lens"
    folder.mkdir(exist_ok=True)
    save_file({k: np.ascontiguousarray(v, np.float32) for k, v in out.items()},
              folder / "model.safetensors")
    print(name, len(out))


def main():
    lens("gpt2", "transformer.", gpt2)
    lens("llama", "model.", llama)
    lens("bert-masked", "bert.", bert)
    lens("modernbert-masked", "model.", modernbert)


if __name__ == "__main__":
    main()
