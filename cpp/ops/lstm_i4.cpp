// lstm on 4-bit weights with scales per group of the depth: the inputs are quantized row by row, the hidden state before each step.
#include <new>

#include "ops/packer.h"
#include "ops/product.h"
#include "ops/recurrence.h"

namespace claude_flow {

namespace {

using namespace operands::lstm_i4;

class LstmI4 final : public Op {
 public:
  Status check(Operands& o) override {
    CF_RETURN_IF_ERROR(o.read_tokens(source));
    shape_.depth = o.width();
    CF_RETURN_IF_ERROR(o.matrix(recurrent, CF_I8, Operands::kAny, Operands::kAny, shape_.recurrent));
    shape_.units = o.tensor(shape_.recurrent).shape[0] / 4;
    CF_RETURN_IF_ERROR(o.half_bytes(recurrent, recurrent_scale, 4 * shape_.units, shape_.units,
                                    shape_.recurrent, recurrent_scale_));
    CF_RETURN_IF_ERROR(o.half_bytes(weight, scale, 4 * shape_.units, shape_.depth, shape_.weight, scale_));
    shape_.bias = -1;
    CF_RETURN_IF_ERROR(o.optional_vector(bias, 4 * shape_.units, shape_.bias));
    return o.write_all(target, shape_.units);
  }

  void prepack(Packer& packer) override {
    const Table& table = packer.table();
    const int gates = shape_.gates(table), units = shape_.units, depth = shape_.depth;
    const int pairs = (depth + 1) / 2, groups = groups_of(depth);
    // The gates fill whole blocks but not always whole tiles.
    const auto padded = to_size(padded_columns(table, gates));
    input_.columns = gates;
    input_.depth = depth;
    input_.packed = packer.place<int8_t>(packed_gemm_i4_size(table, gates, depth), [&](int8_t* to) {
      Array<int8_t> rows;
      if (!rows.allocate(to_size(gates) * to_size(pairs))) return packer.fail(Status::no_memory());
      order_lstm_gates(table, packer.data<int8_t>(shape_.weight), units, pairs, rows.data());
      pack_gemm_i4(table, rows.data(), gates, depth, to);
    });
    input_.scales = packer.place<float>(padded * to_size(groups), [&](float* to) {
      Array<float> rows;
      if (!rows.allocate(to_size(gates) * to_size(groups))) return packer.fail(Status::no_memory());
      order_lstm_gates(table, packer.data<float>(scale_), units, groups, rows.data());
      scale_gemm_i4(table, rows.data(), gates, depth, to);
    });
    input_.sums = packer.place<float>(
        padded, [&](float* to) { sum_gemm_i4(table, input_.packed, input_.scales, gates, depth, to); });
    input_.bias = packer.place<float>(to_size(gates), [&](float* to) {
      if (shape_.bias >= 0) order_lstm_gates(table, packer.data<float>(shape_.bias), units, 1, to);
    });
    recurrent_ = packer.place<int8_t>(packed_lstm_i4_size(table, units), [&](int8_t* to) {
      pack_lstm_i4(table, packer.data<int8_t>(shape_.recurrent), units, to);
    });
    recurrent_scales_ = packer.place<float>(to_size(gates) * to_size(groups_of(units)), [&](float* to) {
      scale_lstm_i4(table, packer.data<float>(recurrent_scale_), units, to);
    });
    recurrent_sums_ = packer.place<float>(
        to_size(gates), [&](float* to) { sum_lstm_i4(table, recurrent_, recurrent_scales_, units, to); });
  }

  Scratch scratch(const Table& table, const Sizes& most) const override {
    return {0, shape_.scratch(table, most) + std::max(quantized_size(most.rows, shape_.depth),
                                                      quantized_size(most.items, shape_.units))};
  }

  size_t recurrent_bytes(const Table& table) const override {
    return packed_lstm_i4_size(table, shape_.units);
  }

  void run(const Context& context, const Batch& batch, const View* reads, View out) const override {
    const View in = reads[0];
    const int units = shape_.units;
    const ptrdiff_t gates = input_.columns;
    float* inputs = context.shared;
    float* cell = inputs + gates * batch.rows;
    float* scratch = cell + gates / 4 * batch.items;
    each_rows(batch, [&](int row, int rows) {
      run_product_i4(context, input_, {in.data + row * in.ld, in.ld}, {}, {inputs + row * gates, gates}, rows,
                     scratch);
    });

    const QuantizedRows h = quantized_rows(scratch, batch.items);
    each_step(
        context, batch, input_.columns / (4 * context.table->lstm_units), gates * units / 3,
        [&](int t, int item, int items) {
          for (int i = item; t > 0 && i < item + items; ++i) {
            const float* before = out.data + (batch.longest_first[i] + t - 1) * out.ld;
            context.table->quantize_f32_u7({before, out.ld, from_row(h, i), 1, units, nullptr});
          }
        },
        [&](int t, int item, int items, int block, int block_end) {
          context.table->lstm_step_u7i4({inputs, gates, from_row(h, item), recurrent_, recurrent_scales_,
                                         recurrent_sums_, out.data, out.ld, cell + item * (gates / 4),
                                         batch.longest_first + item, items, units, t, block, block_end});
        });
  }

 private:
  Recurrence shape_ = {};
  ProductI4 input_ = {};  // to 4 * padded units, in packed gate order
  const int8_t* recurrent_ = nullptr;
  const float* recurrent_scales_ = nullptr;
  const float* recurrent_sums_ = nullptr;
  int scale_ = -1, recurrent_scale_ = -1;
};

}  // namespace

Op* make_lstm_i4() { return new (std::nothrow) LstmI4; }

}  // namespace claude_flow
