// The first tab: next word and sentiment side by side.
import { writeHash } from "./hash.js";
import { nextWord } from "./next_word.js";
import { sentiment } from "./sentiment.js";

export function tryOut(section) {
  const next = nextWord(section.querySelector("#next-word"), remember);
  const mood = sentiment(section.querySelector("#sentiment"), remember);
  let asked = false;

  function remember() {
    writeHash("try", {
      text: next.box.value, model: next.panel.model, texts: mood.box.value, judge: mood.panel.model,
    });
  }

  return {
    panels: [next.panel, mood.panel],
    open() {
      if (!asked) {
        asked = true;
        next.ask();
        mood.ask();
      }
    },
    restore({ text, model, texts, judge }) {
      asked = false;
      next.panel.want(model);
      mood.panel.want(judge);
      if (text !== undefined) {
        next.write(text);
      }
      if (texts !== undefined) {
        mood.box.value = texts;
      }
    },
    remember,
    redraw() {},
  };
}
