"""What the routes work with, built once per app."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence

from starlette.requests import Request as HttpRequest

from ftllm.engine.pooling import PoolingParams
from ftllm.server.answer_frames import AnswerHead
from ftllm.server.body import BodyReader
from ftllm.server.bridge import EngineBridge
from ftllm.server.choice_stream import ChoicePlan
from ftllm.server.errors import ErrorReply, RefusedError
from ftllm.server.generation import Generation, start_generation
from ftllm.server.model import ServedModel
from ftllm.server.pooled import PooledResult, PooledRun
from ftllm.server.pooled_prompts import PooledPrompts
from ftllm.server.prompts import Prompt, PromptPreparer
from ftllm.server.settings import ServerSettings
from ftllm.server.sse import on_disconnect

server_log = logging.getLogger("ftllm.server")


class Services:
    """The served model with the machinery around it."""

    def __init__(self, model: ServedModel, settings: ServerSettings) -> None:
        self.model = model
        self.settings = settings
        self.started = int(time.time())
        self.bodies = BodyReader(max_bytes=settings.max_body_bytes, lenient=settings.lenient)
        self.prompts = PromptPreparer(model, threads=settings.text_threads)
        self.pooled_prompts = PooledPrompts(model, self.prompts)
        self._bridge = EngineBridge(model.engine)

    def close(self) -> None:
        self.prompts.close()

    def check_model(self, name: str | None) -> None:
        """Raises a 404 unless `name` is the served model; None stands for it."""
        if name is None or name == self.model.name:
            return
        message = f"The model {name[:200]!r} does not exist; this server has {self.model.name!r}."
        raise RefusedError(ErrorReply(404, message, "model_not_found", "model"))

    def answer_head(self, prefix: str) -> AnswerHead:
        """A new answer's identity; `prefix` tells the endpoint."""
        return AnswerHead(f"{prefix}-{uuid.uuid4().hex}", int(time.time()), self.model.name)

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

    def log_prompts(self, prompts: Sequence[Prompt], *, request_id: str) -> None:
        """At debug level, and never under hide_input."""
        if self.settings.hide_input or not server_log.isEnabledFor(logging.DEBUG):
            return
        for prompt in prompts:
            text = self.model.tokenizer.decode(prompt.ids, skip_special_tokens=False)
            server_log.debug("request %s: prompt %r", request_id, text)
