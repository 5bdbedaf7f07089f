// Sentiment as you type: one text a line, a bar per label.
import { Panel, el } from "./api.js";

function scores(result) {
  const list = el("dl", { className: "scores" });
  for (const [label, score] of Object.entries(result.scores)) {
    const fill = el("i");
    fill.style.width = `${100 * score}%`;
    const best = label === result.label ? "best" : "";
    list.append(
      el("dt", { className: best }, label),
      el("dd", { className: "bar", "aria-hidden": "true" }, fill),
      el("dd", { className: `number ${best}` }, `${(100 * score).toFixed(1)} %`),
    );
  }
  return list;
}

export function sentiment(section) {
  const box = section.querySelector("textarea");
  const results = section.querySelector("#se-results");

  function build() {
    const texts = box.value.split("\n").filter((line) => line.trim() !== "");
    if (texts.length === 0) {
      results.replaceChildren();
      return null;
    }
    return texts.length === 1 ? { text: texts[0] } : { texts };
  }

  function show(reply, body) {
    const texts = body.texts || [body.text];
    results.replaceChildren(...reply.results.map((result, i) =>
      el("article", {}, el("h2", {}, texts[i]), scores(result))));
  }

  const panel = new Panel(section, "/v1/sentiment", build, show);
  box.addEventListener("input", () => panel.soon(150));
  return panel;
}
