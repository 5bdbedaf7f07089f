// Colour maps and scales. Nothing is told by hue alone: every ramp rises evenly in lightness.

// Cividis: Nunez, Anderton, Renslow 2018; viridis: Smith, van der Walt 2015; at even steps.
const RAMPS = {
  cividis: [
    [0, 34, 78], [18, 53, 112], [59, 73, 108], [87, 93, 109], [112, 113, 115],
    [138, 134, 120], [165, 156, 116], [195, 179, 105], [254, 232, 56],
  ],
  viridis: [
    [68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141],
    [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37],
  ],
  greys: [[255, 255, 255], [204, 204, 204], [128, 128, 128], [70, 70, 70], [0, 0, 0]],
  "dark greys": [[24, 26, 29], [80, 82, 85], [140, 142, 145], [200, 202, 205], [255, 255, 255]],
  difference: [[12, 72, 148], [118, 170, 219], [244, 244, 241], [240, 168, 92], [172, 78, 0]],
  "dark difference": [[126, 186, 255], [54, 98, 152], [34, 37, 42], [150, 88, 24], [255, 170, 70]],
};
const STEPS = 256;
const tables = new Map();
let chosen = "cividis";

export const RAMP_NAMES = ["cividis", "viridis", "greys"];

export function isDark() {
  const theme = document.documentElement.dataset.theme;
  return theme === "dark" || (theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
}

export function chooseRamp(name) {
  chosen = RAMP_NAMES.includes(name) ? name : "cividis";
}

function mix(stops, part) {
  const at = part * (stops.length - 1);
  const i = Math.min(Math.floor(at), stops.length - 2);
  return stops[i].map((from, c) => Math.round(from + (stops[i + 1][c] - from) * (at - i)));
}

// 256 colours [r, g, b] of the ramp in use; signed: of the diverging one.
export function shades(signed = false) {
  const name = signed ? "difference" : chosen;
  const key = isDark() && RAMPS[`dark ${name}`] ? `dark ${name}` : name;
  if (!tables.has(key)) {
    tables.set(key, Array.from({ length: STEPS }, (_, i) => mix(RAMPS[key], i / (STEPS - 1))));
  }
  return tables.get(key);
}

const LOG_DECADES = 4;

// How far (0 to 1) a value stands between low and high; scale: linear, sqrt or log.
export function placeOf(value, low, high, scale) {
  const part = high > low ? Math.min(Math.max((value - low) / (high - low), 0), 1) : 0;
  if (scale === "sqrt") {
    return Math.sqrt(part);
  }
  if (scale === "tanh") {
    return low < 0 ? (Math.tanh(value) + 1) / 2 : Math.tanh(value);
  }
  return scale === "log" ? Math.max(1 + Math.log10(part + 1e-30) / LOG_DECADES, 0) : part;
}

export function shadeOf(value, { low, high, scale, signed }) {
  return shades(signed)[Math.round(placeOf(value, low, high, scale) * (STEPS - 1))];
}

// A strip of all colours between the numbers at its ends.
export function drawBar(element, { low, high, scale, signed }) {
  const canvas = element.querySelector("canvas") || document.createElement("canvas");
  const number = (value) => String(Number(value.toPrecision(3)));
  const context = canvas.getContext("2d");
  canvas.width = STEPS;
  canvas.height = 1;
  canvas.setAttribute("aria-hidden", "true");
  shades(signed).forEach((rgb, x) => {
    context.fillStyle = `rgb(${rgb})`;
    context.fillRect(x, 0, 1, 1);
  });
  element.replaceChildren(`${number(low)} `, canvas, ` ${number(high)}`,
    scale && scale !== "linear" ? ` (${scale === "sqrt" ? "square root" : "four decades"})` : "");
}
