"""Lines of token ids dealt into parallel streams for a recurrent model.

Each line is `<s> w1 .. wn` and its end is predicted as the next `<s>`. A stream
is whole lines one after the other; the model's state is carried from chunk to
chunk (truncated backpropagation through time) and reset at every `<s>`, so that
each line is learned and measured by itself, from a fresh state.
"""

import heapq

import torch

IGNORED = -100


def encode_lines(tokenizer, lines):
    """Token ids of every line, the leading special token of the file included."""
    return [encoding.ids for encoding in tokenizer.encode_batch(lines)]


def deal(lines, rows, end):
    """inputs, targets [T, rows]: whole lines, each given to the shortest row."""
    heap = [(0, row) for row in range(rows)]
    parts = [[] for _ in range(rows)]
    for ids in lines:
        length, row = heap[0]
        parts[row].append(ids)
        heapq.heapreplace(heap, (length + len(ids), row))
    longest = max(length for length, _ in heap)
    inputs = torch.full((longest, rows), end, dtype=torch.long)
    targets = torch.full((longest, rows), IGNORED, dtype=torch.long)
    for row, ids_list in enumerate(parts):
        flat = torch.tensor([i for ids in ids_list for i in ids] + [end])
        inputs[:len(flat) - 1, row] = flat[:-1]
        targets[:len(flat) - 1, row] = flat[1:]
    return inputs, targets


def chunks(inputs, targets, steps):
    """Cut streams into pieces of at most steps positions."""
    for at in range(0, len(inputs), steps):
        yield inputs[at:at + steps], targets[at:at + steps]


def shuffled_chunks(lines, rows, steps, end, generator):
    """Chunks of one epoch: the lines in a new order."""
    order = torch.randperm(len(lines), generator=generator).tolist()
    inputs, targets = deal([lines[i] for i in order], rows, end)
    yield from chunks(inputs, targets, steps)
