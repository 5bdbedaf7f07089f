"""Makes tests/golden/nets: tiny random models and what PyTorch computes with them.

    python tests/golden/make_nets.py

Each folder holds config.json and model.safetensors as a user would bring them, `ids` (one
text per line), for BERT `types`, and expected/model.safetensors with, for text b:
  logits.b [T,V]       language models, every position
  labels.b [L]         classifiers
  attention.b [layers,heads,queries,keys]   post-softmax; pooling: [1,hops,1,T]
  hidden.b [layers+1,T,D]                   transformers' hidden_states
  h.b c.b [layers,directions,T,H], gates.b [layers,directions,T,G*H]   short texts only
Weights are float32, computed with in double, so that an error found is an error of ours;
the script checks that float32 PyTorch agrees. Texts run alone: no padding anywhere.
"""

import json
import math
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import (BertConfig, BertForSequenceClassification, GPT2Config,
                          GPT2LMHeadModel)

from net_tokenizer import write_tokenizer

HERE = Path(__file__).resolve().parent / "nets"
STEPS_MAX = 17  # longer texts come without states and gates
LSTM, GRU, RNN = "lstm", "gru", "rnn"


def write(name, config, tensors, texts, expected, types=None):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "expected").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    save_file({k: v.contiguous() for k, v in tensors.items()},
              folder / "model.safetensors")
    save_file({k: v.detach().float().contiguous() for k, v in expected.items()},
              folder / "expected" / "model.safetensors")
    lines = lambda rows: "".join(" ".join(map(str, r)) + "\n" for r in rows)
    (folder / "ids").write_text(lines(texts))
    if types:
        (folder / "types").write_text(lines(types))
    write_tokenizer(folder)


def texts_of(lengths, vocab, generator):
    return [torch.randint(vocab, (n,), generator=generator).tolist() for n in lengths]


# ---- recurrent ---------------------------------------------------------------------


def cell_step(kind, w_ih, w_hh, b_ih, b_hh, x, h, c):
    """One step from the definitions on PyTorch's pages: gates [G*H], h, c."""
    if kind == LSTM:
        i, f, g, o = (w_ih @ x + b_ih + w_hh @ h + b_hh).chunk(4)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        c = f * c + i * g
        return torch.cat([i, f, g, o]), o * c.tanh(), c
    if kind == GRU:
        xr, xz, xn = (w_ih @ x + b_ih).chunk(3)
        hr, hz, hn = (w_hh @ h + b_hh).chunk(3)
        r, z = (xr + hr).sigmoid(), (xz + hz).sigmoid()
        n = (xn + r * hn).tanh()
        return torch.cat([r, z, n]), (1 - z) * n + z * h, c
    a = w_ih @ x + b_ih + w_hh @ h + b_hh
    return a[:0], a.tanh() if kind == "tanh" else a.relu(), c


def by_hand(model, config, x):
    """Steps of all layers and directions: gates, h, c, each [layers,directions,T,.]."""
    kind = config["cell"]
    kind = config.get("nonlinearity", "tanh") if kind == RNN else kind
    size = config["hidden_size"]
    ways = 2 if config.get("bidirectional") else 1
    all_gates, all_h, all_c = [], [], []
    for layer in range(config["num_layers"]):
        outs = []
        for way in range(ways):
            end = f"_l{layer}" + ("_reverse" if way else "")
            get = lambda n: getattr(model, n + end).double()
            zeros = torch.zeros(get("weight_hh").shape[0]).double()
            b_ih, b_hh = (get("bias_ih"), get("bias_hh")) if model.bias else (zeros, zeros)
            h = c = torch.zeros(size).double()
            rows = [None] * len(x)
            order = range(len(x))
            for t in reversed(order) if way else order:
                gates, h, c = cell_step(kind, get("weight_ih"), get("weight_hh"), b_ih, b_hh,
                                        x[t], h, c)
                rows[t] = (gates, h, c)
            outs.append([torch.stack(part) for part in zip(*rows)])
        gates, h, c = (torch.stack(part) for part in zip(*outs))
        all_gates.append(gates)
        all_h.append(h)
        all_c.append(c)
        x = torch.cat(list(h), dim=-1)
    return torch.stack(all_gates), torch.stack(all_h), torch.stack(all_c), x


