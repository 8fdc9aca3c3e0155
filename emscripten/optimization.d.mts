import type { Model } from "./claude_flow.mjs";

export interface Request {
  "current-performance": Record<string, number | string>;
  "current-settings"?: Record<string, number | string>;
  workload?: Record<string, number | string>;
  constraints?: Record<string, number | string>;
  "optimization-targets"?: string[] | Record<string, number>;
}

export interface Recommendation {
  id: string;
  tunable: string;
  direction: "raise" | "lower";
  /** Expected gain in natural-log units of the weighted targets. */
  score: number;
  confidence: number;
  expected_effect: string;
  change?: { from: number; to: number; unit: string };
  explanation?: { input: string; value: number; effect: number }[];
}

export interface Answer {
  rests_on: string;
  /** The simulator fitted to a log, which only Python reads. */
  twin: null;
  recommendations: Recommendation[];
  withheld: Recommendation[];
  confidence_threshold: number;
  targets: Record<string, number>;
  inputs_known: number;
  inputs_total: number;
  notes: string[];
}

/** The changes that help most. */
export function answer(
  model: Model, request: Request, options?: { top?: number; confidenceThreshold?: number; explain?: boolean },
): Answer;
