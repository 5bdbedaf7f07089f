// What the model would have answered after each step: a curve, the answers of the chosen
// step, a table of all; and each layer read out through the output head.
import { el } from "./dom.js";
import { saveBar } from "./save.js";
import { sortable } from "./table.js";
import { nameOf } from "./tokens.js";

const HIGH = 100;

function draw(tag, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
  return node;
}

const said = ({ token, id, probability }) =>
  `${token === null ? `#${id}` : nameOf({ text: token })} ${(100 * probability).toFixed(1)} %`;

// A number per step, null where there is none: surprisal, else the score of the last label.
function curveOf(steps) {
  const { score } = steps[steps.length - 1];
  const values = steps.map((step) => (score ? step.score.scores[score.label] : step.surprisal ?? null));
  const known = values.filter((value) => value !== null);
  const share = score && known.every((value) => value >= 0 && value <= 1);
  return {
    name: score ? `score of ${score.label}` : "surprisal in nats", values, last: known[known.length - 1] ?? 0,
    low: Math.min(0, ...known), high: share ? 1 : Math.max(1, ...known),
  };
}

export function stepsView(section, onStep) {
  const find = (name) => section.querySelector(`#st-${name}`);
  const curve = find("curve");
  const cursor = draw("line", { class: "cursor", y1: 0, y2: HIGH });
  let [reply, cells, line] = [null, [], null];

  function drawCurve() {
    const { name, values, low, high, last } = line;
    const path = values.map((value, i) => (value === null ? "" : `${i > 0 && values[i - 1] !== null ? "L" : "M"}${i + 0.5} `
      + `${((high - value) / (high - low) * HIGH).toFixed(2)}`)).join("");
    curve.setAttribute("viewBox", `0 0 ${values.length} ${HIGH}`);
    curve.setAttribute("aria-label", `${name} over ${values.length} steps, at the end ${last.toFixed(2)}`);
    curve.replaceChildren(draw("path", { d: `M0 ${HIGH / 2}H${values.length}`, class: "middle" }), draw("path", { d: path }), cursor);
    find("curve-name").textContent = `${name}, from ${low.toFixed(1)} to ${high.toFixed(1)}`;
  }

  function drawTable() {
    const { per_step: steps } = reply;
    return sortable(find("table"), {
      caption: "What comes after each step",
      columns: [
        { name: "token", of: ({ step }) => cells[step].name }, { name: "step", of: ({ step }) => step },
        { name: line.name, of: ({ step }) => line.values[step], show: (value) => value.toFixed(3) },
        ...(steps[0].top || []).map((_, k) => ({ name: `next ${k + 1}`, of: ({ top }) => said(top[k]) })),
      ],
      rows: steps, chosen: ({ step }) => onStep(step),
    });
  }

  // A row per step, so that long texts scroll down; what a layer is sure of is darker.
  function drawLens() {
    const { layers, top } = reply.lens;
    find("lens").replaceChildren(
      el("thead", {}, el("tr", {}, ...["token", ...layers.map((layer) => (layer ? `layer ${layer}` : "embeddings"))]
        .map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, ...cells.map((cell, i) => el("tr", {}, el("th", { scope: "row" }, cell.name), ...top.map((layer) => {
        const td = el("td", {}, said(layer[i][0]));
        td.style.backgroundColor = `color-mix(in srgb, var(--more) ${85 * layer[i][0].probability}%, transparent)`;
        return td;
      })))));
  }

  function choose(i) {
    if (!line) {
      return;
    }
    cursor.setAttribute("x1", i + 0.5);
    cursor.setAttribute("x2", i + 0.5);
    const { score, top } = reply.per_step[i];
    const parts = score ? Object.entries(score.scores).map(([label, value]) => `${label} ${value.toFixed(3)}`)
      : [...(line.values[i] === null ? [] : [`surprisal ${line.values[i].toFixed(2)} nats`]), ...top.map((one) => `“${said(one)}”`)];
    find("step").textContent = `After “${cells[i].name}”: ${parts.join(", ")}`;
  }

  curve.addEventListener("click", ({ offsetX }) =>
    onStep(Math.min(Math.floor((offsetX / curve.clientWidth) * cells.length), cells.length - 1)));

  return {
    // Until the answers of a new text have come, none are shown.
    clear(problem = "") {
      line = null;
      find("steps").hidden = find("lenses").hidden = true;
      find("wait").textContent = problem;
    },
    show(newReply, newCells, step) {
      [reply, cells] = [newReply, newCells];
      find("steps").hidden = !reply.per_step;
      find("lenses").hidden = !reply.lens;
      if (reply.per_step) {
        line = curveOf(reply.per_step);
        drawCurve();
        const rows = drawTable();
        const { tokens, per_step, lens } = reply;
        saveBar(find("steps-save"), { name: () => "states-steps", rows, json: () => ({ tokens, per_step, lens }) });
        choose(step);
      }
      if (reply.lens) {
        drawLens();
      }
    },
    choose,
  };
}
