// A model ready to run: checked program, packed weights, one planned arena.
#pragma once

#include <atomic>

#include "base/array.h"
#include "base/pool.h"
#include "base/status.h"
#include "model/program.h"
#include "ops/ops.h"

namespace claude_flow {

class Model {
 public:
  explicit Model(int threads) : pool_(threads) {}

  Status load(const int32_t* words, size_t count, const cf_tensor* tensors, size_t tensor_count,
              const char* isa);
  // Safe to call from many threads at once: each call has a workspace of its own, and one of them has the
  // pool.
  Status run(const float* x, int items, int tokens, const int32_t* lengths, float* out);
  // The same op by op, with the time of each.
  Status profile(const float* x, int items, int tokens, const int32_t* lengths, float* out, double (*clock)(),
                 cf_op_time* times);
  cf_info info() const;
#ifdef __wasm_atomics__
  void serve(int thread) { pool_.serve(thread); }
#endif

 private:
  // An op with its weights packed; which members count depends on the code.
  struct Step {
    Op op;
    Linear linear;
    Lstm lstm;
    LinearI8 linear_i8;
    LstmI8 lstm_i8;
    const float* first;   // gamma, or the pool's vector
    const float* second;  // beta
    int stack;  // steps from here on that are layers of an LSTM, each of which reads the one before; or 1
  };
  static bool same_bytes(const Step& before, const Step& next);
  int layers_from(size_t step) const;
  // Where a value lives in the arena, from its first write to its last read.
  struct Place {
    size_t offset, floats;
    int begin, end;
    ptrdiff_t ld;
  };

  struct Stopwatch {
    double (*clock)();
    cf_op_time* times;
  };
  // What one call works in.
  struct Workspace {
    std::atomic<bool> taken{false};
    Array<float> arena;
    Array<View> views;
    Array<int32_t> indices;
  };

  Status check_packed(const cf_tensor* tensors) const;
  Status pack(const cf_tensor* tensors);
  Status plan();
  bool allocate(Workspace& workspace) const;
  Workspace* take_workspace();
  Status run_timed(const float* x, int items, int tokens, const int32_t* lengths, float* out,
                   const Stopwatch* stopwatch);
  void run_chunk(Workspace& workspace, Pool* pool, const float* x, int items, int tokens,
                 const int32_t* lengths, float* out, const Stopwatch* stopwatch) const;
  void run_stack(const Step* first, const Workspace& workspace, const Context& context,
                 const Batch& batch) const;
  void run_step(const Step& step, const Workspace& workspace, const Context& context,
                const Batch& batch) const;
  Batch make_batch(int32_t* indices, int items, int tokens, const int32_t* lengths) const;

  Program program_;
  const Table* table_ = nullptr;
  Pool pool_;
  Array<Step> steps_;
  Array<float> weights_;

  int chunk_items_ = 0;  // items of one token that fit into the arena
  int chunk_rows_ = 0;   // tokens that fit
  Array<Place> places_;
  size_t shared_scratch_ = 0;  // offsets, and the size of each thread's part
  size_t local_scratch_ = 0;
  size_t local_size_ = 0;
  size_t layer_size_ = 0;  // of the shared scratch, for each layer of a stack
  size_t arena_size_ = 0;
  size_t apart_size_ = 0;

  // The first workspace is made at load, another one when for the first time that many calls run at once, or threads of
  // a call that take its chunks one by one.
  static constexpr int kWorkspaces = 64;
  Workspace workspaces_[kWorkspaces];
};

}  // namespace claude_flow
