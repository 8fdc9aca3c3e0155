// What all parts of the page make elements and texts with.

export const percent = (share) => `${(100 * share).toFixed(0)}%`;
export const plain = (value) => JSON.parse(JSON.stringify(value));
export const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

export function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/**
 * Make an element's children those given, and leave what is the same: texts and attributes that differ are changed in
 * place, so that the browser lays out and paints little.
 */
export function fill(element, ...children) {
  const given = children.filter((child) => child !== null && child !== undefined && child !== false);
  while (element.childNodes.length > given.length) element.lastChild.remove();
  given.forEach((child, i) => {
    const wanted = typeof child === "string" ? document.createTextNode(child) : child;
    const present = element.childNodes[i];
    if (!present) element.append(wanted);
    else if (present.nodeName !== wanted.nodeName) present.replaceWith(wanted);
    else if (wanted.nodeType === Node.TEXT_NODE) {
      if (present.data !== wanted.data) present.data = wanted.data;
    } else {
      for (const { name, value } of wanted.attributes) {
        if (present.getAttribute(name) !== value) present.setAttribute(name, value);
      }
      for (const { name } of [...present.attributes]) if (!wanted.hasAttribute(name)) present.removeAttribute(name);
      fill(present, ...wanted.childNodes);
    }
  });
}

/** A table whose rows begin with what they are about. */
export function table(columns, rows) {
  const head = make("tr", {}, ...columns.map((name) => make("th", { scope: "col", textContent: name })));
  const body = rows.map(([first, ...rest]) =>
    make("tr", {}, make("th", { scope: "row" }, first), ...rest.map((cell) => make("td", {}, cell))));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
}
