#include "graph/weight.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"

namespace ftllm {

Weight::Weight(FormatId format, int64_t experts, int64_t rows, int64_t columns,
               std::shared_ptr<Arena> arena)
    : format_(format), experts_(experts), rows_(rows), columns_(columns), arena_(std::move(arena)) {
  if (experts <= 0 || rows <= 0 || columns <= 0) {
    throw Error(Error::Kind::kCheckpoint,
                "a weight has shape " + std::to_string(experts) + " x " + std::to_string(rows) +
                    " x " + std::to_string(columns) + "; every dimension must be at least 1");
  }
  // 2^46 values: more than any machine holds, and far from where sizes in bytes overflow.
  if (static_cast<double>(experts) * static_cast<double>(rows) * static_cast<double>(columns) >
      0x1p46) {
    throw Error(Error::Kind::kCheckpoint, "a weight has shape " + std::to_string(experts) + " x " +
                                              std::to_string(rows) + " x " +
                                              std::to_string(columns) + "; no machine can hold it");
  }
  const int lanes = kernel_table().lanes;
  panels_ = (rows + lanes - 1) / lanes;
  panel_bytes_ = static_cast<int64_t>(ftllm::panel_bytes(format, lanes, columns));
  bytes_ = static_cast<size_t>(experts * panels_ * panel_bytes_);
  if (arena_ == nullptr) buffer_ = Buffer(bytes_);
  data_ = arena_ == nullptr ? buffer_.data() : arena_->allocate(bytes_);
}

void Weight::fill(int64_t expert, int64_t first_row, int64_t count, FormatId source,
                  const uint8_t* data, const int64_t* order, ThreadPool& pool) {
  const int lanes = kernel_table().lanes;
  const int64_t row_bytes = source_row_bytes(source, columns_);
  const int64_t first_panel = first_row / lanes;
  pool.parallel_for((count + lanes - 1) / lanes, [&](int64_t p, int) {
    const uint8_t* rows[64] = {};
    for (int r = 0; r < lanes && p * lanes + r < count; ++r) {
      const int64_t row = p * lanes + r;
      rows[r] = data + (order == nullptr ? row : order[row]) * row_bytes;
    }
    uint8_t* panel = data_ + (expert * panels_ + first_panel + p) * panel_bytes_;
    pack_panel(format_, source, rows, lanes, columns_, panel);
  });
}

void Weight::unpack(int64_t expert, int64_t row, float* out) const {
  const int lanes = kernel_table().lanes;
  unpack_row(format_, panel(expert, row / lanes), lanes, static_cast<int>(row % lanes), columns_,
             out);
}

int64_t source_row_bytes(FormatId format, int64_t columns) {
  const FormatInfo& info = format_info(format);
  if (info.source_bytes == 0) {
    throw Error(Error::Kind::kUnsupportedModel,
                std::string(info.name) + " is made at load and cannot be read from a file");
  }
  if (columns % info.block != 0 && !info.padded) {
    throw Error(Error::Kind::kCheckpoint, "a tensor of " + std::to_string(columns) +
                                              " columns cannot be stored as " + info.name +
                                              ", whose blocks have " + std::to_string(info.block));
  }
  return (columns + info.block - 1) / info.block * static_cast<int64_t>(info.source_bytes);
}

}  // namespace ftllm
