#include "kernels/reference.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace claude_flow::reference {

namespace {

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }
double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); }

std::vector<double> softmax(const std::vector<double>& x) {
  const double largest = *std::max_element(x.begin(), x.end());
  std::vector<double> y;
  double sum = 0;
  for (const double v : x) sum += std::exp(v - largest);
  for (const double v : x) y.push_back(std::exp(v - largest) / sum);
  return y;
}

double dot(const float* a, const float* b, int n) {
  double sum = 0;
  for (int i = 0; i < n; ++i) sum += double{a[i]} * double{b[i]};
  return sum;
}

}  // namespace

double activation(double x, Activation activation) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return std::max(x, 0.0);
    case Activation::kGelu:
      return std::isinf(x) ? std::max(x, 0.0) : 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Activation::kTanh:
      return std::tanh(x);
    case Activation::kSigmoid:
      return sigmoid(x);
    case Activation::kExp:
      return std::exp(x);
  }
  return NAN;
}

void gemm_f32(const GemmF32& g) {
  for (int row = 0; row < g.rows; ++row) {
    for (int column = 0; column < g.columns; ++column) {
      double sum = dot(g.a + row * g.ld_a, g.packed + static_cast<ptrdiff_t>(column) * g.depth, g.depth);
      if (g.bias != nullptr) sum += double{g.bias[column]};
      sum = activation(sum, g.activation);
      if (g.residual != nullptr) sum += double{g.residual[row * g.ld_residual + column]};
      g.c[row * g.ld_c + column] = static_cast<float>(sum);
    }
  }
}

void gemm_consistent_f32(const GemmF32& g) { gemm_f32(g); }

// Rounds as the kernel does, in float: an integer off by one would hide behind no tolerance.
void quantize_f32_u7(const QuantizeF32U7& a) {
  for (int row = 0; row < a.rows; ++row) {
    const float* x = a.x + row * a.ld_x;
    float lowest = 0, highest = 0;
    bool finite = true;
    for (int i = 0; i < a.columns; ++i) {
      lowest = std::min(lowest, x[i]), highest = std::max(highest, x[i]);
      finite = finite && std::isfinite(x[i]);
    }
    if (a.range != nullptr) lowest = a.range[0], highest = a.range[1];
    const float width = highest - lowest;
    const float inverse = width < 1e-35f ? 0.0f : 127.0f / width;
    const float zero = std::nearbyint(-lowest * inverse);
    a.to.scale[row] = !finite ? NAN : width < 1e-35f ? 0.0f : width / 127.0f;
    a.to.zero[row] = static_cast<int32_t>(zero);
    for (int i = 0; i < (a.columns + 7) / 8 * 8; ++i) {
      uint8_t& q = a.to.q[i / kQuantBlock * a.to.block + row * kQuantPitch + i % kQuantBlock];
      q = 0;
      if (i >= a.columns || !finite) continue;
      const float product = x[i] * inverse;
      q = static_cast<uint8_t>(std::nearbyint(std::clamp(product + zero, 0.0f, 127.0f)));
    }
  }
}

void gemm_u7i8(const GemmU7I8& g) {
  for (int row = 0; row < g.rows; ++row) {
    for (int column = 0; column < g.columns; ++column) {
      int64_t sum = 0;
      for (int k = 0; k < g.depth; ++k) {
        const int q = g.a.q[k / kQuantBlock * g.a.block + row * kQuantPitch + k % kQuantBlock];
        sum += int64_t{q - g.a.zero[row]} * g.packed[static_cast<ptrdiff_t>(column) * g.depth + k];
      }
      double y = static_cast<double>(sum) * double{g.a.scale[row]} * double{g.scales[column]};
      if (g.bias != nullptr) y += double{g.bias[column]};
      y = activation(y, g.activation);
      if (g.residual != nullptr) y += double{g.residual[row * g.ld_residual + column]};
      g.c[row * g.ld_c + column] = static_cast<float>(y);
    }
  }
}

namespace {

// The weight at `k` of a row of pairs: the even one is the low half.
int half_byte(const int8_t* pairs, int k) {
  const int byte = pairs[k / 2];
  return k % 2 == 0 ? ((byte & 15) ^ 8) - 8 : (byte - (byte & 15)) / 16;
}

}  // namespace

