from __future__ import annotations

import pytest
from scheduler_driver import make_request

from ftllm.engine.engine_config import EngineLimits
from ftllm.engine.params import SamplingParams
from ftllm.engine.request_check import check_request
from ftllm.errors import ContextLengthError, RequestError


def limits(*, max_model_len: int = 100, num_blocks: int = 1000) -> EngineLimits:
    return EngineLimits(
        block_size=4,
        num_blocks=num_blocks,
        max_batch=4,
        max_batched_tokens=16,
        max_model_len=max_model_len,
        vocab_size=50,
    )


@pytest.mark.parametrize(
    ("prompt", "params", "param"),
    [
        ((), SamplingParams(), "prompt"),
        ((1, 50), SamplingParams(), "prompt"),
        ((1, -1), SamplingParams(), "prompt"),
        ((1,), SamplingParams(logit_bias={50: 1.0}), "logit_bias"),
        ((1,), SamplingParams(logit_bias={3: 1.0, -7: 1.0}), "logit_bias"),
        ((1,), SamplingParams(stop_token_ids=frozenset({2, 50})), "stop_token_ids"),
        ((1,), SamplingParams(allowed_token_ids=frozenset({2, 50})), "allowed_token_ids"),
        ((1,), SamplingParams(bad_words=((1, 2), (3, -1))), "bad_words"),
    ],
)
def test_refused_field_is_named(
    prompt: tuple[int, ...], params: SamplingParams, param: str
) -> None:
    with pytest.raises(RequestError) as caught:
        check_request(make_request("a", prompt, params), limits(), 50)
    assert caught.value.param == param


def test_the_vocabulary_ends_below_its_size() -> None:
    params = SamplingParams(logit_bias={0: 1.0, 49: -1.0}, stop_token_ids=frozenset({0, 49}))
    check_request(make_request("a", (0, 49), params), limits(), 50)


@pytest.mark.parametrize("length", [100, 101, 5000])
def test_prompt_beyond_the_context(length: int) -> None:
    with pytest.raises(ContextLengthError, match=r"length is 100 tokens, but .* has \d+ in") as err:
        check_request(make_request("a", [1] * length, SamplingParams()), limits(), 50)
    assert str(length) in str(err.value)
    assert err.value.code == "context_length_exceeded"


def test_prompt_and_output_up_to_the_context() -> None:
    check_request(make_request("a", [1] * 99, SamplingParams()), limits(), 50)
    check_request(make_request("a", [1] * 60, max_tokens=40), limits(), 50)
    with pytest.raises(ContextLengthError, match=r"100 tokens, .* asks for 101: 60 .* 41 .* 40\."):
        check_request(make_request("a", [1] * 60, max_tokens=41), limits(), 50)


def test_prompt_beyond_the_kv_cache() -> None:
    small = limits(num_blocks=10)
    check_request(make_request("a", [1] * 39, max_tokens=1), small, 50)
    with pytest.raises(
        ContextLengthError, match=r"KV cache of this server holds 40 tokens, .* 40 "
    ):
        check_request(make_request("a", [1] * 40, SamplingParams()), small, 50)
    with pytest.raises(ContextLengthError, match=r"KV cache .* 40 tokens, .* 41: 39 .* 2 "):
        check_request(make_request("a", [1] * 39, max_tokens=2), small, 50)
