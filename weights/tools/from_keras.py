"""Converts a recurrent model of Keras or TensorFlow into a folder that seqd serves.

    python weights/tools/from_keras.py MODEL FOLDER [options]      (README.md explains)

MODEL is a Keras file (.keras, .h5, .weights.h5) or an npz of named arrays. What the net
would compute otherwise than the model did is refused in one line, with exit status 1.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import numpy as np

import keras_files
import model_folder
from model_folder import Refusal

# Layers that compute nothing when a model is used.
TRAINING_ONLY = ("InputLayer", "Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout",
                 "AlphaDropout", "ActivityRegularization")
POOLS = {"GlobalAveragePooling1D": "mean", "GlobalAvgPool1D": "mean",
         "GlobalMaxPooling1D": "max", "GlobalMaxPool1D": "max"}
CELLS = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "rnn"}
# Whose variable order and equations differ, and why no table of names can help.
NOT_SERVED = {
    "CuDNNLSTM": "load it into an LSTM layer with Keras and save that",
    "CuDNNGRU": "load it into a GRU layer with reset_after=True with Keras and save that",
    "TF1 gru_cell": "its reset gate is applied before the product with the state",
}

RESET_BEFORE = ("reset_after=False: the reset gate is applied before the product with the state, "
                "in PyTorch and here behind it; train the GRU with reset_after=True")
ORDER_OF_LAYERS = ("served: an Embedding, LSTM, GRU or SimpleRNN layers of one size (all but the "
                   "last with return_sequences=True), pooling over time, one Dense")


# ---- one recurrent layer in PyTorch's layout ---------------------------------------


def reorder(array, order):
    """Gate blocks of the last axis in another order."""
    blocks = np.split(array, len(order), axis=-1)
    return np.concatenate([blocks[i] for i in order], axis=-1)


# Keras: LSTM i,f,c,o as PyTorch's i,f,g,o; GRU z,r,h where PyTorch has r,z,n.
ORDER = {"LSTM": [0, 1, 2, 3], "GRU": [1, 0, 2], "SimpleRNN": [0]}


def need(arrays, name, where, shape=None):
    if name not in arrays:
        raise Refusal(f"{where}: no {name}")
    array = arrays[name]
    if shape is not None and array.shape != shape:
        raise Refusal(f"{where}: {name} has shape {list(array.shape)}, want {list(shape)}")
    return array


def keras_cell(kind, arrays, where):
    """kernel [I,G*H], recurrent_kernel [H,G*H], bias [G*H] or [2,G*H] -> W_ih, W_hh,
    b_ih, b_hh as PyTorch has them; the biases are None without."""
    order = ORDER[kind]
    recurrent = need(arrays, "recurrent_kernel", where)
    H = recurrent.shape[0]
    rows = len(order) * H
    need(arrays, "recurrent_kernel", where, (H, rows))
    kernel = need(arrays, "kernel", where)
    if kernel.ndim != 2 or kernel.shape[1] != rows:
        raise Refusal(f"{where}: kernel has shape {list(kernel.shape)}, want [*,{rows}]")
    weights = [reorder(w, order).T for w in (kernel, recurrent)]
    if "bias" not in arrays:
        return (*weights, None, None)
    bias = arrays["bias"]
    if kind == "GRU" and bias.shape == (rows,):
        raise Refusal(f"{where}: one bias, so {RESET_BEFORE}")
    if kind == "GRU":
        first, second = need(arrays, "bias", where, (2, rows))
    else:
        first = need(arrays, "bias", where, (rows,))
        second = np.zeros_like(first)
    return (*weights, reorder(first, order), reorder(second, order))


def tf1_cell(kind, arrays, where, forget_bias):
    """kernel [I+H,G*H]; LSTM gates i,j,f,o, to whose f forget_bias is added when run."""
    extra = [n for n in arrays if n not in ("kernel", "bias")]
    if extra:
        raise Refusal(f"{where}: {extra[0]}: peepholes and projections are not served")
    gates = 4 if kind == "LSTM" else 1
    kernel, bias = need(arrays, "kernel", where), need(arrays, "bias", where)
    H = bias.shape[0] // gates
    if kernel.ndim != 2 or kernel.shape[1] != gates * H or kernel.shape[0] <= H:
        raise Refusal(f"{where}: kernel {list(kernel.shape)}, bias {list(bias.shape)}")
    order = [0, 2, 1, 3] if kind == "LSTM" else [0]
    bias = reorder(bias, order).copy()
    if kind == "LSTM":
        bias[H:2 * H] += forget_bias
    kernel = reorder(kernel, order)
    return kernel[:-H].T, kernel[-H:].T, bias, np.zeros_like(bias)


# ---- what a layer's config says ----------------------------------------------------


def check_recurrent(kind, config, where):
    """Refuses what changes the answer; returns (recurrent_activation, nonlinearity)."""
    activation = config.get("activation", "tanh")
    if activation != "tanh" and not (kind == "SimpleRNN" and activation == "relu"):
        raise Refusal(f"{where}: activation {activation} is not served")
    if config.get("go_backwards"):
        raise Refusal(f"{where}: go_backwards is not served")
    if kind == "GRU" and config.get("reset_after") is False:
        raise Refusal(f"{where}: {RESET_BEFORE}")
    gates = "sigmoid" if kind == "SimpleRNN" else config.get("recurrent_activation", "sigmoid")
    if gates not in ("sigmoid", "hard_sigmoid"):
        raise Refusal(f"{where}: recurrent_activation {gates} is not served")
    return gates, activation


def check_wrapper(kind, layer, where):
    """Refuses what a Bidirectional does otherwise; returns the inner layer's config."""
    config = layer["config"]
    if config is None:
        return {}
    if layer["class"] == "Bidirectional":
        if config.get("merge_mode", "concat") != "concat":
            raise Refusal(f"{where}: merge_mode {config['merge_mode']}; served: concat")
        backward = config.get("backward_layer") or {"class_name": kind}
        if backward["class_name"] != kind:
            raise Refusal(f"{where}: {kind} forward, {backward['class_name']} backward")
    return keras_files.inner(layer["class"], config)[1]


