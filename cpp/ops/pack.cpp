#include "ops/pack.h"

#include <cstring>

namespace claude_flow {

namespace {

int round_up_to(int n, int multiple) { return (n + multiple - 1) / multiple * multiple; }

// Panels of `panel` columns; source(column) is that column's weights, or null in the padding. The depth goes in
// blocks of one cache line, since columns are kilobytes apart, often in the same sets of the cache: reading them
// row by row took two thirds of the time that loading a model takes.
template <class Source>
void pack_floats(int depth, int panel, int columns, float* packed, const Source& source) {
  constexpr int kLine = 16;
  for (int first = 0; first < columns; first += panel) {
    for (int k = 0; k < depth; k += kLine) {
      const int last = depth - k < kLine ? depth : k + kLine;
      for (int c = 0; c < panel; ++c) {
        const float* weights = source(first + c);
        for (int i = k; i < last; ++i) packed[i * panel + c] = weights != nullptr ? weights[i] : 0.0f;
      }
    }
    packed += static_cast<ptrdiff_t>(depth) * panel;
  }
}

// The same with groups of four along the depth.
template <class Source>
void pack_bytes(int depth, int panel, int columns, int8_t* packed, const Source& source) {
  for (int first = 0; first < columns; first += panel) {
    for (int k = 0; k < depth; k += 4) {
      for (int column = first; column < first + panel; ++column) {
        const int8_t* weights = source(column);
        for (int i = k; i < k + 4; ++i) *packed++ = weights != nullptr && i < depth ? weights[i] : int8_t{0};
      }
    }
  }
}

// What pack_bytes wrote -> every column's sum.
void sum_bytes(const int8_t* packed, int depth, int panel, int columns, int32_t* sums) {
  for (int first = 0; first < columns; first += panel, sums += panel) {
    for (int c = 0; c < panel; ++c) sums[c] = 0;
    for (int k = 0; k < depth; k += 4) {
      for (int c = 0; c < panel; ++c, packed += 4) sums[c] += packed[0] + packed[1] + packed[2] + packed[3];
    }
  }
}

// The weight at `k` of a row of pairs.
int half_byte(const int8_t* pairs, int k) {
  const unsigned byte = static_cast<uint8_t>(pairs[k / 2]);
  return static_cast<int>(((k % 2 == 0 ? byte : byte >> 4) & 15u) ^ 8u) - 8;
}

template <class Source>
void pack_halves(int depth, int panel, int columns, int8_t* packed, const Source& source) {
  const auto weight = [&](const int8_t* row, int k) {
    return row != nullptr && k < depth ? static_cast<unsigned>(half_byte(row, k)) & 15u : 0u;
  };
  for (int first = 0; first < columns; first += panel) {
    for (int k = 0; k < depth; k += 8) {
      for (int column = first; column < first + panel; ++column) {
        const int8_t* row = source(column);
        for (int i = k; i < k + 4; ++i)
          *packed++ = static_cast<int8_t>(weight(row, i) | weight(row, i + 4) << 4);
      }
    }
  }
}

template <class Source>
void scale_halves(int groups, int panel, int columns, float* scales, const Source& source) {
  for (int first = 0; first < columns; first += panel) {
    for (int group = 0; group < groups; ++group) {
      for (int column = first; column < first + panel; ++column) {
        const float* row = source(column);
        *scales++ = row != nullptr ? row[group] / 16.0f : 0.0f;
      }
    }
  }
}

// In float and in the order of the groups, so that the bits do not depend on the panels.
void sum_halves(const int8_t* packed, const float* scales, int depth, int panel, int columns, float* sums) {
  for (int first = 0; first < columns; first += panel, sums += panel) {
    for (int c = 0; c < panel; ++c) sums[c] = 0;
    for (int group = 0; group < depth; group += kGroupDepth, scales += panel) {
      const int steps = ((depth - group < kGroupDepth ? depth - group : kGroupDepth) + 7) / 8;
      for (int c = 0; c < panel; ++c) {
        int sum = 0;
        for (int step = 0; step < steps; ++step) {
          const int8_t* bytes = packed + (static_cast<ptrdiff_t>(step) * panel + c) * 4;
          for (int i = 0; i < 8; ++i) sum += half_byte(bytes, i);
        }
        sums[c] += static_cast<float>(16 * sum) * scales[c];
      }
      packed += static_cast<ptrdiff_t>(steps) * panel * 4;
    }
  }
}

}  // namespace

size_t packed_gemm_size(const Table& table, int columns, int depth) {
  return static_cast<size_t>(round_up_to(columns, table.tile_columns)) * static_cast<size_t>(depth);
}

void pack_gemm_f32(const Table& table, const float* w, int columns, int depth, float* packed) {
  pack_floats(depth, table.tile_columns, round_up_to(columns, table.tile_columns), packed, [&](int column) {
    return column < columns ? w + static_cast<ptrdiff_t>(column) * depth : nullptr;
  });
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
  pack_floats(units, 4 * table.lstm_units, 4 * padded_units(table, units), packed, [&](int column) {
    const int row = lstm_gate_row(table, units, column);
    return row < 0 ? nullptr : r + static_cast<ptrdiff_t>(row) * units;
  });
}

template <class T>
void order_lstm_gates(const Table& table, const T* x, int units, int columns, T* ordered) {
  const size_t bytes = static_cast<size_t>(columns) * sizeof(T);
  for (int column = 0; column < 4 * padded_units(table, units); ++column, ordered += columns) {
    const int row = lstm_gate_row(table, units, column);
    if (row < 0) {
      std::memset(ordered, 0, bytes);
    } else {
      std::memcpy(ordered, x + static_cast<ptrdiff_t>(row) * columns, bytes);
    }
  }
}

template void order_lstm_gates(const Table&, const float*, int, int, float*);
template void order_lstm_gates(const Table&, const int8_t*, int, int, int8_t*);

int padded_columns(const Table& table, int columns) { return round_up_to(columns, table.tile_columns); }

size_t packed_gemm_i8_size(const Table& table, int columns, int depth) {
  return static_cast<size_t>(padded_columns(table, columns)) * static_cast<size_t>(round_up_to(depth, 4));
}

void pack_gemm_i8(const Table& table, const int8_t* w, int columns, int depth, int8_t* packed) {
  pack_bytes(depth, table.tile_columns, padded_columns(table, columns), packed, [&](int column) {
    return column < columns ? w + static_cast<ptrdiff_t>(column) * depth : nullptr;
  });
}

void sum_gemm_i8(const Table& table, const int8_t* packed, int columns, int depth, int32_t* sums) {
  sum_bytes(packed, depth, table.tile_columns, padded_columns(table, columns), sums);
}

size_t packed_lstm_i8_size(const Table& table, int units) {
  return static_cast<size_t>(padded_units(table, units)) * 4 * static_cast<size_t>(round_up_to(units, 4));
}

void pack_lstm_i8(const Table& table, const int8_t* r, int units, int8_t* packed) {
  pack_bytes(units, 4 * table.lstm_units, 4 * padded_units(table, units), packed, [&](int column) {
    const int row = lstm_gate_row(table, units, column);
    return row < 0 ? nullptr : r + static_cast<ptrdiff_t>(row) * units;
  });
}

void sum_lstm_i8(const Table& table, const int8_t* packed, int units, int32_t* sums) {
  sum_bytes(packed, units, 4 * table.lstm_units, 4 * padded_units(table, units), sums);
}

size_t packed_gemm_i4_size(const Table& table, int columns, int depth) {
  return static_cast<size_t>(padded_columns(table, columns)) * static_cast<size_t>(round_up_to(depth, 8) / 2);
}

void pack_gemm_i4(const Table& table, const int8_t* w, int columns, int depth, int8_t* packed) {
  pack_halves(depth, table.tile_columns, padded_columns(table, columns), packed, [&](int column) {
    return column < columns ? w + static_cast<ptrdiff_t>(column) * ((depth + 1) / 2) : nullptr;
  });
}

void scale_gemm_i4(const Table& table, const float* scale, int columns, int depth, float* scales) {
  const int groups = groups_of(depth);
  scale_halves(groups, table.tile_columns, padded_columns(table, columns), scales, [&](int column) {
    return column < columns ? scale + static_cast<ptrdiff_t>(column) * groups : nullptr;
  });
}

void sum_gemm_i4(const Table& table, const int8_t* packed, const float* scales, int columns, int depth,
                 float* sums) {
  sum_halves(packed, scales, depth, table.tile_columns, padded_columns(table, columns), sums);
}

size_t packed_lstm_i4_size(const Table& table, int units) {
  return static_cast<size_t>(padded_units(table, units)) * 4 * static_cast<size_t>(round_up_to(units, 8) / 2);
}

void pack_lstm_i4(const Table& table, const int8_t* r, int units, int8_t* packed) {
  pack_halves(units, 4 * table.lstm_units, 4 * padded_units(table, units), packed, [&](int column) {
    const int row = lstm_gate_row(table, units, column);
    return row < 0 ? nullptr : r + static_cast<ptrdiff_t>(row) * ((units + 1) / 2);
  });
}

void scale_lstm_i4(const Table& table, const float* scale, int units, float* scales) {
  const int groups = groups_of(units);
  scale_halves(groups, 4 * table.lstm_units, 4 * padded_units(table, units), scales, [&](int column) {
    const int row = lstm_gate_row(table, units, column);
    return row < 0 ? nullptr : scale + static_cast<ptrdiff_t>(row) * groups;
  });
}

void sum_lstm_i4(const Table& table, const int8_t* packed, const float* scales, int units, float* sums) {
  sum_halves(packed, scales, units, 4 * table.lstm_units, 4 * padded_units(table, units), sums);
}

}  // namespace claude_flow
