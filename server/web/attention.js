// The Attention tab: the text is read once for all heads, and its views show that reading.
import { compareView } from "./compare.js";
import { el, tabList } from "./dom.js";
import { writeHash } from "./hash.js";
import { headView } from "./head.js";
import { headsView } from "./heads.js";
import { overview } from "./overview.js";
import { Panel } from "./panel.js";
import { predictionView } from "./prediction.js";
import { cellsOf } from "./tokens.js";

const TYPING_MS = 250;
const THUMBNAIL = 32;

export function attention(section) {
  const box = section.querySelector("#at-text");
  const panel = new Panel(section, { task: "attention", adapted });
  const generate = section.querySelector("#at-generate");
  const answer = section.querySelector("#at-answer");
  const maps = section.querySelector("#view-maps");
  const grid = overview(maps, chooseHead);
  const head = headView(maps, panel, remember);
  const views = {
    maps: { show: (...given) => head.show(...given), state: () => ({ ...grid.state(), ...head.state() }) },
    prediction: predictionView(section.querySelector("#view-prediction"), panel, remember),
    compare: compareView(section.querySelector("#view-compare"), panel, remember),
    heads: headsView(section.querySelector("#view-heads"), chooseHead),
  };
  let view = "maps";
  let at = null; // [layer, head]; null: the last layer's first
  let reading = null;
  let asked = false;

  function adapted({ attention: kind }) {
    generate.hidden = kind?.mask !== "causal";
  }

  const more = () => (generate.hidden ? 0 : Number(generate.querySelector("select").value));

  function input() {
    const second = panel.secondText;
    return second ? { text: box.value, text_pair: second } : { text: box.value };
  }

  // All heads at once, as thumbnails with their metrics; of pooling there is but one map.
  async function read() {
    const pooled = panel.info.attention?.mask === "pooling";
    const body = { ...input(), offset_unit: "utf16", encoding: "binary" };
    if (!pooled) {
      Object.assign(body, { pool: THUMBNAIL, dtype: "uint8", metrics: true });
    }
    if (more() > 0) {
      body.generate = { max_tokens: more() };
    }
    const got = await panel.post("/v1/attention", body, { channel: "reading" });
    if (!got) {
      return;
    }
    const { reply } = got;
    reading = {
      reply, pooled, input: input(), texts: [body.text, body.text_pair || ""], cells: cellsOf(reply.tokens),
      ids: reply.generated ? fedOf(reply) : null, thumbnails: got.tensors.attention,
    };
    show();
  }

  // What was generated has been fed again, all but the last; one map of it needs no new writing.
  const fedOf = (reply) => reply.tokens.slice(0, reply.usage.tokens).map(({ id }) => id);

  function place() {
    const { layers, heads } = reading.reply.attention;
    const known = at && layers.includes(at[0]) && heads.includes(at[1]);
    return known ? at : [layers[layers.length - 1], heads[0]];
  }

  function show() {
    const { reply, pooled } = reading;
    maps.classList.toggle("single", pooled);
    at = pooled ? [0, 0] : place();
    if (!pooled) {
      grid.show(reply, reading.thumbnails, at);
    }
    answer.replaceChildren(...said(reply));
    views[view].show(reading, at);
  }

  function said({ model, prediction, usage }) {
    const parts = [];
    if (prediction.label) {
      const score = panel.info.scores === "raw" ? prediction.score.toFixed(3)
        : `${prediction.label} (${(100 * prediction.score).toFixed(1)} %)`;
      parts.push(`${model} says `, el("b", {}, score), ". ");
    } else if (prediction.next) {
      const best = prediction.next[0];
      parts.push("Next: ", el("b", {}, best.text === null ? best.piece : best.text.trim() || "␣"),
        ` (${(100 * best.score).toFixed(1)} %). `);
    }
    if (usage.truncated) {
      parts.push("The text is longer than the model reads; it saw only the part with tokens.");
    }
    return parts;
  }

  function chooseHead(layer, number) {
    at = [layer, number];
    maps.querySelector("#hd-merge").value = "";
    grid.choose(layer, number);
    if (view === "maps") {
      head.show(reading, at);
    } else {
      select("maps");
      section.querySelector("#tab-maps").focus();
    }
  }

  function remember() {
    writeHash("attention", {
      view: view === "maps" ? "" : view, model: panel.model, text: box.value, pair: panel.secondText,
      head: at ? at.join(".") : "", go: more() || "", ...(views[view].state?.() || {}),
    });
  }

  const select = tabList(section.querySelector("#at-views"), (name) => {
    view = name;
    if (reading) {
      views[name].show(reading, at);
      remember();
    }
  });
  const soon = () => panel.soon(read, TYPING_MS, "reading");
  box.addEventListener("input", soon);
  panel.second.addEventListener("input", soon);
  panel.select.addEventListener("change", read);
  generate.addEventListener("change", read);
  maps.addEventListener("change", () => reading && remember());
  select(view);

  return {
    panels: [panel],
    open() {
      if (!asked) {
        asked = true;
        read();
      }
    },
    restore(state) {
      asked = asked && Object.keys(state).every((key) => key === "view");
      box.value = state.text ?? box.value;
      panel.second.querySelector("input").value = state.pair ?? panel.secondText;
      panel.want(state.model);
      at = state.head ? state.head.split(".").map(Number) : at;
      generate.querySelector("select").value = state.go || "0";
      grid.restore(state);
      head.restore(state);
      views.prediction.restore(state);
      views.compare.restore(state);
      select(state.view || (asked ? view : "maps"));
    },
    remember,
    redraw() {
      grid.redraw();
      head.redraw();
      views.compare.redraw();
    },
  };
}
