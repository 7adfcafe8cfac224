#pragma once

#include "kernels/attention.h"
#include "kernels/elementwise.h"
#include "kernels/limits.h"
#include "kernels/linear_block.h"
#include "kernels/linear_float.h"
#include "kernels/table.h"

// Every kernel for one ISA. Included by the ISA units only; `Isa` lives in an anonymous namespace
// there, so that each instantiation is private to its unit.
namespace ftllm {

// The linear kernel of a block format: the ISA's own where it has one.
template <class Isa, class Format>
constexpr auto block_kernel() {
  if constexpr (requires(const LinearTask& task) { Isa::template linear<Format>(task); }) {
    return &Isa::template linear<Format>;
  } else {
    return &linear_block<Isa, Format>;
  }
}

template <class Isa>
constexpr KernelTable make_kernel_table(const char* name) {
  return KernelTable{
      .isa = name,
      .lanes = Isa::kLanes,
      .tile_rows = Isa::kTileRows,
      .tile_panels = Isa::kTilePanels,
      .linear = {linear_float<Isa, ElementF32>, linear_float<Isa, ElementF16>,
                 linear_float<Isa, ElementBF16>, linear_float<Isa, ElementFp8>,
#define FTLLM_LINEAR(id, Format) block_kernel<Isa, Format>(),
                 FTLLM_BLOCK_FORMATS(FTLLM_LINEAR)
#undef FTLLM_LINEAR
      },
      .quantize_rows = quantize_rows<Isa>,
      .rms_norm = rms_norm<Isa>,
      .layer_norm = layer_norm<Isa>,
      .add = add<Isa>,
      .scale = scale<Isa>,
      .silu_mul = silu_mul<Isa>,
      .gelu_mul = gelu_mul<Isa>,
      .gelu = gelu<Isa>,
      .scaled_add = scaled_add<Isa>,
      .soft_cap = soft_cap<Isa>,
      .rotate_half = rotate_half<Isa>,
      .kv_write = {kv_write<Isa, ElementF32>, kv_write<Isa, ElementF16>, kv_write<Isa, ElementBF16>,
                   kv_write<Isa, ElementInt8>},
      .attention = {attention<Isa, ElementF32>, attention<Isa, ElementF16>,
                    attention<Isa, ElementBF16>, attention<Isa, ElementInt8>},
      .add_chunks = add_chunks<Isa>,
      .float_limit = float_limit<Isa>,
      .int8_limit = int_limit<Isa, false>,
      .int4_limit = nibble_limit<Isa>,
      .read_limit = read_limit<Isa>,
  };
}

}  // namespace ftllm
