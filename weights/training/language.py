"""Train the two English language models.

    python language.py --data ../../../shared/data --model lstm \\
        --out ../next-word-lstm
    python language.py --data ../../../shared/data --model transformer \\
        --out ../next-word-transformer

Each writes config.json, tokenizer.json and model.safetensors. The tokenizer is
made from the training lines first and the model is trained through that file.
"""

import argparse
import collections
import os

import torch
from safetensors.torch import load_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers, processors, trainers

import corpora_language
import export
import line_gpt2
import line_lstm
import recurrent
import streams

# A word with its contractions, or a single other visible character.
WORD = r"[\p{L}\p{N}]+(?:'[\p{L}]+)*|[^\s\p{L}\p{N}]"
END_OF_TEXT = "<|endoftext|>"
POSITIONS = 256
# About what the shipped models were trained with.
DEFAULTS = {"lstm": {"epochs": 2.0, "width": 512, "rate": 2e-3},
            "transformer": {"epochs": 1.6, "width": 256, "rate": 2e-3}}


def word_tokenizer(lines, size):
    """WordLevel over the size most frequent words; id order is frequency order.

    Typographic apostrophes and quotation marks become plain ones, as in the
    training text."""
    normalizer = normalizers.Sequence(
        [normalizers.NFC()] + [normalizers.Replace(old, new) for old, new in
                               (("\u2019", "'"), ("\u2018", "'"),
                                ("\u201c", '"'), ("\u201d", '"'))])
    splitter = pre_tokenizers.Split(Regex(WORD), behavior="removed", invert=True)
    counts = collections.Counter(
        word for line in lines for word, _ in splitter.pre_tokenize_str(line))
    words = sorted(counts, key=lambda w: (-counts[w], w))[:size - 2]
    vocabulary = {w: i for i, w in enumerate(["<unk>", "<s>"] + words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens(["<unk>", "<s>"])
    return tokenizer


def byte_tokenizer(lines, size):
    """Byte-level BPE as GPT-2's, trained on the lines."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=size, special_tokens=[END_OF_TEXT], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    end = tokenizer.token_to_id(END_OF_TEXT)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END_OF_TEXT} $A", special_tokens=[(END_OF_TEXT, end)])
    return tokenizer


def tokenizer_for(make, corpus, size, options):
    """The tokenizer of the folder to go on from, or a new one."""
    if options.start_from:
        return Tokenizer.from_file(
            os.path.join(options.start_from, "tokenizer.json"))
    return make(corpus["train"], options.vocabulary or size)


def train_lstm(corpus, options):
    tokenizer = tokenizer_for(word_tokenizer, corpus, 10240, options)
    lines = {split: streams.encode_lines(tokenizer, corpus[split])
             for split in ("train", "dev")}
    config = {"architectures": ["RNNForCausalLM"], "model_type": "rnn",
              "cell": "lstm", "vocab_size": tokenizer.get_vocab_size(),
              "embedding_dim": options.width, "hidden_size": options.width,
              "num_layers": options.layers or 1, "bidirectional": False,
              "bias": True, "tie_word_embeddings": True,
              "bos_token_id": 1, "eos_token_id": 1, "unk_token_id": 0}
    torch.manual_seed(options.seed)
    model = recurrent.RNNForCausalLM(config, dropout=options.dropout)
    torch.nn.init.normal_(model.embedding.weight, std=0.05)
    torch.nn.init.zeros_(model.decoder.bias)
    if options.start_from:
        tensors = load_file(os.path.join(options.start_from, "model.safetensors"))
        tensors["decoder.weight"] = tensors["embedding.weight"]
        model.load_state_dict({n: t.float() for n, t in tensors.items()})
    runner = line_lstm.LineModel(model, config["bos_token_id"])
    names = [name for name in model.state_dict() if name != "decoder.weight"]

    def save():
        tensors = {name: model.state_dict()[name] for name in names}
        export.write_model(options.out, config, tensors, tokenizer)

    line_lstm.train(runner, lines["train"], lines["dev"][::3], {
        "epochs": options.epochs, "minutes": options.minutes, "rows": 64,
        "steps": 48, "rate": options.rate, "clip": 1.0, "head": 1536,
        "samples": 1024, "exact_from": 0.85, "measures": 12, "patience": 3,
        "seed": options.seed}, save)


def train_transformer(corpus, options):
    tokenizer = tokenizer_for(byte_tokenizer, corpus, 6144, options)
    end = tokenizer.token_to_id(END_OF_TEXT)
    lines = {split: [ids[:POSITIONS] for ids in
                     streams.encode_lines(tokenizer, corpus[split])]
             for split in ("train", "dev")}
    dev_text = corpus["dev"][::3]
    config = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2",
              "vocab_size": tokenizer.get_vocab_size(), "n_positions": POSITIONS,
              "n_embd": options.width, "n_layer": options.layers or 4,
              "n_head": options.width // 64, "n_inner": None,
              "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
              "scale_attn_weights": True, "tie_word_embeddings": True,
              "bos_token_id": end, "eos_token_id": end}
    torch.manual_seed(options.seed)
    model = line_gpt2.Gpt2(config)
    if options.start_from:
        model.load_tensors(load_file(
            os.path.join(options.start_from, "model.safetensors")))

    def save():
        export.write_model(options.out, config, model.tensors(), tokenizer)

    line_gpt2.train(model, lines["train"], lines["dev"][::3], {
        "epochs": options.epochs, "minutes": options.minutes, "tokens": 4096,
        "adam_rate": options.rate,
        "muon_rate": 10 * options.rate, "end": end, "seed": options.seed, "measures": 20,
        "dev_bytes": sum(len(t.encode()) + 1 for t in dev_text)}, save)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder of the corpora")
    parser.add_argument("--model", required=True,
                        choices=("lstm", "transformer"))
    parser.add_argument("--out", required=True, help="model folder to write")
    parser.add_argument("--epochs", type=float)
    parser.add_argument("--width", type=int)
    parser.add_argument("--layers", type=int)
    parser.add_argument("--vocabulary", type=int)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--minutes", type=float, default=1e9,
                        help="training also ends after so many")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start-from", help="go on from this folder's weights")
    options = parser.parse_args()
    for name, value in DEFAULTS[options.model].items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    corpus = corpora_language.load_mixture(options.data)
    {"lstm": train_lstm, "transformer": train_transformer}[options.model](
        corpus, options)


if __name__ == "__main__":
    main()
