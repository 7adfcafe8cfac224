"""One engine request on its way to an answer: submit, collect events, give text."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftllm.engine.pooling import PoolingParams
from ftllm.engine.request import (
    Event,
    FinishedEvent,
    FinishReason,
    PromptLogprobsEvent,
    Request,
    Sink,
    TokenLogprobs,
    TokensEvent,
)
from ftllm.errors import FtllmError
from ftllm.outputs import CompletionOutput, RequestOutput, TokenLogprob
from ftllm.sampling_params import SamplingParams
from ftllm.text.bad_words import bad_word_ids
from ftllm.text.stream import TextStream

if TYPE_CHECKING:
    from ftllm.loading import LoadedModel
    from ftllm.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Job:
    """One prompt to answer `params.n` times."""

    prompt: str | None  # None when it was given as token ids
    prompt_ids: tuple[int, ...]
    params: SamplingParams


class Generation:
    """Collects the events of one request. Not thread-safe: the caller hands over the events."""

    def __init__(
        self,
        *,
        request_id: str,
        choice: int,
        job: Job,
        stop_token_ids: frozenset[int],
        tokenizer: Tokenizer,
    ) -> None:
        self.request_id = request_id
        self.choice = choice
        self._stop_token_ids = stop_token_ids
        self._keep_stop = job.params.include_stop_str_in_output
        self._tokenizer = tokenizer
        self._stream = TextStream(
            tokenizer,
            stops=job.params.stop_strings,
            include_stop=job.params.include_stop_str_in_output,
            skip_special_tokens=job.params.skip_special_tokens,
            prompt_ids=job.prompt_ids,
        )
        self._text: list[str] = []
        self._token_ids: list[int] = []
        self._logprobs: list[TokenLogprob] | None = None if job.params.logprobs is None else []
        self._finished: FinishedEvent | None = None
        self.prompt_logprobs: tuple[TokenLogprob | None, ...] | None = None

    @property
    def finished(self) -> bool:
        return self._finished is not None

    @property
    def to_abort(self) -> bool:
        """A stop string was found, so the engine's further tokens are of no use."""
        return self._stream.stopped and not self.finished

    @property
    def cached_tokens(self) -> int:
        """Prompt tokens taken from the prefix cache; known at the end."""
        return self._finished.cached_tokens if self._finished else 0

    @property
    def drafts(self) -> tuple[int, int]:
        """Tokens drafted and accepted; known at the end."""
        end = self._finished
        return (0, 0) if end is None else (end.drafted_tokens, end.accepted_tokens)

    def take(self, event: Event) -> tuple[str, tuple[int, ...]]:
        """Adds an event; returns the text and token ids that it brought.

        Raises `FtllmError` when the engine reports that the request failed.
        """
        match event:
            case TokensEvent():
                text, count = self._take_tokens(event)
                return text, tuple(self._token_ids[len(self._token_ids) - count :])
            case PromptLogprobsEvent():
                self.prompt_logprobs = tuple(
                    None if entry is None else self._logprob(entry) for entry in event.logprobs
                )
                return "", ()
            case FinishedEvent():
                self._finished = event
                if event.reason in (FinishReason.ERROR, FinishReason.GRAMMAR):
                    raise FtllmError(f"Request {self.request_id} failed: {event.error}")
                text = "" if self._stream.stopped else self._stream.finish()
                self._text.append(text)
                return text, ()

    def output(self) -> CompletionOutput:
        """The answer; complete once `finished`."""
        return CompletionOutput(
            index=self.choice,
            text="".join(self._text),
            token_ids=tuple(self._token_ids),
            finish_reason=self._finish_reason(),
            logprobs=None if self._logprobs is None else tuple(self._logprobs),
        )

    def _take_tokens(self, event: TokensEvent) -> tuple[str, int]:
        pieces: list[str] = []
        count = 0
        for position, token_id in enumerate(event.token_ids):
            if self._stream.stopped:  # generated before the abort took effect
                break
            count += 1
            self._token_ids.append(token_id)
            if self._logprobs is not None and event.logprobs is not None:
                self._logprobs.append(self._logprob(event.logprobs[position]))
            if self._keep_stop or token_id not in self._stop_token_ids:
                pieces.append(self._stream.feed((token_id,)))
        text = "".join(pieces)
        self._text.append(text)
        return text, count

    def _finish_reason(self) -> str:
        if self._stream.stopped:
            return "stop"
        reason = FinishReason.ABORTED if self._finished is None else self._finished.reason
        return "abort" if reason is FinishReason.ABORTED else str(reason.value)

    def _logprob(self, entry: TokenLogprobs) -> TokenLogprob:
        text = self._tokenizer.token_text
        return TokenLogprob(
            entry.token_id,
            text(entry.token_id),
            entry.logprob,
            tuple(TokenLogprob(other, text(other), value) for other, value in entry.top),
        )


class Dispatcher:
    """Turns jobs into engine requests. Thread-safe."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._numbers = itertools.count()

    @property
    def max_live(self) -> int:
        """How many requests the engine can hold, running and waiting."""
        config = self._model.engine.config
        return config.max_batch + config.max_queue

    def submit(self, job: Job, choice: int, sink: Sink) -> Generation:
        """Raises what `Engine.submit` raises."""
        grammar = job.params.grammar
        params = job.params.for_choice(
            choice,
            defaults=self._model.defaults,
            eos_token_ids=self._model.eos_token_ids,
            bad_word_ids=bad_word_ids(self._model.tokenizer, job.params.bad_words),
            grammar=None if grammar is None else self._model.grammars.compile(grammar),
        )
        generation = Generation(
            request_id=f"offline-{next(self._numbers)}",
            choice=choice,
            job=job,
            stop_token_ids=params.stop_token_ids,
            tokenizer=self._model.tokenizer,
        )
        request = Request(
            request_id=generation.request_id, prompt_ids=job.prompt_ids, params=params
        )
        self._model.engine.submit(request, sink)
        return generation

    def submit_pooled(self, prompt_ids: tuple[int, ...], params: PoolingParams, sink: Sink) -> str:
        """The request's id. Raises what `Engine.submit` raises."""
        request_id = f"offline-{next(self._numbers)}"
        request = Request(request_id=request_id, prompt_ids=prompt_ids, pooling=params)
        self._model.engine.submit(request, sink)
        return request_id

    def abort(self, generation: Generation) -> None:
        self.abort_id(generation.request_id)

    def abort_id(self, request_id: str) -> None:
        self._model.engine.abort(request_id)


def request_output(job: Job, generations: list[Generation]) -> RequestOutput:
    """Joins the answers to one prompt, in the order of their index."""
    first = generations[0]
    return RequestOutput(
        prompt=job.prompt,
        prompt_token_ids=job.prompt_ids,
        outputs=tuple(generation.output() for generation in generations),
        prompt_logprobs=first.prompt_logprobs,
        cached_tokens=first.cached_tokens,
        drafted_tokens=sum(generation.drafts[0] for generation in generations),
        accepted_tokens=sum(generation.drafts[1] for generation in generations),
    )
