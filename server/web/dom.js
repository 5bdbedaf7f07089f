// Elements, choosers and tab lists.

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

// options: [value, text] each; an unknown choice becomes the first one.
export function fill(select, options, chosen) {
  select.replaceChildren(...options.map(([value, text]) => el("option", { value }, text)));
  const known = options.some(([value]) => String(value) === String(chosen));
  select.value = known ? chosen : options.length > 0 ? options[0][0] : "";
}

// Which of n an arrow key leads to, in rows of `columns`; undefined for other keys.
export function arrowTo(key, at, n, columns = n) {
  const row = at - (at % columns);
  const to = {
    ArrowRight: at + 1, ArrowLeft: at - 1, Home: row, End: row + columns - 1,
    ArrowDown: columns < n ? at + columns : at + 1, ArrowUp: columns < n ? at - columns : at - 1,
    PageDown: n - 1, PageUp: 0,
  }[key];
  return to === undefined ? to : Math.min(Math.max(to, 0), n - 1);
}

// A tab list by the ARIA guide: one tab stop, arrows, Home and End. Returns select(name);
// a tab's name is its data-name. Calls opened(name) after each change.
export function tabList(list, opened) {
  const tabs = [...list.querySelectorAll('[role="tab"]')];

  function select(name) {
    for (const tab of tabs) {
      const mine = tab.dataset.name === name;
      tab.setAttribute("aria-selected", String(mine));
      tab.tabIndex = mine ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = !mine;
    }
    opened(name);
  }

  list.addEventListener("click", (event) => {
    const tab = event.target.closest('[role="tab"]');
    if (tab) {
      select(tab.dataset.name);
    }
  });
  list.addEventListener("keydown", (event) => {
    const to = arrowTo(event.key, tabs.indexOf(event.target), tabs.length);
    if (to !== undefined) {
      event.preventDefault();
      tabs[to].focus();
      select(tabs[to].dataset.name);
    }
  });
  return select;
}
