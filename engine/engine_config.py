"""How an engine is configured, and the limits that follow from it and from its executor."""

from __future__ import annotations

from dataclasses import dataclass

from ftllm.engine.plan import Executor
from ftllm.engine.speculation import check_method
from ftllm.errors import OptionError


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Raises `OptionError` naming the field when a value is out of range."""

    max_model_len: int  # tokens of prompt and output together
    max_batch: int  # sequences in one step
    max_batched_tokens: int  # token rows in one step
    max_queue: int = 256  # requests that may wait beyond the max_batch that run; 0 is allowed
    max_queue_tokens: int = 0  # of prompts that may wait for their first step; 0 = any number
    prefix_caching: bool = True
    speculative: str = "off"  # one of speculation.METHODS
    vocab_size: int  # token ids are below it
    embedding_size: int = 0  # values of a final hidden state; 0: the executor gives none
    generates: bool = True  # the model has an output layer
    causal: bool = True  # False: a token sees those after it, so a prompt is computed in one step

    def __post_init__(self) -> None:
        for name, value, low in (
            ("max_model_len", self.max_model_len, 1),
            ("max_batch", self.max_batch, 1),
            ("max_batched_tokens", self.max_batched_tokens, 1),
            ("max_queue", self.max_queue, 0),
            ("max_queue_tokens", self.max_queue_tokens, 0),
            ("vocab_size", self.vocab_size, 1),
            ("embedding_size", self.embedding_size, 0),
        ):
            if value < low:
                raise OptionError(f"{name} is {value}; it must be at least {low}.")
        check_method(self.speculative)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """What both the configuration and the executor allow."""

    block_size: int  # tokens in one KV block
    num_blocks: int
    max_batch: int
    max_batched_tokens: int
    max_model_len: int
    vocab_size: int
    whole_prompts: bool = False  # a prompt is not cut into chunks

    @property
    def kv_tokens(self) -> int:
        return self.block_size * self.num_blocks

    @property
    def context_len(self) -> int:
        """Tokens that one request may reach: the context's end or the KV cache's."""
        return min(self.max_model_len, self.kv_tokens)

    @classmethod
    def of(cls, config: EngineConfig, executor: Executor) -> EngineLimits:
        tokens = min(config.max_batched_tokens, executor.max_batched_tokens)
        return cls(
            block_size=executor.block_size,
            num_blocks=executor.num_blocks,
            # A step must have a row for every sequence that decodes.
            max_batch=min(config.max_batch, executor.max_batch, tokens),
            max_batched_tokens=tokens,
            max_model_len=config.max_model_len
            if config.causal
            else min(config.max_model_len, tokens),
            vocab_size=config.vocab_size,
            whole_prompts=not config.causal,
        )
