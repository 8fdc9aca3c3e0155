// A model ready to run: checked program, packed weights, one planned arena.
#pragma once

#include <atomic>

#include "base/array.h"
#include "base/pool.h"
#include "base/status.h"
#include "model/program.h"

namespace claude_flow {

class Model {
 public:
  explicit Model(int threads) : pool_(threads) {}

  Status load(const int32_t* words, size_t count, const cf_tensor* tensors, size_t tensor_count,
              const char* isa);
  // Safe to call from many threads at once: each call has a workspace of its own, and one of them has the
  // pool.
  Status run(const cf_call& call);
  cf_info info() const;
  const Program& program() const { return program_; }
#ifdef __wasm_atomics__
  void serve(int thread) { pool_.serve(thread); }
#endif

 private:
  // Where a value lives in the arena, from its first write to its last read.
  struct Place {
    size_t offset, floats;
    int begin, end;
    ptrdiff_t ld;
  };

  // What the caller asked for, and how many tokens its items have along each axis.
  struct Request {
    const cf_call& call;
    int tokens[kMaxAxes + 1];
    const int32_t* lengths[kMaxAxes + 1];  // or null: every token is real
  };
  // What one call works in.
  struct Workspace {
    Array<float> arena;
    Array<View> views;
    Array<int32_t> indices;
    Batch batches[kMaxAxes + 1] = {};  // by axis
  };
  struct Slot {
    static constexpr uint64_t kFree = UINT64_MAX;
    std::atomic<uint64_t> taken_in{kFree};       // the generation of the process whose call has it
    std::atomic<Workspace*> workspace{nullptr};  // whole or none, also where a fork came while it was made
    ~Slot() { delete workspace.load(); }
  };

  // At load, one after the other.
  Status pack(const cf_tensor* tensors);
  Status plan();
  void find_stacks();
  void size_chunks();
  void find_lifetimes();
  void place_values();
  void size_scratch();
  Status size_arena();
  Sizes sizes(const Op& op, int items) const;
  int layers_from(size_t op) const;

  Status check(Request& request) const;
  Status check_input(int index, const cf_input& input, int items) const;
  Workspace* make_workspace() const;
  Slot* take_slot();
  // Of a chunk of items, one after the other.
  void run_chunk(Workspace& workspace, Pool* pool, const Request& request, int first, int items) const;
  void make_batches(Workspace& workspace, const Request& request, int first, int items) const;
  void place_views(Workspace& workspace) const;
  void read_inputs(Workspace& workspace, const Request& request, int first) const;
  bool write_in_place(Workspace& workspace, const Request& request, float* out) const;
  void run_ops(const Workspace& workspace, const Context& context, const cf_call& call) const;
  void scatter_output(const Workspace& workspace, const Request& request, float* out) const;
  void run_stack(size_t first, const Workspace& workspace, const Context& context) const;
  void run_op(const Op& op, const Workspace& workspace, const Context& context, const Batch& batch) const;

  Program program_;
  const Table* table_ = nullptr;
  Pool pool_;
  Array<float> weights_;

  Array<int> stacks_;  // per op: ops from it on that are layers of an LSTM, each reading the one before; or 1
  int chunk_rows_[kMaxAxes + 1] = {};  // that fit into the arena, by axis
  Array<Place> places_;
  uint64_t values_size_ = 0;  // floats of all places, shared out in the arena and
  uint64_t apart_size_ = 0;   // apart
  size_t shared_size_ = 0;    // floats of an op's scratch,
  size_t layer_size_ = 0;     // of which each layer of a stack has so many,
  size_t local_size_ = 0;     // and of each thread's
  size_t arena_size_ = 0;

  // The first workspace is made at load, another one when for the first time that many calls run at once, or threads of
  // a call that take its chunks one by one.
  static constexpr int kWorkspaces = 64;
  Slot slots_[kWorkspaces];
};

}  // namespace claude_flow
