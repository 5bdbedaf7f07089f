"""How cost grows: with tokens, batch, connections and models."""

import os
import shutil
from statistics import median

import onnx_peer
import servers
from race import race
from rows import Row

TOKENS = [8, 16, 32, 64, 128, 256, 512, 1024]
BATCH = [1, 2, 4, 8, 16, 32, 64]
CONNECTIONS = [1, 4, 16, 64, 128, 256, 512, 1000]
MODELS = [1, 2, 4, 8]
ROUNDS, SLICE_S = 3, 0.1
SHIPPED = servers.HERE.parents[2] / "weights" / "sentiment-lstm"
REVIEW = "This is one of the best films I have seen all year"


def point(bench, lengths, threads):
    """Seconds of a batch on both sides: name -> median."""
    row = Row("curve", "classify", "minilm", lengths, 1)
    key = bench.models.prepare(bench.root, row.model, "f32", threads)
    peer = onnx_peer.Classify(bench.sessions.get(row.model, "f32", threads), row.texts)
    sides = {"seqd": lambda n: bench.models.seconds("classify", key, row.texts, n),
             "ONNX Runtime": peer.seconds}
    return {k: f.median for k, f in race(sides, ROUNDS, SLICE_S).items()}


def curve(title, x_label, y_label, xs, points):
    """points: one dict of series -> y for each x."""
    return {"title": title, "x_label": x_label, "y_label": y_label, "x": xs,
            "series": {k: [p.get(k) for p in points] for k in points[0]}}


def tokens(bench, threads):
    points = [point(bench, [n], threads) for n in TOKENS]
    return curve("one text", "tokens", "ms", TOKENS, in_ms(points))


def batch(bench, threads):
    points = [point(bench, [16] * n, threads) for n in BATCH]
    return curve("texts of 16 tokens", "batch", "ms", BATCH, in_ms(points))


def in_ms(points):
    return [{k: v * 1e3 for k, v in p.items()} for p in points]


def connections(build, work, seconds):
    """The daemon alone: a shipped model of which a request takes little, so that the
    HTTP path shows."""
    server = servers.seqd(build, [SHIPPED], work / "curve.log")
    points = []
    server.start()
    try:
        for n in CONNECTIONS:
            seen = server.load("/v1/sentiment", [{"text": REVIEW}], n, seconds)
            points.append({"requests/s": seen["rate"], "p99, ms": 1e3 * seen["p99"]})
    finally:
        server.stop()
    return curve("sentiment-lstm over HTTP", "connections", "requests/s, ms", CONNECTIONS,
                 points)


def models(build, work, seconds):
    """So many models of MiniLM's size in one daemon, asked in turn."""
    root = work / "many"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    names = [f"minilm-{i}" for i in range(max(MODELS))]
    for name in names:
        (root / name).mkdir()
        for file in (work / "models" / "minilm").iterdir():
            (root / name / file.name).symlink_to(file)
    text, points = servers.text_of(work, 32)[0], []
    for n in MODELS:
        server = servers.seqd(build, [root / x for x in names[:n]], work / "curve.log")
        starts = []
        for _ in range(3):
            server.stop()
            starts.append(server.start())
        try:
            bodies = [{"model": x, "text": text} for x in names[:n]]
            seen = server.load("/v1/sentiment", bodies, 16, seconds)
            points.append({"requests/s": seen["rate"], "MB resident":
                           server.resident() / 1e6, "ms to ready": median(starts) * 1e3})
        finally:
            server.stop()
    return curve("models of MiniLM's size", "models", "MB, ms, requests/s", MODELS, points)


def all_curves(bench, build, work, seconds, clock):
    """Curves as far as time goes."""
    cores = os.cpu_count()
    makers = [lambda: tokens(bench, cores), lambda: batch(bench, cores),
              lambda: connections(build, work, seconds),
              lambda: models(build, work, seconds)]
    for make in makers:
        if clock.left() > 45:
            yield make()
        else:
            print("a curve is skipped: out of time", flush=True)
