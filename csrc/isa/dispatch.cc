#if defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "isa/tables.h"

namespace ftllm {
namespace {

bool always() { return true; }

#if defined(__x86_64__)
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("f16c");
}

[[maybe_unused]] bool has_avxvnni() { return has_avx2() && __builtin_cpu_supports("avxvnni"); }

bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

bool has_avx512vnni() { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }

// The kernel lets a process use the tile registers only after it has asked (Linux 5.16, x86's
// arch_prctl). Threads made before and after may use them then.
[[maybe_unused]] bool has_amx() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
  return has_avx512vnni() && __builtin_cpu_supports("amx-tile") &&
         __builtin_cpu_supports("amx-int8") &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#elif defined(__aarch64__)
bool has_neon_dot() { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
#endif

struct Candidate {
  const KernelTable* table;
  bool (*runs_here)();
};

const KernelTable& choose() {
  // Best first.
  static constexpr Candidate kCandidates[] = {
#if defined(__x86_64__)
#ifndef FTLLM_SANITIZE  // the build has no others then
      {&kAmxTable, has_amx},       {&kAvx512VnniTable, has_avx512vnni},
      {&kAvx512Table, has_avx512}, {&kAvxVnniTable, has_avxvnni},
#endif
      {&kAvx2Table, has_avx2},
#elif defined(__aarch64__)
      {&kNeonDotTable, has_neon_dot},
#endif
      {&kScalarTable, always},
  };
  const char* forced = std::getenv("FTLLM_ISA");
  std::string known;
  for (const Candidate& candidate : kCandidates) {
    if (forced == nullptr || *forced == '\0') {
      if (candidate.runs_here()) return *candidate.table;
      continue;
    }
    if (std::string_view(forced) == candidate.table->isa) {
      if (candidate.runs_here()) return *candidate.table;
      throw Error(Error::Kind::kOption,
                  "FTLLM_ISA is " + std::string(forced) +
                      ", which this processor cannot run; unset it to use the best one it can");
    }
    known += (known.empty() ? "" : ", ") + std::string(candidate.table->isa);
  }
  throw Error(Error::Kind::kOption, "FTLLM_ISA is '" + std::string(forced) +
                                        "'; this build knows " + known +
                                        ". Unset it to use the best one this processor can run");
}

}  // namespace

const KernelTable& kernel_table() {
  static const KernelTable& table = choose();
  return table;
}

}  // namespace ftllm
