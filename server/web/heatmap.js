// A matrix as a heat map on a canvas: labels on both axes, a pinned row or column, and a
// crosshair that follows the mouse or the arrow keys.
import { arrowTo, el } from "./dom.js";
import { placeOf, shades } from "./colour.js";

const CELL_MOST = 44;
const SIDE_MOST = 4096; // device pixels, when magnified
const LABEL_ROOM = 12;

export function cut(label, most = 14) {
  return label.length > most ? `${label.slice(0, most - 1)}…` : label;
}

// Where everything stands, in CSS pixels; measure(text) is a text's width.
export function layoutOf(view, room, measure) {
  const { rows, columns, cellHeight, large } = view;
  const most = room < 440 ? 8 : 14;
  const width = (labels) => 9 + Math.max(0, ...labels.map((label) => Math.ceil(measure(cut(label, most)))));
  const left = width(rows);
  const fit = (room - left - 6) / columns.length;
  const magnified = Math.max(fit, Math.min(24, SIDE_MOST / (devicePixelRatio * columns.length)));
  let cellW = Math.min(large ? magnified : fit, CELL_MOST);
  cellW = cellW >= 3 ? Math.floor(cellW) : cellW;
  const cellH = cellHeight || cellW;
  const every = (cell) => Math.max(1, Math.ceil(LABEL_ROOM / cell));
  const top = width(columns.filter((_, i) => i % every(cellW) === 0));
  return {
    left, top, cellW, cellH, most, everyRow: every(cellH), everyColumn: every(cellW),
    width: Math.ceil(left + cellW * columns.length + 6), height: Math.ceil(top + cellH * rows.length + 6),
  };
}

const found = new WeakMap(); // values -> the last strongestOf

// Of w x h pixels the strongest cell of each.
function strongestOf({ values, rows, columns, signed }, w, h) {
  const known = found.get(values);
  if (known && known.w === w && known.h === h && known.signed === signed) {
    return known.strongest;
  }
  const [height, width] = [rows.length, columns.length];
  const strongest = new Float32Array(w * h).fill(NaN);
  for (let r = 0, i = 0; r < height; r++) {
    const row = Math.floor((r * h) / height) * w;
    for (let c = 0; c < width; c++, i++) {
      const to = row + (w === width ? c : Math.floor((c * w) / width));
      const before = strongest[to];
      if (!(before > values[i]) || (signed && Math.abs(values[i]) > Math.abs(before))) {
        strongest[to] = values[i];
      }
    }
  }
  found.set(values, { w, h, signed, strongest });
  return strongest;
}

