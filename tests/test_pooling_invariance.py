"""The promise of bit-identical results, for embeddings and scores: a text gives the same bits
alone, among others, in chunks, from a warm prefix cache and on two threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Semaphore

import numpy as np
import pytest

from ftllm.engine.build import BuildOptions, build_model
from ftllm.engine.checkpoints import open_checkpoint
from ftllm.engine.engine import Engine
from ftllm.engine.engine_config import EngineConfig
from ftllm.engine.params import SamplingParams
from ftllm.engine.pooling import EmbeddingParams, PoolingMethod, PoolingParams, TokenScoresParams
from ftllm.engine.request import Event, FinishedEvent, FinishReason, Request
from tests.engine.models.quantized_llama import write_quantized_llama
from tests.golden.hidden import load_hidden, write_bare_model

_OPTIONS = BuildOptions(
    dtype="auto", threads=1, tokens=4096, max_batch=16, max_batched_tokens=1024, max_model_len=128
)
_ALL: tuple[PoolingParams, ...] = (
    *(EmbeddingParams(method=method) for method in PoolingMethod),
    TokenScoresParams(token_ids=(3, 4)),
)
_PATIENCE = 60.0  # seconds


class Served:
    """An engine over a model, asked for the numbers of several prompts at once."""

    def __init__(self, path: Path, options: BuildOptions) -> None:
        model = build_model(open_checkpoint(path), options, on_bytes=lambda _: None)
        self.vocab = model.config.vocab_size
        self.embeds_only = not model.generates
        config = EngineConfig(
            max_model_len=128,
            max_batch=16,
            max_batched_tokens=model.executor.max_batched_tokens,
            vocab_size=self.vocab,
            embedding_size=model.core.hidden_width,
            generates=model.generates,
            causal=model.causal,
        )
        self.engine = Engine(model.executor, config)

    def ask(self, requests: Sequence[Request]) -> list[FinishedEvent]:
        """All are submitted before the first step, the first time."""
        ends: dict[str, FinishedEvent] = {}
        finished = Semaphore(0)

        def sink(events: list[Event]) -> None:
            if isinstance(events[-1], FinishedEvent):
                ends[events[-1].request_id] = events[-1]
                finished.release()

        for request in requests:
            self.engine.submit(request, sink)
        self.engine.start()
        for _ in requests:
            assert finished.acquire(timeout=_PATIENCE)
        return [ends[request.request_id] for request in requests]

    def values(self, ids: Sequence[int], params: PoolingParams) -> tuple[float, ...]:
        (end,) = self.ask([Request(request_id="one", prompt_ids=tuple(ids), pooling=params)])
        assert end.reason is FinishReason.STOP
        assert end.values is not None
        return end.values


def sequence(length: int, seed: int, vocab: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng(seed).integers(0, vocab, length).tolist())


def crowd(served: Served, ids: tuple[int, ...]) -> list[Request]:
    """Ours with each kind, among others of other lengths, some of which generate."""
    requests = []
    for place, params in enumerate(kinds(served)):
        other = sequence(1 + 23 * place, 50 + place, served.vocab)
        requests.append(Request(request_id=f"o{place}", prompt_ids=other, pooling=params))
        requests.append(Request(request_id=f"p{place}", prompt_ids=ids, pooling=params))
        if not served.embeds_only:
            sampling = SamplingParams(max_tokens=5, seed=place)
            requests.append(Request(request_id=f"g{place}", prompt_ids=other, params=sampling))
    return requests


def kinds(served: Served) -> Sequence[PoolingParams]:
    return _ALL[:-1] if served.embeds_only else _ALL


def check_everything(path: Path, options: BuildOptions) -> None:
    alone = Served(path, replace(options, max_batch=1))
    ids = sequence(70, 0, alone.vocab)
    expected = [alone.values(ids, params) for params in kinds(alone)]
    assert all(len(set(values)) > 1 for values in expected)
    warm = [alone.values(ids, params) for params in kinds(alone)]
    assert warm == expected
    alone.engine.shutdown()
    for threads, rows in ((1, 1024), (2, 1024), (1, 7), (2, 33), (1, 16)):
        served = Served(path, replace(options, threads=threads, max_batched_tokens=rows))
        for _ in range(2):  # the second time from a warm cache
            ends = served.ask(crowd(served, ids))
            found = [end.values for end in ends if end.request_id.startswith("p")]
            assert found == expected
        served.engine.shutdown()


@pytest.mark.parametrize("kv", ["float16", "int8"])
@pytest.mark.parametrize("weights", ["f32", "q8_0", "q4_k"])
def test_decoders(weights: str, kv: str, tmp_path: Path) -> None:
    path = write_quantized_llama(tmp_path / "model.gguf", weights)
    check_everything(path, replace(_OPTIONS, kv_cache_dtype=kv))


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("name", ["bert", "xlm_roberta"])
def test_encoders(name: str, dtype: str, tmp_path: Path) -> None:
    path = write_bare_model(load_hidden(name), tmp_path)
    check_everything(path, replace(_OPTIONS, dtype=dtype))
