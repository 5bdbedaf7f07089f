// Draws a matrix of weights on a canvas, with token labels on both axes.

// Cividis (Nunez, Anderton, Renslow 2018) at nine even steps; readable without hue vision.
const STOPS = [
  [0, 34, 78], [18, 53, 112], [59, 73, 108], [87, 93, 109], [112, 113, 115],
  [138, 134, 120], [165, 156, 116], [195, 179, 105], [254, 232, 56],
];

export function colour(value) {
  const at = Math.min(Math.max(value, 0), 1) * (STOPS.length - 1);
  const i = Math.min(Math.floor(at), STOPS.length - 2);
  return STOPS[i].map((from, c) => Math.round(from + (STOPS[i + 1][c] - from) * (at - i)));
}

export function scaled(value, max, scale) {
  const part = max > 0 ? value / max : 0;
  return scale === "sqrt" ? Math.sqrt(part) : part;
}

export function drawColours(canvas) {
  const context = canvas.getContext("2d");
  for (let x = 0; x < canvas.width; x++) {
    context.fillStyle = `rgb(${colour(x / (canvas.width - 1))})`;
    context.fillRect(x, 0, 1, canvas.height);
  }
}

// All colours once, so that a cell costs a look-up.
const SHADES = Array.from({ length: 256 }, (_, i) => colour(i / 255));

export class HeatMap {
  constructor(canvas, onCell) {
    this.canvas = canvas;
    this.base = document.createElement("canvas"); // labels and cells, without marks
    this.view = null;
    const at = (event) => {
      const cell = this.cellAt(event.offsetX, event.offsetY);
      return cell && onCell(cell, event.type === "click");
    };
    canvas.addEventListener("click", at);
    canvas.addEventListener("mousemove", at);
  }

  // view: {rows, columns: labels; at(row, column); max, scale}
  draw(view) {
    this.view = view;
    const style = getComputedStyle(this.canvas);
    const ratio = window.devicePixelRatio || 1;
    const room = this.canvas.parentElement.clientWidth - 2;
    const context = this.base.getContext("2d");
    const font = `12px ${style.fontFamily}`;
    context.font = font;
    this.left = labelWidth(context, view.rows);
    this.top = view.columns.length > 100 ? 8 : labelWidth(context, view.columns);
    const fit = Math.floor((room - this.left - 8) / view.columns.length);
    this.cell = Math.max(Math.min(fit, 44), view.columns.length > 100 ? 3 : 14);
    const width = this.left + this.cell * view.columns.length + 8;
    const height = this.top + this.cell * view.rows.length + 8;
    for (const canvas of [this.base, this.canvas]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.font = font;
    context.fillStyle = style.color;
    this.labels(context);
    this.cells(context);
  }

  // Frames a row or a column (-1: none), at the cost of one copied picture.
  mark(row, column) {
    const { rows, columns } = this.view;
    const context = this.canvas.getContext("2d");
    const ratio = window.devicePixelRatio || 1;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.drawImage(this.base, 0, 0);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.strokeStyle = getComputedStyle(this.canvas).color;
    context.lineWidth = 2;
    if (row >= 0) {
      context.strokeRect(this.left - 1, this.top + row * this.cell - 1,
        columns.length * this.cell + 1, this.cell + 1);
    }
    if (column >= 0) {
      context.strokeRect(this.left + column * this.cell - 1, this.top - 1, this.cell + 1,
        rows.length * this.cell + 1);
    }
  }

  labels(context) {
    const every = this.cell >= 12 ? 1 : Math.ceil(12 / this.cell);
    context.textBaseline = "middle";
    context.textAlign = "right";
    this.view.rows.forEach((label, i) => {
      if (i % every === 0) {
        context.fillText(cut(label), this.left - 5, this.top + (i + 0.5) * this.cell);
      }
    });
    if (this.top <= 8) {
      return;
    }
    context.textAlign = "left";
    this.view.columns.forEach((label, i) => {
      if (i % every === 0) {
        context.save();
        context.translate(this.left + (i + 0.5) * this.cell, this.top - 5);
        context.rotate(-Math.PI / 2);
        context.fillText(cut(label), 0, 0);
        context.restore();
      }
    });
  }

  // One pixel per weight, then magnified; large cells get thin gaps.
  cells(context) {
    const { rows, columns, at, max, scale } = this.view;
    const [height, width] = [rows.length, columns.length];
    const image = new ImageData(width, height);
    for (let r = 0, p = 0; r < height; r++) {
      for (let c = 0; c < width; c++, p += 4) {
        const [red, green, blue] = SHADES[Math.round(255 * Math.min(scaled(at(r, c), max, scale), 1))];
        image.data.set([red, green, blue, 255], p);
      }
    }
    const small = document.createElement("canvas");
    small.width = width;
    small.height = height;
    small.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, this.left, this.top, width * this.cell, height * this.cell);
    for (let i = 1; i <= Math.max(width, height) && this.cell >= 10; i++) {
      const line = i * this.cell - 1;
      if (i <= width) {
        context.clearRect(this.left + line, this.top, 1, height * this.cell);
      }
      if (i <= height) {
        context.clearRect(this.left, this.top + line, width * this.cell, 1);
      }
    }
  }

  cellAt(x, y) {
    if (!this.view) {
      return null;
    }
    const column = Math.floor((x - this.left) / this.cell);
    const row = Math.floor((y - this.top) / this.cell);
    const inside = row >= 0 && row < this.view.rows.length && column >= 0
      && column < this.view.columns.length;
    return inside ? { row, column } : null;
  }
}

function cut(label) {
  return label.length > 14 ? `${label.slice(0, 13)}…` : label;
}

function labelWidth(context, labels) {
  return 10 + Math.max(...labels.map((label) => Math.ceil(context.measureText(cut(label)).width)));
}
