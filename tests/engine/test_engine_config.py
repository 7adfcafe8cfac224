from __future__ import annotations

import pytest
from fake_executor import FakeExecutor

from ftllm.engine.engine_config import EngineConfig, EngineLimits
from ftllm.errors import OptionError

CONFIG = EngineConfig(max_model_len=100, max_batch=8, max_batched_tokens=64, vocab_size=50)


@pytest.mark.parametrize(
    ("field", "low"),
    [
        ("max_model_len", 1),
        ("max_batch", 1),
        ("max_batched_tokens", 1),
        ("max_queue", 0),
        ("max_queue_tokens", 0),
        ("vocab_size", 1),
    ],
)
def test_values_below_their_limit_are_refused(field: str, low: int) -> None:
    sizes = {"max_model_len": 9, "max_batch": 9, "max_batched_tokens": 9, "vocab_size": 9}
    sizes |= {"max_queue": 9, field: low}
    EngineConfig(prefix_caching=True, **sizes)
    sizes[field] = low - 1
    with pytest.raises(OptionError, match=f"{field} is {low - 1}; .* at least {low}"):
        EngineConfig(prefix_caching=True, **sizes)


def test_the_smaller_limit_counts() -> None:
    executor = FakeExecutor(max_batch=4, max_batched_tokens=128, num_blocks=100)
    limits = EngineLimits.of(CONFIG, executor)
    assert (limits.max_batch, limits.max_batched_tokens) == (4, 64)
    assert limits.context_len == 100
    assert EngineLimits.of(CONFIG, FakeExecutor(num_blocks=5)).context_len == 20


def test_every_decode_has_a_row() -> None:
    assert EngineLimits.of(CONFIG, FakeExecutor(max_batched_tokens=3)).max_batch == 3
