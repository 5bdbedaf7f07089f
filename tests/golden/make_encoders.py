"""Makes the encoders of tests/golden/nets; see make_nets.py for what a folder holds.

    python tests/golden/make_encoders.py [bert | modernbert]

Without an argument all that the installed transformers has: ModernBERT came with 4.48.
Beyond make_nets.py a folder may hold rows.b [T,D], the last hidden rows of a bare encoder.
Of texts longer than MAPS_MAX only logits are kept. hidden.b ends with the row behind the
final norm: up to version 4 transformers gives ModernBERT's before it, since 5 behind it.
"""

import json
import sys

import torch
import transformers as hf
from safetensors.torch import save_file

from make_nets import HERE, texts_of, write

MAPS_MAX = 40
SIZES = {"vocab_size": 29, "hidden_size": 16, "num_hidden_layers": 2,
         "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 18}
LENGTHS = [1, 6, 16]
PAD = 1  # of RoBERTa and MPNet


# ---- one folder ----------------------------------------------------------------------


def randomize(model, generator):
    """Every tensor far from 0, and from 1 where that would mean nothing: also the rows
    of pads, which PyTorch keeps at 0."""
    def noise(p, scale):
        return torch.randn(p.shape, generator=generator) * scale

    with torch.no_grad():
        for key, p in model.named_parameters():
            if "relative_attention_bias" in key:
                p.copy_(noise(p, 1.0))
            elif p.dim() > 1:
                p.copy_(noise(p, 0.25))
            elif key.endswith("bias"):
                p.copy_(noise(p, 0.1))
            else:
                p.copy_(1 + noise(p, 0.1))


def run(model, text, kinds, maps):
    """What is expected of one text: its head's result, and with maps all the rest."""
    more = {} if kinds is None else {"token_type_ids": torch.tensor([kinds])}
    ids = torch.tensor([text])
    out = model(ids, attention_mask=torch.ones_like(ids), output_attentions=True,
                output_hidden_states=True, **more)
    last = model.base_model(ids, attention_mask=torch.ones_like(ids), **more)[0][0]
    name = type(model).__name__
    if name.endswith("ForSequenceClassification"):
        result = {"labels": out.logits[0]}
    elif name.endswith("ForMaskedLM"):
        result = {"logits": out.logits[0]}
    else:
        result = {"rows": last}
    if maps:
        result["attention"] = torch.stack(out.attentions)[:, 0]
        result["hidden"] = torch.stack([*out.hidden_states[:-1], last[None]])[:, 0]
    return result


def split_in_two(folder, tensors):
    """Two shards and their index instead of one file."""
    names = sorted(tensors)
    files = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    where = {n: files[i % 2] for i, n in enumerate(names)}
    for file in files:
        save_file({n: tensors[n].contiguous() for n in names if where[n] == file},
                  folder / file)
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")
    (folder / "model.safetensors").unlink()


def encoder(name, kind, *, types=False, pads=False, dtype=None, shards=False,
            lengths=LENGTHS, change=lambda t: t, **config):
    """kind: class name, e.g. BertForMaskedLM. change: state dict -> tensors of the file."""
    seed = sum(map(ord, name))
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    make = getattr(hf, kind)
    model = make(make.config_class(**config))
    if kind.startswith("ModernBert"):
        model = make._from_config(make.config_class(**config, reference_compile=False),
                                  attn_implementation="eager")
    randomize(model, generator)
    model.eval()
    for p in model.parameters() if dtype else []:
        p.data = p.data.to(dtype).float()
    stored = config.get("tie_word_embeddings", True)
    tensors = {k: v.clone() for k, v in model.state_dict().items()}
    if stored:  # as save_pretrained does
        for k in ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias",
                  "lm_head.decoder.weight", "lm_head.decoder.bias", "decoder.weight",
                  "vocab_projector.weight", "generator_lm_head.weight"):
            tensors.pop(k, None)
    tensors = {k: v.to(dtype) if dtype and v.is_floating_point() else v
               for k, v in change(tensors).items()}
    texts = texts_of(lengths, model.config.vocab_size, generator)
    if pads:
        for text in texts[1:]:
            text[2] = text[3] = text[-1] = PAD
    kinds = texts_of(lengths, 2, generator) if types else [None] * len(texts)
    expected = {}
    with torch.no_grad():
        single = [run(model, t, k, False) for t, k in zip(texts, kinds)]
        model.double()
        for b, (text, kind_of) in enumerate(zip(texts, kinds)):
            for key, value in run(model, text, kind_of, len(text) <= MAPS_MAX).items():
                expected[f"{key}.{b}"] = value
                if key in single[b]:
                    error = (value.float() - single[b][key]).abs().max()
                    assert error < 2e-5 * value.abs().max(), name
    saved = json.loads(model.config.to_json_string())
    saved["architectures"] = [kind]
    write(name, saved, tensors, texts, expected, kinds if types else None)
    if shards:
        split_in_two(HERE / name, tensors)


# ---- what files of others hold -------------------------------------------------------


def bare(prefix):
    """Without the prefix of the bare encoder."""
    return lambda tensors: {k.removeprefix(prefix): v for k, v in tensors.items()}


def prefixed(prefix):
    return lambda tensors: {prefix + k: v for k, v in tensors.items()}