// The cells as an image of at most wide x high pixels; where cells are smaller than pixels
// the strongest of them is seen.
function imageOf(view, wide, high) {
  const { low, high: top, scale, signed } = view;
  const [w, h] = [Math.min(view.columns.length, Math.max(wide, 1)), Math.min(view.rows.length, Math.max(high, 1))];
  const strongest = strongestOf(view, w, h);
  const ramp = shades(signed);
  const image = new ImageData(w, h);
  strongest.forEach((value, p) => {
    if (!Number.isNaN(value)) {
      const [red, green, blue] = ramp[Math.round(placeOf(value, low, top, scale) * 255)];
      image.data[4 * p] = red;
      image.data[4 * p + 1] = green;
      image.data[4 * p + 2] = blue;
      image.data[4 * p + 3] = 255;
    }
  });
  const canvas = document.createElement("canvas");
  canvas.width = w;
  canvas.height = h;
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

export class HeatMap {
  // onMove(cell, by) and onPin(cell) get { row, column }
  constructor(frame, { onMove = () => {}, onPin = () => {} }) {
    this.frame = frame;
    this.canvas = el("canvas", { "aria-hidden": "true" });
    this.bands = [0, 1, 2, 3].map((i) => el("i", { className: i < 2 ? "cross" : "pinned", hidden: true }));
    this.plane = el("div", {
      className: "plane", tabIndex: 0, role: "application", "aria-roledescription": "heat map",
    }, this.canvas, ...this.bands);
    frame.classList.add("map");
    frame.append(this.plane);
    this.view = null;
    this.at = { row: 0, column: 0 };
    this.onMove = onMove;
    this.onPin = onPin;
    this.plane.addEventListener("pointermove", (event) => this.moved(this.cellAt(event)));
    this.plane.addEventListener("pointerleave", () => this.point(-1, -1));
    this.plane.addEventListener("click", (event) => {
      const cell = this.cellAt(event);
      this.moved(cell);
      if (cell) {
        onPin(cell);
      }
    });
    this.plane.addEventListener("keydown", (event) => this.onKey(event));
    new ResizeObserver(() => this.frame.clientWidth !== this.room && this.redraw()).observe(frame);
  }

  // view: { label, rows, columns: names; values: row-major numbers, NaN where there is none;
  // low, high, scale, signed; cellHeight (else square); large: wider than the room }
  draw(view) {
    this.view = view;
    const style = getComputedStyle(this.frame);
    const context = this.canvas.getContext("2d");
    const ratio = devicePixelRatio || 1;
    const font = `12px ${style.fontFamily}`;
    context.font = font;
    this.room = this.frame.clientWidth;
    const lay = layoutOf(view, this.room, (text) => context.measureText(text).width);
    this.lay = lay;
    this.canvas.width = Math.round(lay.width * ratio);
    this.canvas.height = Math.round(lay.height * ratio);
    for (const node of [this.canvas, this.plane]) {
      node.style.width = `${lay.width}px`;
      node.style.height = `${lay.height}px`;
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.font = font;
    context.fillStyle = style.color;
    this.writeLabels(context);
    this.paintCells(context, ratio);
    this.plane.setAttribute("aria-label", `${view.label}, ${view.rows.length} by ${view.columns.length}; `
      + "arrows move the crosshair, Enter pins");
    this.point(-1, -1);
  }

  redraw() {
    if (this.view && this.frame.clientWidth > 0) {
      this.draw(this.view);
      this.pin(...(this.pinned || [-1, -1]));
    }
  }

  writeLabels(context) {
    const { rows, columns } = this.view;
    const { left, top, cellW, cellH, most, everyRow, everyColumn } = this.lay;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (let i = 0; i < rows.length; i += everyRow) {
      context.fillText(cut(rows[i], most), left - 4, top + (i + 0.5) * cellH);
    }
    context.textAlign = "left";
    for (let i = 0; i < columns.length; i += everyColumn) {
      context.save();
      context.translate(left + (i + 0.5) * cellW, top - 4);
      context.rotate(-Math.PI / 2);
      context.fillText(cut(columns[i], most), 0, 0);
      context.restore();
    }
  }

  // One pixel per cell, then magnified; large cells get thin gaps.
  paintCells(context, ratio) {
    const { rows, columns } = this.view;
    const { left, top, cellW, cellH } = this.lay;
    const [width, height] = [columns.length * cellW, rows.length * cellH];
    context.imageSmoothingEnabled = false;
    context.drawImage(imageOf(this.view, Math.round(width * ratio), Math.round(height * ratio)),
      left, top, width, height);
    for (let i = 1; cellW >= 10 && i < columns.length; i++) {
      context.clearRect(left + i * cellW - 1, top, 1, height);
    }
    for (let i = 1; cellH >= 10 && i < rows.length; i++) {
      context.clearRect(left, top + i * cellH - 1, width, 1);
    }
  }

  place(band, across, i) {
    const { left, top, cellW, cellH } = this.lay;
    const { rows, columns } = this.view;
    band.hidden = i < 0;
    const box = across ? [left, top + i * cellH, columns.length * cellW, cellH]
      : [left + i * cellW, top, cellW, rows.length * cellH];
    ["left", "top", "width", "height"].forEach((side, s) => (band.style[side] = `${box[s]}px`));
  }

  // Frames a row and a column that stay; -1: none.
  pin(row, column) {
    this.pinned = [row, column];
    this.place(this.bands[2], true, row);
    this.place(this.bands[3], false, column);
  }

  // Moves the crosshair, without telling anybody.
  point(row, column) {
    this.place(this.bands[0], true, row);
    this.place(this.bands[1], false, column);
  }

  moved(cell) {
    if (cell) {
      this.at = cell;
      this.point(cell.row, cell.column);
      this.onMove(cell);
    }
  }

  cellAt(event) {
    if (!this.view) {
      return null;
    }
    const box = this.plane.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - this.lay.left) / this.lay.cellW);
    const row = Math.floor((event.clientY - box.top - this.lay.top) / this.lay.cellH);
    const inside = row >= 0 && row < this.view.rows.length && column >= 0 && column < this.view.columns.length;
    return inside ? { row, column } : null;
  }

  onKey(event) {
    if (!this.view) {
      return;
    }
    const [height, width] = [this.view.rows.length, this.view.columns.length];
    const { row, column } = this.at;
    const at = Math.min(row, height - 1) * width + Math.min(column, width - 1);
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.onPin(this.at);
      return;
    }
    const step = { ArrowDown: at + width, ArrowUp: at - width }[event.key];
    const to = step === undefined ? arrowTo(event.key, at, width * height, width) : step;
    if (to !== undefined && to >= 0 && to < width * height) {
      event.preventDefault();
      this.moved({ row: Math.floor(to / width), column: to % width });
    }
  }
}
