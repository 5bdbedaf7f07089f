"""make test-real: what transformers saves, served as it is, against what its pipelines say.

    build/real/venv/bin/python tests/real/pipelines.py build/release/seqd [NAME...]

Any Python with transformers and torch will do. Saves a small random model and a trained tokenizer of every
family and head with save_pretrained, as a user does, serves the folders with one daemon and
compares its replies with pipeline("text-classification"), pipeline("fill-mask"), the logits
of language models, and output_attentions with the tokens' offsets. NAMEs pick families.
README.md says more. The closing line is "N passed, N failed", a check for each text.
"""

import json
import random
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import warnings
from pathlib import Path

import tokenizers as tk
import torch
import transformers as hf
from tokenizers import (decoders, models, normalizers, pre_tokenizers, processors, trainers)

from real import Count, LINES, ROOT, sentences

CONTEXT, VOCAB, TEXTS = 48, 600, 100
ATTENTION_BOUND, RELATIVE_BOUND = 1e-5, 1e-4
GOLDEN = ROOT / "tests" / "golden" / "tokenizers"
QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

# ---- texts -------------------------------------------------------------------------

NASTY = ["", " ", "\n", "  two  blanks  ", "😀", "👩‍👩‍👧‍👦🏽🇫🇷", "a" * 3000, "好" * 1000, "word " * 2000,
         "e\u0301" * 200, "a\u0300\u0301\u0302\u0303b", "天地玄黃宇宙洪荒", "きゃりーぱみゅぱみゅ", "한국어", "\u1100\u1161\u11a8",
         "<s> and </s>", "[CLS] x [SEP]", "<|endoftext|>", "a <unk> b", "[UNK]", "\u0000 nul \u0001",
         "line\r\nline\u2028line", "\ufeffmark", "ǅ ß ẞ ﬁ İ", "don't won't I'll we've",
         "x" * 250 + " y", "\U0002b820\U0010ffff", "tab\tin", "ک\u200cی", "ภาษาไทย", "…", " .", ". "]


def texts():
    rng = random.Random(7)
    letters = list("abcdeé ñ中😀.,'#_▁Ġ1２\u0301\u00a0")
    chance = ["".join(rng.choice(letters) for _ in range(rng.randint(1, 30))) for _ in range(14)]
    return (NASTY + LINES[:TEXTS] + chance + sentences(60)[38:])[:TEXTS]


def corpus():
    return [t for t in sentences(150)[38:]] + LINES * 4


# ---- tokenizers --------------------------------------------------------------------


def byte_level(make, special, pre=None, normalizer=None, post=None, **options):
    t = tk.Tokenizer(models.BPE(**options))
    t.pre_tokenizer = pre or pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    if normalizer:
        t.normalizer = normalizer
    t.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=VOCAB, special_tokens=special, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    t.post_processor = post(t) if post else processors.ByteLevel(trim_offsets=False)
    return make(t)


def gpt2():
    return byte_level(lambda t: hf.GPT2TokenizerFast(tokenizer_object=t, model_max_length=CONTEXT),
                      ["<|endoftext|>"])


def mask_of(content, **flags):
    return tk.AddedToken(content, lstrip=True, normalized=False, special=True, **flags)


def roberta():
    def post(t):
        return processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True,
                                            add_prefix_space=False)
    return byte_level(lambda t: hf.RobertaTokenizerFast(
        tokenizer_object=t, mask_token=mask_of("<mask>"), model_max_length=CONTEXT),
        ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], post=post)


def qwen():
    pre = pre_tokenizers.Sequence([pre_tokenizers.Split(tk.Regex(QWEN), "isolated"),
                                   pre_tokenizers.ByteLevel(False, use_regex=False)])
    def make(t):
        t.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
        return hf.Qwen2TokenizerFast(tokenizer_object=t, model_max_length=131072,
                                     eos_token="<|im_end|>", pad_token="<|endoftext|>",
                                     additional_special_tokens=["<|im_start|>", "<|im_end|>"])
    return byte_level(make, [], pre, normalizers.NFC())


