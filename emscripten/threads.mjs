// Threads for a model: workers that share its memory. The engine's side is cpp/base/pool.h.

// As in CMakeLists.txt: the module refuses another memory.
const PAGES = { initial: 16, maximum: 32768 };
const STACK_BYTES = 128 << 10;

const inNode = () => typeof process !== "undefined" && Boolean(process.versions?.node);

/** Why this host cannot share memory between threads; null if it can. */
export function whyNoThreads() {
  if (typeof SharedArrayBuffer !== "undefined" && globalThis.crossOriginIsolated !== false) return null;
  return (
    "SharedArrayBuffer, which a page has when it is served with the headers 'Cross-Origin-Opener-Policy: same-origin' " +
    "and 'Cross-Origin-Embedder-Policy: require-corp'"
  );
}

/** The memory of a model with threads. */
export const sharedMemory = () => new WebAssembly.Memory({ ...PAGES, shared: true });

// A worker in the words of the web, whatever the host.
async function startWorker(onMessage, onError) {
  const url = new URL("./worker.mjs", import.meta.url);
  if (!inNode()) {
    const worker = new Worker(url, { type: "module" });
    worker.onmessage = ({ data }) => onMessage(data);
    worker.onerror = (event) => onError(event.message ?? `${url} cannot be loaded`);
    return worker;
  }
  const { Worker: NodeWorker } = await import("node:worker_threads");
  const worker = new NodeWorker(url);
  worker.on("message", onMessage);
  worker.on("error", (error) => onError(error.message));
  return worker;
}

/**
 * Start threads 1..threads-1 of `model`, whose module was instantiated on `memory`; `allocate(bytes)` takes memory
 * there. Resolves, once all of them work, to a function that ends them; rejects with what went wrong.
 */
export async function startThreads(threads, { module, memory, model, allocate }) {
  const workers = [];
  const stop = () => workers.forEach((worker) => worker.terminate());
  const start = async (thread) => {
    const stack = allocate(STACK_BYTES);
    const stackTop = (stack + STACK_BYTES) & ~15;
    await new Promise((resolve, reject) => {
      const fail = (message) => reject(new Error(`thread ${thread} does not start: ${message}`));
      startWorker(({ error }) => (error === undefined ? resolve() : fail(error)), fail).then((worker) => {
        workers.push(worker);
        worker.postMessage({ module, memory, model, thread, stack, stackTop });
      }, reject);
    });
  };
  try {
    await Promise.all(Array.from({ length: threads - 1 }, (_, i) => start(i + 1)));
  } catch (error) {
    stop();
    throw error;
  }
  for (const worker of workers) worker.unref?.(); // in Node: a model that nobody disposed of keeps no process alive
  return stop;
}
