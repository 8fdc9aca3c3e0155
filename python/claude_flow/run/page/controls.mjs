// The controls of a request, made from what it says.

import { isObject, make, plain } from "./dom.mjs";

const CHOICES = {
  priority: ["critical", "high", "medium", "low"],
  "experience-level": ["junior", "mid", "intermediate", "senior"],
};
// name: [least, most, step]; any other number up to 1 is a share, and a larger one goes a factor of 20 both ways
const RANGES = {
  "network-latency": [0, 500, 1], "average-productivity": [0.1, 2, 0.01], "available-agents": [1, 32, 1],
};
let count = 0;

function labelled(name, where, input, extra) {
  input.id = `c${(count += 1)}`;
  input.setAttribute("aria-label", [...where, name].join(" "));
  return make("div", { className: "control" }, make("label", { htmlFor: input.id, textContent: name }), input, extra);
}

function slider(name, where, value, set) {
  const linear = RANGES[name] ?? (value <= 1 ? [0, 1, 0.01] : null);
  const [least, most, step] = linear ?? [Math.log(value / 20), Math.log(value * 20), 0.01];
  const input = make("input", { type: "range", min: least, max: most, step });
  input.value = linear ? value : Math.log(value);
  const shown = make("output", { value: String(value) });
  input.setAttribute("aria-valuetext", value);
  input.addEventListener("input", () => {
    const now = linear ? Number(input.value) : Number(Math.exp(input.value).toPrecision(3));
    shown.value = now;
    input.setAttribute("aria-valuetext", now);
    set(now);
  });
  return labelled(name, where, input, shown);
}

function control(name, where, value, set, redraw) {
  const known = CHOICES[name];
  if (typeof value === "number") return slider(name, where, value, set);
  if (typeof value === "boolean") {
    const input = make("input", { type: "checkbox", checked: value });
    input.addEventListener("input", () => set(input.checked));
    return labelled(name, where, input);
  }
  if (known?.includes(value)) {
    const input = make("select", {}, ...known.map((choice) => new Option(choice, choice, false, choice === value)));
    input.addEventListener("input", () => set(input.value));
    return labelled(name, where, input);
  }
  if (Array.isArray(value) && value.some(isObject)) return list(name, value, redraw, set);
  if (Array.isArray(value)) {
    const numbers = value.length > 0 && value.every((one) => typeof one === "number");
    const input = make("input", { value: value.join(", ") });
    input.addEventListener("input", () => {
      const parts = input.value.split(",").map((part) => part.trim()).filter(Boolean);
      set(numbers ? parts.map(Number) : parts);
    });
    return labelled(name, where, input);
  }
  if (isObject(value)) {
    return make("fieldset", {}, make("legend", { textContent: name }), ...controls(value, [...where, name], set, redraw));
  }
  const input = make("input", { value: value ?? "" });
  input.addEventListener("input", () => set(input.value));
  return labelled(name, where, input);
}

export function controls(object, where, set, redraw) {
  return Object.keys(object).filter((name) => name !== "id").map((name) =>
    control(name, where, object[name], (value) => {
      object[name] = value;
      set(object);
    }, redraw));
}

function list(name, values, redraw, set) {
  const change = () => {
    set(values);
    redraw();
  };
  const items = values.map((item, i) => {
    const remove = make("button", { type: "button", className: "small", textContent: "Remove" });
    remove.setAttribute("aria-label", `Remove ${item.id ?? i + 1}`);
    remove.disabled = values.length === 1;
    remove.addEventListener("click", () => {
      values.splice(i, 1);
      change();
    });
    const id = item.id ?? String(i + 1);
    return make("fieldset", {}, make("legend", { textContent: id }), ...controls(item, [id], () => set(values), redraw), remove);
  });
  const add = make("button", { type: "button", className: "small", textContent: "Add one" });
  add.setAttribute("aria-label", `Add to ${name}`);
  add.addEventListener("click", () => {
    const last = plain(values.at(-1));
    let number = values.length;
    const next = () => `${last.id?.replace(/-?\d+$/, "") ?? "one"}-${String((number += 1)).padStart(3, "0")}`;
    let id = next();
    while (values.some((item) => item.id === id)) id = next();
    values.push({ ...last, id });
    change();
  });
  return make("fieldset", {}, make("legend", { textContent: name }), ...items, add);
}
