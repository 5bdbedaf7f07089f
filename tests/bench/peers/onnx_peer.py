"""ONNX Runtime and PyTorch on the same weights, each with a given number of threads."""

import time

import numpy as np
import onnxruntime as ort


def session(path, threads):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class Sessions:
    """Those in use; a new number of threads ends the threads of the old ones."""

    def __init__(self, root):
        self.root, self.threads, self.held = root, None, {}

    def get(self, model, precision, threads):
        if threads != self.threads:
            self.held.clear()
            self.threads = threads
        key = model if precision == "f32" else f"{model}.{precision}"
        if key not in self.held:
            self.held[key] = session(self.root / f"{key}.onnx", threads)
        return self.held[key]


def padded(texts):
    """ids and mask [B,T] of texts of any lengths."""
    ids = np.zeros((len(texts), max(map(len, texts))), np.int64)
    mask = np.zeros_like(ids)
    for b, text in enumerate(texts):
        ids[b, :len(text)] = text
        mask[b, :len(text)] = 1
    return ids, mask


def timed(run, times):
    """Seconds of one run; if there are more, after one that does not count."""
    if times > 1:
        run()
    begin = time.perf_counter()
    for _ in range(times):
        run()
    return (time.perf_counter() - begin) / times


class Classify:
    """A batch of texts through a classifier; shorter ones are padded where the model
    takes a mask."""

    def __init__(self, session, texts):
        self.session = session
        ids, mask = padded(texts)
        self.inputs = {"input_ids": ids}
        if len(session.get_inputs()) > 1:
            self.inputs["attention_mask"] = mask
        elif not mask.all():
            raise ValueError("this model takes texts of one length")

    def values(self):
        return self.session.run(["logits"], self.inputs)[0].tolist()

    def seconds(self, times):
        return timed(lambda: self.session.run(["logits"], self.inputs), times)


class Feed:
    """A language model with states: keys and values that grow, or h and c. They stay in
    the runtime's own memory from step to step."""

    def __init__(self, session, texts):
        self.session = session
        self.ids = np.array(texts, np.int64)
        self.outputs = [o.name for o in session.get_outputs()]
        self.past = [i for i in session.get_inputs() if i.name.startswith("past")]

    def fresh(self):
        shapes = [[len(self.ids) if s == "B" else 0 if isinstance(s, str) else s
                   for s in i.shape] for i in self.past]
        return [ort.OrtValue.ortvalue_from_numpy(np.zeros(s, np.float32)) for s in shapes]

    def feed(self, ids, past):
        """Logits [B,V] as an OrtValue, and the states after ids [B,T]."""
        io = self.session.io_binding()
        io.bind_cpu_input("input_ids", ids)
        for i, value in zip(self.past, past):
            io.bind_ortvalue_input(i.name, value)
        for name in self.outputs:
            io.bind_output(name, "cpu")
        self.session.run_with_iobinding(io)
        logits, *states = io.get_outputs()
        return logits, states

    def values(self):
        return self.feed(self.ids, self.fresh())[0].numpy().tolist()

    def prefill_seconds(self, times):
        return timed(lambda: self.feed(self.ids, self.fresh()), times)

    def step_seconds(self, times):
        """Of one of `times` steps behind the texts."""
        states, last = self.feed(self.ids, self.fresh())[1], self.ids[:, -1:].copy()
        begin = time.perf_counter()
        for _ in range(times):
            _, states = self.feed(last, states)
        return (time.perf_counter() - begin) / times


class Torch:
    """A recurrent classifier in PyTorch."""

    def __init__(self, net, texts, threads):
        import torch
        from threadpoolctl import threadpool_limits
        self.torch, self.net, self.threads = torch, net, threads
        self.limits = threadpool_limits
        self.ids = torch.tensor(texts)

    def values(self):
        with self.torch.inference_mode():
            return self.net(self.ids).tolist()

    def seconds(self, times):
        self.torch.set_num_threads(self.threads)
        with self.torch.inference_mode(), self.limits(self.threads):
            return timed(lambda: self.net(self.ids), times)
