// A model ready to run: checked program, packed weights, one planned arena.
#pragma once

#include "base/array.h"
#include "base/status.h"
#include "model/program.h"
#include "ops/ops.h"

namespace claude_flow {

class Model {
 public:
  Status load(const int32_t* words, size_t count, const cf_tensor* tensors, size_t tensor_count,
              const char* isa, int threads);
  Status run(const float* x, int items, int tokens, const int32_t* lengths, float* out);
  // The same, with the time of each op.
  Status profile(const float* x, int items, int tokens, const int32_t* lengths, float* out, double (*clock)(),
                 cf_op_time* times);
  cf_info info() const;

 private:
  // An op with its weights packed; which members count depends on the code.
  struct Step {
    Op op;
    Linear linear;
    Lstm lstm;
    const float* first;   // gamma, or the pool's vector
    const float* second;  // beta
  };
  // Where a value lives in the arena, from its first write to its last read.
  struct Place {
    size_t offset, floats;
    int begin, end;
    ptrdiff_t ld;
  };

  Status pack(const cf_tensor* tensors);
  Status plan();
  struct Stopwatch {
    double (*clock)();
    cf_op_time* times;
  };
  Status run_timed(const float* x, int items, int tokens, const int32_t* lengths, float* out,
                   const Stopwatch* stopwatch);
  void run_chunk(const float* x, int items, int tokens, const int32_t* lengths, float* out,
                 const Stopwatch* stopwatch);
  void run_step(const Step& step, const Batch& batch);
  void make_batch(int items, int tokens, const int32_t* lengths, Batch& batch);

  Program program_;
  const Table* table_ = nullptr;
  int threads_ = 1;
  Array<Step> steps_;
  Array<float> weights_;

  int chunk_items_ = 0;  // items of one token that fit into the arena
  int chunk_rows_ = 0;   // tokens that fit
  Array<Place> places_;
  size_t scratch_ = 0;  // offset of the scratch
  Array<float> arena_;
  Array<View> views_;  // of this run
  Array<int32_t> indices_;
};

}  // namespace claude_flow
