// Files of what is shown: PNG, SVG, CSV, JSON, numpy, made here and handed to the browser.
import { el } from "./dom.js";
import { shadeOf } from "./colour.js";
import { cut, layoutOf } from "./heatmap.js";
import { npyBlob } from "./tensor.js";

const RECTS_MOST = 128 * 128; // more cells become a picture inside the SVG

function download(name, blob) {
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

export function csvText(rows) {
  const field = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return `${rows.map((row) => row.map(field).join(",")).join("\r\n")}\r\n`;
}

// A heat map's view as rows of a table, its labels in front.
export function viewRows({ rows, columns, values }) {
  const line = (r) => Array.from(values.subarray(r * columns.length, (r + 1) * columns.length),
    (value) => (Number.isNaN(value) ? "" : value));
  return [["", ...columns], ...rows.map((label, r) => [label, ...line(r)])];
}

const escaped = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.codePointAt(0)};`);

// The cells of equal colour side by side become one rectangle.
function rects(view, { left, top, cellW, cellH }) {
  const parts = [];
  const { rows, columns, values } = view;
  const gap = cellW >= 10 ? 1 : 0;
  rows.forEach((_, r) => {
    let from = 0;
    const fillAt = (c) => {
      const value = values[r * columns.length + c];
      const hex = (byte) => byte.toString(16).padStart(2, "0");
      return Number.isNaN(value) ? "" : `#${shadeOf(value, view).map(hex).join("")}`;
    };
    for (let c = 1; c <= columns.length; c++) {
      if (!gap && c < columns.length && fillAt(c) === fillAt(from)) {
        continue;
      }
      if (fillAt(from)) {
        parts.push(`<rect x="${left + from * cellW}" y="${top + r * cellH}" width="${(c - from) * cellW - gap}" `
          + `height="${cellH - gap}" fill="${fillAt(from)}"/>`);
      }
      from = c;
    }
  });
  return parts.join("\n");
}

// The cells as they stand on the screen, put where the SVG wants them.
function picture(map, { left, top, cellW, cellH }) {
  const [wide, high] = [map.view.columns.length, map.view.rows.length];
  const { lay } = map;
  const ratio = map.canvas.width / lay.width;
  const canvas = el("canvas", {
    width: Math.round(wide * lay.cellW * ratio), height: Math.round(high * lay.cellH * ratio),
  });
  canvas.getContext("2d").drawImage(map.canvas, -lay.left * ratio, -lay.top * ratio);
  return `<image x="${left}" y="${top}" width="${wide * cellW}" height="${high * cellH}" `
    + `preserveAspectRatio="none" href="${canvas.toDataURL()}"/>`;
}

// What a HeatMap shows, as an SVG for papers: black on nothing, in the colours in use.
export function svgText(map, title) {
  const { view } = map;
  const context = map.canvas.getContext("2d");
  const lay = layoutOf({ ...view, large: false }, 720, (text) => context.measureText(text).width);
  const { left, top, cellW, cellH, most } = lay;
  const text = (x, y, label, rest) => `<text x="${x}" y="${y}" ${rest}>${escaped(cut(label, most))}</text>`;
  const many = view.rows.length * view.columns.length > RECTS_MOST;
  const rows = view.rows.map((label, r) => (r % lay.everyRow ? ""
    : text(left - 4, top + (r + 0.5) * cellH, label, 'text-anchor="end"')));
  const columns = view.columns.map((label, c) => {
    const x = left + (c + 0.5) * cellW;
    return c % lay.everyColumn ? "" : text(x, top - 4, label, `transform="rotate(-90 ${x} ${top - 4})"`);
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${lay.width}" height="${lay.height + 22}" `
    + `viewBox="0 0 ${lay.width} ${lay.height + 22}" font-family="sans-serif" font-size="12" role="img">\n`
    + `<title>${escaped(title)}</title>\n<g dominant-baseline="central">\n`
    + [...rows, ...columns].filter(Boolean).join("\n")
    + `\n</g>\n${many ? picture(map, lay) : rects(view, lay)}\n`
    + `<text x="4" y="${lay.height + 14}" fill="#666">${escaped(title)}</text>\n</svg>\n`;
}

function pngOf(map) {
  const canvas = el("canvas", { width: map.canvas.width, height: map.canvas.height });
  const context = canvas.getContext("2d");
  context.fillStyle = getComputedStyle(map.frame).backgroundColor;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(map.canvas, 0, 0);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

const textBlob = (text, type) => new Blob([text], { type: `${type};charset=utf-8` });

// Fills a .save element with a button per kind. source: { name() of the files, without end;
// map() the HeatMap; title(); rows() for CSV; json(); tensor() -> { shape, data } }, of which
// map, rows, json and tensor may be left out.
export function saveBar(element, source) {
  const kinds = [
    ["PNG", source.map, async () => pngOf(source.map())],
    ["SVG", source.map, () => textBlob(svgText(source.map(), source.title()), "image/svg+xml")],
    ["CSV", source.rows, () => textBlob(csvText(source.rows()), "text/csv")],
    ["JSON", source.json, () => textBlob(`${JSON.stringify(source.json(), null, 1)}\n`, "application/json")],
    ["npy", source.tensor, () => npyBlob(source.tensor().shape, source.tensor().data)],
  ];
  element.replaceChildren("Save ", ...kinds.filter(([, given]) => given).map(([kind, , make]) => el("button", {
    type: "button",
    "aria-label": `Save as ${kind}`,
    onclick: async () => download(`${source.name()}.${kind.toLowerCase()}`, await make()),
  }, kind)));
}
