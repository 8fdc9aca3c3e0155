#include "base/isa.h"

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace claude_flow {

#if defined(__x86_64__)
namespace {

struct Cpuid {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  Cpuid(uint32_t leaf, uint32_t subleaf) { __get_cpuid_count(leaf, subleaf, &eax, &ebx, &ecx, &edx); }
};

bool all(uint32_t word, uint32_t bits) { return (word & bits) == bits; }

// XCR0: which register files the operating system saves. Read only where CPUID says that XGETBV exists.
uint64_t saved_registers() {
  uint32_t low = 0, high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
}

struct Features {
  bool sse41 = false, avx2 = false, avx512 = false, avx512vnni = false;

  Features() {
    constexpr uint32_t kFma = 1u << 12, kSse41 = 1u << 19, kOsxsave = 1u << 27, kAvx = 1u << 28;
    constexpr uint32_t kSsse3 = 1u << 9;
    constexpr uint32_t kAvx2 = 1u << 5, kF = 1u << 16, kDq = 1u << 17, kBw = 1u << 30, kVl = 1u << 31;
    constexpr uint32_t kVnni = 1u << 11;
    constexpr uint64_t kYmm = 0x6, kZmm = 0xE6;
    const Cpuid one(1, 0), seven(7, 0);
    const uint64_t saved = all(one.ecx, kOsxsave) ? saved_registers() : 0;
    sse41 = all(one.ecx, kSse41 | kSsse3);
    avx2 = sse41 && all(one.ecx, kFma | kAvx) && all(seven.ebx, kAvx2) && (saved & kYmm) == kYmm;
    avx512 = avx2 && all(seven.ebx, kF | kDq | kBw | kVl) && (saved & kZmm) == kZmm;
    avx512vnni = avx512 && all(seven.ecx, kVnni);
  }
};

}  // namespace

bool cpu_has(const char* word) {
  static const Features features;
  if (std::strcmp(word, "sse41") == 0) return features.sse41;
  if (std::strcmp(word, "avx2") == 0) return features.avx2;
  if (std::strcmp(word, "avx512") == 0) return features.avx512;
  if (std::strcmp(word, "avx512vnni") == 0) return features.avx512vnni;
  return std::strcmp(word, "scalar") == 0;
}

#else

// Elsewhere (WASM) the module that was loaded contains only what its host can run.
bool cpu_has(const char*) { return true; }

#endif

}  // namespace claude_flow
