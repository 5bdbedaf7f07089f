// The views of the page: how to open each, when it is drawn, and what a screen reader finds.
const TEXT = "It is not a great film, but I loved every minute.";

const map = (page) => page.waitForFunction(() =>
  /\d+ by \d+/.test(document.querySelector("#hd-map .plane")?.getAttribute("aria-label") || "")
  && document.getElementById("hd-read").textContent !== "");

const units = (page) => page.waitForFunction(() => !document.getElementById("st-views").hidden
  && document.getElementById("st-cell").textContent !== "");

const steps = async (page) => {
  await units(page);
  await page.waitForFunction(() => !document.getElementById("st-steps").hidden);
};

export const VIEWS = [
  {
    name: "try", tab: "try", state: {},
    drawn: async (page) => {
      await page.waitForSelector("#nw-chips button");
      await page.waitForSelector("#se-results .line span");
    },
    says: [/textbox "Type, and the likeliest words appear below"/, /group "Predicted words"/, /group "Text shaded by importance"/],
  },
  {
    name: "attention-encoder", tab: "attention", state: { model: "sentiment-transformer", text: TEXT }, drawn: map,
    says: [/grid "All heads, a row per layer"/, /gridcell "layer 0 head 0, /, /listbox "Tokens of the text"/,
      /application "Layer \d+ head \d+, \d+ by \d+; arrows move the crosshair/, /button "Save as SVG"/],
  },
  {
    name: "attention-prediction", tab: "attention", state: { view: "prediction", model: "sentiment-transformer", text: TEXT },
    drawn: (page) => page.waitForFunction(() => /^“.+” has probability/.test(document.getElementById("pr-said").textContent)),
    says: [/tab "Prediction" \[selected\]/, /columnheader "importance"/, /group "Shaded by importance"/],
  },
  {
    name: "attention-compare", tab: "attention",
    state: { view: "compare", model: "sentiment-transformer", text: TEXT, "text-b": TEXT.replace("great", "bad") },
    drawn: (page) => page.waitForFunction(() => /place by place/.test(document.getElementById("cm-d-name").textContent)),
    says: [/application "First less second, \d+ by \d+/, /textbox "Text of the second map"/],
  },
  {
    name: "attention-heads", tab: "attention", state: { view: "heads", model: "sentiment-transformer", text: TEXT },
    drawn: (page) => page.waitForSelector("#view-heads tbody tr"),
    says: [/columnheader "entropy"/],
  },
  {
    name: "attention-decoder", tab: "attention", state: { model: "next-word-transformer", text: TEXT }, drawn: map,
    says: [/gridcell "layer 3 head 3, /, /option "film [\d.]+|none"/],
  },
  {
    name: "attention-lstm", tab: "attention", state: { model: "sentiment-lstm", text: TEXT }, drawn: map,
    says: [/listbox "Tokens of the text"/, /application "Attention pooling, 1 by \d+/],
  },
  {
    name: "states-classifier", tab: "states", state: { model: "sentiment-lstm", text: TEXT }, drawn: steps,
    says: [/radio "f forget gate"/, /application "Units over the steps, state, layer 0/, /img "score of \w+ over \d+ steps/],
  },
  {
    name: "states-words", tab: "states", state: { model: "next-word-lstm", text: TEXT }, drawn: steps,
    says: [/img "surprisal in nats over \d+ steps/, /option "film -?[\d.]+"/],
  },
  {
    name: "states-decoder", tab: "states", state: { model: "next-word-transformer", text: TEXT }, drawn: steps,
    says: [/columnheader "embeddings"/, /columnheader "layer 4"/],
  },
  {
    name: "states-encoder", tab: "states", state: { model: "sentiment-transformer", text: TEXT }, drawn: steps,
    says: [/application "Units over the steps, hidden state, layer 2/, /img "score of \w+ over \d+ steps/],
  },
];

export async function settled(page, view) {
  await view.drawn(page);
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 300))));
}
