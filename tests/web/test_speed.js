// How long the page is busy with each interaction at 512 tokens: from the event to the end of
// the frame behind its handlers. The aim is 50 ms; the bound here leaves room for machines
// that do other things, and the least of a few tries counts.
import assert from "node:assert/strict";
import { test } from "node:test";
import { DESKTOP, PHONE, place, visit } from "./browser.js";
import { textOf } from "./daemon.js";
import { note } from "./figures.js";

const TOKENS = 512;
const TRIES = 5;
const BOUND_MS = 100;

async function timed(seen, what, on, act) {
  const tries = [];
  for (let i = 0; i < TRIES; i++) {
    await seen.slowest();
    await act(i);
    tries.push(await seen.slowest());
  }
  tries.sort((a, b) => a - b);
  note({
    kind: `interactions at ${TOKENS} tokens, ms`, what, on, least: tries[0].toFixed(1), median: tries[TRIES >> 1].toFixed(1),
    most: tries[TRIES - 1].toFixed(1),
  });
  assert.ok(tries[0] > 0 && tries[0] < BOUND_MS, `${what}: ${tries.map((ms) => ms.toFixed(0))} ms`);
}

for (const size of [DESKTOP, PHONE]) {
  test(`interactions with a map of ${TOKENS} tokens, ${size.name}`, async () => {
    const text = await textOf("sentiment-transformer", TOKENS);
    await visit(place("attention", { model: "sentiment-transformer", text }), { size }, async (seen) => {
      const { page } = seen;
      await page.waitForFunction((n) => document.querySelector("#hd-map .plane")?.getAttribute("aria-label")
        ?.includes(` by ${n};`), TOKENS);
      const other = (list) => (i) => list[i % list.length];
      await timed(seen, "choose a head", size.name, async (i) => {
        await page.locator(`[data-id="${other(["0.0", "0.1"])(i)}"]`).click();
        await page.waitForTimeout(300);
      });
      const token = page.locator("#hd-text [role=option]").nth(3);
      await token.focus();
      await timed(seen, "pin the next token", size.name, () => page.keyboard.press("ArrowRight"));
      await timed(seen, "change the scale", size.name, (i) => page.selectOption("#hd-scale", other(["sqrt", "linear"])(i)));
      await timed(seen, "without the first token", size.name, () => page.locator("#hd-first").press("Space"));
      await page.locator("#hd-map .plane").focus();
      await timed(seen, "move the crosshair", size.name, () => page.keyboard.press("ArrowRight"));
      await timed(seen, "filter by a label", size.name, () => page.locator("#ov-labels button").first().press("Enter"));
    });
  });

  test(`interactions with states of ${TOKENS} tokens, ${size.name}`, async () => {
    const text = await textOf("sentiment-lstm", TOKENS);
    await visit(place("states", { model: "sentiment-lstm", text }), { size }, async (seen) => {
      const { page } = seen;
      await page.waitForFunction(() => !document.getElementById("st-steps").hidden);
      await timed(seen, "choose a gate", size.name, (i) =>
        page.locator(`#st-signals [value="${["f", "c", "i", "h", "o"][i]}"]`).click());
      await page.locator("#st-strip .plane").focus();
      await timed(seen, "move over the strip", size.name, () => page.keyboard.press("ArrowDown"));
      await timed(seen, "choose a unit", size.name, () => page.keyboard.press("Enter"));
      await page.locator('#st-shaded [tabindex="0"]').focus();
      await timed(seen, "choose the step before", size.name, () => page.keyboard.press("ArrowLeft"));
    });
  });
}
