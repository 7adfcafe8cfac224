"""Next-token distributions of a model over text, and how far another model's are from them.

Text is cut into passages of `PASSAGE` tokens, each read from position 0. The reference keeps its
logits on disk, 0.6 MB a token for a vocabulary of 150,000, and reads one passage at a time.
"""

from __future__ import annotations

import hashlib
import random
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ftllm import _core
from ftllm.engine.build import BuildOptions, build_model
from ftllm.engine.checkpoints import open_checkpoint
from ftllm.text.gguf_tokenizer import tokenizer_from_gguf

PASSAGE = 512  # tokens
_ROWS = 64  # rows of logits that are compared at a time, for the memory of their exponentials

Float32Array = npt.NDArray[np.float32]
Passage = tuple[int, ...]


def library_passages(path: Path, tokens: int) -> list[Passage]:
    """The first `PASSAGE` tokens of modules of Python's standard library, drawn in a fixed order
    until there are `tokens`; `path` is the GGUF file whose tokenizer cuts them."""
    checkpoint = open_checkpoint(path)
    try:
        tokenizer = tokenizer_from_gguf(checkpoint.metadata)
    finally:
        checkpoint.close()
    modules = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    random.Random(1).shuffle(modules)
    passages: list[Passage] = []
    for module in modules:
        if len(passages) * PASSAGE >= tokens:
            break
        ids = tokenizer.encode(module.read_text(encoding="utf-8"))
        if len(ids) >= PASSAGE:
            passages.append(tuple(ids[:PASSAGE]))
    return passages


class Model:
    """A GGUF file in ftllm, its matrices as `dtype` says."""

    def __init__(self, path: Path, *, dtype: str, kv_cache_dtype: str, threads: int) -> None:
        checkpoint = open_checkpoint(path)
        try:
            options = BuildOptions(
                dtype=dtype,
                kv_cache_dtype=kv_cache_dtype,
                threads=threads,
                tokens=PASSAGE,
                max_batch=PASSAGE,  # as many rows of logits
                max_batched_tokens=PASSAGE,
                max_model_len=PASSAGE,
            )
            self._model = build_model(checkpoint, options, on_bytes=lambda _: None)
        finally:
            checkpoint.close()

    @property
    def packed_bytes(self) -> int:
        return self._model.packed_bytes

    def read(self, passage: Passage) -> Float32Array:
        """Logits (T, V)."""
        count = len(passage)
        blocks = -(-count // _core.KV_BLOCK_SIZE)
        *_, values = self._model.core.step(
            token_ids=np.array(passage, np.int32),
            row_starts=np.array([0, count], np.int32),
            context_lens=np.zeros(1, np.int32),
            block_tables=np.arange(blocks, dtype=np.int32)[None],
            output_rows=np.arange(count, dtype=np.int32),
            output_targets=np.zeros(count, np.int32),
            output_top=np.full(count, -1, np.int32),
            samplers=(None,) * count,
            trace=True,
        )
        return list(values.values())[-1]


@dataclass(frozen=True, slots=True)
class Distance:
    """Sums over predicted tokens."""

    tokens: int = 0
    loss: float = 0.0  # minus log of the probability of the token that came
    divergence: float = 0.0  # KL(reference ‖ this)
    same_top: int = 0  # both find the same token likeliest

    def __add__(self, other: Distance) -> Distance:
        return Distance(
            self.tokens + other.tokens,
            self.loss + other.loss,
            self.divergence + other.divergence,
            self.same_top + other.same_top,
        )


def distance(passage: Passage, reference: Float32Array, logits: Float32Array) -> Distance:
    """Of the predictions of all tokens but the first; both arrays are (T, V)."""
    total = Distance()
    targets = np.array(passage[1:])
    for begin in range(0, len(targets), _ROWS):
        expected = _log_softmax(reference[begin : begin + _ROWS][: len(targets) - begin])
        found = _log_softmax(logits[begin : begin + len(expected)])
        rows = np.arange(len(expected))
        terms = np.exp(expected) * (expected - found)
        total += Distance(
            tokens=len(expected),
            loss=-float(found[rows, targets[begin : begin + _ROWS]].sum(dtype=np.float64)),
            divergence=float(terms.sum(dtype=np.float64)),
            same_top=int((expected.argmax(axis=1) == found.argmax(axis=1)).sum()),
        )
    return total


def _log_softmax(logits: Float32Array) -> Float32Array:
    shifted = logits - logits.max(axis=1, keepdims=True)
    sums = np.exp(shifted).sum(axis=1, keepdims=True, dtype=np.float64)
    return np.asarray(shifted - np.log(sums), np.float32)


class Reference:
    """Logits that the float32 weights of a GGUF file give in ftllm, kept in `folder`."""

    def __init__(
        self, path: Path, passages: Sequence[Passage], *, folder: Path, threads: int
    ) -> None:
        self._passages = passages
        self._folder = folder
        missing = [passage for passage in passages if not self._file(passage).exists()]
        if missing:
            model = Model(path, dtype="float32", kv_cache_dtype="float32", threads=threads)
            for passage in missing:
                part = folder / "part"
                model.read(passage).tofile(part)
                part.rename(self._file(passage))  # a stopped run leaves no half a file

    def compare(self, read: Callable[[Passage], Float32Array]) -> Distance:
        """Of the logits that `read` gives."""
        total = Distance()
        for passage in self._passages:
            expected = np.fromfile(self._file(passage), np.float32).reshape(len(passage), -1)
            total += distance(passage, expected, read(passage))
        return total

    def _file(self, passage: Passage) -> Path:
        digest = hashlib.sha256(np.array(passage, "<i4").tobytes()).hexdigest()
        return self._folder / f"{digest[:16]}.f32"
