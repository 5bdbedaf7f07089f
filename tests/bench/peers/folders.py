"""Makes what both sides run: random weights of real sizes, once as a folder that seqd
serves and once as ONNX. Kept under build/bench/models; made again when FORMAT changes.

A folder NAME holds config.json, model.safetensors and tokenizer.json; NAME.onnx stands
beside it, and NAME.int8.onnx, its matrices quantised by ONNX Runtime. Imports that take
seconds are made where something is missing.
"""

import json
import logging
import shutil
import sys
import warnings
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "weights" / "tools"))
import model_folder  # noqa: E402

FORMAT = "4"  # of what is made here
OPSET = 14
LABELS = {"id2label": {"0": "negative", "1": "positive"}}

BERT = {"vocab_size": 30522, "hidden_size": 384, "num_hidden_layers": 6,
        "num_attention_heads": 12, "intermediate_size": 1536,
        "max_position_embeddings": 1024, "initializer_range": 0.06}
GPT2 = {"vocab_size": 50257, "n_positions": 1024, "initializer_range": 0.06}
SIZES = {
    "minilm": BERT,
    "lstm-650": {"vocab_size": 10000, "embedding_dim": 650, "hidden_size": 650,
                 "num_layers": 2},
    "bilstm": {"vocab_size": 30000, "embedding_dim": 256, "hidden_size": 256,
               "num_layers": 1, "bidirectional": True, "pooling": "mean"},
    "gpt2-30m": {**GPT2, "n_embd": 384, "n_layer": 6, "n_head": 6},
    "gpt2-124m": {**GPT2, "n_embd": 768, "n_layer": 12, "n_head": 12},
}


# ---- tokenizers ----------------------------------------------------------------------


def words(n):
    """n different words of a few letters, the same every time."""
    consonants, vowels, out = "bdfgklmnprstvz", "aeiou", []
    syllables = [c + v for c in consonants for v in vowels]
    for i in range(n):
        word = ""
        i += 1
        while i:
            i, digit = divmod(i, len(syllables))
            word += syllables[digit]
        out.append(word)
    return list(dict.fromkeys(out))


def special(content, i):
    return {"id": i, "content": content, "single_word": False, "lstrip": False,
            "rstrip": False, "normalized": False, "special": True}


def wordpiece(size):
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocab = {w: i for i, w in enumerate(names + words(size - len(names)))}
    ends = [{"SpecialToken": {"id": s, "type_id": 0}} for s in ("[CLS]", "[SEP]")]
    text = {"Sequence": {"id": "A", "type_id": 0}}
    pair = {"Sequence": {"id": "B", "type_id": 1}}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [special(s, i) for i, s in enumerate(names)],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "lowercase": True,
                       "handle_chinese_chars": True, "strip_accents": None},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing", "single": [ends[0], text, ends[1]],
            "pair": [ends[0], text, ends[1], pair, ends[1]],
            "special_tokens": {s: {"id": s, "ids": [vocab[s]], "tokens": [s]}
                               for s in ("[CLS]", "[SEP]")}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "vocab": vocab,
                  "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}}


def word_level(size):
    return model_folder.word_tokenizer(["<unk>", *words(size - 1)], None, "whitespace")


# ---- nets ----------------------------------------------------------------------------


class Classifier(nn.Module):
    """BERT as servers call it: ids and a mask of padding, logits."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids, attention_mask=attention_mask).logits


class Decoder(nn.Module):
    """GPT-2 with a cache of keys and values; logits of the last position alone."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, *past):
        pairs = tuple(zip(past[::2], past[1::2]))
        out = self.model.transformer(input_ids, past_key_values=pairs, use_cache=True)
        logits = self.model.lm_head(out.last_hidden_state[:, -1])
        return (logits, *[t for pair in out.past_key_values for t in pair])


