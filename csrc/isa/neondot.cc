#include "isa/instantiate.h"
#include "isa/neon_vectors.h"
#include "isa/tables.h"

// Armv8.2's NEON with the dot product of bytes (FEAT_DotProd).
namespace ftllm {

constexpr KernelTable kNeonDotTable = make_kernel_table<NeonVectors>("neondot");

}  // namespace ftllm
