// One thread of a model, started by threads.mjs: an instance on the model's memory, with a stack and thread-local
// storage of its own, which works for the model's runs until the thread is terminated.

function serve({ module, memory, model, thread, stack, stackTop }, say) {
  try {
    const { exports } = new WebAssembly.Instance(module, { env: { memory } });
    exports._emscripten_stack_restore(stackTop);
    exports.__wasm_init_tls(stack); // a few bytes at the far end
    say({ ready: true });
    exports.cf_model_serve(model, thread);
  } catch (error) {
    say({ error: error.message });
  }
}

if (typeof process !== "undefined" && process.versions?.node) {
  const { parentPort } = await import("node:worker_threads");
  parentPort.once("message", (task) => serve(task, (message) => parentPort.postMessage(message)));
} else {
  self.onmessage = ({ data }) => serve(data, (message) => self.postMessage(message));
}
