#include "graph/graph.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "bindings/bindings.h"
#include "graph/ops.h"

namespace py = pybind11;

namespace ftllm {
namespace {

using Floats = py::array_t<float, py::array::c_style | py::array::forcecast>;

VectorPtr to_vector(const std::optional<Floats>& values) {
  if (!values.has_value()) return nullptr;
  return std::make_shared<const std::vector<float>>(values->data(),
                                                    values->data() + values->size());
}

Activation to_activation(const std::string& name) {
  if (name == "silu") return Activation::kSilu;
  if (name == "gelu_tanh") return Activation::kGelu;
  throw Error(Error::Kind::kUnsupportedModel,
              "activation '" + name + "' is not supported; supported are silu, gelu_tanh");
}

}  // namespace

void bind_graph(py::module_& module) {
  py::class_<Graph, std::shared_ptr<Graph>>(module, "Graph")
      .def(py::init<>())
      .def("set_location", &Graph::set_location, py::arg("scope"), py::arg("source"))
      .def("width", &Graph::width, py::arg("value"))
      .def(
          "embedding",
          [](Graph& g, std::shared_ptr<Weight> table, float factor) {
            return add_embedding(g, std::move(table), factor);
          },
          py::arg("table"), py::arg("factor"))
      .def(
          "linear",
          [](Graph& g, ValueId x, std::shared_ptr<Weight> weight,
             const std::optional<Floats>& bias) {
            return add_linear(g, x, std::move(weight), to_vector(bias));
          },
          py::arg("x"), py::arg("weight"), py::arg("bias"))
      .def(
          "rms_norm",
          [](Graph& g, ValueId x, const Floats& weight, float eps) {
            return add_rms_norm(g, x, to_vector(weight), eps);
          },
          py::arg("x"), py::arg("weight"), py::arg("eps"))
      .def(
          "layer_norm",
          [](Graph& g, ValueId x, const Floats& weight, const Floats& bias, float eps) {
            return add_layer_norm(g, x, to_vector(weight), to_vector(bias), eps);
          },
          py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("eps"))
      .def(
          "positions",
          [](Graph& g, ValueId x, const Floats& table, int64_t first) {
            return add_positions(g, x, to_vector(table), first);
          },
          py::arg("x"), py::arg("table"), py::arg("first"))
      .def(
          "rope_table",
          [](Graph& g, const std::vector<float>& frequencies, float factor) {
            return g.add_rope_table({frequencies, factor});
          },
          py::arg("frequencies"), py::arg("factor"))
      .def("rope", &add_rope, py::arg("x"), py::arg("table"), py::arg("head_dim"))
      .def("attention", &add_attention, py::arg("q"), py::arg("k"), py::arg("v"), py::arg("layer"),
           py::arg("head_dim"), py::arg("scale"), py::arg("window"), py::arg("causal") = true)
      .def("add", &add_add, py::arg("a"), py::arg("b"))
      .def("scale", &add_scale, py::arg("x"), py::arg("factor"))
      .def("soft_cap", &add_soft_cap, py::arg("x"), py::arg("limit"))
      .def("gelu", &add_gelu, py::arg("x"))
      .def(
          "gated",
          [](Graph& g, ValueId gate, ValueId up, const std::string& activation) {
            return add_gated(g, gate, up, to_activation(activation));
          },
          py::arg("gate"), py::arg("up"), py::arg("activation"))
      .def(
          "experts",
          [](Graph& g, ValueId x, ValueId router, std::shared_ptr<Weight> gate,
             std::shared_ptr<Weight> up, std::shared_ptr<Weight> down, int top_k, bool normalize,
             const std::string& activation) {
            return add_experts(g, x, router,
                               {std::move(gate), std::move(up), std::move(down), top_k, normalize,
                                to_activation(activation)});
          },
          py::arg("x"), py::arg("router"), py::arg("gate"), py::arg("up"), py::arg("down"),
          py::arg("top_k"), py::arg("normalize"), py::arg("activation"))
      .def("select_outputs", &add_select_outputs, py::arg("x"))
      .def("set_logits", &Graph::set_logits, py::arg("logits"))
      .def("set_hidden", &Graph::set_hidden, py::arg("hidden"))
      .def_property_readonly("names",
                             [](const Graph& g) {
                               std::vector<std::string> names;
                               for (const Value& value : g.values()) names.push_back(value.name);
                               return names;
                             })
      .def_property_readonly("kv_layers", [](const Graph& g) {
        std::vector<std::pair<int, int>> layers;
        for (const KvLayer& layer : g.kv_layers()) {
          layers.emplace_back(layer.kv_heads, layer.head_dim);
        }
        return layers;
      });
}

}  // namespace ftllm
