"""Train and write one of the two sentiment models.

    python sentiment.py --data DATA --model lstm        --out ../sentiment-lstm
    python sentiment.py --data DATA --model transformer --out ../sentiment-transformer

in this order. Steps, each explained where it is done: clean and deduplicate the
corpora, make the tokenizer, label the unlabelled reviews with a linear teacher, factor
co-occurrence counts into word vectors, train on short and long texts side by side, keep
the moving average that is best on the dev sets, fit a temperature there, export.
Needs torch, transformers, tokenizers, scipy and zstandard; one CPU core is enough.
"""
import argparse
import copy
import math
import os
import time

import numpy as np
import torch
from torch import nn

import corpora_sentiment
import export
import linear_teacher
import sentiment_text as text_tools
import word_vectors
from recurrent import RNNForSequenceClassification

SEED = 2026
LABELS = {"0": "negative", "1": "positive"}
SHORT = {"sst": 1.0, "polarity": 2.0}
OTHERS = {"products": 1.0, "pros_cons": 0.3, "reddit": 0.5}
SETTINGS = {
    "lstm": dict(vocabulary=30000, size=128, hidden=128, attention=64, dropout=0.4,
                 word_dropout=0.1, decay=0.0, bf16=False),
    "transformer": dict(vocabulary=16000, size=128, layers=2, heads=2, inner=512,
                        positions=512, dropout=0.15, word_dropout=0.1, decay=0.01,
                        bf16=True),
}
DEV_WATCHED = 1000  # texts of each dev set that are looked at during training
# One stage of training each. `epochs` of the short texts set the learning rate's
# cosine, `stop` ends the stage before it is over; a batch of long texts is taken every
# `long_every` steps; `unlabelled`, `sentences` and `denied` are the weights of the
# reviews that the linear teacher labelled, of the sentences that the LSTM labelled and
# of the made-up denials; `others` scales the texts that are not about films. The LSTM
# labels sentences but does not learn from them: tried, it cost two points on IMDB.
STAGES = {
    "lstm": [
        dict(window=180, rate=1.5e-3, epochs=1.7, stop=320, long_every=1, long_batch=64,
             short_batch=224, unlabelled=0.0, sentences=0.0, denied=0.0),
        dict(window=128, rate=1e-3, epochs=3, stop=198, long_every=4, long_batch=32,
             short_batch=256, unlabelled=1.0, sentences=0.0, denied=0.0),
        dict(window=128, rate=1e-3, epochs=0.2, stop=None, long_every=4, long_batch=32,
             short_batch=160, unlabelled=1.0, sentences=0.0, denied=10.0, others=0.0)],
    "transformer": [
        dict(window=128, rate=1e-3, epochs=3, stop=1014, long_every=2, long_batch=32,
             short_batch=256, unlabelled=0.5, sentences=0.6, denied=0.0)],
}
LABELLER = 2  # the stage after which the LSTM labels sentences


def texts_of(rows):
    return [text for text, _ in rows]


def labels_of(rows):
    return np.array([label for _, label in rows], dtype=np.float32)


