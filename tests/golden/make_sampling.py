"""Makes tests/golden/sampling.json and generation.json: what transformers keeps of rows of
logits, and what it writes with tiny models.

    python tests/golden/make_sampling.py

Wants transformers 4.41 or later, which has MinPLogitsWarper. transformers has no presence
and frequency penalty: these are OpenAI's formula, by numpy. Draws are by Philox4x32-10,
see philox below, which numpy has not: its three known answers are checked first.
"""

import json
import sys
from pathlib import Path

import numpy
import torch
import transformers as hf
from safetensors.torch import load_file
from tokenizers import Tokenizer

sys.path.insert(0, str(Path(__file__).resolve().parent))
from make_nets import Recurrent  # noqa: E402

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
NONE = {"temperature": 1.0, "top_k": 0, "top_p": 0.0, "min_p": 0.0,
        "repetition_penalty": 0.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
        "bias": []}


# ---- random numbers ------------------------------------------------------------------


def philox(counter, key):
    """Philox4x32-10 of Salmon et al., 2011."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [b >> 32 ^ c[1] ^ k[0], b & 0xFFFFFFFF, a >> 32 ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c


def uniform(seed, step):
    words = philox([step % 2**32, step >> 32, 0, 0], [seed % 2**32, seed >> 32])
    return ((words[1] << 32 | words[0]) >> 11) * 2.0**-53


def check_philox():
    ones = 0xFFFFFFFF
    pi = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0]
    assert philox([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox([ones] * 4, [ones] * 2) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    assert philox(pi[:4], pi[4:]) == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


# ---- from logits to shares -----------------------------------------------------------


def scores_of(how, prompt, generated, logits):
    """All changes but the choice; logits is a double [V]."""
    ids, scores = torch.tensor([prompt + generated]), logits[None].clone()
    if how["bias"]:
        # Added here, since SequenceBiasLogitsProcessor refuses -inf.
        for i, bias in how["bias"]:
            scores[0, i] += -float("inf") if bias is None else bias
    if how["repetition_penalty"]:
        scores = hf.RepetitionPenaltyLogitsProcessor(how["repetition_penalty"])(ids, scores)
    for i in set(generated):
        scores[0, i] -= how["presence_penalty"]
        scores[0, i] -= how["frequency_penalty"] * generated.count(i)
    if not how["temperature"]:
        return scores[0]
    warpers = [hf.TemperatureLogitsWarper(how["temperature"])]
    if how["top_k"]:
        warpers.append(hf.TopKLogitsWarper(how["top_k"]))
    if how["top_p"]:
        warpers.append(hf.TopPLogitsWarper(how["top_p"]))
    if how["min_p"]:
        warpers.append(hf.MinPLogitsWarper(how["min_p"]))
    for warp in warpers:
        scores = warp(ids, scores)
    return scores[0]


def shares_of(how, prompt, generated, logits):
    return scores_of(how, prompt, generated, logits).softmax(-1)


def choose(how, prompt, generated, logits, seed):
    """The next token; asserts that no rounding could make it another one."""
    if not how["temperature"]:
        best = scores_of(how, prompt, generated, logits).topk(2)
        assert best.values[0] - best.values[1] > 1e-4, best
        return int(best.indices[0])
    upto = shares_of(how, prompt, generated, logits).cumsum(-1)
    at = uniform(seed, len(generated)) * upto[-1]
    assert (upto - at).abs().min() > 1e-5, (upto, at)
    return int((upto <= at).sum())


# ---- rows ----------------------------------------------------------------------------


def row_cases():
    generator = torch.Generator().manual_seed(6)
    normal = torch.randn(60, generator=generator) * 3
    flat = torch.randn(1000, generator=generator) * 0.2
    holes = normal.clone()
    holes[::3] = -float("inf")
    ties = (torch.arange(40) % 8).float() - 3
    rows = {"normal": normal, "flat": flat, "holes": holes, "ties": ties}
    seen = {"prompt": [3, 5, 5, 9, 20], "generated": [20, 7, 7, 7, 11]}
    biased = {"bias": [[4, 6.5], [9, -3.25], [20, None], [33, 1.0]]}
    hows = [("normal", {}), ("holes", {}), ("flat", {}), ("ties", {}),
            ("normal", {"temperature": 0.3}), ("normal", {"temperature": 7.5}),
            ("normal", {"top_k": 1}), ("normal", {"top_k": 7}), ("normal", {"top_k": 1000}),
            ("holes", {"top_k": 50}), ("ties", {"top_k": 7}), ("flat", {"top_k": 300}),
            ("normal", {"top_p": 0.01}), ("normal", {"top_p": 0.5}),
            ("normal", {"top_p": 0.95}), ("holes", {"top_p": 0.999}),
            ("flat", {"top_p": 0.1}), ("flat", {"top_p": 0.9}), ("flat", {"top_p": 0.999}),
            ("flat", {"top_p": 0.9, "top_k": 500, "temperature": 2.0}),
            ("normal", {"min_p": 0.1}), ("normal", {"min_p": 1.0}), ("flat", {"min_p": 0.7}),
            ("flat", {"min_p": 0.7, "temperature": 0.5}), ("holes", {"min_p": 0.0001}),
            ("normal", {"top_k": 20, "top_p": 0.8, "min_p": 0.2, "temperature": 1.7}),
            ("normal", {"repetition_penalty": 1.3}), ("holes", {"repetition_penalty": 0.6}),
            ("normal", {"presence_penalty": 1.5}), ("normal", {"frequency_penalty": -0.75}),
            ("normal", {"presence_penalty": -2.0, "frequency_penalty": 1.25}),
            ("normal", biased), ("holes", biased), ("normal", {**biased, "temperature": 0.0}),
            ("normal", {**biased, "repetition_penalty": 1.8, "presence_penalty": 0.5,
                        "frequency_penalty": 0.25, "temperature": 0.8, "top_k": 30,
                        "top_p": 0.97, "min_p": 0.001})]
    cases = []
    for row, change in hows:
        how = {**NONE, **change}
        logits = rows[row].double()
        if how["temperature"]:
            shares = shares_of(how, **seen, logits=logits)
        else:
            shares = torch.zeros(len(logits))
            shares[scores_of(how, **seen, logits=logits).argmax()] = 1
        kept = shares.nonzero()[:, 0]
        cases.append({"row": row, "how": how, "kept": kept.tolist(),
                      "share": [float(f"{p:.12g}") for p in shares[kept].tolist()]})
    finite = lambda r: [None if x == -float("inf") else x for x in r.tolist()]
    return {"rows": {k: finite(r) for k, r in rows.items()}, **seen, "cases": cases}


# ---- texts ---------------------------------------------------------------------------


class Model:
    def __init__(self, folder):
        self.folder = folder
        self.config = json.loads((ROOT / folder / "config.json").read_text())
        if self.config["model_type"] == "rnn":
            net = Recurrent(dict(self.config))
            tensors = load_file(ROOT / folder / "model.safetensors")
            tensors.setdefault("decoder.weight", tensors["embedding.weight"])
            net.load_state_dict(tensors)
        else:
            net = hf.AutoModelForCausalLM.from_pretrained(ROOT / folder,
                                                          torch_dtype=torch.float32)
        self.net = net.double().eval()
        self.tokenizer = Tokenizer.from_file(str(ROOT / folder / "tokenizer.json"))
        self.end = self.config.get("eos_token_id")

    def logits(self, ids):
        """[T,V]"""
        if isinstance(self.net, Recurrent):
            return self.net(torch.tensor(ids))["logits"]
        return self.net(torch.tensor([ids])).logits[0]

    def context(self):
        return self.config.get("n_positions") or \
            self.config.get("max_position_embeddings") or 10**6

    def text(self, prompt, ids):
        whole, before = (self.tokenizer.decode(x, skip_special_tokens=True)
                         for x in (prompt + ids, prompt))
        assert whole.startswith(before), (whole, before)
        return whole[len(before):]


def check_generate(model, prompt, ids, penalty):
    """transformers' own loop writes the same greedily."""
    if isinstance(model.net, Recurrent):
        return
    got = model.net.generate(torch.tensor([prompt]), max_new_tokens=len(ids), do_sample=False,
                             repetition_penalty=penalty, pad_token_id=0)
    assert got[0, len(prompt):].tolist() == ids, (got, ids)


