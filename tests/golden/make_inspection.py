"""Adds to some folders of tests/golden/nets what attention rows hold besides weights.

    python tests/golden/make_inspection.py

Wants numpy and safetensors only. inspection/model.safetensors gets, for text b:
  scores.b [layers,heads,queries,keys]      scaled scores before the softmax; -3e38: not seen
  value_norms.b [layers,heads,queries,keys] weight * ||W_O v|| (Kobayashi et al. 2020)
  (pooling: [1,hops,1,T]; value_norms are then weight * ||h||)
The rows that go into a layer and its weights behind the softmax are those that
transformers computed (expected/model.safetensors); between them stand the definitions
below, in double. The softmax of the scores must give those weights again.
"""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

NETS = Path(__file__).resolve().parent / "nets"
NOT_SEEN = -3e38


class Folder:
    def __init__(self, name, prefix=""):
        self.path = NETS / name
        self.config = json.loads((self.path / "config.json").read_text())
        tensors = load_file(self.path / "model.safetensors")
        self.tensors = {k: v.astype(np.float64) for k, v in tensors.items()}
        expected = load_file(self.path / "expected" / "model.safetensors")
        self.expected = {k: v.astype(np.float64) for k, v in expected.items()}
        self.prefix = prefix

    def __getitem__(self, name):
        return self.tensors[self.prefix + name]

    def linear(self, name, x):
        y = x @ self[name + ".weight"].T
        bias = self.prefix + name + ".bias"
        return y + self.tensors[bias] if bias in self.tensors else y


# ---- the steps -----------------------------------------------------------------------


def layer_norm(x, weight, bias, eps):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight + bias


def rms_norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def heads_of(x, n):
    """[T,n*E] -> [n,T,E]"""
    return x.reshape(len(x), n, -1).transpose(1, 0, 2)


def rotate(x, theta):
    """Rotary positions of [n,T,E], in the order of transformers."""
    half = x.shape[-1] // 2
    angles = np.outer(np.arange(x.shape[1]), theta ** (-np.arange(half) / half))
    cos, sin = np.cos(angles), np.sin(angles)
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def seen(T, causal, before, after):
    """Which keys a query sees, [T,T]; windows count its own position, None: no end."""
    q, k = np.arange(T)[:, None], np.arange(T)[None]
    out = np.ones((T, T), bool)
    if causal:
        out &= k <= q
    if before is not None:
        out &= q - k < before
    if after is not None:
        out &= k - q < after
    return out


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


# ---- what differs between the nets: q, k, v [heads,T,E], W_O [D,N*E], what is seen ----


def bert(f, layer, x):
    at, n = f"encoder.layer.{layer}.attention.", f.config["num_attention_heads"]
    q, k, v = (heads_of(f.linear(at + "self." + p, x), n) for p in ("query", "key", "value"))
    return q, k, v, f[at + "output.dense.weight"], seen(len(x), False, None, None)


def gpt2(f, layer, x):
    at = f"h.{layer}."
    x = layer_norm(x, f[at + "ln_1.weight"], f[at + "ln_1.bias"], 1e-5)
    qkv = x @ f[at + "attn.c_attn.weight"] + f[at + "attn.c_attn.bias"]
    q, k, v = (heads_of(p, f.config["n_head"]) for p in np.split(qkv, 3, -1))
    return q, k, v, f[at + "attn.c_proj.weight"].T, seen(len(x), True, None, None)


def llama(f, layer, x):
    at, c = f"layers.{layer}.", f.config
    x = rms_norm(x, f[at + "input_layernorm.weight"], c["rms_norm_eps"])
    N, K = c["num_attention_heads"], c["num_key_value_heads"]
    q = rotate(heads_of(f.linear(at + "self_attn.q_proj", x), N), c["rope_theta"])
    k = rotate(heads_of(f.linear(at + "self_attn.k_proj", x), K), c["rope_theta"])
    v = heads_of(f.linear(at + "self_attn.v_proj", x), K)
    k, v = (np.repeat(p, N // K, 0) for p in (k, v))
    return (q, k, v, f[at + "self_attn.o_proj.weight"],
            seen(len(x), True, c.get("sliding_window"), None))


def modernbert(f, layer, x):
    at, c = f"layers.{layer}.", f.config
    if layer:
        x = layer_norm(x, f[at + "attn_norm.weight"], 0, c["norm_eps"])
    qkv = np.split(f.linear(at + "attn.Wqkv", x), 3, -1)
    q, k, v = (heads_of(p, c["num_attention_heads"]) for p in qkv)
    near = layer % c["global_attn_every_n_layers"] != 0
    theta = c["local_rope_theta"] if near else c["global_rope_theta"]
    window = c["local_attention"] // 2 + 1 if near else None
    return (rotate(q, theta), rotate(k, theta), v, f[at + "attn.Wo.weight"],
            seen(len(x), False, window, window))


# ---- one folder ----------------------------------------------------------------------


def transformer(f, layer, x, weights, parts):
    q, k, v, output, visible = parts(f, layer, x)
    N, T, E = v.shape
    scores = np.where(visible, q @ k.transpose(0, 2, 1) / np.sqrt(E), -np.inf)
    lengths = np.stack([np.linalg.norm(v[h] @ output[:, h * E:(h + 1) * E].T, axis=-1)
                        for h in range(N)])
    return scores, weights * lengths[:, None]


def pooling(f, b):
    h = f.expected.get(f"h.{b}")
    if h is None:
        return None
    rows = np.concatenate(list(h[-1]), -1)  # [T,W], both directions side by side
    scores = np.tanh(f.linear("pooling.proj", rows)) @ f["pooling.context.weight"].T
    weights = f.expected[f"attention.{b}"]
    return scores.T[None, :, None], weights * np.linalg.norm(rows, axis=-1)


def text(f, b, parts):
    if parts is None:
        return pooling(f, b)
    hidden, weights = f.expected[f"hidden.{b}"], f.expected[f"attention.{b}"]
    layers = [transformer(f, layer, hidden[layer], weights[layer], parts)
              for layer in range(len(weights))]
    return tuple(np.stack(maps) for maps in zip(*layers))


def inspect(name, prefix, parts):
    f, out, b = Folder(name, prefix), {}, 0
    while f"attention.{b}" in f.expected:
        maps = text(f, b, parts)
        if maps:
            error = np.abs(softmax(maps[0]) - f.expected[f"attention.{b}"]).max()
            assert error < 2e-6, (name, b, error)
            out[f"scores.{b}"] = np.maximum(maps[0], NOT_SEEN)
            out[f"value_norms.{b}"] = maps[1]
        b += 1
    folder = f.path / "inspection"
    folder.mkdir(exist_ok=True)
    save_file({k: np.ascontiguousarray(v, np.float32) for k, v in out.items()},
              folder / "model.safetensors")
    print(name, len(out))


def main():
    inspect("bert", "bert.", bert)
    inspect("gpt2", "transformer.", gpt2)
    inspect("llama", "model.", llama)
    inspect("mistral", "model.", llama)
    inspect("modernbert", "model.", modernbert)
    inspect("lstm-both-hops", "", None)


if __name__ == "__main__":
    main()
