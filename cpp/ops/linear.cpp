// target[:, column:] = activation(source weight^T + bias) + residual
#include <new>

#include "ops/operands.h"
#include "ops/pack.h"
#include "ops/packer.h"
#include "ops/product.h"

namespace claude_flow {

namespace {

using namespace operands::linear;

class Linear final : public Op {
 public:
  Status check(Operands& o) override {
    CF_RETURN_IF_ERROR(o.read(source));
    product_.depth = o.width();
    CF_RETURN_IF_ERROR(o.matrix(weight, CF_F32, Operands::kAny, product_.depth, weight_));
    product_.columns = o.tensor(weight_).shape[0];
    CF_RETURN_IF_ERROR(o.optional_vector(bias, product_.columns, bias_));
    CF_RETURN_IF_ERROR(o.read_optional(residual, product_.columns));
    CF_RETURN_IF_ERROR(o.activation(activation, product_.activation));
    return o.write(target, column, product_.columns);
  }

  void prepack(Packer& packer) override {
    const int columns = product_.columns, depth = product_.depth;
    const Table& table = packer.table();
    product_.packed =
        packer.matrix<float>(weight_, packed_gemm_size(table, columns, depth),
                             [&](const float* w, float* to) { pack_gemm_f32(table, w, columns, depth, to); });
    product_.bias = packer.copy(bias_);
  }

  Scratch scratch(const Table& table, const Sizes&) const override { return {table.gemm_scratch, 0}; }

  void run(const Context& context, const Batch& batch, const View* in, View out) const override {
    run_product(context, product_, in[0], in[1], out, batch.rows);
  }

 private:
  Product product_ = {};
  int weight_ = -1, bias_ = -1;
};

}  // namespace

Op* make_linear() { return new (std::nothrow) Linear; }

}  // namespace claude_flow
