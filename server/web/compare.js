// Two maps on one scale with one cursor, and their difference: of two texts, two models or
// two heads.
import { drawBar } from "./colour.js";
import { fill } from "./dom.js";
import { HeatMap } from "./heatmap.js";
import { mapBody, mapOf, rangeOf } from "./maps.js";
import { saveBar, viewRows } from "./save.js";

// Pairs of places: one by one where counts agree, else the longest common run of equal names.
export function aligned(a, b) {
  if (a.length === b.length) {
    return a.map((_, i) => [i, i]);
  }
  const [n, m] = [a.length, b.length];
  const same = (i, j) => a[i].name.trim().toLowerCase() === b[j].name.trim().toLowerCase();
  const most = new Uint16Array((n + 1) * (m + 1)); // of what is left from i and j on
  for (let i = n - 1; i >= 0; i--) {
    for (let j = m - 1; j >= 0; j--) {
      most[i * (m + 1) + j] = same(i, j) ? most[(i + 1) * (m + 1) + j + 1] + 1
        : Math.max(most[(i + 1) * (m + 1) + j], most[i * (m + 1) + j + 1]);
    }
  }
  const pairs = [];
  for (let [i, j] = [0, 0]; i < n && j < m;) {
    if (same(i, j)) {
      pairs.push([i++, j++]);
    } else if (most[(i + 1) * (m + 1) + j] >= most[i * (m + 1) + j + 1]) {
      i++;
    } else {
      j++;
    }
  }
  return pairs;
}

// First less second, at the places that both have.
function differenceOf(a, b) {
  const [rows, columns] = [aligned(a.rows, b.rows), aligned(a.columns, b.columns)];
  const values = new Float32Array(rows.length * columns.length);
  rows.forEach(([r, s], i) => columns.forEach(([c, d], j) => {
    values[i * columns.length + j] = a.values[r * a.columns.length + c] - b.values[s * b.columns.length + d];
  }));
  const names = (pairs, from, to) => pairs.map(([i, j]) => (from[i].name === to[j].name ? from[i].name
    : `${from[i].name}/${to[j].name}`));
  return { places: [rows, columns], rows: names(rows, a.rows, b.rows), columns: names(columns, a.columns, b.columns), values };
}

export function compareView(root, panel, changed) {
  const find = (name) => root.querySelector(`#cm-${name}`);
  const [text, model, first, second, scale] = ["text", "model", "first", "second", "scale"].map(find);
  const read = find("cell");
  const heats = ["a", "b", "d"].map((name, k) => new HeatMap(find(name), { onMove: (cell) => follow(k, cell) }));
  let [reading, maps, difference] = [null, null, null];

  function headsOf(info) {
    const { mask, layers, heads } = info.attention || { mask: "pooling" };
    return mask === "pooling" ? [["", "pooling"]] : Array.from({ length: layers * heads },
      (_, i) => [`${Math.floor(i / heads)}.${i % heads}`, `${Math.floor(i / heads)}.${i % heads}`]);
  }

  async function one(channel, input, info, select) {
    const [layer, head] = select.value.split(".").map(Number);
    const answer = await panel.post("/v1/attention", mapBody(input, { layer, head, pooled: select.value === "" }),
      { channel, model: info.id });
    return answer && mapOf(answer, [input.text, input.text_pair || ""]);
  }

  async function ask() {
    const own = reading.input;
    const other = panel.known.get(model.value);
    const input = text.value === own.text ? own : { text: text.value };
    const got = await Promise.all([one("a", own, panel.info, first), one("b", input, other, second)]);
    if (got[0] && got[1]) {
      maps = got;
      draw();
      changed();
    }
  }

  function draw() {
    const names = [`${panel.model} ${first.value}`, `${model.value} ${second.value}`];
    const high = Math.max(...maps.map(({ values }) => rangeOf(values).high));
    maps.forEach((map, k) => {
      heats[k].draw({
        label: names[k], rows: map.rows.map(({ name }) => name), columns: map.columns.map(({ name }) => name),
        values: map.values, low: 0, high, scale: scale.value, cellHeight: map.pooled ? 28 : 0,
      });
      find(`${"ab"[k]}-name`).textContent = names[k];
    });
    drawBar(find("bar"), heats[0].view);
    const [a, b] = maps;
    difference = a.pooled === b.pooled ? differenceOf(a, b) : null;
    const shown = Boolean(difference && difference.values.length);
    find("d").closest("figure").hidden = !shown;
    read.textContent = shown ? "" : "These two have no place in common.";
    if (shown) {
      const { low, high: top } = rangeOf(difference.values);
      const far = Math.max(-low, top, 1e-9);
      heats[2].draw({
        ...difference, label: "First less second", low: -far, high: far, signed: true, cellHeight: a.pooled ? 28 : 0,
      });
      drawBar(find("dbar"), heats[2].view);
      find("d-name").textContent = a.columns.length === b.columns.length ? "First less second, place by place"
        : `First less second, at the ${difference.columns.length} tokens both have`;
    }
  }

  // One cursor for all three: from the place in map k to the place in the difference and on.
  function follow(k, { row, column }) {
    if (!difference) {
      return;
    }
    const at = [row, column].map((i, axis) => (k === 2 ? i : difference.places[axis].findIndex((pair) => pair[k] === i)));
    const known = at[0] >= 0 && at[1] >= 0;
    const places = at.map((i, axis) => (i >= 0 ? [...difference.places[axis][i], i] : [-1, -1, -1]));
    heats.forEach((heat, to) => to !== k && heat.view && heat.point(places[0][to], places[1][to]));
    const value = (map, to) => map.values[places[0][to] * map.columns.length + places[1][to]].toFixed(4);
    read.textContent = known ? `${difference.rows[at[0]]} → ${difference.columns[at[1]]}: `
      + `${value(maps[0], 0)} and ${value(maps[1], 1)}, difference ${value(difference, 2)}`
      : `${maps[k].rows[row].name} → ${maps[k].columns[column].name}: only here`;
  }

  function choices() {
    const wanted = root.dataset;
    fill(model, [...panel.known.keys()].map((id) => [id, id]), wanted.model || model.value || panel.model);
    fill(second, headsOf(panel.known.get(model.value)), wanted.second || second.value || first.value);
    delete wanted.model;
    delete wanted.second;
  }

  model.addEventListener("change", () => {
    choices();
    ask();
  });
  for (const field of [first, second]) {
    field.addEventListener("change", ask);
  }
  scale.addEventListener("change", () => maps && draw());
  text.addEventListener("input", () => panel.soon(ask, 250, "b"));
  saveBar(root.querySelector(".save"), {
    name: () => "attention-difference", title: () => `${heats[0].view.label} less ${heats[1].view.label}`,
    map: () => heats[2], rows: () => viewRows(heats[2].view),
    json: () => ({ ...difference, values: Array.from(difference.values) }),
    tensor: () => ({ shape: [difference.rows.length, difference.columns.length], data: difference.values }),
  });

  return {
    show(newReading, at) {
      reading = newReading;
      fill(first, headsOf(panel.info), at.join("."));
      choices();
      ask();
    },
    state: () => ({ "text-b": text.value, "model-b": model.value, "head-b": second.value }),
    restore(state) {
      text.value = state["text-b"] ?? text.value;
      root.dataset.model = state["model-b"] || "";
      root.dataset.second = state["head-b"] || "";
    },
    redraw: () => maps && draw(),
  };
}
