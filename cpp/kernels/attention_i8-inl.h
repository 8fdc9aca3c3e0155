// Attention of one head on bytes, for 8-bit models: both products run on the integer tile. Queries are quantized to 7
// bits by rows, keys to 8 bits by rows, values to 8 bits by columns. A row's weights e^(score - largest) lie in 0..1 and
// get 14 bits, as two times seven: with seven the many small weights of a row would vanish, and with them up to 7 % of
// a result. The row is divided by the sum of the rounded weights, so that they still add up to 1.
// 128 tokens, 8 heads of 64: 303 us, where the float products of Consistent arithmetic took 531.
#pragma once

#include "kernels/attention-inl.h"
#include "kernels/gemm_i8-inl.h"
#include "kernels/quantize-inl.h"

namespace claude_flow {
namespace {

constexpr int round_up_to_4(int n) { return (n + 3) / 4 * 4; }

struct ByteAttentionScratch {
  int8_t* keys;  // [panels of tokens][width / 4][kTileColumns][4]
  int32_t* key_sums;
  float* key_scales;
  int8_t* values;       // [panels of width][tokens / 4][kTileColumns][4]
  int32_t* value_sums;  // any: they count only with a zero point, which the weights have not
  float* value_scales;
  QuantizedRows queries, high, low;  // kTileRows; the weights are 128 high + low
  float* scores;                     // [kTileRows, padded tokens]
  uint8_t* bytes;                    // [4, width]: rows on their way to a panel
  size_t total;

