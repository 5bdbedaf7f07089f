// The paths of three clicks, by mouse or finger and by keyboard, with short and long texts:
// what each costs in time, from the first event to the last picture, and in bytes.
import assert from "node:assert/strict";
import { test } from "node:test";
import { DESKTOP, PHONE, place, visit } from "./browser.js";
import { textOf } from "./daemon.js";
import { note } from "./figures.js";

const LENGTHS = [12, 128, 512];
const LSTM = "sentiment-lstm";
const ENCODER = "sentiment-transformer";
// The shipped decoder reads 256 tokens; the longer text goes to its weights with more positions.
const decoder = (tokens) => (tokens > 256 ? "long-decoder" : "next-word-transformer");

async function typed(page, box, text) {
  await page.focus(box);
  await page.keyboard.press("Control+A");
  await page.keyboard.insertText(text);
}

const waits = {
  map: (page, tokens) => page.waitForFunction((n) =>
    document.querySelector("#hd-map .plane")?.getAttribute("aria-label")?.includes(` by ${n};`), tokens),
  head: (page, title) => page.waitForFunction((t) => document.getElementById("hd-title").textContent === t, title),
  units: (page, tokens) => page.waitForFunction((n) =>
    document.querySelector("#st-strip .plane")?.getAttribute("aria-label")?.includes(` by ${n};`), tokens),
};

// tokens and the models that have the path; clicks are what a user does after the text.
const PATHS = [
  {
    name: "(a) head, token", tab: "attention", models: [ENCODER, decoder], start: waits.map,
    async walk({ page }, press, tokens) {
      await press(page.locator('[data-id="1.1"]'));
      await waits.head(page, "Layer 1 head 1");
      const token = page.locator("#hd-text [role=option]").nth(Math.min(5, tokens - 1));
      await press(token);
      const shown = await page.textContent("#hd-read");
      assert.match(shown, /^“.+” looks at: “.+” \d\.\d{3}/);
      const shaded = await page.locator("#hd-text [role=option]").evaluateAll((list) =>
        list.filter((node) => node.style.backgroundColor !== "").length);
      assert.ok(shaded > 0, "the text is shaded");
    },
  },
  {
    name: "(a) pooled text", tab: "attention", models: [LSTM], start: waits.map,
    async walk({ page }) {
      assert.match(await page.textContent("#hd-read"), /^Hop 0 looks at: “.+” \d\.\d{3}/);
    },
  },
  {
    name: "(b) prediction", tab: "attention", models: [ENCODER, decoder, LSTM], start: waits.map,
    longest: 128, // at most 256 words are left out
    async walk({ page }, press) {
      await press(page.locator("#tab-prediction"));
      await page.waitForFunction(() => document.querySelectorAll("#pr-drop span").length > 5);
      assert.match(await page.textContent("#pr-said"), /^“.+” has probability \d\.\d{3}/);
      const rows = page.locator("#view-prediction tbody tr");
      assert.equal(await rows.count(), await page.locator("#pr-drop span").count());
    },
  },
  {
    name: "(c) label, head", tab: "attention", models: [ENCODER, decoder], start: waits.map,
    async walk({ page }, press) {
      const chip = page.locator("#ov-labels button").first();
      const label = await chip.getAttribute("data-name");
      await press(chip);
      const cell = page.locator("#ov-grid [role=gridcell]:not(.dim)").first();
      const [layer, head] = (await cell.getAttribute("data-id")).split(".");
      assert.match(await cell.getAttribute("title"), new RegExp(label));
      await press(cell);
      await waits.head(page, `Layer ${layer} head ${head}`);
    },
  },
  {
    name: "(d) head, SVG", tab: "attention", models: [ENCODER, decoder], start: waits.map,
    async walk({ page }, press) {
      await press(page.locator('[data-id="0.1"]'));
      await waits.head(page, "Layer 0 head 1");
      const saved = page.waitForEvent("download");
      await press(page.locator("#hd-save").getByRole("button", { name: "Save as SVG" }));
      assert.match((await saved).suggestedFilename(), /^attention-layer-0-head-1\.svg$/);
    },
  },
  {
    name: "(e) compare, text", tab: "attention", models: [ENCODER, decoder, LSTM], start: waits.map,
    async walk({ page }, press, tokens, text) {
      await press(page.locator("#tab-compare"));
      await typed(page, "#cm-text", text.replace("great", "bad"));
      await page.waitForFunction((n) => ["a", "b", "d"].every((map) => document.querySelector(`#cm-${map} .plane`)
        ?.getAttribute("aria-label")?.includes(` by ${n};`)), tokens);
      assert.match(await page.textContent("#cm-d-name"), /place by place/);
    },
  },
  {
    name: "(f) unit, gate f", tab: "states", models: [LSTM, () => "next-word-lstm"], start: waits.units,
    async walk({ page }, press) {
      await page.evaluate(() => document.querySelector("#st-stats").closest("details").setAttribute("open", ""));
      await press(page.locator("#st-stats tbody button").nth(3));
      const unit = await page.locator("#st-stats tbody button").nth(3).textContent();
      await press(page.locator('#st-signals input[value="f"]'));
      await page.waitForFunction((id) => document.getElementById("st-cell").textContent
        .match(new RegExp(`^Unit ${id} at .*forget gate`)), unit);
      const titles = await page.locator("#st-shaded [role=option]").evaluateAll((list) => list.map((n) => n.title));
      assert.ok(titles.every((title) => /: [01]\.\d{3}$/.test(title)), "gates are between 0 and 1");
    },
  },
];

