#include "isa/amx_linear.h"
#include "isa/instantiate.h"
#include "isa/tables.h"

// AMX's tiles of int8 beside AVX-512 F, BW, DQ, VL and VNNI.
namespace ftllm {
namespace {

struct Amx : Avx512VnniVectors {
  static constexpr int kTileRows = kAmxRows;
  static constexpr int kTilePanels = 1;

  template <class Format>
  static void linear(const LinearTask& task) noexcept {
    amx_linear<Format>(task);
  }
};

}  // namespace

constexpr KernelTable kAmxTable = make_kernel_table<Amx>("amx");

}  // namespace ftllm
