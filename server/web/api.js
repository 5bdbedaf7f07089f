// Requests to the daemon this page came from.
import { readFrame } from "./tensor.js";

export class ApiError extends Error {
  constructor(status, error) {
    super(error.message || `the server answered ${status}`);
    this.status = status;
    this.param = error.param || "";
  }
}

// -> { reply, tensors, bytes }; tensors is empty for JSON.
async function readReply(response) {
  const buffer = await response.arrayBuffer();
  const framed = response.ok && response.headers.get("Inference-Header-Content-Length");
  if (framed) {
    return { ...readFrame(buffer, Number(framed)), bytes: buffer.byteLength };
  }
  const text = new TextDecoder().decode(buffer);
  let reply = null;
  try {
    reply = JSON.parse(text);
  } catch {
    throw new ApiError(response.status, { message: text.slice(0, 200) });
  }
  if (!response.ok) {
    throw new ApiError(response.status, reply.error || {});
  }
  return { reply, tensors: {}, bytes: buffer.byteLength };
}

export async function get(path) {
  return (await readReply(await fetch(path))).reply;
}

// -> { reply, tensors, bytes, ms, timing }; throws ApiError, or AbortError by the signal.
export async function post(path, body, signal) {
  const started = performance.now();
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  const answer = await readReply(response);
  const ms = performance.now() - started;
  return { ...answer, ms, timing: response.headers.get("Server-Timing") || "" };
}

// "queue;dur=0.1, compute;dur=3.2" -> "queue 0.10 ms, compute 3.20 ms"
export function timingText({ ms, timing, bytes }) {
  const parts = timing
    .split(",")
    .map((part) => /^\s*([\w-]+)\s*;\s*dur=([\d.]+)/.exec(part))
    .filter(Boolean)
    .map(([, name, value]) => `${name} ${Number(value).toFixed(2)} ms`);
  const size = bytes < 10000 ? `${bytes} bytes` : `${Math.round(bytes / 1000)} kB`;
  return `Answered in ${ms.toFixed(1)} ms (${parts.join(", ")}), ${size}.`;
}

// The request as a command; as JSON, which people can read, where the page asks for binary.
export function curlText(path, body) {
  const { encoding, dtype, ...rest } = body;
  const json = JSON.stringify(rest).replaceAll("'", "'\\''");
  return `curl ${location.origin}${path} -H 'Content-Type: application/json' \\\n  -d '${json}'`;
}
