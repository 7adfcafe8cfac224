"""Runs the sequences of one HTTP request and hands out their text as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from ftllm.engine.request import TokenLogprobs
from ftllm.server.aligned_logprobs import PlacedLogprob
from ftllm.server.bridge import MAX_BEHIND, EngineBridge, Mailbox
from ftllm.server.choice_stream import ChoiceDelta, ChoicePlan, ChoiceStream
from ftllm.server.errors import ClientDisconnectedError
from ftllm.server.key_account import ASSUMED_ANSWER, Admission
from ftllm.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    drafted_tokens: int = 0
    accepted_tokens: int = 0  # drafts that were right
    reasoning_tokens: int = 0  # completion tokens that belong to thinking

    def body(self) -> dict[str, object]:
        """OpenAI's usage object. Drafts are reported as its predictions are, when there were any;
        rejected ones are no completion tokens here."""
        details: dict[str, object] = {"reasoning_tokens": self.reasoning_tokens}
        if self.drafted_tokens:
            details["accepted_prediction_tokens"] = self.accepted_tokens
            details["rejected_prediction_tokens"] = self.drafted_tokens - self.accepted_tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
            "completion_tokens_details": details,
        }


@dataclass(frozen=True, slots=True)
class ChoiceResult:
    """A whole choice, put together from its deltas."""

    text: str
    logprobs: list[PlacedLogprob]
    finish_reason: str
    token_ids: Sequence[int] = ()
    prompt_ids: Sequence[int] = ()
    prompt_logprobs: Sequence[TokenLogprobs | None] | None = None
    mean_logprob: float = 0.0  # of its tokens, if their log-probabilities were asked for

    @property
    def entries(self) -> int:
        """Log-probabilities to be written, each of a token and the likeliest at its place."""
        return len(self.logprobs) + len(self.prompt_logprobs or ())


class Generation:
    """Sequences that are answered together: n choices of one prompt, or of several.

    Made by `start_generation`. Whoever holds it must call `close` in the end, or `collect`, which
    does. Closing aborts what still runs; it may come at any time, also twice.
    """

    def __init__(self, bridge: EngineBridge, streams: Sequence[ChoiceStream], *, n: int) -> None:
        self._bridge = bridge
        self._streams = streams
        self._n = n
        self._mailbox = Mailbox(MAX_BEHIND * len(streams))
        self._live: set[str] = set()
        self._closed = False
        self._failure: Exception | None = None
        self._admission: Admission | None = None  # None: no limited key is charged
        self._timer: asyncio.TimerHandle | None = None  # None: it may take as long as it likes

    def submit(self) -> None:
        """Raises `KeyRefusalError` and what `Engine.submit` raises; then nothing of this request is
        left running."""
        plans = [stream.plan for stream in self._streams]
        prompt = sum(len(plan.prompt.ids) for plan in plans[:: self._n])
        answer = sum(plan.request.params.max_tokens or ASSUMED_ANSWER for plan in plans)
        try:
            with self._bridge.reserving(prompt=prompt, answer=answer) as self._admission:
                for place, plan in enumerate(plans):
                    self._bridge.submit(plan.request, self._mailbox, place)
                    self._live.add(plan.request.request_id)
            self._timer = self._bridge.limit_time(self._mailbox, self._abort)
        except Exception:
            self.close()
            raise

    async def next_deltas(self) -> list[ChoiceDelta]:
        """What is new, or an empty list once every sequence has had its terminal event. Raises
        `EngineFailureError`, `GrammarFailureError`, `EngineStoppedError`, `SlowReaderError`, or
        after `close` `ClientDisconnectedError`."""
        while self._live:
            self._raise_failure()
            deltas: list[ChoiceDelta] = []
            for place, events in await self._mailbox.take():
                stream = self._streams[place]
                was_stopped = stream.stopped
                deltas += stream.feed(events)
                self._failure = self._failure or stream.failure
                if stream.finished:
                    self._live.discard(stream.plan.request.request_id)
                elif stream.stopped and not was_stopped:
                    self._bridge.stop(stream.plan.request.request_id)
            if deltas:
                return deltas
        self._raise_failure()
        if self._closed:
            raise ClientDisconnectedError("The client closed the connection.")
        return []

    def stop(self, place: int) -> None:
        """Ends one sequence: what it has said is its answer."""
        stream = self._streams[place]
        if not stream.stopped and not stream.finished:
            stream.stop()
            self._bridge.stop(stream.plan.request.request_id)

    async def collect(self) -> list[ChoiceResult]:
        """Runs to the end, closes, and returns the choices by index."""
        texts: list[list[str]] = [[] for _ in self._streams]
        logprobs: list[list[PlacedLogprob]] = [[] for _ in self._streams]
        token_ids: list[list[int]] = [[] for _ in self._streams]
        reasons = [""] * len(self._streams)
        try:
            while deltas := await self.next_deltas():
                for delta in deltas:
                    texts[delta.index].append(delta.text)
                    logprobs[delta.index] += delta.logprobs
                    token_ids[delta.index] += delta.token_ids
                    reasons[delta.index] = delta.finish_reason or reasons[delta.index]
        finally:
            self.close()
        prompt_logprobs = self.prompt_logprobs
        return [
            ChoiceResult(
                text="".join(texts[place]),
                logprobs=logprobs[place],
                finish_reason=reasons[place],
                token_ids=token_ids[place],
                prompt_ids=stream.plan.prompt.ids,
                prompt_logprobs=prompt_logprobs[place],
                mean_logprob=stream.logprob_sum / max(1, stream.output_tokens),
            )
            for place, stream in enumerate(self._streams)
        ]

    @property
    def prompt_ids(self) -> list[Sequence[int]]:
        """Of each choice, by its index."""
        return [stream.plan.prompt.ids for stream in self._streams]

    @property
    def prompt_logprobs(self) -> list[Sequence[TokenLogprobs | None] | None]:
        """Of each choice's prompt, by the choice's index; only its first choice computes them."""
        places = range(len(self._streams))
        return [self._streams[place - place % self._n].prompt_logprobs for place in places]

    def _raise_failure(self) -> None:
        """Only after the text that came before it has been handed out."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        self._closed = True
        self._abort()
        self._live = set()
        self._mailbox.close()
        if self._timer is not None:
            self._timer.cancel()
        if self._admission is not None:
            self._admission.settle()

    def _abort(self) -> None:
        for request_id in self._live:
            self._bridge.abort(request_id)

    @property
    def usage(self) -> Usage:
        """Of all choices; a prompt counts once, however many choices continue it."""
        first_choices = self._streams[:: self._n]
        return Usage(
            prompt_tokens=sum(len(stream.plan.prompt.ids) for stream in first_choices),
            cached_tokens=sum(stream.cached_tokens for stream in first_choices),
            completion_tokens=sum(stream.output_tokens for stream in self._streams),
            drafted_tokens=sum(stream.drafted_tokens for stream in self._streams),
            accepted_tokens=sum(stream.accepted_tokens for stream in self._streams),
        )


def start_generation(
    bridge: EngineBridge, tokenizer: Tokenizer, plans: Sequence[ChoicePlan], *, n: int
) -> Generation:
    """Submits `plans` (choices of a prompt are neighbours, `n` each) as one generation."""
    streams = [ChoiceStream(plan, tokenizer) for plan in plans]
    generation = Generation(bridge, streams, n=n)
    generation.submit()
    return generation
