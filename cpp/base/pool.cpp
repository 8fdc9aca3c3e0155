#include "base/pool.h"

#if defined(__EMSCRIPTEN__) && !defined(__EMSCRIPTEN_PTHREADS__)

namespace claude_flow {

// Without threads the pool is always taken, so every call works alone.
void yield_cpu() {}

struct Pool::State {};
Pool::~Pool() = default;
bool Pool::enter() { return false; }
void Pool::leave() {}
void Pool::dispatch(int parts, Work work, const void* body) {
  for (int part = 0; part < parts; ++part) work(body, part, 0);
}

}  // namespace claude_flow

#else

#include <pthread.h>
#include <sched.h>

#include <new>

namespace claude_flow {

namespace {

// Waiting begins with a spin of about 50 us, since the next operation of a network follows within
// microseconds.
constexpr int kSpins = 2000;

void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Counts forks: a state made before the last one belongs to the parent, and so do its threads.
std::atomic<uint32_t> generation{0};

uint32_t current_generation() {
  static const int registered = pthread_atfork(nullptr, nullptr, [] { generation.fetch_add(1); });
  (void)registered;
  return generation.load();
}

}  // namespace

void yield_cpu() { sched_yield(); }

struct Pool::State {
  struct Worker {
    State* state;
    pthread_t handle;
    int thread;
  };

  const uint32_t born = current_generation();
  std::atomic<bool> taken{false};
  int workers = 0;
  Worker worker[kMaxThreads];

  // The open job: its number in the high half, parts not yet claimed in the low half. A thread claims a part
  // by a compare-exchange of the whole word, so one that wakes up late can only claim from the job that is
  // open now; that job's fields stand until its last claimed part is done.
  std::atomic<uint64_t> ticket{0};
  std::atomic<int> unfinished{0};
  Work work = nullptr;
  const void* body = nullptr;

  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
  std::atomic<int> parked{0};
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
      if (!idle()) continue;
      pthread_mutex_lock(&mutex);
      parked.fetch_add(1);
      while (idle()) pthread_cond_wait(&wake, &mutex);
      parked.fetch_sub(1);
      pthread_mutex_unlock(&mutex);
    }
  }

  void wake_all() {
    pthread_mutex_lock(&mutex);
    pthread_cond_broadcast(&wake);
    pthread_mutex_unlock(&mutex);
  }

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
    wake_all();
    for (int i = 0; i < workers; ++i) pthread_join(worker[i].handle, nullptr);
  }
};

Pool::~Pool() {
  State* state = state_.load();
  // After a fork the state's threads do not exist here and its mutex may be held for ever: it is left alone.
  if (state == nullptr || state->born != current_generation()) return;
  state->stop();
  delete state;
}

bool Pool::enter() {
  if (threads_ == 1) return false;
  State* state = state_.load();
  if (state == nullptr || state->born != current_generation()) {
    State* fresh = new (std::nothrow) State;
    if (fresh == nullptr) return false;
    if (!state_.compare_exchange_strong(state, fresh)) {
      delete fresh;  // another thread was first
    } else {
      state = fresh;
    }
  }
  if (state->taken.exchange(true)) return false;
  if (state->workers == 0) state->start(threads_);
  if (state->workers == 0) state->taken.store(false);
  return state->workers > 0;
}

void Pool::leave() { state_.load()->taken.store(false); }

void Pool::dispatch(int parts, Work work, const void* body) {
  State& s = *state_.load();
  s.work = work;
  s.body = body;
  s.unfinished.store(parts);
  const uint64_t job = (s.ticket.load() >> 32) + 1;
  s.ticket.store(job << 32 | static_cast<uint32_t>(parts));
  // A worker counts itself as parked before it looks at the ticket for the last time, both under the mutex.
  if (s.parked.load() > 0) s.wake_all();
  while (s.work_once(0)) {
  }
  for (int i = 0; s.unfinished.load() > 0; ++i) {
    if (i < kSpins) {
      pause_cpu();
    } else {
      yield_cpu();
    }
  }
}

}  // namespace claude_flow

#endif
