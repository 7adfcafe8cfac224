#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "formats/list.h"

// Type-erased access to the formats, for loading and tests. Nothing here runs inside a step.
namespace ftllm {

struct FormatInfo {
  const char* name;
  int block;            // columns of a source block; 1 for float formats
  size_t source_bytes;  // bytes of a source block; 0 if no file stores this format
  bool is_block;        // block format (int8 activations) or float format
  bool padded;          // a row may end within its last source block
};

const FormatInfo& format_info(FormatId format);

// The format called `name`; throws Error that lists the known ones.
FormatId parse_format(std::string_view name);

// Bytes of one panel: `nr` rows of `columns` columns, padded to whole blocks.
size_t panel_bytes(FormatId format, int nr, int64_t columns);

// Packs one panel. rows[r] points at row r as stored in `source`; nullptr stands for a row of
// zeros. Converts through float when the formats differ. `panel` must be zeroed.
void pack_panel(FormatId target, FormatId source, const uint8_t* const* rows, int nr,
                int64_t columns, uint8_t* panel);

// Row `row` of a panel as float32, columns values: the scalar truth that kernels are tested
// against.
void unpack_row(FormatId format, const uint8_t* panel, int nr, int row, int64_t columns,
                float* out);

}  // namespace ftllm
