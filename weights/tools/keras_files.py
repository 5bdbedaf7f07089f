"""Reads what Keras and TensorFlow write into one list of layers:

    {"name": "lstm", "class": "LSTM", "config": {...} or None, "parts": {way: {array name: array}}}

way is "forward" (all layers) or "backward" (Bidirectional). Array names are Keras's:
embeddings, kernel, recurrent_kernel, bias. No file holds code that is run, and no pickle
is read. HDF5 needs h5py; npz needs numpy alone.
"""

import io
import json
import re
import zipfile

import numpy as np

from model_folder import Refusal

WAYS = {"forward": "forward", "fw": "forward", "backward": "backward", "bw": "backward"}
RECURRENT = ("LSTM", "GRU", "SimpleRNN")
# Variables of a training run, which checkpoints hold beside the weights.
TRAINING = re.compile(r"(^|/)(Adam(_1)?|Momentum|RMSProp(_1)?|Adagrad|global_step|learning_rate|"
                      r"ExponentialMovingAverage|beta[12]_power|_CHECKPOINTABLE_OBJECT_GRAPH|"
                      r"save_counter|optimizer)(/|$)")


def open_hdf5(source):
    try:
        import h5py
    except ImportError:
        raise Refusal("reading HDF5 needs h5py (pip install h5py); "
                      "weights/tools/README.md says how to write an npz instead") from None
    return h5py.File(source, "r")


# Names that TensorFlow 1 programs give to what Keras calls otherwise.
OTHERWISE = [(r"(^|/)softmax_w$", r"\1softmax/kernel"), (r"(^|/)softmax_b$", r"\1softmax/bias"),
             (r"(^|/)(word_)?embedding$", r"\1embedding/embeddings"),
             (r"(^|/)weights$", r"\1kernel"), (r"(^|/)biases$", r"\1bias")]


def text_of(value):
    return value.decode() if isinstance(value, bytes) else str(value)


# ---- names of arrays ---------------------------------------------------------------


def split_name(name):
    """lstm/lstm_cell/kernel:0 -> ("lstm", "forward", "kernel", "lstm_cell"). A cell whose
    layer has no recurrent_kernel is TensorFlow 1's."""
    name = re.sub(r":\d+$", "", name)
    for old, new in OTHERWISE:
        name = re.sub(old, new, name)
    *path, variable = name.split("/")
    way, kept, cell = "forward", [], False
    for part in path:
        start = re.match(r"(forward|backward)_|(fw|bw)$", part)
        if start:
            way = WAYS[start.group(1) or start.group(2)]
        elif re.search(r"(^|_)cell(_\d+)?$", part) and not re.match(r"cell_\d+$", part):
            cell = part
        elif part not in ("gates", "candidate"):
            kept.append(part)
        else:
            variable = f"{part}/{variable}"
    return "/".join(kept), way, variable, cell


def guess_class(parts):
    """The class of a layer of which only the arrays are known."""
    arrays = parts["forward"] if "forward" in parts else parts["backward"]
    if "embeddings" in arrays:
        return "Embedding"
    if "recurrent_kernel" in arrays:
        rows, columns = arrays["recurrent_kernel"].shape
        kind = {4: "LSTM", 3: "GRU", 1: "SimpleRNN"}.get(columns / rows)
        if kind is None:
            raise Refusal(f"recurrent_kernel {[rows, columns]} is no LSTM, GRU or SimpleRNN")
        return kind
    return "Dense"


def group(arrays):
    """Named arrays, in order, as layers without configs."""
    found = {}
    for name, array in arrays.items():
        if TRAINING.search(name):
            continue
        layer, way, variable, cell = split_name(name)
        entry = found.setdefault(layer, {"name": layer, "parts": {}, "cell": cell})
        slot = entry["parts"].setdefault(way, {})
        if variable in slot:
            raise Refusal(f"{name}: a second {variable} of layer {layer}")
        slot[variable] = np.asarray(array)
    for entry in found.values():
        first = next(iter(entry["parts"].values()))
        tf1 = entry["cell"] and "recurrent_kernel" not in first
        entry["class"] = f"TF1 {entry['cell']}" if tf1 else guess_class(entry["parts"])
        entry["config"] = None
    return list(found.values())


# ---- architectures as JSON ---------------------------------------------------------


def sources_of(node):
    """Names of the layers that an inbound node of a functional model reads."""
    if isinstance(node, dict) and "keras_history" in node:
        return {node["keras_history"][0]}
    if isinstance(node, dict):
        return set().union(*[sources_of(v) for k, v in node.items() if k != "mask"], set())
    if isinstance(node, list):
        if len(node) >= 3 and isinstance(node[0], str) and isinstance(node[1], int):
            return {node[0]}
        return set().union(*[sources_of(v) for v in node], set())
    return set()


def layers_of(root):
    """(class, config) of each layer of a model's JSON, in the order of the data."""
    config = root.get("config")
    if root.get("class_name") == "Sequential":
        layers = config if isinstance(config, list) else config["layers"]
    elif root.get("class_name") in ("Functional", "Model"):
        layers = config["layers"]
        before = None
        for layer in layers:
            name = layer.get("name") or layer["config"]["name"]
            if before is not None and sources_of(layer.get("inbound_nodes", [])) != {before}:
                raise Refusal(f"layer {name} reads something else than layer {before} alone: "
                              "only a chain of layers is served")
            before = name
    else:
        raise Refusal(f"a {root.get('class_name')} is no Sequential or functional model")
    return [(layer["class_name"], layer["config"]) for layer in layers]


