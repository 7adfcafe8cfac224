"""Prefill and decode speed of a loaded model, measured through its engine as a server drives it."""

from __future__ import annotations

import functools
import itertools
import random
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from ftllm.cli.spread import Spread, percentile
from ftllm.engine.engine import Engine
from ftllm.engine.params import SamplingParams
from ftllm.engine.request import Event, FinishedEvent, FinishReason, Request, TokensEvent
from ftllm.engine.speculation import MAX_STEP_DRAFTS
from ftllm.errors import FtllmError, OptionError

_FIRST_TOKEN_ID = 16  # random prompts leave out the lowest ids, where control tokens often are
_WAIT_SECONDS = 3600.0  # for one run of one case; a sign of a hung engine, no limit of speed


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedCase:
    """`batch` requests at once, each with `prompt` new tokens after `depth` that are in the KV
    cache already; then `tokens` are decoded by all together."""

    prompt: int
    depth: int
    batch: int
    tokens: int


@dataclass(frozen=True, slots=True)
class SpeedRun:
    """One run of a case. Seconds."""

    prefill_rate: float  # prompt tokens a second, all requests together
    decode_rate: float  # tokens a second, all requests together
    first_token: float  # median over the requests
    gaps: tuple[float, ...]  # between tokens of one request, while all decode


@dataclass(frozen=True, slots=True)
class SpeedResult:
    """All runs of a case: medians over the runs, with their extremes."""

    case: SpeedCase
    prefill_rate: Spread
    decode_rate: Spread
    first_token: Spread
    gap_p50: float  # seconds, over all gaps of all runs
    gap_p95: float


@dataclass(slots=True)
class _Stream:
    """What one request has sent so far."""

    times: list[float] = field(default_factory=list)  # of each token
    goal: int | None = None  # tokens to wait for; known once all requests have begun
    finished: FinishedEvent | None = None


class _Streams:
    """Collects the events of requests that run together, on the engine's thread; `decoded` and
    `ended` tell the waiting thread, which is not woken in between.

    `decoded` is set once every request has `tokens` more than when the last of them began, or has
    ended.
    """

    def __init__(self, names: Sequence[str], *, tokens: int) -> None:
        self.by_name = {name: _Stream() for name in names}
        self.decoded = threading.Event()
        self.ended = threading.Event()
        self._tokens = tokens
        self._to_begin = self._to_decode = self._to_end = len(names)

    def take(self, name: str, events: Sequence[Event]) -> None:
        now = time.perf_counter()
        stream = self.by_name[name]
        for event in events:
            match event:
                case TokensEvent():
                    if not stream.times:
                        self._begun()
                    stream.times += [now] * len(event.token_ids)
                    if stream.goal is not None and len(stream.times) >= stream.goal:
                        self._reached(stream)
                case FinishedEvent():
                    stream.finished = event
                    self._to_end -= 1
                    if event.reason is not FinishReason.ABORTED:
                        self.decoded.set()
                    if self._to_end == 0:
                        self.ended.set()

    def _begun(self) -> None:
        self._to_begin -= 1
        if self._to_begin == 0:
            for stream in self.by_name.values():
                stream.goal = max(1, len(stream.times)) + self._tokens

    def _reached(self, stream: _Stream) -> None:
        stream.goal = None
        self._to_decode -= 1
        if self._to_decode == 0:
            self.decoded.set()


