"""The rows that are computed in process: what runs, beside which peer, and the bar.

Every row is first computed once by all sides; it is timed only if they agree.
"""

import math
import random
import statistics
from dataclasses import dataclass, field

import folders
import onnx_peer
from ours import Unsupported, softmax
from race import race

VOCAB = {name: size["vocab_size"] for name, size in folders.SIZES.items()}
# What outputs may differ by: probabilities of classifiers; of logits the distance over
# the length. Two sides that quantise in their own ways differ by both their errors.
PROBABILITY = {"f32": 2e-4, "bf16": 2e-2, "int8": 0.15}
LOGITS = {"f32": 1e-4, "bf16": 2e-2, "int8": 0.15}


class Disagreement(Exception):
    """The sides compute different things, so that their times mean nothing."""


@dataclass
class Row:
    part: str        # of the table of bars
    verb: str        # classify, prefill or steps
    model: str
    lengths: list    # of the texts of one batch, in tokens
    bar: float       # times the speed of the fastest peer
    precision: str = "f32"
    peer: str = "f32"            # ONNX Runtime's precision
    torch: bool = False          # PyTorch runs as well
    ceiling_bar: float = None    # share of the ceiling that must be reached
    quick: bool = False
    label: str = ""
    texts: list = field(default_factory=list)

    def __post_init__(self):
        self.texts = texts_of(self.model, self.lengths)
        same = len(set(self.lengths)) == 1
        size = f"{len(self.lengths)}x{self.lengths[0]}" if same else "mixed lengths"
        size = f"batch {len(self.lengths)}" if self.verb == "steps" else size
        self.label = self.label or f"{self.model} {self.precision} {size}"


def texts_of(model, lengths, seed=7):
    """Ids that are no special tokens."""
    rng = random.Random(seed)
    return [[rng.randrange(5, VOCAB[model]) for _ in range(n)] for n in lengths]


MIXED = [8, 16, 24, 40, 56, 80, 104, 128]


def all_rows():
    bert = "BERT classify, f32"
    rows = [
        Row(bert, "classify", "minilm", [16], 1.5, quick=True),
        Row(bert, "classify", "minilm", [64], 1.25, ceiling_bar=0.85),
        Row(bert, "classify", "minilm", [128], 1.15, ceiling_bar=0.85, quick=True),
        Row(bert, "classify", "minilm", [16] * 8, 1.4, ceiling_bar=0.85)]
    for lengths in ([16], [64], [128], [16] * 8):
        rows.append(Row("BERT classify, int8", "classify", "minilm", lengths, 1.25,
                        precision="int8", peer="int8"))
    rows.append(Row("8 texts of 8 to 128 tokens", "classify", "minilm", MIXED, 1.8,
                    quick=True))
    for precision, one, many in (("f32", 1.3, 1.8), ("bf16", 2, 2), ("int8", 3, 2.5)):
        part = f"LSTM 2x650, one step, {precision}"
        rows.append(Row(part, "steps", "lstm-650", [16], one, precision=precision,
                        quick=precision == "f32"))
        rows.append(Row(part, "steps", "lstm-650", [16] * 16, many, precision=precision))
    for batch in (1, 8):
        rows.append(Row("bidirectional LSTM, 200 tokens", "classify", "bilstm",
                        [200] * batch, 1.3, torch=True, quick=batch == 1))
    for model in ("gpt2-30m", "gpt2-124m"):
        quick = model == "gpt2-30m"
        rows += [
            Row("GPT-2 decode, batch 1, f32", "steps", model, [64], 1.05,
                ceiling_bar=0.9, quick=quick),
            Row("GPT-2 decode, batch 1, int8", "steps", model, [64], 1.25,
                precision="int8", peer="int8"),
            Row("GPT-2 decode, batch 8", "steps", model, [64] * 8, 1.5),
            Row("GPT-2 prefill", "prefill", model, [64], 1.5, quick=quick)]
    return rows


# ---- floors --------------------------------------------------------------------------


def work_of(row):
    """Operations and bytes of weights of one run (of one step): what must be done at
    least, with every weight read once."""
    size = folders.SIZES[row.model]
    ends = row.lengths if row.verb != "steps" else [1] * len(row.lengths)
    tokens, spans = sum(ends), row.lengths
    if row.model == "minilm" or row.model.startswith("gpt2"):
        D = size.get("hidden_size") or size["n_embd"]
        layers = size.get("num_hidden_layers") or size["n_layer"]
        matrices = layers * 12 * D * D
        causal = row.model != "minilm" and row.verb == "prefill"
        attention = sum(4 * n * t * D for n, t in zip(ends, spans)) * (layers - 1)
        head = size["vocab_size"] * D if row.model != "minilm" else D * D
        # Of the last block all tokens need keys and values; the rest only the one that
        # is read out.
        flops = 2 * tokens * (matrices - 10 * D * D) + attention / (2 if causal else 1)
        return flops + 2 * len(ends) * (10 * D * D + head), 4 * (matrices + head)
    H, width = size["hidden_size"], size["embedding_dim"]
    ways = 2 if size.get("bidirectional") else 1
    matrices = sum(ways * 4 * H * ((width if k == 0 else ways * H) + H)
                   for k in range(size["num_layers"]))
    head = ways * H * (2 if "pooling" in size else size["vocab_size"])
    return 2 * tokens * matrices + 2 * len(ends) * head, 4 * (matrices + head)


