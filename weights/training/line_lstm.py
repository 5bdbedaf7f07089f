"""Training of a recurrent language model on streams of lines, on a CPU.

`LineScan` is an LSTM layer over time with a hand-written gradient that forgets
its state where a new line starts. Its products may run in bfloat16 (values stay
float32 in between). `python line_lstm.py` checks values and gradients against
nn.LSTM run line by line.
"""

import math
import time

import torch
from torch import nn
from torch.nn.functional import cross_entropy, dropout, linear

import streams


class LineScan(torch.autograd.Function):
    """x [T,B,4H] input part of the gates (order i,f,g,o), w [4H,H],
    keep [T,B,1] 0 where a line starts, h0 and c0 [B,H], dtype of the products.
    Returns h [T,B,H] and the last c [B,H]."""

    @staticmethod
    def forward(ctx, x, w, keep, h0, c0, dtype):
        steps, batch, wide = x.shape
        size = wide // 4
        gates = x.clone()
        wt = w.t().to(dtype).contiguous()
        befores = x.new_empty(2, steps, batch, size)
        tanhs = x.new_empty(steps, batch, size)
        out = x.new_empty(steps, batch, size)
        h, c = h0, c0
        for t in range(steps):
            h_in = torch.mul(h, keep[t], out=befores[0, t])
            c_in = torch.mul(c, keep[t], out=befores[1, t])
            g = gates[t]
            g += h_in.to(dtype) @ wt
            g[:, :2 * size].sigmoid_()
            g[:, 2 * size:3 * size].tanh_()
            g[:, 3 * size:].sigmoid_()
            i, f, n, o = g.split(size, dim=-1)
            c = (f * c_in).addcmul_(i, n)
            torch.tanh(c, out=tanhs[t])
            h = torch.mul(o, tanhs[t], out=out[t])
        ctx.save_for_backward(gates, befores, tanhs, w, keep)
        ctx.dtype = dtype
        return out, c

    @staticmethod
    def backward(ctx, grad_out, grad_c):
        gates, befores, tanhs, w, keep = ctx.saved_tensors
        steps, batch, size = tanhs.shape
        grad = torch.empty_like(gates)
        w_low = w.to(ctx.dtype)
        dc = grad_c.clone()
        dh = torch.zeros_like(dc)
        for t in range(steps - 1, -1, -1):
            dh += grad_out[t]
            i, f, n, o = gates[t].split(size, dim=-1)
            gi, gf, gn, go = grad[t].split(size, dim=-1)
            tmp = dh * o
            dc += tmp.addcmul_(tmp * tanhs[t], tanhs[t], value=-1)
            torch.mul(dh, tanhs[t], out=go)
            go.mul_(o).addcmul_(go, o, value=-1)
            torch.mul(dc, n, out=gi)
            gi.mul_(i).addcmul_(gi, i, value=-1)
            torch.mul(dc, befores[1, t], out=gf)
            gf.mul_(f).addcmul_(gf, f, value=-1)
            torch.mul(dc, i, out=gn)
            gn.addcmul_(gn * n, n, value=-1)
            dc.mul_(f).mul_(keep[t])
            dh = (grad[t].to(ctx.dtype) @ w_low).float().to(dh.dtype) * keep[t]
        dw = (grad.view(-1, 4 * size).t().to(ctx.dtype)
              @ befores[0].view(-1, size).to(ctx.dtype)).to(w.dtype)
        return grad, dw, None, dh, dc, None


