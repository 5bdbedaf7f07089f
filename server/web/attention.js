// Attention: the map of one head as a heat map, and the text shaded by the chosen token.
import { Panel, el } from "./api.js";
import { HeatMap, drawColours, scaled } from "./heatmap.js";

const MEAN = "mean";
const NARROW_CHARACTERS = 600;

// A reply's weights as at(row, column) of one layer and head; pooling has hops as rows.
function mapOf(reply, layer, head) {
  const { axes, data, heads } = reply.attention;
  if (axes[0] === "hop") {
    return { rows: data.length, at: (row, column) => data[row][column] };
  }
  const maps = data[layer];
  if (head === MEAN) {
    return {
      rows: maps[0].length,
      at: (row, column) => maps.reduce((sum, map) => sum + map[row][column], 0) / heads.length,
    };
  }
  const map = maps[heads.indexOf(Number(head))] || maps[0];
  return { rows: map.length, at: (row, column) => map[row][column] };
}

function numbered(indexes) {
  const last = indexes.length - 1;
  return indexes.map((i, at) => [i, at === last && last > 0 ? `${i} (last)` : `${i}`]);
}

function nameOf(token) {
  const text = token.special || token.text === null ? token.piece : token.text;
  return text.replaceAll("\n", "⏎").replace(/^ +$/, "␣");
}

function fill(select, options, chosen) {
  select.replaceChildren(...options.map(([value, text]) => el("option", { value }, text)));
  select.value = options.some(([value]) => String(value) === String(chosen))
    ? chosen : options[options.length - 1][0];
}

