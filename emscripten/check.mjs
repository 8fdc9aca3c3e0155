// What requests of all networks are checked with: each refusal is one line that names the place.

import { ClaudeFlowError } from "./claude_flow.mjs";

export const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

export function refuse(text) {
  throw new ClaudeFlowError(text);
}

export function shown(value) {
  const text = JSON.stringify(value) ?? String(value);
  return text.length <= 40 ? text : `${text.slice(0, 37)}...`;
}

/** A number as Python's `:g` writes it: six digits, and a power of ten where it is large or small. */
export function general(value) {
  const [digits, power] = value.toExponential(5).split("e");
  if (value === 0 || (power >= -4 && power < 6)) return String(Number(value.toPrecision(6)));
  return `${Number(digits)}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}

/** Refuse what is no object, or has a field beside those of `fields`. */
export function checkFields(where, entry, fields) {
  const names = Object.keys(fields);
  if (!isObject(entry)) refuse(`${where} must be an object with ${names.join(", ")}, not ${shown(entry)}`);
  for (const key of Object.keys(entry)) {
    if (!Object.hasOwn(fields, key)) refuse(`${where}.${key}: no such field; known fields: ${names.join(", ")}`);
  }
}

/** A finite number of at least `least` and at most `most`. */
export function checkNumber(where, value, least = -Infinity, most = Infinity) {
  if (Number.isFinite(value) && value >= least && value <= most) return value;
  const range = most < Infinity ? `from ${least} to ${most}` : `of at least ${least}`;
  return refuse(`${where} must be a number ${least > -Infinity ? range : "that is finite"}, not ${shown(value)}`);
}

const UNITS = {
  0.001: "ms", 1: "s sec secs second seconds", 60: "m min mins minute minutes", 3600: "h hr hrs hour hours",
  86400: "d day days", 604800: "w week weeks", 2592000: "mo month months", 31536000: "y year years",
};
const SECONDS = new Map(
  Object.entries(UNITS).flatMap(([size, names]) => names.split(" ").map((name) => [name, Number(size)])),
);
const DURATION = /^(\d+(?:\.\d+)?[\s-]*[a-z]+[\s,]*)+$/;

/** Seconds of a number, or of a text such as "2m" or "1h 30m". */
export function seconds(where, value) {
  if (typeof value === "number") return checkNumber(where, value, 0);
  const text = typeof value === "string" ? value.trim().toLowerCase() : "";
  const parts = DURATION.test(text) ? [...text.matchAll(/(\d+(?:\.\d+)?)[\s-]*([a-z]+)/g)] : [];
  const total = parts.reduce((sum, [, count, unit]) => sum + Number(count) * (SECONDS.get(unit) ?? NaN), 0);
  if (!(total > 0 && total < Infinity)) {
    refuse(`${where} must be a number of seconds, or a duration such as 2m, not ${shown(value)}`);
  }
  return total;
}

/** Bytes of a number, or of a text such as "16GB" (powers of 1000) or "4GiB" (of 1024). */
export function bytes(where, value) {
  if (typeof value === "number") return checkNumber(where, value, 0);
  const match = typeof value === "string" ? /^(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?)b?$/.exec(value.trim().toLowerCase()) : null;
  const size = match ? Number(match[1]) * (match[3] ? 1024 : 1000) ** " kmgtp".indexOf(match[2] || " ") : NaN;
  if (!Number.isFinite(size) || (match[3] && !match[2])) {
    refuse(`${where} must be a number of bytes, or a size such as 16GB, not ${shown(value)}`);
  }
  return Math.round(size);
}
