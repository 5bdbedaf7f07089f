"""Write the held-out texts of the language models, one text per line.

    python prepare_language_tests.py --data ../../../shared/data --out /tmp/eval

next_word.test.txt, wikitext2.test.txt and next_note.test.txt are what
`evaluate` feeds through libseq, each line by itself from a fresh state.
"""

import argparse
from pathlib import Path

import corpora_language
import corpora_music


def write_lines(path, lines):
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    size = sum(len(line.encode()) + 1 for line in lines)
    print(f"{path.name}: {len(lines)} lines, "
          f"{sum(len(line.split()) for line in lines)} words, {size} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder of the corpora")
    parser.add_argument("--out", required=True, help="where the files go")
    options = parser.parse_args()
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    write_lines(out / "next_word.test.txt",
                corpora_language.load_mixture(options.data)["test"])
    write_lines(out / "wikitext2.test.txt",
                corpora_language.load_wikitext(options.data))
    write_lines(out / "next_note.test.txt",
                corpora_music.load_tunes(options.data)["test"])


if __name__ == "__main__":
    main()
