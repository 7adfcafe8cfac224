#pragma once

#include <stdexcept>
#include <string>

namespace ftllm {

// Raised while a model is loaded or a graph is built; bindings turn it into ftllm's Python error of
// the same kind. Nothing that runs inside a step throws.
class Error : public std::runtime_error {
 public:
  enum class Kind { kOption, kCheckpoint, kUnsupportedModel, kGraph };

  Error(Kind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  Kind kind() const { return kind_; }

 private:
  Kind kind_;
};

}  // namespace ftllm
