// What would have to be otherwise for a decision to be another: each field of a request moved alone, as the method
// line-search of python/claude_flow/insight/boundaries.py does, from the request to the ends of the field's range.

const HALVINGS = 7;
const BEYOND = 1.02; // how far past the crossing a change goes, so that rounding does not undo it

function position({ value, low, high, words, log }) {
  if (words) return words.indexOf(value) / (words.length - 1);
  const [at, end] = [value - low, high - low].map((v) => (log ? Math.log1p(v) : v));
  return Math.min(Math.max(at / end, 0), 1);
}

// The value at a position, rounded as it is printed: three digits of the range.
function valueAt({ low, high, words, log, whole }, at) {
  if (words) return words[Math.round(at * (words.length - 1))];
  let value;
  if (log) {
    value = Number((low + Math.expm1(at * Math.log1p(high - low))).toPrecision(3));
  } else {
    const step = 10 ** (Math.floor(Math.log10(high - low)) - 3);
    value = Number((Math.round((low + at * (high - low)) / step) * step).toFixed(12));
  }
  return Math.min(Math.max(whole ? Math.round(value) : value, low), high);
}

// A copy with `value` at the path; what is not on the way stays the same object.
function put(place, [key, ...rest], value) {
  const copied = Array.isArray(place) ? [...place] : { ...place };
  copied[key] = rest.length > 0 ? put(place[key] ?? {}, rest, value) : value;
  return copied;
}

const best = (scores) => scores.reduce((winner, score, i) => (score > scores[winner] ? i : winner), 0);

/**
 * For each decision the smallest change of one field that turns it, or null: [{decision, field, from, to, choice,
 * becomes, distance}]. `knobs` are the fields that may change, `decisions` {names, options, scores(requests)}: scores per
 * request and decision, of which the largest is chosen. Each change is verified: the changed request has the other choice.
 */
export function counterfactuals(request, knobs, { names, options, scores }) {
  const [now] = scores([request]);
  const chosen = now.map(best);
  const at = (knob, p) => put(request, knob.path, valueAt(knob, p));
  const moves = knobs.flatMap((knob) => {
    const origin = position(knob);
    return [0, 1].filter((end) => end !== origin).map((end) => ({ knob, origin, end }));
  });
  const ends = scores(moves.map(({ knob, end }) => at(knob, end)));
  let turned = moves.flatMap((move, m) => {
    const length = Math.abs(move.end - move.origin);
    return chosen.map((choice, d) => ({ ...move, d, choice, length, low: 0, high: 1 }))
      .filter(({ d, choice }) => best(ends[m][d]) !== choice);
  });
  const along = ({ origin, end }, share) => origin + Math.min(share, 1) * (end - origin);
  for (let round = 0; round < HALVINGS && turned.length > 0; ++round) {
    const found = scores(turned.map((move) => at(move.knob, along(move, (move.low + move.high) / 2))));
    turned.forEach((move, i) => {
      const middle = (move.low + move.high) / 2;
      if (best(found[i][move.d]) === move.choice) move.low = middle;
      else move.high = middle;
    });
    // One is shown for each decision: what is farther than another surely is, is left.
    const nearest = names.map((_, d) => Math.min(...turned.filter((move) => move.d === d).map(({ high, length }) => high * length)));
    turned = turned.filter(({ d, low, length }) => low * length <= nearest[d]);
  }
  const last = turned.length > 0 ? scores(turned.map((move) => at(move.knob, along(move, BEYOND * move.high)))) : [];
  const rows = turned.map((move, i) => {
    const { knob, d, choice, high, length } = move;
    return {
      decision: names[d], field: knob.label, from: knob.value, to: valueAt(knob, along(move, BEYOND * high)),
      choice: options[choice], becomes: options[best(last[i][d])], distance: length * Math.min(BEYOND * high, 1), d,
    };
  }).filter(({ choice, becomes }) => choice !== becomes).sort((a, b) => a.distance - b.distance);
  return names.map((_, d) => {
    const row = rows.find((one) => one.d === d);
    return row ? (({ d: _, ...rest }) => rest)(row) : null;
  });
}
