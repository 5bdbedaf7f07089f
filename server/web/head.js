// One map: the heat map, the text shaded by the pinned token, the numbers of both.
import { drawBar } from "./colour.js";
import { HeatMap } from "./heatmap.js";
import { along, mapBody, mapOf, rangeOf, without } from "./maps.js";
import { saveBar, viewRows } from "./save.js";
import { ShadedText } from "./shade.js";

const TOP = 5;
const SIGNED = "scores"; // may be negative

export function headView(root, panel, changed) {
  const field = Object.fromEntries(["merge", "kind", "scale", "way", "first", "special", "words", "large"]
    .map((name) => [name, root.querySelector(`#hd-${name}`)]));
  const title = root.querySelector("#hd-title");
  const read = root.querySelector("#hd-read");
  const pointed = root.querySelector("#hd-cell");
  const bar = root.querySelector("#hd-bar");
  const text = new ShadedText(root.querySelector("#hd-text"), { label: "Tokens of the text", onChoose: pin });
  const heat = new HeatMap(root.querySelector("#hd-map"), { onMove: point, onPin: pinCell });
  const slider = root.querySelector("#hd-step");
  let [reading, answer, whole, map] = [null, null, null, null];
  let [layer, head, pinned] = [0, 0, 0];

  const byColumn = () => !map.pooled && field.way.value === "column";
  const merge = () => (reading.pooled ? "" : field.merge.value);

  function nameOfMap() {
    return reading.pooled ? "Attention pooling" : {
      mean: `Layer ${layer}, mean of its heads`, rollout: "Rollout through all layers",
    }[merge()] || `Layer ${layer} head ${head}`;
  }

  async function ask() {
    const words = field.words.checked && !reading.ids;
    const input = reading.ids ? { input_ids: reading.ids } : reading.input;
    answer = await panel.post("/v1/attention", mapBody(input, {
      layer, head, merge: merge(), kind: field.kind.value, words, pooled: reading.pooled,
    }), { channel: "head", model: reading.reply.model });
    if (answer) {
      whole = mapOf(answer, reading.texts, reading.ids ? reading.cells : null);
      text.write(reading.texts, whole.cells);
      draw();
      if (!slider.hidden) {
        step();
      }
      changed();
    }
  }

  function draw() {
    map = without(whole, { first: field.first.checked, special: field.special.checked });
    pinned = Math.min(pinned, (map.pooled ? map.rows : map.cells).length - 1);
    const range = rangeOf(map.values);
    const low = map.kind === SIGNED ? range.low : 0;
    title.textContent = nameOfMap();
    heat.draw({
      label: nameOfMap(), rows: map.rows.map(({ name }) => name), columns: map.columns.map(({ name }) => name),
      values: map.values, low, high: range.high, scale: field.scale.value, large: field.large.checked,
      cellHeight: map.pooled ? 28 : 0,
    });
    drawBar(bar, heat.view);
    pointed.textContent = "";
    shade();
  }

  // Everything that depends on the pinned token.
  function shade() {
    const column = byColumn();
    heat.pin(column ? -1 : pinned < map.rows.length ? pinned : -1, column ? pinned : -1);
    const values = along(map, pinned, column);
    const known = values.filter((value) => value !== null && !Number.isNaN(value));
    const { low, high } = rangeOf(known);
    text.paint(values, { low: map.kind === SIGNED ? low : 0, high, scale: field.scale.value },
      map.pooled ? -1 : pinned);
    const who = map.pooled ? `Hop ${pinned}` : `“${map.cells[pinned].name}”`;
    if (known.length === 0) {
      read.textContent = `${who} has no row: it was never fed.`;
      return;
    }
    const best = values.map((value, i) => [value, i]).filter(([value]) => value !== null && !Number.isNaN(value))
      .sort((a, b) => b[0] - a[0]).slice(0, TOP)
      .map(([value, i]) => `“${map.cells[i].name}” ${value.toFixed(3)}`);
    read.textContent = `${who} ${column ? "is looked at by" : "looks at"}: ${best.join(", ")}`;
  }

  function pin(i) {
    if (!map.pooled) {
      pinned = i;
      shade();
      changed();
    }
  }

  // Of generated text: the row that stands before the k-th token is the one it was written from.
  function step() {
    const input = slider.querySelector("input");
    const first = reading.cells.findIndex((cell) => cell.generated);
    const at = first + Number(input.value) - 1;
    field.way.value = "row";
    pinned = at - 1;
    shade();
    text.spans.forEach((span, i) => span.classList.toggle("later", i > at));
    slider.querySelector("output").textContent = `${input.value} of ${input.max}: “${reading.cells[at].name}”`;
    changed();
  }

  function pinCell({ row, column }) {
    pinned = byColumn() ? column : row;
    shade();
    changed();
  }

  function point({ row, column }) {
    const value = map.values[row * map.columns.length + column];
    const said = Number.isNaN(value) ? "not seen or left out" : value.toFixed(4);
    pointed.textContent = `${map.rows[row].name} → ${map.columns[column].name}: ${said}`;
  }

  for (const name of ["merge", "kind", "words"]) {
    field[name].addEventListener("change", ask);
  }
  for (const name of ["scale", "way", "first", "special", "large"]) {
    field[name].addEventListener("change", () => {
      draw();
      changed();
    });
  }
  slider.addEventListener("input", step);
  saveBar(root.querySelector("#hd-save"), {
    name: () => `attention-${nameOfMap().toLowerCase().replaceAll(/\W+/g, "-")}`,
    title: () => `${nameOfMap()} of ${reading.reply.model}`,
    map: () => heat,
    rows: () => viewRows(heat.view),
    json: () => ({ ...answer.reply, outputs: undefined, data: rowsOf(whole) }),
    tensor: () => ({ shape: [whole.rows.length, whole.columns.length], data: whole.values }),
  });

  return {
    // reading: { reply, texts, cells, input, ids, pooled }, as attention.js makes it
    show(newReading, [newLayer, newHead]) {
      if (!reading || reading.texts.join() !== newReading.texts.join()) {
        pinned = root.dataset.pin ? Number(root.dataset.pin)
          : Math.max(newReading.cells.findIndex((cell) => !cell.special), 0);
        delete root.dataset.pin;
      }
      [reading, layer, head] = [newReading, newLayer, newHead];
      slider.hidden = !reading.ids;
      slider.querySelector("input").max = reading.reply.generated?.tokens || 1;
      for (const name of ["merge", "kind", "way", "words"]) {
        field[name].closest("label").hidden = reading.pooled;
      }
      ask();
    },
    pin,
    state() {
      const kept = { pin: pinned };
      for (const [name, input] of Object.entries(field)) {
        const usual = input.type === "checkbox" ? input.checked : input.selectedIndex > 0;
        kept[name] = input.type === "checkbox" ? input.checked : usual ? input.value : "";
      }
      return kept;
    },
    restore(state) {
      for (const [name, input] of Object.entries(field)) {
        if (input.type === "checkbox") {
          input.checked = state[name] === undefined ? input.checked : state[name] === "1";
        } else if (state[name] !== undefined) {
          input.value = state[name];
        }
      }
      if (state.pin !== undefined) {
        root.dataset.pin = state.pin;
      }
    },
    redraw: () => map && draw(),
  };
}

function rowsOf({ rows, columns, values }) {
  return rows.map((_, r) => Array.from(values.subarray(r * columns.length, (r + 1) * columns.length),
    (value) => (Number.isNaN(value) ? null : value)));
}
