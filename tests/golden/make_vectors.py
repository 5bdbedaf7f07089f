"""Makes vectors.json: vectors of texts by sentence-transformers' formulas.

    python tests/golden/make_vectors.py

Needs torch 1.13, transformers 4.39, tokenizers 0.15, safetensors. Hidden rows are those of
PyTorch in double from the weights of tests/fixtures/models; of them the mean over the
attention mask, the maximum, the first and the last one, and the mean divided by its
length. All texts of a model go through in one padded batch, with a mask, as
sentence-transformers computes them; only recurrent nets read each text alone.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModel

HERE = Path(__file__).resolve().parent
MODELS = HERE.parent / "fixtures" / "models"
TEXTS = ["the cat sat on the mat", "don't you think so?", "great"]


def recurrent_rows(folder, config, ids):
    state = {k: v.double() for k, v in load_file(folder / "model.safetensors").items()}
    rnn = torch.nn.LSTM(config["embedding_dim"], config["hidden_size"], config["num_layers"],
                        batch_first=True, bidirectional=config.get("bidirectional", False))
    rnn.double().load_state_dict({k[4:]: v for k, v in state.items() if k.startswith("rnn.")})
    return rnn(state["embedding.weight"][torch.tensor([ids])])[0][0]


def load_bare(folder):
    """The net without its head, whose tensors are left aside."""
    config = AutoConfig.from_pretrained(folder)
    net = AutoModel.from_config(config, attn_implementation="eager").double().eval()
    prefix = net.base_model_prefix + "."
    state = {k.removeprefix(prefix): v for k, v in
             load_file(folder / "model.safetensors").items()}
    missing = net.load_state_dict(state, strict=False).missing_keys
    assert all(k.startswith("pooler.") for k in missing), missing
    return net


def hidden_rows(name):
    """One [T,D] per text."""
    folder = MODELS / name
    config = json.loads((folder / "config.json").read_text())
    tok = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = [tok.encode(text).ids for text in TEXTS]
    if config["model_type"] == "rnn":
        return [recurrent_rows(folder, config, one) for one in ids]
    most = max(map(len, ids))
    padded = torch.tensor([one + [0] * (most - len(one)) for one in ids])
    mask = torch.tensor([[1] * len(one) + [0] * (most - len(one)) for one in ids])
    net = load_bare(folder)
    rows = net(padded, attention_mask=mask).last_hidden_state
    return [rows[i, :len(one)] for i, one in enumerate(ids)]


POOLINGS = {"mean": lambda rows: rows.sum(0) / max(len(rows), 1e-9),
            "max": lambda rows: rows.max(0).values,
            "cls": lambda rows: rows[0],
            "lasttoken": lambda rows: rows[-1]}


def main():
    cases = []
    with torch.no_grad():
        for name in ("tiny-bert-bare", "tiny-bert", "tiny-bert-mlm", "tiny-gpt2", "tiny-llama",
                     "tiny-lstm", "tiny-bilstm"):
            rows = hidden_rows(name)
            for pooling, formula in POOLINGS.items():
                for normalize in (False, True) if pooling == "mean" else (False,):
                    vectors = [formula(one) for one in rows]
                    if normalize:
                        vectors = [torch.nn.functional.normalize(v, dim=0) for v in vectors]
                    cases.append({"model": name, "pooling": pooling, "normalize": normalize,
                                  "vectors": [[float(f"{x:.8g}") for x in v.tolist()]
                                              for v in vectors]})
    lines = ",\n".join(json.dumps(case) for case in cases)
    (HERE / "vectors.json").write_text(
        f'{{"texts": {json.dumps(TEXTS)},\n"cases": [\n{lines}]}}\n')


if __name__ == "__main__":
    main()