async function walk(path, model, tokens, size, text) {
  await visit(place(path.tab, { model }), { size }, async (seen) => {
    const { page } = seen;
    await page.waitForFunction((id) => [...document.querySelectorAll("select.model")].some((s) => s.value === id), model);
    const press = (locator) => (size === PHONE ? locator.tap() : locator.click());
    await page.waitForTimeout(400); // the sample text's answers are in
    seen.takeBytes();
    const started = Date.now();
    await typed(page, path.tab === "attention" ? "#at-text" : "#st-text", text);
    await path.start(page, tokens);
    await path.walk(seen, press, tokens, text);
    const ms = Date.now() - started;
    note({ kind: "paths", path: path.name, model, tokens, on: size.name, ms, bytes: seen.takeBytes() });
  });
}

for (const path of PATHS) {
  for (const size of [DESKTOP, PHONE]) {
    for (const tokens of LENGTHS.filter((n) => n <= (path.longest || Infinity))) {
      for (const choice of path.models) {
        const model = typeof choice === "string" ? choice : choice(tokens);
        test(`path ${path.name}: ${model}, ${tokens} tokens, ${size.name}`, async () => {
          await walk(path, model, tokens, size, await textOf(model, tokens));
        });
      }
    }
  }
}

// By keyboard alone: from the top of the page, with the focus in sight at each stop.
async function noMouse(page) {
  const events = await page.evaluate(() => window.pointers);
  assert.equal(events, 0, "no mouse was used");
}

async function counted(page) {
  await page.evaluate(() => {
    window.pointers = 0;
    window.addEventListener("pointerdown", () => window.pointers++, { capture: true });
  });
}

test("keyboard alone: next word and Tab", () => visit("#try", {}, async (seen) => {
  const { page } = seen;
  await counted(page);
  await seen.tabTo(page.locator("#nw-text"));
  await page.keyboard.press("Control+End");
  await page.keyboard.type("go to the ");
  await page.waitForFunction(() => document.querySelector("#next-word .curl").textContent.includes("go to the"));
  await page.waitForTimeout(500); // the answer is in
  const first = await page.locator("#nw-chips button").first().evaluate((node) => node.firstChild.textContent);
  await page.keyboard.press("Tab");
  assert.match(await page.inputValue("#nw-text"), new RegExp(`go to the ${first}`));
  await page.keyboard.press("Escape");
  await page.keyboard.press("Tab");
  await seen.focusShows();
  assert.notEqual(await page.evaluate(() => document.activeElement.id), "nw-text", "Tab leaves after Escape");
  await noMouse(page);
}));

test("keyboard alone: (a) a head, a token; (c) a label; (d) SVG", () =>
  visit(place("attention", { model: ENCODER }), {}, async (seen) => {
    const { page } = seen;
    await counted(page);
    await waits.head(page, "Layer 1 head 0");
    await seen.tabTo(page.locator("#ov-labels button").first());
    await page.keyboard.press("Enter");
    await page.waitForSelector('#ov-labels [aria-pressed="true"]');
    await seen.tabTo(page.locator('[role=gridcell][tabindex="0"]'));
    await page.keyboard.press("ArrowRight");
    await seen.focusShows();
    const id = await page.evaluate(() => document.activeElement.dataset.id);
    await page.keyboard.press("Enter");
    await waits.head(page, `Layer ${id.replace(".", " head ")}`);
    await seen.tabTo(page.locator('#hd-text [role=option][tabindex="0"]'));
    await page.keyboard.press("Home");
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowRight");
    const name = (await page.evaluate(() => document.activeElement.textContent)).trim();
    assert.ok((await page.textContent("#hd-read")).startsWith(`“${name}” looks at`));
    await seen.tabTo(page.locator("#hd-map .plane"));
    await page.keyboard.press("ArrowDown");
    assert.match(await page.textContent("#hd-cell"), / → .+: \d\.\d{4}$/);
    const saved = page.waitForEvent("download");
    await seen.tabTo(page.locator("#hd-save").getByRole("button", { name: "Save as SVG" }));
    await page.keyboard.press("Enter");
    await saved;
    await noMouse(page);
  }));

test("keyboard alone: (b) prediction and (e) compare", () =>
  visit(place("attention", { model: ENCODER }), {}, async (seen) => {
    const { page } = seen;
    await counted(page);
    await waits.head(page, "Layer 1 head 0");
    await seen.tabTo(page.locator("#tab-maps"));
    await page.keyboard.press("ArrowRight");
    await page.waitForFunction(() => document.querySelectorAll("#pr-drop span").length > 5);
    await page.keyboard.press("ArrowRight");
    await page.waitForFunction(() => /place by place|tokens both have/.test(document.getElementById("cm-d-name").textContent));
    await seen.tabTo(page.locator("#cm-a .plane"));
    await page.keyboard.press("ArrowRight");
    assert.match(await page.textContent("#cm-cell"), /→/);
    await noMouse(page);
  }));

test("keyboard alone: (f) a unit, gate f", () => visit(place("states", { model: LSTM }), {}, async (seen) => {
  const { page } = seen;
  await counted(page);
  await page.waitForFunction(() => document.getElementById("st-cell").textContent !== "");
  await seen.tabTo(page.locator("#st-signals input:checked"));
  await seen.focusShows();
  for (let i = 0; i < 5; i++) { // from h to f
    await page.keyboard.press("ArrowLeft");
  }
  assert.match(await page.textContent("#st-cell"), /forget gate/);
  await seen.tabTo(page.locator("#st-strip .plane"));
  await page.keyboard.press("ArrowDown");
  const said = await page.textContent("#st-cell");
  await page.keyboard.press("Enter");
  assert.equal(await page.textContent("#st-cell"), said);
  await noMouse(page);
}));