export function attention(section) {
  const box = section.querySelector("textarea");
  const layer = section.querySelector("#at-layer");
  const head = section.querySelector("#at-head");
  const scale = section.querySelector("#at-scale");
  const way = section.querySelector("#at-way");
  const tokens = section.querySelector("#at-tokens");
  const read = section.querySelector("#at-read");
  const answer = section.querySelector("#at-answer");
  const canvas = section.querySelector("#at-map");
  const map = new HeatMap(canvas, onCell);
  let reply = null;
  let texts = [""]; // one, or a pair
  let chosen = 0; // a token, or a hop when the map is a pooling one
  let narrow = false; // the whole map is large: ask for one layer and head at a time

  const panel = new Panel(section, "/v1/attention", build, show);

  function build() {
    const body = { text: box.value, offset_unit: "utf16", decimals: 6 };
    if (panel.secondText) {
      body.text_pair = panel.secondText;
    }
    if (narrow && panel.info.attention) {
      const { layers, heads } = panel.info.attention;
      selectors([...Array(layers).keys()], [...Array(heads).keys()]);
      body.layers = [Number(layer.value)];
      body.heads = [Number(head.value)];
    }
    return body;
  }

  panel.failed = (error) => {
    if (error.status === 413 && !narrow) {
      narrow = true;
      panel.ask();
    } else {
      clear();
      panel.fail(error);
    }
  };

  function clear() {
    reply = null;
    tokens.replaceChildren();
    read.textContent = "";
    answer.textContent = "";
    canvas.hidden = true;
  }

  function selectors(layers, heads) {
    const list = numbered(heads);
    if (!narrow && heads.length > 1) {
      list.push([MEAN, "mean of all"]);
    }
    fill(layer, numbered(layers), layer.value);
    fill(head, list, head.value);
  }

  const pooling = () => reply.attention.axes[0] === "hop";

  function current() {
    return mapOf(reply, narrow ? 0 : Math.max(reply.attention.layers.indexOf(Number(layer.value)), 0),
      narrow ? reply.attention.heads[0] : head.value);
  }

  function show(newReply, body) {
    canvas.hidden = false;
    if (!narrow && (!reply || reply.model !== newReply.model)) {
      layer.value = ""; // another model: its last layer, the mean of its heads
      head.value = "";
    }
    const asked = [body.text, body.text_pair || ""];
    const other = !reply || reply.model !== newReply.model
      || asked.some((text, part) => text !== texts[part]);
    reply = newReply;
    texts = asked;
    section.querySelector("#at-layer-label").hidden = pooling();
    section.querySelector("#at-way-label").hidden = pooling();
    section.querySelector("#at-head-label span").textContent = pooling() ? "Hop" : "Head";
    if (pooling()) {
      fill(head, numbered(reply.attention.heads), other ? 0 : chosen);
      chosen = Number(head.value);
    } else if (!narrow) {
      selectors(reply.attention.layers, reply.attention.heads);
    }
    if (other && !pooling()) {
      chosen = Math.max(reply.tokens.findIndex((token) => !token.special), 0);
    }
    const { prediction } = reply;
    answer.textContent = prediction?.label ? `${reply.model} says ${said(prediction)}.` : "";
    if (reply.usage.truncated) {
      answer.append(" The text is longer than the model reads; it saw only the part with tokens.");
    }
    writeTokens();
    draw();
  }

  function said({ label, score }) {
    return panel.info.scores === "raw" ? score.toFixed(3)
      : `${label} (${(100 * score).toFixed(1)} %)`;
  }

  // The user's own text, cut at the token borders; specials in small frames.
  function writeTokens() {
    const parts = [];
    let at = 0;
    let part = 0;
    reply.tokens.forEach((token, i) => {
      let shown = token.piece;
      if (!token.special) {
        if ((token.part || 0) !== part) {
          part = token.part;
          at = 0;
        }
        const start = Math.max(token.start, at);
        parts.push(texts[part].slice(at, start));
        shown = texts[part].slice(start, token.end);
        at = Math.max(at, token.end);
      }
      parts.push(el("span", {
        role: "option", tabIndex: -1, className: token.special ? "special" : "",
        "aria-label": nameOf(token), title: `${token.piece}, id ${token.id}`,
        onclick: () => choose(i, true),
      }, shown));
    });
    tokens.replaceChildren(...parts, texts[part].slice(at));
  }

  function weightsOfChosen() {
    const { at, rows } = current();
    const columns = reply.key_tokens.length;
    if (pooling()) {
      return reply.key_tokens.map((_, column) => at(chosen, column));
    }
    return way.value === "row"
      ? Array.from({ length: columns }, (_, column) => at(chosen, column))
      : Array.from({ length: rows }, (_, row) => at(row, chosen));
  }

  function draw() {
    const { at, rows } = current();
    const names = reply.tokens.map(nameOf);
    let max = 0;
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < names.length; c++) {
        max = Math.max(max, at(r, c));
      }
    }
    map.draw({
      rows: pooling() ? reply.attention.data.map((_, i) => `hop ${i}`) : names,
      columns: names, at, max, scale: scale.value,
    });
    section.querySelector("#at-max").textContent = max.toFixed(3);
    canvas.setAttribute("aria-label", pooling()
      ? `Pooling weights of ${names.length} tokens`
      : `Attention map of ${names.length} by ${names.length} tokens, ${reply.mask}`);
    shade();
  }

  // Everything that depends on the chosen token.
  function shade() {
    const byRow = pooling() || way.value === "row";
    map.mark(byRow ? chosen : -1, byRow ? -1 : chosen);
    const weights = weightsOfChosen();
    const top = Math.max(...weights);
    [...tokens.querySelectorAll('[role="option"]')].forEach((span, i) => {
      const alpha = 0.85 * scaled(weights[i], top, scale.value);
      span.style.backgroundColor = `rgba(var(--shade), ${alpha.toFixed(3)})`;
      const isChosen = !pooling() && i === chosen;
      span.setAttribute("aria-selected", String(isChosen));
      span.tabIndex = (pooling() ? i === 0 : isChosen) ? 0 : -1;
    });
    const best = weights.map((weight, i) => [weight, i]).sort((a, b) => b[0] - a[0]).slice(0, 5);
    const list = best.map(([weight, i]) => `“${nameOf(reply.tokens[i])}” ${weight.toFixed(3)}`);
    const who = pooling() ? `Hop ${chosen} looks at` : way.value === "row"
      ? `“${nameOf(reply.tokens[chosen])}” looks at` : `“${nameOf(reply.tokens[chosen])}” is looked at by`;
    read.textContent = `${who}: ${list.join(", ")}`;
  }

  function choose(i, focus) {
    if (!pooling()) {
      chosen = i;
      shade();
    }
    if (focus) {
      tokens.querySelectorAll('[role="option"]')[i].focus();
    }
  }

  function onCell({ row, column }, click) {
    if (click) {
      chosen = pooling() || way.value === "row" ? row : column;
      if (pooling()) {
        head.value = row;
      }
      shade();
      return;
    }
    const value = current().at(row, column).toFixed(4);
    const from = pooling() ? `hop ${row}` : nameOf(reply.tokens[row]);
    canvas.title = `${from} → ${nameOf(reply.tokens[column])}: ${value}`;
  }

  tokens.addEventListener("keydown", (event) => {
    const all = [...tokens.querySelectorAll('[role="option"]')];
    const at = Math.max(all.indexOf(document.activeElement), 0);
    const to = {
      ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1,
      Home: 0, End: all.length - 1,
    }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      choose(Math.min(Math.max(to, 0), all.length - 1), true);
    }
  });
  const isLong = () => box.value.length + panel.secondText.length > NARROW_CHARACTERS;
  for (const field of [box, panel.second]) {
    field.addEventListener("input", () => {
      narrow = isLong();
      panel.soon(200);
    });
  }
  panel.adapted = () => {
    narrow = isLong();
  };
  for (const select of [layer, head]) {
    select.addEventListener("change", () => {
      if (narrow) {
        panel.ask();
      } else if (reply) {
        chosen = pooling() ? Number(head.value) : chosen;
        draw();
      }
    });
  }
  scale.addEventListener("change", () => reply && draw());
  way.addEventListener("change", () => reply && shade());
  new ResizeObserver(() => reply && draw()).observe(canvas.parentElement);
  drawColours(section.querySelector("#at-colours"));
  panel.redraw = () => reply && draw();
  return panel;
}
