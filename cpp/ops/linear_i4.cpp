// linear on 4-bit weights with a scale per group of the depth; without a range of the activations each row has its own.
#include <cmath>
#include <new>

#include "ops/operands.h"
#include "ops/pack.h"
#include "ops/packer.h"
#include "ops/product.h"

namespace claude_flow {

namespace {

using namespace operands::linear_i4;

class LinearI4 final : public Op {
 public:
  Status check(Operands& o) override {
    CF_RETURN_IF_ERROR(o.read(source));
    product_.depth = o.width();
    CF_RETURN_IF_ERROR(o.half_bytes(weight, scale, Operands::kAny, product_.depth, weight_, scale_));
    product_.columns = o.tensor(weight_).shape[0];
    CF_RETURN_IF_ERROR(o.optional_vector(range, 2, range_));
    CF_RETURN_IF_ERROR(check_range(o));
    CF_RETURN_IF_ERROR(o.optional_vector(bias, product_.columns, bias_));
    CF_RETURN_IF_ERROR(o.read_optional(residual, product_.columns));
    CF_RETURN_IF_ERROR(o.activation(activation, product_.activation));
    product_.quantized = same_bytes(o.before());
    return o.write(target, column, product_.columns);
  }

  void prepack(Packer& packer) override {
    const int columns = product_.columns, depth = product_.depth;
    const Table& table = packer.table();
    const auto padded = to_size(padded_columns(table, columns));
    product_.packed = packer.place<int8_t>(packed_gemm_i4_size(table, columns, depth), [&](int8_t* to) {
      pack_gemm_i4(table, packer.data<int8_t>(weight_), columns, depth, to);
    });
    product_.scales = packer.place<float>(padded * to_size(groups_of(depth)), [&](float* to) {
      scale_gemm_i4(table, packer.data<float>(scale_), columns, depth, to);
    });
    product_.sums = packer.place<float>(
        padded, [&](float* to) { sum_gemm_i4(table, product_.packed, product_.scales, columns, depth, to); });
    product_.bias = packer.copy(bias_);
    product_.range = packer.copy(range_);
  }

  Scratch scratch(const Table&, const Sizes& most) const override {
    return {0, quantized_size(most.rows, product_.depth)};
  }

  void run(const Context& context, const Batch& batch, const View* in, View out) const override {
    run_product_i4(context, product_, in[0], in[1], out, batch.rows, context.shared);
  }

 private:
  Status check_range(Operands& o) {
    if (range_ < 0) return Status();
    const float* bounds = static_cast<const float*>(o.tensor(range_).data);
    low_ = bounds[0];
    high_ = bounds[1];
    const bool holds = low_ <= 0.0f && high_ >= 0.0f && high_ - low_ > 0.0f && std::isfinite(high_ - low_);
    return holds ? Status() : o.bad("tensor %d: a range goes from at most 0 to at least 0", range_);
  }

  // Whether this op finds its input quantized by the one before it: a residual layer and its shortcut share one.
  bool same_bytes(const Op* before) const {
    if (before == nullptr || before->code != code || before->reads[0] != reads[0]) return false;
    const auto* other = static_cast<const LinearI4*>(before);
    return (range_ < 0) == (other->range_ < 0) && low_ == other->low_ && high_ == other->high_;
  }

  ProductI4 product_ = {};
  int weight_ = -1, scale_ = -1, bias_ = -1, range_ = -1;
  float low_ = 0.0f, high_ = 0.0f;
};

}  // namespace

Op* make_linear_i4() { return new (std::nothrow) LinearI4; }

}  // namespace claude_flow
