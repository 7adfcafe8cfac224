"""The model as the server sees it: an engine that takes token ids, and the text around it."""

from __future__ import annotations

from typing import Protocol

from ftllm.engine.request import Request, Sink
from ftllm.engine.stats import EngineStats
from ftllm.engine.step_log import StepTimes
from ftllm.model_facts import ModelFacts
from ftllm.pooling_profile import PoolingProfile
from ftllm.sampling_params import SamplingDefaults
from ftllm.text.chat_template import ChatTemplate
from ftllm.text.grammar_compiler import GrammarCompiler
from ftllm.text.tokenizer import Tokenizer


class EngineClient(Protocol):
    """The engine's face towards the server. Every method may be called on any thread."""

    def start(self) -> None: ...

    def shutdown(self) -> None: ...

    def submit(self, request: Request, sink: Sink) -> None: ...

    def abort(self, request_id: str) -> None: ...

    def abort_all(self) -> int: ...

    def reset_prefix_cache(self) -> None: ...

    def stats(self) -> EngineStats: ...

    def take_step_times(self) -> StepTimes: ...  # on one thread only


class ServedModel(Protocol):
    """A loaded model. `eos_token_ids` are the ids that end an answer."""

    @property
    def name(self) -> str: ...

    @property
    def engine(self) -> EngineClient: ...

    @property
    def model_type(self) -> str: ...  # the family's name, for the dialects that it speaks

    @property
    def tokenizer(self) -> Tokenizer: ...

    @property
    def chat_template(self) -> ChatTemplate | None: ...

    @property
    def max_model_len(self) -> int: ...

    @property
    def defaults(self) -> SamplingDefaults: ...

    @property
    def grammars(self) -> GrammarCompiler: ...

    @property
    def eos_token_ids(self) -> frozenset[int]: ...

    @property
    def pooling(self) -> PoolingProfile: ...

    @property
    def facts(self) -> ModelFacts: ...

    @property
    def summary(self) -> tuple[str, ...]: ...  # what was loaded, in lines for people
