// target = (source - mean) / sqrt(variance + epsilon) * weight + bias over the width
#include <cstring>
#include <new>

#include "ops/operands.h"
#include "ops/packer.h"
#include "ops/split.h"

namespace claude_flow {

namespace {

using namespace operands::layer_norm;

class LayerNorm final : public Op {
 public:
  Status check(Operands& o) override {
    CF_RETURN_IF_ERROR(o.read(source));
    width_ = o.width();
    CF_RETURN_IF_ERROR(o.vector(weight, width_, weight_));
    CF_RETURN_IF_ERROR(o.vector(bias, width_, bias_));
    const int32_t bits = o[epsilon];
    std::memcpy(&epsilon_, &bits, sizeof epsilon_);
    if (!(epsilon_ > 0.0f && epsilon_ <= 1.0f)) return o.bad("epsilon is not in (0, 1]");
    return o.write_all(target, width_);
  }

  void prepack(Packer& packer) override {
    gamma_ = packer.copy(weight_);
    beta_ = packer.copy(bias_);
  }

  void run(const Context& context, const Batch& batch, const View* reads, View out) const override {
    const View in = reads[0];
    const int64_t work = int64_t{batch.rows} * width_ * 8;
    split(context, work, kWorthSplitting, batch.rows, 1, [&](int begin, int end, int) {
      context.table->layer_norm_f32({in.data + begin * in.ld, in.ld, gamma_, beta_, out.data + begin * out.ld,
                                     out.ld, end - begin, width_, epsilon_});
    });
  }

 private:
  int width_ = 0, weight_ = -1, bias_ = -1;
  float epsilon_ = 0.0f;
  const float *gamma_ = nullptr, *beta_ = nullptr;
};

}  // namespace

Op* make_layer_norm() { return new (std::nothrow) LayerNorm; }

}  // namespace claude_flow
