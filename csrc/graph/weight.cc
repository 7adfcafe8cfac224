#include "graph/weight.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>
#include <utility>

#include "base/checksum.h"
#include "base/error.h"

namespace ftllm {

namespace {

constexpr int64_t kRunBytes = 256 << 10;  // read by one thread at a time

// Calls body(first, last) over runs of at most `run` panels that together are [begin, end) of a
// weight's `panels`, on threads of the group that owns them.
template <class Body>
void for_panels(ThreadPool& pool, int64_t panels, int64_t begin, int64_t end, int64_t run,
                ThreadPool::Help help, const Body& body) {
  const auto edge = [&](int group) { return std::clamp(pool.share(panels, group), begin, end); };
  int64_t runs[ThreadPool::kMaxGroups];
  for (int g = 0; g < pool.groups(); ++g) runs[g] = (edge(g + 1) - edge(g) + run - 1) / run;
  pool.parallel_for_groups(
      {runs, static_cast<size_t>(pool.groups())},
      [&](int group, int64_t item, int) {
        const int64_t first = edge(group) + item * run;
        body(first, std::min(edge(group + 1), first + run));
      },
      help);
}

}  // namespace

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
  const int64_t begin = first_row / lanes;
  const int64_t end = begin + (count + lanes - 1) / lanes;
  if (pool.groups() > 1) keep_nodes_apart(pool);
  for_panels(pool, panels_, begin, end, 1, ThreadPool::Help::kNo, [&](int64_t panel, int64_t) {
    const uint8_t* rows[64] = {};
    for (int r = 0; r < lanes && (panel - begin) * lanes + r < count; ++r) {
      const int64_t row = (panel - begin) * lanes + r;
      rows[r] = data + (order == nullptr ? row : order[row]) * row_bytes;
    }
    pack_panel(format_, source, rows, lanes, columns_,
               data_ + (expert * panels_ + panel) * panel_bytes_);
  });
}

uint64_t Weight::read(const InputFile& file, int64_t offset, ThreadPool& pool) {
  const int64_t run = std::max<int64_t>(1, kRunBytes / panel_bytes_);
  if (pool.groups() > 1) keep_nodes_apart(pool);
  std::atomic<uint64_t> sum{0};
  std::atomic<int> failure{0};
  for (int64_t e = 0; e < experts_; ++e) {
    for_panels(
        pool, panels_, 0, panels_, run, ThreadPool::Help::kNo, [&](int64_t begin, int64_t end) {
          const int64_t at = (e * panels_ + begin) * panel_bytes_;
          const int error =
              file.read(data_ + at, static_cast<size_t>((end - begin) * panel_bytes_), offset + at);
          if (error != 0) failure.store(error, std::memory_order_relaxed);
          sum.fetch_add(sum_of(e * panels_ + begin, e * panels_ + end), std::memory_order_relaxed);
        });
  }
  if (const int error = failure.load(); error != 0) {
    throw Error(Error::Kind::kCheckpoint,
                std::string("packed weights cannot be read: ") +
                    (error < 0 ? "the file ends too early" : std::strerror(error)));
  }
  return sum.load();
}

uint64_t Weight::checksum(ThreadPool& pool) const {
  const int64_t panels = experts_ * panels_;
  const int64_t run = std::max<int64_t>(1, kRunBytes / panel_bytes_);
  std::atomic<uint64_t> sum{0};
  pool.parallel_for((panels + run - 1) / run, [&](int64_t item, int) {
    sum.fetch_add(sum_of(item * run, std::min(panels, (item + 1) * run)),
                  std::memory_order_relaxed);
  });
  return sum.load();
}

// Of panels [begin, end), counted over all experts; the same however they are added up.
uint64_t Weight::sum_of(int64_t begin, int64_t end) const {
  uint64_t sum = 0;
  for (int64_t p = begin; p < end; ++p) {
    sum += mix_bits(ftllm::checksum(data_ + p * panel_bytes_, panel_bytes_) +
                    static_cast<uint64_t>(p));
  }
  return sum;
}

// A huge page that panels of two groups share would be on the node of whoever touched it first.
void Weight::keep_nodes_apart(const ThreadPool& pool) const {
  if (experts_ > 1) {  // so many edges that the system's limit of mappings could be reached
    forbid_huge_pages(data_, data_ + bytes_);
    return;
  }
  for (int g = 1; g < pool.groups(); ++g) {
    forbid_huge_page_at(panel(0, pool.share(panels_, g)), data_, data_ + bytes_);
  }
}

void Weight::unpack(int64_t expert, int64_t row, float* out) const {
  const int lanes = kernel_table().lanes;
  unpack_row(format_, panel(expert, row / lanes), lanes, static_cast<int>(row % lanes), columns_,
             out);
}

std::string packed_layout() {
  return "panels of " + std::to_string(kernel_table().lanes) + " rows";
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
