"""Interleaved runs, and what is kept of them."""

import statistics
import time


class Figure:
    """Seconds of one run each: median, min and max."""

    def __init__(self, runs):
        self.runs = runs
        self.median, self.min, self.max = statistics.median(runs), min(runs), max(runs)

    def as_json(self):
        return {"median": self.median, "min": self.min, "max": self.max,
                "runs": self.runs}


def repeats(run, slice_s, most):
    """How often to call run(times) -> seconds of one, so that a slice takes slice_s. The
    first run of all warms up what grows on demand and is not looked at."""
    run(1)
    once = max(run(1), 1e-6)
    return max(1, min(most, int(slice_s / once)))


# Threads of ONNX Runtime and PyTorch spin for a while behind a run, and would take a core
# from whoever comes next.
SETTLE_S = 0.02


def race(sides, rounds, slice_s, most=4096):
    """sides: name -> run(times) -> seconds of one. Every round runs each side once, in
    turn, so that a neighbour on the machine disturbs all alike. name -> Figure."""
    times = {name: repeats(run, slice_s, most) for name, run in sides.items()}
    runs = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            runs[name].append(run(times[name]))
            time.sleep(SETTLE_S)
    return {name: Figure(values) for name, values in runs.items()}


class Clock:
    """The bound of the whole run."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def left(self):
        return self.end - time.monotonic()