  ByteAttentionScratch(float* base, int tokens, int width) {
    size_t at = 0;
    const auto take = [&](size_t floats) {
      float* p = base == nullptr ? nullptr : base + at;
      at += (floats + 15) / 16 * 16;
      return p;
    };
    const auto rows = [&](int columns) {
      const size_t blocks = static_cast<size_t>((columns + kQuantBlock - 1) / kQuantBlock);
      float* scale = take(kTileRows);
      int32_t* zero = reinterpret_cast<int32_t*>(take(kTileRows));
      float* q = take(blocks * kTileRows * kQuantPitch / sizeof(float));
      return QuantizedRows{reinterpret_cast<uint8_t*>(q), scale, zero, ptrdiff_t{kTileRows} * kQuantPitch};
    };
    const size_t padded_tokens = static_cast<size_t>(padded_columns(tokens));
    const size_t padded_width = static_cast<size_t>(padded_columns(width));
    keys = reinterpret_cast<int8_t*>(take(padded_tokens * static_cast<size_t>(round_up_to_4(width)) / 4));
    key_sums = reinterpret_cast<int32_t*>(take(padded_tokens));
    key_scales = take(padded_tokens);
    values = reinterpret_cast<int8_t*>(take(padded_width * static_cast<size_t>(round_up_to_4(tokens)) / 4));
    value_sums = reinterpret_cast<int32_t*>(take(padded_width));
    value_scales = take(padded_width);
    queries = rows(width);
    high = rows(tokens);
    low = rows(tokens);
    scores = take(padded_tokens * kTileRows);
    bytes = reinterpret_cast<uint8_t*>(take(padded_width));
    total = at;
  }
};

// 127 / |x|'s largest value, or 0 where that is nothing; a value that is not finite goes to `poison`.
CF_INLINE F inverse_range(F largest) {
  return select(less(largest, splat(1e-35f)), splat(0.0f), splat(127.0f) / largest);
}

// round(x factor) in -127..127; a NaN becomes -127.
CF_INLINE I to_signed(F x, F factor) {
  return to_nearest(min(max(x * factor, CF_SPLAT(-127.0f)), CF_SPLAT(127.0f)));
}

// Four bytes around 128 as four signed ones.
CF_INLINE void move_group(const uint8_t* from, int8_t* to) {
  uint32_t group;
  std::memcpy(&group, from, sizeof group);
  group ^= 0x80808080u;
  std::memcpy(to, &group, sizeof group);
}

// Key t becomes column t of the panels; as with floats, what lies behind the last one stays as it is.
CF_INLINE void pack_keys(const AttentionF32& a, const ByteAttentionScratch& s) {
  const int depth = round_up_to_4(a.width);
  const float root = __builtin_sqrtf(static_cast<float>(a.width));
  for (int t = 0; t < a.tokens; ++t) {
    int8_t* column =
        s.keys + (static_cast<ptrdiff_t>(t / kTileColumns) * depth * kTileColumns + t % kTileColumns * 4);
    const float* x = a.k + t * a.ld_qkv;
    const Range range = range_of_row(x, a.width);
    const float largest = range.highest > -range.lowest ? range.highest : -range.lowest;
    alignas(64) float inverse[kLanes];
    store(inverse, inverse_range(splat(largest)));
    const F factor = splat(inverse[0]);
    Lanes16 sum(0.0f);  // of whole numbers, so exact
    sweep(a.width, [&](int i, int part, auto lanes) CF_LAMBDA {
      const I key = to_signed(load(x + i, lanes), factor);
      store_bytes(s.bytes + i, key + splat(128), lanes);
      sum.part[part] = sum.part[part] + to_float(key);
    });
    for (int i = a.width; i < depth; ++i) s.bytes[i] = 128;
    for (int k = 0; k < depth; k += 4, column += kTileColumns * 4) move_group(s.bytes + k, column);
    s.key_sums[t] = static_cast<int32_t>(sum.sum());
    s.key_scales[t] = (largest < 1e-35f ? 0.0f : largest / 127.0f) / root + range.poison;
  }
}

// Groups of four values of a column lie side by side.
CF_INLINE void pack_values(const AttentionF32& a, const ByteAttentionScratch& s) {
  const int depth = round_up_to_4(a.tokens);
  for (int column = 0; column < a.width; column += kLanes) {
    const auto pack = [&](auto lanes) CF_LAMBDA {
      F largest = splat(0.0f), poison = splat(0.0f);
      for (int t = 0; t < a.tokens; ++t) {
        const F x = load(a.v + t * a.ld_qkv + column, lanes);
        largest = max(abs(x), largest);
        poison = poison + x * splat(0.0f);
      }
      const F tiny = select(less(largest, splat(1e-35f)), splat(0.0f), largest);
      store(s.value_scales + column, tiny / splat(127.0f) + poison);
      const F factor = inverse_range(largest);
      int8_t* panel = s.values + static_cast<ptrdiff_t>(column / kTileColumns) * depth * kTileColumns +
                      column % kTileColumns * 4;
      for (int t = 0; t < depth; t += 4, panel += kTileColumns * 4) {
        I rows[4];
        CF_UNROLL for (int i = 0; i < 4; ++i) {
          const F x = t + i < a.tokens ? load(a.v + (t + i) * a.ld_qkv + column, lanes) : splat(0.0f);
          rows[i] = to_signed(x, factor);
        }
        store_groups(panel, rows[0], rows[1], rows[2], rows[3]);
      }
    };
    if (column + kLanes <= a.width) {
      pack(All{});
    } else {
      pack(Some{a.width - column});
    }
  }
}

constexpr float kLargestWeight = 127.0f * 128.0f;

// The weights of row `r` of the scores, in `kLargestWeight`ths of the largest.
CF_INLINE void weigh_row(const ByteAttentionScratch& s, const float* scores, int tokens, int r) {
  uint8_t* high = s.high.q + r * kQuantPitch;
  uint8_t* low = s.low.q + r * kQuantPitch;
  const F largest = splat(maximum_of_row(scores, tokens)), top = CF_SPLAT(kLargestWeight);
  Lanes16 sum(0.0f);
  for (int first = 0; first < tokens; first += kQuantBlock, high += s.high.block, low += s.low.block) {
    const int count = tokens - first < kQuantBlock ? tokens - first : kQuantBlock;
    sweep(count, [&](int i, int part, auto lanes) CF_LAMBDA {
      const F e = exp_nonpositive<Consistent>(load(scores + first + i, lanes) - largest);
      const I weight = to_nearest(min(max(e * top, splat(0.0f)), top));
      // Rounds down: the fraction lies 1/128 apart.
      const I upper = to_nearest(to_float(weight) * CF_SPLAT(1.0f / 128) - CF_SPLAT(127.0f / 256));
      store_bytes(high + i, upper, lanes);
      store_bytes(low + i, weight - upper * splat(128), lanes);
      sum.part[part] = sum.part[part] + keep(to_float(weight) + e * splat(0.0f), lanes);  // a NaN stays one
    });
    for (int i = count; i % 4 != 0; ++i) high[i] = low[i] = 0;
  }
  s.low.scale[r] = 1.0f / sum.sum();
  s.high.scale[r] = 128.0f * s.low.scale[r];
  s.high.zero[r] = s.low.zero[r] = 0;
}

void attention_u7i8(const AttentionF32& a) {
  const ByteAttentionScratch s(a.scratch, a.tokens, a.width);
  pack_keys(a, s);
  pack_values(a, s);
  const int key_depth = round_up_to_4(a.width), value_depth = round_up_to_4(a.tokens);
  const int padded_tokens = padded_columns(a.tokens);
  for (int row = 0; row < a.tokens; row += kTileRows) {
    const int rows = a.tokens - row < kTileRows ? a.tokens - row : kTileRows;
    quantize_f32_u7({a.q + row * a.ld_qkv, a.ld_qkv, s.queries, rows, a.width, nullptr});
    across_panels(TileU7I8{s.queries,
                           s.keys,
                           static_cast<ptrdiff_t>(key_depth) * kTileColumns,
                           s.key_sums,
                           s.key_scales,
                           key_depth,
                           {s.scores, padded_tokens, padded_tokens, false, {}}},
                  rows);
    for (int r = 0; r < rows; ++r) weigh_row(s, s.scores + r * padded_tokens, a.tokens, r);
    float* y = a.y + row * a.ld_y;
    TileU7I8 tile = {s.high,
                     s.values,
                     static_cast<ptrdiff_t>(value_depth) * kTileColumns,
                     s.value_sums,
                     s.value_scales,
                     value_depth,
                     {y, a.ld_y, a.width, false, {}}};
    across_panels(tile, rows);
    tile.a = s.low;
    tile.to.end.residual = y;
    tile.to.end.ld_residual = a.ld_y;
    across_panels(tile, rows);
  }
}

size_t attention_scratch(int tokens, int width) {
  const size_t floats = AttentionScratch(nullptr, tokens, width).total;
  const size_t bytes = ByteAttentionScratch(nullptr, tokens, width).total;
  return floats > bytes ? floats : bytes;
}

}  // namespace
}  // namespace claude_flow
