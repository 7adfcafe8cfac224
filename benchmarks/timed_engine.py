"""An engine whose steps are timed: how long the C++ side computes, and how long all of it takes."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ftllm.engine.build import BuildOptions, build_model
from ftllm.engine.checkpoints import open_checkpoint
from ftllm.engine.engine import Engine
from ftllm.engine.engine_config import EngineConfig
from ftllm.engine.params import SamplingParams
from ftllm.engine.plan import Executor, StepPlan, StepResult
from ftllm.engine.request import Event, FinishedEvent, FinishReason, Request, TokensEvent
from ftllm.progress import SilentProgress
from ftllm.sources.resolve import resolve

PATIENCE = 600  # seconds for one stream


@dataclass(frozen=True, slots=True)
class Step:
    """One call of the executor; times are `time.perf_counter()` seconds."""

    begin: float
    end: float
    rows: int  # tokens computed
    sequences: int


class TimedExecutor:
    """An executor that notes its steps."""

    def __init__(self, inner: Executor) -> None:
        self._inner = inner
        self.steps: list[Step] = []

    @property
    def block_size(self) -> int:
        return self._inner.block_size

    @property
    def num_blocks(self) -> int:
        return self._inner.num_blocks

    @property
    def max_batched_tokens(self) -> int:
        return self._inner.max_batched_tokens

    @property
    def max_batch(self) -> int:
        return self._inner.max_batch

    def step(self, plan: StepPlan) -> StepResult:
        begin = time.perf_counter()
        result = self._inner.step(plan)
        end = time.perf_counter()
        self.steps.append(Step(begin, end, len(plan.token_ids), len(plan.context_lens)))
        return result


@dataclass(slots=True)
class Stream:
    """One request and when its tokens came."""

    sent: float = field(default_factory=time.perf_counter)
    times: list[float] = field(default_factory=list)
    reason: FinishReason | None = None
    started: threading.Event = field(default_factory=threading.Event)
    finished: threading.Event = field(default_factory=threading.Event)

    def take(self, events: list[Event]) -> None:
        """The sink: runs on the engine's thread."""
        now = time.perf_counter()
        for event in events:
            if isinstance(event, TokensEvent):
                self.times += [now] * len(event.token_ids)
                self.started.set()
            elif isinstance(event, FinishedEvent):
                self.reason = event.reason
                self.finished.set()

    def wait(self) -> None:
        if not self.finished.wait(PATIENCE) or self.reason is not FinishReason.LENGTH:
            raise RuntimeError(f"A stream ended badly or not at all: {self.reason}")


class TimedEngine:
    """Sends token ids, greedy and without a stop token, so that lengths are exact."""

    def __init__(self, engine: Engine, executor: TimedExecutor, *, vocab_size: int) -> None:
        self.executor = executor
        self._engine = engine
        self._draw = random.Random(1)
        self._vocab_size = vocab_size
        self._sent = 0

    def prompt(self, tokens: int) -> tuple[int, ...]:
        """A new one each time."""
        return tuple(self._draw.randrange(self._vocab_size) for _ in range(tokens))

    def send(self, prompt: Sequence[int], *, max_tokens: int) -> Stream:
        self._sent += 1
        stream = Stream()
        request = Request(
            request_id=str(self._sent),
            prompt_ids=tuple(prompt),
            params=SamplingParams(temperature=0.0, max_tokens=max_tokens),
        )
        self._engine.submit(request, stream.take)
        return stream


@contextmanager
def timed_engine(
    model: str | None,
    *,
    models_file: Path | None,
    threads: int | None,
    tokens: int,
    max_batched_tokens: int = 512,
) -> Iterator[TimedEngine]:
    """A started engine of `model`, as the server would build it, without a prefix cache."""
    files = resolve(
        model, cache_dir=None, revision=None, models_file=models_file, progress=SilentProgress()
    )
    checkpoint = open_checkpoint(files.path)
    try:
        options = BuildOptions(
            threads=threads, tokens=tokens, max_batched_tokens=max_batched_tokens
        )
        built = build_model(checkpoint, options, on_bytes=lambda _: None)
    finally:
        checkpoint.close()
    executor = TimedExecutor(built.executor)
    config = EngineConfig(
        max_model_len=built.config.max_model_len,
        max_batch=options.max_batch,
        max_batched_tokens=max_batched_tokens,
        prefix_caching=False,
        vocab_size=built.config.vocab_size,
    )
    engine = Engine(executor, config)
    engine.start()
    try:
        yield TimedEngine(engine, executor, vocab_size=built.config.vocab_size)
    finally:
        engine.shutdown()
