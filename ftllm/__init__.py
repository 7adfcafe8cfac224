"""ftllm: an LLM inference server on its own C++ operators.

>>> from ftllm import LLM, SamplingParams
>>> with LLM("smollm2-135m") as llm:
...     print(llm.generate("The capital of France is")[0].outputs[0].text)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftllm.llm import LLM
    from ftllm.outputs import (
        CompletionOutput,
        EmbeddingOutput,
        RequestOutput,
        TextDelta,
        TokenLogprob,
    )
    from ftllm.sampling_params import SamplingParams
    from ftllm.text.grammar import Grammar

    __version__: str

__all__ = [
    "LLM",
    "CompletionOutput",
    "EmbeddingOutput",
    "Grammar",
    "RequestOutput",
    "SamplingParams",
    "TextDelta",
    "TokenLogprob",
    "__version__",
]


def __getattr__(name: str) -> object:
    """Resolves the public names at first use, so that `import ftllm` loads no engine."""
    match name:
        case "__version__":
            value: object = import_module("importlib.metadata").version("ftllm")
        case "LLM":
            value = import_module("ftllm.llm").LLM
        case "SamplingParams":
            value = import_module("ftllm.sampling_params").SamplingParams
        case "Grammar":
            value = import_module("ftllm.text.grammar").Grammar
        case (
            "CompletionOutput" | "EmbeddingOutput" | "RequestOutput" | "TextDelta" | "TokenLogprob"
        ):
            value = getattr(import_module("ftllm.outputs"), name)
        case _:
            raise AttributeError(f"module 'ftllm' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