def hard_name(gates, version, where):
    """hard_sigmoid is 0.2x + 0.5 in Keras 2 and relu6(x + 3) / 6 in Keras 3."""
    if gates != "hard_sigmoid":
        return gates
    if version is None:
        raise Refusal(f"{where}: hard_sigmoid is another line in Keras 2 than in Keras 3, and the "
                      "file does not say which made it: add --keras 2 or --keras 3")
    return "hard_sigmoid" if version < 3 else "hard_sigmoid_6"


def function_name(value):
    """Activations of newer files may be objects."""
    return value.get("config") if isinstance(value, dict) else value


class Net:
    """Collects a chain of layers; every method refuses what does not fit."""

    def __init__(self, options, version):
        self.options, self.version = options, version
        self.embedding = self.dense = self.activation = self.pooling = None
        self.layers, self.same, self.sequences = [], None, True

    def add(self, layer):
        kind, where = layer["class"], f"layer {layer['name']}"
        config, parts = layer["config"], layer["parts"]
        if kind in TRAINING_ONLY:
            return
        if kind in ("TimeDistributed", "Bidirectional"):
            kind = keras_files.inner(kind, config)[0]
        if kind in NOT_SERVED:
            raise Refusal(f"{where}: a {kind} is not served: {NOT_SERVED[kind]}")
        if kind == "Embedding":
            self.add_embedding(parts, where)
        elif kind in CELLS or re.match(r"TF1 (basic_)?(lstm|rnn)_cell", kind):
            self.add_recurrent(kind, layer, where)
        elif kind in POOLS:
            self.add_pooling(kind, where)
        elif kind == "Dense":
            self.add_dense(layer, parts.get("forward", {}), where)
        elif kind in ("Activation", "Softmax") and self.dense:
            self.activation = function_name(config.get("activation", "softmax"))
        else:
            raise Refusal(f"{where}: {kind} is not served here; {ORDER_OF_LAYERS}")

    def add_embedding(self, parts, where):
        if self.embedding is not None or self.layers:
            raise Refusal(f"{where}: a second Embedding; {ORDER_OF_LAYERS}")
        self.embedding = need(parts.get("forward", {}), "embeddings", where)

    def add_recurrent(self, kind, layer, where):
        if self.embedding is None or self.pooling or self.dense or not self.sequences:
            raise Refusal(f"{where}: {kind} in this place; {ORDER_OF_LAYERS}")
        inner = check_wrapper(kind, layer, where)
        if kind.startswith("TF1 "):
            kind = "LSTM" if "lstm" in kind else "SimpleRNN"
            ways = [tf1_cell(kind, layer["parts"][way], where, self.options.forget_bias)
                    for way in ("forward", "backward") if way in layer["parts"]]
        else:
            ways = [keras_cell(kind, layer["parts"][way], where)
                    for way in ("forward", "backward") if way in layer["parts"]]
        if not ways or len({w[1].shape for w in ways}) != 1:
            raise Refusal(f"{where}: {'directions of two sizes' if ways else 'no arrays'}")
        if layer["config"] is None and not layer["class"].startswith("TF1 "):
            self.check_bare(kind, ways[0], where)
        gates, activation = check_recurrent(kind, inner, where)
        gates = self.options.recurrent_activation or hard_name(gates, self.version, where)
        same = (kind, gates, activation, len(ways), ways[0][1].shape, ways[0][2] is not None)
        if self.same not in (None, same):
            raise Refusal(f"{where}: all recurrent layers must be of one kind and size: "
                          f"{describe(self.same)} and {describe(same)}")
        for w_ih, *_ in ways:
            if w_ih.shape[1] != self.width():
                raise Refusal(f"{where}: reads {w_ih.shape[1]} values, "
                              f"the layer before has {self.width()}")
        self.same, self.sequences = same, inner.get("return_sequences", True)
        self.layers.append(ways)

    def check_bare(self, kind, way, where):
        """Arrays alone do not say all; only what they or the options say is converted."""
        if kind == "SimpleRNN" or (kind == "GRU" and way[2] is None):
            raise Refusal(f"{where}: the arrays do not show its "
                          f"{'reset_after' if kind == 'GRU' else 'activation'}: give --json")
        if not self.options.recurrent_activation:
            raise Refusal(f"{where}: the arrays do not show its recurrent_activation: give --json "
                          "or --recurrent-activation")

    def width(self):
        """Of what the layers so far make of a word."""
        if not self.layers:
            return self.embedding.shape[1]
        return self.layers[-1][0][1].shape[1] * len(self.layers[-1])

    def add_pooling(self, kind, where):
        if not self.layers or not self.sequences or self.dense:
            raise Refusal(f"{where}: {kind} in this place; {ORDER_OF_LAYERS}")
        self.pooling, self.sequences = POOLS[kind], False

    def add_dense(self, layer, arrays, where):
        if self.dense or not self.layers:
            raise Refusal(f"{where}: {'a second' if self.dense else 'a'} Dense in this place "
                          f"(hidden ones are not served); {ORDER_OF_LAYERS}")
        kernel = need(arrays, "kernel", where)
        bias = arrays.get("bias", np.zeros(kernel.shape[1], kernel.dtype))
        if kernel.shape[0] != self.width() or bias.shape != kernel.shape[1:]:
            raise Refusal(f"{where}: kernel {list(kernel.shape)}, bias {list(bias.shape)} behind "
                          f"{self.width()} values")
        self.dense = (kernel.T, bias)
        if layer["config"]:
            config = keras_files.inner(layer["class"], layer["config"])[1]
            self.activation = function_name(config.get("activation", "linear"))