class LineModel:
    """An RNNForCausalLM (its LSTM layers) run over streams of lines."""

    def __init__(self, model, start, dtype=torch.bfloat16):
        self.model, self.start, self.dtype = model, start, dtype

    def product(self, x, weight, bias):
        out = linear(x.to(self.dtype), weight.to(self.dtype))
        return out.to(weight.dtype) + bias

    def fresh(self, rows):
        rnn = self.model.rnn
        zeros = self.model.embedding.weight.new_zeros(rows, rnn.hidden_size)
        return [(zeros, zeros)] * rnn.num_layers

    def hidden(self, inputs, states):
        """inputs [T,B] -> outputs [T,B,H] and the states to go on from."""
        model, drop = self.model, self.model.dropout
        x = dropout(model.embedding(inputs), drop, model.training)
        keep = (inputs != self.start).unsqueeze(-1).to(x.dtype)
        after = []
        for k, (h, c) in enumerate(states):
            weights = [getattr(model.rnn, f"{name}_l{k}") for name in
                       ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            gates = self.product(x, weights[0], weights[2] + weights[3])
            y, c = LineScan.apply(gates, weights[1], keep, h, c, self.dtype)
            after.append((y[-1].detach(), c.detach()))
            x = dropout(y, drop, model.training)
        return x, after

    def loss(self, hidden, targets):
        """Sum of nats and number of targets, over the whole vocabulary."""
        flat, targets = hidden.flatten(0, 1), targets.flatten()
        decoder = self.model.decoder
        logits = self.product(flat, decoder.weight, decoder.bias)
        nats = cross_entropy(logits, targets, reduction="sum",
                             ignore_index=streams.IGNORED)
        return nats, int((targets != streams.IGNORED).sum())

    def sampled_loss(self, hidden, targets, head, samples):
        """As loss, with the sum over the vocabulary estimated: the head most
        frequent ids exactly, the others through a random sample."""
        real = targets.flatten() != streams.IGNORED
        flat, targets = hidden.flatten(0, 1)[real], targets.flatten()[real]
        weight, bias = self.model.decoder.weight, self.model.decoder.bias
        rest = len(weight) - head
        tail = torch.randperm(rest)[:samples] + head
        ids = torch.cat([torch.arange(head), tail])
        logits = self.product(flat, weight[ids], bias[ids])
        true = (flat * weight[targets]).sum(-1) + bias[targets]
        share = logits[:, head:] + math.log(rest / len(tail))
        share = share.masked_fill(tail == targets.unsqueeze(1), -math.inf)
        own = true.masked_fill(targets < head, -math.inf).unsqueeze(1)
        total = torch.logsumexp(torch.cat([logits[:, :head], share, own], 1), 1)
        return (total - true).sum(), len(targets)


@torch.no_grad()
def measure(runner, lines, rows=64, steps=64):
    """Mean nats per target over whole lines, each from a fresh state."""
    runner.model.eval()
    states, nats, count = runner.fresh(rows), 0.0, 0
    order = sorted(lines, key=len, reverse=True)
    for inputs, targets in streams.chunks(
            *streams.deal(order, rows, runner.start), steps):
        hidden, states = runner.hidden(inputs, states)
        part, n = runner.loss(hidden, targets)
        nats, count = nats + float(part), count + n
    runner.model.train()
    return nats / count


def rate(step, done, warmup=100):
    """Share of the peak learning rate: a short rise and a straight fall, to zero
    when a share of 1 of the training is done."""
    return min((step + 1) / warmup, 1.0 - done)


def train(runner, lines, dev, options, save, log=print):
    """Adam with truncated backpropagation; save() at each best dev loss.

    options: epochs, minutes (training also ends after so many, the rate falling
    in time), rows, steps, rate, clip, head and samples (0: exact loss always),
    exact_from (share of training after which the loss is exact), measures (dev
    measurements per run), patience (how many without a gain before training
    stops), seed."""
    torch.manual_seed(options["seed"])
    generator = torch.Generator().manual_seed(options["seed"])
    adam = torch.optim.Adam(runner.model.parameters(), lr=options["rate"],
                            betas=(0.9, 0.99))
    per_epoch = sum(map(len, lines)) // (options["rows"] * options["steps"]) + 1
    total = int(options["epochs"] * per_epoch)
    best, since, began, next_measure = math.inf, 0, time.time(), 0.0
    step, done, seen, nats = 0, 0.0, 0, 0.0
    while done < 1.0:
        states = runner.fresh(options["rows"])
        for inputs, targets in streams.shuffled_chunks(
                lines, options["rows"], options["steps"], runner.start, generator):
            if done >= 1.0 or not bool((targets != streams.IGNORED).any()):
                break
            adam.param_groups[0]["lr"] = options["rate"] * rate(step, done)
            hidden, states = runner.hidden(inputs, states)
            exact = not options["samples"] or done >= options["exact_from"]
            loss, n = (runner.loss(hidden, targets) if exact else
                       runner.sampled_loss(hidden, targets, options["head"],
                                           options["samples"]))
            adam.zero_grad(set_to_none=True)
            (loss / n).backward()
            nn.utils.clip_grad_norm_(runner.model.parameters(), options["clip"])
            adam.step()
            step, seen, nats = step + 1, seen + n, nats + float(loss)
            done = max(step / total,
                       (time.time() - began) / (60 * options["minutes"]))
            if done < min(next_measure, 1.0):
                continue
            next_measure += 1 / options["measures"]
            now = measure(runner, dev)
            log(f"step {step} {100 * done:.0f} % train {nats / seen:.4f} dev {now:.4f} "
                f"perplexity {math.exp(now):.2f} {time.time() - began:.0f} s",
                flush=True)
            seen, nats, since = 0, 0.0, since + 1
            if now < best:
                best, since = now, 0
                save()
            if since > options["patience"]:
                return best
    return best


def check_against_torch():
    torch.manual_seed(0)
    layer = nn.LSTM(5, 7).double()
    x = torch.randn(9, 2, 5, dtype=torch.double, requires_grad=True)
    starts = torch.zeros(9, 2, dtype=torch.bool)
    starts[0] = starts[4, 0] = starts[6, 1] = True
    weight = torch.randn(9, 2, 7, dtype=torch.double)
    zeros = torch.zeros(2, 7, dtype=torch.double)
    gates = linear(x, layer.weight_ih_l0, layer.bias_ih_l0 + layer.bias_hh_l0)
    keep = (~starts).unsqueeze(-1).double()
    ours, _ = LineScan.apply(gates, layer.weight_hh_l0, keep, zeros, zeros,
                             torch.double)
    theirs = torch.empty_like(ours)
    for row, cuts in ((0, (0, 4, 9)), (1, (0, 6, 9))):
        for a, b in zip(cuts, cuts[1:]):
            theirs[a:b, row] = layer(x[a:b, row:row + 1])[0][:, 0]
    results = []
    for out in (ours, theirs):
        grads = torch.autograd.grad((out * weight).sum(),
                                    [x, *layer.parameters()], retain_graph=True)
        results.append([out, *grads])
    for a, b in zip(*results):
        assert torch.allclose(a, b, atol=1e-10)
    print("LineScan agrees with nn.LSTM run line by line")


if __name__ == "__main__":
    check_against_torch()
