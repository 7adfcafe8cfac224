#include "isa/avx512vnni_vectors.h"
#include "isa/instantiate.h"
#include "isa/tables.h"

// AVX-512 F, BW, DQ and VL with VNNI.
namespace ftllm {

constexpr KernelTable kAvx512VnniTable = make_kernel_table<Avx512VnniVectors>("avx512vnni");

}  // namespace ftllm
