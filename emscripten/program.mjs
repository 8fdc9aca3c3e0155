// What a model file's program says about its tensors, read before the engine checks the rest: the list of ops as in
// python/claude_flow/modelfile/ops.py.

/** Opcode: its operands, the matrices among them with what reads each, and the bits of its weights, if these are integers. */
export const OPS = {
  1: { operands: "source target column weight bias residual activation", matrices: { weight: "product" } },
  2: { operands: "source target weight bias epsilon" },
  3: { operands: "source target heads" },
  4: { operands: "source target weight recurrent bias", matrices: { weight: "gates", recurrent: "recurrent" } },
  5: { operands: "source keys weight target column" },
  6: { operands: "source target column" },
  7: { operands: "source target quantiles group" },
  8: {
    operands: "source target column weight scale bias residual activation range",
    matrices: { weight: "product" },
    bits: 8,
  },
  9: {
    operands: "source target weight scale recurrent recurrent_scale bias",
    matrices: { weight: "gates", recurrent: "recurrent" },
    bits: 8,
  },
  10: { operands: "source target column weight scale bias residual activation range", bits: 4 },
  11: { operands: "source target weight scale recurrent recurrent_scale bias", bits: 4 },
};
const TENSORS = new Set(["weight", "bias", "recurrent", "scale", "recurrent_scale", "range"]);

/** The rows of OPS of a program's ops, each with the `words` of its operands. Throws where the form is wrong. */
export function opsOf(program, tensorCount) {
  const damaged = (what) => new Error(`its program is damaged: ${what}`);
  const [form, values, ops, inputs, , axes] = program;
  const known = form === 1 || (form === 2 && inputs >= 1 && axes >= 0);
  if (program.length < 6 || !known) throw damaged(`format ${form}`);
  let at = 6 + (form === 2 ? axes + inputs : 0) + 2 * Math.max(values, 0);
  const found = [];
  for (let i = 0; i < ops; ++i) {
    const row = OPS[program[at]];
    const names = row?.operands.split(" ");
    if (!row || program[at + 1] !== names.length || at + 2 + names.length > program.length) {
      throw damaged(`op ${i} is none`);
    }
    const words = Object.fromEntries(names.map((name, n) => [name, program[at + 2 + n]]));
    const stray = names.some((n) => TENSORS.has(n) && words[n] !== -1 && !(words[n] >= 0 && words[n] < tensorCount));
    if (stray) throw damaged("an operand names no tensor");
    found.push({ ...row, words });
    at += 2 + names.length;
  }
  if (at !== program.length) throw damaged(`${program.length - at} words left`);
  return found;
}

/** Tensor name -> what reads it ("product", "gates", "recurrent"), of those that all their readers want in one order. */
export function matricesOf(ops, tensorNames) {
  const readers = new Map();
  for (const { words, matrices = {} } of ops) {
    for (const [operand, tensor] of Object.entries(words)) {
      if (!TENSORS.has(operand) || tensor === -1) continue;
      const name = tensorNames[tensor];
      readers.set(name, (readers.get(name) ?? new Set()).add(matrices[operand]));
    }
  }
  return new Map([...readers].filter(([, kinds]) => kinds.size === 1).map(([name, kinds]) => [name, [...kinds][0]])
    .filter(([, kind]) => kind !== undefined));
}

/**
 * Whether `data` is a matrix of `rows` and `columns` in a file's `layout`: of the right size, with nothing but zeros
 * where the order has padding, which would enter its sums.
 */
export function isPacked({ data, dtype, shape }, kind, rows, columns, layout) {
  const units = layout.lstm_units;
  const panel = kind === "recurrent" ? 4 * units : layout.tile_columns;
  const width = kind === "product" ? rows : 4 * units * Math.ceil(rows / 4 / units);
  const group = dtype === 1 ? 4 : 1;
  const depth = Math.ceil(columns / group);
  const wanted = [Math.ceil(width / panel), depth, panel, ...(dtype === 1 ? [4] : [])];
  if (shape.length !== wanted.length || shape.some((n, i) => n !== wanted[i])) return false;
  const isPadding = (column) =>
    kind === "product" ? column >= rows : Math.floor(column / (4 * units)) * units + (column % units) >= rows / 4;
  let at = 0;
  for (let first = 0; first < wanted[0] * panel; first += panel) {
    for (let deep = 0; deep < depth * group; deep += group) {
      for (let column = first; column < first + panel; ++column) {
        for (let i = 0; i < group; ++i, ++at) {
          if (data[at] !== 0 && (deep + i >= columns || isPadding(column))) return false;
        }
      }
    }
  }
  return true;
}