class Material:
    """Everything a model is trained on, as ids: made once per tokenizer."""

    def __init__(self, data, kind, settings, log):
        self.corpora = corpora = corpora_sentiment.Corpora(data)
        log(corpora.report())
        reviews = texts_of(corpora.imdb + corpora.unlabelled + corpora.reviews)
        others = texts_of(corpora.sst + corpora.products + corpora.pros_cons
                          + corpora.reddit)
        make = {"lstm": text_tools.word_tokenizer,
                "transformer": text_tools.piece_tokenizer}[kind]
        self.tokenizer = make([(reviews, 1), (others, 1),
                               (texts_of(corpora.polarity), 4)],
                              settings["vocabulary"])
        self.n_words = self.tokenizer.get_vocab_size()
        names = ["imdb", "unlabelled", "reviews", "imdb_dev", "sst_dev", "denied",
                 *SHORT, *OTHERS]
        self.ids = {name: text_tools.encode(self.tokenizer,
                                            texts_of(getattr(corpora, name)))
                    for name in names}
        self.labels = {name: labels_of(getattr(corpora, name)) for name in names}
        self.ids["sentences"], self.labels["sentences"] = [], np.zeros(0, np.float32)
        log(f"{self.n_words} tokens; encoded")
        self._label_unlabelled(log)
        self._make_vectors(settings["size"], log)

    def _label_unlabelled(self, log):
        teacher = linear_teacher.LinearTeacher()
        teacher.fit(self.ids["imdb"], self.labels["imdb"])
        hit = teacher.calibrate(self.ids["imdb_dev"], self.labels["imdb_dev"])
        self.labels["unlabelled"] = teacher.probability(self.ids["unlabelled"])
        log(f"linear teacher: {100 * hit:.1f} % on the IMDB dev set")

    def _make_vectors(self, size, log):
        ids, labels = self.ids, self.labels
        ratios = [word_vectors.log_count_ratio(ids["imdb"], labels["imdb"],
                                               self.n_words),
                  word_vectors.log_count_ratio(
                      ids["sst"] + ids["polarity"],
                      np.concatenate([labels["sst"], labels["polarity"]]),
                      self.n_words)]
        every = sum((ids[n] for n in ("imdb", "unlabelled", "reviews", *SHORT,
                                       *OTHERS)), [])
        self.vectors = word_vectors.word_vectors(every, self.n_words, size, ratios)
        for twin, original in text_tools.typographic_twins(self.tokenizer):
            self.vectors[twin] = self.vectors[original]
        log("word vectors made")


def sentence_rows(corpora, limit, seed=SEED):
    """Sentences of 4 to 40 words out of reviews: (text, set name, review number)."""
    rows = []
    for name in ("imdb", "unlabelled"):
        for number, (text, _) in enumerate(getattr(corpora, name)):
            rows += [(s, name, number) for s in corpora_sentiment.sentences(text)
                     if 4 <= len(s.split()) <= 40]
    chosen = np.random.RandomState(seed).permutation(len(rows))[:limit]
    return [rows[i] for i in chosen]


def label_sentences(model, material, path, log, limit=160000):
    """Self-training: sentences of reviews with the first model's soft labels.

    A sentence of a review known, or believed, to be positive is somewhat more likely
    to be positive itself, so that opinion is added to the model's log odds. Only
    sentences with a clear label are kept. Written as `probability<TAB>text` lines.
    """
    rows = sentence_rows(material.corpora, limit)
    rows = [r for r in rows if not material.corpora.measured.holds(r[0])]
    ids = text_tools.encode(material.tokenizer, [r[0] for r in rows])
    logits = predict(model, ids).numpy()
    odds = logits[:, 1] - logits[:, 0]
    review = np.array([material.labels[name][number] for _, name, number in rows])
    review = np.clip(np.log((review + 1e-6) / (1 - review + 1e-6)), -3, 3)
    positive = 1 / (1 + np.exp(-(odds + 0.3 * review)))
    clear = np.abs(positive - 0.5) > 0.2
    with open(path, "w", encoding="utf-8") as out:
        for i in np.flatnonzero(clear):
            out.write(f"{positive[i]:.4f}\t{rows[i][0]}\n")
    log(f"{clear.sum()} of {len(rows)} sentences labelled")