def as_first_written(tensors):
    """BERT's first masked files: gamma, beta, position_ids, the pooler and the head for
    the next sentence, the output layer twice."""
    out = {}
    for key, value in tensors.items():
        key = key.replace("LayerNorm.weight", "LayerNorm.gamma")
        out[key.replace("LayerNorm.bias", "LayerNorm.beta")] = value
    out["bert.embeddings.position_ids"] = torch.arange(18).view(1, 18)
    out["bert.pooler.dense.weight"] = torch.ones(16, 16)
    out["bert.pooler.dense.bias"] = torch.ones(16)
    out["cls.seq_relationship.weight"] = torch.ones(2, 16)
    out["cls.seq_relationship.bias"] = torch.ones(2)
    out["cls.predictions.decoder.weight"] = out[
        "bert.embeddings.word_embeddings.weight"].clone()
    out["cls.predictions.decoder.bias"] = out["cls.predictions.bias"].clone()
    return out


def renamed(old, new):
    def change(tensors):
        tensors[new] = tensors.pop(old)
        return tensors
    return change


# ---- the folders ---------------------------------------------------------------------


def bert():
    three = {"num_labels": 3}
    encoder("bert-masked", "BertForMaskedLM", types=True, **SIZES)
    encoder("bert-masked-first-names", "BertForMaskedLM", types=True, hidden_act="gelu_new",
            change=as_first_written, **SIZES)

    def bias_at_decoder(tensors):
        del tensors["cls.predictions.bias"]
        return tensors

    encoder("bert-masked-free", "BertForMaskedLM", types=True, hidden_act="silu",
            tie_word_embeddings=False, change=bias_at_decoder, **SIZES)
    encoder("bert-bare", "BertModel", types=True, type_vocab_size=3, dtype=torch.bfloat16,
            **SIZES)

    small = {"vocab_size": 29, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24,
             "max_position_embeddings": 18}
    encoder("distilbert", "DistilBertForSequenceClassification", **small)
    encoder("distilbert-masked", "DistilBertForMaskedLM", activation="relu", **small)
    encoder("distilbert-bare", "DistilBertModel", dtype=torch.float16,
            change=prefixed("distilbert."), **small)

    encoder("roberta", "RobertaForSequenceClassification", pads=True, types=True, **three,
            **SIZES)
    encoder("roberta-masked", "RobertaForMaskedLM", pads=True, shards=True,
            type_vocab_size=1, layer_norm_eps=1e-5, **SIZES)
    encoder("roberta-bare", "RobertaModel", pads=True, dtype=torch.float16, **SIZES)
    encoder("xlm-roberta-one-label", "XLMRobertaForSequenceClassification", pads=True,
            num_labels=1, change=bare("roberta."), **SIZES)
    encoder("xlm-roberta-masked", "XLMRobertaForMaskedLM", type_vocab_size=1,
            change=renamed("lm_head.bias", "lm_head.decoder.bias"), **SIZES)
    encoder("xlm-roberta-bare", "XLMRobertaModel", change=prefixed("roberta."), **SIZES)
    encoder("camembert-regression", "CamembertForSequenceClassification", num_labels=1,
            problem_type="regression", **SIZES)
    encoder("camembert-masked", "CamembertForMaskedLM", hidden_act="relu",
            tie_word_embeddings=False, **SIZES)
    encoder("camembert-bare", "CamembertModel", **SIZES)

    encoder("electra-multi-label", "ElectraForSequenceClassification", types=True,
            embedding_size=16, problem_type="multi_label_classification", num_labels=4,
            **SIZES)
    encoder("electra-masked", "ElectraForMaskedLM", types=True, embedding_size=12, **SIZES)
    encoder("electra-masked-wide", "ElectraForMaskedLM", types=True, embedding_size=20,
            dtype=torch.bfloat16, **SIZES)
    encoder("electra-bare", "ElectraModel", types=True, embedding_size=10, **SIZES)

    encoder("mpnet", "MPNetForSequenceClassification", pads=True, **three, **SIZES)
    encoder("mpnet-masked", "MPNetForMaskedLM", pads=True, **SIZES)
    # Every bucket of distances, the last one begins at 91.
    encoder("mpnet-bare-long", "MPNetModel", lengths=[3, 140],
            **{**SIZES, "num_hidden_layers": 1, "max_position_embeddings": 144})


def modernbert():
    sizes = {**SIZES, "num_hidden_layers": 4, "max_position_embeddings": 24,
             "local_attention": 6, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
             "cls_token_id": 1, "sep_token_id": 2}
    lengths = [1, 7, 24]
    all_biases = {"norm_bias": True, "attention_bias": True, "mlp_bias": True,
                  "classifier_bias": True}
    encoder("modernbert", "ModernBertForSequenceClassification", lengths=lengths,
            num_labels=3, **sizes)
    encoder("modernbert-mean", "ModernBertForSequenceClassification", lengths=lengths,
            classifier_pooling="mean", classifier_activation="silu",
            hidden_activation="gelu_pytorch_tanh", global_attn_every_n_layers=2,
            local_rope_theta=500.0, **all_biases, **sizes)
    encoder("modernbert-masked", "ModernBertForMaskedLM", lengths=lengths,
            global_rope_theta=300.0, **sizes)
    encoder("modernbert-masked-free", "ModernBertForMaskedLM", lengths=[1, 7],
            tie_word_embeddings=False, decoder_bias=False, local_rope_theta=None,
            global_rope_theta=50.0, **{**sizes, "local_attention": 3})
    encoder("modernbert-bare", "ModernBertModel", lengths=lengths, dtype=torch.bfloat16,
            **sizes)


def main():
    which = sys.argv[1:] or ["bert", "modernbert"]
    if "bert" in which:
        bert()
    if "modernbert" in which and hasattr(hf, "ModernBertConfig"):
        modernbert()


if __name__ == "__main__":
    main()
