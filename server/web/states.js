// The States tab: the text is read once; its views show what the layers held at each step and
// what the model would have answered there.
import { fill } from "./dom.js";
import { writeHash } from "./hash.js";
import { Panel } from "./panel.js";
import { stepsView } from "./states_steps.js";
import { unitsView } from "./states_units.js";
import { cellsOf } from "./tokens.js";

const TYPING_MS = 250;
const UNITS = 32;
const TOP = 5;
const ORDERS = [
  ["variance", "that vary most"], ["abs_mean", "that are largest"], ["delta", "that change most"],
  ["corr_output", "that go with the answer"],
];

export function states(section) {
  const box = section.querySelector("#st-text");
  const order = section.querySelector("#st-order");
  const panel = new Panel(section, { task: "states" });
  const units = unitsView(section, { onStep: choose, changed: remember });
  const steps = stepsView(section, choose);
  let step = Infinity; // of a new text the last
  let wanted = null; // the step of a link, until its text has been read
  let asked = false;

  const input = () => ({
    text: box.value, offset_unit: "utf16", ...(panel.secondText ? { text_pair: panel.secondText } : {}),
  });

  async function read() {
    steps.clear();
    panel.drop("steps");
    const body = { ...input(), units: { top: UNITS, by: order.value }, encoding: "binary" };
    const answer = await panel.post("/v1/states", body, { channel: "reading" });
    if (!answer) {
      return;
    }
    const texts = [body.text, body.text_pair || ""];
    const cells = cellsOf(answer.reply.tokens);
    step = Math.min(wanted ?? step, cells.length - 1);
    wanted = null;
    units.show(answer, texts, cells, step);
    remember();
    readSteps(body, cells);
  }

  // Answers for each step take a second look, which may be had later than the states.
  async function readSteps({ text, text_pair }, cells) {
    const { tasks, attention, mask_token } = panel.info;
    const speaks = tasks.includes("next-word");
    const body = {
      text, ...(text_pair ? { text_pair } : {}), offset_unit: "utf16", units: [0], stats: false,
      ...(mask_token ? {} : { per_step: { top_k: TOP } }),
      ...(speaks && attention ? { lens: { top_k: 1 } } : {}),
    };
    if (!body.per_step && !body.lens) {
      return;
    }
    const quiet = ({ message }) => steps.clear(`No answers step by step: ${message}`);
    const answer = await panel.post("/v1/states", body, { channel: "steps", quiet });
    if (answer) {
      steps.show(answer.reply, cells, step);
    }
  }

  function choose(i) {
    step = i;
    units.choose(i);
    steps.choose(i);
    remember();
  }

  function remember() {
    writeHash("states", {
      model: panel.model, text: box.value, pair: panel.secondText, order: order.selectedIndex > 0 ? order.value : "",
      step, ...units.state(),
    });
  }

  fill(order, ORDERS.map(([value, text]) => [value, `${UNITS} ${text}`]), "");
  const soon = () => panel.soon(read, TYPING_MS, "reading");
  box.addEventListener("input", soon);
  panel.second.addEventListener("input", soon);
  panel.select.addEventListener("change", read);
  order.addEventListener("change", read);

  return {
    panels: [panel],
    open() {
      if (!asked) {
        asked = true;
        read();
      }
    },
    restore(state) {
      asked = asked && Object.keys(state).length === 0;
      box.value = state.text ?? box.value;
      panel.second.querySelector("input").value = state.pair ?? panel.secondText;
      order.value = ORDERS.some(([value]) => value === state.order) ? state.order : "variance";
      wanted = state.step === undefined ? null : Number(state.step) || 0;
      panel.want(state.model);
      units.restore(state);
    },
    remember,
    redraw: () => units.redraw(),
  };
}