def add_sentences(material, path):
    """The sentences of label_sentences as one more group of short texts."""
    with open(path, encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t", 1) for line in file]
    ids = text_tools.encode(material.tokenizer, [text for _, text in rows])
    labels = np.array([float(p) for p, _ in rows], dtype=np.float32)
    material.ids["sentences"], material.labels["sentences"] = ids, labels


class Pool:
    """An endless stream of batches of texts of about equal length."""

    def __init__(self, groups, batch, window, seed):
        """groups: list of (ids, labels, weight); weight 2 means twice an epoch."""
        self.ids = [ids for group, _, _ in groups for ids in group]
        self.labels = np.concatenate([labels for _, labels, _ in groups])
        self.weights = np.concatenate([np.full(len(g), w) for g, _, w in groups])
        self.batch, self.window = batch, window
        self.random = np.random.RandomState(seed)
        self.batches = self._batches()

    def per_epoch(self):
        return int(self.weights.sum() / self.batch)

    def _epoch(self):
        whole = np.floor(self.weights + self.random.rand(len(self.ids))).astype(int)
        return self.random.permutation(np.repeat(np.arange(len(self.ids)), whole))

    def _batches(self):
        while True:
            order = self._epoch()
            step = self.batch * 40
            for at in range(0, len(order), step):
                part = order[at:at + step]
                lengths = [min(len(self.ids[i]), self.window) for i in part]
                part = part[np.argsort(lengths, kind="stable")]
                starts = list(range(0, len(part), self.batch))
                self.random.shuffle(starts)
                for s in starts:
                    yield part[s:s + self.batch]

    def _cut(self, ids):
        """At most `window` ids: the beginning, the end or any part of a text."""
        over = len(ids) - self.window
        if over <= 0:
            return ids
        at = self.random.choice([0, over, self.random.randint(over + 1)],
                                p=[0.4, 0.3, 0.3])
        return ids[at:at + self.window]

    def next(self):
        chosen = next(self.batches)
        return ([self._cut(self.ids[i]) for i in chosen],
                torch.tensor(self.labels[chosen], dtype=torch.float32))


def padded(batch, pad=text_tools.PAD):
    lengths = torch.tensor([len(ids) for ids in batch])
    out = torch.full((len(batch), int(lengths.max())), pad, dtype=torch.long)
    for row, ids in zip(out, batch):
        row[:len(ids)] = torch.tensor(ids)
    return out, lengths


class LstmSentiment(nn.Module):
    """Bidirectional LSTM with attention pooling, fed with lists of ids."""

    def __init__(self, settings, tokenizer, vectors):
        super().__init__()
        self.config = {
            "architectures": ["RNNForSequenceClassification"], "model_type": "rnn",
            "cell": "lstm", "vocab_size": tokenizer.get_vocab_size(),
            "embedding_dim": settings["size"], "hidden_size": settings["hidden"],
            "num_layers": 1, "bidirectional": True, "pooling": "attention",
            "attention_size": settings["attention"], "id2label": LABELS,
            "pad_token_id": text_tools.PAD, "unk_token_id": text_tools.UNK}
        self.net = RNNForSequenceClassification(self.config, settings["dropout"])
        self.embedding = self.net.embedding
        self.embedding.weight.data.copy_(torch.tensor(vectors))
        self.limit = None

    def forward(self, batch):
        return self.net(*padded(batch))


class BertSentiment(nn.Module):
    """BertForSequenceClassification of Hugging Face transformers."""

    def __init__(self, settings, tokenizer, vectors):
        super().__init__()
        from transformers import BertConfig, BertForSequenceClassification
        config = BertConfig(
            vocab_size=tokenizer.get_vocab_size(), hidden_size=settings["size"],
            num_hidden_layers=settings["layers"],
            num_attention_heads=settings["heads"],
            intermediate_size=settings["inner"],
            max_position_embeddings=settings["positions"],
            hidden_dropout_prob=settings["dropout"],
            attention_probs_dropout_prob=0.0, initializer_range=0.05,
            id2label={0: LABELS["0"], 1: LABELS["1"]},
            label2id={LABELS["0"]: 0, LABELS["1"]: 1},
            pad_token_id=text_tools.PAD)
        self.net = BertForSequenceClassification(config)
        whole = config.to_dict()
        self.config = {"architectures": ["BertForSequenceClassification"],
                       **{name: whole[name] for name in BERT_KEYS}}
        self.embedding = self.net.bert.embeddings.word_embeddings
        self.embedding.weight.data.copy_(torch.tensor(vectors))
        self.ends = [tokenizer.token_to_id(t) for t in ("[CLS]", "[SEP]")]
        self.limit = settings["positions"] - 2

    def forward(self, batch):
        """In training a text starts at a random position after [CLS], so that short
        windows teach every position; otherwise texts are cut on the right."""
        first, last = self.ends
        ids, lengths = padded([[first, *x[:self.limit], last] for x in batch])
        steps = torch.arange(ids.shape[1]).unsqueeze(0)
        mask = steps < lengths.unsqueeze(1)
        places = steps.expand_as(ids)
        if self.training:
            room = (self.limit + 2 - lengths).clamp(min=0).float()
            room *= (torch.rand(len(batch)) < 0.5).float()
            shift = (torch.rand(len(batch)) * (room + 1)).long().unsqueeze(1)
            places = torch.where(mask & (steps > 0), steps + shift, steps)
        return self.net(ids, attention_mask=mask.float(), position_ids=places).logits


BERT_KEYS = ("model_type", "transformers_version", "vocab_size", "hidden_size",
             "num_hidden_layers", "num_attention_heads", "intermediate_size",
             "hidden_act", "max_position_embeddings", "type_vocab_size",
             "layer_norm_eps", "position_embedding_type", "hidden_dropout_prob",
             "attention_probs_dropout_prob", "initializer_range", "pad_token_id",
             "id2label", "label2id")
MODELS = {"lstm": LstmSentiment, "transformer": BertSentiment}


def with_noise(batch, rate, random):
    """Some ids replaced by [UNK]."""
    return [np.where(random.rand(len(ids)) < rate, text_tools.UNK, ids)
            for ids in batch]


def predict(model, texts, tokens=16000):
    """Logits [N,2] of every text at full length, batches of equal size in tokens."""
    order = np.argsort([len(ids) for ids in texts], kind="stable")
    out = torch.empty(len(texts), 2)
    model.eval()
    with torch.no_grad():
        at = 0
        while at < len(order):
            end = at + 1
            while (end < len(order) and end - at < 256
                   and (end + 1 - at) * len(texts[order[end]]) <= tokens):
                end += 1
            chosen = order[at:end]
            out[chosen] = model([texts[i] for i in chosen]).float()
            at = end
    return out


def accuracy(logits, labels):
    return float((logits.argmax(1).numpy() == labels).mean())


def soft_cross_entropy(logits, positive):
    logs = torch.log_softmax(logits.float(), dim=1)
    return -(positive * logs[:, 1] + (1 - positive) * logs[:, 0]).mean()


class Average:
    """Exponential moving average of a model's weights; `model` holds it."""

    def __init__(self, model, decay=0.998):
        self.model, self.decay, self.steps = copy.deepcopy(model), decay, 0

    def update(self, model):
        self.steps += 1
        keep = min(self.decay, self.steps / (self.steps + 10))
        with torch.no_grad():
            for mine, new in zip(self.model.parameters(), model.parameters()):
                mine.mul_(keep).add_(new, alpha=1 - keep)


def make_pools(material, stage):
    """The long and the short texts of one stage."""
    ids, labels = material.ids, material.labels
    reviews = {"imdb": 1.0, "reviews": 1.0, "unlabelled": stage["unlabelled"]}
    others = stage.get("others", 1.0)
    phrases = dict(SHORT, sentences=stage["sentences"], denied=stage["denied"],
                   **{name: weight * others for name, weight in OTHERS.items()})
    return [Pool([(ids[n], labels[n], weight) for n, weight in group.items()],
                 batch, window, SEED + k)
            for k, (group, batch, window) in enumerate([
                (reviews, stage["long_batch"], stage["window"]),
                (phrases, stage["short_batch"], 100)])]


def dev_scores(model, material, limit=None):
    """Logits and labels of (the first `limit` texts of) the two dev sets."""
    return {name: (predict(model, material.ids[name][:limit]),
                   material.labels[name][:limit])
            for name in ("sst_dev", "imdb_dev")}


def train(model, material, settings, log, checkpoint):
    """One stage: the moving average that was best on the mean of both dev sets."""
    long, short = make_pools(material, settings)
    random = np.random.RandomState(SEED + 2)
    steps = int(settings["epochs"] * short.per_epoch())
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings["rate"],
                                  weight_decay=settings["decay"], betas=(0.9, 0.98))
    average, best, start = Average(model), 0.0, time.time()
    state, every, losses = None, max(1, steps // 8), np.zeros(2)
    for step in range(1, (settings.get("stop") or steps) + 1):
        rate = min(1, step / 100) * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimiser.param_groups[0]["lr"] = settings["rate"] * max(rate, 0.01)
        model.train()
        optimiser.zero_grad()
        for k, pool in enumerate((long, short)):
            if k == 0 and step % settings["long_every"]:
                continue
            batch, labels = pool.next()
            batch = with_noise(batch, settings["word_dropout"], random)
            with torch.autocast("cpu", torch.bfloat16, enabled=settings["bf16"]):
                loss = soft_cross_entropy(model(batch), labels)
            loss.backward()
            losses[k] += float(loss.detach())
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        average.update(model)
        if step % every and step not in (steps, settings.get("stop")):
            continue
        hits = {n: accuracy(*v) for n, v in dev_scores(average.model, material,
                                                       DEV_WATCHED).items()}
        score = (hits["sst_dev"] + hits["imdb_dev"]) / 2
        log(f"{step}/{steps} {time.time() - start:.0f} s  loss long "
            f"{losses[0] / every * settings['long_every']:.3f} short "
            f"{losses[1] / every:.3f}  "
            + "  ".join(f"{n} {100 * h:.2f}" for n, h in hits.items()))
        losses[:] = 0
        if score > best:
            best, state = score, copy.deepcopy(average.model.state_dict())
            torch.save(state, checkpoint)
    average.model.load_state_dict(state)
    return average.model


def fit_temperature(scores):
    """The temperature with the least log loss over both dev sets, equally weighed."""
    grid = np.geomspace(0.3, 5, 200)

    def loss(t):
        return sum(float(soft_cross_entropy(logits / t, torch.tensor(labels)))
                   for logits, labels in scores.values())

    return float(grid[int(np.argmin([loss(t) for t in grid]))])


def finish(model, material, folder, log):
    """Temperature, typographic twins, and the folder itself."""
    temperature = fit_temperature(dev_scores(model, material))
    classifier = model.net.classifier
    with torch.no_grad():
        classifier.weight.div_(temperature)
        classifier.bias.div_(temperature)
        for twin, original in text_tools.typographic_twins(material.tokenizer):
            model.embedding.weight[twin] = model.embedding.weight[original]
    tensors = {name: tensor for name, tensor in model.net.state_dict().items()
               if "position_ids" not in name}
    model.net.load_state_dict(export.rounded(tensors), strict=False)
    for name, (logits, labels) in dev_scores(model, material).items():
        loss = soft_cross_entropy(logits, torch.tensor(labels))
        log(f"exported: {name} {100 * accuracy(logits, labels):.2f} %, "
            f"log loss {float(loss):.3f}")
    size = export.write_model(folder, model.config, tensors, material.tokenizer)
    log(f"temperature {temperature:.2f}; model.safetensors {size / 1e6:.2f} MB")


def run_stages(kind, material, work, log):
    """All stages of one model; between them the LSTM labels the sentences."""
    settings, sentences = SETTINGS[kind], os.path.join(work, "sentences.tsv")
    model = MODELS[kind](settings, material.tokenizer, material.vectors)
    if kind == "transformer":
        if not os.path.exists(sentences):
            raise SystemExit(f"{sentences} is missing: train --model lstm first")
        add_sentences(material, sentences)
    for number, stage in enumerate(STAGES[kind], 1):
        log(f"stage {number}: {stage}")
        checkpoint = os.path.join(work, f"{kind}.{number}.pt")
        model = train(model, material, dict(settings, **stage), log, checkpoint)
        if kind == "lstm" and number == LABELLER:
            label_sentences(model, material, sentences, log)
    return model


def test_scores(model, material, data, log):
    """Accuracy on the test sets, as a check of the figures of the C core."""
    sets = {"SST-2 test": corpora_sentiment.read_sst2(data, "test"),
            "IMDB test": corpora_sentiment.read_imdb_test(data),
            "GoEmotions test": corpora_sentiment.read_goemotions(data, "test")}
    for site in ("amazon_cells", "imdb", "yelp"):
        sets["UCI " + site] = corpora_sentiment.read_uci(data, site)
    for name, rows in sets.items():
        ids = text_tools.encode(material.tokenizer, texts_of(rows))
        hit = accuracy(predict(model, ids), labels_of(rows))
        log(f"{name:16} {100 * hit:.2f} %  ({len(rows)} texts)")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", required=True, help="folder of the corpora")
    parser.add_argument("--model", required=True, choices=sorted(MODELS))
    parser.add_argument("--out", required=True, help="model folder to write")
    parser.add_argument("--work", default="work-sentiment",
                        help="folder of checkpoints and labelled sentences")
    parser.add_argument("--test", action="store_true",
                        help="measure the test sets with PyTorch at the end")
    args = parser.parse_args()
    os.makedirs(args.work, exist_ok=True)
    torch.manual_seed(SEED)

    def log(text):
        print(text, flush=True)

    material = Material(args.data, args.model, SETTINGS[args.model], log)
    model = run_stages(args.model, material, args.work, log)
    finish(model, material, args.out, log)
    if args.test:
        test_scores(model, material, args.data, log)


if __name__ == "__main__":
    main()
