"""The Python peer over HTTP: FastAPI, uvicorn, tokenizers and ONNX Runtime.

    python fastapi_server.py MODEL.onnx TOKENIZER.json PORT THREADS

POST /v1/sentiment {"text": ..} answers {"label": .., "score": .., "scores": {..}}.
"""

import sys

import numpy as np
import onnxruntime as ort
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from tokenizers import Tokenizer

LABELS = ("negative", "positive")
model_path, tokenizer_path, port, threads = sys.argv[1:]
options = ort.SessionOptions()
options.intra_op_num_threads = int(threads)
session = ort.InferenceSession(model_path, options, providers=["CPUExecutionProvider"])
tokenizer = Tokenizer.from_file(tokenizer_path)
app = FastAPI()


class Request(BaseModel):
    text: str


@app.get("/readyz")
def ready():
    return {"status": "ready"}


@app.post("/v1/sentiment")
def sentiment(request: Request):
    ids = np.array([tokenizer.encode(request.text).ids], np.int64)
    logits = session.run(["logits"], {"input_ids": ids,
                                      "attention_mask": np.ones_like(ids)})[0][0]
    e = np.exp(logits - logits.max())
    scores = dict(zip(LABELS, (e / e.sum()).tolist()))
    label = max(scores, key=scores.get)
    return {"label": label, "score": scores[label], "scores": scores}


uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="error", access_log=False)
