#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"
#include "bindings/bindings.h"
#include "graph/weight.h"

namespace py = pybind11;

namespace ftllm {
namespace {

using Order = py::array_t<int64_t, py::array::c_style | py::array::forcecast>;

void fill(Weight& weight, int64_t expert, int64_t first_row, int64_t count,
          const std::string& source, const py::buffer& data, const std::optional<Order>& order,
          ThreadPool& pool) {
  const FormatId format = parse_format(source);
  const py::buffer_info info = data.request();
  const int lanes = kernel_table().lanes;
  const int64_t needed = count * source_row_bytes(format, weight.columns());
  if (expert < 0 || expert >= weight.experts() || first_row < 0 || count < 1 ||
      count > weight.rows() - first_row || first_row % lanes != 0 ||
      (count % lanes != 0 && first_row + count != weight.rows())) {
    throw Error(Error::Kind::kCheckpoint, "rows " + std::to_string(first_row) + " to " +
                                              std::to_string(first_row + count) + " of expert " +
                                              std::to_string(expert) + " cannot be filled");
  }
  if (info.size * info.itemsize != needed) {
    throw Error(Error::Kind::kCheckpoint,
                std::to_string(count) + " rows of " + std::to_string(weight.columns()) + " " +
                    source + " values take " + std::to_string(needed) + " bytes, not " +
                    std::to_string(info.size * info.itemsize));
  }
  const int64_t* rows = nullptr;
  if (order.has_value()) {
    if (order->size() != count) {
      throw Error(Error::Kind::kCheckpoint, "the row order has " + std::to_string(order->size()) +
                                                " entries for " + std::to_string(count) + " rows");
    }
    rows = order->data();
    for (int64_t i = 0; i < count; ++i) {
      if (rows[i] < 0 || rows[i] >= count) {
        throw Error(Error::Kind::kCheckpoint, "the row order names row " + std::to_string(rows[i]) +
                                                  " of " + std::to_string(count));
      }
    }
  }
  const auto* bytes = static_cast<const uint8_t*>(info.ptr);
  const py::gil_scoped_release release;
  weight.fill(expert, first_row, count, format, bytes, rows, pool);
}

// A view of the packed bytes, which keeps the weight alive.
py::buffer_info packed_bytes(Weight& weight) {
  return {const_cast<uint8_t*>(weight.panel(0, 0)), static_cast<py::ssize_t>(weight.bytes()), true};
}

py::array_t<float> unpack(const Weight& weight, int64_t expert) {
  if (expert < 0 || expert >= weight.experts()) {
    throw py::index_error("expert " + std::to_string(expert) + " of " +
                          std::to_string(weight.experts()));
  }
  py::array_t<float> values({weight.rows(), weight.columns()});
  for (int64_t row = 0; row < weight.rows(); ++row) {
    weight.unpack(expert, row, values.mutable_data(row, 0));
  }
  return values;
}

}  // namespace

void bind_weights(py::module_& module) {
  py::class_<Arena, std::shared_ptr<Arena>>(module, "Arena")
      .def(py::init<>())
      .def_property_readonly("nbytes", &Arena::bytes);

  py::class_<InputFile>(module, "InputFile").def(py::init<int>(), py::arg("descriptor"));

  py::class_<Weight, std::shared_ptr<Weight>>(module, "Weight", py::buffer_protocol())
      .def(py::init([](const std::string& format, int64_t rows, int64_t columns, int64_t experts,
                       std::shared_ptr<Arena> arena) {
             return std::make_shared<Weight>(parse_format(format), experts, rows, columns,
                                             std::move(arena));
           }),
           py::kw_only(), py::arg("format"), py::arg("rows"), py::arg("columns"),
           py::arg("experts") = 1, py::arg("arena") = std::shared_ptr<Arena>())
      .def("fill", &fill, py::kw_only(), py::arg("expert") = 0, py::arg("first_row"),
           py::arg("count"), py::arg("source"), py::arg("data"), py::arg("order") = py::none(),
           py::arg("pool"))
      .def_buffer(&packed_bytes)
      .def("read", &Weight::read, py::kw_only(), py::arg("file"), py::arg("offset"),
           py::arg("pool"), py::call_guard<py::gil_scoped_release>())
      .def("checksum", &Weight::checksum, py::kw_only(), py::arg("pool"),
           py::call_guard<py::gil_scoped_release>())
      .def("unpack", &unpack, py::arg("expert") = 0)
      .def_property_readonly("format", [](const Weight& w) { return format_info(w.format()).name; })
      .def_property_readonly("experts", &Weight::experts)
      .def_property_readonly("rows", &Weight::rows)
      .def_property_readonly("columns", &Weight::columns)
      .def_property_readonly("nbytes", &Weight::bytes);

  module.def("panel_rows", [] { return kernel_table().lanes; });
  module.def("packed_layout", &packed_layout);
  module.def("weight_formats", [] {
    std::vector<std::string> names;
    for (int i = 0; i < kFormatCount; ++i) {
      names.emplace_back(format_info(static_cast<FormatId>(i)).name);
    }
    return names;
  });
  module.def("format_block", [](const std::string& format) {
    const FormatInfo& info = format_info(parse_format(format));
    return py::make_tuple(info.block, info.source_bytes);
  });
}

}  // namespace ftllm
