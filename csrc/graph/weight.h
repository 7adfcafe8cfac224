#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/input_file.h"
#include "base/thread_pool.h"
#include "formats/packing.h"
#include "kernels/table.h"

namespace ftllm {

// A weight matrix of `rows` × `columns` (times `experts`), packed for the kernels of this process.
class Weight {
 public:
  // Zeros, in memory of `arena`, which it keeps alive, or by itself.
  Weight(FormatId format, int64_t experts, int64_t rows, int64_t columns,
         std::shared_ptr<Arena> arena = nullptr);

  FormatId format() const { return format_; }
  int64_t experts() const { return experts_; }
  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  int64_t panels() const { return panels_; }  // of one expert
  int64_t panel_bytes() const { return panel_bytes_; }
  size_t bytes() const { return bytes_; }
  bool is_block() const { return format_info(format_).is_block; }
  const uint8_t* panel(int64_t expert, int64_t panel) const {
    return data_ + (expert * panels_ + panel) * panel_bytes_;
  }

  // Packs rows [first_row, first_row + count) of an expert from `data`, stored in `source` row
  // after row. first_row must begin a panel; count must end one, or end the expert. `order`, when
  // given, says which row of `data` (count entries) each packed row comes from.
  void fill(int64_t expert, int64_t first_row, int64_t count, FormatId source, const uint8_t* data,
            const int64_t* order, ThreadPool& pool);

  // Takes over packed bytes from `offset` of `file` on and returns their checksum. As in fill(),
  // threads write the panels that their group owns, which puts these on the group's NUMA node.
  // Throws Error when they cannot be read.
  uint64_t read(const InputFile& file, int64_t offset, ThreadPool& pool);

  // Of the packed bytes.
  uint64_t checksum(ThreadPool& pool) const;

  // Row as float32, the scalar truth.
  void unpack(int64_t expert, int64_t row, float* out) const;

 private:
  uint64_t sum_of(int64_t begin, int64_t end) const;
  void keep_nodes_apart(const ThreadPool& pool) const;

  FormatId format_;
  int64_t experts_;
  int64_t rows_;
  int64_t columns_;
  int64_t panels_;
  int64_t panel_bytes_;
  size_t bytes_;
  std::shared_ptr<Arena> arena_;
  Buffer buffer_;  // empty where there is an arena
  uint8_t* data_ = nullptr;
};

// What besides format and shape decides where a packed weight's bytes lie.
std::string packed_layout();

// Bytes of one row as a file stores it in `format`. Throws Error when `columns` is not a whole
// number of blocks, or when no file stores this format.
int64_t source_row_bytes(FormatId format, int64_t columns);

}  // namespace ftllm
