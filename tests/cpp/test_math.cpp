// The elementwise functions over the whole range of floats: their stated error bounds, and the same bits
// everywhere.
#include "harness.h"
#include "kernels/reference.h"

namespace claude_flow::test {
namespace {

struct Bound {
  Activation activation;
  const char* name;
  double ulp;
  double absolute;  // either bound suffices
};

// Every 1021st float, in order of its bits.
constexpr uint32_t kStride = 1021;
constexpr int kBlock = 4096;

double ulp_of(double x) {
  const float f = std::fabs(static_cast<float>(x));
  return f >= 3.4e38f ? 2e31 : double{std::nextafterf(f, INFINITY)} - double{f};
}

void check(const Bound& bound) {
  std::vector<float> x, first(kBlock), y(kBlock);
  double worst_ulp = 0, worst_absolute = 0, worst_x = 0;
  bool same = true, kinds = true;
  for (uint64_t bits = 0; bits < uint64_t{1} << 32;) {
    x.clear();
    for (; x.size() < kBlock && bits < uint64_t{1} << 32; bits += kStride) {
      const auto word = static_cast<uint32_t>(bits);
      float value;
      std::memcpy(&value, &word, sizeof value);
      x.push_back(value);
    }
    const int n = static_cast<int>(x.size());
    for (const Table* table : tables()) {
      table->activation_f32({x.data(), y.data(), n, bound.activation});
      if (table == tables().front()) first = y;
      // NaN payloads may differ.
      for (size_t i = 0; i < x.size(); ++i) {
        same &=
            std::memcmp(&first[i], &y[i], sizeof(float)) == 0 || (std::isnan(first[i]) && std::isnan(y[i]));
      }
    }
    for (size_t i = 0; i < x.size(); ++i) {
      const double want = reference::activation(double{x[i]}, bound.activation);
      if (std::isnan(x[i])) kinds &= std::isnan(first[i]);
      if (std::isnan(x[i]) || std::isinf(x[i])) continue;
      if (std::fabs(want) > 3.4028234e38) {
        kinds &= std::isinf(first[i]);
        continue;
      }
      const double error = std::fabs(double{first[i]} - want);
      const double ulp = error / ulp_of(want);
      if (std::isnan(error)) kinds = false;
      if (error <= bound.absolute) continue;
      if (ulp > worst_ulp) worst_ulp = ulp, worst_absolute = error, worst_x = double{x[i]};
    }
  }
  char text[200];
  std::snprintf(text, sizeof text, "%s: worst %.2f ulp (%.3g) at %g, bound %.1f", bound.name, worst_ulp,
                worst_absolute, worst_x, bound.ulp);
  std::printf("%s\n", text);
  expect(worst_ulp <= bound.ulp, text);
  std::snprintf(text, sizeof text, "%s: the same bits on every instruction set", bound.name);
  expect(same, text);
  std::snprintf(text, sizeof text, "%s: NaN stays NaN, overflow is infinite", bound.name);
  expect(kinds, text);
}

}  // namespace
}  // namespace claude_flow::test

int main() {
  using namespace claude_flow::test;
  using claude_flow::Activation;
  check({Activation::kExp, "exp", 2.0, 0.0});
  check({Activation::kTanh, "tanh", 2.0, 0.0});
  check({Activation::kSigmoid, "sigmoid", 3.0, 2e-38});
  check({Activation::kGelu, "gelu", 4.0, 1e-7});
  return report("math");
}
