// The model file: a .safetensors container whose metadata key "claude_flow" is described in docs/model_format.md.

import { isPacked, matricesOf, opsOf } from "./program.mjs";

const FORMAT = 1;
/** Networks that a file may be of, as in python/claude_flow/networks. */
export const NETWORKS = ["coordination", "optimization", "prediction", "action"];
// Our headers take some 30 KB. JSON of hostile content takes 40 times its length in the heap, and a full heap ends the
// process: nothing catches that.
const MAX_HEADER_BYTES = 8 << 20;
const STRINGS = /"(\\.|[^"\\])*"/g;
const TWICE = /"(dtype|shape|data_offsets)"\s*:[^{}]*"\1"\s*:|"__metadata__"\s*:.*"__metadata__"\s*:/s;
const LONE = /[\ud800-\udfff]/u; // half of a pair of UTF-16
const KINDS = {
  network: "string", precision: "string", config: "object", features: "object", calibration: "object",
  provenance: "object", program: "list", program_tensors: "list",
};
// What the engine calls a type, and how its bytes are read; half precision is widened.
const TYPES = {
  F32: { dtype: 0, bytes: 4, read: (buffer) => new Float32Array(buffer) },
  F16: { dtype: 0, bytes: 2, read: (buffer) => widen(new Uint16Array(buffer)) },
  I8: { dtype: 1, bytes: 1, read: (buffer) => new Int8Array(buffer) },
  I32: { dtype: 2, bytes: 4, read: (buffer) => new Int32Array(buffer) },
};

function widen(halves) {
  const floats = new Float32Array(halves.length);
  halves.forEach((bits, i) => {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 31) floats[i] = fraction ? NaN : sign * Infinity;
    else floats[i] = sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
  });
  return floats;
}

// 0 times anything finite is 0; a plain loop takes a tenth of the time of data.every().
function allFinite(data) {
  let sum = 0;
  for (let i = 0; i < data.length; ++i) sum += data[i] * 0;
  return sum === 0;
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const isKind = (value, kind) =>
  kind === "list" ? Array.isArray(value) : kind === "object" ? isObject(value) : typeof value === "string";

function json(text, what) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${what} is not JSON (${error.message})`);
  }
}

/**
 * A model file's content: its metadata fields, `program` as Int32Array, `programTensors`, and `tensors`: a Map of name to
 * {data, dtype, shape}. Throws an Error that says what is wrong.
 */
export function parseModel(bytes) {
  const { metadata, entries, content } = readHeader(bytes);
  const fields = readFields(metadata.claude_flow);
  const tensors = readTensors(entries, content);
  for (const name of fields.program_tensors) {
    if (!tensors.has(name)) throw new Error(`its tensor '${name}' is missing`);
  }
  const ops = opsOf(fields.program, fields.program_tensors.length);
  const least = Math.min(32, ...ops.map(({ bits = 32 }) => bits));
  const precision = least === 32 ? "fp32" : `int${least}`;
  if (fields.precision !== precision) {
    throw new Error(`its precision is '${fields.precision}', its program's '${precision}'`);
  }
  if (fields.layout) unfoldPacked(fields.layout, tensors, matricesOf(ops, fields.program_tensors));
  for (const name of fields.program_tensors) {
    const rank = tensors.get(name).shape.length;
    if (rank < 1 || rank > 2) throw new Error(`its tensor '${name}' has ${rank} dimensions, not 1 or 2`);
  }
  return { ...fields, program: Int32Array.from(fields.program), programTensors: fields.program_tensors, tensors };
}

// What the safetensors library takes for a header, and no more: so Python and JavaScript read the same files.
function readHeader(bytes) {
  if (bytes.length < 8) throw new Error("it is shorter than a safetensors header");
  const headerBytes = Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true));
  if (headerBytes > bytes.length - 8) throw new Error("its safetensors header reaches beyond the file");
  if (headerBytes > MAX_HEADER_BYTES) throw new Error(`its safetensors header has more than ${MAX_HEADER_BYTES} bytes`);
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes.subarray(8, 8 + headerBytes));
  } catch {
    throw new Error("its safetensors header is not UTF-8");
  }
  const header = json(text, "its safetensors header");
  if (!isObject(header)) throw new Error("its safetensors header is not an object");
  if (/[.eE-]/.test(text.replace(STRINGS, '""'))) throw new Error("its safetensors header holds more than whole numbers");
  const { __metadata__: metadata, ...entries } = header;
  if (TWICE.test(text)) throw new Error("its safetensors header says something twice");
  const texts = isObject(metadata) ? [...Object.entries(metadata).flat(), ...Object.keys(entries)] : [];
  if (!texts.every((value) => typeof value === "string" && !LONE.test(value))) {
    throw new Error("its metadata holds more than text");
  }
  if (typeof metadata?.claude_flow !== "string") throw new Error("it has no claude_flow metadata");
  return { metadata, entries, content: bytes.subarray(8 + headerBytes) };
}

