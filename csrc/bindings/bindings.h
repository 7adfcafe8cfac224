#pragma once

#include <pybind11/pybind11.h>

// One function per file of bindings; module.cc calls them all.
namespace ftllm {

void bind_errors(pybind11::module_& module);
// ThreadPool, and the function item_threads that the tests use.
void bind_thread_pool(pybind11::module_& module);
void bind_weights(pybind11::module_& module);
void bind_graph(pybind11::module_& module);
void bind_executor(pybind11::module_& module);
// Sampler, and the functions sample_row, score_row and sampler_uniform that the tests use.
void bind_sampling(pybind11::module_& module);
// The submodule `kernels`: single kernels, for tests.
void bind_kernels(pybind11::module_& module);
// The submodule `timing`: kernels and the machine's limits against the clock, for benchmarks.
void bind_timing(pybind11::module_& module);

}  // namespace ftllm
