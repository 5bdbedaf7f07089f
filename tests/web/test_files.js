// What the page saves loads, and holds the numbers that the API gives.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { place, visit } from "./browser.js";
import { ask } from "./daemon.js";
import { VIEWS, settled } from "./views.js";

const TEXT = "It is not a great film, but I loved every minute.";
const NEAR = 2e-6; // JSON of the API has 6 decimals or more
const CSV_FIELD = /("(?:[^"]|"")*"|[^,\r\n]*)(,|\r\n)/g;

async function saved(page, bar, kind) {
  const coming = page.waitForEvent("download");
  await page.locator(bar).getByRole("button", { name: `Save as ${kind}` }).click();
  const file = await coming;
  assert.match(file.suggestedFilename(), new RegExp(`^[\\w-]+\\.${kind.toLowerCase()}$`));
  return readFile(await file.path());
}

function csvOf(bytes) {
  const rows = [[]];
  for (const [, field, end] of bytes.toString("utf8").matchAll(CSV_FIELD)) {
    rows[rows.length - 1].push(field.startsWith('"') ? field.slice(1, -1).replaceAll('""', '"') : field);
    if (end !== ",") {
      rows.push([]);
    }
  }
  rows.pop();
  return rows;
}

function npyOf(bytes) {
  assert.equal(bytes.toString("latin1", 0, 8), "\x93NUMPY\x01\x00");
  const from = 10 + bytes.readUInt16LE(8);
  assert.equal(from % 64, 0);
  const [, shape] = /^\{'descr': '<f4', 'fortran_order': False, 'shape': \(([\d, ]+)\), \} *\n$/.exec(bytes.toString("latin1", 10, from));
  const numbers = shape.split(",").filter((part) => part.trim() !== "").map(Number);
  const data = Array.from({ length: (bytes.length - from) / 4 }, (_, i) => bytes.readFloatLE(from + 4 * i));
  assert.equal(data.length, numbers.reduce((product, n) => product * n, 1));
  return { shape: numbers, data };
}

function near(got, want, what) {
  assert.equal(got.length, want.length, what);
  const worst = got.reduce((most, value, i) => Math.max(most, Math.abs(value - want[i])), 0);
  assert.ok(worst <= NEAR, `${what}: ${worst}`);
}

// A browser decodes it: its size, and whether it shows more than one colour.
async function pngOf(page, bytes) {
  const seen = await page.evaluate(async (base64) => {
    const image = new Image();
    image.src = `data:image/png;base64,${base64}`;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const pixels = new Uint32Array(context.getImageData(0, 0, canvas.width, canvas.height).data.buffer);
    return { width: canvas.width, height: canvas.height, colours: new Set(pixels).size };
  }, bytes.toString("base64"));
  assert.ok(seen.width > 50 && seen.height > 20 && seen.colours > 10, JSON.stringify(seen));
}

