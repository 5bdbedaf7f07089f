// One attention map: how it is asked for, and what is left of it when tokens are left out.
import { cellsOf, wordCellsOf } from "./tokens.js";

// Which maps of a reply are wanted: one head, the mean of a layer's heads, or the rollout.
function selection({ layer, head, merge }) {
  if (merge === "rollout") {
    return { reduce: { layers: "rollout" } };
  }
  return merge === "mean" ? { layers: [layer], reduce: { heads: "mean" } } : { layers: [layer], heads: [head] };
}

// input: the text, pair or ids; choice: { layer, head, merge, kind, words, pooled }.
export function mapBody(input, choice) {
  const body = { ...input, encoding: "binary", predict: false, offset_unit: "utf16" };
  if (choice.pooled) {
    return body;
  }
  Object.assign(body, selection(choice));
  if (choice.kind && choice.kind !== "weights" && choice.merge !== "rollout") {
    body.kind = choice.kind;
  }
  if (choice.words) {
    body.reduce = { ...body.reduce, tokens: "word" };
  }
  return body;
}

// From an answer: { rows, columns: cells; values: row-major, NaN where nothing is seen }.
// known: the cells of the text, where the reply has ids only.
export function mapOf({ reply, tensors }, texts, known = null) {
  const { shape, data } = tensors.attention;
  const words = reply.words ? wordCellsOf(reply, texts) : null;
  const cells = words || (known || cellsOf(reply.tokens));
  const pooled = reply.mask === "pooling";
  const columns = words || reply.key_tokens.map((i) => cells[i]);
  const rows = pooled ? Array.from({ length: shape[0] }, (_, i) => ({ name: `hop ${i}` }))
    : words || reply.query_tokens.map((i) => cells[i]);
  const values = data.map((value) => (Number.isFinite(value) ? value : NaN));
  return { cells, rows, columns, values, pooled, kind: reply.attention.kind, mask: reply.mask };
}

// The map without some columns; rows that summed to 1 do so again. Returns a new map.
export function without(map, { first, special }) {
  const left = map.columns.map((cell, c) => (first && c === 0) || (special && cell.special));
  if (!left.includes(true)) {
    return map;
  }
  const width = map.columns.length;
  const values = map.values.slice();
  for (let r = 0; r < map.rows.length; r++) {
    const row = values.subarray(r * width, (r + 1) * width);
    const gone = row.reduce((sum, value, c) => sum + (left[c] ? value : 0), 0);
    const share = map.kind === "weights" && gone < 0.999999 ? 1 / (1 - gone) : 1;
    row.forEach((value, c) => (row[c] = left[c] ? NaN : value * share));
  }
  return { ...map, values };
}

export function rangeOf(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    low = value < low ? value : low;
    high = value > high ? value : high;
  }
  return high >= low ? { low, high } : { low: 0, high: 1 };
}

// What a row looks at, or what looks at a column, by cell of the text; null: no such row,
// or a key that stands behind the row of a causal map.
export function along(map, i, byColumn) {
  const width = map.columns.length;
  const seen = (row, column) => map.mask !== "causal" || column <= row;
  const by = new Map();
  if (byColumn) {
    map.rows.forEach((cell, r) => seen(r, i) && by.set(cell, map.values[r * width + i]));
  } else if (i < map.rows.length) {
    map.columns.forEach((cell, c) => seen(i, c) && by.set(cell, map.values[i * width + c]));
  }
  return map.cells.map((cell) => (by.has(cell) ? by.get(cell) : null));
}
