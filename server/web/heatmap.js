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

export class HeatMap {
  constructor(canvas, onCell) {
    this.canvas = canvas;
    this.view = null;
    const at = (event) => {
      const cell = this.cellAt(event.offsetX, event.offsetY);
      return cell && onCell(cell, event.type === "click");
    };
    canvas.addEventListener("click", at);
    canvas.addEventListener("mousemove", at);
  }

  // view: {rows, columns: labels; at(row, column); max, scale, row, column: chosen or -1}
  draw(view) {
    this.view = view;
    const style = getComputedStyle(this.canvas);
    const ratio = window.devicePixelRatio || 1;
    const room = this.canvas.parentElement.clientWidth - 2;
    const context = this.canvas.getContext("2d");
    this.font = `12px ${style.fontFamily}`;
    context.font = this.font;
    this.left = labelWidth(context, view.rows);
    this.top = view.columns.length > 100 ? 8 : labelWidth(context, view.columns);
    const fit = Math.floor((room - this.left - 8) / view.columns.length);
    this.cell = Math.max(Math.min(fit, 44), view.columns.length > 100 ? 3 : 14);
    const width = this.left + this.cell * view.columns.length + 8;
    const height = this.top + this.cell * view.rows.length + 8;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.font = this.font;
    context.fillStyle = style.color;
    this.labels(context);
    this.cells(context);
    this.marks(context, style.color);
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

  cells(context) {
    const { rows, columns, at, max, scale } = this.view;
    const gap = this.cell >= 10 ? 1 : 0;
    for (let r = 0; r < rows.length; r++) {
      for (let c = 0; c < columns.length; c++) {
        context.fillStyle = `rgb(${colour(scaled(at(r, c), max, scale))})`;
        context.fillRect(this.left + c * this.cell, this.top + r * this.cell,
          this.cell - gap, this.cell - gap);
      }
    }
  }

  marks(context, ink) {
    const { rows, columns, row, column } = this.view;
    context.strokeStyle = ink;
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
