// Per group of columns: the first ones become non-crossing quantiles, the others pass (MonotoneF32 has the formula).
#include <new>

#include "ops/operands.h"

namespace claude_flow {

namespace {

using namespace operands::monotone;

class Monotone final : public Op {
 public:
  Status check(Operands& o) override {
    CF_RETURN_IF_ERROR(o.read(source));
    width_ = o.width();
    quantiles_ = o[quantiles];
    group_ = o[group];
    if (group_ < 1 || width_ % group_ != 0) {
      return o.bad("width %d does not divide into groups of %d", width_, group_);
    }
    if (quantiles_ < 1 || quantiles_ > group_) {
      return o.bad("%d quantiles in a group of %d", quantiles_, group_);
    }
    return o.write_all(target, width_);
  }

  void run(const Context& context, const Batch& batch, const View* reads, View out) const override {
    const View in = reads[0];
    context.table->monotone_f32({in.data, in.ld, out.data, out.ld, batch.rows, width_, quantiles_, group_});
  }

 private:
  int width_ = 0, quantiles_ = 0, group_ = 0;
};

}  // namespace

Op* make_monotone() { return new (std::nothrow) Monotone; }

}  // namespace claude_flow
