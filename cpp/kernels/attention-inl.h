// Attention of one head, softmax(q k^T / sqrt(width)) v, by online softmax: a tile of queries meets the keys
// block by block and keeps only its running maximum, sum and output, so no tokens x tokens matrix exists. k^T
// and v are packed once into GEMM panels, so both products run on the GEMM tile.
#pragma once

#include "kernels/gemm-inl.h"
#include "kernels/softmax-inl.h"

namespace claude_flow {
namespace {

constexpr float kLeast = -3.40282347e38f;

constexpr int padded_columns(int n) { return (n + kTileColumns - 1) / kTileColumns * kTileColumns; }

struct AttentionScratch {
  float* keys;     // [panels of tokens][width][kTileColumns]
  float* values;   // [panels of width][tokens][kTileColumns]
  float* queries;  // [kTileRows, kPitch]
  float* scores;   // [kTileRows, kPitch]
  float* output;   // [kTileRows, padded width]
  size_t total;

  AttentionScratch(float* base, int tokens, int width) {
    size_t at = 0;
    const auto take = [&](size_t floats) {
      float* p = base == nullptr ? nullptr : base + at;
      at += (floats + 15) / 16 * 16;
      return p;
    };
    keys = take(static_cast<size_t>(padded_columns(tokens)) * width);
    values = take(static_cast<size_t>(padded_columns(width)) * tokens);
    queries = take(static_cast<size_t>(kTileRows) * kPitch);
    scores = take(static_cast<size_t>(kTileRows) * kPitch);
    output = take(static_cast<size_t>(kTileRows) * padded_columns(width));
    total = at;
  }
};

// Rows t of x[tokens, width] become columns: panel[t / kTileColumns][i][t % kTileColumns] = x[t, i]. Nothing reads a score
// behind the last token, so the last panel's other columns stay as they are: filling them took half the time of 8 tokens.
CF_INLINE void pack_columns(const float* x, ptrdiff_t ld, int tokens, int width, float* packed) {
  for (int t = 0; t < tokens; ++t) {
    float* column =
        packed + static_cast<ptrdiff_t>(t / kTileColumns) * width * kTileColumns + t % kTileColumns;
    for (int i = 0; i < width; ++i) column[static_cast<ptrdiff_t>(i) * kTileColumns] = x[t * ld + i];
  }
}

CF_INLINE void pack_rows(const float* x, ptrdiff_t ld, int tokens, int width, float* packed) {
  for (int column = 0; column < width; column += kTileColumns) {
    float* panel = packed + static_cast<ptrdiff_t>(column) * tokens;
    for (int t = 0; t < tokens; ++t) {
      for (int i = 0; i < kTileColumns; i += kLanes) {
        const int left = width - column - i;
        const float* from = x + t * ld + column + i;
        const F v = left >= kLanes ? load(from) : left > 0 ? load(from, left) : splat(0.0f);
        store(panel + t * kTileColumns + i, v);
      }
    }
  }
}

void attention_f32(const AttentionF32& a) {
  const AttentionScratch scratch(a.scratch, a.tokens, a.width);
  pack_columns(a.k, a.ld_qkv, a.tokens, a.width, scratch.keys);
  pack_rows(a.v, a.ld_qkv, a.tokens, a.width, scratch.values);
  const F scale = splat(1.0f / __builtin_sqrtf(static_cast<float>(a.width)));
  const int padded_width = padded_columns(a.width);

  for (int row = 0; row < a.tokens; row += kTileRows) {
    const int rows = a.tokens - row < kTileRows ? a.tokens - row : kTileRows;
    alignas(64) float largest[kTileRows + kVirtualLanes];
    alignas(64) float total[kTileRows + kVirtualLanes];
    alignas(64) float decay[kTileRows + kVirtualLanes];

    for (int key = 0; key < a.tokens; key += kTileDepth) {
      const int keys = a.tokens - key < kTileDepth ? a.tokens - key : kTileDepth;
      for (int k = 0; k < a.width; k += kTileDepth) {
        const int depth = a.width - k < kTileDepth ? a.width - k : kTileDepth;
        for (int r = 0; r < rows; ++r) {
          sweep(depth, [&](int i, int, auto lanes) {
            const F q = load(a.q + (row + r) * a.ld_qkv + k + i, lanes);
            store(scratch.queries + r * kPitch + i, q * scale, lanes);
          });
        }
        // Whole tiles: the scratch has room behind the last key.
        const float* packed = scratch.keys + (static_cast<ptrdiff_t>(key) * a.width + k * kTileColumns);
        across_panels(TileF32<Fused>{scratch.queries,
                                     packed,
                                     static_cast<ptrdiff_t>(a.width) * kTileColumns,
                                     depth,
                                     {scratch.scores, kPitch, padded_columns(keys), k > 0, {}}},
                      rows);
      }

      for (int r = 0; r < rows; ++r) {
        float* scores = scratch.scores + r * kPitch;
        // Of keys that all score -inf, the least float: from it -inf is infinitely far, and e^-inf is 0.
        const float most = maximum_of_row(scores, keys), here = most < kLeast ? kLeast : most;
        const float before = key > 0 ? largest[r] : here;
        largest[r] = before > here ? before : here;
        decay[r] = before - largest[r];
        const float sum = exponentials<Fused::Functions>(scores, scores, keys, largest[r]);
        total[r] = key > 0 ? total[r] : 0.0f;
        scores[kTileDepth] = sum;  // the pitch leaves room
      }
      sweep(rows, [&](int i, int, auto lanes) {
        store(decay + i, exp_nonpositive<Fused::Functions>(load(decay + i, lanes)), lanes);
      });
      for (int r = 0; r < rows; ++r) {
        total[r] = total[r] * decay[r] + scratch.scores[r * kPitch + kTileDepth];
        if (key == 0) continue;
        float* output = scratch.output + r * padded_width;
        const F factor = splat(decay[r]);
        sweep(a.width,
              [&](int i, int, auto lanes) { store(output + i, load(output + i, lanes) * factor, lanes); });
      }

      const float* packed = scratch.values + static_cast<ptrdiff_t>(key) * kTileColumns;
      across_panels(TileF32<Fused>{scratch.scores,
                                   packed,
                                   static_cast<ptrdiff_t>(a.tokens) * kTileColumns,
                                   keys,
                                   {scratch.output, padded_width, padded_width, key > 0, {}}},
                    rows);
    }

    for (int r = 0; r < rows; ++r) {
      const F factor = splat(1.0f / total[r]);
      const float* output = scratch.output + r * padded_width;
      sweep(a.width, [&](int i, int, auto lanes) {
        store(a.y + (row + r) * a.ld_y + i, load(output + i, lanes) * factor, lanes);
      });
    }
  }
}

}  // namespace
}  // namespace claude_flow
