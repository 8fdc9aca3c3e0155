// A model in a thread of its own, on the project's WebAssembly engine: it answers requests without any server.
//
// The first message is {url} of the model file; the reply {isa}, or {error}. Then each {id, arguments, explain} is replied to by
// {id, answer, attention, seconds}, and where it is to be explained with `turns` and `why` too, after it if that takes long: with reasons, what would turn it, and the seconds of both, unless another
// question has come meanwhile: then only the newest is answered. `arguments` are the options of `infer` by name.

import * as action from "../engine/action.mjs";
import { loadAttention } from "../engine/attention.mjs";
import { ClaudeFlowError, load } from "../engine/claude_flow.mjs";
import * as coordination from "../engine/coordination.mjs";
import { counterfactuals } from "../engine/counterfactuals.mjs";
import * as optimization from "../engine/optimization.mjs";
import * as prediction from "../engine/prediction.mjs";

const refuse = (text) => {
  throw new ClaudeFlowError(text);
};

// Options that are left when those of the request are taken; the server alone answers by some.
function only(rest, ...names) {
  const stray = Object.keys(rest).find((name) => !names.includes(name));
  if (stray) refuse(`${stray}: the arguments are input, ${names.join(", ")}`);
  return {};
}

// network: the request and the options of `answer` that the arguments make, its JavaScript, and its tokens' attention
const NETWORKS = {
  action: { own: action, read: ({ input, ...rest }) => [input, only(rest, "prices", "historical-context")] },
  coordination: {
    own: coordination,
    read({ input, "confidence-threshold": confidenceThreshold, ...rest }) {
      only(rest, "confidence-threshold", "historical-context");
      return [input, { confidenceThreshold }];
    },
  },
  optimization: {
    own: optimization,
    read: ({ top, "confidence-threshold": confidenceThreshold, "historical-context": _, ...request }) =>
      [request, { top, confidenceThreshold }],
  },
  prediction: { own: prediction, read: (request) => [request, { note: prediction.noteOf(request) }] },
};
let model;
let layers;
let newest = null;
let busy = false;
let slow = false; // whether reasons took so long that the answer went ahead of them
const QUICK_MS = 12;

async function open(url) {
  const response = await fetch(url);
  if (!response.ok) refuse(`the model cannot be fetched (HTTP ${response.status}): start the playground again`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  model = await load(bytes);
  if (!NETWORKS[model.network]) refuse(`the ${model.network} network has no encoder in JavaScript`);
  if (model.network === "coordination") layers = await loadAttention(bytes);
  return { isa: model.isa };
}

// The shares of attention of every layer and head: {tokens, layers: [{heads, weights}]}.
function attention(request) {
  const swarm = coordination.parseRequest(request, model.maxTokens);
  const tokens = ["state", ...swarm.agents.map(({ id }) => id), ...swarm.tasks.map(({ id }) => id)];
  const weights = layers.weights(coordination.encode(model.features, swarm), tokens.length);
  return { tokens, layers: layers.layers.map(({ heads }, i) => ({ heads, weights: weights[i] })) };
}

function answered({ id, arguments: given }) {
  const start = performance.now();
  const { own, read } = NETWORKS[model.network];
  const [request, options] = read(given);
  const answer = own.answer(model, request, options);
  const seconds = (performance.now() - start) / 1000;
  return { id, answer, attention: layers ? attention(request) : null, seconds };
}

// What the answer rests on, and the smallest change of one field that would turn each decision.
function explained({ id, arguments: given }) {
  const start = performance.now();
  const { own, read } = NETWORKS[model.network];
  const [request, options] = read(given);
  const answer = own.answer(model, request, { ...options, explain: true });
  const turns = own.knobs ? counterfactuals(request, own.knobs(request, model), own.decisions(model, request)) : null;
  return { id, answer, turns, why: (performance.now() - start) / 1000 };
}

const pause = () => new Promise((resume) => {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = resume;
  port2.postMessage(null);
});

async function work() {
  busy = true;
  while (newest) {
    const question = newest;
    newest = null;
    try {
      const found = answered(question);
      if (slow || !question.explain) {
        postMessage(found);
        await pause();
      }
      if (!newest && question.explain) {
        const reasons = explained(question);
        postMessage({ ...found, ...reasons });
        slow = 1000 * reasons.why > QUICK_MS;
      }
    } catch (error) {
      postMessage({ id: question.id, error: error.message });
    }
    await pause();
  }
  busy = false;
}

onmessage = async ({ data }) => {
  if (data.url) {
    try {
      postMessage(await open(data.url));
    } catch (error) {
      postMessage({ error: error.message });
    }
    return;
  }
  newest = data;
  if (!busy) work();
};
