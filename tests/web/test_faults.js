// What the page does when things go wrong: answers that come late, refusals, a server that stops.
import assert from "node:assert/strict";
import { test } from "node:test";
import { place, visit } from "./browser.js";
import { portOf, startDaemon, stopDaemon } from "./daemon.js";
import { VIEWS, settled } from "./views.js";

const view = (name) => VIEWS.find((each) => each.name === name);

// Types two texts, of which the first one's answer is held back until the second's is there.
async function lateAnswer(place_, box, path, shown) {
  await visit(place_, {}, async ({ page }) => {
    let release = null;
    const held = new Promise((resolve) => (release = resolve));
    await page.route(`**${path}`, async (route) => {
      if (route.request().postData().includes("earlier")) {
        await held;
      }
      await route.continue().catch(() => {}); // called off by the page
    });
    await page.fill(box, "an earlier text");
    await page.waitForTimeout(600);
    await page.fill(box, "a later one");
    await page.waitForFunction(shown);
    release();
    await page.waitForTimeout(400);
    assert.ok(await page.evaluate(shown), "the later answer stays");
    assert.equal(await page.locator('[role="alert"]:visible').count(), 0);
  });
}

test("an answer that comes late is dropped: next word", () => lateAnswer("#try", "#nw-text", "/v1/next-word",
  () => document.querySelectorAll("#nw-chips button").length > 0
    && document.querySelector("#next-word .curl").textContent.includes("later")));

test("an answer that comes late is dropped: attention", () => lateAnswer("#attention", "#at-text", "/v1/attention",
  () => document.getElementById("hd-text").textContent.includes("a later one")));

test("an answer that comes late is dropped: states", () => lateAnswer("#states", "#st-text", "/v1/states",
  () => document.getElementById("st-shaded").textContent.includes("a later one")));

test("a text that is longer than the model reads is said to be cut", async () => {
  const text = "word ".repeat(700);
  await visit(place("attention", { model: "sentiment-transformer", text }), {}, async ({ page }) => {
    await page.waitForFunction(() => /longer than the model reads/.test(document.getElementById("at-answer").textContent));
  });
});

test("what the server refuses is told beside the field it is about", async () => {
  await visit("#states", {}, async ({ page, expected }) => {
    expected.push(/status of 4\d\d/);
    await settled(page, view("states-classifier"));
    await page.fill("#st-text", "word ".repeat(230000));
    const error = page.locator('#panel-states [role="alert"]');
    await error.waitFor();
    assert.match(await error.textContent(), /\S/);
    await page.fill("#st-text", "short again");
    await error.waitFor({ state: "hidden" });
    assert.match(await page.textContent("#st-shaded"), /short again/);
  });
});

test("a server that stops is told, and what it answers later is shown", async () => {
  const port = portOf();
  await visit("#try", {}, async ({ page, expected }) => {
    expected.push(/ERR_|Failed to load|status of 5/);
    await page.waitForSelector("#nw-chips button");
    await stopDaemon();
    try {
      await page.fill("#nw-text", "nobody answers ");
      await page.locator('#next-word [role="alert"]').waitFor();
    } finally {
      await startDaemon(port);
    }
    await page.fill("#nw-text", "somebody answers ");
    await page.locator('#next-word [role="alert"]').waitFor({ state: "hidden" });
    await page.waitForSelector("#nw-chips button");
  });
});
