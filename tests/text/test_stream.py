from __future__ import annotations

from ftllm.text.stream import TextStream
from ftllm.text.tokenizer import Tokenizer


def _feed(stream: TextStream, ids: list[int]) -> list[str]:
    return [*(stream.feed((token_id,)) for token_id in ids), stream.finish()]


def test_text_without_stops_flows_through(byte_level: Tokenizer) -> None:
    stream = TextStream(byte_level)
    assert "".join(_feed(stream, byte_level.encode("hello \u4f60 hello"))) == "hello \u4f60 hello"
    assert not stream.stopped


def test_a_stop_ends_the_text(byte_level: Tokenizer) -> None:
    stream = TextStream(byte_level, stops=["o \u4f60"])
    parts = _feed(stream, byte_level.encode("hello \u4f60 hello"))
    assert "".join(parts) == "hell"
    assert stream.stopped
    assert stream.feed(byte_level.encode("more")) == ""
    assert stream.finish() == ""


def test_the_stop_can_be_shown(byte_level: Tokenizer) -> None:
    stream = TextStream(byte_level, stops=["ll"], include_stop=True)
    assert stream.feed(byte_level.encode("hello")) == "hell"


def test_held_text_comes_at_the_end(byte_level: Tokenizer) -> None:
    stream = TextStream(byte_level, stops=["lox"])
    ids = byte_level.encode("hello\u4f60")[:-1]
    assert stream.feed(ids[:1]) == "hel"
    assert stream.feed(ids[1:]) == ""
    assert stream.finish() == "lo\ufffd"
    assert not stream.stopped


def test_a_stop_may_lie_in_the_broken_end(byte_level: Tokenizer) -> None:
    stream = TextStream(byte_level, stops=["\ufffd"])
    assert stream.feed(byte_level.encode("a\u4f60")[:-1]) == "a"
    assert stream.finish() == ""
    assert stream.stopped


def test_special_tokens_and_prompt(sentencepiece: Tokenizer) -> None:
    ids = [*sentencepiece.encode("hello", add_special_tokens=False), 2]
    assert "".join(_feed(TextStream(sentencepiece), ids)) == "hello"
    shown = TextStream(sentencepiece, skip_special_tokens=False, prompt_ids=[5])
    assert "".join(_feed(shown, ids)) == " hello</s>"