// `packed`: w[columns, depth] in pairs; `scales`: [columns, groups].
void gemm_u7i4(const GemmU7I4& g) {
  for (int row = 0; row < g.rows; ++row) {
    for (int column = 0; column < g.columns; ++column) {
      const int8_t* pairs = g.packed + static_cast<ptrdiff_t>(column) * ((g.depth + 1) / 2);
      const float* scales = g.scales + static_cast<ptrdiff_t>(column) * groups_of(g.depth);
      double y = 0;
      for (int k = 0; k < g.depth; ++k) {
        const int q = g.a.q[k / kQuantBlock * g.a.block + row * kQuantPitch + k % kQuantBlock];
        y += (q - g.a.zero[row]) * half_byte(pairs, k) * double{scales[k / kGroupDepth]};
      }
      y *= double{g.a.scale[row]};
      if (g.bias != nullptr) y += double{g.bias[column]};
      y = activation(y, g.activation);
      if (g.residual != nullptr) y += double{g.residual[row * g.ld_residual + column]};
      g.c[row * g.ld_c + column] = static_cast<float>(y);
    }
  }
}

void activation_f32(const ActivationF32& a) {
  for (int i = 0; i < a.n; ++i) a.y[i] = static_cast<float>(activation(double{a.x[i]}, a.activation));
}

void activation_consistent_f32(const ActivationF32& a) { activation_f32(a); }

void layer_norm_f32(const LayerNormF32& a) {
  for (int row = 0; row < a.rows; ++row) {
    const float* x = a.x + row * a.ld_x;
    double mean = 0, variance = 0;
    for (int i = 0; i < a.columns; ++i) mean += double{x[i]} / a.columns;
    for (int i = 0; i < a.columns; ++i) variance += (double{x[i]} - mean) * (double{x[i]} - mean) / a.columns;
    for (int i = 0; i < a.columns; ++i) {
      const double normal = (double{x[i]} - mean) / std::sqrt(variance + double{a.epsilon});
      a.y[row * a.ld_y + i] = static_cast<float>(normal * double{a.gamma[i]} + double{a.beta[i]});
    }
  }
}

void softmax_f32(const SoftmaxF32& a) {
  for (int row = 0; row < a.rows; ++row) {
    const float* x = a.x + row * a.ld_x;
    const std::vector<double> y = softmax({x, x + a.columns});
    for (int i = 0; i < a.columns; ++i) a.y[row * a.ld_y + i] = static_cast<float>(y[static_cast<size_t>(i)]);
  }
}

void attention_f32(const AttentionF32& a) {
  for (int query = 0; query < a.tokens; ++query) {
    std::vector<double> scores;
    for (int key = 0; key < a.tokens; ++key) {
      const double product = dot(a.q + query * a.ld_qkv, a.k + key * a.ld_qkv, a.width);
      scores.push_back(product / std::sqrt(static_cast<double>(a.width)));
    }
    scores = softmax(scores);
    for (int i = 0; i < a.width; ++i) {
      double sum = 0;
      for (int key = 0; key < a.tokens; ++key) {
        sum += scores[static_cast<size_t>(key)] * double{a.v[key * a.ld_qkv + i]};
      }
      a.y[query * a.ld_y + i] = static_cast<float>(sum);
    }
  }
}

void lstm_step_f32(const LstmStepF32& a) {
  for (int item = 0; item < a.items; ++item) {
    const ptrdiff_t row = a.first_row[item] + a.step;
    for (int unit = 0; unit < a.units; ++unit) {
      double gate[4];
      for (int g = 0; g < 4; ++g) {
        const ptrdiff_t r = static_cast<ptrdiff_t>(g) * a.units + unit;
        gate[g] = double{a.inputs[row * a.ld_inputs + r]};
        if (a.step > 0) gate[g] += dot(a.h + (row - 1) * a.ld_h, a.packed + r * a.units, a.units);
      }
      float& memory = a.cell[static_cast<ptrdiff_t>(item) * a.units + unit];
      const double kept = a.step > 0 ? sigmoid(gate[1]) * double{memory} : 0.0;
      const double cell = kept + sigmoid(gate[0]) * std::tanh(gate[2]);
      memory = static_cast<float>(cell);
      a.h[row * a.ld_h + unit] = static_cast<float>(sigmoid(gate[3]) * std::tanh(cell));
    }
  }
}

void attention_u7i8(const AttentionF32& a) { attention_f32(a); }
void lstm_step_consistent_f32(const LstmStepF32& a) { lstm_step_f32(a); }

