// A plain table that sorts by any of its columns, for people and for CSV.
import { el } from "./dom.js";

// columns: { name, of(row), show(value), bar } - bar: the number is also drawn, below zero
// in the other colour. chosen(row): the first column is a button. Returns the rows in order.
export function sortable(table, { caption, columns, rows, chosen }) {
  const body = el("tbody");
  const most = columns.map(({ bar, of }) => (bar ? Math.max(...rows.map((row) => Math.abs(of(row)) || 0)) : 0));
  let [order, by, down] = [rows, -1, true];

  function cell({ of, show, bar }, row, i) {
    const value = of(row);
    const text = value === null || value === undefined ? "" : show ? show(value) : String(value);
    const inner = chosen && i === 0 ? el("button", { type: "button", onclick: () => chosen(row) }, text) : text;
    const td = el(i === 0 ? "th" : "td", i === 0 ? { scope: "row" } : { className: typeof value === "number" ? "number" : "" }, inner);
    if (bar && value) {
      const line = el("i", { className: value < 0 ? "less" : "more", "aria-hidden": "true" });
      line.style.width = `${(100 * Math.abs(value)) / most[i]}%`;
      td.append(el("div", { className: "amount" }, line));
    }
    return td;
  }

  function draw() {
    const key = (row) => columns[by].of(row) ?? (down ? -Infinity : Infinity);
    const side = down ? -1 : 1;
    order = by < 0 ? rows : [...rows].sort((a, b) => side * (key(a) > key(b) ? 1 : key(a) < key(b) ? -1 : 0));
    heads.forEach((head, i) => head.setAttribute("aria-sort",
      i !== by ? "none" : down ? "descending" : "ascending"));
    body.replaceChildren(...order.map((row) => el("tr", {}, ...columns.map((column, i) => cell(column, row, i)))));
  }

  const heads = columns.map(({ name }, i) => el("th", { scope: "col" }, el("button", {
    type: "button",
    onclick: () => {
      down = by === i ? !down : true;
      by = i;
      draw();
    },
  }, name)));
  table.replaceChildren(el("caption", {}, caption), el("thead", {}, el("tr", {}, ...heads)), body);
  draw();
  return () => [columns.map(({ name }) => name), ...order.map((row) => columns.map(({ of }) => of(row)))];
}
