// Pages of a real browser that are watched: every request, console message and error of a
// page is noted, and visit() fails for what must not be.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { WORK, origin } from "./daemon.js";

const modules = createRequire(`${resolve(WORK, "modules")}/`);
const { chromium } = modules("playwright-core");
const axe = readFileSync(modules.resolve("axe-core/axe.min.js"), "utf8");
const TAB_STOPS = 120;

export const DESKTOP = { name: "desktop", width: 1280, height: 900 };
export const PHONE = { name: "phone", width: 360, height: 740 };

let browser = null;

export async function openBrowser() {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: process.getuid() === 0 ? ["--no-sandbox"] : [],
  });
}

export async function closeBrowser() {
  await browser?.close();
}

// Runs in the page before its scripts: the time from an event to the end of the frame behind
// its handlers, the longest since the last look.
function measureFrames() {
  window.slowest = 0;
  for (const type of ["click", "keydown", "change", "input", "pointermove"]) {
    window.addEventListener(type, () => {
      const started = performance.now();
      requestAnimationFrame(() => {
        const channel = new MessageChannel();
        channel.port1.onmessage = () => (window.slowest = Math.max(window.slowest, performance.now() - started));
        channel.port2.postMessage(0);
      });
    }, { capture: true });
  }
}

export class Visit {
  constructor(page, context) {
    this.page = page;
    this.context = context;
    this.requests = [];
    this.bytes = 0;
    this.complaints = [];
    this.expected = []; // RegExps of complaints that the test provokes
    context.on("request", (request) => this.requests.push(request.url()));
    page.on("response", (response) => {
      this.bytes += Number(response.headers()["content-length"] || 0);
    });
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) {
        this.complaints.push(`${message.text()} ${message.location().url}`);
      }
    });
    page.on("pageerror", (error) => this.complaints.push(String(error.stack)));
  }

  // Bytes that came since the last look.
  takeBytes() {
    const { bytes } = this;
    this.bytes = 0;
    return bytes;
  }

  async screenshot(name) {
    await this.page.screenshot({ path: join(WORK, `${name}.png`), fullPage: true });
  }

  // All rules of WCAG 2 A and AA and the good practices.
  async axe(what) {
    await this.page.evaluate(axe);
    const { violations } = await this.page.evaluate(() => window.axe.run(document, { preload: false }));
    const said = violations.map(({ id, help, nodes }) =>
      `${id}: ${help}\n  ${nodes.slice(0, 3).map(({ html, failureSummary }) => `${html}\n  ${failureSummary}`).join("\n  ")}`);
    assert.deepEqual(said, [], `axe of ${what}`);
  }

  // Presses Tab until the element has the focus; each stop on the way must show it.
  async tabTo(locator) {
    for (let i = 0; i < TAB_STOPS; i++) {
      if (await locator.evaluate((node) => node === document.activeElement)) {
        return;
      }
      await this.page.keyboard.press("Tab");
      await this.focusShows();
    }
    throw new Error(`${locator} can't be reached with Tab`);
  }

  async focusShows() {
    const where = await this.page.evaluate(() => {
      const node = document.activeElement;
      const shown = (element) => {
        const style = getComputedStyle(element);
        return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
      };
      const seen = node === document.body || shown(node) || (node.closest("label") && shown(node.closest("label")));
      return seen ? "" : node.outerHTML.slice(0, 200);
    });
    assert.equal(where, "", "focus is visible");
  }

  async slowest() {
    await this.page.evaluate(() => new Promise((done) => setTimeout(done, 100)));
    return this.page.evaluate(() => {
      const ms = window.slowest;
      window.slowest = 0;
      return ms;
    });
  }
}

// Opens the page at a place and hands it to work(visit); checks what every page must keep.
export async function visit(place, { size = DESKTOP, theme = "light", at = origin }, work) {
  const context = await browser.newContext({
    viewport: size, colorScheme: theme, hasTouch: size === PHONE, acceptDownloads: true,
  });
  try {
    const page = await context.newPage();
    page.setDefaultTimeout(20000);
    await page.addInitScript(measureFrames);
    const seen = new Visit(page, context);
    await page.goto(`${at}/${place}`);
    await page.waitForFunction(() => / ready$/.test(document.getElementById("server").textContent));
    await work(seen);
    const foreign = seen.requests.filter((url) => !url.startsWith(`${at}/`) && !/^(data|blob):/.test(url));
    assert.deepEqual(foreign, [], "no request leaves the origin");
    const unexpected = seen.complaints.filter((text) => !seen.expected.some((pattern) => pattern.test(text)));
    assert.deepEqual(unexpected, [], "nothing on the console");
  } finally {
    await context.close();
  }
}

// "#tab?key=value" of a tab with a state.
export function place(tab, state = {}) {
  const query = new URLSearchParams(state).toString();
  return query ? `#${tab}?${query}` : `#${tab}`;
}
