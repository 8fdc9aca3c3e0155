// A pool of threads that outlives calls. One call at a time has it; a call that finds it taken works alone,
// so many callers never put more threads on the machine than they asked for. Results never depend on which
// thread did what. It survives fork(): the child starts its own threads.
#pragma once

#include <atomic>

namespace claude_flow {

// Lets another thread run.
void yield_cpu();

#if defined(__EMSCRIPTEN__) && !defined(__wasm_atomics__)
constexpr int kMaxThreads = 1;
#else
constexpr int kMaxThreads = 256;
#endif

class Pool {
 public:
  explicit Pool(int threads) : threads_(threads) {}
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return threads_; }

  // Takes the pool for the calling thread, starting its threads the first time. False: it is taken, or it has
  // no threads.
  bool enter();
  void leave();

#ifdef __EMSCRIPTEN__
  // WebAssembly starts no threads: the host does, and each becomes thread 1..threads-1 of the pool here, until
  // the pool is destroyed.
  void serve(int thread);
#endif

  // body(part, thread) for every part in 0..parts-1, and waits. `thread` in 0..threads-1 is unique among
  // running bodies.
  template <class Body>
  void run(int parts, const Body& body) {
    dispatch(
        parts, [](const void* b, int part, int thread) { (*static_cast<const Body*>(b))(part, thread); },
        &body);
  }

  struct State;

 private:
  using Work = void (*)(const void* body, int part, int thread);
  friend struct State;

  State* alive();
  void dispatch(int parts, Work work, const void* body);

  const int threads_;
  std::atomic<State*> state_{nullptr};
};

}  // namespace claude_flow
