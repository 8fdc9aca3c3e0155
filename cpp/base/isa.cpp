#include "base/isa.h"

#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__aarch64__) && defined(_WIN32)
#include <windows.h>
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

CpuidAnswers ask() {
  constexpr uint32_t kOsxsave = 1u << 27;
  const Cpuid one(1, 0), seven(7, 0);
  const uint32_t eax71 = seven.eax >= 1 ? Cpuid(7, 1).eax : 0;  // eax of leaf 7: its last subleaf
  return {one.ecx, seven.ebx, seven.ecx, eax71, all(one.ecx, kOsxsave) ? saved_registers() : 0};
}

}  // namespace

bool cpu_has(const char* word, const CpuidAnswers& cpu) {
  constexpr uint32_t kSsse3 = 1u << 9, kFma = 1u << 12, kSse41 = 1u << 19, kAvx = 1u << 28;           // ecx1
  constexpr uint32_t kAvx2 = 1u << 5, kF = 1u << 16, kDq = 1u << 17, kBw = 1u << 30, kVl = 1u << 31;  // ebx7
  constexpr uint32_t kAvx512Vnni = 1u << 11;                                                          // ecx7
  constexpr uint32_t kAvxVnni = 1u << 4;                                                              // eax71
  constexpr uint64_t kYmm = 0x6, kZmm = 0xE6;                                                         // saved
  const bool sse41 = all(cpu.ecx1, kSse41 | kSsse3);
  const bool avx2 = sse41 && all(cpu.ecx1, kFma | kAvx) && all(cpu.ebx7, kAvx2) && (cpu.saved & kYmm) == kYmm;
  const bool avx512 = avx2 && all(cpu.ebx7, kF | kDq | kBw | kVl) && (cpu.saved & kZmm) == kZmm;
  if (std::strcmp(word, "sse41") == 0) return sse41;
  if (std::strcmp(word, "avx2") == 0) return avx2;
  if (std::strcmp(word, "avxvnni") == 0) return avx2 && all(cpu.eax71, kAvxVnni);
  if (std::strcmp(word, "avx512") == 0) return avx512;
  if (std::strcmp(word, "avx512vnni") == 0) return avx512 && all(cpu.ecx7, kAvx512Vnni);
  return std::strcmp(word, "scalar") == 0;
}

bool cpu_has(const char* word) {
  static const CpuidAnswers cpu = ask();
  return cpu_has(word, cpu);
}

#elif defined(__aarch64__)
namespace {

constexpr uint64_t kAdvancedSimd = 1u << 1, kDotProduct = 1u << 20;  // HWCAP_ASIMD, HWCAP_ASIMDDP
constexpr uint64_t kMatrixProduct = 1u << 13;                        // HWCAP2_I8MM

#if defined(__APPLE__)
bool answers(const char* name) {
  int has = 0;
  size_t size = sizeof has;
  return sysctlbyname(name, &has, &size, nullptr, 0) == 0 && has != 0;
}
#endif

Hwcaps ask() {
#if defined(__linux__)
  return {getauxval(AT_HWCAP), getauxval(AT_HWCAP2)};
#elif defined(__APPLE__)
  return {kAdvancedSimd | (answers("hw.optional.arm.FEAT_DotProd") ? kDotProduct : 0),
          answers("hw.optional.arm.FEAT_I8MM") ? kMatrixProduct : 0};
#elif defined(_WIN32)
  constexpr DWORD kAvailable = 43;  // PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE, which older headers lack
  return {kAdvancedSimd | (IsProcessorFeaturePresent(kAvailable) ? kDotProduct : 0), 0};
#else
  return {kAdvancedSimd, 0};
#endif
}

}  // namespace

bool cpu_has(const char* word, const Hwcaps& cpu) {
  const bool neon = (cpu.first & kAdvancedSimd) != 0;
  const bool dot = neon && (cpu.first & kDotProduct) != 0;
  if (std::strcmp(word, "neon") == 0) return neon;
  if (std::strcmp(word, "neondot") == 0) return dot;
  if (std::strcmp(word, "neoni8mm") == 0) return dot && (cpu.second & kMatrixProduct) != 0;
  return std::strcmp(word, "scalar") == 0;
}

bool cpu_has(const char* word) {
  static const Hwcaps cpu = ask();
  return cpu_has(word, cpu);
}

#else

// Elsewhere (WASM) the module that was loaded contains only what its host can run.
bool cpu_has(const char*) { return true; }

#endif

}  // namespace claude_flow
