// target = the hidden states of an LSTM from a zero state; gates in the order i, f, g, o.
#include <new>

#include "ops/packer.h"
#include "ops/product.h"
#include "ops/recurrence.h"

namespace claude_flow {

namespace {

using namespace operands::lstm;

class Lstm final : public Op {
 public:
  Status check(Operands& o) override {
    CF_RETURN_IF_ERROR(shape_.check(o, source, weight, recurrent, bias, CF_F32));
    return o.write_all(target, shape_.units);
  }

  void prepack(Packer& packer) override {
    const Table& table = packer.table();
    const int gates = shape_.gates(table), units = shape_.units, depth = shape_.depth;
    input_.columns = gates;
    input_.depth = depth;
    input_.bias = packer.place<float>(to_size(gates), [&](float* to) {
      if (shape_.bias >= 0) order_lstm_gates(table, packer.data<float>(shape_.bias), units, 1, to);
    });
    input_.packed = packer.matrix<float>(shape_.weight, packed_gemm_size(table, gates, depth),
                                         [&](const float* w, float* to) {
                                           Array<float> ordered;
                                           if (!ordered.allocate(to_size(gates) * to_size(depth)))
                                             return packer.fail(Status::no_memory());
                                           order_lstm_gates(table, w, units, depth, ordered.data());
                                           pack_gemm_f32(table, ordered.data(), gates, depth, to);
                                         });
    recurrent_ = packer.matrix<float>(shape_.recurrent, packed_lstm_size(table, units),
                                      [&](const float* r, float* to) { pack_lstm_f32(table, r, units, to); });
  }

  Scratch scratch(const Table& table, const Sizes& most) const override {
    return {table.gemm_scratch, shape_.scratch(table, most)};
  }

  size_t recurrent_bytes(const Table& table) const override {
    return packed_lstm_size(table, shape_.units) * sizeof(float);
  }

  void run(const Context& context, const Batch& batch, const View* reads, View out) const override {
    const View in = reads[0];
    const ptrdiff_t gates = input_.columns;
    float* inputs = context.shared;
    float* cell = inputs + gates * batch.rows;
    each_rows(batch, [&](int row, int rows) {
      run_product(context, input_, {in.data + row * in.ld, in.ld}, {}, {inputs + row * gates, gates}, rows);
    });

    const auto kernel =
        context.consistent ? context.table->lstm_step_consistent_f32 : context.table->lstm_step_f32;
    each_step(
        context, batch, input_.columns / (4 * context.table->lstm_units), gates * shape_.units,
        [](int, int, int) {},
        [&](int t, int item, int items, int block, int block_end) {
          kernel({inputs, gates, recurrent_, out.data, out.ld, cell + item * (gates / 4),
                  batch.longest_first + item, items, shape_.units, t, block, block_end});
        });
  }

 private:
  Recurrence shape_ = {};
  Product input_ = {};  // to 4 * padded units, in packed gate order
  const float* recurrent_ = nullptr;
};

}  // namespace

Op* make_lstm() { return new (std::nothrow) Lstm; }

}  // namespace claude_flow
