"""The two C programs of tests/bench that read commands and answer with JSON lines."""

import json
import math
import subprocess


class Unsupported(Exception):
    """What one side can't do (yet), in words for the table."""


class Client:
    def __init__(self, program):
        self.name = program.name
        self.process = subprocess.Popen([str(program)], stdin=subprocess.PIPE, text=True,
                                        stdout=subprocess.PIPE)

    def ask(self, *command):
        self.process.stdin.write(" ".join(map(str, command)) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} died at: {' '.join(map(str, command))[:80]}")
        answer = json.loads(line)
        if "error" in answer:
            raise Unsupported(answer["error"])
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Ceiling(Client):
    def fma(self, threads):
        """Seconds of a floating-point operation."""
        return 1e-9 / self.ask("fma", threads)["gflops"]

    def read(self, threads, n_bytes):
        """Seconds of a byte."""
        return 1e-9 / self.ask("read", threads, n_bytes)["gbytes"]


class Models(Client):
    """libseq.a. A job of more than one run has an untimed one before them."""

    def __init__(self, program):
        super().__init__(program)
        self.loaded, self.slots, self.threads = {}, {}, None

    def prepare(self, root, model, precision, threads):
        """The name to use in jobs."""
        key = f"{model}/{precision}"
        if key not in self.loaded:
            self.loaded[key] = self.ask("load", key, root / model, precision)
        if self.threads != threads:
            self.ask("threads", threads)
            self.threads = threads
        return key

    def slots_of(self, texts):
        """Texts are lists of ids; at most 64 of one batch, of 256 slots in turn."""
        out = []
        for text in texts:
            key = tuple(text)
            if key not in self.slots:
                slot = len(self.slots)
                if slot == 256:
                    self.slots.clear()
                    return self.slots_of(texts)
                self.ask("text", slot, *text)
                self.slots[key] = slot
            out.append(self.slots[key])
        return out

    def values(self, verb, key, texts):
        flat = self.ask(verb, key, *self.slots_of(texts))["values"]
        width = len(flat) // len(texts)
        return [flat[i:i + width] for i in range(0, len(flat), width)]

    def seconds(self, verb, key, texts, times):
        slots = self.slots_of(texts)
        if times > 1:
            self.ask(verb, key, 1, *slots)
        return self.ask(verb, key, times, *slots)["seconds"] / times


def softmax(row):
    top = max(row)
    e = [math.exp(v - top) for v in row]
    return [v / sum(e) for v in e]
