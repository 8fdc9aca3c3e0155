import type { LoadOptions } from "./claude_flow.mjs";

export interface Attention {
  readonly layers: readonly { readonly heads: number }[];
  /** Per layer [heads, tokens, tokens], row-major: the share of each token's attention. `x`: the tokens of one item. */
  weights(x: Float32Array, tokens: number): Float32Array[];
  dispose(): void;
}

/** Load the attention layers of a model file, from its bytes. */
export function loadAttention(bytes: Uint8Array, options?: LoadOptions): Promise<Attention>;