# ---- one row -------------------------------------------------------------------------


class Bench:
    """Both sides, and what the machine can do at most."""

    def __init__(self, root, models, ceiling, rounds, slice_s):
        self.root, self.models, self.ceiling = root, models, ceiling
        self.rounds, self.slice_s = rounds, slice_s
        self.sessions = onnx_peer.Sessions(root)
        self.nets = {}

    def peers(self, row, threads, texts):
        session = self.sessions.get(row.model, row.peer, threads)
        kind = onnx_peer.Classify if row.verb == "classify" else onnx_peer.Feed
        out = {"ONNX Runtime": kind(session, texts)}
        if row.torch:
            if row.model not in self.nets:
                self.nets[row.model] = folders.load_recurrent(self.root, row.model)
            out["PyTorch"] = onnx_peer.Torch(self.nets[row.model], texts, threads)
        return out

    def agree(self, row, key, threads):
        """Computes the row's texts, and others of the same lengths, on all sides."""
        texts = row.texts if row.verb == "classify" else row.texts[:2]
        others = texts_of(row.model, [len(t) for t in texts], seed=8)
        verb = "scores" if row.verb == "classify" else "logits"
        ours, theirs = [], {}
        for batch in (texts, others):
            ours += self.models.values(verb, key, batch)
            for name, peer in self.peers(row, threads, batch).items():
                theirs.setdefault(name, []).extend(peer.values())
        for name, values in theirs.items():
            compare(row, name, ours, values)

    def run(self, row, threads):
        """One record of the results. Unsupported: a side can't do it (yet)."""
        key = self.models.prepare(self.root, row.model, row.precision, threads)
        self.agree(row, key, threads)
        flops, n_bytes = work_of(row)
        limits = ["read"] if row.precision != "f32" else ["fma", "read"]
        weights = n_bytes // {"f32": 1, "bf16": 2, "int8": 4}[row.precision]
        sides = {"read": lambda n: self.ceiling.read(threads, weights // 4096 * 4096)}
        if "fma" in limits:
            sides["fma"] = lambda n: self.ceiling.fma(threads)
        sides["ours"] = lambda n: self.models.seconds(row.verb, key, row.texts, n)
        for name, peer in self.peers(row, threads, row.texts).items():
            sides[name] = peer.seconds if row.verb == "classify" else \
                peer.step_seconds if row.verb == "steps" else peer.prefill_seconds
        # A step behind 64 tokens costs what it costs there, not a thousand tokens later.
        steps = 32 if row.model.startswith("gpt2") and row.verb == "steps" else 4096
        figures = race(sides, self.rounds, self.slice_s, steps)
        units = {"fma": flops, "read": weights}
        return record(row, threads, figures, {k: units[k] for k in limits})


def compare(row, name, ours, theirs):
    if row.verb == "classify":
        theirs = [softmax(t) for t in theirs]
        off = worst(abs(a - b) for o, t in zip(ours, theirs) for a, b in zip(o, t))
        bound = PROBABILITY[row.precision]
        spread = max(t[0] for t in theirs) - min(t[0] for t in theirs)
    else:
        off = worst(distance(o, t) for o, t in zip(ours, theirs))
        bound, spread = LOGITS[row.precision], distance(theirs[0], theirs[-1])
    if off > bound:
        raise Disagreement(f"{row.label}: ours and {name} differ by {off:.2g}")
    if spread < 10 * PROBABILITY["f32"]:
        raise Disagreement(f"{row.label}: all texts give the same, {name} says")


def worst(values):
    """The greatest; what is no number is worse than any."""
    return max(math.inf if math.isnan(v) else v for v in values)


def distance(a, b):
    length = sum(v * v for v in b) ** 0.5
    return sum((u - v) ** 2 for u, v in zip(a, b)) ** 0.5 / length


def record(row, threads, figures, units):
    """units: ceiling -> how many of them one run needs."""
    peers = {k: f for k, f in figures.items() if k not in ("ours", "fma", "read")}
    best = min(peers, key=lambda k: peers[k].median)
    ours = figures["ours"]
    ratios = sorted(p / o for p, o in zip(peers[best].runs, ours.runs))
    floors = {k: n * figures[k].median for k, n in units.items()}
    bound = max(floors, key=floors.get)
    ratio, share = statistics.median(ratios), floors[bound] / ours.median
    out = {"part": row.part, "work": row.label, "threads": threads, "unit": "s",
           "ours": ours.as_json(), "peer": best,
           "peers": {k: f.as_json() for k, f in peers.items()},
           "ratio": {"median": ratio, "min": ratios[0], "max": ratios[-1]},
           "bar": row.bar, "reached": ratio >= row.bar}
    if row.precision == "f32" or bound == "read":
        out["ceiling"] = {"kind": bound, "share": share, "bar": row.ceiling_bar,
                          "seconds": floors[bound]}
        if row.ceiling_bar:
            out["ceiling"]["reached"] = share >= row.ceiling_bar
    return out


__all__ = ["Bench", "Disagreement", "Row", "Unsupported", "all_rows", "texts_of"]
