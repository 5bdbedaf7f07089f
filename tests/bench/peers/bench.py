"""seqd beside its peers, in one run. tests/bench/run.sh makes the venv and calls it.

    python bench.py BUILD_DIR WORK_DIR [quick]

Prints the table, writes WORK_DIR/bench.json and WORK_DIR/chart.svg. Exits 1 if two sides
compute different things. A bar that is missed is no error.
"""

import json
import os
import platform
import sys
import time
from itertools import product
from pathlib import Path

import chart
import curves
import folders
import report
import servers
from ours import Ceiling, Models, Unsupported
from race import Clock
from rows import Bench, Disagreement, all_rows

LIMIT_S = {"full": 900, "quick": 110}
ROUNDS = {"full": 7, "quick": 3}
SLICE_S = {"full": 0.12, "quick": 0.05}
LOAD_S = {"full": 3, "quick": 2}
LOAD_ROUNDS = {"full": 3, "quick": 2}
AFTER_S = {"full": 160, "quick": 10}  # typing and curves
CONNECTIONS = {"full": [1, 16, 64], "quick": [16]}


def http_seconds(mode):
    """What servers.http_rows takes; 25 s are for starts and first requests."""
    return 25 + 3 * len(CONNECTIONS[mode]) * LOAD_ROUNDS[mode] * LOAD_S[mode]


class Results:
    """All that is known so far; shown as it comes."""

    def __init__(self):
        self.rows, self.curves, self.wrong = [], [], []

    def add(self, record):
        self.rows.append(record)
        report.show(record)

    def attempt(self, part, work, make):
        """make() gives a record, or says why there is none."""
        try:
            self.add(make())
        except Unsupported as reason:
            self.add({"part": part, "work": work, "skipped": str(reason)})
        except Disagreement as reason:
            self.wrong.append(str(reason))
            self.add({"part": part, "work": work, "skipped": f"NOT TIMED, {reason}"})


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo")
                  if line.startswith("model name")), platform.machine())
    return f"{model}, {os.cpu_count()} cores"


def measured(ceiling, threads):
    """The ceilings by themselves, for the head of the report."""
    out = {"threads": threads, "gflops": 1e-9 / ceiling.fma(threads)}
    for mb in (8, 64, 512):
        out[f"read_{mb}_mb"] = 1e-9 / ceiling.read(threads, mb << 20)
    return out


def in_process(results, bench, mode, clock):
    for row in all_rows():
        for threads in (1, 2):
            if mode == "quick" and not row.quick:
                continue
            if clock.left() < http_seconds(mode) + AFTER_S[mode]:
                results.add({"part": row.part, "work": row.label,
                             "skipped": "out of time"})
                continue
            results.attempt(row.part, row.label, lambda: bench.run(row, threads))


def over_http(results, build, work, mode, clock):
    part = "HTTP, sentiment of 32 tokens"
    if clock.left() < http_seconds(mode):
        results.add({"part": part, "work": "all rows", "skipped": "out of time"})
        return
    try:
        for record in servers.http_rows(build, work, CONNECTIONS[mode],
                                        LOAD_ROUNDS[mode], LOAD_S[mode]):
            results.add(record)
    except Unsupported as reason:
        results.add({"part": part, "work": "all rows", "skipped": str(reason)})
    except Disagreement as reason:
        results.wrong.append(str(reason))
        results.add({"part": part, "work": "all rows", "skipped": f"NOT TIMED, {reason}"})


def growth(results, bench, build, work, clock):
    try:
        for curve in curves.all_curves(bench, build, work, LOAD_S["full"], clock):
            report.show_curve(curve)
            results.curves.append(curve)
    except Disagreement as reason:
        results.wrong.append(str(reason))


def save(saved, work):
    (work / "bench.json").write_text(json.dumps(saved, indent=1) + "\n")
    chart.draw(saved, work / "chart.svg")


def main(build, work, mode):
    begin, results = time.monotonic(), Results()
    names = [n for n in folders.SIZES if mode == "full" or n != "gpt2-124m"]
    int8 = ("minilm", "gpt2-30m", "gpt2-124m") if mode == "full" else ()
    folders.make(work / "models", names, int8)
    clock = Clock(LIMIT_S[mode])
    programs = build / "tests" / "bench"
    ceiling, models = Ceiling(programs / "bench_ceiling"), Models(programs / "bench_models")
    bench = Bench(work / "models", models, ceiling, ROUNDS[mode], SLICE_S[mode])
    try:
        ceilings = [measured(ceiling, n) for n in (1, 2)]
    except Unsupported as reason:
        sys.exit(f"make bench: {reason}")
    load = os.getloadavg()[0]
    note = (f"medians of interleaved runs; load average before the run {load:.1f}"
            + (": others use the machine, trust ratios" if load > 0.5 else ""))
    print(f"{machine()}; {note}")
    for c in ceilings:
        print(", ".join(f"{k} {v:.4g}" for k, v in c.items()))
    report.show_header()
    in_process(results, bench, mode, clock)
    over_http(results, build, work, mode, clock)
    for model, unit in product(("lstm-650", "gpt2-30m"), ("token", "word")):
        results.attempt("next word while typing, 64 tokens", model,
                        lambda: servers.typing_row(build, work, model, unit,
                                                   ROUNDS[mode]))
    saved = {"machine": machine(), "mode": mode, "note": note, "load_average": load,
             "ceilings": ceilings, "rows": results.rows, "curves": results.curves}
    save(saved, work)
    if mode == "full":
        growth(results, bench, build, work, clock)
    ceiling.close()
    models.close()
    report.show_sum(results.rows)
    saved["seconds"] = time.monotonic() - begin
    save(saved, work)
    print(f"{work}/bench.json and chart.svg written, {saved['seconds']:.0f} s")
    for reason in results.wrong:
        print(f"make bench: {reason}", file=sys.stderr)
    return 1 if results.wrong else 0


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4) or sys.argv[3:] not in ([], ["quick"], ["full"]):
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(),
                  (sys.argv[3:] or ["full"])[0]))
