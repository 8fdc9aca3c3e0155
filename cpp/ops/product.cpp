#include "ops/product.h"

#include "base/array.h"
#include "ops/split.h"

namespace claude_flow {

void run_product(const Context& context, const Product& p, View in, View residual, View out, int rows) {
  const int64_t work = int64_t{rows} * p.columns * p.depth;
  const auto gemm = context.consistent ? context.table->gemm_consistent_f32 : context.table->gemm_f32;
  split_product(
      context, work, rows, p.columns, [&](int row, int row_end, int column, int column_end, int thread) {
        const ptrdiff_t r = row, c = column;
        gemm({in.data + r * in.ld, in.ld, p.packed + c * p.depth, p.bias == nullptr ? nullptr : p.bias + c,
              residual.data == nullptr ? nullptr : residual.data + r * residual.ld + c, residual.ld,
              out.data + r * out.ld + c, out.ld, row_end - row, column_end - column, p.depth, p.activation,
              context.local_of(thread)});
      });
}

QuantizedRows quantized_rows(float* scratch, int rows) {
  float* scale = scratch;
  int32_t* zero = reinterpret_cast<int32_t*>(scale + rows);
  const size_t head = round_up(2 * static_cast<size_t>(rows), kCacheLine / sizeof(float));
  return {reinterpret_cast<uint8_t*>(scratch + head), scale, zero,
          static_cast<ptrdiff_t>(rows) * kQuantPitch};
}

size_t quantized_size(int rows, int depth) {
  return round_up(2 * static_cast<size_t>(rows), kCacheLine / sizeof(float)) +
         static_cast<size_t>(rows) *
             static_cast<size_t>((depth + kQuantBlock - 1) / kQuantBlock * kQuantPitch) / sizeof(float);
}

namespace {

template <class Product>
QuantizedRows quantize(const Context& context, const Product& p, View in, int rows, float* scratch) {
  const QuantizedRows q = quantized_rows(scratch, rows);
  if (!p.quantized) {
    split(context, int64_t{rows} * p.depth * 4, kWorthSplitting, rows, 1, [&](int begin, int end, int) {
      context.table->quantize_f32_u7(
          {in.data + begin * in.ld, in.ld, from_row(q, begin), end - begin, p.depth, p.range});
    });
  }
  return q;
}

}  // namespace

void run_product_i8(const Context& context, const ProductI8& p, View in, View residual, View out, int rows,
                    float* scratch) {
  const QuantizedRows q = quantize(context, p, in, rows, scratch);
  const int64_t work = int64_t{rows} * p.columns * p.depth / 3;
  split_product(context, work, rows, p.columns, [&](int row, int row_end, int column, int column_end, int) {
    const ptrdiff_t r = row, c = column;
    context.table->gemm_u7i8({from_row(q, row), p.packed + c * ((p.depth + 3) / 4 * 4), p.sums + c,
                              p.scales + c, p.bias == nullptr ? nullptr : p.bias + c,
                              residual.data == nullptr ? nullptr : residual.data + r * residual.ld + c,
                              residual.ld, out.data + r * out.ld + c, out.ld, row_end - row,
                              column_end - column, p.depth, p.activation});
  });
}

void run_product_i4(const Context& context, const ProductI4& p, View in, View residual, View out, int rows,
                    float* scratch) {
  const QuantizedRows q = quantize(context, p, in, rows, scratch);
  const int64_t work = int64_t{rows} * p.columns * p.depth / 3;
  split_product(context, work, rows, p.columns, [&](int row, int row_end, int column, int column_end, int) {
    const ptrdiff_t r = row, c = column;
    context.table->gemm_u7i4(
        {from_row(q, row), p.packed + c * ((p.depth + 7) / 8 * 4), p.scales + c * groups_of(p.depth),
         p.sums + c, p.bias == nullptr ? nullptr : p.bias + c,
         residual.data == nullptr ? nullptr : residual.data + r * residual.ld + c, residual.ld,
         out.data + r * out.ld + c, out.ld, row_end - row, column_end - column, p.depth, p.activation});
  });
}

}  // namespace claude_flow
