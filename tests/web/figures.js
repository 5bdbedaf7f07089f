// Figures that tests note; printed as one table at the end and kept as JSON.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { WORK } from "./daemon.js";

const figures = [];

export function note(figure) {
  figures.push(figure);
}

export function printFigures() {
  const wide = (text, n) => String(text).padEnd(n);
  for (const kind of [...new Set(figures.map((figure) => figure.kind))]) {
    const rows = figures.filter((figure) => figure.kind === kind);
    const columns = Object.keys(rows[0]).filter((name) => name !== "kind");
    const widths = columns.map((name) => 2 + Math.max(name.length, ...rows.map((row) => String(row[name]).length)));
    console.log(`\n${kind}\n${columns.map((name, i) => wide(name, widths[i])).join("")}`);
    rows.forEach((row) => console.log(columns.map((name, i) => wide(row[name], widths[i])).join("")));
  }
  writeFileSync(join(WORK, "figures.json"), `${JSON.stringify(figures, null, 1)}\n`);
}