class Recurrent(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        cell = {LSTM: nn.LSTM, GRU: nn.GRU, RNN: nn.RNN}[config["cell"]]
        extra = {"nonlinearity": config.get("nonlinearity", "tanh")} if cell is nn.RNN else {}
        self.embedding = nn.Embedding(config["vocab_size"], config["embedding_dim"])
        self.rnn = cell(config["embedding_dim"], config["hidden_size"], config["num_layers"],
                        bias=config.get("bias", True),
                        bidirectional=config.get("bidirectional", False), **extra)
        width = config["hidden_size"] * (2 if config.get("bidirectional") else 1)
        if "pooling" not in config:
            self.decoder = nn.Linear(width, config["vocab_size"],
                                     bias=config.pop("decoder_bias", True))
            if config.get("tie_word_embeddings"):
                self.decoder.weight = self.embedding.weight
            return
        hops = config.get("attention_hops", 1)
        if config["pooling"] == "attention":
            self.pooling = nn.Module()
            self.pooling.proj = nn.Linear(width, config["attention_size"])
            self.pooling.context = nn.Linear(config["attention_size"], hops, bias=False)
            width *= hops
        self.classifier = nn.Linear(width, len(config["id2label"]))

    def forward(self, ids):
        """Everything expected of one text."""
        out, last = self.rnn(self.embedding(ids).unsqueeze(1))
        out = out.squeeze(1)
        kind = self.config.get("pooling")
        if kind is None:
            return {"logits": self.decoder(out)}
        result = {}
        if kind == "attention":
            p = self.pooling.context(torch.tanh(self.pooling.proj(out))).softmax(0)
            pooled = (p.T @ out).flatten()
            result["attention"] = p.T[None, :, None, :]
        elif kind == "mean":
            pooled = out.mean(0)
        elif kind == "max":
            pooled = out.max(0).values
        else:
            h = last[0] if isinstance(last, tuple) else last
            ways = 2 if self.config.get("bidirectional") else 1
            pooled = h[-ways:].flatten()
        result["labels"] = self.classifier(pooled)
        return result


def recurrent(name, lengths, **config):
    seed = sum(map(ord, name))
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    kind = "RNNForSequenceClassification" if "pooling" in config else "RNNForCausalLM"
    config = {"architectures": [kind], "model_type": "rnn", **config}
    if "pooling" in config:
        config["id2label"] = {"0": "negative", "1": "neutral", "2": "positive"}
    model = Recurrent(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            if config["cell"] != RNN:
                p.mul_(2)  # gates that differ clearly from 1/2
    tensors = dict(model.state_dict())
    if config.get("tie_word_embeddings"):
        del tensors["decoder.weight"]
    tensors = {k: v.clone() for k, v in tensors.items()}
    texts = texts_of(lengths, config["vocab_size"], generator)
    single = [model(torch.tensor(t)) for t in texts]
    model.double()
    expected = {}
    for b, text in enumerate(texts):
        ids = torch.tensor(text)
        for key, value in model(ids).items():
            assert torch.allclose(value.float(), single[b][key], rtol=1e-4, atol=1e-5), name
            expected[f"{key}.{b}"] = value
        gates, h, c, top = by_hand(model.rnn, config, model.embedding(ids))
        torch_top = model.rnn(model.embedding(ids).unsqueeze(1))[0].squeeze(1)
        assert torch.allclose(top, torch_top, rtol=0, atol=1e-12), name
        if len(text) > STEPS_MAX:
            continue
        expected[f"h.{b}"] = h
        if config["cell"] == LSTM:
            expected[f"c.{b}"] = c
        if config["cell"] != RNN:
            expected[f"gates.{b}"] = gates
    write(name, config, tensors, texts, expected)


# ---- transformers ------------------------------------------------------------------


def transformer(name, model, lengths, change, types=False):
    """change: state dict -> the tensors of the file."""
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    model.eval()
    with torch.no_grad():
        for key, p in model.named_parameters():
            if p.dim() > 1:
                p.mul_(8)  # maps that are far from uniform
            elif key.endswith("bias"):
                p.copy_(torch.randn(p.shape, generator=generator) * 0.1)
            else:
                p.copy_(1 + torch.randn(p.shape, generator=generator) * 0.1)
    tensors = change({k: v.clone() for k, v in model.state_dict().items()})
    config = json.loads(model.config.to_json_string(use_diff=False))
    config["architectures"] = [type(model).__name__]
    texts = texts_of(lengths, config["vocab_size"], generator)
    kinds = texts_of(lengths, 2, generator) if types else None
    expected = {}

    def run(b):
        more = {"token_type_ids": torch.tensor([kinds[b]])} if types else {}
        return model(torch.tensor([texts[b]]), output_attentions=True,
                     output_hidden_states=True, **more)

    with torch.no_grad():
        single = [run(b).logits[0] for b in range(len(texts))]
        model.double()
        for b in range(len(texts)):
            out = run(b)
            scale = out.logits.abs().max().item()
            assert (out.logits[0].float() - single[b]).abs().max() < 2e-5 * scale, name
            expected[f"{'labels' if types else 'logits'}.{b}"] = out.logits[0]
            expected[f"attention.{b}"] = torch.stack(out.attentions)[:, 0]
            expected[f"hidden.{b}"] = torch.stack(out.hidden_states)[:, 0]
    write(name, config, tensors, texts, expected, kinds)


def gpt2(name, change, **config):
    torch.manual_seed(sum(map(ord, name)))
    base = {"vocab_size": 61, "n_positions": 32, "n_layer": 2, "n_embd": 32, "n_head": 4,
            "bos_token_id": 0, "eos_token_id": 0}
    model = GPT2LMHeadModel(GPT2Config(**{**base, **config}))
    transformer(name, model, [1, 5, 32, 17], change)


def bert(name, change, **config):
    torch.manual_seed(sum(map(ord, name)))
    base = {"vocab_size": 53, "hidden_size": 32, "num_hidden_layers": 3,
            "num_attention_heads": 4, "intermediate_size": 72,
            "max_position_embeddings": 40, "num_labels": 3}
    model = BertForSequenceClassification(BertConfig(**{**base, **config}))
    transformer(name, model, [1, 9, 40, 23], change, types=True)


def tied(tensors):
    del tensors["lm_head.weight"]
    return tensors


def bare_with_masks(tensors):
    """As OpenAI's own GPT-2 file: no prefix, causal masks stored."""
    out = {k.removeprefix("transformer."): v for k, v in tensors.items()}
    mask = torch.tril(torch.ones(32, 32, dtype=torch.uint8)).view(1, 1, 32, 32)
    for i in range(2):
        out[f"h.{i}.attn.bias"] = mask.clone()
        out[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    return out


def first_names(tensors):
    """As BERT's first files: gamma, beta, position_ids; no prefix."""
    out = {}
    for key, value in tensors.items():
        key = key.removeprefix("bert.")
        key = key.replace("LayerNorm.weight", "LayerNorm.gamma")
        out[key.replace("LayerNorm.bias", "LayerNorm.beta")] = value
    out["embeddings.position_ids"] = torch.arange(40).view(1, 40)
    return out


def main():
    lm, short = [1, 5, 17, 150], [1, 2, 17, 40, 9]
    base = {"vocab_size": 37, "embedding_dim": 12, "hidden_size": 20, "num_layers": 1}
    two = {**base, "num_layers": 2}
    both = {**base, "bidirectional": True}
    two_both = {**two, "bidirectional": True}
    square = {**two, "embedding_dim": 19, "hidden_size": 19, "tie_word_embeddings": True}
    recurrent("lstm-lm", lm, cell=LSTM, **two)
    recurrent("lstm-lm-tied", lm, cell=LSTM, **square)
    recurrent("lstm-lm-no-bias", lm, cell=LSTM, bias=False, decoder_bias=False, **base)
    recurrent("gru-lm", lm, cell=GRU, **base)
    recurrent("gru-lm-tied", lm, cell=GRU, **square)
    recurrent("gru-lm-no-bias", [1, 9], cell=GRU, bias=False, **base)
    recurrent("rnn-tanh-lm", lm, cell=RNN, **two)
    recurrent("rnn-relu-lm", lm, cell=RNN, nonlinearity="relu", **base)
    recurrent("lstm-last", short, cell=LSTM, pooling="last", **two)
    recurrent("lstm-max", short, cell=LSTM, pooling="max", **base)
    recurrent("gru-mean", short, cell=GRU, pooling="mean", **two)
    recurrent("gru-attention", short, cell=GRU, pooling="attention", attention_size=10, **base)
    recurrent("lstm-both-attention", [1, 2, 17, 150, 9], cell=LSTM, pooling="attention",
              attention_size=24, **both)
    recurrent("lstm-both-hops", short, cell=LSTM, pooling="attention", attention_size=10,
              attention_hops=3, **two_both)
    recurrent("lstm-both-max", short, cell=LSTM, pooling="max", **{**two_both, "num_layers": 3})
    recurrent("gru-both-last", short, cell=GRU, pooling="last", **two_both)
    recurrent("rnn-tanh-both-mean", short, cell=RNN, pooling="mean", **both)
    recurrent("rnn-relu-both-last", short, cell=RNN, nonlinearity="relu", pooling="last",
              **two_both)
    gpt2("gpt2", tied)
    gpt2("gpt2-free", bare_with_masks, tie_word_embeddings=False, n_embd=24, n_head=2,
         n_inner=40, scale_attn_by_inverse_layer_idx=True)
    gpt2("gpt2-unscaled", lambda t: t, scale_attn_weights=False, activation_function="relu",
         n_layer=3)
    bert("bert", lambda t: t)
    bert("bert-first-names", first_names, hidden_act="gelu_new", num_attention_heads=2,
         num_hidden_layers=2)
    total = sum(f.stat().st_size for f in HERE.rglob("*") if f.is_file())
    print(f"{len(list(HERE.iterdir()))} folders, {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
