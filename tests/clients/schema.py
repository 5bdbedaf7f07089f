#!/usr/bin/env python3
"""Schemathesis against a running seqd that serves the shipped models.

    schema.py URL [--seconds 180] [--seed N]

Generates requests from its /openapi.json, valid ones and others, one by one and in chains,
with all checks; requirements.txt has the version. Fails on a check, on a status of 5xx, and
if fewer than 20,000 requests came together. Each process has its share of the paths.
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
# Paths that belong together (sessions and their links) are in one share.
SHARES = (r"^/v1/", r"^/(?!v1/)")


def start(url, share, arguments, folder):
    command = [Path(sys.executable).with_name("st"), "--no-color",
               "--config-file", HERE / "schemathesis.toml", "run", f"{url}/openapi.json",
               "--checks", "all", "--mode", "all",
               "--phases", "examples,coverage,fuzzing,stateful",
               "--max-time", str(arguments.seconds),
               "--include-path-regex", share]
    if arguments.seed is not None:
        command += ["--seed", str(arguments.seed)]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "schema_hooks", "SEQD_URL": url,
                                "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1"}
    out = open(Path(folder) / "out.txt", "w+", encoding="utf-8")
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=out,
                            stderr=subprocess.STDOUT), out


def counts(url):
    """Requests that the server has answered, by status."""
    with urllib.request.urlopen(f"{url}/metrics") as reply:
        text = reply.read().decode()
    found = {}
    for status, n in re.findall(r'^seqd_requests_total\{.*status="(\d+)".*\} (\d+)$', text,
                                re.MULTILINE):
        found[status] = found.get(status, 0) + int(n)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--seconds", type=int, default=180)
    parser.add_argument("--seed", type=int)
    arguments = parser.parse_args()
    url = arguments.url.rstrip("/")
    before = counts(url)
    failed = False
    with tempfile.TemporaryDirectory() as root:
        running = []
        for i, share in enumerate(SHARES):
            folder = Path(root) / str(i)
            folder.mkdir()
            running.append(start(url, share, arguments, folder))
        for process, out in running:
            failed |= process.wait() != 0
            out.seek(0)
            print(out.read())
            out.close()
    answered = {status: n - before.get(status, 0) for status, n in counts(url).items()}
    total = sum(answered.values())
    print(f"{total} requests:",
          ", ".join(f"{status}: {n}" for status, n in sorted(answered.items()) if n))
    bad = {status for status, n in answered.items() if n and status[0] == "5"}
    if bad:
        print(f"answered {', '.join(sorted(bad))}")
    if total < LEAST:
        print(f"only {total} requests, {LEAST} were to come")
    sys.exit(1 if failed or bad or total < LEAST else 0)


if __name__ == "__main__":
    main()
