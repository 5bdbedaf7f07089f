"""Measures the shipped models through the C core and prints one table.

    make -s -C weights/training evaluate DATA=../../../shared/data

Writes the cleaned test sets, feeds them through `evaluate` (libseq), trains the
Kneser-Ney baselines on the same training text, and compares with what each model
must reach. With --json the figures go to a file as well.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

from tokenizers import Tokenizer

import corpora_language
import corpora_music
import kneser_ney
import spelling

WEIGHTS = Path(__file__).resolve().parent.parent
HERE = Path(__file__).resolve().parent


def quiet(_line):
    """Only the table is printed."""


class Core:
    """The C program, and the folder of test sets."""

    def __init__(self, program, tests):
        self.program, self.tests = program, Path(tests)

    def run(self, verb, model, test, *more):
        command = [self.program, verb, WEIGHTS / model, self.tests / test, *more]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return json.loads(done.stdout)


def sentiment_rows(core):
    bars = {("sentiment-lstm", "sst2"): 84, ("sentiment-lstm", "imdb"): 87,
            ("sentiment-transformer", "sst2"): 82, ("sentiment-transformer", "imdb"): 86}
    names = {"sst2": "SST-2 test", "imdb": "IMDB test"}
    for (model, test), bar in bars.items():
        got = core.run("classify", model, test + ".test.tsv")
        percent = 100 * got["accuracy"]
        yield (model, f"{names[test]}, accuracy over {got['texts']} texts",
               f"{percent:.2f} %", f"at least {bar} %", percent >= bar)


def spelled_bits(core, model, test, train):
    """Sums of a word model, with the letters of unknown words charged to it."""
    with tempfile.NamedTemporaryFile("r", suffix=".txt") as words:
        got = core.run("score", model, test, words.name)
        unknown = words.read().splitlines()
    tokenizer = Tokenizer.from_file(str(WEIGHTS / model / "tokenizer.json"))
    letters = spelling.Speller(tokenizer, train).nats(unknown)
    got["bits_per_byte_spelled"] = (got["nats"] + letters) / math.log(2) / got["bytes"]
    return got


def language_rows(core, data):
    corpus = corpora_language.load_mixture(data, report=quiet)
    lstm = spelled_bits(core, "next-word-lstm", "next_word.test.txt", corpus["train"])
    ngram = kneser_ney.baseline(WEIGHTS / "next-word-lstm" / "tokenizer.json",
                                corpus["train"], corpus["test"])
    yield ("next-word-lstm", f"held-out perplexity, {lstm['targets']} tokens, "
           f"{ngram['vocabulary']} words, {100 * ngram['unknown']:.1f} % unknown",
           f"{lstm['perplexity']:.2f}", f"below {ngram['perplexity']:.2f} (KN 5-gram)",
           lstm["perplexity"] < ngram["perplexity"])
    own = core.run("score", "next-word-transformer", "next_word.test.txt")
    theirs = lstm["bits_per_byte_spelled"]
    yield ("next-word-transformer", f"held-out bits per byte, {own['bytes']} bytes",
           f"{own['bits_per_byte']:.4f}", f"below {theirs:.4f} (LSTM, unknown words spelled)",
           own["bits_per_byte"] < theirs)
    far = core.run("score", "next-word-transformer", "wikitext2.test.txt")
    yield ("next-word-transformer", "WikiText-2 test, zero-shot, bits per byte",
           f"{far['bits_per_byte']:.4f}", "reported", True)


def music_rows(core, data):
    corpus = corpora_music.load_tunes(data, report=quiet)
    train = corpora_music.augmented(corpus["train"])
    got = core.run("score", "next-note-lstm", "next_note.test.txt")
    ngram = kneser_ney.baseline(WEIGHTS / "next-note-lstm" / "tokenizer.json", train,
                                corpus["test"])
    nats = got["nats"] / got["targets"]
    yield ("next-note-lstm", f"NLL per note word, {got['targets']} note words",
           f"{nats:.4f} nats", f"below {ngram['nats_per_target']:.4f} (KN 5-gram)",
           nats < ngram["nats_per_target"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder of the corpora")
    parser.add_argument("--program", required=True, help="the C program `evaluate`")
    parser.add_argument("--tests", help="folder for the test sets (kept; default: temporary)")
    parser.add_argument("--json", help="also write the rows here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        tests = options.tests or scratch
        for script in ("prepare_sentiment_tests.py", "prepare_language_tests.py"):
            subprocess.run([sys.executable, HERE / script, "--data", options.data, "--out",
                            tests], check=True, stdout=subprocess.DEVNULL)
        core = Core(options.program, tests)
        rows = []
        print("| model | measured on | result | bar | reached |\n|---|---|---|---|---|")
        for source in (sentiment_rows(core), language_rows(core, options.data),
                       music_rows(core, options.data)):
            for row in source:
                rows.append(row)
                print("| {} | {} | {} | {} | {} |".format(
                    *row[:4], "yes" if row[4] else "**no**"), flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if all(row[4] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