class Recurrent(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        ways = 2 if config.get("bidirectional") else 1
        self.embedding = nn.Embedding(config["vocab_size"], config["embedding_dim"])
        self.rnn = nn.LSTM(config["embedding_dim"], config["hidden_size"],
                           config["num_layers"], bidirectional=ways == 2,
                           batch_first=True)
        width = ways * config["hidden_size"]
        if "pooling" in config:
            self.classifier = nn.Linear(width, 2)
        else:
            self.decoder = nn.Linear(width, config["vocab_size"])


class Step(nn.Module):
    """A language model: ids [B,T] and states to logits of the last step and states."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, input_ids, h, c):
        y, (h, c) = self.net.rnn(self.net.embedding(input_ids), (h, c))
        return self.net.decoder(y[:, -1]), h, c


class Pooled(nn.Module):
    """A classifier of texts of one length: the mean of all steps."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, input_ids):
        y, _ = self.net.rnn(self.net.embedding(input_ids))
        return self.net.classifier(y.mean(dim=1))


# ---- making them ---------------------------------------------------------------------


def randomize(model, scale=None):
    """Outputs that depend on every word: nothing stays zero, classifiers are loud."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if scale and p.dim() > 1:
                p.copy_(torch.randn(p.shape, generator=generator) * scale)
            elif name.endswith("bias"):
                p.copy_(torch.randn(p.shape, generator=generator) * 0.1)
            if name == "classifier.weight":
                p.copy_(torch.randn(p.shape, generator=generator) * p.shape[1] ** -0.5 * 4)


def export(module, inputs, names, outputs, axes, path):
    module.eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing; what is made is compared
        torch.onnx.export(module, inputs, str(path), input_names=names,
                          output_names=outputs, dynamic_axes=axes, opset_version=OPSET,
                          do_constant_folding=True)


def fuse(path, kind, heads, width):
    """ONNX Runtime's own transformer fusions, which its tools apply before serving."""
    from onnxruntime.transformers import optimizer
    fused = optimizer.optimize_model(str(path), model_type=kind, num_heads=heads,
                                     hidden_size=width, opt_level=0)
    fused.save_model_to_file(str(path))


def make_bert(name, folder, onnx_path):
    from transformers import BertConfig, BertForSequenceClassification
    config = BertConfig(**SIZES[name], num_labels=2)
    torch.manual_seed(1)
    model = BertForSequenceClassification(config).eval()
    randomize(model)
    saved = {**json.loads(config.to_json_string()), **LABELS,
             "architectures": ["BertForSequenceClassification"]}
    save(folder, saved, model.state_dict(), wordpiece(config.vocab_size))
    axes = {"input_ids": {0: "B", 1: "T"}, "attention_mask": {0: "B", 1: "T"},
            "logits": {0: "B"}}
    ids = torch.ones(2, 9, dtype=torch.long)
    export(Classifier(model), (ids, ids), ["input_ids", "attention_mask"], ["logits"],
           axes, onnx_path)
    fuse(onnx_path, "bert", config.num_attention_heads, config.hidden_size)


def make_gpt2(name, folder, onnx_path):
    from transformers import GPT2Config, GPT2LMHeadModel
    config = GPT2Config(**SIZES[name])
    torch.manual_seed(1)
    model = GPT2LMHeadModel(config).eval()
    randomize(model)
    saved = {**json.loads(config.to_json_string()), "architectures": ["GPT2LMHeadModel"]}
    tensors = {k: v for k, v in model.state_dict().items() if k != "lm_head.weight"
               and not k.endswith((".attn.bias", ".attn.masked_bias"))}
    save(folder, saved, tensors, word_level(config.vocab_size))
    shape = (2, config.n_head, 5, config.n_embd // config.n_head)
    past = [f"past_{kind}.{i}" for i in range(config.n_layer) for kind in "kv"]
    present = [p.replace("past", "present") for p in past]
    axes = {"input_ids": {0: "B", 1: "T"}, "logits": {0: "B"}}
    axes |= {p: {0: "B", 2: "P"} for p in past} | {p: {0: "B", 2: "S"} for p in present}
    inputs = (torch.ones(2, 3, dtype=torch.long), *[torch.zeros(shape) for _ in past])
    export(Decoder(model), inputs, ["input_ids", *past], ["logits", *present], axes,
           onnx_path)
    fuse(onnx_path, "gpt2", config.n_head, config.n_embd)


def make_recurrent(name, folder, onnx_path):
    config = {"architectures": ["RNNForSequenceClassification"
                                if "pooling" in SIZES[name] else "RNNForCausalLM"],
              "model_type": "rnn", "cell": "lstm", **SIZES[name]}
    torch.manual_seed(1)
    net = Recurrent(config).eval()
    randomize(net, 0.08)
    if "pooling" in config:
        config |= LABELS
    save(folder, config, net.state_dict(), word_level(config["vocab_size"]))
    ids = torch.ones(2, 7, dtype=torch.long)
    if "pooling" in config:
        export(Pooled(net), (ids,), ["input_ids"], ["logits"],
               {"input_ids": {0: "B", 1: "T"}, "logits": {0: "B"}}, onnx_path)
        return
    state = torch.zeros(config["num_layers"], 2, config["hidden_size"])
    axes = {"input_ids": {0: "B", 1: "T"}, "logits": {0: "B"}}
    axes |= {k: {1: "B"} for k in ("past_h", "past_c", "present_h", "present_c")}
    export(Step(net), (ids, state, state), ["input_ids", "past_h", "past_c"],
           ["logits", "present_h", "present_c"], axes, onnx_path)


def save(folder, config, tensors, tokenizer):
    model_folder.write(folder, config, {k: v.detach().numpy() for k, v in tensors.items()},
                       tokenizer)


def quantize(onnx_path, out):
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    logging.getLogger().setLevel(logging.ERROR)  # it advises steps that were done
    # Fused operators have no rule of shapes; all that they give is float.
    quantize_dynamic(str(onnx_path), str(out), weight_type=QuantType.QInt8,
                     per_channel=True, reduce_range=False,
                     extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT})


def load_recurrent(root, name):
    """The net of a folder again, for PyTorch's own turn."""
    from safetensors.torch import load_file
    net = Recurrent(json.loads((root / name / "config.json").read_text()))
    net.load_state_dict(load_file(root / name / "model.safetensors"))
    return Pooled(net).eval()


def make(root, names, int8=()):
    """Makes what is missing of these under root."""
    root.mkdir(parents=True, exist_ok=True)
    stamp = root / "format"
    if not stamp.exists() or stamp.read_text() != FORMAT:
        shutil.rmtree(root)
        root.mkdir()
        stamp.write_text(FORMAT)
    makers = {"minilm": make_bert, "gpt2": make_gpt2}
    for name in names:
        done = root / f"{name}.onnx"
        if not done.exists():
            print(f"making {name}", file=sys.stderr, flush=True)
            part = root / f"{name}.part.onnx"
            makers.get(name.split("-")[0], make_recurrent)(name, root / name, part)
            part.rename(done)
        if name in int8 and not (root / f"{name}.int8.onnx").exists():
            part = root / f"{name}.part.onnx"
            quantize(done, part)
            part.rename(root / f"{name}.int8.onnx")
