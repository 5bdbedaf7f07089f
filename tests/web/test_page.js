// What holds in every view: size, policy, names for screen readers, both themes.
import assert from "node:assert/strict";
import { test } from "node:test";
import { DESKTOP, PHONE, place, visit } from "./browser.js";
import { ask } from "./daemon.js";
import { note } from "./figures.js";
import { VIEWS, settled } from "./views.js";

const BUDGET = 80000;

// Runs in the page: what sticks out of the window, if it scrolls sideways.
function tooWide() {
  if (document.documentElement.scrollWidth <= innerWidth) {
    return [];
  }
  return [...document.querySelectorAll("body *")].filter((node) => node.getBoundingClientRect().right > innerWidth)
    .map((node) => node.outerHTML.slice(0, 120)).slice(0, 5);
}

test("the page comes in less than 80 kB", async () => {
  await visit("", {}, async ({ page }) => {
    const files = await page.evaluate(() => performance.getEntries()
      .filter((entry) => entry.entryType === "navigation" || /\/web\//.test(entry.name))
      .map(({ name, transferSize, decodedBodySize }) => ({ name, transferSize, decodedBodySize })));
    const sum = (field) => files.reduce((all, file) => all + file[field], 0);
    note({ kind: "the page", files: files.length, "bytes sent": sum("transferSize"), bytes: sum("decodedBodySize") });
    assert.ok(files.every((file) => file.transferSize > 0), "all are counted");
    assert.ok(sum("transferSize") < BUDGET, `${sum("transferSize")} bytes`);
  });
});

test("the policy stops inline scripts, inline styles and other hosts", async () => {
  await visit("", {}, async ({ page, expected }) => {
    expected.push(/Content Security Policy/);
    const stopped = await page.evaluate(async () => {
      const found = new Set();
      document.addEventListener("securitypolicyviolation", (event) => found.add(event.effectiveDirective));
      const script = document.createElement("script");
      script.textContent = "window.intruder = true";
      document.body.append(script);
      const styled = document.createElement("p");
      styled.setAttribute("style", "color: red");
      document.body.append(styled);
      await fetch("https://example.invalid/").catch(() => {});
      await new Promise((done) => setTimeout(done, 200));
      return { found: [...found].sort(), intruder: window.intruder === true };
    });
    assert.deepEqual(stopped, {
      found: ["connect-src", "script-src-elem", "style-src-attr"], intruder: false,
    });
  });
});

for (const size of [DESKTOP, PHONE]) {
  for (const theme of ["light", "dark"]) {
    test(`every view is clean for axe, ${theme}, ${size.name}`, async () => {
      for (const view of VIEWS) {
        await visit(place(view.tab, view.state), { size, theme }, async (seen) => {
          await settled(seen.page, view);
          await seen.axe(`${view.name}, ${theme}, ${size.name}`);
          assert.deepEqual(await seen.page.evaluate(tooWide), [], `${view.name} fits the window`);
          await seen.screenshot(`${view.name}-${theme}-${size.name}`);
        });
      }
    });
  }
}

test("what is shown has a role and a name", async () => {
  for (const view of VIEWS) {
    await visit(place(view.tab, view.state), {}, async ({ page }) => {
      await settled(page, view);
      const tree = await page.locator("main").ariaSnapshot();
      for (const part of view.says) {
        assert.match(tree, part, view.name);
      }
    });
  }
});

test("the model chooser lists what the server serves", async () => {
  const { data } = await ask("/v1/models");
  await visit("#states", {}, async ({ page }) => {
    const shown = await page.locator("#panel-states select.model option").evaluateAll((list) => list.map((o) => o.value));
    assert.deepEqual(shown, data.map(({ id }) => id));
  });
});
