// The daemon under test, on a free port, with the shipped models and one decoder that reads
// longer texts than the shipped one: the same weights, its positions repeated.
import { spawn } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

const WEIGHTS = "weights";
const LONG = "long-decoder";
const LONG_CONTEXT = 1024;
const START_MS = 30000;

export const WORK = process.env.WEB_WORK || "build/web";
const binary = join(process.env.WEB_BUILD || "build/release", "seqd");
let child = null;
export let origin = "";

// As safetensors: 8 bytes length, a JSON header, the numbers of all tensors one after another.
function lengthened(file, name, rows) {
  const headerBytes = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString("utf8", 8, 8 + headerBytes));
  const { shape, data_offsets: [from, to] } = header[name];
  const times = rows / shape[0];
  const more = (times - 1) * (to - from);
  for (const [key, tensor] of Object.entries(header)) {
    if (key !== "__metadata__" && tensor.data_offsets[0] >= to) {
      tensor.data_offsets = tensor.data_offsets.map((offset) => offset + more);
    }
  }
  header[name] = { ...header[name], shape: [rows, shape[1]], data_offsets: [from, to + more] };
  const text = JSON.stringify(header);
  const head = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(head.length));
  const data = file.subarray(8 + headerBytes);
  const repeated = Array.from({ length: times }, () => data.subarray(from, to));
  return Buffer.concat([length, head, data.subarray(0, from), ...repeated, data.subarray(to)]);
}

function makeLongDecoder() {
  const from = join(WEIGHTS, "next-word-transformer");
  const to = join(WORK, LONG);
  mkdirSync(to, { recursive: true });
  cpSync(join(from, "tokenizer.json"), join(to, "tokenizer.json"));
  const config = JSON.parse(readFileSync(join(from, "config.json"), "utf8"));
  writeFileSync(join(to, "config.json"), JSON.stringify({ ...config, n_positions: LONG_CONTEXT }));
  writeFileSync(join(to, "model.safetensors"),
    lengthened(readFileSync(join(from, "model.safetensors")), "transformer.wpe.weight", LONG_CONTEXT));
  return to;
}

export async function startDaemon(port = 0) {
  const shipped = readdirSync(WEIGHTS, { withFileTypes: true })
    .map((entry) => join(WEIGHTS, entry.name))
    .filter((folder) => { try { return readFileSync(join(folder, "config.json")); } catch { return false; } });
  const args = ["--port", String(port), ...shipped, makeLongDecoder()];
  child = spawn(binary, args, { stdio: ["ignore", "ignore", "pipe"] });
  const address = await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("the daemon does not start")), START_MS);
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`the daemon ended with ${code}`)));
    createInterface({ input: child.stderr }).on("line", (line) => {
      const event = line.startsWith("{") ? JSON.parse(line) : {};
      if (event.event === "listening") {
        clearTimeout(timer);
        resolve(event.address);
      }
    });
  });
  child.removeAllListeners("exit");
  origin = `http://${address}`;
}

export async function stopDaemon() {
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  await ended;
}

export const portOf = () => Number(new URL(origin).port);

// What the API says, asked past the page.
export async function ask(path, body) {
  const response = await fetch(origin + path, body && {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  if (!response.ok) {
    throw new Error(`${path}: ${response.status} ${await response.text()}`);
  }
  return response.json();
}

const WORDS = `it is not a great film but I loved every minute of it and the people who made it
  know what they want to say about life in a small town where nothing ever happens until
  one day an old friend comes back from the war with a story that no one can believe`.split(/\s+/);

// English of about as many words as needed for exactly `tokens` tokens of the model.
export async function textOf(model, tokens) {
  const { context } = await ask(`/v1/models/${model}`);
  if (context !== null && context < tokens) {
    throw new Error(`${model} reads ${context} tokens only`);
  }
  const path = /sentiment/.test(model) ? "/v1/sentiment" : "/v1/next-word";
  const text = (n) => Array.from({ length: n }, (_, i) => WORDS[i % WORDS.length]).join(" ");
  for (let n = tokens; n > 0; n--) {
    const { usage } = await ask(path, { model, text: text(n), ...(context ? { truncate: true } : {}) });
    if (usage.tokens === tokens && !usage.truncated) {
      return text(n);
    }
    if (usage.tokens < tokens) {
      break;
    }
  }
  throw new Error(`no text of ${tokens} tokens of ${model}`);
}
