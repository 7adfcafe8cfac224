from __future__ import annotations

from ftllm.text.end_tokens import end_token_ids


def _ends(*pieces: str) -> frozenset[int]:
    return end_token_ids({piece: place for place, piece in enumerate(pieces)}.get)


def test_by_spelling() -> None:
    assert _ends("a", "<|im_end|>", "<|im_start|>", "<end_of_turn>") == {1, 3}


def test_mark_up_is_not_an_end() -> None:
    assert _ends("</s>", "<eos>", "</html>") == frozenset()


def test_with_channels_a_message_end_is_not_a_turn_end() -> None:
    assert _ends("<|end|>") == {0}
    assert _ends("<|end|>", "<|channel|>", "<|return|>", "<|call|>") == {2, 3}
