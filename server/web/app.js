// The page: tabs, theme, model choosers. Each panel asks for itself.
import { el, get } from "./api.js";
import { attention } from "./attention.js";
import { nextWord } from "./next_word.js";
import { sentiment } from "./sentiment.js";

const panels = {
  "next-word": nextWord(document.getElementById("panel-next-word")),
  sentiment: sentiment(document.getElementById("panel-sentiment")),
  attention: attention(document.getElementById("panel-attention")),
};
const tabs = [...document.querySelectorAll('[role="tab"]')];
const asked = new Set();
const taskOf = (tab) => tab.id.replace("tab-", "");

function open(name, focus) {
  for (const tab of tabs) {
    const mine = taskOf(tab) === name;
    tab.setAttribute("aria-selected", String(mine));
    tab.tabIndex = mine ? 0 : -1;
    document.getElementById(tab.getAttribute("aria-controls")).hidden = !mine;
    if (mine && focus) {
      tab.focus();
    }
  }
  if (!asked.has(name) && ready) {
    asked.add(name);
    panels[name].ask();
  }
}

// Without a choice: the first task that a loaded model serves.
function openFromHash() {
  const name = location.hash.slice(1);
  const served = Object.keys(panels).find((task) => panels[task].known.size > 0);
  open(name in panels ? name : served || "next-word", false);
}

function choose(tab) {
  history.replaceState(null, "", `#${taskOf(tab)}`);
  open(taskOf(tab), true);
}

function onTabKey(event) {
  const at = tabs.indexOf(event.currentTarget);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
  if (to !== undefined) {
    event.preventDefault();
    choose(tabs[(to + tabs.length) % tabs.length]);
  }
}

function chooseTheme() {
  const select = document.getElementById("theme");
  let stored = "auto";
  try {
    stored = localStorage.getItem("theme") || "auto";
  } catch {
    // storage switched off: the choice lasts as long as the page
  }
  select.value = stored;
  const apply = () => {
    document.documentElement.dataset.theme = select.value;
    panels.attention.redraw();
  };
  select.addEventListener("change", () => {
    apply();
    try {
      localStorage.setItem("theme", select.value);
    } catch {
      // as above
    }
  });
  apply();
}

function sized(parameters) {
  return parameters < 1e5 ? `${parameters} parameters` : `${(parameters / 1e6).toFixed(1)} M`;
}

function listModels(models) {
  for (const [task, panel] of Object.entries(panels)) {
    const able = models.filter((model) => model.tasks.includes(task));
    const usual = able.find((model) => model.default_for.includes(task));
    panel.model.replaceChildren(...able.map((model) => el("option", {
      value: model.id, selected: model === usual,
    }, `${model.id} (${model.family}, ${sized(model.parameters)})`)));
    panel.known = new Map(able.map((model) => [model.id, model]));
    panel.adapt();
    if (able.length === 0) {
      panel.fail({ message: `No loaded model serves ${task}.` });
    }
  }
  document.getElementById("server").textContent =
    `${models.length} model${models.length === 1 ? "" : "s"} ready`;
}

let ready = false;
for (const tab of tabs) {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", onTabKey);
}
window.addEventListener("hashchange", openFromHash);
chooseTheme();
openFromHash();
try {
  listModels((await get("/v1/models")).data);
  ready = true;
  openFromHash();
} catch (error) {
  for (const panel of Object.values(panels)) {
    panel.fail(error);
  }
}
