// Runs a fuzz target where libFuzzer is not at hand: random bytes, the same for the same seed.
//   TARGET [-seed=N] [-runs=N] [-max_len=N]    TARGET FILE    runs the bytes of a file, such as a crash of libFuzzer
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

std::vector<uint8_t> bytes;

// What failed, to be run again from a file:  echo HEX | xxd -r -p >FILE
void show(int signal) {
  std::fprintf(stderr, "the bytes of the case: ");
  for (const uint8_t byte : bytes) std::fprintf(stderr, "%02x", unsigned{byte});
  std::fprintf(stderr, "\n");
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

}  // namespace

int main(int argc, char** argv) {
  unsigned long seed = 1, runs = 1000, longest = 64;
  for (int i = 1; i < argc; ++i) {
    const char* value = std::strchr(argv[i], '=');
    if (argv[i][0] != '-') {
      std::ifstream file(argv[i], std::ios::binary);
      bytes.assign(std::istreambuf_iterator<char>(file), {});
      return LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    }
    if (value == nullptr) return 2;
    if (std::strncmp(argv[i], "-seed=", 6) == 0) seed = std::strtoul(value + 1, nullptr, 10);
    if (std::strncmp(argv[i], "-runs=", 6) == 0) runs = std::strtoul(value + 1, nullptr, 10);
    if (std::strncmp(argv[i], "-max_len=", 9) == 0) longest = std::strtoul(value + 1, nullptr, 10);
  }
  for (const int signal : {SIGABRT, SIGSEGV, SIGILL, SIGTRAP}) std::signal(signal, show);
  std::mt19937 generator(static_cast<unsigned>(seed));
  for (unsigned long run = 0; run < runs; ++run) {
    bytes.resize(generator() % longest + 1);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(generator());
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  std::printf("%lu cases\n", runs);
  return 0;
}
