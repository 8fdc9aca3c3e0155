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

// The rows of x[4 * units, columns] (columns = 1 for a bias) in packed order: [4 * padded_units, columns].
void order_lstm_gates(const Table& table, const float* x, int units, int columns, float* ordered);

}  // namespace claude_flow
