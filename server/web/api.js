// Requests to the daemon this page came from, and the small things every panel shares.

export class ApiError extends Error {
  constructor(status, error) {
    super(error.message || `the server answered ${status}`);
    this.status = status;
    this.error = error;
  }
}

async function readReply(response) {
  const text = await response.text();
  let reply = null;
  try {
    reply = JSON.parse(text);
  } catch {
    throw new ApiError(response.status, { message: text.slice(0, 200) });
  }
  if (!response.ok) {
    throw new ApiError(response.status, reply.error || {});
  }
  return { reply, bytes: text.length };
}

export async function get(path) {
  return (await readReply(await fetch(path))).reply;
}

export async function post(path, body, signal) {
  const started = performance.now();
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  const { reply, bytes } = await readReply(response);
  const ms = performance.now() - started;
  return { reply, bytes, ms, timing: response.headers.get("Server-Timing") || "" };
}

// "queue;dur=0.1, compute;dur=3.2" -> "queue 0.1 ms, compute 3.2 ms"
export function timingText({ ms, timing, bytes }) {
  const parts = timing
    .split(",")
    .map((part) => /^\s*([\w-]+)\s*;\s*dur=([\d.]+)/.exec(part))
    .filter(Boolean)
    .map(([, name, value]) => `${name} ${Number(value).toFixed(2)} ms`);
  const size = bytes < 10000 ? `${bytes} bytes` : `${Math.round(bytes / 1000)} kB`;
  return `Answered in ${ms.toFixed(1)} ms (${parts.join(", ")}), ${size}.`;
}

export function curlText(path, body) {
  const json = JSON.stringify(body).replaceAll("'", "'\\''");
  return `curl ${location.origin}${path} -H 'Content-Type: application/json' \\\n  -d '${json}'`;
}

export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name in node) {
      node[name] = value;
    } else {
      node.setAttribute(name, value);
    }
  }
  node.append(...children);
  return node;
}

// One panel's requests: the newest wins, older ones are called off.
export class Panel {
  constructor(section, path, build, show) {
    this.section = section;
    this.path = path;
    this.build = build; // () -> body, or null for "nothing to ask"
    this.show = show; // (reply, body)
    this.model = section.querySelector(".model");
    this.status = section.querySelector(".status");
    this.error = section.querySelector(".error");
    this.curl = section.querySelector(".curl");
    this.second = section.querySelector(".second"); // the text of a pair, or null
    this.timer = 0;
    this.abort = null;
    this.known = new Map(); // models by name, as /v1/models tells them
    this.adapted = () => {}; // (info) after another model was chosen
    this.model.addEventListener("change", () => {
      this.adapt();
      this.ask();
    });
  }

  // Of the chosen model; {} before any is known.
  get info() {
    return this.known.get(this.model.value) || {};
  }

  // "" unless the model reads pairs and a second text is given.
  get secondText() {
    return this.second && !this.second.hidden ? this.second.querySelector("input").value : "";
  }

  adapt() {
    if (this.second) {
      this.second.hidden = !this.info.pairs;
    }
    this.adapted(this.info);
  }

  soon(ms) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), ms);
  }

  fail(error) {
    const where = error.error && error.error.param ? ` (field ${error.error.param})` : "";
    this.error.textContent = `${error.message}${where}`;
    this.error.hidden = false;
    this.status.textContent = "";
  }

  async ask() {
    clearTimeout(this.timer);
    if (this.abort) {
      this.abort.abort();
    }
    const body = this.build();
    if (!body) {
      this.error.hidden = true;
      this.status.textContent = "";
      return;
    }
    if (this.model.value) {
      body.model = this.model.value;
    }
    const abort = new AbortController();
    this.abort = abort;
    this.curl.textContent = curlText(this.path, body);
    try {
      const answer = await post(this.path, body, abort.signal);
      this.error.hidden = true;
      this.status.textContent = timingText(answer);
      this.show(answer.reply, body);
    } catch (error) {
      if (error.name !== "AbortError" && this.abort === abort) {
        this.failed ? this.failed(error, body) : this.fail(error);
      }
    }
  }
}
