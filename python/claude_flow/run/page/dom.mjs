// What all parts of the page make elements and texts with.

export const percent = (share) => `${(100 * share).toFixed(0)}%`;
export const plain = (value) => JSON.parse(JSON.stringify(value));
export const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

export function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** A table whose rows begin with what they are about. */
export function table(columns, rows) {
  const head = make("tr", {}, ...columns.map((name) => make("th", { scope: "col", textContent: name })));
  const body = rows.map(([first, ...rest]) =>
    make("tr", {}, make("th", { scope: "row" }, first), ...rest.map((cell) => make("td", {}, cell))));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
}
