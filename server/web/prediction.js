// What the answer hangs on: each word left out in turn, beside what attention gives it.
import { fill } from "./dom.js";
import { saveBar } from "./save.js";
import { ShadedText } from "./shade.js";
import { sortable } from "./table.js";

export function predictionView(root, panel, changed) {
  const [unit, mode, target] = ["unit", "mode", "target"].map((name) => root.querySelector(`#pr-${name}`));
  const said = root.querySelector("#pr-said");
  const dropped = new ShadedText(root.querySelector("#pr-drop"), { label: "Shaded by importance" });
  const looked = new ShadedText(root.querySelector("#pr-look"), { label: "Shaded by attention" });
  let [reading, reply, rows] = [null, null, null];

  async function ask() {
    const body = { ...reading.input, unit: unit.value, mode: mode.value, offset_unit: "utf16" };
    if (target.value) {
      body.target = target.value;
    }
    const answer = await panel.post("/v1/importance", body, { channel: "importance", model: reading.reply.model });
    root.classList.toggle("waiting", !answer);
    if (answer) {
      reply = answer.reply;
      draw();
      changed();
    }
  }

  // The answers that can be asked about: labels, or the likeliest next tokens.
  function targets() {
    const { labels } = panel.info;
    const names = labels.length > 1 ? labels
      : (reading.reply.prediction.next || []).map(({ text }) => text).filter((text) => text !== null);
    const wanted = root.dataset.target ?? target.value;
    delete root.dataset.target;
    fill(target, [["", "its own answer"], ...names.map((name) => [name, name.replace(/^ /, "") || "␣"])], wanted);
  }

  function draw() {
    const { units, attention, target: about } = reply;
    const cells = units.map((one) => ({ ...one, name: one.text, part: one.part || 0 }));
    const drops = units.map(({ importance }) => importance);
    const looks = units.map((one) => one.attention);
    const far = Math.max(1e-9, ...drops.map(Math.abs));
    dropped.write(reading.texts, cells);
    dropped.paint(drops, { low: -far, high: far, signed: true });
    looked.write(reading.texts, cells);
    looked.paint(looks, { high: Math.max(...looks) });
    root.querySelector("#pr-of").textContent = attention ? `Attention: ${attention.of}` : "This model has no attention.";
    const name = `“${(about.label ?? about.token ?? "").trim()}”`;
    const tau = attention?.kendall_tau;
    said.textContent = `${name} has probability ${about.probability.toFixed(3)}. ${tau === null || tau === undefined ? ""
      : `The two rankings agree with Kendall's tau ${tau.toFixed(2)}: 1 is the same order, 0 none, -1 the reverse.`}`;
    const number = (value) => value.toFixed(4);
    rows = sortable(root.querySelector("table"), {
      caption: `Each ${unit.value} left out: how far the log probability of ${name} falls`,
      columns: [
        { name: "left out", of: ({ text }) => text },
        { name: "importance", of: ({ importance }) => importance, show: number, bar: true },
        { name: "probability without", of: ({ probability }) => probability, show: number },
        { name: "attention", of: (one) => one.attention, show: number, bar: true },
      ],
      rows: units,
    });
  }

  for (const field of [unit, mode, target]) {
    field.addEventListener("change", ask);
  }
  saveBar(root.querySelector(".save"), { name: () => "importance", rows: () => rows(), json: () => reply });

  return {
    show(newReading) {
      reading = newReading;
      targets();
      ask();
    },
    state: () => ({ unit: unit.selectedIndex > 0 ? unit.value : "", mode: mode.selectedIndex > 0 ? mode.value : "", target: target.value }),
    restore(state) {
      unit.value = state.unit || unit.value;
      mode.value = state.mode || mode.value;
      if (state.target !== undefined) {
        root.dataset.target = state.target;
      }
    },
  };
}
