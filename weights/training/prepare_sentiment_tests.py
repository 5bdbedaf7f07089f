"""Write the cleaned sets that `evaluate` measures the sentiment models on.

    python prepare_sentiment_tests.py --data DATA --out FOLDER

Each file has one text a line, `label<TAB>text`, the label being positive or negative.
"""
import argparse
import os

import corpora_sentiment as corpora

LABELS = ("negative", "positive")


def write(path, rows):
    with open(path, "w", encoding="utf-8") as out:
        for text, label in rows:
            out.write(f"{LABELS[label]}\t{text}\n")
    print(f"{len(rows):6} texts in {os.path.basename(path)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder of the corpora")
    parser.add_argument("--out", required=True, help="folder to write to")
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    sets = {"sst2.test": corpora.read_sst2(args.data, "test"),
            "sst2.dev": corpora.read_sst2(args.data, "dev"),
            "imdb.test": corpora.read_imdb_test(args.data),
            "goemotions.test": corpora.read_goemotions(args.data, "test")}
    for site in ("amazon_cells", "imdb", "yelp"):
        name = "uci-" + site.split("_", maxsplit=1)[0] + ".test"
        sets[name] = corpora.read_uci(args.data, site)
    for name, rows in sets.items():
        write(os.path.join(args.out, name + ".tsv"), rows)


if __name__ == "__main__":
    main()
