export type Isa = "simd128" | "relaxed";

export const ISAS: readonly Isa[];

/** What went wrong, in one line. */
export class ClaudeFlowError extends Error {}

/** Instruction sets that this host runs, best last. */
export function available(): Isa[];

export interface LoadOptions {
  /** "auto" takes the best that this host runs. */
  isa?: Isa | "auto";
  /**
   * Threads of a run, the caller's among them; 1 unless given. More need relaxed SIMD and SharedArrayBuffer, in a browser
   * a page that is cross-origin isolated; without them loading fails and says so.
   */
  threads?: number;
  /** The folder of the .wasm files; by default the one of this module. */
  wasm?: URL | string;
}

/** Load a model from a URL, a path (Node) or the bytes of a model file. */
export function load(source: URL | string | ArrayBuffer | Uint8Array, options?: LoadOptions): Promise<Model>;

export interface OpTime {
  op: number;
  /** Opcode of docs/model_format.md. */
  code: number;
  seconds: number;
}

/** One input of a program: [items, width], or [items, tokens, width] if it has an axis of tokens. */
export interface Input {
  /** 0 without tokens; inputs of the same axis have the same tokens. */
  axis: number;
  width: number;
  maxTokens: number;
}

export interface Decision {
  /** Row-major [tasks, columns]: agents, then commands. */
  scores: Float32Array;
  probabilities: Float32Array;
  columns: number;
  commands: string[];
}

export interface Model {
  readonly network: "coordination" | "optimization" | "prediction" | "action";
  readonly precision: string;
  readonly isa: Isa;
  readonly threads: number;
  readonly config: Record<string, unknown>;
  readonly features: Record<string, unknown>;
  readonly calibration: Record<string, unknown>;
  readonly provenance: Record<string, unknown>;
  readonly inputs: readonly Input[];
  readonly perTokenInput: boolean;
  readonly perTokenOutput: boolean;
  readonly inputWidth: number;
  readonly outputWidth: number;
  readonly maxTokens: number;
  readonly opCount: number;
  readonly arenaBytes: number;
  readonly memoryBytes: number;

  /** x is row-major: [items, tokens, inputWidth], or [items, inputWidth] for a network without tokens. */
  run(x: Float32Array, shape: readonly number[], lengths?: Int32Array): Float32Array;
  /** Of several inputs: one of each for every input. */
  run(
    x: readonly Float32Array[],
    shape: readonly (readonly number[])[],
    lengths?: readonly (Int32Array | null)[],
  ): Float32Array;
  /** Run once with a clock around every op. */
  profile(x: Float32Array, shape: readonly number[], lengths?: Int32Array): OpTime[];
  profile(
    x: readonly Float32Array[],
    shape: readonly (readonly number[])[],
    lengths?: readonly (Int32Array | null)[],
  ): OpTime[];
  /** Assign one swarm's tasks: x holds the tokens of the state, the agents and the tasks, or those of several `items`. */
  decide(x: Float32Array, agents: number, tasks: number, items?: number): Decision;
  /** End the threads and give the memory back; the model cannot be used afterwards. */
  dispose(): void;
}