def smollm():
    """SmolLM2 and Llama 3: byte-level, saved as a PreTrainedTokenizerFast."""
    pre = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                   pre_tokenizers.ByteLevel(add_prefix_space=False)])
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    return byte_level(lambda t: hf.PreTrainedTokenizerFast(
        tokenizer_object=t, bos_token="<|im_start|>", eos_token="<|im_end|>",
        unk_token="<|endoftext|>", pad_token="<|im_end|>", model_max_length=8192,
        model_input_names=["input_ids", "attention_mask"]), special, pre)


def modernbert():
    def post(t):
        return processors.TemplateProcessing(
            "[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:0 [SEP]:0",
            [(n, t.token_to_id(n)) for n in ("[CLS]", "[SEP]")])
    def make(t):
        t.add_special_tokens([mask_of("[MASK]")])
        t.add_tokens([tk.AddedToken("  ", normalized=True)])
        return hf.PreTrainedTokenizerFast(
            tokenizer_object=t, cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]",
            unk_token="[UNK]", mask_token=mask_of("[MASK]"), model_max_length=CONTEXT,
            model_input_names=["input_ids", "attention_mask"])
    return byte_level(make, ["[UNK]", "[CLS]", "[SEP]", "[PAD]"], normalizer=normalizers.NFC(),
                      post=post)


def llama(make=hf.LlamaTokenizerFast):
    """As Llama 2's and TinyLlama's: blanks are "▁", unknown characters their bytes."""
    t = tk.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>"]
    plain = [c for c in "".join(corpus()).replace(" ", "▁") if ord(c) < 0x400]
    t.train_from_iterator([line.replace(" ", " ▁").replace(" ▁", " ") for line in corpus()],
                          trainers.BpeTrainer(vocab_size=VOCAB - 256, special_tokens=special,
                                              limit_alphabet=100, show_progress=False,
                                              initial_alphabet=sorted(set(plain))[:80]))
    state = json.loads(t.to_str())
    pieces = sorted(state["model"]["vocab"], key=state["model"]["vocab"].get)
    pieces = special + [f"<0x{b:02X}>" for b in range(256)] + pieces[3:]
    state["model"]["vocab"] = {p: i for i, p in enumerate(pieces)}
    for each in state["added_tokens"]:
        each["id"] = pieces.index(each["content"])
    t = tk.Tokenizer.from_str(json.dumps(state))
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(),
                                   decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return make(tokenizer_object=t, unk_token="<unk>", bos_token="<s>", eos_token="</s>",
                clean_up_tokenization_spaces=False, legacy=False)


def wordpiece(make, special=("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"), lower=True,
              processor=None, **more):
    t = tk.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer(lowercase=lower)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece()
    t.train_from_iterator(corpus(), trainers.WordPieceTrainer(
        vocab_size=VOCAB, special_tokens=list(special), show_progress=False))
    t.post_processor = processor or processors.TemplateProcessing(
        "[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        [(n, special.index(n)) for n in ("[CLS]", "[SEP]")])
    return make(tokenizer_object=t, model_max_length=CONTEXT, do_lower_case=lower, **more)


def mpnet():
    return wordpiece(hf.MPNetTokenizerFast, ("<s>", "<pad>", "</s>", "[UNK]", "<mask>"),
                     processor=processors.RobertaProcessing(("</s>", 2), ("<s>", 0)),
                     mask_token=mask_of("<mask>"))


def unigram(make, special, pre, extra=None, **more):
    """Behind SentencePiece's character map, as XLM-R's and CamemBERT's."""
    normal = json.loads((GOLDEN / "precompiled" / "tokenizer.json").read_text())["normalizer"]
    t = tk.Tokenizer(models.Unigram())
    t.pre_tokenizer = pre
    t.decoder = decoders.Metaspace()
    t.train_from_iterator(corpus(), trainers.UnigramTrainer(
        vocab_size=VOCAB, special_tokens=special, unk_token="<unk>", show_progress=False))
    state = json.loads(t.to_str())
    state["normalizer"] = {"type": "Sequence", "normalizers": [
        normal, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]}
    t = tk.Tokenizer.from_str(json.dumps(state))
    t.post_processor = processors.TemplateProcessing(
        "<s> $A </s>", "<s> $A </s> </s> $B </s>",
        [(n, t.token_to_id(n)) for n in ("<s>", "</s>")])
    return make(tokenizer_object=t, mask_token=mask_of("<mask>"), model_max_length=CONTEXT, **more)


def xlm_roberta():
    return unigram(hf.XLMRobertaTokenizerFast, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
                   pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(),
                                            pre_tokenizers.Metaspace()]))


