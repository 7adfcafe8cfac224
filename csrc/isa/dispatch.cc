#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "isa/tables.h"

namespace ftllm {
namespace {

struct Candidate {
  const KernelTable* table;
  bool runs_here;
};

const KernelTable& choose() {
  // Best first.
  const Candidate candidates[] = {
#if defined(__x86_64__)
      {&kAvx512VnniTable, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                              __builtin_cpu_supports("avx512dq") &&
                              __builtin_cpu_supports("avx512vl") &&
                              __builtin_cpu_supports("avx512vnni")},
      {&kAvx2Table, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                        __builtin_cpu_supports("f16c")},
#endif
      {&kScalarTable, true},
  };
  const char* forced = std::getenv("FTLLM_ISA");
  std::string known;
  for (const Candidate& candidate : candidates) {
    if (forced == nullptr || *forced == '\0') {
      if (candidate.runs_here) return *candidate.table;
      continue;
    }
    if (std::string_view(forced) == candidate.table->isa) {
      if (candidate.runs_here) return *candidate.table;
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
