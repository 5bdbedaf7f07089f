#!/usr/bin/env python3
"""Schemathesis against a running seqd that serves the shipped models.

    schema.py URL [--seconds 180] [--seed N]

Generates requests from its /openapi.json, valid ones and others, one by one and in chains,
with all checks; requirements.txt has the version. Goes on in rounds of so many seconds until
20,000 requests were answered. Fails on a check and on a status of 5xx. Each process has its
share of the paths.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
LEAST = 20_000
ROUNDS = 5  # at most
# Paths that belong together (sessions and their links) are in one share.
SHARES = (r"^/v1/", r"^/(?!v1/)")


def start(url, share, seconds, seed, folder):
    command = [Path(sys.executable).with_name("st"), "--no-color",
               "--config-file", HERE / "schemathesis.toml", "run", f"{url}/openapi.json",
               "--checks", "all", "--mode", "all",
               "--phases", "examples,coverage,fuzzing,stateful",
               "--max-time", str(seconds),
               "--include-path-regex", share]
    if seed is not None:
        command += ["--seed", str(seed)]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "schema_hooks", "SEQD_URL": url,
                                "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1"}
    out = open(Path(folder) / "out.txt", "w+", encoding="utf-8")
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=out,
                            stderr=subprocess.STDOUT), out


def run_round(url, seconds, seed):
    """Whether all checks held."""
    good = True
    with tempfile.TemporaryDirectory() as root:
        running = []
        for i, share in enumerate(SHARES):
            folder = Path(root) / str(i)
            folder.mkdir()
            running.append(start(url, share, seconds, seed, folder))
        for process, out in running:
            good &= process.wait() == 0
            out.seek(0)
            print(out.read(), flush=True)
            out.close()
    return good


def counts(url):
    """Requests that the server has answered, by status."""
    with urllib.request.urlopen(f"{url}/metrics") as reply:
        text = reply.read().decode()
    found = {}
    for status, n in re.findall(r'^seqd_requests_total\{.*status="(\w+)".*\} (\d+)$', text,
                                re.MULTILINE):
        found[status] = found.get(status, 0) + int(n)
    return found


def answered_since(url, before):
    return {status: n - before.get(status, 0) for status, n in counts(url).items()
            if n > before.get(status, 0)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--seconds", type=int, default=180)
    parser.add_argument("--seed", type=int)
    arguments = parser.parse_args()
    url = arguments.url.rstrip("/")
    before = counts(url)
    good, total = True, 0
    for i in range(ROUNDS):
        seed = None if arguments.seed is None else arguments.seed + i
        good &= run_round(url, arguments.seconds, seed)
        answered = answered_since(url, before)
        total = sum(answered.values())
        print(f"{total} requests:",
              ", ".join(f"{status}: {n}" for status, n in sorted(answered.items())))
        if not good or total >= LEAST:
            break
    # The metrics know the usual statuses of 5xx; one that they don't know is "other".
    bad = [status for status in answered if status[0] == "5" or status == "other"]
    if bad:
        print(f"answered {', '.join(bad)}")
    if good and total < LEAST:
        print(f"only {total} requests, {LEAST} were to come")
    sys.exit(0 if good and not bad and total >= LEAST else 1)


if __name__ == "__main__":
    main()