function readFields(text) {
  const fields = json(text, "its claude_flow metadata");
  if (!isObject(fields) || fields.format !== FORMAT) {
    throw new Error(`its format is ${isObject(fields) ? fields.format : "unknown"}, this version reads ${FORMAT}`);
  }
  for (const [name, kind] of Object.entries(KINDS)) {
    if (!isKind(fields[name], kind)) throw new Error(`its metadata field '${name}' is missing or of another type`);
  }
  if (!fields.program.every((word) => Number.isInteger(word) && word === (word | 0))) {
    throw new Error("its program holds a word that is not a 32-bit integer");
  }
  if (!NETWORKS.includes(fields.network)) {
    throw new Error(`its network is '${fields.network}', not one of ${NETWORKS.join(", ")}`);
  }
  if (!fields.program_tensors.every((name) => typeof name === "string")) {
    throw new Error("its program_tensors is not a list of names");
  }
  return fields;
}

// Prepacked matrices get the shape that they had.
function unfoldPacked(layout, tensors, kinds) {
  const size = (n, most) => Number.isInteger(n) && n >= 1 && n <= most;
  const { isa, tile_columns: columns, lstm_units: units, matrices, ...rest } = isObject(layout) ? layout : {};
  const fits = typeof isa === "string" && size(columns, 1024) && size(units, 1024) && isObject(matrices);
  if (!fits || Object.keys(rest).length > 0) {
    throw new Error("its layout is not isa, tile_columns, lstm_units and matrices");
  }
  for (const [name, shape] of Object.entries(matrices)) {
    const kind = tensors.has(name) ? kinds.get(name) : undefined;
    const whole = Array.isArray(shape) && shape.length === 2 && shape.every((n) => size(n, 2 ** 20 - 1));
    if (!kind || !whole || (kind !== "product" && shape[0] % 4)) {
      throw new Error(`its layout names '${name}' with the shape ${JSON.stringify(shape)}`);
    }
    const tensor = tensors.get(name);
    if (tensor.dtype > 1 || !isPacked(tensor, kind, ...shape, layout)) {
      throw new Error(`its tensor '${name}' is not packed as its layout says`);
    }
    tensors.set(name, { ...tensor, shape, packed: true });
  }
}

// The tensors of the header's entries. They lie side by side and fill `content`, as the format demands: so the copies
// take no more memory than the file.
function readTensors(entries, content) {
  const whole = (list) => Array.isArray(list) && list.every((n) => Number.isSafeInteger(n) && n >= 0);
  const places = Object.entries(entries).map(([name, entry]) => {
    const type = TYPES[entry?.dtype];
    if (!type) throw new Error(`its tensor '${name}' has type ${entry?.dtype}; model files hold F32, F16, I8 and I32`);
    const { shape, data_offsets: offsets } = entry;
    if (!whole(shape) || shape.length > 64 || !whole(offsets) || offsets.length !== 2) throw new Error(`its tensor '${name}' is malformed`);
    return { name, type, shape, first: offsets[0], last: offsets[1] };
  });
  places.sort((a, b) => a.first - b.first || a.last - b.last);
  const tensors = new Map();
  let end = 0;
  for (const { name, type, shape, first, last } of places) {
    if (last - first !== shape.reduce((a, b) => a * b, 1) * type.bytes || first !== end || last > content.length) {
      throw new Error(`its tensor '${name}' does not fit its place in the file; the file is cut short or damaged`);
    }
    end = last;
    // A copy, since tensors may start at any byte and typed arrays may not.
    const data = type.read(content.slice(first, last).buffer);
    if (type.dtype === 0 && !allFinite(data)) throw new Error(`its tensor '${name}' holds NaN or infinity`);
    tensors.set(name, { data, dtype: type.dtype, shape });
  }
  if (end !== content.length) throw new Error("it holds bytes that belong to no tensor");
  return tensors;
}
