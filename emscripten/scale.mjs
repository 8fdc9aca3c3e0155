// Normalization of numbers by what training stored: what python/claude_flow/networks/scale.py does.

const LIMIT = 4; // normalized values are clipped here

/** Normalize one number by a stored [kind, parameters]. */
export function normalize([kind, parameters], value) {
  let v = value;
  if (kind === "quantile") {
    const last = parameters.length - 1;
    if (parameters[0] === parameters[last]) {
      v = 0;
    } else {
      const below = parameters.filter((knot) => knot < v).length;
      const upTo = parameters.filter((knot) => knot <= v).length;
      let rank;
      if (upTo > below) rank = 0.5 * (below + upTo - 1); // a knot, maybe several: the middle of its ranks
      else if (below === 0) rank = 0;
      else if (below > last) rank = last;
      else rank = below - 1 + (v - parameters[below - 1]) / (parameters[below] - parameters[below - 1]);
      v = (rank / last) * 4 - 2;
    }
  } else if (kind !== "none") {
    if (kind === "log") v = Math.sign(v) * Math.log1p(Math.abs(v));
    const [center, scale] = parameters;
    v = scale > 0 ? (v - center) / scale : 0;
  }
  return Math.fround(Math.min(LIMIT, Math.max(-LIMIT, v)));
}
