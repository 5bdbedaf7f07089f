"""seqd and its peers over HTTP: load by wrk, start to ready, memory and disk."""

import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from ours import Unsupported
from race import Figure
from rows import PROBABILITY, Disagreement

HERE = Path(__file__).resolve().parent
READY_S, WARM_REQUESTS = 60, 30
# What every program on the machine shares.
LIBC = ("libc.so", "libm.so", "ld-linux", "linux-vdso", "libpthread", "libdl", "librt")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A daemon on a port of its own; `args` may hold PORT. Logs go to a file."""

    def __init__(self, name, args, log, cwd=None):
        self.name, self.args, self.log, self.cwd = name, args, log, cwd
        self.process = None

    def start(self):
        """Seconds from exec to the first 200 of /readyz."""
        self.port = free_port()
        args = [str(self.port) if a == "PORT" else str(a) for a in self.args]
        with open(self.log, "w") as log:
            begin = time.perf_counter()
            self.process = subprocess.Popen(args, stdout=log, stderr=log, cwd=self.cwd)
        while True:
            try:
                self.get("/readyz")
                return time.perf_counter() - begin
            except OSError:
                late = time.perf_counter() - begin > READY_S
                if late or self.process.poll() is not None:
                    raise RuntimeError(f"{self.name} does not get ready, see {self.log}")
                time.sleep(0.001)

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait()
        self.process = None

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def get(self, path):
        with urllib.request.urlopen(self.url(path), timeout=10) as reply:
            return reply.read()

    def post(self, path, body):
        return self.ask(path, body)[0]

    def ask(self, path, body):
        """The answer, and the reply's Server-Timing: name -> seconds."""
        request = urllib.request.Request(self.url(path), json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as reply:
            parts = (reply.headers.get("Server-Timing") or "").split(", ")
            times = dict(p.split(";dur=") for p in parts if ";dur=" in p)
            return (json.loads(reply.read()),
                    {name: float(ms) / 1e3 for name, ms in times.items()})

    def resident(self):
        """Bytes."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return 1024 * int(line.split()[1])
        raise RuntimeError(f"{self.name} is gone")

    def load(self, path, bodies, connections, seconds):
        """What wrk saw: requests/s, p50, p99, errors."""
        env = {**os.environ, "BODIES": "\n".join(json.dumps(b) for b in bodies)}
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s",
                   "--latency", "-s", str(HERE / "load.lua"), self.url(path)]
        out = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        line = next(x for x in out.stdout.splitlines() if x.startswith("{"))
        seen = json.loads(line)
        seen["rate"] = seen["requests"] / seen["seconds"]
        if seen["errors"]:
            raise Disagreement(f"{self.name}: {seen['errors']} errors at {connections} "
                               "connections")
        return seen


# ---- who is who ----------------------------------------------------------------------


def seqd(build, folders, log, *more):
    return Server("seqd", [build / "seqd", "--port", "PORT", "--log-level", "warn",
                           "--queue-limit", "4096", "--connection-limit", "4096", *more,
                           *folders], log)


def trio(build, work, threads):
    """seqd and those peers that are installed here."""
    root = work / "models"
    rest = [root / "minilm.onnx", root / "minilm" / "tokenizer.json", "PORT", threads]
    out = [seqd(build, [root / "minilm"], work / "seqd.log", "--workers", threads)]
    python = work / "server-venv" / "bin" / "python"
    if python.exists():
        out.append(Server("FastAPI + ONNX Runtime",
                          [python, HERE / "fastapi_server.py", *rest],
                          work / "fastapi.log"))
    node = work / "node"
    if (node / "node_modules" / "onnxruntime-node").exists():
        out.append(Server("Node + onnxruntime-node",
                          ["node", HERE / "node_server.mjs", *rest], work / "node.log",
                          cwd=node))
    return out


def installed_bytes(server, work):
    """On disk, without weights and without libc, as a bare system would need it."""
    if server.name == "seqd":
        ldd = subprocess.run(["ldd", str(server.args[0])], capture_output=True, text=True,
                             check=True).stdout
        paths = [x.split("=>")[1].split()[0] for x in ldd.splitlines() if "=> /" in x]
        program = work / "seqd.stripped"  # like the libraries, and as the image has it
        subprocess.run(["strip", "-o", str(program), str(server.args[0])], check=True)
        return sum(Path(p).stat().st_size for p in [program, *paths]
                   if not any(Path(p).name.startswith(c) for c in LIBC))
    if "FastAPI" in server.name:
        library = Path(os.__file__).parent
        site = next((work / "server-venv" / "lib").iterdir()) / "site-packages"
        tools = ("pip", "setuptools", "pkg_resources")
        return size_of(site, tools) + size_of(library, ("dist-packages", "test")) + \
            Path(os.path.realpath(sys.executable)).stat().st_size
    modules = work / "node" / "node_modules"
    others = [p for p in modules.glob("onnxruntime-node/bin/*/*/*")
              if p.parts[-2:] != ("linux", "x64")]
    return Path(os.path.realpath(shutil.which("node"))).stat().st_size + \
        size_of(modules) - sum(map(size_of, others))


def size_of(folder, without=()):
    return sum(p.lstat().st_size for p in folder.rglob("*") if p.is_file()
               and "__pycache__" not in p.parts
               and p.relative_to(folder).parts[0].split("-")[0] not in without)


# ---- rows ----------------------------------------------------------------------------


def text_of(work, tokens):
    """A text that the BERT of MiniLM's size reads as so many tokens, ends included."""
    path = work / "models" / "minilm" / "tokenizer.json"
    words = list(json.loads(path.read_text())["model"]["vocab"])
    return [" ".join(words[1000 + 97 * i + k] for i in range(tokens - 2))
            for k in range(3)]


def agree(servers, texts):
    """All give the same probability of "positive" for every text."""
    for text in texts:
        answers = [s.post("/v1/sentiment", {"text": text}) for s in servers]
        answers = [a.get("results", [a])[0]["scores"]["positive"] for a in answers]
        if max(answers) - min(answers) > PROBABILITY["f32"]:
            raise Disagreement(f"the servers answer {answers}")


def load_rows(servers, texts, connections, rounds, seconds):
    bodies = [{"text": t} for t in texts]
    seen = {s.name: [] for s in servers}
    for _ in range(rounds):
        for s in servers:
            seen[s.name].append(s.load("/v1/sentiment", bodies, connections, seconds))
    part, bars = "HTTP, sentiment of 32 tokens", [("rate", "requests/s", 1.5)]
    if connections == 16:
        bars.append(("p99", "p99 in s", 4))
    return [versus(part, f"{connections} connections, {unit}", unit,
                   {n: Figure([x[key] for x in runs]) for n, runs in seen.items()}, bar,
                   more_is_better=key == "rate") for key, unit, bar in bars]


def versus(part, work, unit, figures, bar, more_is_better=False):
    """A record: ours beside the better of the others."""
    ours = figures.pop("seqd")
    if not figures:
        raise Unsupported("no peer server is installed")
    best = (max if more_is_better else min)(figures, key=lambda k: figures[k].median)
    pairs = zip(ours.runs, figures[best].runs)
    ratios = sorted(o / p if more_is_better else p / o for o, p in pairs)
    ratio = statistics.median(ratios)
    return {"part": part, "work": work, "threads": os.cpu_count(), "unit": unit,
            "ours": ours.as_json(), "peer": best,
            "peers": {k: f.as_json() for k, f in figures.items()},
            "ratio": {"median": ratio, "min": ratios[0], "max": ratios[-1]}, "bar": bar,
            "reached": ratio >= bar}


def http_rows(build, work, connections, rounds, seconds):
    """Records of load, start, memory and disk; the servers run one beside the other,
    and are loaded one at a time."""
    texts, servers = text_of(work, 32), trio(build, work, os.cpu_count())
    ready = {s.name: [] for s in servers}
    try:
        for _ in range(3):
            for s in servers:
                s.stop()
                ready[s.name].append(s.start())
        agree(servers, texts)
        for s in servers:
            for text in texts * WARM_REQUESTS:
                s.post("/v1/sentiment", {"text": text})
        for n in connections:
            yield from load_rows(servers, texts, n, rounds, seconds)
        resident = {s.name: Figure([s.resident() / 1e6]) for s in servers}
    finally:
        for s in servers:
            s.stop()
    part = "start, memory, disk"
    disk = {s.name: Figure([installed_bytes(s, work) / 1e6]) for s in servers}
    ready = {name: Figure(runs) for name, runs in ready.items()}
    yield versus(part, "start to ready", "s", ready, 10)
    yield versus(part, "resident memory after the load, MB", "MB", dict(resident), 3)
    weights = (work / "models" / "minilm.onnx").stat().st_size / 1e6
    beyond = {name: Figure([mb - weights for mb in f.runs]) for name, f in resident.items()}
    yield versus(part, "of it beyond the weights, MB", "MB", beyond, 3)
    yield versus(part, "on disk without weights, MB", "MB", disk, 10)


# ---- typing --------------------------------------------------------------------------

TYPED = range(49, 65)  # tokens of the text at each keystroke that is measured


def keystrokes(server, words, unit):
    """Median seconds that a request computes as the text grows word by word, and the
    answers."""
    seconds, answers = [], []
    for n in TYPED:
        body = {"text": " ".join(words[:n]), "unit": unit, "top_k": 3}
        answer, times = server.ask("/v1/next-word", body)
        seconds.append(times["compute"])
        answers.append(answer["results"][0]["predictions"])
    return statistics.median(seconds), answers


def typing_row(build, work, model, unit, rounds):
    """Beside itself without states kept: the same answers, digit for digit."""
    usage = subprocess.run([build / "seqd", "--help"], capture_output=True, text=True,
                           check=True).stdout
    if "--state-cache-mb" not in usage:
        raise Unsupported("seqd keeps no states of earlier texts")
    folder, log = work / "models" / model, work / "typing.log"
    vocab = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    sides = {"seqd": seqd(build, [folder], log),
             "seqd without states": seqd(build, [folder], log, "--state-cache-mb", "0")}
    runs = {name: [] for name in sides}
    try:
        for s in sides.values():
            s.start()
        for r in range(rounds):
            words = random.Random(r).sample(list(vocab)[1:], max(TYPED))
            told = []
            for name, s in sides.items():
                seconds, answers = keystrokes(s, words, unit)
                runs[name].append(seconds)
                told.append(answers)
            if told[0] != told[1]:
                raise Disagreement(f"{model}: kept states change the answer")
    finally:
        for s in sides.values():
            s.stop()
    return versus("next word while typing, 64 tokens", f"{model}, compute of a {unit}",
                  "s", {name: Figure(values) for name, values in runs.items()}, 10)
