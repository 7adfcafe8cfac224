#pragma once

#include "kernels/table.h"

// The tables that the ISA units define. Each unit is compiled with its own flags.
namespace ftllm {

extern const KernelTable kScalarTable;
#if defined(__x86_64__)
extern const KernelTable kAvx2Table;
extern const KernelTable kAvxVnniTable;
extern const KernelTable kAvx512Table;
extern const KernelTable kAvx512VnniTable;
extern const KernelTable kAmxTable;
#elif defined(__aarch64__)
extern const KernelTable kNeonDotTable;
#endif

}  // namespace ftllm
