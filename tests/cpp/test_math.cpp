// The elementwise functions over the whole range of floats: their stated error bounds on every instruction set, and of
// the consistent ones the same bits everywhere.
#include <string>

#include "harness.h"
#include "kernels/reference.h"

namespace claude_flow::test {
namespace {

struct Bound {
  Activation activation;
  const char* name;
  double ulp;
  double absolute;  // either bound suffices
  bool flushes;     // AVX-512's tables: what is denormal may be 0
};

// Every 1021st float, in order of its bits.
constexpr uint32_t kStride = 1021;
constexpr int kBlock = 4096;

double ulp_of(double x) {
  const float f = std::fabs(static_cast<float>(x));
  return f >= 3.4e38f ? 2e31 : double{std::nextafterf(f, INFINITY)} - double{f};
}

void check(const Bound& bound, const char* isa, void (*kernel)(const ActivationF32&), double absolute,
           uint64_t& hash) {
  std::vector<float> x, y(kBlock);
  double worst_ulp = 0, worst_absolute = 0, worst_x = 0;
  bool kinds = true;
  for (uint64_t bits = 0; bits < uint64_t{1} << 32;) {
    x.clear();
    if (bits == 0) x = {INFINITY, -INFINITY};
    for (; x.size() < kBlock && bits < uint64_t{1} << 32; bits += kStride) {
      const auto word = static_cast<uint32_t>(bits);
      float value;
      std::memcpy(&value, &word, sizeof value);
      x.push_back(value);
    }
    kernel({x.data(), y.data(), static_cast<int>(x.size()), bound.activation});
    for (size_t i = 0; i < x.size(); ++i) {
      uint32_t word = 0;  // NaN payloads may differ
      if (!std::isnan(y[i])) std::memcpy(&word, &y[i], sizeof word);
      hash = (hash ^ word) * 0x100000001B3u;
      const double want = reference::activation(double{x[i]}, bound.activation);
      if (std::isnan(x[i])) kinds &= std::isnan(y[i]);
      if (std::isnan(x[i]) || std::isnan(want)) continue;
      if (std::isinf(x[i])) {
        kinds &= double{y[i]} == want || std::fabs(double{y[i]} - want) <= absolute;
        continue;
      }
      if (std::fabs(want) > 3.4028234e38) {
        kinds &= std::isinf(y[i]);
        continue;
      }
      const double error = std::fabs(double{y[i]} - want);
      const double ulp = error / ulp_of(want);
      if (std::isnan(error)) kinds = false;
      if (error <= absolute) continue;
      if (ulp > worst_ulp) worst_ulp = ulp, worst_absolute = error, worst_x = double{x[i]};
    }
  }
  char text[200];
  std::snprintf(text, sizeof text, "%s@%s: worst %.2f ulp (%.3g) at %g, bound %.1f", bound.name, isa,
                worst_ulp, worst_absolute, worst_x, bound.ulp);
  std::printf("%s\n", text);
  expect(worst_ulp <= bound.ulp, text);
  std::snprintf(text, sizeof text, "%s@%s: NaN stays NaN, infinities give the limits, overflow is infinite",
                bound.name, isa);
  expect(kinds, text);
}

void check(const Bound& bound) {
  uint64_t first = 0;
  for (const Table* table : tables()) {
    uint64_t fused = 0, consistent = 0;
    const bool flushes = bound.flushes && std::strncmp(table->isa, "avx512", 6) == 0;
    check(bound, table->isa, table->activation_f32, flushes ? 0x1p-126 : bound.absolute, fused);
    check(bound, table->isa, table->activation_consistent_f32, bound.absolute, consistent);
    if (table == tables().front()) first = consistent;
    expect(consistent == first,
           (std::string(bound.name) + ": the same bits on every instruction set").c_str());
  }
}

}  // namespace
}  // namespace claude_flow::test

int main() {
  using namespace claude_flow::test;
  using claude_flow::Activation;
  check({Activation::kExp, "exp", 2.0, 0.0, false});
  check({Activation::kTanh, "tanh", 2.0, 0.0, false});
  check({Activation::kSigmoid, "sigmoid", 3.0, 0.0, true});
  check({Activation::kGelu, "gelu", 4.0, 1e-7, false});
  return report("math");
}
