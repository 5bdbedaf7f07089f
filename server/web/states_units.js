// One signal of one layer as a strip, units by steps; the chosen unit over the text; numbers.
import { drawBar } from "./colour.js";
import { el, fill } from "./dom.js";
import { HeatMap } from "./heatmap.js";
import { rangeOf } from "./maps.js";
import { saveBar, viewRows } from "./save.js";
import { ShadedText } from "./shade.js";
import { sortable } from "./table.js";

const NAMES = {
  i: "input gate", f: "forget gate", g: "candidate", o: "output gate", c: "cell", tanh_c: "tanh of cell", h: "state",
  r: "reset gate", z: "update gate", n: "candidate", hidden: "hidden state",
};

export function unitsView(section, { onStep, changed }) {
  const find = (name) => section.querySelector(`#st-${name}`);
  const [layer, direction, signals] = [find("layer"), find("direction"), find("signals")];
  const text = new ShadedText(find("shaded"), { label: "Tokens of the text", onChoose: onStep });
  const heat = new HeatMap(find("strip"), {
    onMove: ({ row, column }) => tell(row, column),
    onPin: ({ row, column }) => {
      unit = row;
      onStep(column);
    },
  });
  const chosen = { signal: "", layer: "", direction: "", unit: "" };
  let [reply, tensor, cells, ids, unit, step] = [null, null, [], [], 0, 0];

  const title = () => `${NAMES[chosen.signal]}, layer ${layer.value} ${direction.length > 1 ? direction.value : ""}`.trim();

  // Of the chosen signal, layer and direction: row-major, a row per unit.
  function slice() {
    const [, layers, directions, steps, units] = tensor.shape;
    const part = (reply.states.signals.indexOf(chosen.signal) * layers + layer.selectedIndex) * directions
      + direction.selectedIndex;
    return Float32Array.from({ length: steps * units },
      (_, i) => tensor.data[(part * steps + (i % steps)) * units + Math.floor(i / steps)]);
  }

  // Gates from 0 to 1, the rest up to its largest either way; a cell by its tanh.
  function scaleOf(values) {
    if (reply.states.ranges[chosen.signal]?.[0] === 0) {
      return { low: 0, high: 1 };
    }
    const { low, high } = rangeOf(values);
    const far = Math.max(-low, high);
    return { low: -far, high: far, signed: true, scale: chosen.signal === "c" ? "tanh" : "linear" };
  }

  function draw() {
    const values = slice();
    ids = reply.states.units[layer.selectedIndex][direction.selectedIndex];
    unit = Math.max(ids.indexOf(Number(chosen.unit)), 0);
    heat.draw({
      label: `Units over the steps, ${title()}`, rows: ids.map(String), columns: cells.map(({ name }) => name), values,
      cellHeight: 12, ...scaleOf(values),
    });
    drawBar(find("bar"), heat.view);
    drawStats();
    mark();
  }

  // Everything that depends on the unit and the step.
  function mark() {
    chosen.unit = ids[unit];
    heat.pin(unit, step);
    text.paint(heat.view.values.subarray(unit * cells.length, (unit + 1) * cells.length), heat.view, step);
    tell(unit, step);
  }

  function tell(row, column) {
    const value = heat.view.values[row * cells.length + column];
    find("cell").textContent = `Unit ${ids[row]} at “${cells[column].name}”: ${value.toFixed(4)} (${title()})`;
  }

  function drawStats() {
    const { fields, data } = reply.stats;
    const named = (field) => field.replace("_low", " < 0.1").replace("_high", " > 0.9");
    sortable(find("stats"), {
      caption: `Over all steps, ${title()}: h, gates that are shut or open, steps of memory`,
      columns: [{ name: "unit", of: ({ id }) => id },
        ...fields.map((field, f) => ({ name: named(field), of: ({ row }) => row[f], show: (value) => String(+value.toPrecision(3)) }))],
      rows: data[layer.selectedIndex][direction.selectedIndex].map((row, i) => ({ id: ids[i], row })),
      chosen: ({ id }) => {
        unit = ids.indexOf(id);
        mark();
        changed();
      },
    });
  }

  function drawChoices() {
    const { states } = reply;
    const last = ({ length }) => length - 1;
    chosen.signal = states.signals.includes(chosen.signal) ? chosen.signal : states.signals[last(states.signals)];
    signals.hidden = states.signals.length === 1;
    signals.replaceChildren(el("legend", {}, "Signal"), ...states.signals.map((signal) => el("label", {},
      el("input", { type: "radio", name: "st-signal", value: signal, checked: signal === chosen.signal }),
      ` ${signal} `, el("small", {}, NAMES[signal]))));
    fill(layer, states.layers.map((i) => [i, i]), chosen.layer === "" ? last(states.layers) : chosen.layer);
    fill(direction, states.directions.map((name) => [name, name]), chosen.direction);
    [layer, direction].forEach((select) => (select.parentElement.hidden = select.length === 1));
  }

  find("choice").addEventListener("change", ({ target }) => {
    Object.assign(chosen, { layer: layer.value, direction: direction.value });
    if (target.type === "radio") {
      chosen.signal = target.value;
    }
    draw();
    changed();
  });
  saveBar(find("save"), {
    name: () => `states-${title().replaceAll(/\W+/g, "-")}`,
    title: () => `${title()} of ${reply.model}`,
    map: () => heat,
    rows: () => viewRows(heat.view),
    json: () => ({ ...reply, outputs: undefined, states: { ...reply.states, data: nested(tensor) } }),
    tensor: () => tensor,
  });

  return {
    show(answer, texts, newCells, newStep) {
      [reply, tensor, cells, step] = [answer.reply, answer.tensors.states, newCells, newStep];
      find("views").hidden = false;
      drawChoices();
      text.write(texts, cells);
      draw();
    },
    choose(i) {
      step = i;
      mark();
    },
    state: () => chosen,
    restore: (state) => Object.keys(chosen).forEach((name) => (chosen[name] = state[name] ?? chosen[name])),
    redraw: () => reply && draw(),
  };
}

// A flat array as arrays in arrays.
const nested = ({ shape, data }) => shape.slice(1).reverse().reduce((list, n) =>
  Array.from({ length: list.length / n }, (_, i) => list.slice(i * n, (i + 1) * n)), Array.from(data));
