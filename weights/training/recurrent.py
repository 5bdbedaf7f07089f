"""The recurrent models of this project as PyTorch modules.

RNNForCausalLM and RNNForSequenceClassification have exactly the parameters, under
exactly the names, that the server reads: `torch.save`-style training code needs no
renaming before export. Batches are padded on the right; `lengths` says how many
positions of each row are real, and padding never reaches an answer.

A batch of unequal lengths is not packed: in PyTorch 1.13 the backward pass of a packed
sequence copies the whole input gradient once per step, so that it is quadratic in the
length (18 times slower at 200 words). Instead each direction runs over the padded
batch, the backward one over texts turned around within their own length.
`python recurrent.py` checks this against nn.LSTM, nn.GRU and nn.RNN.
"""
import math

import torch
from torch import nn

CELLS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


SCANS = {"lstm": torch._VF.lstm, "gru": torch._VF.gru, "tanh": torch._VF.rnn_tanh,
         "relu": torch._VF.rnn_relu}


def reverse_padded(x, lengths):
    """x [T,B,F] with the first lengths[b] positions of each row turned around."""
    t = torch.arange(x.shape[0], device=x.device).unsqueeze(1)
    last = lengths.unsqueeze(0) - 1
    index = torch.where(t <= last, last - t, t)
    return x.gather(0, index.unsqueeze(-1).expand_as(x))


class _Recurrent(nn.Module):
    """Embedding and stacked recurrent layers; the two models below add a head."""

    def __init__(self, config, dropout=0.0):
        super().__init__()
        self.config = config
        self.dropout = dropout
        self.embedding = nn.Embedding(config["vocab_size"], config["embedding_dim"])
        cell = CELLS[config["cell"]]
        extra = {}
        if config["cell"] == "rnn":
            extra["nonlinearity"] = config.get("nonlinearity", "tanh")
        layers = config.get("num_layers", 1)
        self.bidirectional = config.get("bidirectional", False)
        self.rnn = cell(config["embedding_dim"], config["hidden_size"], layers,
                        bias=config.get("bias", True), batch_first=True,
                        bidirectional=self.bidirectional,
                        dropout=dropout if layers > 1 else 0.0, **extra)
        self._init_recurrent()

    def _init_recurrent(self):
        """Orthogonal recurrent matrices and, for the LSTM, a forget bias of 1."""
        for name, p in self.rnn.named_parameters():
            if "weight_hh" in name:
                for part in p.data.split(self.config["hidden_size"]):
                    nn.init.orthogonal_(part)
            elif "weight_ih" in name:
                nn.init.xavier_uniform_(p)
            elif "bias" in name:
                nn.init.zeros_(p)
                if "bias_ih" in name and self.config["cell"] == "lstm":
                    size = self.config["hidden_size"]
                    p.data[size:2 * size] = 1.0

    def _suffixes(self, layer):
        return [f"_l{layer}"] + ([f"_l{layer}_reverse"] if self.bidirectional else [])

    def _direction(self, x, end, state):
        """One direction of one layer over x [T,B,F] -> outputs [T,B,H], last state."""
        names = ["weight_ih", "weight_hh"]
        if self.rnn.bias:
            names += ["bias_ih", "bias_hh"]
        params = [getattr(self.rnn, name + end) for name in names]
        kind = self.config["cell"]
        if kind == "rnn":
            kind = self.config.get("nonlinearity", "tanh")
        state = state if kind == "lstm" else state[0]
        out = SCANS[kind](x, state, params, self.rnn.bias, 1, 0.0, self.training,
                          False, False)
        return out[0], out[1:]

    def run(self, x, lengths=None, state=None):
        """x [B,T,I] embedded text -> outputs [B,T,D*H] and the new state.

        The state is a tuple of tensors [layers*D,B,H] (h and c for an LSTM, h alone
        otherwise). After a padded batch it includes the padding: carry it on only
        when all texts are equally long.
        """
        batch, steps = x.shape[:2]
        if lengths is None:
            lengths = torch.full((batch,), steps, dtype=torch.long, device=x.device)
        ends = self._suffixes
        parts = 2 if self.config["cell"] == "lstm" else 1
        rows = self.rnn.num_layers * len(ends(0))
        if state is None:
            zeros = x.new_zeros(rows, batch, self.config["hidden_size"])
            state = (zeros,) * parts
        last = []
        x = x.transpose(0, 1)
        for layer in range(self.rnn.num_layers):
            if layer:
                x = nn.functional.dropout(x, self.dropout, self.training)
            outs = []
            for d, end in enumerate(ends(layer)):
                begin = [s[len(last):len(last) + 1] for s in state]
                source = reverse_padded(x, lengths) if d else x
                out, after = self._direction(source, end, begin)
                outs.append(reverse_padded(out, lengths) if d else out)
                last.append(after)
            x = torch.cat(outs, dim=-1) if len(outs) > 1 else outs[0]
        state = tuple(torch.cat([s[i] for s in last]) for i in range(parts))
        return x.transpose(0, 1), state


