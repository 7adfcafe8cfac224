#include <exception>

#include "base/error.h"
#include "bindings/bindings.h"

namespace py = pybind11;

namespace ftllm {
namespace {

const char* python_class(Error::Kind kind) {
  switch (kind) {
    case Error::Kind::kOption:
      return "OptionError";
    case Error::Kind::kCheckpoint:
      return "CheckpointError";
    case Error::Kind::kUnsupportedModel:
      return "UnsupportedModelError";
    case Error::Kind::kGraph:
      return "GraphError";
  }
  return "FtllmError";
}

}  // namespace

void bind_errors(py::module_&) {
  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const Error& error) {
      const py::object type = py::module_::import("ftllm.errors").attr(python_class(error.kind()));
      py::set_error(type, error.what());
    }
  });
}

}  // namespace ftllm