def version_of(root):
    found = re.match(r"(\d+)\.", str(root.get("keras_version", "")))
    return int(found.group(1)) if found else None


# ---- HDF5 --------------------------------------------------------------------------


def read_by_layer(file):
    """Keras 2's HDF5 files: groups with layer_names and weight_names."""
    weights = file["model_weights"] if "model_weights" in file else file
    arrays = {}
    for name in map(text_of, weights.attrs["layer_names"]):
        kept = weights[name]
        for path in map(text_of, kept.attrs["weight_names"]):
            layer, *rest = path.split("/")
            full = path if layer == name else f"{name}/{'/'.join(rest) or layer}"
            arrays[full] = np.array(kept[path])
    return arrays


VARIABLES = {"Embedding": ["embeddings"], "Dense": ["kernel", "bias"],
             **{kind: ["kernel", "recurrent_kernel", "bias"] for kind in RECURRENT}}


def read_by_number(file):
    """The store of .keras and .weights.h5 files: layers/NAME/.../vars/0, 1, 2."""
    top = next((file[k] for k in ("layers", "_layer_checkpoint_dependencies") if k in file), None)
    if top is None:
        raise Refusal("this HDF5 file is no model of Keras 2 or 3: no layers in it")
    found = {}

    def visit(path, item):
        name, *rest = path.split("/")
        if not rest or rest[-2:-1] != ["vars"]:
            return
        way = next((WAYS[p[:-6]] for p in rest if p in ("forward_layer", "backward_layer")),
                   "forward")
        found.setdefault(name, {}).setdefault(way, {})[int(rest[-1])] = np.array(item)

    top.visititems(visit)
    return found


def named(numbered, kind):
    """{0: array, 1: array} -> {"kernel": array, ...}."""
    return {way: {VARIABLES[kind][i]: slot[i] for i in sorted(slot)}
            for way, slot in numbered.items()}


def guess_numbered(name, ways):
    slot = ways.get("forward", {})
    if name.startswith("embedding"):
        return "Embedding"
    if len(slot) > 1 and slot[1].ndim == 2:
        return guess_class(named({"forward": slot}, "LSTM"))
    return "Dense"


def in_order(name):
    """embedding, then recurrent layers by their number, then dense."""
    base, number = re.match(r"(.*?)(?:_(\d+))?$", name).groups()
    rank = 0 if base == "embedding" else 2 if base in ("dense", "time_distributed") else 1
    return rank, int(number or 0)


def snake_case(name):
    """As Keras names the groups of a store after classes."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


# ---- putting both together ---------------------------------------------------------


def inner(kind, config):
    """The layer inside a wrapper: (class, config)."""
    if kind in ("Bidirectional", "TimeDistributed"):
        return config["layer"]["class_name"], config["layer"]["config"]
    return kind, config


def with_configs(root, by_name, by_store):
    """The model's layers in order, with their arrays from one of two dictionaries:
    by_name[layer name] = parts, or by_store[name of the store] = numbered arrays."""
    layers, seen = [], {}
    for kind, config in layers_of(root):
        name, store = config.get("name", ""), snake_case(kind)
        seen[store] = seen.get(store, -1) + 1
        store += f"_{seen[store]}" if seen[store] else ""
        parts = {}
        if by_name is not None:
            parts = by_name.pop(name, {})
        elif inner(kind, config)[0] in VARIABLES:
            parts = named(by_store.pop(name if name in by_store else store, {}),
                          inner(kind, config)[0])
        layers.append({"name": name, "class": kind, "config": config, "parts": parts})
    left = [k for k, v in (by_name or by_store or {}).items() if v]
    if left:
        raise Refusal(f"{left[0]}: arrays of a layer that the architecture does not have")
    return layers


def read_store(file, root):
    numbered = read_by_number(file)
    if root:
        return with_configs(root, None, numbered)
    layers = []
    for name in sorted(numbered, key=in_order):
        kind = guess_numbered(name, numbered[name])
        layers.append({"name": name, "class": kind, "config": None,
                       "parts": named(numbered[name], kind)})
    return layers


def read_arrays(arrays, root):
    if not root:
        return group(arrays)
    names, by_name = {config.get("name") for _, config in layers_of(root)}, {}
    for entry in group(arrays):
        path = entry["name"].split("/")
        by_name[next((p for p in path if p in names), path[-1])] = entry["parts"]
    return with_configs(root, by_name, None)


def read(path, json_path=None):
    """(layers, major version of Keras or None)."""
    root = json.loads(open(json_path, encoding="utf-8").read()) if json_path else None
    if str(path).endswith(".npz"):
        with np.load(path, allow_pickle=False) as file:
            layers = read_arrays({k: file[k] for k in file.files}, root)
        return layers, version_of(root or {})
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            root = json.loads(archive.read("config.json"))
            version = version_of(json.loads(archive.read("metadata.json")))
            with open_hdf5(io.BytesIO(archive.read("model.weights.h5"))) as file:
                return read_store(file, root), version
    with open_hdf5(path) as file:
        if "model_config" in file.attrs:
            root = root or json.loads(text_of(file.attrs["model_config"]))
        version = version_of(root or {})
        holder = file["model_weights"] if "model_weights" in file else file
        if "layer_names" not in holder.attrs:
            return read_store(file, root), version
        for attrs in (holder.attrs, file.attrs):
            if version is None and "keras_version" in attrs:
                version = version_of({"keras_version": text_of(attrs["keras_version"])})
        return read_arrays(read_by_layer(file), root), version