class RNNForCausalLM(_Recurrent):
    """Next-token model: logits [B,T,V] and the state to go on from."""

    def __init__(self, config, dropout=0.0):
        super().__init__(config, dropout)
        self.decoder = nn.Linear(config["hidden_size"], config["vocab_size"])
        if config.get("tie_word_embeddings"):
            self.decoder.weight = self.embedding.weight

    def hidden(self, ids, state=None):
        """Outputs before the decoder: [B,T,H] and the new state."""
        x = nn.functional.dropout(self.embedding(ids), self.dropout, self.training)
        x, state = self.run(x, None, state)
        return nn.functional.dropout(x, self.dropout, self.training), state

    def forward(self, ids, state=None):
        x, state = self.hidden(ids, state)
        return self.decoder(x), state


class AttentionPooling(nn.Module):
    """Additive attention over positions; several hops are laid end to end."""

    def __init__(self, width, size, hops=1):
        super().__init__()
        self.proj = nn.Linear(width, size)
        self.context = nn.Linear(size, hops, bias=False)

    def forward(self, x, mask):
        """x [B,T,C], mask [B,T] true where real -> pooled [B,R*C], weights [B,R,T]."""
        score = self.context(torch.tanh(self.proj(x))).transpose(1, 2)
        score = score.masked_fill(~mask.unsqueeze(1), -math.inf)
        weights = torch.softmax(score, dim=-1)
        return torch.bmm(weights, x).flatten(1), weights


class RNNForSequenceClassification(_Recurrent):
    """Text classifier: logits [B,L] for ids [B,T] of which lengths [B] are real."""

    def __init__(self, config, dropout=0.0):
        super().__init__(config, dropout)
        width = config["hidden_size"] * (2 if self.bidirectional else 1)
        self.kind = config.get("pooling", "last")
        hops = config.get("attention_hops", 1) if self.kind == "attention" else 1
        if self.kind == "attention":
            self.pooling = AttentionPooling(width, config["attention_size"], hops)
        self.classifier = nn.Linear(width * hops, len(config["id2label"]))

    def pool(self, x, lengths):
        mask = torch.arange(x.shape[1]).unsqueeze(0) < lengths.unsqueeze(1)
        if self.kind == "attention":
            return self.pooling(x, mask)[0]
        if self.kind == "mean":
            return (x * mask.unsqueeze(-1)).sum(1) / lengths.unsqueeze(1)
        if self.kind == "max":
            return x.masked_fill(~mask.unsqueeze(-1), -math.inf).max(1).values
        size = self.config["hidden_size"]
        rows = torch.arange(x.shape[0])
        parts = [x[rows, lengths - 1, :size]]
        if self.bidirectional:
            parts.append(x[:, 0, size:])
        return torch.cat(parts, dim=-1)

    def forward(self, ids, lengths):
        drop = nn.functional.dropout
        x = drop(self.embedding(ids), self.dropout, self.training)
        x, _ = self.run(x, lengths)
        pooled = drop(self.pool(x, lengths), self.dropout, self.training)
        return self.classifier(pooled)


def _check_against_torch(cell, layers, both):
    """Same outputs, states and gradients as PyTorch's module; padding is inert."""
    torch.manual_seed(0)
    config = {"vocab_size": 11, "embedding_dim": 5, "cell": cell, "hidden_size": 7,
              "num_layers": layers, "bidirectional": both, "pooling": "attention",
              "attention_size": 3, "id2label": {"0": "a", "1": "b"}}
    model = RNNForSequenceClassification(config).double()
    x = torch.randn(3, 6, 5, dtype=torch.double, requires_grad=True)
    weight = torch.randn(3, 6, 7 * (2 if both else 1), dtype=torch.double)
    results = []
    for run in (model.run, model.rnn):
        model.zero_grad()
        x.grad = None
        out, state = run(x)
        state = state if isinstance(state, tuple) else (state,)
        ((out * weight).sum() + sum(s.sum() for s in state)).backward()
        grads = [p.grad.clone() for p in model.rnn.parameters()]
        results.append([out, *state, x.grad.clone(), *grads])
    for ours, theirs in zip(*results):
        assert torch.allclose(ours, theirs, atol=1e-10), (cell, layers, both)
    lengths = torch.tensor([6, 4, 1])
    ids = torch.randint(0, 11, (3, 6))
    padded = model(ids, lengths)
    for b, n in enumerate(lengths):
        alone = model(ids[b:b + 1, :n], n.unsqueeze(0))
        assert torch.allclose(padded[b], alone[0], atol=1e-10)


if __name__ == "__main__":
    for cell_name in CELLS:
        for n_layers in (1, 2):
            for two_way in (False, True):
                _check_against_torch(cell_name, n_layers, two_way)
    print("12 configurations agree with torch.nn")
