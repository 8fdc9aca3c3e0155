import type { Model } from "./claude_flow.mjs";

export interface Request {
  "task-description": string;
  "historical-context"?: string;
  "current-team-capacity"?: {
    "available-agents"?: number;
    "average-productivity"?: number;
    "experience-level"?: "junior" | "mid" | "intermediate" | "senior";
  };
  "uncertainty-quantification"?: boolean;
  "confidence-intervals"?: number[];
  "task-type"?: string;
  agent?: string;
  project?: string;
  model?: string;
  /** Seconds. */
  "requested-time"?: number;
  processors?: number;
  /** ISO 8601; without it, now. */
  "decision-time"?: string;
}

export type Prediction =
  | { status: "unavailable"; reason: string }
  | {
      status: "predicted";
      unit: string;
      median: number;
      intervals?: Record<string, [number, number]>;
      calibrated?: boolean;
      own_outcomes?: number;
      note?: string;
    };

export interface Answer {
  rests_on: string;
  task: string;
  decision_time: string;
  history: { note: string; runs: number; finished: number; shown: number };
  capacity: Record<string, string | number>;
  predictions: Record<string, Prediction>;
  failure: { status: "unavailable"; reason: string } | { status: "predicted"; probability: number; training_rate: number };
  explanation?: { input: string; effect: number }[];
}

/** Forecast one task from its description alone; `now` is in milliseconds. */
export function answer(model: Model, request: Request, options?: { explain?: boolean; now?: number; note?: string }): Answer;
