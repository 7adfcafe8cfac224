#pragma once

#include "kernels/table.h"

// The tables that the ISA units define. Each unit is compiled with its own flags.
namespace ftllm {

extern const KernelTable kScalarTable;
#if defined(__x86_64__)
extern const KernelTable kAvx2Table;
extern const KernelTable kAvx512VnniTable;
#endif

}  // namespace ftllm
