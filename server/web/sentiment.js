// Sentiment as you type: one text a line, a bar per label.
import { Panel, el } from "./api.js";

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

export function sentiment(section) {
  const box = section.querySelector("textarea");
  const results = section.querySelector("#se-results");

  function build() {
    const texts = box.value.split("\n").filter((line) => line.trim() !== "");
    if (texts.length === 0) {
      results.replaceChildren();
      return null;
    }
    const body = texts.length === 1 ? { text: texts[0] } : { texts };
    const second = panel.secondText;
    if (second && texts.length === 1) {
      body.text_pair = second;
    } else if (second) {
      body.text_pairs = texts.map(() => second);
    }
    return body;
  }

  function show(reply, body) {
    const texts = body.texts || [body.text];
    results.replaceChildren(...reply.results.map((result, i) =>
      el("article", {}, el("h2", {}, texts[i]), scores(result, panel.info.scores === "raw"))));
  }

  const panel = new Panel(section, "/v1/sentiment", build, show);
  for (const field of [box, panel.second]) {
    field.addEventListener("input", () => panel.soon(150));
  }
  return panel;
}
