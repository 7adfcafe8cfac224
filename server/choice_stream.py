"""One answer in the making: from the engine's events to text, without any I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ftllm.engine.request import (
    Event,
    FinishedEvent,
    FinishReason,
    PromptLogprobsEvent,
    Request,
    TokenLogprobs,
    TokensEvent,
)
from ftllm.errors import EngineStoppedError
from ftllm.server.aligned_logprobs import LogprobAligner, PlacedLogprob
from ftllm.server.errors import EngineFailureError, GrammarFailureError, expired_error
from ftllm.server.prompts import Prompt
from ftllm.text.stream import TextStream
from ftllm.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class ChoicePlan:
    """One sequence to generate, and what to make of its tokens."""

    index: int  # of the choice in the answer
    request: Request
    prompt: Prompt
    stops: Sequence[str]
    keep_stop: bool = False  # the stop string, or the stop token's text, stays in the answer
    skip_special_tokens: bool = True
    hidden_ids: frozenset[int] = frozenset()  # tokens that are never text, special or not
    generates: bool = True  # False: only the prompt is asked for (echo with max_tokens 0)


class ChoiceDelta(NamedTuple):
    """What is new in one choice. The last delta of a choice has a finish reason.

    `token_ids` are those generated since the delta before; what they spell may still be held back.
    `pieces` are the text that each of them completed, and then what the end completed; joined they
    are `text`.
    """

    index: int  # type: ignore[assignment]  # instead of tuple.index
    text: str
    logprobs: list[PlacedLogprob]
    finish_reason: str | None
    token_ids: Sequence[int] = ()
    pieces: Sequence[str] = ()
    stop_string: str | None = None  # that ended it; with the finish reason


class ChoiceStream:
    """Feeds on a sequence's events. `finished` turns true with the engine's terminal event;
    `stopped` as soon as a stop string is hit, when the caller should abort the sequence."""

    def __init__(self, plan: ChoicePlan, tokenizer: Tokenizer) -> None:
        params = plan.request.params
        self.plan = plan
        self.finished = False
        self.stopped = False
        self.failure: Exception | None = None  # how the sequence ended badly
        self.output_tokens = 0
        self.cached_tokens = 0
        self.drafted_tokens = 0
        self.accepted_tokens = 0
        self.logprob_sum = 0.0  # of the output tokens, if their log-probabilities are asked for
        self.prompt_logprobs: tuple[TokenLogprobs | None, ...] | None = None
        self._new_ids: list[int] = []
        self._new_pieces: list[str] = []  # one each, and perhaps one more
        self._end_ids = frozenset() if plan.keep_stop else params.stop_token_ids
        self._wants_prompt_logprobs = params.prompt_logprobs is not None
        self._echo = plan.prompt.echo
        self._sent = 0  # characters
        self._ended = False  # the delta with the finish reason is out
        self._reason = FinishReason.STOP.value
        ids = plan.request.prompt_ids
        self._stream = TextStream(
            tokenizer,
            stops=plan.stops,
            include_stop=plan.keep_stop,
            skip_special_tokens=plan.skip_special_tokens,
            hidden_ids=plan.hidden_ids,
            prompt_ids=ids,
        )
        self._aligner: LogprobAligner | None = None
        if params.logprobs is not None:
            start = len(self._echo.text) if self._echo is not None else 0
            self._aligner = LogprobAligner(
                tokenizer,
                prompt_ids=ids,
                start=start,
                skip_special_tokens=plan.skip_special_tokens,
                hidden_ids=plan.hidden_ids,
            )

    def stop(self) -> None:
        """The answer is complete, whatever the sequence would still bring."""
        self.stopped = True

    def feed(self, events: Iterable[Event]) -> list[ChoiceDelta]:
        """What the events bring. When the sequence ends badly, `failure` says how."""
        deltas: list[ChoiceDelta] = []
        for event in events:
            if isinstance(event, TokensEvent):
                if not self.stopped:
                    self._tokens(event)
            elif isinstance(event, PromptLogprobsEvent):
                self.prompt_logprobs = event.logprobs
                if self._echo is not None:
                    deltas.append(self._echo_delta(event.logprobs))
            else:
                self._finish(event)
        if self._echo is not None and not self._wants_prompt_logprobs:
            deltas.append(self._echo_delta(None))
        ends = not self._ended and (self.stopped or self.finished) and self.failure is None
        text = "".join(self._new_pieces)
        logprobs = self._release(text, final=ends and not self.stopped)
        if text or logprobs or ends:
            reason = self._reason if ends else None
            new_ids, self._new_ids = self._new_ids, []
            pieces, self._new_pieces = self._new_pieces, []
            stop = self._stream.stop_string if ends else None
            index = self.plan.index
            deltas.append(ChoiceDelta(index, text, logprobs, reason, new_ids, pieces, stop))
        self._ended = self._ended or ends
        return deltas

    def _tokens(self, event: TokensEvent) -> None:
        """Takes the tokens. Those generated past a stop string do not count."""
        if not self.plan.generates:
            return
        stream, logprobs = self._stream, event.logprobs
        for position, token_id in enumerate(event.token_ids):
            self.output_tokens += 1
            self._new_ids.append(token_id)
            if logprobs is not None:
                self.logprob_sum += logprobs[position].logprob
            if token_id in self._end_ids:
                self._new_pieces.append("")
                break  # it ends the answer and is no part of its text
            if self._aligner is not None and logprobs is not None:
                self._aligner.add(logprobs[position])
            self._new_pieces.append(stream.feed_token(token_id))
            if stream.stopped:
                self.stopped = True
                break

    def _finish(self, event: FinishedEvent) -> None:
        self.finished = True
        self.cached_tokens = event.cached_tokens
        self.drafted_tokens = event.drafted_tokens
        self.accepted_tokens = event.accepted_tokens
        if self.stopped:  # whatever ended the sequence came after the answer was complete
            return
        if event.reason is FinishReason.ERROR:
            self.failure = EngineFailureError(event.error or "The engine gave no reason.")
        elif event.reason is FinishReason.EXPIRED:
            self.failure = expired_error(event)
        elif event.reason is FinishReason.GRAMMAR:
            self.failure = GrammarFailureError(event.error or "The engine gave no reason.")
        elif event.reason is FinishReason.ABORTED:
            self.failure = EngineStoppedError("The engine stopped before the answer was complete.")
        else:
            self._reason = event.reason.value if self.plan.generates else FinishReason.LENGTH.value
            self._new_pieces.append(self._stream.finish())

    def _release(self, text: str, *, final: bool) -> list[PlacedLogprob]:
        self._sent += len(text)
        if self._aligner is None:
            return []
        return self._aligner.release_all() if final else self._aligner.release(self._sent)

    def _echo_delta(self, logprobs: Sequence[TokenLogprobs | None] | None) -> ChoiceDelta:
        """The prompt, with its log-probabilities when they were asked for."""
        params = self.plan.request.params
        echo, self._echo = self._echo, None
        assert echo is not None, "a prompt is echoed once"
        self._sent += len(echo.text)
        placed = []
        if logprobs is not None and params.logprobs is not None:
            ids = self.plan.prompt.ids
            for token_id, offset, entry in zip(ids, echo.offsets, logprobs, strict=True):
                value = entry.logprob if entry is not None else None
                top = entry.top[: params.logprobs] if entry is not None else ()
                placed.append(PlacedLogprob(token_id, offset, value, top))
        return ChoiceDelta(self.plan.index, echo.text, placed, None)
