"""The public sampling parameters and what the engine gets of them."""

from __future__ import annotations

import pytest

from ftllm.errors import RequestError
from ftllm.sampling_params import SamplingParams


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 0),
        ("n", 129),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("top_p", 0.0),
        ("top_k", -1),
        ("max_tokens", 0),
        ("logprobs", 21),
        ("presence_penalty", 2.5),
    ],
)
def test_out_of_range_values_name_their_field(field: str, value: float) -> None:
    with pytest.raises(RequestError, match=field) as caught:
        SamplingParams(**{field: value})  # type: ignore[arg-type]
    assert caught.value.param == field


@pytest.mark.parametrize("stop", ["", ("a", ""), ("a",) * 65])
def test_bad_stop_strings(stop: str | tuple[str, ...]) -> None:
    with pytest.raises(RequestError) as caught:
        SamplingParams(stop=stop)
    assert caught.value.param == "stop"


def test_one_stop_string_or_several() -> None:
    assert SamplingParams(stop="abc").stop_strings == ("abc",)
    assert SamplingParams(stop=["a", "b"]).stop_strings == ("a", "b")
    assert SamplingParams().stop_strings == ()
