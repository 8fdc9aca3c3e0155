// A pool of threads that outlives calls. One call at a time has it; a call that finds it taken works alone,
// so many callers never put more threads on the machine than they asked for. Results never depend on which
// thread did what. It survives fork(): the child starts its own threads.
#pragma once

#include <atomic>
#include <cstdint>

namespace claude_flow {

// Counts forks: what a call took in an earlier generation belongs to a thread of the parent, which does not exist here.
uint32_t current_generation();

// Lets another thread run.
void yield_cpu();
// The same once the caller has waited a while, for what comes within microseconds; `waited` counts the calls.
void wait_briefly(int waited);

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

  // body(row, column, thread) for every cell of a grid of up to kMaxRows rows, each one after its left neighbour and
  // the one above, and waits. So a row's cells run in their order, and as many rows run at once as there are threads.
  static constexpr int kMaxRows = 16;
  template <class Body>
  void run_wavefront(int rows, int columns, const Body& body) {
    // Twice the cells done of each row, and one more while its next cell runs.
    std::atomic<int> state[kMaxRows] = {};
    const auto done = [&](int row) {
      return row < 0 ? columns : state[row].load(std::memory_order_acquire) / 2;
    };
    // The lowest row first: what it reads is still near.
    const auto work_once = [&](int thread) {
      for (int row = rows - 1; row >= 0; --row) {
        int at = state[row].load(std::memory_order_acquire);
        const int column = at / 2;
        if (at % 2 != 0 || column == columns || done(row - 1) <= column) continue;
        if (!state[row].compare_exchange_strong(at, at + 1)) continue;
        body(row, column, thread);
        state[row].store(at + 2, std::memory_order_release);
        return true;
      }
      return false;
    };
    run(rows < threads_ ? rows : threads_, [&](int, int thread) {
      for (int waited = 0; done(rows - 1) < columns;) {
        if (work_once(thread)) {
          waited = 0;
        } else {
          wait_briefly(waited++);
        }
      }
    });
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
