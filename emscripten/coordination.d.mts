import type { Model } from "./claude_flow.mjs";

export interface TrackRecord {
  tasks: number;
  "success-rate": number;
  "swarm-success-rate"?: number;
  "by-type"?: Record<string, TrackRecord>;
}

export interface Request {
  "current-agents": {
    id: string;
    type?: string;
    load?: number;
    capabilities?: string[];
    speed?: number;
    "cost-per-hour"?: number;
    "past-tasks"?: number;
    "free-in-minutes"?: number;
    "track-record"?: TrackRecord;
  }[];
  "pending-tasks": {
    id: string;
    type?: string;
    description?: string;
    priority?: "low" | "medium" | "high" | "critical" | number;
    complexity?: number;
    requires?: string[];
    features?: Record<string, number>;
  }[];
  "system-state"?: { "memory-usage"?: number; "cpu-usage"?: number; "network-latency"?: number };
}

export interface Swarm {
  agents: Request["current-agents"];
  tasks: Request["pending-tasks"];
  state: NonNullable<Request["system-state"]>;
}

export interface Assignment {
  task: string;
  /** "assign", a command such as "defer", or "withheld" where the confidence is below the threshold. */
  decision: string;
  agent: string | null;
  confidence: number;
  candidates: { choice: string; confidence: number }[];
  explanation?: { input: string; effect: number }[];
}

export interface Answer {
  assignments: Assignment[];
  /** Names of the columns of `probabilities`. */
  choices: string[];
  /** Row-major, one row per task. */
  probabilities: Float32Array;
  notes: string[];
}

/** Check a request; throws a ClaudeFlowError that names the place. */
export function parseRequest(request: unknown, maxTokens?: number): Swarm;

/** Tokens [1 + agents + tasks, 512] of a request, by the schema in the model file. */
export function encode(schema: Record<string, unknown>, swarm: Swarm): Float32Array;

/** Assign each pending task to an agent or a command. */
export function answer(model: Model, request: Request, options?: { confidenceThreshold?: number; explain?: boolean }): Answer;
