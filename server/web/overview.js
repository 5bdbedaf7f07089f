// All heads at a glance: a grid of thumbnails, max-pooled by the server to a constant size,
// sorted and filtered by what the heads do on this text.
import { arrowTo, el, fill } from "./dom.js";
import { shades } from "./colour.js";

const ROOMY = 8; // heads in a row, up to which each has its name under it

const WORDS = {
  entropy: "entropy", entropy_norm: "entropy, 0 to 1", first: "on the first token", previous: "on the previous token",
  current: "on itself", next: "on the next token", special: "on special tokens", distance: "distance",
  max: "largest weight", same: "on the same token",
};

export const fieldName = (field) => WORDS[field] || field;

// [{ layer, head, labels, metrics: { field: number or null } }] of a reply with metrics.
export function headsOf({ attention, metrics }) {
  return attention.layers.flatMap((layer, l) => attention.heads.map((head, h) => ({
    layer, head, labels: metrics.labels[l][h],
    metrics: Object.fromEntries(metrics.fields.map((field, f) => [field, metrics.data[l][h][f]])),
    place: l * attention.heads.length + h,
  })));
}

export function overview(root, onChoose) {
  const sort = root.querySelector("#ov-sort");
  const chips = root.querySelector("#ov-labels");
  const grid = root.querySelector("#ov-grid");
  let [heads, columns, thumbs, size] = [[], 1, null, [0, 0]];
  let label = "";
  let chosen = "";

  const idOf = ({ layer, head }) => `${layer}.${head}`;

  function paint(canvas, place) {
    const [high, wide] = size;
    const ramp = shades();
    const image = new ImageData(wide, high);
    for (let i = 0; i < high * wide; i++) {
      image.data.set(ramp[thumbs[place * high * wide + i]], 4 * i);
      image.data[4 * i + 3] = 255;
    }
    canvas.width = wide;
    canvas.height = high;
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  function said(head) {
    const { entropy } = head.metrics;
    const by = sort.value && head.metrics[sort.value] !== null
      ? `, ${fieldName(sort.value)} ${head.metrics[sort.value].toFixed(2)}` : `, entropy ${entropy.toFixed(2)}`;
    return `layer ${head.layer} head ${head.head}, ${head.labels.join(", ")}${by}`;
  }

  function cell(head) {
    const canvas = el("canvas", { role: "img", "aria-label": said(head) });
    paint(canvas, head.place);
    const value = sort.value ? head.metrics[sort.value] : null;
    const caption = value === null || value === undefined ? head.labels[0] : value.toFixed(2);
    return el("div", {
      role: "gridcell", tabIndex: -1, "data-id": idOf(head), title: said(head),
      className: label && !head.labels.includes(label) ? "dim" : "",
    }, canvas, el("span", { "aria-hidden": "true" }, `${head.layer}.${head.head} `, el("small", {}, caption)));
  }

  // In their place, or by a metric, the largest first; what has none of it comes last.
  function inOrder() {
    const by = sort.value;
    if (!by) {
      return heads;
    }
    const key = (head) => (head.metrics[by] === null ? -Infinity : head.metrics[by]);
    const matches = (head) => (label && !head.labels.includes(label) ? 1 : 0);
    return [...heads].sort((a, b) => matches(a) - matches(b) || key(b) - key(a));
  }

  function draw() {
    const cells = inOrder().map(cell);
    const rows = [];
    for (let i = 0; i < cells.length; i += columns) {
      rows.push(el("div", { role: "row" }, ...cells.slice(i, i + columns)));
    }
    grid.style.setProperty("--columns", columns);
    grid.classList.toggle("roomy", columns <= ROOMY);
    grid.replaceChildren(...rows);
    mark();
  }

  function mark() {
    const cells = [...grid.querySelectorAll('[role="gridcell"]')];
    cells.forEach((node) => {
      const mine = node.dataset.id === chosen;
      node.setAttribute("aria-selected", String(mine));
      node.tabIndex = mine ? 0 : -1;
    });
    if (cells.length > 0 && !cells.some((node) => node.tabIndex === 0)) {
      cells[0].tabIndex = 0;
    }
  }

  function drawChips() {
    const counts = new Map();
    heads.forEach((head) => head.labels.forEach((name) => counts.set(name, (counts.get(name) || 0) + 1)));
    label = counts.has(label) ? label : "";
    chips.replaceChildren(...[...counts].sort((a, b) => b[1] - a[1]).map(([name, n]) => el("button", {
      type: "button", "aria-pressed": String(name === label), "data-name": name,
    }, `${name} ${n}`)));
  }

  function choose(id) {
    chosen = id;
    mark();
    onChoose(...id.split(".").map(Number));
  }

  grid.addEventListener("click", (event) => {
    const node = event.target.closest('[role="gridcell"]');
    if (node) {
      choose(node.dataset.id);
    }
  });
  grid.addEventListener("keydown", (event) => {
    const cells = [...grid.querySelectorAll('[role="gridcell"]')];
    const at = cells.indexOf(document.activeElement);
    const to = arrowTo(event.key, at, cells.length, columns);
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      choose(cells[at].dataset.id);
    } else if (to !== undefined) {
      event.preventDefault();
      cells[at].tabIndex = -1;
      cells[to].tabIndex = 0;
      cells[to].focus();
    }
  });
  chips.addEventListener("click", (event) => {
    const { name } = event.target.dataset;
    if (name) {
      label = label === name ? "" : name;
      drawChips();
      chips.querySelector(`[data-name="${name}"]`).focus();
      draw();
      root.dispatchEvent(new Event("change"));
    }
  });
  sort.addEventListener("change", draw);

  return {
    // reply with metrics, and its thumbnails { shape, data }
    show(reply, tensor, [layer, head]) {
      heads = headsOf(reply);
      columns = reply.attention.heads.length;
      thumbs = tensor.data;
      size = tensor.shape.slice(2);
      chosen = `${layer}.${head}`;
      fill(sort, [["", "by layer and head"], ...reply.metrics.fields.map((field) => [field, fieldName(field)])],
        sort.dataset.wanted || sort.value);
      delete sort.dataset.wanted;
      drawChips();
      draw();
    },
    choose(layer, head) {
      chosen = `${layer}.${head}`;
      mark();
    },
    state: () => ({ sort: sort.value, label }),
    restore(state) {
      label = state.label ?? label;
      if (state.sort !== undefined) {
        sort.dataset.wanted = state.sort;
      }
    },
    redraw: () => heads.length > 0 && draw(),
  };
}
