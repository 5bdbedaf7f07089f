// What is shown, as a link: "#attention?head=0.3&text=...".

let timer = 0;

// -> { name, state }: a tab's name, and strings for its restore().
export function readHash() {
  const [name, query = ""] = location.hash.slice(1).split("?");
  return { name, state: Object.fromEntries(new URLSearchParams(query)) };
}

// Soon, and once for many changes; values that say nothing ("", null, false) are left out.
export function writeHash(name, state) {
  clearTimeout(timer);
  timer = setTimeout(() => {
    const said = Object.entries(state)
      .filter(([, value]) => value !== "" && value !== null && value !== undefined && value !== false)
      .map(([key, value]) => [key, value === true ? "1" : String(value)]);
    const query = new URLSearchParams(said).toString();
    history.replaceState(null, "", query ? `#${name}?${query}` : `#${name}`);
  }, 250);
}
