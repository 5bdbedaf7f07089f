"""What schemathesis is told about seqd; schema.py loads this.

Everything it generates is sent. Two things are put into requests that no schema can say
(names of models and of sessions that exist), and one out of them. No check is switched off;
a failure is forgiven only for a reason that is written below.
"""

import json
import os
import re
import urllib.request
import zlib

import jsonschema_rs
import schemathesis

BASE = os.environ["SEQD_URL"]
MAX_EVENTS = 1000  # max-stream-events of schemathesis.toml


def ask(path, body=None):
    request = urllib.request.Request(
        BASE + path, data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)


MODELS = [model["id"] for model in ask("/v1/models")["data"]]
DOCUMENT = ask("/openapi.json")


# ---- what goes into requests --------------------------------------------------------


class Sessions:
    """Names of sessions: a path with a made-up one only ever answers 404."""

    LASTS = 50  # requests, then a new one: each step makes it longer

    def __init__(self):
        self.name, self.uses = None, 0

    def take(self, method):
        if method == "DELETE":
            return ask("/v1/sessions", b"{}")["id"]
        if self.uses % self.LASTS == 0:
            self.name = ask("/v1/sessions", b"{}")["id"]
        self.uses += 1
        return self.name


SESSIONS = Sessions()


def pick(case):
    """A number that depends on the request alone, so that failures can be replayed."""
    return zlib.crc32(repr((case.path, case.path_parameters, case.body)).encode())


def name_what_exists(case, number):
    """Most made-up names become names of what is there; the others are answered 404."""
    if number % 4 == 0:
        return
    parameters = case.path_parameters or {}
    model = MODELS[number // 4 % len(MODELS)]
    if isinstance(parameters.get("model"), str) and parameters["model"] not in MODELS:
        parameters["model"] = model
    if isinstance(parameters.get("version"), str):
        parameters["version"] = "1"
    if isinstance(parameters.get("session"), str):
        parameters["session"] = SESSIONS.take(case.method.upper())
    if isinstance(case.body, dict) and isinstance(case.body.get("model"), str):
        if case.body["model"] not in MODELS:
            case.body["model"] = model


def give_time(body):
    """The protocol's `timeout` is in microseconds: with a few of them 503 is the answer
    that was asked for, and whether it comes depends on the machine."""
    parameters = body.get("parameters") if isinstance(body, dict) else None
    if isinstance(parameters, dict) and isinstance(parameters.get("timeout"), int):
        parameters["timeout"] = max(parameters["timeout"], 60_000_000)


@schemathesis.hook
def before_call(context, case, kwargs):
    del context, kwargs
    give_time(case.body)
    phase = case.meta.phase.name.value if case.meta else ""
    if case.meta and case.meta.generation.mode.is_positive and phase != "stateful":
        name_what_exists(case, pick(case))


# ---- what is forgiven ---------------------------------------------------------------

# How a body is refused that is not what the schema says it must be.
MALFORMED = re.compile(r"unknown field|must be (an?|one of) |is missing|not JSON")

# The `parameters` of /v2 may hold anything, and are ignored as far as they are not known.
# Still names with a NUL byte and integers of more than 64 bits are refused wherever they
# are, and no schema can say that of what is inside an open object.
IN_OPEN = re.compile(r"not JSON: (NUL byte in object key|too big (negative )?integer)")


def message_of(response):
    error = json.loads(response.content)["error"]
    return error if isinstance(error, str) else error["message"]


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Reason: a schema can't say which fields go together, which model has a second text,
    a mask or attention, which labels it knows, or how many bytes a text has. So a request
    that satisfies the schema may be refused for what it asks, in a status that is
    documented; but never as malformed."""
    del context
    if type(failure).__name__ != "RejectedPositiveData":
        return True
    if response.status_code not in (400, 413, 422, 424):
        return True
    if case.media_type == "application/octet-stream":
        return False  # nor how binary tensors are framed
    message = message_of(response)
    if case.operation.path.startswith("/v2/") and IN_OPEN.match(message):
        return False
    return bool(MALFORMED.search(message))


# ---- one more check -----------------------------------------------------------------


def event_validators(operation_id):
    """What data of events may be: validators of JSON, and plain words."""
    for item in DOCUMENT["paths"].values():
        for operation in item.values():
            if operation["operationId"] != operation_id:
                continue
            content = operation["responses"]["200"]["content"]["text/event-stream"]
            forms = content["schema"]["properties"]["data"]["anyOf"]
            return ([jsonschema_rs.validator_for(
                {**form["contentSchema"], "components": DOCUMENT["components"]})
                for form in forms if "contentSchema" in form],
                [form["const"] for form in forms if "const" in form])
    raise AssertionError(operation_id)


@schemathesis.check
def events_have_their_shape(ctx, response, case):
    """Data of events is JSON of a documented shape, and the last one an error or the last
    word, unless the stream was too long to be read to its end."""
    del ctx
    types = response.headers.get("content-type", [""])
    if not types[0].startswith("text/event-stream"):
        return
    validators, words = event_validators(case.operation.definition.raw["operationId"])
    data = [line[6:] for line in response.text.split("\n") if line.startswith("data: ")]
    assert data, "a stream without an event"
    if words and data[-1] not in words and len(data) < MAX_EVENTS:
        assert "error" in json.loads(data[-1]), data[-1]
    for each in data[:-1] if data[-1] in words else data:
        value = json.loads(each)
        assert any(v.is_valid(value) for v in validators), f"undocumented event: {each}"
