"""Asks a running seqd with the shipped models for the examples of its openapi.json.

    build/release/seqd & python3 server/api/examples/refresh.py [http://127.0.0.1:8080]

Writes one file per form of an operation beside this one; build again afterwards.
"""

import json
import sys
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
BASE = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080"


def fetch(path, body=None):
    request = urllib.request.Request(BASE + path, data=body,
                                     headers={"Content-Type": "application/json",
                                              "X-Request-Id": "example"})
    with urllib.request.urlopen(request) as reply:
        return reply.read()


def new_session():
    return json.loads(fetch("/v1/sessions", b"{}"))["id"]


for path, methods in json.loads(fetch("/openapi.json"))["paths"].items():
    operation = methods.get("post", {})
    form = operation.get("requestBody", {"content": {}})["content"].get("application/json")
    if not form or "{version}" in path:
        continue
    for name, example in form["examples"].items():
        values = {p["name"]: p["example"] if "example" in p else new_session()
                  for p in operation.get("parameters", [])}
        answer = fetch(path.format(**values), json.dumps(example["value"]).encode())
        (HERE / f"{name}.json").write_bytes(answer)
        print(f"{path} {name}: {len(answer)} bytes")
