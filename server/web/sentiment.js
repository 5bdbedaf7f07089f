// Sentiment as you type: one text a line, a bar per label, and what each word of the first
// lines did for the answer.
import { el } from "./dom.js";
import { Panel } from "./panel.js";
import { ShadedText } from "./shade.js";

const TYPING_MS = 150;
const SHADED_LINES = 4;

// Shares and probabilities as bars; what a regression gives is just a number.
function scores(result, raw) {
  const list = el("dl", { className: "scores" });
  for (const [label, score] of Object.entries(result.scores)) {
    const fill = el("i");
    fill.style.width = raw ? "0" : `${100 * score}%`;
    const best = label === result.label ? "best" : "";
    list.append(
      el("dt", { className: best }, label),
      el("dd", { className: "bar", "aria-hidden": "true" }, fill),
      el("dd", { className: `number ${best}` }, raw ? score.toFixed(3) : `${(100 * score).toFixed(1)} %`),
    );
  }
  return list;
}

export function sentiment(section, changed) {
  const box = section.querySelector("textarea");
  const results = section.querySelector("#se-results");
  const panel = new Panel(section, { task: "sentiment" });

  async function ask() {
    const texts = box.value.split("\n").filter((line) => line.trim() !== "");
    if (texts.length === 0) {
      panel.drop();
      panel.clear();
      results.replaceChildren();
      return;
    }
    const second = panel.secondText;
    const body = texts.length === 1 ? { text: texts[0] } : { texts };
    if (second) {
      Object.assign(body, texts.length === 1 ? { text_pair: second } : { text_pairs: texts.map(() => second) });
    }
    const answer = await panel.post("/v1/sentiment", body);
    if (answer) {
      const lines = texts.map((text) => el("p", { className: "line" }, text));
      results.replaceChildren(...answer.reply.results.map((result, i) =>
        el("article", {}, lines[i], scores(result, panel.info.scores === "raw"))));
      changed();
      lines.slice(0, SHADED_LINES).forEach((line, i) => shade(line, texts[i], second, i));
    }
  }

  // A second look, which leaves the answer as it is when it cannot be had.
  async function shade(line, text, second, i) {
    const body = { text, offset_unit: "utf16", ...(second ? { text_pair: second } : {}) };
    const answer = await panel.post("/v1/importance", body, { channel: `line ${i}`, quiet: () => {} });
    if (answer) {
      const units = answer.reply.units.filter((unit) => !unit.part);
      const values = units.map((unit) => unit.importance);
      const shaded = new ShadedText(line, { label: "Text shaded by importance" });
      shaded.write([text], units.map((unit) => ({ ...unit, name: unit.text, part: 0 })));
      shaded.paint(values, { high: Math.max(...values.map(Math.abs)), signed: true });
    }
  }

  const soon = () => panel.soon(ask, TYPING_MS);
  box.addEventListener("input", soon);
  panel.second.addEventListener("input", soon);
  panel.select.addEventListener("change", ask);
  return { panel, box, ask };
}