async function svgOf(page, bytes, cells, names) {
  const seen = await page.evaluate((text) => {
    const svg = new DOMParser().parseFromString(text, "image/svg+xml");
    const all = (tag) => [...svg.getElementsByTagName(tag)];
    return { wrong: all("parsererror").length, rects: all("rect").length, texts: all("text").map((node) => node.textContent),
      outside: /href="(?!data:)|<script|<style/.test(text) };
  }, bytes.toString("utf8"));
  assert.equal(seen.wrong, 0);
  assert.equal(seen.outside, false);
  assert.equal(seen.rects, cells);
  names.forEach((name) => assert.ok(seen.texts.includes(name), name));
}

const open = (name, work) => {
  const view = VIEWS.find((each) => each.name === name);
  return visit(place(view.tab, view.state), {}, async (seen) => {
    await settled(seen.page, view);
    await work(seen.page);
  });
};

test("files of a map load and hold the API's numbers", () => open("attention-encoder", async (page) => {
  const { attention, tokens } = await ask("/v1/attention", {
    model: "sentiment-transformer", text: TEXT, layers: [1], heads: [0],
  });
  const want = attention.data[0][0];
  const n = want.length;
  const csv = csvOf(await saved(page, "#hd-save", "CSV"));
  assert.equal(csv.length, n + 1);
  assert.ok(csv[0].includes(","), "a comma is quoted");
  near(csv.slice(1).flatMap((row) => row.slice(1).map(Number)), want.flat(), "CSV");
  const json = JSON.parse(await saved(page, "#hd-save", "JSON"));
  near(json.data.flat(), want.flat(), "JSON");
  assert.deepEqual(json.tokens.map(({ id }) => id), tokens.map(({ id }) => id));
  const npy = npyOf(await saved(page, "#hd-save", "npy"));
  assert.deepEqual(npy.shape, [n, n]);
  near(npy.data, want.flat(), "npy");
  await svgOf(page, await saved(page, "#hd-save", "SVG"), n * n, ["[CLS]", "great"]);
  await pngOf(page, await saved(page, "#hd-save", "PNG"));
}));

test("files of states load and hold the API's numbers", () => open("states-classifier", async (page) => {
  const { states, per_step: steps } = await ask("/v1/states", {
    model: "sentiment-lstm", text: TEXT, per_step: { top_k: 5 }, decimals: 9,
  });
  const last = states.data[states.signals.indexOf("h")][0][0]; // [step][unit], forward
  const npy = npyOf(await saved(page, "#st-save", "npy"));
  assert.deepEqual(npy.shape, states.shape);
  near(npy.data, states.data.flat(4), "npy");
  const json = JSON.parse(await saved(page, "#st-save", "JSON"));
  near(json.states.data.flat(4), states.data.flat(4), "JSON");
  assert.deepEqual(json.states.units, states.units);
  const csv = csvOf(await saved(page, "#st-save", "CSV"));
  assert.deepEqual(csv.slice(1).map(([unit]) => Number(unit)), states.units[0][0]);
  near(csv.slice(1).flatMap((row) => row.slice(1).map(Number)), states.units[0][0].flatMap((_, u) => last.map((row) => row[u])), "CSV");
  await svgOf(page, await saved(page, "#st-save", "SVG"), last.length * states.shape[4], ["great"]);
  await pngOf(page, await saved(page, "#st-save", "PNG"));
  const { label } = steps[steps.length - 1].score;
  const curve = csvOf(await saved(page, "#st-steps-save", "CSV"));
  near(curve.slice(1).map((row) => Number(row[2])), steps.map(({ score }) => score.scores[label]), "steps");
}));

test("files of a prediction hold the API's numbers", () => open("attention-prediction", async (page) => {
  const { units } = await ask("/v1/importance", { model: "sentiment-transformer", text: TEXT });
  const csv = csvOf(await saved(page, "#view-prediction .save", "CSV"));
  assert.deepEqual(csv.slice(1).map(([text]) => text), units.map(({ text }) => text));
  near(csv.slice(1).map((row) => Number(row[1])), units.map(({ importance }) => importance), "CSV");
  const json = JSON.parse(await saved(page, "#view-prediction .save", "JSON"));
  near(json.units.map(({ importance }) => importance), units.map(({ importance }) => importance), "JSON");
}));

test("files of a comparison hold first less second", () => open("attention-compare", async (page) => {
  const of = async (text) => (await ask("/v1/attention", {
    model: "sentiment-transformer", text, layers: [1], heads: [0],
  })).attention.data[0][0].flat();
  const [a, b] = [await of(TEXT), await of(TEXT.replace("great", "bad"))];
  const npy = npyOf(await saved(page, "#view-compare .save", "npy"));
  near(npy.data, a.map((value, i) => value - b[i]), "npy");
}));

test("the table of all heads holds the API's metrics", () => open("attention-heads", async (page) => {
  const { metrics } = await ask("/v1/attention", { model: "sentiment-transformer", text: TEXT, metrics: true, layers: "all" });
  const csv = csvOf(await saved(page, "#view-heads .save", "CSV"));
  assert.equal(csv.length, 5);
  const entropies = metrics.data.flat().map((row) => row[metrics.fields.indexOf("entropy")]);
  near(csv.slice(1).map((row) => Number(row[csv[0].indexOf("entropy")])), entropies, "entropy");
}));
