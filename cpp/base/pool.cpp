#include "base/pool.h"

#if defined(__EMSCRIPTEN__) && !defined(__wasm_atomics__)

namespace claude_flow {

uint32_t current_generation() { return 0; }

// Without threads the pool is always taken, so every call works alone.
void yield_cpu() {}
void wait_briefly(int) {}

struct Pool::State {};
Pool::~Pool() = default;
bool Pool::enter() { return false; }
void Pool::leave() {}
void Pool::dispatch(int parts, Work work, const void* body) {
  for (int part = 0; part < parts; ++part) work(body, part, 0);
}

}  // namespace claude_flow

#else

#ifndef __EMSCRIPTEN__
#include <pthread.h>
#include <sched.h>
#endif

#include <new>

namespace claude_flow {

namespace {

// Waiting begins with a spin of about 50 us, since the next operation of a network follows within
// microseconds.
constexpr int kSpins = 2000;

#ifdef __EMSCRIPTEN__

// WebAssembly has no pause; a fence takes about as long.
void pause_cpu() { std::atomic_thread_fence(std::memory_order_seq_cst); }

// Where threads sleep until there is work.
class Gate {
 public:
  template <class Idle>
  void wait(const Idle& idle) {
    sleepers_.fetch_add(1);
    for (int32_t seen = opened_.load(); idle(); seen = opened_.load()) {
      __builtin_wasm_memory_atomic_wait32(reinterpret_cast<int32_t*>(&opened_), seen, -1);
    }
    sleepers_.fetch_sub(1);
  }

  // A thread counts itself as a sleeper before it looks for work the last time.
  void open() {
    if (sleepers_.load() == 0) return;
    opened_.fetch_add(1);
    __builtin_wasm_memory_atomic_notify(reinterpret_cast<int32_t*>(&opened_), UINT32_MAX);
  }

 private:
  std::atomic<int32_t> opened_{0};
  std::atomic<int> sleepers_{0};
};

#else

void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");  // some tens of cycles, where `yield` takes none
#endif
}

// Where threads sleep until there is work.
class Gate {
 public:
  template <class Idle>
  void wait(const Idle& idle) {
    pthread_mutex_lock(&mutex_);
    sleepers_.fetch_add(1);
    while (idle()) pthread_cond_wait(&wake_, &mutex_);
    sleepers_.fetch_sub(1);
    pthread_mutex_unlock(&mutex_);
  }

  // A thread counts itself as a sleeper before it looks for work the last time, both under the mutex.
  void open() {
    if (sleepers_.load() == 0) return;
    pthread_mutex_lock(&mutex_);
    pthread_cond_broadcast(&wake_);
    pthread_mutex_unlock(&mutex_);
  }

 private:
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t wake_ = PTHREAD_COND_INITIALIZER;
  std::atomic<int> sleepers_{0};
};

std::atomic<uint32_t> generation{0};

#ifndef _WIN32  // which has no forks
// As the library is loaded: a fork may come at any time after that.
[[maybe_unused]] const int registered =
    pthread_atfork(nullptr, nullptr, [] { generation.fetch_add(1, std::memory_order_relaxed); });
#endif

#endif

}  // namespace

#ifdef __EMSCRIPTEN__
uint32_t current_generation() { return 0; }
#else
uint32_t current_generation() { return generation.load(std::memory_order_relaxed); }
#endif

struct Pool::State {
  const uint32_t born =
      current_generation();  // a state made before a fork belongs to the parent, as do its threads
  std::atomic<bool> taken{false};

  // The open job: its number in the high half, parts not yet claimed in the low half. A thread claims a part
  // by a compare-exchange of the whole word, so one that wakes up late can only claim from the job that is
  // open now; that job's fields stand until its last claimed part is done.
  std::atomic<uint64_t> ticket{0};
  std::atomic<int> unfinished{0};
  Work work = nullptr;
  const void* body = nullptr;

  Gate gate;
  std::atomic<bool> stopping{false};

  bool work_once(int thread) {
    uint64_t open = ticket.load();
    while (static_cast<uint32_t>(open) != 0) {
      if (!ticket.compare_exchange_weak(open, open - 1)) continue;
      work(body, static_cast<int>(static_cast<uint32_t>(open)) - 1, thread);
      unfinished.fetch_sub(1);
      return true;
    }
    return false;
  }

  bool idle() const { return static_cast<uint32_t>(ticket.load()) == 0 && !stopping.load(); }

  void serve(int thread) {
    while (!stopping.load()) {
      while (work_once(thread)) {
      }
      for (int i = 0; i < kSpins && idle(); ++i) pause_cpu();
      if (idle()) gate.wait([this] { return idle(); });
    }
  }

#ifdef __EMSCRIPTEN__

  // Threads that the host has lent.
  std::atomic<int> workers{0};

  void start(int) {}

  void stop() {
    stopping.store(true);
    gate.open();
    while (workers.load() > 0) pause_cpu();
  }

#else

  struct Worker {
    State* state;
    pthread_t handle;
    int thread;
  };
  int workers = 0;
  Worker worker[kMaxThreads];

  void start(int threads) {
    for (int i = 1; i < threads && i < kMaxThreads; ++i) {
      Worker& w = worker[workers];
      w.state = this;
      w.thread = workers + 1;
      const auto main = [](void* argument) -> void* {
        const Worker* self = static_cast<Worker*>(argument);
        self->state->serve(self->thread);
        return nullptr;
      };
      if (pthread_create(&w.handle, nullptr, main, &w) != 0) return;
      ++workers;
    }
  }

  void stop() {
    stopping.store(true);
    gate.open();
    for (int i = 0; i < workers; ++i) pthread_join(worker[i].handle, nullptr);
  }

#endif
};

#ifdef __EMSCRIPTEN__

void yield_cpu() { pause_cpu(); }

void Pool::serve(int thread) {
  State* state = alive();
  if (state == nullptr) return;
  state->workers.fetch_add(1);
  state->serve(thread);
  state->workers.fetch_sub(1);
}

#else

void yield_cpu() { sched_yield(); }

#endif

Pool::~Pool() {
  State* state = state_.load();
  // After a fork the state's threads do not exist here and its mutex may be held for ever: it is left alone.
  if (state == nullptr || state->born != current_generation()) return;
  state->stop();
  delete state;
}

Pool::State* Pool::alive() {
  State* state = state_.load();
  if (state != nullptr && state->born == current_generation()) return state;
  State* fresh = new (std::nothrow) State;
  if (fresh == nullptr || state_.compare_exchange_strong(state, fresh)) return fresh;
  delete fresh;  // another thread was first
  return state;
}

bool Pool::enter() {
  if (threads_ == 1) return false;
  State* state = alive();
  if (state == nullptr || state->taken.exchange(true)) return false;
  if (state->workers == 0) state->start(threads_);
  if (state->workers == 0) state->taken.store(false);
  return state->workers > 0;
}

void Pool::leave() { state_.load()->taken.store(false); }

void wait_briefly(int waited) {
  if (waited < kSpins) {
    pause_cpu();
  } else {
    yield_cpu();
  }
}

void Pool::dispatch(int parts, Work work, const void* body) {
  State& s = *state_.load();
  s.work = work;
  s.body = body;
  s.unfinished.store(parts);
  const uint64_t job = (s.ticket.load() >> 32) + 1;
  s.ticket.store(job << 32 | static_cast<uint32_t>(parts));
  s.gate.open();
  while (s.work_once(0)) {
  }
  for (int waited = 0; s.unfinished.load() > 0; ++waited) wait_briefly(waited);
}

}  // namespace claude_flow

#endif
