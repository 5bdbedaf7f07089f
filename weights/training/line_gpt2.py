"""GPT-2 trained on lines, on a CPU: the model, its batches and its training.

The parameters have the names and shapes of transformers' GPT2LMHeadModel (tied
output layer), so that the exported file is an ordinary GPT-2. Whole lines are
packed into rows; positions start again with each line and attention stays within
it, so a line is learned as it will be scored: by itself. Products run in bfloat16,
sums and weights in float32.
"""

import math
import time

import torch
from torch import nn
from torch.nn.functional import layer_norm, softmax

LOW = torch.bfloat16
IGNORED = -100
SHORT = 128              # lines up to this length share rows of this length


def product(x, weight, bias):
    """x W + b with W stored [in, out], as GPT-2 stores it."""
    shape = x.shape[:-1]
    flat = x.reshape(-1, x.shape[-1]).to(LOW)
    return torch.addmm(bias.to(LOW), flat, weight.to(LOW)).view(*shape, -1)


class Gelu(torch.autograd.Function):
    """GPT-2's GELU (the tanh form), x * sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3)):
    about twice as fast as the built-in one in bfloat16."""

    SLOPE = 2 * math.sqrt(2 / math.pi)
    CUBE = SLOPE * 0.044715

    @staticmethod
    def forward(ctx, x):
        wide = x.float()
        gate = (wide * wide).mul_(Gelu.CUBE).add_(Gelu.SLOPE).mul_(wide).sigmoid_()
        ctx.save_for_backward(wide, gate)
        return (wide * gate).to(x.dtype)

    @staticmethod
    def backward(ctx, grad):
        x, gate = ctx.saved_tensors
        slope = (x * x).mul_(3 * Gelu.CUBE).add_(Gelu.SLOPE).mul_(x)
        slope.mul_(1 - gate).add_(1).mul_(gate)
        return slope.mul_(grad).to(grad.dtype)


class LineLoss(torch.autograd.Function):
    """Sum of nats of h [N,D] against targets [N] with the output matrix w [V,D].

    A few hundred rows at a time go through the vocabulary and straight back, so
    that the scores stay in the cache and are never kept."""

    ROWS = 512

    @staticmethod
    def forward(ctx, h, w, targets):
        low = w.to(LOW)
        grad_h = torch.empty_like(h)
        grad_w = torch.zeros_like(w)
        total = 0.0
        for at in range(0, len(h), LineLoss.ROWS):
            part = h[at:at + LineLoss.ROWS].to(LOW)
            wanted = targets[at:at + LineLoss.ROWS]
            real = wanted != IGNORED
            index = wanted.clamp(min=0).unsqueeze(1)
            scores = (part @ low.t()).float()
            norm = torch.logsumexp(scores, 1, keepdim=True)
            total += float(((norm - scores.gather(1, index))[:, 0] * real).sum())
            scores.sub_(norm).exp_()
            scores.scatter_add_(1, index, scores.new_full(index.shape, -1.0))
            scores.mul_(real.unsqueeze(1))
            scores = scores.to(LOW)
            grad_h[at:at + LineLoss.ROWS] = scores @ low
            grad_w += scores.t() @ part
        ctx.save_for_backward(grad_h, grad_w)
        return h.new_tensor(total)

    @staticmethod
    def backward(ctx, grad):
        grad_h, grad_w = ctx.saved_tensors
        return grad_h * grad, grad_w * grad, None


