// The matrix products behind a linear layer and an LSTM's inputs, of floats and of bytes.
#pragma once

#include "ops/op.h"

namespace claude_flow {

// out = act(in W^T + bias) + residual
struct Product {
  const float* packed;
  const float* bias;
  int columns, depth;
  Activation activation;
};

void run_product(const Context&, const Product&, View in, View residual, View out, int rows);

// With 8-bit weights: the sums and scales of their rows; the activations' range, or null for each row's own.
// `quantized` says that the scratch still holds the input in bytes, since the op before had the same one.
struct ProductI8 {
  const int8_t* packed;
  const int32_t* sums;
  const float* scales;
  const float* bias;
  const float* range;
  int columns, depth;
  Activation activation;
  bool quantized;
};

// With 4-bit weights: a scale per group of the depth, and the scaled sums of their rows.
struct ProductI4 {
  const int8_t* packed;
  const float* scales;
  const float* sums;
  const float* bias;
  const float* range;
  int columns, depth;
  Activation activation;
  bool quantized;
};

// With the quantized rows in `scratch`.
void run_product_i8(const Context&, const ProductI8&, View in, View residual, View out, int rows,
                    float* scratch);
void run_product_i4(const Context&, const ProductI4&, View in, View residual, View out, int rows,
                    float* scratch);

// Quantized rows in scratch, and the floats that rows of `depth` columns take.
QuantizedRows quantized_rows(float* scratch, int rows);
size_t quantized_size(int rows, int depth);
inline QuantizedRows from_row(const QuantizedRows& q, int row) {
  return {q.q + static_cast<ptrdiff_t>(row) * kQuantPitch, q.scale + row, q.zero + row, q.block};
}

}  // namespace claude_flow
