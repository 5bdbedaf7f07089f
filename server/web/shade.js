// The user's own text, cut at cells (tokens, words), each shaded by a number. With
// onChoose the cells are a listbox: one tab stop, arrows, Home, End.
import { arrowTo, el } from "./dom.js";
import { placeOf } from "./colour.js";

const STRONGEST = 85; // percent

export class ShadedText {
  constructor(box, { label, onChoose = null }) {
    this.box = box;
    this.spans = [];
    this.onChoose = onChoose;
    box.classList.add("shaded");
    box.setAttribute("role", onChoose ? "listbox" : "group");
    box.setAttribute("aria-label", label);
    if (onChoose) {
      box.addEventListener("click", (event) => this.choose(this.spans.indexOf(event.target)));
      box.addEventListener("keydown", (event) => this.onKey(event));
    }
  }

  // cells as of tokens.js; texts: one, or the two of a pair.
  write(texts, cells) {
    const parts = [];
    let [at, part] = [0, 0];
    this.cells = cells;
    this.spans = cells.map((cell, i) => {
      let shown = cell.special ? cell.piece : cell.text || cell.name;
      if (!cell.special && !cell.generated && cell.start !== null) {
        if (cell.part !== part) {
          parts.push(texts[part].slice(at), el("br"));
          [at, part] = [0, cell.part];
        }
        const start = Math.max(cell.start, at);
        parts.push(texts[part].slice(at, start));
        shown = texts[part].slice(start, cell.end);
        at = Math.max(at, cell.end);
      } else if (cell.generated && parts.length > 0 && at < texts[part].length) {
        parts.push(texts[part].slice(at));
        at = texts[part].length;
      }
      const classes = `${cell.special ? "special " : ""}${cell.generated ? "generated" : ""}`.trim();
      const span = el("span", { className: classes, "data-i": i }, shown);
      if (this.onChoose) {
        span.setAttribute("role", "option");
        span.tabIndex = -1;
      }
      parts.push(span);
      return span;
    });
    this.box.replaceChildren(...parts, texts[part].slice(at));
  }

  // values[i] of cell i, null for none; signed ones in two colours. The chosen one is framed.
  paint(values, { low = 0, high, scale = "linear", signed = false, digits = 3 }, chosen = -1) {
    const far = Math.max(Math.abs(low), Math.abs(high));
    this.spans.forEach((span, i) => {
      const value = values[i];
      const known = value !== null && value !== undefined && !Number.isNaN(value);
      const part = !known ? 0 : signed ? placeOf(Math.abs(value), 0, far, scale)
        : placeOf(value, low, high, scale);
      const colour = signed && value < 0 ? "--less" : "--more";
      span.style.backgroundColor = part > 0
        ? `color-mix(in srgb, var(${colour}) ${(STRONGEST * part).toFixed(1)}%, transparent)` : "";
      const said = known ? value.toFixed(digits) : "none";
      span.title = `${this.cells[i].name}: ${said}`;
      if (this.onChoose) {
        span.setAttribute("aria-label", `${this.cells[i].name} ${said}`);
        span.setAttribute("aria-selected", String(i === chosen));
        span.tabIndex = i === Math.max(chosen, 0) ? 0 : -1;
      }
    });
  }

  choose(i) {
    if (i >= 0) {
      this.onChoose(i);
    }
  }

  onKey(event) {
    const at = Math.max(this.spans.indexOf(document.activeElement), 0);
    const to = arrowTo(event.key, at, this.spans.length);
    if (to !== undefined && this.spans[to]) {
      event.preventDefault();
      this.spans[to].focus();
      this.choose(to);
    }
  }
}
