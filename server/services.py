"""What the routes work with, built once per app."""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from starlette.requests import Request as HttpRequest

from ftllm.engine.pooling import PoolingParams
from ftllm.server.answer_frames import AnswerHead
from ftllm.server.body import BodyReader
from ftllm.server.bridge import EngineBridge
from ftllm.server.chat_turn import ChatTurns
from ftllm.server.choice_stream import ChoicePlan
from ftllm.server.dialects import choose_dialects
from ftllm.server.drain import Drain
from ftllm.server.errors import ErrorReply, RefusedError
from ftllm.server.generation import Generation, start_generation
from ftllm.server.grammars import Grammars
from ftllm.server.health import live_problem, ready_problem
from ftllm.server.in_flight import InFlight
from ftllm.server.metrics.request_metrics import RequestMetrics
from ftllm.server.model import ServedModel
from ftllm.server.pooled import PooledResult, PooledRun
from ftllm.server.pooled_prompts import PooledPrompts
from ftllm.server.prompts import Prompt, PromptPreparer
from ftllm.server.pulse import Pulse
from ftllm.server.request_context import current_request
from ftllm.server.response_database import DatabaseShelf
from ftllm.server.response_store import ResponseStore
from ftllm.server.responses_background import BackgroundResponses
from ftllm.server.settings import ServerSettings
from ftllm.server.sse import OPENAI_STREAM, EventStream, StreamForm, on_disconnect
from ftllm.server.stored_response import ResponseShelf
from ftllm.server.thinking import ThinkingPlanner
from ftllm.server.tracing import make_tracer
from ftllm.text.thinking_switches import ThinkingSwitches

server_log = logging.getLogger("ftllm.server")


class Services:
    """The served model with the machinery around it."""

    def __init__(self, model: ServedModel, settings: ServerSettings) -> None:
        self.model = model
        self.settings = settings
        self.started = int(time.time())
        self.bodies = BodyReader(
            max_bytes=settings.max_body_bytes,
            timeout=settings.limits.body_timeout,
            lenient=settings.lenient,
        )
        self.in_flight = InFlight()
        self.drain = Drain(timeout=settings.drain_timeout)
        self.pulse = Pulse()
        self.metrics = RequestMetrics(max_model_len=model.max_model_len)
        self.prompts = PromptPreparer(model, threads=settings.text_threads)
        self.pooled_prompts = PooledPrompts(model, self.prompts)
        self.grammars = Grammars(
            model.grammars,
            timeout=settings.grammar_timeout,
            seconds=self.metrics.grammar_compile,
        )
        self._bridge = EngineBridge(model.engine, self.metrics, settings.limits)
        self.dialects = choose_dialects(
            model,
            tool_call_parser=settings.tool_call_parser,
            reasoning_parser=settings.reasoning_parser,
        )
        template = model.chat_template
        switches = ThinkingSwitches() if template is None else template.thinking
        self.thinking = ThinkingPlanner(
            switches, self.dialects.reasoning_dialect, default=settings.think
        )
        self.turns = ChatTurns(
            model, self.prompts, self.grammars, self._bridge, self.dialects, self.thinking
        )

        self.responses = ResponseStore(
            max_count=settings.stored_responses,
            max_bytes=settings.stored_bytes,
            shelf=_shelf(settings.response_store),
        )
        self.background = BackgroundResponses()
        self.tracer = make_tracer(
            settings.otlp_endpoint, model_name=model.name, environment=os.environ
        )

    async def close(self) -> None:
        await self.background.close()
        self.responses.close()
        self.prompts.close()
        self.model.grammars.close()
        if self.tracer is not None:
            self.tracer.close(patience=0.5 if self.drain.hurried else 3.0)

    def live_problem(self, now: float) -> str | None:
        """Why only a restart can help, if so; `now` is `time.monotonic()`."""
        return live_problem(
            self.model.engine.stats(),
            now,
            stall_timeout=self.settings.stall_timeout,
            awake_since=self.pulse.awake_since(now),
        )

    def ready_problem(self, now: float) -> str | None:
        """Why requests should go elsewhere, if so; `now` is `time.monotonic()`."""
        return ready_problem(
            self.model.engine.stats(),
            now,
            stall_timeout=self.settings.stall_timeout,
            draining=self.drain.draining,
            awake_since=self.pulse.awake_since(now),
        )

    def check_model(self, name: str | None) -> None:
        """Raises a 404 unless `name` is the served model, and a 403 if the request's key may not
        use it; None stands for it."""
        if name is None or name == self.model.name:
            self._check_allowed()
            return
        message = f"The model {name[:200]!r} does not exist; this server has {self.model.name!r}."
        raise RefusedError(ErrorReply(404, message, "model_not_found", "model"))

    @property
    def visible(self) -> bool:
        """The current request's key may use the served model."""
        context = current_request()
        key = None if context is None else context.api_key
        return key is None or key.models is None or self.model.name in key.models

    def _check_allowed(self) -> None:
        if not self.visible:
            message = f"This API key has no access to the model {self.model.name!r}."
            raise RefusedError(ErrorReply(403, message, "model_not_found", "model"))

    def answer_head(self, prefix: str, *, separator: str = "-") -> AnswerHead:
        """A new answer's identity; `prefix` tells the endpoint."""
        answer_id = f"{prefix}{separator}{uuid.uuid4().hex}"
        return AnswerHead(answer_id, int(time.time()), self.model.name)

    def generate(self, plans: Sequence[ChoicePlan], *, n: int) -> Generation:
        """Submits. Raises before anything runs if any of the choices cannot be served."""
        return start_generation(self._bridge, self.model.tokenizer, plans, n=n)

    async def pool(
        self, request: HttpRequest, prompts: Sequence[Prompt], params: PoolingParams
    ) -> PooledResult:
        """Runs to the end. `request`'s body must have been read."""
        self.log_prompts(prompts, request_id=request.state.request_id)
        run = PooledRun(self._bridge, [prompt.ids for prompt in prompts], params)
        async with on_disconnect(request.receive, run.close):
            return await run.collect()

    def event_stream(
        self,
        frames: AsyncIterator[bytes],
        close: Callable[[], None],
        *,
        form: StreamForm = OPENAI_STREAM,
    ) -> EventStream:
        """Sends `frames`; `close` is called when the client hangs up, and at the end."""
        settings = self.settings
        return EventStream(
            frames,
            close,
            form=form,
            hide_input=settings.hide_input,
            keep_alive=settings.keep_alive,
        )

    def log_prompts(self, prompts: Sequence[Prompt], *, request_id: str) -> None:
        """At debug level, and never under hide_input."""
        if self.settings.hide_input or not server_log.isEnabledFor(logging.DEBUG):
            return
        for prompt in prompts:
            text = self.model.tokenizer.decode(prompt.ids, skip_special_tokens=False)
            server_log.debug("request %s: prompt %r", request_id, text)


def _shelf(path: Path | None) -> ResponseShelf | None:
    return None if path is None else DatabaseShelf(path)
