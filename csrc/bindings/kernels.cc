#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "bindings/bindings.h"
#include "cache/kv_cache.h"
#include "graph/weight.h"
#include "kernels/activations.h"
#include "kernels/table.h"

// The kernels of this process's ISA one by one, for tests: numpy arrays in, new arrays out. A shape
// that does not fit is std::invalid_argument.
namespace py = pybind11;

namespace ftllm {
namespace {

using Floats = py::array_t<float, py::array::c_style | py::array::forcecast>;
using Ints = py::array_t<int32_t, py::array::c_style | py::array::forcecast>;

void require(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

Floats empty_like(const Floats& x) {
  return Floats(std::vector<py::ssize_t>(x.shape(), x.shape() + x.ndim()));
}

std::vector<uint8_t> make_tiles(const float* x, int64_t rows, int64_t columns) {
  std::vector<uint8_t> tiles(static_cast<size_t>(activation_tile_bytes(columns, rows)));
  kernel_table().quantize_rows(x, columns, columns, 0, rows, rows, tiles.data());
  return tiles;
}

py::tuple quantize_activations(const Floats& x) {
  require(x.ndim() == 2 && x.size() > 0, "x must be (M, K)");
  const int64_t m = x.shape(0);
  const int64_t blocks = (x.shape(1) + kActivationBlock - 1) / kActivationBlock;
  const std::vector<uint8_t> tiles = make_tiles(x.data(), m, x.shape(1));
  py::array_t<int8_t> codes({m, blocks * kActivationBlock});
  Floats scales({m, blocks});
  const int64_t tile_rows = kernel_table().tile_rows;
  for (int64_t row = 0; row < m; ++row) {
    const int64_t first = row / tile_rows * tile_rows;
    const auto rows = static_cast<int>(std::min(tile_rows, m - first));
    for (int64_t b = 0; b < blocks; ++b) {
      const ActivationBlock block(tiles.data() + first * blocks * kActivationBlockBytes, b, rows);
      for (int j = 0; j < 8; ++j) {
        std::memcpy(codes.mutable_data(row, b * kActivationBlock + 4 * j),
                    block.quads + j * rows + (row - first), 4);
      }
      *scales.mutable_data(row, b) = block.scale[row - first];
    }
  }
  return py::make_tuple(codes, scales);
}

Floats linear(const Weight& weight, const Floats& x, const std::optional<Floats>& bias,
              int64_t expert, int64_t rows_per_call, int64_t panels_per_call, int threads) {
  require(x.ndim() == 2 && x.size() > 0 && x.shape(1) == weight.columns(), "x must be (M, K)");
  require(!bias.has_value() || bias->size() == weight.rows(), "bias must be (N,)");
  require(expert >= 0 && expert < weight.experts(), "there is no such expert");
  require(rows_per_call > 0 && rows_per_call % kernel_table().tile_rows == 0,
          "rows_per_call must be a multiple of tile_rows()");
  require(panels_per_call > 0 && threads > 0 && threads <= 64,
          "panels_per_call and threads must be at least 1");
  const int64_t m = x.shape(0);
  const std::vector<uint8_t> tiles =
      weight.is_block() ? make_tiles(x.data(), m, weight.columns()) : std::vector<uint8_t>();
  Floats y({m, weight.rows()});
  float* values = y.mutable_data();
  const int64_t row_calls = (m + rows_per_call - 1) / rows_per_call;
  const int64_t panel_calls = (weight.panels() + panels_per_call - 1) / panels_per_call;
  ThreadPool pool(threads);
  const int64_t scratch_bytes = linear_scratch_bytes(kernel_table(), weight.columns());
  std::vector<uint8_t> scratch(static_cast<size_t>(threads * scratch_bytes));
  pool.parallel_for(row_calls * panel_calls, [&](int64_t item, int thread) {
    const int64_t panel = item / row_calls * panels_per_call;
    const int64_t row = item % row_calls * rows_per_call;
    kernel_table().linear[static_cast<int>(weight.format())](LinearTask{
        .panels = weight.panel(expert, 0),
        .panel_bytes = weight.panel_bytes(),
        .panel_begin = panel,
        .panel_end = std::min(weight.panels(), panel + panels_per_call),
        .rows = weight.rows(),
        .columns = weight.columns(),
        .x = x.data(),
        .x_stride = weight.columns(),
        .tiles = tiles.data(),
        .row_begin = row,
        .row_end = std::min(m, row + rows_per_call),
        .m = m,
        .y = values,
        .y_stride = weight.rows(),
        .bias = bias.has_value() ? bias->data() : nullptr,
        .scratch = scratch.data() + thread * scratch_bytes,
    });
  });
  return y;
}

using Binary = void (*KernelTable::*)(const float*, const float*, int64_t, float*) noexcept;

template <Binary kernel>
Floats binary(const Floats& a, const Floats& b) {
  require(a.size() == b.size(), "the operands must have one size");
  Floats y = empty_like(a);
  (kernel_table().*kernel)(a.data(), b.data(), a.size(), y.mutable_data());
  return y;
}

using Unary = void (*KernelTable::*)(const float*, float, int64_t, float*) noexcept;

template <Unary kernel>
Floats unary(const Floats& x, float parameter) {
  Floats y = empty_like(x);
  (kernel_table().*kernel)(x.data(), parameter, x.size(), y.mutable_data());
  return y;
}

Floats scaled_add(const Floats& x, float factor, const Floats& y) {
  require(x.size() == y.size(), "the operands must have one size");
  Floats sum = empty_like(y);
  std::copy(y.data(), y.data() + y.size(), sum.mutable_data());
  kernel_table().scaled_add(x.data(), factor, x.size(), sum.mutable_data());
  return sum;
}

Floats rms_norm(const Floats& x, const Floats& weight, float eps) {
  require(x.ndim() == 1 && x.size() > 0 && x.size() == weight.size(), "x and weight must be (K,)");
  Floats y = empty_like(x);
  kernel_table().rms_norm(x.data(), weight.data(), eps, x.size(), y.mutable_data());
  return y;
}

Floats layer_norm(const Floats& x, const Floats& weight, const Floats& bias, float eps) {
  require(x.ndim() == 1 && x.size() > 0 && x.size() == weight.size() && x.size() == bias.size(),
          "x, weight and bias must be (K,)");
  Floats y = empty_like(x);
  kernel_table().layer_norm(x.data(), weight.data(), bias.data(), eps, x.size(), y.mutable_data());
  return y;
}

Floats gelu(const Floats& x) {
  Floats y = empty_like(x);
  kernel_table().gelu(x.data(), x.size(), y.mutable_data());
  return y;
}

Floats rotate_half(const Floats& x, const Floats& cos, const Floats& sin) {
  require(cos.size() == sin.size() && 2 * cos.size() <= x.size(), "cos and sin must be (pairs,)");
  Floats y = empty_like(x);
  std::copy(x.data(), x.data() + x.size(), y.mutable_data());
  kernel_table().rotate_half(cos.data(), sin.data(), cos.size(), y.mutable_data());
  return y;
}

// One KV head: writes k and v (S, D) of positions 0 to S - 1 into blocks full of the byte `fill`,
// then attends with q (T, H, D) at positions from `position` on, rows_per_call rows a call; with
// `split` each chunk of the context in a call of its own, the last one first.
Floats attention(const std::string& kv_type, const Floats& q, const Floats& k, const Floats& v,
                 const Ints& block_table, int64_t blocks, int64_t position, float scale,
                 int64_t window, bool causal, int rows_per_call, int fill, bool split) {
  require(q.ndim() == 3 && k.ndim() == 2 && v.ndim() == 2 && q.size() > 0, "q is (T, H, D)");
  const int64_t tokens = k.shape(0);
  const auto head_dim = static_cast<int>(k.shape(1));
  const auto heads = static_cast<int>(q.shape(1));
  require(v.shape(0) == tokens && v.shape(1) == head_dim && q.shape(2) == head_dim,
          "k and v must be (S, D)");
  require(head_dim % 16 == 0, "D must be a multiple of 16");
  require(position >= 0 && position + q.shape(0) <= tokens, "q lies beyond the keys");
  require(rows_per_call > 0 && rows_per_call * heads <= kAttentionRows, "too many rows a call");
  require(block_table.size() * kKvBlock >= tokens, "the block table is too short");
  for (py::ssize_t i = 0; i < block_table.size(); ++i) {
    require(block_table.at(i) >= 0 && block_table.at(i) < blocks, "there is no such block");
  }
  const KvType type = parse_kv_type(kv_type);
  const KvCache cache(type, {{1, head_dim}}, blocks);
  std::memset(cache.head(0, 0), fill, static_cast<size_t>(blocks * cache.block_bytes(0)));
  const KernelTable& kernels = kernel_table();
  for (int64_t t = 0; t < tokens; ++t) {
    uint8_t* block = cache.head(0, 0) + block_table.at(t / kKvBlock) * cache.block_bytes(0);
    kernels.kv_write[static_cast<int>(type)]({.k = k.data(t, 0),
                                              .v = v.data(t, 0),
                                              .k_block = block,
                                              .v_block = block + cache.k_bytes(0),
                                              .head_dim = head_dim,
                                              .slot = static_cast<int>(t % kKvBlock)});
  }
  Floats out = empty_like(q);
  std::vector<float> scratch(static_cast<size_t>(attention_scratch_floats(head_dim)));
  const int64_t width = int64_t{heads} * head_dim;
  for (int64_t row = 0; row < q.shape(0); row += rows_per_call) {
    AttentionTask task{
        .q = q.data() + row * width,
        .q_stride = width,
        .out = out.mutable_data() + row * width,
        .out_stride = width,
        .rows = static_cast<int>(std::min<int64_t>(rows_per_call, q.shape(0) - row)),
        .heads = heads,
        .head_dim = head_dim,
        .position = position + row,
        .block_table = block_table.data(),
        .k = cache.head(0, 0),
        .v = cache.head(0, 0) + cache.k_bytes(0),
        .block_bytes = cache.block_bytes(0),
        .scale = scale,
        .window = window,
        .end = causal ? 0 : tokens,
        .scratch = scratch.data(),
    };
    if (!split) {
      kernels.attention[static_cast<int>(type)](task);
      continue;
    }
    const int64_t begin = task.oldest() / (kAttentionChunk * kKvBlock);
    const int64_t end = task.newest() / (kAttentionChunk * kKvBlock) + 1;
    const int64_t chunk_floats = task.rows * task.heads * attention_state_floats(head_dim);
    std::vector<float> states(static_cast<size_t>((end - begin) * chunk_floats));
    for (int64_t c = end - 1; c >= begin; --c) {
      task.states = states.data() + (c - begin) * chunk_floats;
      task.chunk_begin = c;
      task.chunk_end = c + 1;
      kernels.attention[static_cast<int>(type)](task);
    }
    task.chunk_end = end;
    kernels.add_chunks(task);
  }
  return out;
}

}  // namespace

void bind_kernels(py::module_& module) {
  py::module_ m = module.def_submodule("kernels", "Single kernels, for tests.");
  m.def("tile_rows", [] { return kernel_table().tile_rows; });
  m.def("quantize_rows", &quantize_activations, py::arg("x"));
  m.def("linear", &linear, py::kw_only(), py::arg("weight"), py::arg("x"),
        py::arg("bias") = py::none(), py::arg("expert") = 0, py::arg("rows_per_call") = 960,
        py::arg("panels_per_call") = 1 << 20, py::arg("threads") = 1);
  m.def("add", &binary<&KernelTable::add>, py::arg("a"), py::arg("b"));
  m.def("silu_mul", &binary<&KernelTable::silu_mul>, py::arg("gate"), py::arg("up"));
  m.def("gelu_mul", &binary<&KernelTable::gelu_mul>, py::arg("gate"), py::arg("up"));
  m.def("scale", &unary<&KernelTable::scale>, py::arg("x"), py::arg("factor"));
  m.def("soft_cap", &unary<&KernelTable::soft_cap>, py::arg("x"), py::arg("limit"));
  m.def("scaled_add", &scaled_add, py::arg("x"), py::arg("factor"), py::arg("y"));
  m.def("rms_norm", &rms_norm, py::arg("x"), py::arg("weight"), py::arg("eps"));
  m.def("layer_norm", &layer_norm, py::arg("x"), py::arg("weight"), py::arg("bias"),
        py::arg("eps"));
  m.def("gelu", &gelu, py::arg("x"));
  m.def("rotate_half", &rotate_half, py::arg("x"), py::arg("cos"), py::arg("sin"));
  m.def("attention", &attention, py::kw_only(), py::arg("kv_type"), py::arg("q"), py::arg("k"),
        py::arg("v"), py::arg("block_table"), py::arg("blocks"), py::arg("position"),
        py::arg("scale"), py::arg("window") = 0, py::arg("causal") = true,
        py::arg("rows_per_call") = 1, py::arg("fill") = 0, py::arg("split") = false);
}

}  // namespace ftllm
