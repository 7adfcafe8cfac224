#include "graph/executor.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "bindings/bindings.h"

namespace py = pybind11;

namespace ftllm {
namespace {

using Ints = py::array_t<int32_t, py::array::c_style>;

std::span<const int32_t> view(const Ints& array) {
  return {array.data(), static_cast<size_t>(array.size())};
}

// Collects every value of a step as numpy arrays, by name; slices of outputs are joined.
py::dict run_trace(Executor& executor, const Graph& graph, const StepInput& input,
                   const StepOutput& output) {
  std::vector<std::unique_ptr<std::vector<float>>> values(graph.values().size());
  const Executor::Trace trace = [&](ValueId id, const float* data, int64_t rows) {
    std::unique_ptr<std::vector<float>>& value = values[static_cast<size_t>(id)];
    const int64_t width = graph.width(id);
    if (value == nullptr) {
      value = std::make_unique<std::vector<float>>();
      const size_t selected = input.output_rows.size() + input.pooled_rows.size();
      const bool slice = static_cast<size_t>(rows) < selected;
      value->reserve(static_cast<size_t>(width) * (slice ? selected : rows));
    }
    value->insert(value->end(), data, data + rows * width);
  };
  executor.step(input, output, &trace);
  py::dict named;
  for (size_t id = 0; id < values.size(); ++id) {
    if (values[id] == nullptr) values[id] = std::make_unique<std::vector<float>>();
    std::vector<float>* value = values[id].release();  // the array's from here on
    const py::capsule owner(value, [](void* held) {
      const std::unique_ptr<std::vector<float>> freed(static_cast<std::vector<float>*>(held));
    });
    const int64_t width = graph.values()[id].width;
    const int64_t rows = static_cast<int64_t>(value->size()) / width;
    named[py::str(graph.values()[id].name)] =
        py::array_t<float>({rows, width}, value->data(), owner);
  }
  return named;
}

class PyExecutor {
 public:
  PyExecutor(std::shared_ptr<Graph> graph, std::shared_ptr<ThreadPool> pool,
             const std::string& kv_type, int64_t kv_blocks, int64_t max_tokens,
             int64_t max_sequences)
      : graph_(graph),
        executor_(graph, std::move(pool), parse_kv_type(kv_type), kv_blocks, max_tokens,
                  max_sequences) {}

  // Returns (token_ids, logprobs, ranks, top_ids, top_logprobs, hidden[, values by name]).
  py::tuple step(const Ints& token_ids, const Ints& row_starts, const Ints& context_lens,
                 const Ints& block_tables, const Ints& output_rows, const Ints& output_targets,
                 const Ints& output_top, const Ints& output_drafts, const py::sequence& samplers,
                 const std::optional<Ints>& pooled_rows, const std::optional<Ints>& output_masks,
                 const TokenMasks* masks, bool trace) {
    const auto outputs = static_cast<int64_t>(output_rows.size());
    int64_t width = 0;
    for (const int32_t top : view(output_top)) width = std::max<int64_t>(width, top);
    py::array_t<int32_t> tokens(outputs);
    py::array_t<float> logprobs(outputs);
    py::array_t<int32_t> ranks(outputs);
    py::array_t<int32_t> top_ids({outputs, width});
    py::array_t<float> top_logprobs({outputs, width});
    const std::span<const int32_t> pooled =
        pooled_rows.has_value() ? view(*pooled_rows) : std::span<const int32_t>();
    py::array_t<float> hidden({static_cast<int64_t>(pooled.size()), executor_.hidden_width()});
    std::vector<const Sampler*> sampler_views;
    sampler_views.reserve(static_cast<size_t>(outputs));
    for (const py::handle sampler : samplers) {
      sampler_views.push_back(sampler.is_none() ? nullptr : sampler.cast<const Sampler*>());
    }
    const StepInput input{view(token_ids),
                          view(row_starts),
                          view(context_lens),
                          view(block_tables),
                          block_tables.ndim() == 2 ? block_tables.shape(1) : 0,
                          view(output_rows),
                          view(output_targets),
                          view(output_top),
                          view(output_drafts),
                          pooled,
                          sampler_views,
                          output_masks ? view(*output_masks) : std::span<const int32_t>{},
                          masks};
    const StepOutput output{tokens.mutable_data(),       logprobs.mutable_data(),
                            ranks.mutable_data(),        top_ids.mutable_data(),
                            top_logprobs.mutable_data(), width,
                            hidden.mutable_data()};
    if (trace) {
      const py::dict values = run_trace(executor_, *graph_, input, output);
      return py::make_tuple(tokens, logprobs, ranks, top_ids, top_logprobs, hidden, values);
    }
    {
      const py::gil_scoped_release release;
      executor_.step(input, output);
    }
    return py::make_tuple(tokens, logprobs, ranks, top_ids, top_logprobs, hidden);
  }

  const Executor& executor() const { return executor_; }

 private:
  std::shared_ptr<Graph> graph_;
  Executor executor_;
};

}  // namespace

void bind_executor(py::module_& module) {
  module.def(
      "kv_bytes_per_block",
      [](const std::string& kv_type, const std::vector<std::pair<int, int>>& layers) {
        std::vector<KvLayer> shapes;
        for (const auto& [kv_heads, head_dim] : layers) shapes.push_back({kv_heads, head_dim});
        return KvCache::bytes_per_block(parse_kv_type(kv_type), shapes);
      },
      py::arg("kv_type"), py::arg("layers"));
  py::class_<PyExecutor>(module, "Executor")
      .def(py::init<std::shared_ptr<Graph>, std::shared_ptr<ThreadPool>, const std::string&,
                    int64_t, int64_t, int64_t>(),
           py::kw_only(), py::arg("graph"), py::arg("pool"), py::arg("kv_type"),
           py::arg("kv_blocks"), py::arg("max_tokens"), py::arg("max_sequences"))
      .def("step", &PyExecutor::step, py::kw_only(), py::arg("token_ids"), py::arg("row_starts"),
           py::arg("context_lens"), py::arg("block_tables"), py::arg("output_rows"),
           py::arg("output_targets"), py::arg("output_top"), py::arg("output_drafts"),
           py::arg("samplers"), py::arg("pooled_rows") = py::none(),
           py::arg("output_masks") = py::none(), py::arg("masks") = py::none(),
           py::arg("trace") = false)
      .def_property_readonly("isa", [](const PyExecutor& e) { return e.executor().kernels().isa; })
      .def_property_readonly("threads", [](const PyExecutor& e) { return e.executor().threads(); })
      .def_property_readonly("kv_blocks",
                             [](const PyExecutor& e) { return e.executor().kv_blocks(); })
      .def_property_readonly("max_tokens",
                             [](const PyExecutor& e) { return e.executor().max_tokens(); })
      .def_property_readonly("max_sequences",
                             [](const PyExecutor& e) { return e.executor().max_sequences(); })
      .def_property_readonly("hidden_width",
                             [](const PyExecutor& e) { return e.executor().hidden_width(); })
      .def_property_readonly("workspace_bytes",
                             [](const PyExecutor& e) { return e.executor().workspace_bytes(); });
}

}  // namespace ftllm
