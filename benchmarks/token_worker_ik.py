"""Generates tokens with ik_llama.cpp, through ik-llama-cpp-python's library.

The options are the library's defaults but for the threads, the batch of 512 and flash attention,
which the bindings turn off without VNNI too. In the job, `options` may hold "rtr" (weights are
repacked at load, which gives up mmap) and "fa".
"""

from __future__ import annotations

import ctypes
import importlib.metadata
from typing import Any

from ik_llama_cpp import _ctypes_api as api
from token_batches import BATCH, STREAMS, serve

_LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_QUIET = _LOG(lambda level, text, data: None)


class IkLlama:
    def __init__(self, job: dict[str, Any]) -> None:
        options = job["options"]
        library = api._lib
        library.llama_log_set.argtypes = [_LOG, ctypes.c_void_p]
        library.llama_log_set(_QUIET, None)
        self._trim = library.llama_kv_cache_seq_rm
        self._trim.argtypes = [ctypes.c_void_p, *[ctypes.c_int32] * 3]
        self._trim.restype = ctypes.c_bool
        api.llama_backend_init()
        loading = api.llama_model_default_params()
        loading.repack_tensors = "rtr" in options
        loading.use_mmap = "rtr" not in options
        loading.flash_attn = "fa" in options
        self._model = api.llama_model_load_from_file(job["model"].encode(), loading)
        if not self._model:
            raise SystemExit(f"{job['model']} cannot be loaded")
        params = api.llama_context_default_params()
        params.n_ctx = job["context"]
        params.n_batch = params.n_ubatch = BATCH
        params.n_threads = params.n_threads_batch = job["threads"]
        params.n_seq_max = job["streams"]
        params.flash_attn = "fa" in options
        self._context = api.llama_init_from_model(self._model, params)
        if not self._context:
            raise SystemExit(f"a context of {job['context']} tokens cannot be made")
        self.vocabulary = api.llama_vocab_n_tokens(api.llama_model_get_vocab(self._model))
        self.batch = api.llama_batch_init(BATCH, 0, STREAMS)
        self.name = f"ik-llama-cpp-python {importlib.metadata.version('ik-llama-cpp-python')}"

    def decode(self) -> int:
        return int(api.llama_decode(self._context, self.batch))

    def logits(self, row: int) -> Any:
        return api.llama_get_logits_ith(self._context, row)

    def clear(self) -> None:
        api.llama_kv_cache_clear(self._context)

    def trim(self, length: int) -> None:
        self._trim(self._context, 0, length, -1)


if __name__ == "__main__":
    serve(IkLlama)
