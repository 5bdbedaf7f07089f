// What every panel has: a model chooser, requests of which the newest wins, timings, errors,
// and the command of the last request.
import { curlText, post, timingText } from "./api.js";
import { el } from "./dom.js";

export class Panel {
  // section holds a select.model and, where the model may read pairs, a label.second around
  // an input; served(model) tells which models of /v1/models it takes; adapted(info) is
  // called when another model is chosen.
  constructor(section, { task, served, adapted = () => {} }) {
    this.section = section;
    this.task = task;
    this.served = served || ((model) => model.tasks.includes(task));
    this.adapted = adapted;
    this.select = section.querySelector("select.model");
    this.second = section.querySelector(".second");
    this.known = new Map();
    this.wanted = "";
    this.calls = new Map();
    this.timers = new Map();
    this.status = el("p", { className: "status", role: "status" });
    this.error = el("p", { className: "error", role: "alert", hidden: true });
    this.curl = el("pre", { className: "curl", tabIndex: 0, "aria-label": "Command" });
    const copy = el("button", { type: "button", onclick: () => this.copy(copy) }, "Copy");
    section.append(this.status, this.error,
      el("details", {}, el("summary", {}, "The same as a command"), copy, this.curl));
    this.select.addEventListener("change", () => this.adapt());
  }

  async copy(button) {
    try {
      await navigator.clipboard.writeText(this.curl.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(this.curl);
      button.textContent = "Selected: press Ctrl C";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  }

  // All models of the server; the wanted one is chosen, else the usual one for the task.
  list(models) {
    const able = models.filter(this.served);
    const usual = able.find((model) => model.id === this.wanted)
      || able.find((model) => model.default_for.includes(this.task));
    const sized = (n) => (n < 1e5 ? `${n}` : `${(n / 1e6).toFixed(1)} M`);
    this.known = new Map(able.map((model) => [model.id, model]));
    this.select.replaceChildren(...able.map((model) => el("option", {
      value: model.id, selected: model === usual,
    }, `${model.id} (${model.family}, ${sized(model.parameters)})`)));
    if (able.length === 0) {
      this.fail({ message: `No loaded model serves ${this.task}.` });
    }
    this.adapt();
  }

  want(id) {
    this.wanted = id;
    if (this.known.has(id) && this.select.value !== id) {
      this.select.value = id;
      this.adapt();
    }
  }

  get model() {
    return this.select.value;
  }

  // Of the chosen model, as /v1/models tells it; {} before any is known.
  get info() {
    return this.known.get(this.select.value) || {};
  }

  get secondText() {
    return this.second && !this.second.hidden ? this.second.querySelector("input").value : "";
  }

  adapt() {
    if (this.second) {
      this.second.hidden = !this.info.pairs;
    }
    this.adapted(this.info);
  }

  soon(call, ms, channel = "main") {
    clearTimeout(this.timers.get(channel));
    this.timers.set(channel, setTimeout(call, ms));
  }

  fail(error) {
    this.error.textContent = error.message + (error.param ? ` (field ${error.param})` : "");
    this.error.hidden = false;
    this.status.textContent = "";
  }

  clear() {
    this.error.hidden = true;
    this.status.textContent = "";
  }

  // Calls off what is under way on a channel.
  drop(channel = "main") {
    clearTimeout(this.timers.get(channel));
    this.calls.get(channel)?.abort();
  }

  // The answer { reply, tensors, bytes, ms, timing }; null if a newer request of the channel
  // came in between, or if it failed, which is told to the user, or to quiet(error) instead.
  async post(path, body, { channel = "main", model = this.model, quiet = null } = {}) {
    this.drop(channel);
    const call = new AbortController();
    this.calls.set(channel, call);
    const full = model ? { ...body, model } : body;
    if (!quiet) {
      this.curl.textContent = curlText(path, full);
    }
    try {
      const answer = await post(path, full, call.signal);
      if (this.calls.get(channel) !== call) {
        return null;
      }
      if (!quiet) {
        this.error.hidden = true;
        this.status.textContent = timingText(answer);
      }
      return answer;
    } catch (error) {
      if (error.name !== "AbortError" && this.calls.get(channel) === call) {
        (quiet || ((problem) => this.fail(problem)))(error);
      }
      return null;
    }
  }
}
