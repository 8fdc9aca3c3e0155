// Which instruction sets follow from what CPUID says: CPUs that this machine is not, and systems that save less.
#include <string>

#include "base/isa.h"
#include "harness.h"

namespace claude_flow::test {
namespace {

#if defined(__x86_64__)
std::string words(const CpuidAnswers& cpu) {
  std::string found;
  for (const char* word : {"scalar", "sse41", "avx2", "avxvnni", "avx512", "avx512vnni"}) {
    if (cpu_has(word, cpu)) found += std::string(found.empty() ? "" : " ") + word;
  }
  return found;
}

void check(const char* what, const CpuidAnswers& cpu, const char* want) {
  const std::string found = words(cpu);
  expect(found == want, (std::string(what) + ": " + found + ", not " + want).c_str());
}

void check_known_cpus() {
  constexpr uint32_t kNehalem = 1u << 9 | 1u << 19, kHaswell = kNehalem | 1u << 12 | 1u << 28;  // ecx1
  constexpr uint32_t kAvx2 = 1u << 5, kSkylakeX = kAvx2 | 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
  constexpr uint32_t kAvx512Vnni = 1u << 11, kAvxVnni = 1u << 4;
  constexpr uint64_t kSse = 0x3, kYmm = 0x7, kZmm = 0xE7;
  check("Core 2 without SSE4.1", {1u << 9, 0, 0, 0, 0}, "scalar");
  check("Nehalem", {kNehalem, 0, 0, 0, 0}, "scalar sse41");
  check("Sandy Bridge", {kNehalem | 1u << 28, 0, 0, 0, kYmm}, "scalar sse41");
  check("Haswell", {kHaswell, kAvx2, 0, 0, kYmm}, "scalar sse41 avx2");
  check("Skylake-X", {kHaswell, kSkylakeX, 0, 0, kZmm}, "scalar sse41 avx2 avx512");
  check("Ice Lake", {kHaswell, kSkylakeX, kAvx512Vnni, 0, kZmm}, "scalar sse41 avx2 avx512 avx512vnni");
  check("Alder Lake", {kHaswell, kAvx2, 0, kAvxVnni, kYmm}, "scalar sse41 avx2 avxvnni");
  check("Zen 5", {kHaswell, kSkylakeX, kAvx512Vnni, kAvxVnni, kZmm},
        "scalar sse41 avx2 avxvnni avx512 avx512vnni");
  // The system does not save the registers.
  check("Zen 5, no ZMM", {kHaswell, kSkylakeX, kAvx512Vnni, kAvxVnni, kYmm}, "scalar sse41 avx2 avxvnni");
  check("Zen 5, no YMM", {kHaswell, kSkylakeX, kAvx512Vnni, kAvxVnni, kSse}, "scalar sse41");
  // Each part of AVX-512 is needed.
  for (const int bit : {16, 17, 30, 31}) {
    check("AVX-512 in part", {kHaswell, kSkylakeX & ~(1u << bit), kAvx512Vnni, 0, kZmm}, "scalar sse41 avx2");
  }
}
#elif defined(__aarch64__)
void check_known_cpus() {
  constexpr uint64_t kFloat = 1u << 0, kSimd = 1u << 1, kAtomics = 1u << 8, kDot = 1u << 20;
  constexpr uint64_t kMatrix = 1u << 13;  // the second word
  const auto check = [](const char* what, const Hwcaps& cpu, const std::string& want) {
    std::string found;
    for (const char* word : {"scalar", "neon", "neondot", "neoni8mm", "sse41", "neondo"}) {
      if (cpu_has(word, cpu)) found += std::string(found.empty() ? "" : " ") + word;
    }
    expect(found == want, what);
  };
  check("Cortex-A53, Graviton", {kFloat | kSimd, 0}, "scalar neon");
  check("ThunderX2", {kFloat | kSimd | kAtomics, 0}, "scalar neon");
  check("Graviton2, M1", {kFloat | kSimd | kAtomics | kDot, 0}, "scalar neon neondot");
  check("Graviton3, M2", {kFloat | kSimd | kAtomics | kDot, kMatrix}, "scalar neon neondot neoni8mm");
  check("without SIMD", {kFloat, kMatrix}, "scalar");
}
#else
void check_known_cpus() {}
#endif

// The list is in the order of CLAUDE_FLOW_TABLES, and "auto" takes its end.
void check_choice() {
  const std::vector<const Table*> all = tables();
  expect(std::strcmp(all.front()->isa, "scalar") == 0, "scalar runs everywhere");
  expect(find_table("auto") == all.back(), "auto is the best");
  for (const Table* table : all) expect(cpu_has(table->isa), table->isa);
  expect(!cpu_has("avx9000") && find_table("avx9000") == nullptr, "unknown words");
}

}  // namespace
}  // namespace claude_flow::test

int main() {
  claude_flow::test::check_known_cpus();
  claude_flow::test::check_choice();
  return claude_flow::test::report("isa");
}
