// What a network's tokens attend to: the weights of every attention layer, from the model's own numbers.
//
// The engine hands out a program's last value only. So for each layer a copy of the program ends where the layer's q, k
// and v are written, and the weights are softmax(q·kᵀ/√width) of those, computed here.

import { ClaudeFlowError, load } from "./claude_flow.mjs";

const HEADER = 6; // words before the values (docs/model_format.md)
const OUTPUT = 4;
const OPS = 2;
const ATTENTION = 3;

/**
 * Load the attention layers of a model file (its bytes). Returns {layers: [{heads}], weights(x, tokens), dispose()}; `x`
 * holds the tokens of one item, and `weights` gives per layer a Float32Array [heads, tokens, tokens]: the share of each
 * token's attention, row by row. Options as for `load`.
 */
export async function loadAttention(bytes, options) {
  const parts = cut(bytes);
  const models = await Promise.all(parts.map((part) => load(part.bytes, options)));
  return {
    layers: parts.map(({ heads }) => ({ heads })),
    weights: (x, tokens) =>
      models.map((model, i) => shares(model.run(x, [1, tokens, model.inputWidth]), tokens, parts[i].heads)),
    dispose: () => models.forEach((model) => model.dispose()),
  };
}

// Per attention op the file with the ops before it alone, and its number of heads.
function cut(bytes) {
  const start = 8 + Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start)));
  const fields = JSON.parse(header.__metadata__.claude_flow);
  const { program } = fields;
  if (program[0] !== 1) throw new ClaudeFlowError("attention is read of networks with one input");
  const begin = HEADER + 2 * program[1];
  const parts = [];
  for (let at = begin, op = 0; op < program[OPS]; ++op, at += 2 + program[at + 1]) {
    if (program[at] !== ATTENTION) continue;
    const words = program.slice(0, at);
    words[OPS] = op;
    words[OUTPUT] = program[at + 2];
    const metadata = { ...header.__metadata__, claude_flow: JSON.stringify({ ...fields, program: words }) };
    const head = new TextEncoder().encode(JSON.stringify({ ...header, __metadata__: metadata }));
    const part = new Uint8Array(8 + head.length + bytes.length - start);
    new DataView(part.buffer).setBigUint64(0, BigInt(head.length), true);
    part.set(head, 8);
    part.set(bytes.subarray(start), 8 + head.length);
    parts.push({ bytes: part, heads: program[at + 4] });
  }
  return parts;
}

// q, k and v are thirds of a row, and each head has its part of a third.
function shares(qkv, tokens, heads) {
  const row = qkv.length / tokens;
  const width = row / 3 / heads;
  const weights = new Float32Array(heads * tokens * tokens);
  const scores = new Float64Array(tokens);
  for (let head = 0; head < heads; ++head) {
    for (let from = 0; from < tokens; ++from) {
      const q = from * row + head * width;
      for (let to = 0; to < tokens; ++to) {
        const k = to * row + row / 3 + head * width;
        let sum = 0;
        for (let i = 0; i < width; ++i) sum += qkv[q + i] * qkv[k + i];
        scores[to] = sum / Math.sqrt(width);
      }
      const largest = Math.max(...scores);
      let total = 0;
      for (let to = 0; to < tokens; ++to) total += scores[to] = Math.exp(scores[to] - largest);
      for (let to = 0; to < tokens; ++to) weights[(head * tokens + from) * tokens + to] = scores[to] / total;
    }
  }
  return weights;
}