def write_text(model, prompt, how, n, seed):
    ids, finish = [], "length"
    while len(ids) < n and len(prompt) + len(ids) < model.context():
        logits = model.logits(prompt + ids)[-1]
        ids.append(choose(how, prompt, ids, logits, seed))
        if ids[-1] == model.end:
            finish = "end"
            break
    if how == {**NONE, "temperature": 0.0, "repetition_penalty": how["repetition_penalty"]}:
        check_generate(model, prompt, ids, how["repetition_penalty"] or 1.0)
    shares = model.logits(prompt + ids).log_softmax(-1)
    spoken = ids[:-1] if finish == "end" else ids
    return {"folder": model.folder, "prompt": prompt, "how": how, "max_tokens": n,
            "seed": seed, "ids": ids, "finish": finish, "text": model.text(prompt, spoken),
            "logprobs": [round(float(shares[i, (prompt + ids)[i + 1]]), 7)
                         for i in range(len(prompt) + len(ids) - 1)]}


FOLDERS = ["tests/golden/nets/gpt2", "tests/golden/nets/llama", "tests/golden/nets/lstm-lm",
           "tests/golden/nets/gru-lm", "tests/fixtures/models/tiny-gpt2",
           "tests/fixtures/models/tiny-llama", "tests/fixtures/models/tiny-lstm"]
HOWS = [{"temperature": 0.0}, {"temperature": 0.0, "repetition_penalty": 1.4},
        {"temperature": 1.0}, {"temperature": 0.7, "top_k": 9},
        {"temperature": 1.3, "top_p": 0.9, "presence_penalty": 1.0},
        {"temperature": 1.0, "min_p": 0.05, "repetition_penalty": 1.2,
         "frequency_penalty": 0.5, "bias": [[5, 2.0], [6, None]]}]


def main():
    check_philox()
    torch.set_grad_enabled(False)
    rows = row_cases()
    generator = torch.Generator().manual_seed(66)
    texts = []
    for folder in FOLDERS:
        model = Model(folder)
        for i, change in enumerate(HOWS):
            length = int(torch.randint(1, 12, (1,), generator=generator))
            vocab = model.config["vocab_size"]
            prompt = torch.randint(3, vocab, (length,), generator=generator).tolist()
            seed = (i + 1) * 0x9E3779B97F4A7C15 % 2**63
            texts.append(write_text(model, prompt, {**NONE, **change}, 40, seed))
    for name, what in (("sampling", rows), ("generation", texts)):
        (HERE / f"{name}.json").write_text(
            json.dumps(what, separators=(",", ":"), ensure_ascii=True).replace(
                '},{', '},\n{') + "\n")
    print(hf.__version__, torch.__version__, numpy.__version__, len(texts), "texts",
          sum(len(t["ids"]) for t in texts), "tokens",
          sum(t["finish"] == "end" for t in texts), "ended")


main()
