"""Write a model folder: config.json, model.safetensors, tokenizer.json.

The safetensors writer is a page of standard library so that what ends up in the
folder is easy to see: 8 bytes header length, a JSON header, then the raw tensors.
"""
import json
import os
import struct

import torch

DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}


def _bytes(tensor, dtype):
    tensor = tensor.detach().cpu().to(dtype).contiguous()
    if not torch.isfinite(tensor.float()).all():
        raise ValueError(f"a value does not fit {dtype}")
    if dtype == torch.bfloat16:
        tensor = tensor.view(torch.int16)
    return tensor.numpy().tobytes()


def write_safetensors(path, tensors, kind="F16"):
    """tensors: name -> tensor, all stored as kind. Data start 8-byte aligned."""
    header, blobs, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name in sorted(tensors):
        blob = _bytes(tensors[name], DTYPES[kind])
        header[name] = {"dtype": kind, "shape": list(tensors[name].shape),
                        "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    temporary = path + ".part"
    with open(temporary, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for blob in blobs:
            out.write(blob)
    os.replace(temporary, path)
    return 8 + len(text) + at


def write_model(folder, config, tensors, tokenizer, kind="F16"):
    """One complete folder. tokenizer: a tokenizers.Tokenizer or its JSON text.

    Returns the size of model.safetensors in bytes.
    """
    os.makedirs(folder, exist_ok=True)
    config = dict(config, torch_dtype={"F16": "float16", "BF16": "bfloat16",
                                       "F32": "float32"}[kind])
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as out:
        json.dump(config, out, indent=2, ensure_ascii=False)
        out.write("\n")
    text = tokenizer if isinstance(tokenizer, str) else tokenizer.to_str()
    with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as out:
        json.dump(json.loads(text), out, indent=0, ensure_ascii=False)
        out.write("\n")
    return write_safetensors(os.path.join(folder, "model.safetensors"), tensors, kind)


def rounded(tensors, kind="F16"):
    """The float tensors that a reader of the written file will see."""
    return {name: t.detach().to(DTYPES[kind]).float() for name, t in tensors.items()}