def describe(same):
    kind, gates, activation, ways, shape, bias = same
    return (f"{'Bidirectional ' if ways == 2 else ''}{kind}({shape[1]}, {activation}, {gates}"
            f"{'' if bias else ', no bias'})")


# ---- the folder --------------------------------------------------------------------


def tensors_of(net):
    out = {"embedding.weight": net.embedding}
    for i, ways in enumerate(net.layers):
        for end, (w_ih, w_hh, b_ih, b_hh) in zip(("", "_reverse"), ways):
            out[f"rnn.weight_ih_l{i}{end}"], out[f"rnn.weight_hh_l{i}{end}"] = w_ih, w_hh
            if b_ih is not None:
                out[f"rnn.bias_ih_l{i}{end}"], out[f"rnn.bias_hh_l{i}{end}"] = b_ih, b_hh
    return out


def is_language_model(net, options):
    """--task says it, else: an output for each word of the vocabulary, from the left."""
    if options.task:
        return options.task == "next-word"
    return (net.dense[0].shape[0] == net.embedding.shape[0] and net.same[3] == 1 and
            net.pooling is None)


def language_head(net, tensors):
    if net.same[3] == 2:
        raise Refusal("a bidirectional net reads the words that it would predict")
    if net.pooling:
        raise Refusal(f"pooling {net.pooling} and next-word do not go together")
    if net.dense[0].shape[0] != net.embedding.shape[0]:
        raise Refusal(f"{net.dense[0].shape[0]} outputs for {net.embedding.shape[0]} words")
    if net.activation not in ("softmax", "linear", None):
        raise Refusal(f"activation {net.activation} of the output layer is not served")
    tensors["decoder.weight"], tensors["decoder.bias"] = net.dense
    return {}


