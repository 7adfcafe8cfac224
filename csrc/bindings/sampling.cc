#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bindings/bindings.h"
#include "sampling/logprobs.h"
#include "sampling/ngram_index.h"
#include "sampling/philox.h"
#include "sampling/sampler.h"
#include "sampling/token_masks.h"

namespace py = pybind11;

namespace ftllm {
namespace {

using Row = py::array_t<float, py::array::c_style>;

constexpr int64_t kWordBytes = sizeof(uint32_t);

std::span<const float> view(const Row& row) {
  if (row.ndim() != 1 || row.size() == 0) {
    throw std::invalid_argument("logits have shape (" + std::to_string(row.ndim()) +
                                " dimensions, " + std::to_string(row.size()) +
                                " values); one row (V,) is needed.");
  }
  return {row.data(), static_cast<size_t>(row.size())};
}

// Both spellings of 64 bits, -2^63 to 2^64 - 1, name a stream.
uint64_t seed_bits(const py::int_& seed) {
  const bool negative = seed.attr("__lt__")(0).cast<bool>();
  try {
    return negative ? static_cast<uint64_t>(seed.cast<int64_t>()) : seed.cast<uint64_t>();
  } catch (const py::cast_error&) {
    throw std::invalid_argument("seed is " + py::str(seed).cast<std::string>() +
                                "; it must be from -2^63 to 2^64 - 1.");
  }
}

int32_t sample_row(const Sampler& sampler, const Row& logits, const std::vector<int32_t>& drafts,
                   const std::vector<uint32_t>& mask) {
  const std::span<const float> row = view(logits);
  std::vector<float> scratch(Sampler::scratch_size(row.size()));
  const SampleResult result = sampler.sample(row, scratch, drafts, mask);
  if (result.ok()) return result.token_id;
  throw std::invalid_argument(result.token_id == kAllExcluded
                                  ? "The options exclude every token."
                                  : "No logit of the row is above -inf.");
}

py::tuple score_row(const Row& logits, int32_t target, int32_t top_n) {
  const std::span<const float> row = view(logits);
  if (target < 0 || static_cast<size_t>(target) >= row.size()) {
    throw std::invalid_argument("target is " + std::to_string(target) + "; it must be from 0 to " +
                                std::to_string(row.size() - 1) + ".");
  }
  if (top_n < 0 || top_n > kMaxTopLogprobs) {
    throw std::invalid_argument("top_n is " + std::to_string(top_n) + "; it must be from 0 to " +
                                std::to_string(kMaxTopLogprobs) + ".");
  }
  py::array_t<int32_t> ids(top_n);
  py::array_t<float> logprobs(top_n);
  const auto count = static_cast<size_t>(top_n);
  float logprob = 0;
  int32_t rank = 0;
  if (!score(row, target, logprob, rank, {ids.mutable_data(), count},
             {logprobs.mutable_data(), count})) {
    throw std::invalid_argument("No logit of the row is above -inf.");
  }
  return py::make_tuple(logprob, rank, ids, logprobs);
}

}  // namespace

void bind_sampling(py::module_& m) {
  py::class_<Sampler>(m, "Sampler",
                      "Sampling state of one request: its parameters, token counts and random "
                      "stream.")
      .def(py::init([](float temperature, int32_t top_k, double top_p, float min_p,
                       float repetition_penalty, float presence_penalty, float frequency_penalty,
                       const std::map<int32_t, float>& logit_bias, const py::int_& seed,
                       int32_t min_tokens, std::vector<int32_t> stop_token_ids,
                       std::optional<std::vector<int32_t>> allowed_token_ids,
                       std::vector<std::vector<int32_t>> bad_words,
                       std::vector<int32_t> prompt_ids) {
             SamplingOptions options;
             options.temperature = temperature;
             options.top_k = top_k;
             options.top_p = top_p;
             options.min_p = min_p;
             options.repetition_penalty = repetition_penalty;
             options.presence_penalty = presence_penalty;
             options.frequency_penalty = frequency_penalty;
             options.logit_bias.assign(logit_bias.begin(), logit_bias.end());
             options.seed = seed_bits(seed);
             options.min_tokens = min_tokens;
             options.stop_token_ids = std::move(stop_token_ids);
             options.allowed_token_ids = std::move(allowed_token_ids);
             options.bad_words = std::move(bad_words);
             options.prompt_ids = std::move(prompt_ids);
             return std::make_unique<Sampler>(std::move(options));
           }),
           py::kw_only(), py::arg("temperature"), py::arg("top_k"), py::arg("top_p"),
           py::arg("min_p"), py::arg("repetition_penalty"), py::arg("presence_penalty"),
           py::arg("frequency_penalty"), py::arg("logit_bias"), py::arg("seed"),
           py::arg("min_tokens"), py::arg("stop_token_ids"), py::arg("allowed_token_ids"),
           py::arg("bad_words"), py::arg("prompt_ids"))
      .def("accept", &Sampler::accept, py::arg("token_id"), "Counts a token as generated.")
      .def_property_readonly("num_accepted", &Sampler::num_accepted);
  py::class_<NgramIndex>(m, "NgramIndex",
                         "A sequence's tokens, and what followed earlier occurrences of its end.")
      .def(py::init<int64_t, int64_t>(), py::kw_only(), py::arg("shortest"), py::arg("longest"))
      .def(
          "append",
          [](NgramIndex& index, const std::vector<int32_t>& tokens) { index.append(tokens); },
          py::arg("token_ids"))
      .def("continuation", &NgramIndex::continuation, py::arg("count"))
      .def("__len__", &NgramIndex::size);
  m.def("sample_row", &sample_row, py::arg("sampler"), py::arg("logits").noconvert(),
        py::arg("drafts") = std::vector<int32_t>{}, py::arg("mask") = std::vector<uint32_t>{},
        "The sampler's next token for one row of float32 logits (V,), as if it had accepted "
        "`drafts`; ValueError if none is above -inf. `mask` are words of 32 bits, a bit a token; "
        "empty: all tokens are allowed.");
  py::class_<TokenMasks>(m, "TokenMasks", py::buffer_protocol(),
                         "Which tokens some rows of a step can be sampled from, as bits.")
      .def(py::init<int64_t, int64_t>(), py::kw_only(), py::arg("rows"), py::arg("vocab_size"))
      .def_buffer([](TokenMasks& masks) {
        return py::buffer_info(reinterpret_cast<uint8_t*>(masks.data()),
                               masks.rows() * masks.row_words() * kWordBytes);
      })
      .def_property_readonly(
          "data",
          [](const py::object& masks) {
            return py::reinterpret_steal<py::object>(PyMemoryView_FromObject(masks.ptr()));
          })
      .def_property_readonly(
          "address", [](TokenMasks& masks) { return reinterpret_cast<uintptr_t>(masks.data()); })
      .def_property_readonly("rows", &TokenMasks::rows)
      .def_property_readonly("row_bytes",
                             [](const TokenMasks& masks) { return masks.row_words() * kWordBytes; })
      .def("publish", &TokenMasks::publish)
      .def("wait", &TokenMasks::wait, py::call_guard<py::gil_scoped_release>());
  m.def("score_row", &score_row, py::arg("logits").noconvert(), py::arg("target"), py::arg("top_n"),
        "Log-probability of `target`, ids (top_n,) and log-probabilities (top_n,) of the most "
        "likely tokens of one row of float32 logits (V,).");
  m.def("sampler_uniform", &uniform, py::arg("seed"), py::arg("n"),
        "The n-th number in [0, 1) of the random stream of a seed.");
}

}  // namespace ftllm
