// Which instruction sets this CPU and its operating system can run.
#pragma once

namespace claude_flow {

// `word` is one of scalar, sse41, avx2, avx512, avx512vnni (x86) or scalar, simd128, relaxed (WASM). Unknown
// words: false.
bool cpu_has(const char* word);

}  // namespace claude_flow
