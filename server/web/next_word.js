// Next word as you type: chips under the text; Tab takes the first one. Of a masked model
// the chips are for the place of its mask token.
import { el } from "./dom.js";
import { Panel } from "./panel.js";

// Letters, digits and what stands inside words; also inside note words like C#5:4/3.
const WORD_END = /[\p{L}\p{N}][\p{L}\p{M}\p{N}'’#:/-]*$/u;
const TYPING_MS = 60;

// What stands in the box at first; models of other languages than words bring their own.
const SAMPLES = { "next-note-lstm": "D5:2 E5:2 F#5:2 | " };
const SAMPLE = "I would like to ";

function sampleOf(model) {
  return model.mask_token ? `${SAMPLE}${model.mask_token}.` : SAMPLES[model.id] || SAMPLE;
}

// The text before the caret, cut into what is finished and the word being typed.
export function splitAtWord(text, unit) {
  const match = unit === "word" ? WORD_END.exec(text) : null;
  const prefix = match ? match[0] : "";
  return { text: text.slice(0, text.length - prefix.length), prefix };
}

export function nextWord(section, changed) {
  const box = section.querySelector("textarea");
  const chips = section.querySelector("#nw-chips");
  const unit = section.querySelector("#nw-unit");
  const top = section.querySelector("#nw-top");
  const hint = section.querySelector("#nw-mask");
  const panel = new Panel(section, { task: "next-word", adapted });
  let sample = SAMPLE;
  let armed = false; // Tab takes a word only after typing
  let asked = null; // where in the text a chip goes

  function bodyMasked(mask) {
    const from = box.value.indexOf(mask);
    if (from < 0) {
      chips.replaceChildren(el("button", {
        type: "button",
        onclick: () => {
          box.setRangeText(mask, box.selectionStart, box.selectionEnd, "end");
          ask();
        },
      }, `Put ${mask} here`));
      return null;
    }
    asked = { from, to: from + mask.length };
    return { text: box.value, top_k: Number(top.value), unit: unit.value };
  }

  function bodyNext() {
    const before = box.value.slice(0, box.selectionStart);
    const parts = splitAtWord(before, unit.value);
    asked = { from: before.length - parts.prefix.length, to: before.length };
    const body = { text: parts.text, top_k: Number(top.value) };
    if (parts.prefix) {
      body.prefix = parts.prefix.replaceAll("’", "'"); // as models spell it
    }
    if (unit.value === "token") {
      body.unit = "token";
    }
    return body;
  }

  async function ask() {
    const mask = panel.info.mask_token;
    const body = mask ? bodyMasked(mask) : bodyNext();
    if (!body) {
      panel.drop();
      panel.clear();
      return;
    }
    const answer = await panel.post("/v1/next-word", body);
    if (answer) {
      show(answer.reply.results[0].predictions);
      changed();
    } else if (!panel.error.hidden) {
      chips.replaceChildren();
    }
  }

  function take(text) {
    if (text === null || !asked) {
      return;
    }
    const next = unit.value === "word" && !panel.info.mask_token;
    const blank = next && !/\s$/.test(text) ? " " : "";
    box.setRangeText(text + blank, asked.from, asked.to, "end");
    chips.replaceChildren();
    armed = true;
    box.focus();
    ask();
  }

  function chip(prediction) {
    const shown = prediction.text === null
      ? `0x${prediction.bytes}`
      : (prediction.word || prediction.text).replaceAll("\n", "⏎") || "(nothing)";
    const percent = (100 * prediction.score).toFixed(prediction.score < 0.1 ? 2 : 1);
    const bar = el("i");
    bar.style.width = `${100 * prediction.score}%`;
    const tokens = (prediction.tokens || [prediction.token]).join(" + ");
    return el("button", {
      type: "button",
      title: `tokens: ${tokens}; log probability ${prediction.logprob.toFixed(3)}`,
      onclick: () => take(prediction.text),
      disabled: prediction.text === null,
    }, shown, el("small", {}, `${percent} %`), bar);
  }

  function show(found) {
    chips.replaceChildren(...found.map(chip));
    if (found.length === 0) {
      chips.append(el("span", { className: "hint" }, panel.info.mask_token
        ? "No whole word of this model stands there." : "No word of this model begins like that."));
    }
  }

  function moveFocus(event) {
    const all = [...chips.querySelectorAll("button:not(:disabled)")];
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") {
      box.focus();
    } else if (step) {
      const to = all.indexOf(document.activeElement) + step;
      (all[to] || (to < 0 ? box : all[all.length - 1])).focus();
    } else {
      return;
    }
    event.preventDefault();
  }

  function onKey(event) {
    const first = chips.querySelector("button:not(:disabled)");
    if (event.key === "Escape") {
      armed = false;
    } else if (event.key === "Tab" && !event.shiftKey && armed && first) {
      event.preventDefault();
      first.click();
    } else if (event.key === "ArrowDown" && first && box.selectionEnd === box.value.length) {
      event.preventDefault();
      first.focus();
    }
  }

  function write(text) {
    box.value = text;
    box.setSelectionRange(text.length, text.length);
  }

  function adapted(model) {
    hint.hidden = !model.mask_token;
    hint.querySelector("code").textContent = model.mask_token || "";
    chips.replaceChildren();
    if (box.value === sample) {
      sample = sampleOf(model);
      write(sample);
    }
  }

  const soon = () => panel.soon(ask, TYPING_MS);
  box.addEventListener("input", () => {
    armed = true;
    soon();
  });
  box.addEventListener("blur", () => (armed = false));
  box.addEventListener("click", soon);
  box.addEventListener("keyup", (event) => {
    if (["ArrowLeft", "ArrowRight", "ArrowUp", "Home", "End"].includes(event.key)) {
      soon();
    }
  });
  box.addEventListener("keydown", onKey);
  chips.addEventListener("keydown", moveFocus);
  for (const field of [panel.select, unit, top]) {
    field.addEventListener("change", ask);
  }
  write(box.value);
  return { panel, box, ask, write };
}