class Gpt2(nn.Module):
    """Parameters live in one flat dictionary under their GPT-2 names."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        width, layers = config["n_embd"], config["n_layer"]
        self.names = []
        self._add("transformer.wte.weight",
                  0.02 * torch.randn(config["vocab_size"], width))
        self._add("transformer.wpe.weight",
                  0.01 * torch.randn(config["n_positions"], width))
        for k in range(layers):
            block = f"transformer.h.{k}."
            for norm in ("ln_1", "ln_2"):
                self._add_norm(block + norm, width)
            std = 0.5 / math.sqrt(width)
            self._add_linear(block + "attn.c_attn", width, 3 * width, std)
            self._add_linear(block + "attn.c_proj", width, width, 0.0)
            self._add_linear(block + "mlp.c_fc", width, 4 * width, std)
            self._add_linear(block + "mlp.c_proj", 4 * width, width, 0.0)
        self._add_norm("transformer.ln_f", width)

    def _add(self, name, value):
        self.names.append(name)
        self.register_parameter(name.replace(".", "/"), nn.Parameter(value))

    def _add_norm(self, name, width):
        self._add(name + ".weight", torch.ones(width))
        self._add(name + ".bias", torch.zeros(width))

    def _add_linear(self, name, rows, columns, std):
        self._add(name + ".weight", std * torch.randn(rows, columns))
        self._add(name + ".bias", torch.zeros(columns))

    def get(self, name):
        return getattr(self, name.replace(".", "/"))

    def tensors(self):
        """Name -> tensor, as GPT2LMHeadModel saves them."""
        return {name: self.get(name).detach() for name in self.names}

    def load_tensors(self, tensors):
        for name in self.names:
            self.get(name).data.copy_(tensors[name])

    def _both(self, name):
        return self.get(name + ".weight"), self.get(name + ".bias")

    def _norm(self, x, name):
        return layer_norm(x, x.shape[-1:], *self._both(name), eps=1e-5)

    def _attention(self, x, block, bias):
        rows, length, width = x.shape
        heads = self.config["n_head"]
        qkv = product(x, *self._both(block + "attn.c_attn"))
        q, k, v = (part.view(rows, length, heads, -1).transpose(1, 2)
                   for part in qkv.split(width, dim=-1))
        scores = (q @ k.transpose(-1, -2)).float()
        scores = scores * (heads / width) ** 0.5 + bias
        mixed = softmax(scores, dim=-1).to(LOW) @ v
        mixed = mixed.transpose(1, 2).reshape(rows, length, width)
        return product(mixed, *self._both(block + "attn.c_proj"))

    def hidden(self, ids, position, bias):
        """ids, position [B,T], bias [B,1,T,T] added to scores -> [B,T,D]."""
        x = (nn.functional.embedding(ids, self.get("transformer.wte.weight"))
             + nn.functional.embedding(position, self.get("transformer.wpe.weight")))
        for k in range(self.config["n_layer"]):
            block = f"transformer.h.{k}."
            x = x + self._attention(self._norm(x, block + "ln_1"), block, bias)
            wide = product(self._norm(x, block + "ln_2"),
                           *self._both(block + "mlp.c_fc"))
            x = x + product(Gelu.apply(wide), *self._both(block + "mlp.c_proj"))
        return self._norm(x, "transformer.ln_f")

    def loss(self, batch):
        """Sum of nats and number of targets of a packed batch."""
        hidden = self.hidden(*batch[:3])
        nats = LineLoss.apply(hidden.flatten(0, 1),
                              self.get("transformer.wte.weight"),
                              batch[3].flatten())
        return nats, int((batch[3] != IGNORED).sum())


def pack(lines, length):
    """Rows of whole lines: each line goes to the first of the last open rows that
    still has room for it."""
    rows, open_rows = [], []
    for ids in lines:
        for row in open_rows:
            if row[0] + len(ids) <= length:
                break
        else:
            row = [0, []]
            rows.append(row)
            open_rows = [row] + open_rows[:7]
        row[0] += len(ids)
        row[1].append(ids)
    return [row[1] for row in rows]


def make_batch(rows, length, end):
    """(ids, positions, attention bias, targets) of packed rows."""
    ids = torch.full((len(rows), length), end, dtype=torch.long)
    position = torch.zeros_like(ids)
    line = torch.full_like(ids, -1)
    targets = torch.full_like(ids, IGNORED)
    for r, row in enumerate(rows):
        at = 0
        for k, tokens in enumerate(row):
            stop = at + len(tokens)
            ids[r, at:stop] = torch.tensor(tokens)
            position[r, at:stop] = torch.arange(len(tokens))
            line[r, at:stop] = k
            targets[r, at:stop - 1] = ids[r, at + 1:stop]
            targets[r, stop - 1] = end
            at = stop
    same = line.unsqueeze(1) == line.unsqueeze(2)
    same &= torch.ones(length, length, dtype=torch.bool).tril()
    bias = torch.zeros(same.shape).masked_fill_(~same, -1e4).unsqueeze(1)
    return ids, position, bias, targets


def batches(lines, tokens, end, generator=None):
    """Packed batches of about so many tokens, in a shuffled order; the lines of
    a batch are all short or all long."""
    longest = max(map(len, lines))
    order = (torch.randperm(len(lines), generator=generator).tolist()
             if generator else range(len(lines)))
    groups = {SHORT: [], longest: []}
    for i in order:
        groups[SHORT if len(lines[i]) <= SHORT else longest].append(lines[i])
    pieces = []
    for length, group in groups.items():
        rows = pack(group, length)
        many = max(1, tokens // length)
        pieces += [(rows[at:at + many], length)
                   for at in range(0, len(rows), many)]
    order = (torch.randperm(len(pieces), generator=generator).tolist()
             if generator else range(len(pieces)))
    for i in order:
        yield make_batch(*pieces[i], end)


@torch.no_grad()
def measure(model, lines, end):
    """Sum of nats over whole lines, each by itself, and the number of targets."""
    nats, count = 0.0, 0
    for batch in batches(sorted(lines, key=len), 8192, end):
        part, n = model.loss(batch)
        nats, count = nats + float(part), count + n
    return nats, count


def orthogonalised(g):
    """The nearest matrix with all singular values near 1 (Newton-Schulz)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    turned = g.shape[0] > g.shape[1]
    x = (g.t() if turned else g).to(LOW)
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        square = x @ x.t()
        x = a * x + (b * square + c * square @ square) @ x
    return (x.t() if turned else x).float()


