"""Generates tokens with the llama.cpp of llama-cpp-python, in an environment of its own.

The options are the library's defaults (mmap, f16 KV cache, flash attention where it helps, weights
repacked where the build can) but for the threads, the batch of 512 and one KV cache for all
sequences. In the job, `options` may hold "nofa", "fa" and "split" (a KV cache a sequence).
"""

from __future__ import annotations

import ctypes
from typing import Any

import llama_cpp
from token_batches import BATCH, STREAMS, serve

_QUIET = llama_cpp.llama_log_callback(lambda level, text, data: None)


class LlamaCpp:
    def __init__(self, job: dict[str, Any]) -> None:
        options = job["options"]
        llama_cpp.llama_log_set(_QUIET, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self._model = llama_cpp.llama_model_load_from_file(
            job["model"].encode(), llama_cpp.llama_model_default_params()
        )
        if not self._model:
            raise SystemExit(f"{job['model']} cannot be loaded")
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = job["context"]
        params.n_batch = params.n_ubatch = BATCH
        params.n_threads = params.n_threads_batch = job["threads"]
        params.n_seq_max = job["streams"]
        params.kv_unified = "split" not in options
        if "fa" in options:
            params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED
        if "nofa" in options:
            params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._context:
            raise SystemExit(f"a context of {job['context']} tokens cannot be made")
        vocabulary = llama_cpp.llama_model_get_vocab(self._model)
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(vocabulary)
        self.batch = llama_cpp.llama_batch_init(BATCH, 0, STREAMS)
        self.name = f"llama-cpp-python {llama_cpp.__version__}"
        self._memory = llama_cpp.llama_get_memory(self._context)

    def decode(self) -> int:
        return int(llama_cpp.llama_decode(self._context, self.batch))

    def logits(self, row: int) -> Any:
        return llama_cpp.llama_get_logits_ith(self._context, row)

    def clear(self) -> None:
        llama_cpp.llama_memory_clear(self._memory, True)

    def trim(self, length: int) -> None:
        llama_cpp.llama_memory_seq_rm(self._memory, 0, length, -1)


if __name__ == "__main__":
    serve(LlamaCpp)