def camembert():
    return unigram(hf.CamembertTokenizerFast,
                   ["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<s>", "</s>", "<mask>"],
                   pre_tokenizers.Metaspace(),
                   additional_special_tokens=["<s>NOTUSED", "</s>NOTUSED"])


# ---- models ------------------------------------------------------------------------

BERT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 48, "max_position_embeddings": CONTEXT}
BEHIND = {**BERT, "max_position_embeddings": CONTEXT + 2}
LLAMA = {**BERT, "num_key_value_heads": 2}
# name: (prefix of its classes, tokenizer, sizes)
FAMILIES = {
    "gpt2": ("GPT2", gpt2, {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": CONTEXT}),
    "llama": ("Llama", llama, LLAMA),
    "smollm": ("Llama", smollm, {**LLAMA, "tie_word_embeddings": True, "rope_theta": 1e5}),
    "mistral": ("Mistral", llama, {**LLAMA, "sliding_window": 4096}),
    "qwen2": ("Qwen2", qwen, {**LLAMA, "tie_word_embeddings": True}),
    "qwen3": ("Qwen3", qwen, {**LLAMA, "head_dim": 16, "tie_word_embeddings": True}),
    "bert": ("Bert", lambda: wordpiece(hf.BertTokenizerFast), BERT),
    "bert-cased": ("Bert", lambda: wordpiece(hf.BertTokenizerFast, lower=False), BERT),
    "distilbert": ("DistilBert", lambda: wordpiece(hf.DistilBertTokenizerFast),
                   {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48,
                    "max_position_embeddings": CONTEXT}),
    "electra": ("Electra", lambda: wordpiece(hf.ElectraTokenizerFast),
                {**BERT, "embedding_size": 16}),
    "mpnet": ("MPNet", mpnet, BEHIND),
    "roberta": ("Roberta", roberta, {**BEHIND, "type_vocab_size": 1}),
    "xlm-roberta": ("XLMRoberta", xlm_roberta, {**BEHIND, "type_vocab_size": 1}),
    "camembert": ("Camembert", camembert, {**BEHIND, "type_vocab_size": 1}),
    "modernbert": ("ModernBert", modernbert, {**BERT, "local_attention": 8}),
}
HEADS = {"Model": [{}], "ForMaskedLM": [{}], "ForCausalLM": [{}], "LMHeadModel": [{}],
         "ForSequenceClassification": [
             {"id2label": {0: "bad", 1: "so so", 2: "good"}},
             {"num_labels": 4, "problem_type": "multi_label_classification"},
             {"num_labels": 1, "problem_type": "regression"}]}
LANGUAGE = "ForCausalLM", "LMHeadModel"
OLD = "gpt2", "qwen2", "bert", "bert-cased", "distilbert", "electra", "mpnet", "roberta"


def randomize(model):
    """Scores and maps that differ from text to text."""
    with torch.no_grad():
        for key, p in model.named_parameters():
            if p.dim() > 1:
                p.normal_(0, 0.25)
            elif key.endswith("bias"):
                p.normal_(0, 0.1)


def save(folder, kind, tokenizer, config, how):
    cls = getattr(hf, kind)
    ids = {k: getattr(tokenizer, k) for k in ("bos_token_id", "eos_token_id", "pad_token_id")
           if getattr(tokenizer, k) is not None}
    made = cls.config_class(vocab_size=len(tokenizer), **ids, **config)
    torch.manual_seed(len(kind))
    model = cls(made)
    randomize(model)
    if how.get("half"):
        model = model.half()
    model.save_pretrained(folder, **({"max_shard_size": "40KB"} if how.get("shards") else {}))
    tokenizer.save_pretrained(folder, legacy_format=how.get("old"))


def save_all(home, names):
    """Saves them all; every third in shards, every fourth in F16, as they come. Those that
    have tokenizer files of the old kind are saved once more with nothing else."""
    made = {}
    for family, (prefix, make, config) in FAMILIES.items():
        if (names and family not in names) or not hasattr(hf, prefix + "Model"):
            continue
        tokenizer = make()
        masked = hasattr(hf, prefix + "ForMaskedLM")
        for head, variants in HEADS.items():
            if not hasattr(hf, prefix + head) or (masked and head in LANGUAGE):
                continue
            for i, more in enumerate(variants):
                name = f"{family}-{head}{i or ''}"
                how = {"shards": len(made) % 3 == 0, "half": len(made) % 4 == 1}
                save(home / name, prefix + head, tokenizer, {**config, **more}, how)
                made[name] = head
        if family in OLD and hf.__version__ < "5":
            save(home / f"{family}-old", prefix + "Model", tokenizer, config, {"old": True})
            made[f"{family}-old"] = "Model"
    return made


# ---- seqd's side -------------------------------------------------------------------


class Daemon:
    def __init__(self, program, folders):
        self.process = subprocess.Popen(
            [program, "--port", "0", "--workers", "2", "--attention-max-values", "10000000",
             "--max-body-bytes", "100000000", "--max-tokens", "100000000", *map(str, folders)],
            stderr=subprocess.PIPE, text=True)
        self.log = []
        for line in self.process.stderr:
            self.log.append(line)
            if "listening" in line:
                self.base = "http://" + json.loads(line)["address"]
                break
        else:
            raise SystemExit("".join(self.log))

    def ask(self, route, **body):
        request = urllib.request.Request(self.base + route, json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as e:
            return json.load(e)

    def stop(self):
        self.process.terminate()
        self.process.communicate()


# ---- comparisons -------------------------------------------------------------------


def near(a, b):
    return abs(a - b) <= RELATIVE_BOUND * max(abs(b), 0.1)


def load(folder, auto):
    """In double, so that an error found is an error of ours."""
    model = auto.from_pretrained(folder, attn_implementation="eager").double().eval()
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    if tokenizer.model_max_length > CONTEXT:
        tokenizer.model_max_length = CONTEXT
    return model, tokenizer


def compare_labels(count, daemon, folder, name, all_texts):
    model, tokenizer = load(folder, hf.AutoModelForSequenceClassification)
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    pipe = hf.pipeline("text-classification", model=model, tokenizer=tokenizer)
    raw = model.config.problem_type == "regression"
    how = {"top_k": None, "truncation": True, "function_to_apply": "none" if raw else None}
    pairs = daemon.ask("/v1/sentiment", model=name, text="a", text_pair="b").get("results")
    # An empty one is no second text for a tokenizer that is called with one pair.
    second = [all_texts[(7 * i + 3) % len(all_texts)] or "-" for i in range(len(all_texts))]
    for mates in [None, second] if pairs else [None]:
        kept = [i for i, t in enumerate(all_texts)
                if tokenizer(t, mates[i] if mates else None)["input_ids"]]
        more = {"text_pairs": [mates[i] for i in kept]} if mates else {}
        got = daemon.ask("/v1/sentiment", model=name, texts=[all_texts[i] for i in kept], **more)
        for i, result in zip(kept, got.get("results", [{}] * len(kept))):
            text = {"text": all_texts[i], "text_pair": mates[i]} if mates else all_texts[i]
            with torch.no_grad():
                want = pipe(text, **how)
            want = want[0] if isinstance(want[0], list) else want
            want = {w["label"]: w["score"] for w in want}
            good = result.get("scores", {}).keys() == want.keys() and all(
                near(result["scores"][k], v) for k, v in want.items())
            count.check(good, f"{name}: labels of {text!r:.90}: {result.get('scores', got)} for {want}")


def compare_masks(count, daemon, folder, name, all_texts):
    model, tokenizer = load(folder, hf.AutoModelForMaskedLM)
    pipe = hf.pipeline("fill-mask", model=model, tokenizer=tokenizer, top_k=5)
    mask = tokenizer.mask_token
    for i, text in enumerate(all_texts):
        at = text.find(" ", len(text) * (i % 5) // 5)
        text = f"{text[:at]} {mask}{text[at:]}" if at >= 0 and i % 3 else f"{text} {mask}."
        ids = tokenizer(text)["input_ids"]
        if len(ids) > CONTEXT or ids.count(tokenizer.mask_token_id) != 1:
            continue
        with torch.no_grad():
            want = [(w["token"], w["score"]) for w in pipe(text)]
        got = daemon.ask("/v1/next-word", model=name, text=text, unit="token", top_k=5)
        check_words(count, name, text, got, want)


def check_words(count, name, text, got, want):
    found = [(p["id"], p["score"]) for p in got["results"][0]["predictions"]] \
        if "results" in got else []
    good = len(found) == len(want) and all(
        f[0] == w[0] and near(f[1], w[1]) for f, w in zip(found, want))
    count.check(good, f"{name}: words behind {text[:60]!r}: {found or got} for {want}")


def compare_words(count, daemon, folder, name, all_texts):
    model, tokenizer = load(folder, hf.AutoModelForCausalLM)
    for text in all_texts:
        ids = tokenizer(text)["input_ids"]
        if not 0 < len(ids) <= CONTEXT:
            continue
        with torch.no_grad():
            row = model(torch.tensor([ids])).logits[0, -1].softmax(-1)
        score, top = row.topk(5)
        got = daemon.ask("/v1/next-word", model=name, text=text, unit="token", top_k=5)
        check_words(count, name, text, got, list(zip(top.tolist(), score.tolist())))


def compare_maps(count, daemon, folder, name, all_texts):
    model, tokenizer = load(folder, hf.AutoModel)
    for text in all_texts:
        encoded = tokenizer(text, truncation=True, return_offsets_mapping=True)
        ids, offsets = encoded["input_ids"], encoded.pop("offset_mapping")
        if not ids:
            continue
        with torch.no_grad():
            maps = model(**{k: torch.tensor([v]) for k, v in encoded.items()},
                         output_attentions=True).attentions
        want = torch.stack(maps)[:, 0]
        got = daemon.ask("/v1/attention", model=name, text=text, offset_unit="codepoint")
        tokens = got.get("tokens", [])
        same = [t["id"] for t in tokens] == ids
        count.check(same, f"{name}: ids of {text[:60]!r}: {got.get('error', tokens)!r:.200}")
        if not same:
            continue
        count.check([(t["start"], t["end"]) for t in tokens] == [tuple(o) for o in offsets],
                    f"{name}: offsets of {text[:60]!r}: "
                    f"{[(t['start'], t['end']) for t in tokens][:12]} for {offsets[:12]}")
        have = torch.tensor(got["attention"]["data"], dtype=torch.double)
        good = have.shape == want.shape and (have - want).abs().max() < ATTENTION_BOUND
        count.check(good, f"{name}: attention of {text[:60]!r}")


COMPARE = {"Model": compare_maps, "ForMaskedLM": compare_masks,
           "ForCausalLM": compare_words, "LMHeadModel": compare_words,
           "ForSequenceClassification": compare_labels}


def main():
    warnings.filterwarnings("ignore")
    hf.logging.set_verbosity_error()
    hf.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    count, all_texts = Count(), texts()
    with tempfile.TemporaryDirectory() as home:
        names = save_all(Path(home), sys.argv[2:])
        torch.set_default_dtype(torch.double)
        daemon = Daemon(sys.argv[1], [Path(home) / n for n in names])
        try:
            for name, head in names.items():
                COMPARE[head](count, daemon, Path(home) / name, name, all_texts)
        finally:
            daemon.stop()
    print(f"transformers {hf.__version__}: {len(names)} folders; "
          f"{count.passed} passed, {count.failed} failed")
    sys.exit(1 if count.failed else 0)


if __name__ == "__main__":
    main()
