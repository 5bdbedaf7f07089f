"""Train the model of monophonic folk tunes.

    python music.py --data ../../../shared/data --out ../next-note-lstm
    python music.py --sample ../next-note-lstm

Writes config.json, tokenizer.json and model.safetensors. corpora_music.py says
what a note word is. Every training tune is seen in seven keys.
"""

import argparse
import collections
import json
import os

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

import corpora_music
import export
import line_lstm
import recurrent
import streams

SEED = 1


def note_tokenizer(lines):
    """WordLevel over the note words of the training tunes, frequent ones first."""
    counts = collections.Counter(word for line in lines for word in line.split())
    words = sorted(counts, key=lambda w: (-counts[w], w))
    vocabulary = {w: i for i, w in enumerate(["<unk>", "<s>"] + words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens(["<unk>", "<s>"])
    return tokenizer


@torch.no_grad()
def sample_tune(model, tokenizer, temperature, seed, longest=400):
    """One new tune: each word drawn from the model's probabilities."""
    generator = torch.Generator().manual_seed(seed)
    model.eval()
    ids, state, words = torch.tensor([[1]]), None, []
    while len(words) < longest:
        logits, state = model(ids, state)
        logits[0, -1, 0] = float("-inf")      # never <unk>
        shares = torch.softmax(logits[0, -1] / temperature, 0)
        ids = torch.multinomial(shares, 1, generator=generator).view(1, 1)
        if int(ids) == 1:
            break
        words.append(tokenizer.id_to_token(int(ids)))
    return " ".join(words)


def print_tunes(folder, count, temperature):
    """Tunes of the model in a folder; the seeds are 1, 2, .."""
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    model = recurrent.RNNForCausalLM(config)
    tensors = load_file(os.path.join(folder, "model.safetensors"))
    tensors["decoder.weight"] = tensors["embedding.weight"]
    model.load_state_dict({name: t.float() for name, t in tensors.items()})
    tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    for seed in range(1, count + 1):
        print(sample_tune(model, tokenizer, temperature, seed), end="\n\n")


def train_model(options):
    tunes = corpora_music.load_tunes(options.data)
    train = corpora_music.augmented(tunes["train"])
    tokenizer = note_tokenizer(train)
    config = {"architectures": ["RNNForCausalLM"], "model_type": "rnn",
              "cell": "lstm", "vocab_size": tokenizer.get_vocab_size(),
              "embedding_dim": options.width, "hidden_size": options.width,
              "num_layers": options.layers, "bidirectional": False,
              "bias": True, "tie_word_embeddings": True,
              "bos_token_id": 1, "eos_token_id": 1, "unk_token_id": 0}
    torch.manual_seed(SEED)
    model = recurrent.RNNForCausalLM(config, dropout=options.dropout)
    torch.nn.init.normal_(model.embedding.weight, std=0.05)
    torch.nn.init.zeros_(model.decoder.bias)
    runner = line_lstm.LineModel(model, config["bos_token_id"])

    def save():
        tensors = {name: value for name, value in model.state_dict().items()
                   if name != "decoder.weight"}
        export.write_model(options.out, config, tensors, tokenizer)

    line_lstm.train(
        runner, streams.encode_lines(tokenizer, train),
        streams.encode_lines(tokenizer, tunes["dev"]),
        {"epochs": options.epochs, "minutes": options.minutes, "rows": 32,
         "steps": 64, "rate": options.rate, "clip": 1.0, "head": 0,
         "samples": 0, "exact_from": 0.0,
         "measures": 20, "patience": 4, "seed": SEED}, save)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="folder of the corpora")
    parser.add_argument("--out", help="model folder to write")
    parser.add_argument("--sample", metavar="FOLDER",
                        help="print new tunes of this model instead of training")
    parser.add_argument("--count", type=int, default=3, help="how many tunes")
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--epochs", type=float, default=5.0)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--minutes", type=float, default=1e9,
                        help="training also ends after so many")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    if options.sample:
        print_tunes(options.sample, options.count, options.temperature)
    elif options.data and options.out:
        train_model(options)
    else:
        parser.error("--data and --out, or --sample, must be given")


if __name__ == "__main__":
    main()