def label_head(net, tensors, options):
    weight, bias = net.dense
    n, activation = len(bias), options.output or net.activation
    if net.sequences and not options.pooling:
        raise Refusal("labels for every position are not served; if the model pools outside of its "
                      "layers, or the file does not say, give --pooling last, mean or max")
    if activation is None:
        raise Refusal("the arrays do not show the output layer's activation: "
                      "give --json or --output")
    problem = {"softmax": "single_label_classification", "sigmoid": "multi_label_classification",
               "linear": "regression" if n == 1 else "single_label_classification"}.get(activation)
    if problem is None:
        raise Refusal(f"activation {activation} of the output layer is not served")
    if n == 1 and activation == "sigmoid":
        # softmax([0, x]) = [1 - sigmoid(x), sigmoid(x)]: two labels, as one would say them.
        weight, bias = np.concatenate([0 * weight, weight]), np.concatenate([0 * bias, bias])
        n, problem = 2, "single_label_classification"
    elif n == 1 and activation == "softmax":
        raise Refusal("softmax of one value is always 1: say --output sigmoid or linear")
    tensors["classifier.weight"], tensors["classifier.bias"] = weight, bias
    config = {"pooling": options.pooling or net.pooling or "last", "num_labels": n,
              "problem_type": problem}
    if options.labels:
        labels = options.labels.split(",")
        if len(labels) != n:
            raise Refusal(f"--labels has {len(labels)} names, the model {n} labels")
        config["id2label"] = {str(i): label for i, label in enumerate(labels)}
    return config


def convert(options):
    layers, version = keras_files.read(options.model, options.json)
    net = Net(options, options.keras or version)
    if all(layer["config"] is None for layer in layers):
        layers = by_role(layers)
    for layer in layers:
        net.add(layer)
    if not net.layers or not net.dense:
        raise Refusal("no Dense layer" if net.layers else "no recurrent layer")
    kind, gates, activation, ways, shape, bias = net.same
    language = is_language_model(net, options)
    tensors = tensors_of(net)
    head = language_head(net, tensors) if language else label_head(net, tensors, options)
    config = {"architectures": ["RNNForCausalLM" if language else "RNNForSequenceClassification"],
              "model_type": "rnn", "cell": CELLS[kind]}
    if kind == "SimpleRNN":
        config["nonlinearity"] = activation
    elif gates != "sigmoid":
        config["recurrent_activation"] = gates
    config |= {"vocab_size": len(net.embedding), "embedding_dim": net.embedding.shape[1],
               "hidden_size": shape[1], "num_layers": len(net.layers), "bidirectional": ways == 2,
               "bias": bias, **head}
    model_folder.write(options.folder, config, tensors, tokenizer_of(options, len(net.embedding)),
                       options.dtype)
    return net, config


def by_role(layers):
    """Without an architecture: embedding, cells by their number, output."""
    def rank(layer):
        number = re.findall(r"cell_(\d+)", layer["name"])
        return ({"Embedding": 0, "Dense": 2}.get(layer["class"], 1),
                [int(n) for n in number])
    return sorted(layers, key=rank)


def tokenizer_of(options, vocab):
    if options.tokenizer:
        return json.loads(Path(options.tokenizer).read_text(encoding="utf-8"))
    if not options.vocab:
        return None
    words = Path(options.vocab).read_text(encoding="utf-8").split("\n")
    words = words[:-1] if words[-1] == "" else words
    if len(words) > vocab:
        raise Refusal(f"{options.vocab} has {len(words)} words, the model {vocab}")
    return model_folder.word_tokenizer(words, options.standardize, options.split)


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("model")
    p.add_argument("folder")
    p.add_argument("--json", help="the architecture (model.to_json()), where the file has none")
    p.add_argument("--keras", type=int, choices=(2, 3), help="whose hard_sigmoid it is")
    p.add_argument("--task", choices=("next-word", "classify"))
    p.add_argument("--pooling", choices=("last", "mean", "max"))
    p.add_argument("--output", choices=("softmax", "sigmoid", "linear"),
                   help="what is done to the output layer's values")
    p.add_argument("--recurrent-activation", choices=("sigmoid", "hard_sigmoid", "hard_sigmoid_6"))
    p.add_argument("--forget-bias", type=float, default=1.0, help="of TensorFlow 1's LSTM cells")
    p.add_argument("--labels", help="names, comma separated")
    p.add_argument("--tokenizer", help="a tokenizer.json to copy")
    p.add_argument("--vocab", help="a text file, one word a line, line 0 is id 0")
    p.add_argument("--standardize", choices=("none", "keras"), default="none",
                   help="keras: lower case, punctuation removed")
    p.add_argument("--split", choices=("whitespace", "characters"), default="whitespace")
    p.add_argument("--dtype", choices=("F32", "F16"), default="F32")
    return p.parse_args()


def main():
    options = arguments()
    try:
        net, config = convert(options)
    except (Refusal, OSError, ValueError, KeyError) as problem:
        sys.exit(f"{options.model}: {problem}")
    print(f"{options.folder}: {config['architectures'][0]}, "
          f"{len(net.layers)} x {describe(net.same)}")
    if not (options.tokenizer or options.vocab):
        print("without tokenizer.json: give --vocab or --tokenizer, or put one there")


if __name__ == "__main__":
    main()
