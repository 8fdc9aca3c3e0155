// target[:, column:] = sum_t softmax_t(<keys_t, weight>) source_t over an item's tokens
#include <new>

#include "ops/operands.h"
#include "ops/packer.h"
#include "ops/split.h"

namespace claude_flow {

namespace {

using namespace operands::attention_pool;

class AttentionPool final : public Op {
 public:
  Status check(Operands& o) override {
    CF_RETURN_IF_ERROR(o.read_tokens(source));
    CF_RETURN_IF_ERROR(o.read_tokens(keys));
    width_ = o.width(0);
    key_width_ = o.width(1);
    CF_RETURN_IF_ERROR(o.vector(weight, key_width_, weight_));
    return o.write_items(target, column, width_);
  }

  void prepack(Packer& packer) override { vector_ = packer.copy(weight_); }

  Scratch scratch(const Table&, const Sizes& most) const override { return {to_size(most.tokens), 0}; }

  void run(const Context& context, const Batch& batch, const View* reads, View out) const override {
    const View values = reads[0], keys = reads[1];
    const int64_t work = int64_t{batch.rows} * (width_ + key_width_);
    split(context, work, kWorthSplitting, batch.items, 1, [&](int begin, int end, int thread) {
      for (int item = begin; item < end; ++item) {
        const ptrdiff_t row = batch.first_row[item];
        context.table->attention_pool_f32(
            {values.data + row * values.ld, values.ld, keys.data + row * keys.ld, keys.ld, vector_,
             out.data + item * out.ld, batch.length[item], width_, key_width_, context.local_of(thread)});
      }
    });
  }

 private:
  int width_ = 0, key_width_ = 0, weight_ = -1;
  const float* vector_ = nullptr;
};

}  // namespace

Op* make_attention_pool() { return new (std::nothrow) AttentionPool; }

}  // namespace claude_flow
