// Which instruction sets this CPU and its operating system can run.
#pragma once

#include <cstdint>

namespace claude_flow {

// `word` is one of scalar, sse41, avx2, avxvnni, avx512, avx512vnni (x86), of scalar, neon, neondot, neoni8mm (64-bit
// ARM), or of scalar, simd128, relaxed (WASM).
// Unknown words: false.
bool cpu_has(const char* word);

#if defined(__x86_64__)
// What decides: registers of CPUID's leaves 1, 7 and 7.1, and XCR0, the register files that the operating system saves.
struct CpuidAnswers {
  uint32_t ecx1, ebx7, ecx7, eax71;
  uint64_t saved;
};
bool cpu_has(const char* word, const CpuidAnswers& cpu);
#elif defined(__aarch64__)
// What decides: Linux's AT_HWCAP and AT_HWCAP2, or what makes up for them elsewhere.
struct Hwcaps {
  uint64_t first, second;
};
bool cpu_has(const char* word, const Hwcaps& cpu);
#endif

}  // namespace claude_flow
