// A link brings back what was seen: the hash of a page, opened in another one.
import assert from "node:assert/strict";
import { test } from "node:test";
import { place, visit } from "./browser.js";
import { VIEWS, settled } from "./views.js";

// What of the page a reader sees.
const looks = (page) => page.evaluate(() => {
  const panel = document.querySelector("main > section:not([hidden])");
  const chosen = [...panel.querySelectorAll("select, textarea, input")].filter((node) => node.offsetParent !== null)
    .map((node) => (["checkbox", "radio"].includes(node.type) ? node.checked : node.value));
  const told = [...panel.querySelectorAll(".readout, [aria-label], [aria-selected=true]")]
    .filter((node) => node.offsetParent !== null).map((node) => node.getAttribute("aria-label") || node.textContent);
  return { tab: panel.id, chosen, told };
});

const CHANGES = {
  "attention-encoder": async (page) => {
    await page.click('[data-id="0.1"]');
    await page.selectOption("#hd-scale", "sqrt");
    await page.locator("#hd-text [role=option]").nth(4).click();
    await page.check("#hd-special");
  },
  "states-classifier": async (page) => {
    await page.check('#st-signals [value="f"]');
    await page.selectOption("#st-direction", "backward");
    await page.selectOption("#st-order", "delta");
    await page.waitForTimeout(500);
    await page.locator("#st-shaded [role=option]").nth(4).click();
    await page.locator("#st-strip .plane").press("ArrowDown");
    await page.locator("#st-strip .plane").press("Enter");
  },
  "states-decoder": async (page) => {
    await page.selectOption("#st-layer", "2");
    await page.locator("#st-shaded [role=option]").nth(2).click();
  },
};

for (const [name, change] of Object.entries(CHANGES)) {
  test(`a link brings back ${name}`, async () => {
    const view = VIEWS.find((each) => each.name === name);
    let [hash, before] = ["", null];
    await visit(place(view.tab, view.state), {}, async ({ page }) => {
      await settled(page, view);
      await change(page);
      await page.mouse.move(0, 0);
      await page.waitForTimeout(700);
      hash = await page.evaluate(() => window.location.hash);
      before = await looks(page);
    });
    await visit(hash, {}, async ({ page }) => {
      await settled(page, view);
      await page.waitForTimeout(500);
      assert.deepEqual(await looks(page), before);
      assert.equal(await page.evaluate(() => window.location.hash), hash);
    });
  });
}