namespace {

// The float step on what the integers stand for: r[4 * units, units].
template <class Args>
void lstm_step_u7(const Args& a, const std::vector<float>& r) {
  for (int item = 0; item < a.items; ++item) {
    const ptrdiff_t row = a.first_row[item] + a.step;
    std::vector<float> h(2 * static_cast<size_t>(a.units));
    for (int k = 0; k < a.units && a.step > 0; ++k) {
      const int q = a.before.q[k / kQuantBlock * a.before.block + item * kQuantPitch + k % kQuantBlock];
      h[static_cast<size_t>(k)] = static_cast<float>(q - a.before.zero[item]) * a.before.scale[item];
    }
    const int32_t first_row = 1 - a.step;
    lstm_step_f32({a.inputs + (row - 1) * a.ld_inputs, a.ld_inputs, r.data(), h.data(), a.units,
                   a.cell + static_cast<ptrdiff_t>(item) * a.units, &first_row, 1, a.units, a.step, 0, 0});
    std::copy(h.begin() + a.units, h.end(), a.h + row * a.ld_h);
  }
}

}  // namespace

void lstm_step_u7i8(const LstmStepU7I8& a) {
  std::vector<float> r(static_cast<size_t>(4 * a.units) * static_cast<size_t>(a.units));
  for (size_t i = 0; i < r.size(); ++i) {
    r[i] = static_cast<float>(a.packed[i]) * a.scales[i / static_cast<size_t>(a.units)];
  }
  lstm_step_u7(a, r);
}

void lstm_step_u7i4(const LstmStepU7I4& a) {
  std::vector<float> r;
  for (ptrdiff_t row = 0; row < 4 * a.units; ++row) {
    const float* scales = a.scales + row * groups_of(a.units);
    for (int k = 0; k < a.units; ++k) {
      const int w = half_byte(a.packed + row * ((a.units + 1) / 2), k);
      r.push_back(static_cast<float>(w) * scales[k / kGroupDepth]);
    }
  }
  lstm_step_u7(a, r);
}

void attention_pool_f32(const AttentionPoolF32& a) {
  std::vector<double> scores;
  for (int t = 0; t < a.tokens; ++t) scores.push_back(dot(a.keys + t * a.ld_keys, a.vector, a.key_width));
  scores = softmax(scores);
  for (int i = 0; i < a.width; ++i) {
    double sum = 0;
    for (int t = 0; t < a.tokens; ++t)
      sum += scores[static_cast<size_t>(t)] * double{a.values[t * a.ld_values + i]};
    a.y[i] = static_cast<float>(sum);
  }
}

void monotone_f32(const MonotoneF32& a) {
  const int middle = a.quantiles / 2;
  for (int row = 0; row < a.rows; ++row) {
    for (int first = 0; first < a.columns; first += a.group) {
      const float* x = a.x + row * a.ld_x + first;
      float* y = a.y + row * a.ld_y + first;
      double q = double{x[middle]};
      for (int i = middle; i < a.quantiles; y[i++] = static_cast<float>(q)) {
        if (i > middle) q += softplus(double{x[i]});
      }
      q = double{x[middle]};
      for (int i = middle - 1; i >= 0; --i) y[i] = static_cast<float>(q -= softplus(double{x[i]}));
      for (int i = a.quantiles; i < a.group; ++i) y[i] = x[i];
    }
  }
}

void ceiling_fma_f32(const CeilingFmaF32& a) {
  for (int i = 0; i < a.columns; ++i) {
    double x = double{a.x[i]};
    for (ptrdiff_t step = 0; step < a.steps; ++step) x = x * double{a.scale} + double{a.shift};
    a.y[i] = static_cast<float>(x);
  }
}

void ceiling_dot_u7i8(const CeilingDotU7I8& a) {
  for (int i = 0; i < kCeilingColumns; ++i) {
    int32_t x = a.x[i];
    for (ptrdiff_t step = 0; step < a.steps; ++step) {
      int32_t sum = x;
      for (int byte = 0; byte < 4; ++byte) sum += a.u[byte] * static_cast<int8_t>(x >> (8 * byte));
      x = sum;
    }
    a.y[i] = static_cast<float>(x);
  }
}

void ceiling_read_f32(const CeilingReadF32& a) {
  double sum = 0;
  for (ptrdiff_t i = 0; i < a.count; ++i) sum += double{a.x[i]};
  *a.y = static_cast<float>(sum);
}

}  // namespace claude_flow::reference
