"""A loaded model without weights: real text handling, and an engine that answers by script."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from ftllm.engine.engine_config import EngineConfig
from ftllm.engine.pooling import PoolingMethod
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
from ftllm.errors import ContextLengthError, EngineStoppedError, QueueFullError
from ftllm.loading import GenerationDefaults, LoadedModel
from ftllm.model_facts import ModelFacts
from ftllm.pooling_profile import PoolingProfile
from ftllm.text.chat_template import ChatTemplate
from ftllm.text.grammar_compiler import GrammarCompiler
from ftllm.text.tokenizer import SpecialTokens, Tokenizer
from ftllm.text.vocabulary import Spelling, Vocabulary, byte_alphabet

EOS = 256  # ids below are bytes
VOCAB_SIZE = 257
TEMPLATE = (
    "{% for message in messages %}{{ message.role }}:{{ message.content }};{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def byte_tokenizer() -> Tokenizer:
    """One token a byte, and an end-of-sequence token."""
    pieces = [byte_alphabet()[byte] for byte in range(256)]
    vocab = {piece: number for number, piece in enumerate(pieces)}
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    return Tokenizer(
        backend,
        Vocabulary([*pieces, "<eos>"], spelling=Spelling.BYTE_LEVEL, literal_ids=(EOS,)),
        SpecialTokens(
            eos_token_id=EOS, eos_token_ids=frozenset({EOS}), special_ids=frozenset({EOS})
        ),
    )


@dataclass
class _Live:
    request: Request
    sink: Sink
    script: list[int]
    sent: list[int] = field(default_factory=list)


class ScriptedEngine:
    """Answers each prompt with `reply(prompt text)` and EOS, one token a step, on its thread.

    It knows what the engine promises: greedy stops, max_tokens, aborts at the next step, a bounded
    queue, exactly one terminal event. `fail_on` makes the request of that prompt fail; `drafts` are
    the tokens it claims to have drafted and accepted.
    """

    def __init__(
        self,
        reply: Callable[[str], str],
        *,
        config: EngineConfig,
        fail_on: str | None = None,
        drafts: tuple[int, int] = (0, 0),
    ) -> None:
        self.config = config
        self.requests: list[Request] = []
        self.aborted: list[str] = []
        self.refusals = 0
        self.most_live = 0
        self._reply = reply
        self._fail_on = fail_on
        self._drafts = drafts
        self._live: dict[str, _Live] = {}
        self._wakeup = threading.Condition()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def shutdown(self) -> None:
        with self._wakeup:
            self._stopped = True
            self._wakeup.notify()
        if self._thread is not None:
            self._thread.join()

    @property
    def live(self) -> int:
        with self._wakeup:
            return len(self._live)

    def submit(self, request: Request, sink: Sink) -> None:
        text = bytes(request.prompt_ids).decode()
        if len(request.prompt_ids) > self.config.max_model_len:
            raise ContextLengthError(
                f"{len(request.prompt_ids)} tokens do not fit {self.config.max_model_len}."
            )
        with self._wakeup:
            if self._stopped:
                raise EngineStoppedError("The engine has been shut down.")
            if len(self._live) >= self.config.max_batch + self.config.max_queue:
                self.refusals += 1
                raise QueueFullError("The queue is full.")
            self.requests.append(request)
            script = [*self._reply(text).encode(), EOS]
            self._live[request.request_id] = _Live(request, sink, script)
            self.most_live = max(self.most_live, len(self._live))
            self._wakeup.notify()

    def abort(self, request_id: str) -> None:
        with self._wakeup:
            self.aborted.append(request_id)
            self._wakeup.notify()

    def _run(self) -> None:
        while True:
            with self._wakeup:
                self._wakeup.wait_for(lambda: self._live or self._stopped)
                aborted = set(self._live) if self._stopped else set(self.aborted)
                batch = list(self._live.values())[: self.config.max_batch]
                ended = [self._live.pop(name) for name in aborted if name in self._live]
                stopped = self._stopped
            for live in ended:
                live.sink([self._end(live, FinishReason.ABORTED)])
            for live in batch:
                if live.request.request_id not in aborted:
                    self._step(live)
            if stopped:
                return

    def _step(self, live: _Live) -> None:
        request = live.request
        if request.pooling is not None:
            self._finish_pooled(live)
            return
        if bytes(request.prompt_ids).decode() == self._fail_on:
            self._finish(live, [], FinishReason.ERROR, error="out of luck")
            return
        events: list[Event] = []
        if request.params.prompt_logprobs is not None and not live.sent:
            events.append(_prompt_logprobs(request))
        token_id = live.script[len(live.sent) % len(live.script)]
        live.sent.append(token_id)
        logprobs = None if request.params.logprobs is None else (_logprobs(token_id),)
        events.append(TokensEvent(request.request_id, (token_id,), logprobs))
        if token_id in request.params.stop_token_ids:
            self._finish(live, events, FinishReason.STOP)
        elif len(live.sent) == request.params.max_tokens:
            self._finish(live, events, FinishReason.LENGTH)
        else:
            live.sink(events)

    def _finish_pooled(self, live: _Live) -> None:
        with self._wakeup:
            del self._live[live.request.request_id]
        if bytes(live.request.prompt_ids).decode() == self._fail_on:
            live.sink([self._end(live, FinishReason.ERROR, error="out of luck")])
            return
        values = tuple(float(token_id) for token_id in live.request.prompt_ids[:2])
        live.sink([replace(self._end(live, FinishReason.STOP), values=values)])

    def _finish(
        self, live: _Live, events: list[Event], reason: FinishReason, *, error: str | None = None
    ) -> None:
        with self._wakeup:
            del self._live[live.request.request_id]
        live.sink([*events, self._end(live, reason, error=error)])

    def _end(self, live: _Live, reason: FinishReason, *, error: str | None = None) -> FinishedEvent:
        return FinishedEvent(
            request_id=live.request.request_id,
            reason=reason,
            prompt_tokens=len(live.request.prompt_ids),
            cached_tokens=1,
            output_tokens=len(live.sent),
            drafted_tokens=self._drafts[0],
            accepted_tokens=self._drafts[1],
            error=error,
        )


def _logprobs(token_id: int) -> TokenLogprobs:
    return TokenLogprobs(token_id, -0.5, ((token_id, -0.5), (ord("?"), -1.5)), 1)


def _prompt_logprobs(request: Request) -> PromptLogprobsEvent:
    scored = [_logprobs(token_id) for token_id in request.prompt_ids[1:]]
    return PromptLogprobsEvent(request.request_id, (None, *scored))


def fake_model(
    reply: Callable[[str], str] = lambda prompt: f"<{prompt}>",
    *,
    template: str | None = TEMPLATE,
    max_batch: int = 4,
    max_queue: int = 8,
    max_model_len: int = 200,
    fail_on: str | None = None,
    drafts: tuple[int, int] = (0, 0),
    defaults: GenerationDefaults | None = None,
) -> tuple[LoadedModel, ScriptedEngine]:
    """A model that answers each prompt with `reply(prompt)`, and its engine, not started."""
    config = EngineConfig(
        max_model_len=max_model_len,
        max_batch=max_batch,
        max_batched_tokens=64,
        max_queue=max_queue,
        vocab_size=VOCAB_SIZE,
    )
    engine = ScriptedEngine(reply, config=config, fail_on=fail_on, drafts=drafts)
    tokenizer = byte_tokenizer()
    eos_token_ids = frozenset({EOS})
    model = LoadedModel(
        name="scripted",
        engine=engine,  # type: ignore[arg-type]  # the parts of Engine that its callers use
        tokenizer=tokenizer,
        chat_template=None
        if template is None
        else ChatTemplate(template, bos_token=None, eos_token="<eos>"),
        max_model_len=max_model_len,
        defaults=defaults or no_defaults(),
        eos_token_ids=eos_token_ids,
        pooling=PoolingProfile(method=PoolingMethod.LAST, normalize=True, size=8),
        summary=("model scripted",),
        grammars=GrammarCompiler(tokenizer, vocab_size=VOCAB_SIZE, eos_token_ids=eos_token_ids),
        model_type="scripted",
        facts=ModelFacts(
            isa="scripted",
            threads=1,
            weight_formats=(),
            kv_dtype="float16",
            kv_block_size=32,
            prefix_caching=True,
            startup_seconds={},
        ),
    )
    return model, engine


def no_defaults() -> GenerationDefaults:
    """A model without recommendations."""
    return GenerationDefaults(
        temperature=None, top_p=None, top_k=None, min_p=None, repetition_penalty=None
    )
