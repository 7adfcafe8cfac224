#include "bindings/bindings.h"
#include "kernels/table.h"

PYBIND11_MODULE(_core, module) {
  module.doc() = "The C++ engine: kernels, graph executor, KV cache and sampler.";
  ftllm::bind_errors(module);
  ftllm::bind_thread_pool(module);
  ftllm::bind_weights(module);
  ftllm::bind_graph(module);
  ftllm::bind_sampling(module);
  ftllm::bind_executor(module);
  ftllm::bind_kernels(module);
  ftllm::bind_timing(module);
  module.def("isa", [] { return ftllm::kernel_table().isa; });
  module.attr("KV_BLOCK_SIZE") = ftllm::kKvBlock;
}
