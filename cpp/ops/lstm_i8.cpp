// lstm on 8-bit weights: the inputs are quantized row by row, the hidden state before each step.
#include <new>

#include "ops/packer.h"
#include "ops/product.h"
#include "ops/recurrence.h"

namespace claude_flow {

namespace {

using namespace operands::lstm_i8;

class LstmI8 final : public Op {
 public:
  Status check(Operands& o) override {
    CF_RETURN_IF_ERROR(shape_.check(o, source, weight, recurrent, bias, CF_I8));
    CF_RETURN_IF_ERROR(o.vector(scale, 4 * shape_.units, scale_));
    CF_RETURN_IF_ERROR(o.vector(recurrent_scale, 4 * shape_.units, recurrent_scale_));
    return o.write_all(target, shape_.units);
  }

  void prepack(Packer& packer) override {
    const Table& table = packer.table();
    const int gates = shape_.gates(table), units = shape_.units, depth = shape_.depth;
    // The gates fill whole blocks but not always whole tiles.
    const auto padded = to_size(padded_columns(table, gates));
    const auto ordered = [&](int tensor, size_t count) {
      return packer.place<float>(count, [&](float* to) {
        if (tensor >= 0) order_lstm_gates(table, packer.data<float>(tensor), units, 1, to);
      });
    };
    input_.columns = gates;
    input_.depth = depth;
    input_.packed = packer.matrix<int8_t>(shape_.weight, packed_gemm_i8_size(table, gates, depth),
                                          [&](const int8_t* w, int8_t* to) {
                                            Array<int8_t> rows;
                                            if (!rows.allocate(to_size(gates) * to_size(depth)))
                                              return packer.fail(Status::no_memory());
                                            order_lstm_gates(table, w, units, depth, rows.data());
                                            pack_gemm_i8(table, rows.data(), gates, depth, to);
                                          });
    recurrent_ =
        packer.matrix<int8_t>(shape_.recurrent, packed_lstm_i8_size(table, units),
                              [&](const int8_t* r, int8_t* to) { pack_lstm_i8(table, r, units, to); });
    input_.bias = ordered(shape_.bias, to_size(gates));
    input_.sums = packer.place<int32_t>(
        padded, [&](int32_t* to) { sum_gemm_i8(table, input_.packed, gates, depth, to); });
    recurrent_sums_ = packer.place<int32_t>(to_size(gates),
                                            [&](int32_t* to) { sum_lstm_i8(table, recurrent_, units, to); });
    input_.scales = ordered(scale_, padded);
    recurrent_scales_ = ordered(recurrent_scale_, to_size(gates));
  }

  Scratch scratch(const Table& table, const Sizes& most) const override {
    return {0, shape_.scratch(table, most) + std::max(quantized_size(most.rows, shape_.depth),
                                                      quantized_size(most.items, shape_.units))};
  }

  size_t recurrent_bytes(const Table& table) const override {
    return packed_lstm_i8_size(table, shape_.units);
  }

  void run(const Context& context, const Batch& batch, const View* reads, View out) const override {
    const View in = reads[0];
    const int units = shape_.units;
    const ptrdiff_t gates = input_.columns;
    float* inputs = context.shared;
    float* cell = inputs + gates * batch.rows;
    float* scratch = cell + gates / 4 * batch.items;
    each_rows(batch, [&](int row, int rows) {
      run_product_i8(context, input_, {in.data + row * in.ld, in.ld}, {}, {inputs + row * gates, gates}, rows,
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
          context.table->lstm_step_u7i8({inputs, gates, from_row(h, item), recurrent_, recurrent_sums_,
                                         recurrent_scales_, out.data, out.ld, cell + item * (gates / 4),
                                         batch.longest_first + item, items, units, t, block, block_end});
        });
  }

 private:
  Recurrence shape_ = {};
  ProductI8 input_ = {};  // to 4 * padded units, in packed gate order
  const int8_t* recurrent_ = nullptr;
  const int32_t* recurrent_sums_ = nullptr;
  const float* recurrent_scales_ = nullptr;
  int scale_ = -1, recurrent_scale_ = -1;
};

}  // namespace

Op* make_lstm_i8() { return new (std::nothrow) LstmI8; }

}  // namespace claude_flow
