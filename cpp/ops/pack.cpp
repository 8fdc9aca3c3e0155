#include "ops/pack.h"

#include <cstring>

namespace claude_flow {

namespace {

int round_up_to(int n, int multiple) { return (n + multiple - 1) / multiple * multiple; }

}  // namespace

size_t packed_gemm_size(const Table& table, int columns, int depth) {
  return static_cast<size_t>(round_up_to(columns, table.tile_columns)) * static_cast<size_t>(depth);
}

void pack_gemm_f32(const Table& table, const float* w, int columns, int depth, float* packed) {
  const int tile = table.tile_columns;
  for (int first = 0; first < columns; first += tile) {
    for (int k = 0; k < depth; ++k) {
      for (int c = first; c < first + tile; ++c) {
        *packed++ = c < columns
                        ? w[static_cast<size_t>(c) * static_cast<size_t>(depth) + static_cast<size_t>(k)]
                        : 0.0f;
      }
    }
  }
}

int padded_units(const Table& table, int units) { return round_up_to(units, table.lstm_units); }

int lstm_gate_row(const Table& table, int units, int column) {
  const int lanes = table.lstm_units;
  const int unit = column / (4 * lanes) * lanes + column % lanes;
  const int gate = column / lanes % 4;
  return unit < units ? gate * units + unit : -1;
}

size_t packed_lstm_size(const Table& table, int units) {
  return static_cast<size_t>(padded_units(table, units)) * 4 * static_cast<size_t>(units);
}

void pack_lstm_f32(const Table& table, const float* r, int units, float* packed) {
  const int block = 4 * table.lstm_units;
  for (int first = 0; first < 4 * padded_units(table, units); first += block) {
    for (int k = 0; k < units; ++k) {
      for (int column = first; column < first + block; ++column) {
        const int row = lstm_gate_row(table, units, column);
        *packed++ = row < 0 ? 0.0f : r[static_cast<ptrdiff_t>(row) * units + k];
      }
    }
  }
}

void order_lstm_gates(const Table& table, const float* x, int units, int columns, float* ordered) {
  const size_t bytes = static_cast<size_t>(columns) * sizeof(float);
  for (int column = 0; column < 4 * padded_units(table, units); ++column, ordered += columns) {
    const int row = lstm_gate_row(table, units, column);
    if (row < 0) {
      std::memset(ordered, 0, bytes);
    } else {
      std::memcpy(ordered, x + static_cast<ptrdiff_t>(row) * columns, bytes);
    }
  }
}

}  // namespace claude_flow
