"""Batches for llama.cpp's C interface, with a library that only notes what it is asked."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest
from token_batches import BATCH, STREAMS, Decoder

VOCABULARY = 50


class FakeBatch:
    def __init__(self) -> None:
        self.n_tokens = 0
        self.token = [0] * BATCH
        self.pos = [0] * BATCH
        self.n_seq_id = [0] * BATCH
        self.seq_id = [[0] * STREAMS for _ in range(BATCH)]
        self.logits: list[Any] = [0] * BATCH


class FakeLibrary:
    """After a token comes the next number."""

    name = "fake"
    vocabulary = VOCABULARY

    def __init__(self) -> None:
        self.batch = FakeBatch()
        self.calls: list[object] = []
        self.code = 0

    def decode(self) -> int:
        b = self.batch
        self.calls.append(
            [(b.token[i], b.pos[i], b.seq_id[i][0], bool(b.logits[i])) for i in range(b.n_tokens)]
        )
        return self.code

    def logits(self, row: int) -> Any:
        values = (ctypes.c_float * VOCABULARY)()
        values[self.batch.token[row] + 1] = 1.0
        return ctypes.cast(values, ctypes.POINTER(ctypes.c_float))

    def clear(self) -> None:
        self.calls.append("clear")

    def trim(self, length: int) -> None:
        self.calls.append(("trim", length))


def test_prompts_run_side_by_side_and_only_last_tokens_have_logits() -> None:
    library = FakeLibrary()
    times = Decoder(library).run([[5, 6], [20]], 3, keep=False)
    assert library.calls == [
        "clear",
        [(5, 0, 0, False), (6, 1, 0, True), (20, 0, 1, True)],
        [(7, 2, 0, True), (21, 1, 1, True)],
        [(8, 3, 0, True), (22, 2, 1, True)],
    ]
    assert [len(stream) for stream in times] == [3, 3]
    assert all(stream == sorted(stream) for stream in times)


def test_long_prompts_take_several_batches() -> None:
    library = FakeLibrary()
    Decoder(library).run([[1] * (BATCH + 3)], 1, keep=False)
    assert [len(call) for call in library.calls[1:]] == [BATCH, 3]  # type: ignore[arg-type]
    assert sum(row[3] for call in library.calls[1:] for row in call) == 1  # type: ignore[attr-defined]


def test_a_kept_prompt_is_read_once() -> None:
    library = FakeLibrary()
    decoder = Decoder(library)
    decoder.run([[5, 6, 7]], 1, keep=True)
    library.calls.clear()
    decoder.run([[5, 6, 7]], 2, keep=True)
    assert library.calls == [("trim", 2), [(7, 2, 0, True)], [(8, 3, 0, True)]]
    decoder.run([[5, 6, 7]], 1, keep=False)
    assert library.calls[3] == "clear"


def test_a_batch_that_fails_is_an_error() -> None:
    library = FakeLibrary()
    library.code = 1
    with pytest.raises(RuntimeError, match="a batch of 2 tokens failed with code 1"):
        Decoder(library).run([[5, 6]], 1, keep=False)
