// One struct per kernel: its whole contract. Matrices are row-major, `ld_x` is the distance between rows of x
// in floats. A kernel allocates nothing, throws nothing, logs nothing, reads and writes only what its struct
// names.
#pragma once

#include <cstddef>
#include <cstdint>

#include "claude_flow.h"

namespace claude_flow {

enum class Activation : int32_t {
  kNone = CF_NONE,
  kRelu = CF_RELU,
  kGelu = CF_GELU,
  kTanh = CF_TANH,
  kSigmoid = CF_SIGMOID,
  kExp = CF_EXP
};
constexpr int kProgramActivations = CF_EXP;  // a program names those below; kExp serves single kernels only

// A kernel is Consistent when its result has the same bits on every instruction set. A model with 8-bit
// weights runs only such kernels; those named *_consistent_f32 are their namesakes without FMA.

// c[rows, columns] = act(a[rows, depth] w[columns, depth]^T + bias) + residual
struct GemmF32 {
  const float* a;
  ptrdiff_t ld_a;
  const float* packed;    // w by pack_gemm_f32 for the table's tile_columns
  const float* bias;      // [columns] or null
  const float* residual;  // [rows, columns] or null; may not overlap c
  ptrdiff_t ld_residual;
  float* c;
  ptrdiff_t ld_c;
  int rows, columns, depth;
  Activation activation;
  float* scratch;  // the table's gemm_scratch floats, on a cache line
};

// Activations of 7 bits, affine per row: x = scale (q - zero), q in 0..127. A row of q lies in blocks of
// kQuantBlock bytes, `block` bytes apart, and kQuantPitch from the next row; bytes up to the next multiple of
// eight behind the depth are 0. Rows a power of two apart would share cache sets, hence the pitch.
constexpr int kQuantBlock = 1024;
constexpr int kQuantPitch = kQuantBlock + 64;
struct QuantizedRows {
  uint8_t* q;
  float* scale;   // [rows]
  int32_t* zero;  // [rows]
  ptrdiff_t block;
};

// Quantizes rows to the range of each, or to the given one. A row with a NaN or an infinity gets the scale
// NaN. Consistent.
struct QuantizeF32U7 {
  const float* x;
  ptrdiff_t ld_x;
  QuantizedRows to;
  int rows, columns;
  const float* range;  // {lowest <= 0, highest >= 0}, or null: each row's own
};

// c[rows, columns] = act(scale_a scale_w (q - zero) w^T + bias) + residual; integer products are exact.
// Consistent.
struct GemmU7I8 {
  QuantizedRows a;
  const int8_t* packed;  // w[columns, depth] by pack_gemm_i8
  const int32_t* sums;   // of each row of w; this and the scales are padded to whole tiles
  const float* scales;   // of each row of w
  const float* bias;     // [columns] or null
  const float* residual;
  ptrdiff_t ld_residual;
  float* c;
  ptrdiff_t ld_c;
  int rows, columns, depth;
  Activation activation;
};

// 4-bit weights, -8..7, have a scale for every kGroupDepth of the depth.
constexpr int kGroupDepth = 64;
static_assert(kQuantBlock % kGroupDepth == 0 && kGroupDepth % 8 == 0, "a group lies in one block");
constexpr int groups_of(int depth) { return (depth + kGroupDepth - 1) / kGroupDepth; }

// c[rows, columns] = act(scale_a (sum over groups g of scale_w[g] (q w^T)_g - zero sums) + bias) + residual; the integer
// products of a group are exact, the groups are added in order. Consistent.
struct GemmU7I4 {
  QuantizedRows a;
  const int8_t* packed;  // w[columns, depth], two in a byte, by pack_gemm_i4
  const float* scales;   // by scale_gemm_i4
  const float* sums;     // of each row of w with its scales; padded to whole tiles
  const float* bias;     // [columns] or null
  const float* residual;
  ptrdiff_t ld_residual;
  float* c;
  ptrdiff_t ld_c;
  int rows, columns, depth;
  Activation activation;
};

// y[i] = act(x[i]) for i < n; y may be x.
struct ActivationF32 {
  const float* x;
  float* y;
  int n;
  Activation activation;
};

// y = (x - mean) / sqrt(variance + epsilon) * gamma + beta per row; y may be x. Consistent.
struct LayerNormF32 {
  const float* x;
  ptrdiff_t ld_x;
  const float* gamma;  // [columns]
  const float* beta;   // [columns]
  float* y;
  ptrdiff_t ld_y;
  int rows, columns;
  float epsilon;
};

// y = e^(x - max) / sum per row; y may be x.
struct SoftmaxF32 {
  const float* x;
  ptrdiff_t ld_x;
  float* y;
  ptrdiff_t ld_y;
  int rows, columns;
};

// One head of one item: y[tokens, width] = softmax(q k^T / sqrt(width)) v
struct AttentionF32 {
  const float* q;  // [tokens, width] each, rows ld_qkv apart
  const float* k;
  const float* v;
  ptrdiff_t ld_qkv;
  float* y;
  ptrdiff_t ld_y;
  int tokens, width;
  float* scratch;  // attention_scratch(tokens, width) floats, on a cache line
};

// One time step of an LSTM for `items` sequences and the units of `blocks` (table: lstm_units each, the last
// one padded):
//   i, f, o = sigmoid(gates), g = tanh(gates), gates = inputs + h(t-1) r^T
//   cell = f cell + i g,  h(t) = o tanh(cell)
// Row j of the step is row first_row[j] + step of `inputs` and `h`. At step 0, h(t-1) = 0 and f cell = 0.
struct LstmStepF32 {
  const float* inputs;  // [rows, 4 * padded units]: x w^T + bias, the columns by lstm_gate_row()
  ptrdiff_t ld_inputs;
  const float* packed;  // r[4 * units, units] by pack_lstm_f32
  float* h;             // [rows, units]
  ptrdiff_t ld_h;
  float* cell;  // [items, padded units]
  const int32_t* first_row;
  int items, units, step;
  int first_block, last_block;  // half-open range of unit blocks
};

// The same with 8-bit recurrent weights; h(t-1) comes quantized, row j of `before` for item j. Consistent.
struct LstmStepU7I8 {
  const float* inputs;
  ptrdiff_t ld_inputs;
  QuantizedRows before;
  const int8_t* packed;  // r[4 * units, units] by pack_lstm_i8
  const int32_t* sums;   // of each row of r, in packed gate order, as the scales
  const float* scales;
  float* h;
  ptrdiff_t ld_h;
  float* cell;
  const int32_t* first_row;
  int items, units, step;
  int first_block, last_block;
};

// The same with 4-bit recurrent weights; scales and sums as for GemmU7I4, in packed gate order. Consistent.
struct LstmStepU7I4 {
  const float* inputs;
  ptrdiff_t ld_inputs;
  QuantizedRows before;
  const int8_t* packed;  // r[4 * units, units] by pack_lstm_i4
  const float* scales;
  const float* sums;
  float* h;
  ptrdiff_t ld_h;
  float* cell;
  const int32_t* first_row;
  int items, units, step;
  int first_block, last_block;
};

// y[width] = sum_t softmax_t(<keys_t, vector>) values_t. Consistent.
struct AttentionPoolF32 {
  const float* values;  // [tokens, width]
  ptrdiff_t ld_values;
  const float* keys;  // [tokens, key_width]
  ptrdiff_t ld_keys;
  const float* vector;  // [key_width]
  float* y;
  int tokens, width, key_width;
  float* scratch;  // tokens floats
};

// Per row and group of `group` columns: the first `quantiles` columns r become q with, for m = quantiles / 2,
// q[m] = r[m], q[i+1] = q[i] + softplus(r[i+1]) above m and q[i-1] = q[i] - softplus(r[i-1]) below; other
// columns pass. Consistent.
struct MonotoneF32 {
  const float* x;
  ptrdiff_t ld_x;
  float* y;
  ptrdiff_t ld_y;
  int rows, columns, quantiles, group;
};

constexpr int kCeilingColumns = 192;

// y[columns] = x after `steps` times x = x scale + shift; kCeilingColumns keep the units of every instruction set
// busy. y may be x.
struct CeilingFmaF32 {
  const float* x;
  float* y;
  int columns;
  ptrdiff_t steps;
  float scale, shift;
};

// y[kCeilingColumns] = x after `steps` times x = x + <u, the four signed bytes of x>. That each sum is its own factor
// leaves a compiler nothing to do only once.
struct CeilingDotU7I8 {
  const int32_t* x;
  const uint8_t* u;  // [4], each <= 127
  float* y;
  ptrdiff_t steps;
};

// y = the sum of x[count], in any order.
struct CeilingReadF32 {
  const float* x;
  float* y;
  ptrdiff_t count;
};

}  // namespace claude_flow
