"""Makes the folders keras-* of tests/golden/nets: Keras's equations written down here from
its documentation, weights named as Keras names them, converted by weights/tools/from_keras.py.

    python tests/golden/make_keras.py

Needs numpy alone. What is expected is computed from Keras's arrays in double and never
sees the converted folder, so that the comparison covers the converter's orders of gates
and layouts of biases as well. See make_nets.py for what the files hold.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from net_tokenizer import write_tokenizer

ROOT = Path(__file__).resolve().parents[2]
NETS = ROOT / "tests" / "golden" / "nets"
TOOLS = ROOT / "weights" / "tools"
sys.path.insert(0, str(TOOLS))
import model_folder  # noqa: E402

WORDS, WIDTH, UNITS = 23, 9, 13
STEPS_MAX = 17  # longer texts come without states and gates


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


GATES = {"sigmoid": sigmoid,
         2: lambda x: np.clip(0.2 * x + 0.5, 0, 1),        # hard_sigmoid of Keras 2
         3: lambda x: np.clip(x + 3, 0, 6) / 6}            # and of Keras 3
BLOCKS = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1, "TF1": 4}


# ---- the equations: (x, h, c) -> (gates in PyTorch's order, h, c) --------------------


def lstm(w, gate, x, h, c):
    """keras.layers.LSTM: z = xW + hU + b in blocks i, f, c, o."""
    z = x @ w["kernel"] + h @ w["recurrent_kernel"] + w["bias"]
    z0, z1, z2, z3 = np.split(z, 4)
    i, f, g, o = gate(z0), gate(z1), np.tanh(z2), gate(z3)
    c = f * c + i * g
    return np.concatenate([i, f, g, o]), o * np.tanh(c), c


def gru(w, gate, x, h, c):
    """keras.layers.GRU with reset_after: blocks z, r, h; a bias of each product."""
    xz, xr, xh = np.split(x @ w["kernel"] + w["bias"][0], 3)
    hz, hr, hh = np.split(h @ w["recurrent_kernel"] + w["bias"][1], 3)
    z, r = gate(xz + hz), gate(xr + hr)
    n = np.tanh(xh + r * hh)
    return np.concatenate([r, z, n]), z * h + (1 - z) * n, c


def simple(w, gate, x, h, c):
    h = np.maximum(x @ w["kernel"] + h @ w["recurrent_kernel"] + w["bias"], 0)
    return np.zeros(0), h, c


def basic_lstm(w, gate, x, h, c):
    """tf.nn.rnn_cell.BasicLSTMCell: blocks i, j, f, o of [x, h]W + b; forget_bias 1."""
    i, j, f, o = np.split(np.concatenate([x, h]) @ w["kernel"] + w["bias"], 4)
    i, j, f, o = gate(i), np.tanh(j), gate(f + 1.0), gate(o)
    c = c * f + i * j
    return np.concatenate([i, f, j, o]), np.tanh(c) * o, c


STEP = {"LSTM": lstm, "GRU": gru, "SimpleRNN": simple, "TF1": basic_lstm}


def run(kind, gate, layers, x):
    """All layers over x [T,I]: gates, h, c, each [layers,ways,T,.], and the top [T,.]."""
    kept = ([], [], [])
    for ways in layers:
        rows = []
        for way, w in enumerate(ways):
            h = c = np.zeros(UNITS)
            out = [None] * len(x)
            order = range(len(x))
            for t in reversed(order) if way else order:
                gates, h, c = STEP[kind](w, gate, x[t], h, c)
                out[t] = (gates, h, c)
            rows.append([np.stack(part) for part in zip(*out)])
        for part, arrays in zip(kept, zip(*rows)):
            part.append(np.stack(arrays))
        x = np.concatenate(list(kept[1][-1]), axis=-1)
    return (*map(np.stack, kept), x)


# ---- weights under Keras's names ----------------------------------------------------


def cell_arrays(kind, width, rng):
    """Large enough for gates that differ clearly from 1/2, and for flat ends."""
    columns = BLOCKS[kind] * UNITS
    new = lambda *shape: rng.normal(0, 0.7, shape).astype(np.float32)
    if kind == "TF1":
        return {"kernel": new(width + UNITS, columns), "bias": new(columns)}
    bias = new(2, columns) if kind == "GRU" else new(columns)
    scale = 0.3 if kind == "SimpleRNN" else 1
    return {"kernel": new(width, columns) * scale,
            "recurrent_kernel": new(UNITS, columns) * scale, "bias": bias}


def layer_json(kind, config):
    return {"class_name": kind, "config": config}


def architecture(kind, ways, n_layers, keras, hard, pooling, dense, last):
    """What model.to_json() says of such a model, less what changes nothing."""
    layers = [layer_json("Embedding", {"name": "embedding", "mask_zero": False})]
    for i in range(n_layers):
        name = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "simple_rnn"}[kind] + f"_{i}"
        config = {"name": name, "units": UNITS, "use_bias": True,
                  "activation": "relu" if kind == "SimpleRNN" else "tanh",
                  "return_sequences": i + 1 < n_layers or not last, "go_backwards": False}
        if kind != "SimpleRNN":
            config["recurrent_activation"] = "hard_sigmoid" if hard else "sigmoid"
        if kind == "GRU":
            config["reset_after"] = True
        one = layer_json(kind, config)
        layers.append(one if ways == 1 else layer_json(
            "Bidirectional", {"name": f"bidirectional_{i}", "merge_mode": "concat", "layer": one}))
        layers.append(layer_json("Dropout", {"name": f"dropout_{i}", "rate": 0.2}))
    if pooling:
        layers.append(layer_json(pooling, {"name": "pooling"}))
    layers.append(layer_json("Dense", {"name": "dense", "activation": dense}))
    return {"class_name": "Sequential", "config": {"layers": layers}, "keras_version": f"{keras}.0"}


def named_arrays(kind, table, layers, dense):
    arrays = {"Model/embedding" if kind == "TF1" else "embedding/embeddings:0": table}
    for i, ways in enumerate(layers):
        for way, w in enumerate(ways):
            snake = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "simple_rnn"}.get(kind)
            place = (f"Model/RNN/multi_rnn_cell/cell_{i}/basic_lstm_cell" if kind == "TF1" else
                     f"{snake}_{i}/{snake}_cell" if len(ways) == 1 else
                     f"bidirectional_{i}/{('forward', 'backward')[way]}_{snake}_{i}/{snake}_cell")
            for name, array in w.items():
                arrays[f"{place}/{name}" + ("" if kind == "TF1" else ":0")] = array
    names = (("Model/softmax_w", "Model/softmax_b") if kind == "TF1" else
             ("dense/kernel:0", "dense/bias:0"))
    return {**arrays, **dict(zip(names, dense))}


# ---- one folder --------------------------------------------------------------------


def pool(kind, h, top):
    if kind == "GlobalMaxPooling1D":
        return top.max(0)
    if kind == "GlobalAveragePooling1D":
        return top.mean(0)
    return np.concatenate([h[-1, way, 0 if way else -1] for way in range(h.shape[1])])


def make(name, kind, outputs, lengths, ways=1, n_layers=1, keras=2, hard=False, pooling=None,
         dense="softmax", last=False):
    rng = np.random.default_rng(sum(map(ord, name)))
    table = rng.normal(0, 1, (WORDS, WIDTH)).astype(np.float32)
    layers, width = [], WIDTH
    for _ in range(n_layers):
        layers.append([cell_arrays(kind, width, rng) for _ in range(ways)])
        width = ways * UNITS
    head = (rng.normal(0, 0.5, (width, outputs)).astype(np.float32),
            rng.normal(0, 0.5, outputs).astype(np.float32))
    folder = NETS / name
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        npz, options = Path(scratch) / "model.npz", []
        np.savez(npz, **named_arrays(kind, table, layers, head))
        if kind != "TF1":
            text = architecture(kind, ways, n_layers, keras, hard, pooling, dense, last)
            (Path(scratch) / "model.json").write_text(json.dumps(text))
            options = ["--json", str(Path(scratch) / "model.json")]
        subprocess.run([sys.executable, str(TOOLS / "from_keras.py"), str(npz), str(folder),
                        *options], check=True, stdout=subprocess.DEVNULL)
    texts = [rng.integers(0, WORDS, n) for n in lengths]
    expected = {}
    for b, text in enumerate(texts):
        gates, h, c, top = run(kind, GATES[keras if hard else "sigmoid"], layers,
                               table[text].astype(np.float64))
        if outputs == WORDS:
            expected[f"logits.{b}"] = top @ head[0] + head[1]
        else:
            labels = pool(pooling, h, top) @ head[0] + head[1]
            # One sigmoid becomes two labels, softmax([0, x]).
            one = outputs == 1 and dense == "sigmoid"
            expected[f"labels.{b}"] = np.concatenate([[0], labels]) if one else labels
        if len(text) > STEPS_MAX:
            continue
        expected[f"h.{b}"] = h
        if kind in ("LSTM", "TF1"):
            expected[f"c.{b}"] = c
        if kind != "SimpleRNN":
            expected[f"gates.{b}"] = gates
    (folder / "expected").mkdir()
    model_folder.write_safetensors(folder / "expected" / "model.safetensors", expected)
    (folder / "ids").write_text("".join(" ".join(map(str, t)) + "\n" for t in texts))
    write_tokenizer(folder)


def main():
    lm, short = [1, 5, 17, 90], [1, 2, 17, 40]
    make("keras-lstm-lm-hard", "LSTM", WORDS, lm, n_layers=2, hard=True, last=True)
    make("keras-lstm-both-hard-6", "LSTM", 3, short, ways=2, keras=3, hard=True, last=True)
    make("keras-lstm-mean", "LSTM", 1, short, n_layers=2, dense="linear",
         pooling="GlobalAveragePooling1D")
    make("keras-gru-max-hard", "GRU", 1, short, hard=True, dense="sigmoid",
         pooling="GlobalMaxPooling1D")
    make("keras-gru-both", "GRU", 4, short, ways=2, n_layers=2, keras=3, dense="sigmoid", last=True)
    make("keras-gru-lm-hard-6", "GRU", WORDS, lm, keras=3, hard=True)
    make("keras-rnn-relu-lm", "SimpleRNN", WORDS, lm, dense="linear")
    make("tensorflow-lstm-lm", "TF1", WORDS, lm, n_layers=2)


if __name__ == "__main__":
    main()