class SpeedTest:
    """Runs cases on an engine that is started and has nothing else to do."""

    def __init__(self, engine: Engine, *, max_model_len: int) -> None:
        self._engine = engine
        self._max_model_len = max_model_len
        self._kv_tokens = engine.kv_tokens
        self._random = random.Random(0)
        self._numbers = itertools.count()

    def check(self, case: SpeedCase) -> None:
        """Raise `OptionError` if the model cannot run the case as it was loaded."""
        config = self._engine.config
        steps = -(-case.prompt * case.batch // config.max_batched_tokens)
        per_step = 1 if config.speculative == "off" else 1 + MAX_STEP_DRAFTS
        length = case.depth + case.prompt + case.tokens + (steps + 1) * per_step
        where = f"prompt {case.prompt}, depth {case.depth}, batch {case.batch}"
        if case.batch > config.max_batch:
            raise OptionError(
                f"{where}: the engine takes {config.max_batch} requests at once; raise --max_batch"
            )
        if length > self._max_model_len:
            raise OptionError(
                f"{where}: a request needs {length} tokens of context, and"
                f" {self._max_model_len} are available; choose less, or raise --max_model_len"
            )
        if case.depth and not config.prefix_caching:
            raise OptionError(
                f"{where}: a depth is reached through the prefix cache; leave --no_prefix_cache out"
            )
        needed = case.depth + case.batch * (length - case.depth)
        if needed > self._kv_tokens:
            raise OptionError(
                f"{where}: the KV cache must hold {needed} tokens, and it holds"
                f" {self._kv_tokens}; raise --tokens or --kv_cache_limit"
            )

    def measure(self, cases: Sequence[SpeedCase], *, repetitions: int) -> list[SpeedResult]:
        """Repetitions in turn over all cases, so that a slow moment of the machine hits each.

        Raises `OptionError` for a case that cannot run, and `FtllmError` if a request fails.
        """
        for case in cases:
            self.check(case)
        runs: dict[SpeedCase, list[SpeedRun]] = {case: [] for case in cases}
        self.run(min(cases, key=lambda case: case.prompt * case.batch + case.depth))  # warms up
        for _ in range(repetitions):
            for case, done in runs.items():
                done.append(self.run(case))
        return [_result(case, done) for case, done in runs.items()]

    def run(self, case: SpeedCase) -> SpeedRun:
        """One run. Raises `FtllmError` if a request fails."""
        shared = self._tokens(case.depth)
        if shared:
            # One token more than the depth: a prompt's last token is always computed.
            self._send([shared + self._tokens(1)], tokens=0)
        prompts = [shared + self._tokens(case.prompt) for _ in range(case.batch)]
        begin = time.perf_counter()
        streams = self._send(prompts, tokens=case.tokens)
        started = max(stream.times[0] for stream in streams)
        cached = sum(stream.finished.cached_tokens for stream in streams if stream.finished)
        computed = sum(map(len, prompts)) - cached
        stopped = min(stream.times[-1] for stream in streams)
        together = [[t for t in stream.times if started <= t <= stopped] for stream in streams]
        decoded = sum(sum(t > started for t in times) for times in together)
        return SpeedRun(
            prefill_rate=computed / (started - begin),
            decode_rate=decoded / (stopped - started) if stopped > started else 0.0,
            first_token=statistics.median(stream.times[0] - begin for stream in streams),
            gaps=tuple(b - a for times in together for a, b in itertools.pairwise(times)),
        )

    def _tokens(self, count: int) -> tuple[int, ...]:
        vocab_size = self._engine.config.vocab_size
        first = min(_FIRST_TOKEN_ID, vocab_size - 1)
        return tuple(self._random.randrange(first, vocab_size) for _ in range(count))

    def _send(self, prompts: Sequence[tuple[int, ...]], *, tokens: int) -> list[_Stream]:
        """Runs the prompts together until `_Streams.decoded`, then aborts them."""
        names = [f"bench-{next(self._numbers)}" for _ in prompts]
        streams = _Streams(names, tokens=tokens)
        params = SamplingParams(temperature=0)
        for name, prompt in zip(names, prompts, strict=True):
            request = Request(request_id=name, prompt_ids=prompt, params=params)
            self._engine.submit(request, functools.partial(streams.take, name))
        self._wait(streams.decoded)
        for name in names:
            self._engine.abort(name)
        self._wait(streams.ended)
        for stream in streams.by_name.values():
            assert stream.finished is not None, "a request ended without its event"
            if stream.finished.reason is not FinishReason.ABORTED:
                reason = stream.finished.error or f"it ended early ({stream.finished.reason.value})"
                raise FtllmError(f"A request of the benchmark failed: {reason}")
        return list(streams.by_name.values())

    def _wait(self, event: threading.Event) -> None:
        if not event.wait(_WAIT_SECONDS):
            raise FtllmError(f"The engine gave no answer within {_WAIT_SECONDS:.0f} s")


def _result(case: SpeedCase, runs: Sequence[SpeedRun]) -> SpeedResult:
    gaps = [gap for run in runs for gap in run.gaps]
    return SpeedResult(
        case=case,
        prefill_rate=Spread.of([run.prefill_rate for run in runs]),
        decode_rate=Spread.of([run.decode_rate for run in runs]),
        first_token=Spread.of([run.first_token for run in runs]),
        gap_p50=percentile(gaps, 0.50),
        gap_p95=percentile(gaps, 0.95),
    )
