// Weights in the order in which the kernels read them.
#pragma once

#include "kernels/table.h"

namespace claude_flow {

// w[columns, depth] -> panels [columns / tile_columns, rounded up][depth][tile_columns], zeros behind the
// last column.
size_t packed_gemm_size(const Table& table, int columns, int depth);
void pack_gemm_f32(const Table& table, const float* w, int columns, int depth, float* packed);

// An LSTM's gates come in rows i, f, g, o of `units` each. The kernels want, per block of lstm_units units,
// the four gates side by side: packed column c is row lstm_gate_row(c) of the weights, or -1 in the padding.
int padded_units(const Table& table, int units);
int lstm_gate_row(const Table& table, int units, int column);

// r[4 * units, units] -> blocks [padded_units / lstm_units][units][4 * lstm_units]
size_t packed_lstm_size(const Table& table, int units);
void pack_lstm_f32(const Table& table, const float* r, int units, float* packed);

// The same for 8-bit weights, in groups of four along the depth: panels [columns / tile_columns, rounded up]
// [depth / 4, rounded up][tile_columns][4]; and what is packed -> per column (padded to whole tiles) the sum over its
// depth.
size_t packed_gemm_i8_size(const Table& table, int columns, int depth);
int padded_columns(const Table& table, int columns);
void pack_gemm_i8(const Table& table, const int8_t* w, int columns, int depth, int8_t* packed);
void sum_gemm_i8(const Table& table, const int8_t* packed, int columns, int depth, int32_t* sums);

// r[4 * units, units] -> blocks [padded_units / lstm_units][units / 4, rounded up][4 * lstm_units][4], and sums
// in packed gate order.
size_t packed_lstm_i8_size(const Table& table, int units);
void pack_lstm_i8(const Table& table, const int8_t* r, int units, int8_t* packed);
void sum_lstm_i8(const Table& table, const int8_t* packed, int units, int32_t* sums);

// 4-bit weights w[columns, depth], two in a byte and the even one in its low half, in groups of eight along the depth:
// panels [columns / tile_columns, rounded up][depth / 8, rounded up][tile_columns][4], where byte i of a group holds its
// weights i and i + 4. Scales [columns, groups] -> panels [..][groups][tile_columns], divided by the 16 that unpacked
// weights are too large; and what is packed -> per column the scaled sum over its depth.
size_t packed_gemm_i4_size(const Table& table, int columns, int depth);
void pack_gemm_i4(const Table& table, const int8_t* w, int columns, int depth, int8_t* packed);
void scale_gemm_i4(const Table& table, const float* scale, int columns, int depth, float* scales);
void sum_gemm_i4(const Table& table, const int8_t* packed, const float* scales, int columns, int depth,
                 float* sums);

// The same for r[4 * units, units] in blocks of 4 * lstm_units columns, in packed gate order.
size_t packed_lstm_i4_size(const Table& table, int units);
void pack_lstm_i4(const Table& table, const int8_t* r, int units, int8_t* packed);
void scale_lstm_i4(const Table& table, const float* scale, int units, float* scales);
void sum_lstm_i4(const Table& table, const int8_t* packed, const float* scales, int units, float* sums);

// The rows of x[4 * units, columns] (columns = 1 for a bias) in packed order: [4 * padded_units, columns].
template <class T>
void order_lstm_gates(const Table& table, const T* x, int units, int columns, T* ordered);

}  // namespace claude_flow