class Muon:
    """Momentum whose step on each matrix is made orthogonal (Jordan 2024);
    query, key and value parts are separate matrices."""

    def __init__(self, matrices, width):
        self.width = width
        self.parts = [(p, columns) for p in matrices for columns in
                      range(0, p.shape[1], width if p.shape[1] == 3 * width
                            else p.shape[1])]
        self.momenta = [torch.zeros_like(self._of(p, at)) for p, at in self.parts]

    def _of(self, matrix, at):
        wide = self.width if matrix.shape[1] == 3 * self.width else matrix.shape[1]
        return matrix[:, at:at + wide]

    @torch.no_grad()
    def step(self, speed, momentum=0.95, decay=0.01):
        for (p, at), m in zip(self.parts, self.momenta):
            g, part = self._of(p.grad, at), self._of(p, at)
            m.mul_(momentum).add_(g)
            step = orthogonalised(g + momentum * m)
            scale = max(1.0, part.shape[1] / part.shape[0]) ** 0.5
            part.mul_(1 - speed * decay).add_(step, alpha=-speed * scale)


def speed_at(step, done, warmup=40, flat=0.3):
    """Share of the peak rate after a share of the training is done: a short rise,
    level for the first part, then a straight fall to zero."""
    return min((step + 1) / warmup, 1.0, (1 - done) / (1 - flat))


def train(model, lines, dev, options, save, log=print):
    """options: epochs, minutes (training also ends after so many, the rates falling
    in time), tokens (per step), adam_rate, muon_rate, end, seed, dev_bytes,
    measures. save() at each best dev loss."""
    torch.manual_seed(options["seed"])
    generator = torch.Generator().manual_seed(options["seed"])
    matrices = [model.get(n) for n in model.names if ".h." in n
                and model.get(n).dim() == 2]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    adam = torch.optim.Adam(others, betas=(0.9, 0.98), eps=1e-9)
    muon = Muon(matrices, model.config["n_embd"])
    per_epoch = sum(map(len, lines)) / options["tokens"]
    total = int(options["epochs"] * per_epoch)
    best, step, began, nats, seen, done = math.inf, 0, time.time(), 0.0, 0, 0.0
    next_measure = 0.0
    while done < 1.0:
        for batch in batches(lines, options["tokens"], options["end"], generator):
            if done >= 1.0:
                break
            loss, n = model.loss(batch)
            model.zero_grad(set_to_none=True)
            (loss / n).backward()
            nn.utils.clip_grad_norm_(others, 1.0)
            speed = speed_at(step, done)
            adam.param_groups[0]["lr"] = options["adam_rate"] * speed
            adam.step()
            muon.step(options["muon_rate"] * speed)
            step, nats, seen = step + 1, nats + float(loss), seen + n
            done = max(step / total,
                       (time.time() - began) / (60 * options["minutes"]))
            if done < min(next_measure, 1.0):
                continue
            next_measure += 1 / options["measures"]
            now = measure(model, dev, options["end"])[0]
            now /= options["dev_bytes"] * math.log(2)
            log(f"step {step} {100 * done:.0f} % train {nats / seen:.4f} nats "
                f"dev {now:.4f} bits per byte {time.time() - began:.0f} s",
                flush=True)
            nats, seen = 0.0, 0
            if now < best:
                best = now
                save()
    return best
