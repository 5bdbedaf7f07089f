// The page: tabs, looks, models, links. A tab is { panels, open(), restore(state), remember(),
// redraw() }; README.md tells what each is for.
import { get } from "./api.js";
import { attention } from "./attention.js";
import { RAMP_NAMES, chooseRamp } from "./colour.js";
import { fill, tabList } from "./dom.js";
import { readHash } from "./hash.js";
import { states } from "./states.js";
import { tryOut } from "./try.js";

const tabs = {
  try: tryOut(document.getElementById("panel-try")),
  attention: attention(document.getElementById("panel-attention")),
  states: states(document.getElementById("panel-states")),
};
const panels = Object.values(tabs).flatMap((tab) => tab.panels);
let ready = false;

const select = tabList(document.getElementById("tabs"), (name) => {
  if (ready) {
    tabs[name].open();
    tabs[name].remember();
  }
});

// Without a name of a tab: the first one that a loaded model serves.
function openFromHash() {
  const { name, state } = readHash();
  if (name in tabs) {
    tabs[name].restore(state);
    select(name);
  } else if (!ready || name === "") {
    const served = (tab) => tab.panels.some((panel) => panel.known.size > 0);
    select(Object.keys(tabs).find((key) => served(tabs[key])) || "try");
  }
}

// A choice of looks that stays, where the browser keeps anything.
function keptChoice(element, apply) {
  const key = `seqd-${element.id}`;
  try {
    element.value = localStorage.getItem(key) || element.value;
  } catch {
    // storage switched off: the choice lasts as long as the page
  }
  const changed = () => {
    apply(element.value);
    Object.values(tabs).forEach((tab) => tab.redraw());
  };
  element.addEventListener("change", () => {
    changed();
    try {
      localStorage.setItem(key, element.value);
    } catch {
      // as above
    }
  });
  changed();
}

const ramp = document.getElementById("ramp");
fill(ramp, RAMP_NAMES.map((name) => [name, name]), "cividis");
keptChoice(ramp, chooseRamp);
keptChoice(document.getElementById("theme"), (theme) => (document.documentElement.dataset.theme = theme));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change",
  () => Object.values(tabs).forEach((tab) => tab.redraw()));
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main").focus();
});
window.addEventListener("hashchange", openFromHash);
openFromHash();
try {
  const models = (await get("/v1/models")).data;
  panels.forEach((panel) => panel.list(models));
  document.getElementById("server").textContent = `${models.length} model${models.length === 1 ? "" : "s"} ready`;
  ready = true;
  openFromHash();
} catch (error) {
  panels.forEach((panel) => panel.fail(error));
}
