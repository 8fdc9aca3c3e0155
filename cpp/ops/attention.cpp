// target = softmax(q k^T / sqrt(width / heads)) v within each item and head; q, k, v are thirds of the source.
#include <new>

#include "ops/operands.h"
#include "ops/split.h"

namespace claude_flow {

namespace {

using namespace operands::attention;

class Attention final : public Op {
 public:
  Status check(Operands& o) override {
    CF_RETURN_IF_ERROR(o.read_tokens(source));
    width_ = o.width() / 3;
    heads_ = o[heads];
    if (o.width() % 3 != 0) return o.bad("q, k, v together are %d wide, not a multiple of 3", o.width());
    if (heads_ < 1 || width_ % heads_ != 0) {
      return o.bad("width %d does not divide into %d heads", width_, heads_);
    }
    return o.write_all(target, width_);
  }

  Scratch scratch(const Table& table, const Sizes& most) const override {
    return {table.attention_scratch(most.tokens, width_ / heads_), 0};
  }

  void run(const Context& context, const Batch& batch, const View* reads, View out) const override {
    const View qkv = reads[0];
    const int head_width = width_ / heads_;
    const int64_t work = int64_t{batch.rows} * batch.longest * width_ * 2;
    const auto kernel = context.consistent ? context.table->attention_u7i8 : context.table->attention_f32;
    split(context, work, kWorthSplitting, batch.items * heads_, 1, [&](int begin, int end, int thread) {
      for (int i = begin; i < end; ++i) {
        const int item = i / heads_, column = i % heads_ * head_width;
        const float* q = qkv.data + batch.first_row[item] * qkv.ld + column;
        float* y = out.data + batch.first_row[item] * out.ld + column;
        kernel({q, q + width_, q + 2 * width_, qkv.ld, y, out.ld, batch.length[item], head_width,
                context.local_of(thread)});
      }
    });
  }

 private:
  int width_ = 0, heads_ = 0;
};

}  // namespace

Op* make_attention() { return new (std::nothrow) Attention; }

}  // namespace claude_flow
