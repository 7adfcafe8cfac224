from __future__ import annotations

from ftllm.server.aligned_logprobs import PlacedLogprob
from ftllm.server.logprob_json import chat_logprobs, completion_logprobs

from .fake_model import byte_tokenizer

NEVER = float("-inf")
TOKENIZER = byte_tokenizer()


def test_impossible_tokens_have_a_finite_logprob() -> None:
    placed = PlacedLogprob(65, 0, NEVER, ((66, NEVER),))
    content = chat_logprobs([placed], TOKENIZER)["content"]
    assert isinstance(content, list)
    assert content[0]["logprob"] == -9999.0
    assert content[0]["top_logprobs"][0]["logprob"] == -9999.0
    body = completion_logprobs([placed], TOKENIZER)
    assert body["token_logprobs"] == [-9999.0]
    assert body["top_logprobs"] == [{"B": -9999.0, "A": -9999.0}]


def test_of_equal_texts_the_likeliest_counts() -> None:
    # Bytes 0xFF and 0xFE both print as U+FFFD.
    placed = PlacedLogprob(0xFE, 0, -2.0, ((0xFF, -0.1), (0xFE, -2.0)))
    assert completion_logprobs([placed], TOKENIZER)["top_logprobs"] == [{"\ufffd": -0.1}]
    content = chat_logprobs([placed], TOKENIZER)["content"]
    assert isinstance(content, list)
    assert [top["bytes"] for top in content[0]["top_logprobs"]] == [[0xFF], [0xFE]]
