import type { Model } from "./claude_flow.mjs";
import type { Request } from "./coordination.mjs";

export interface Adjustment {
  command: string;
  does: string;
  /** Its value above that of doing nothing. */
  gain: number;
}

export interface Answer {
  command: string;
  does: string;
  instructions: { agent: string; task: string }[];
  adjustments: Adjustment[];
  /** Expected rewards of the legal commands, the best first. */
  values: { command: string; value: number }[];
  reasons: string[];
  price: null;
  explanation?: { stream: string; effect: number }[];
}

/** What to do now, by the whole pipeline in one call: `model` is of a file that `cf.Pipeline().save(path)` wrote. */
export function answer(model: Model, request: Request, options?: { explain?: boolean }): Answer;
