"""Starts what /v1/responses asks for, and keeps what comes of it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from ftllm.server.answer_blocks import AnswerBlocks
from ftllm.server.envelope import log_failure
from ftllm.server.errors import (
    ClientDisconnectedError,
    ErrorReply,
    RefusedError,
    is_expected,
    reply_for,
)
from ftllm.server.event_log import EventLog
from ftllm.server.json_text import encode_json
from ftllm.server.response_store import ResponseStore
from ftllm.server.responses_answer import ResponsesAnswer
from ftllm.server.responses_frames import ResponseFrames
from ftllm.server.responses_turn import own_field_names, prepare_within_context, responses_turn
from ftllm.server.schemas.responses import InputItem, InputTokensRequest, ResponsesRequest
from ftllm.server.services import Services
from ftllm.server.stored_response import StoredResponse
from ftllm.server.turn_answer import TurnAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseRun:
    """A response in the making."""

    answer: ResponsesAnswer
    turn: TurnAnswer
    items: tuple[InputItem, ...]  # that it is made from
    store: ResponseStore | None  # None: it is not kept
    is_background: bool

    def keep(
        self,
        response: dict[str, object],
        *,
        is_running: bool = False,
        events: Sequence[str] = (),
    ) -> None:
        if self.store is None:
            return
        output = response["output"]
        assert isinstance(output, list)
        stored = StoredResponse(
            text=encode_json(response),
            items=self.items,
            output=tuple(InputItem.model_validate(item) for item in output),
            events=tuple(events),
            is_background=self.is_background,
            is_running=is_running,
        )
        self.store.put(self.answer.response_id, stored)

    async def whole(self) -> dict[str, object]:
        """Runs to the end."""
        blocks = AnswerBlocks()
        await blocks.collect(self.turn)
        response = self.answer.ended(blocks, self.turn.usage)
        self.keep(response)
        return response

    async def in_background(self, *, request_id: str, hide_input: bool) -> None:
        """Runs to the end, whatever that is; unless it is deleted before, the end is kept."""
        blocks = AnswerBlocks()
        try:
            await blocks.collect(self.turn)
            response = self.answer.ended(blocks, self.turn.usage)
        except ClientDisconnectedError:  # somebody has closed it
            response = self.answer.cancelled(blocks, self.turn.usage)
        except Exception as error:
            if not is_expected(error):
                log_failure(error, request_id=request_id, hide_input=hide_input)
            response = self.answer.failed(reply_for(error, request_id=request_id))
        if self._is_wanted:
            self.keep(response)

    async def in_log(
        self, writer: ResponseFrames, log: EventLog, *, request_id: str, hide_input: bool
    ) -> None:
        """As `in_background`; the events of its stream are written to `log`, and kept with it."""
        ended: list[dict[str, object]] = []
        try:
            async for block in writer.frames(self.turn, ended.append):
                log.write(block.decode())
        except ClientDisconnectedError:  # somebody has closed it: no event tells of that
            ended.append(self.answer.cancelled(writer.blocks, self.turn.usage))
        except Exception as error:
            if not is_expected(error):
                log_failure(error, request_id=request_id, hide_input=hide_input)
            reply = reply_for(error, request_id=request_id)
            ended.append(self.answer.failed(reply))
            log.write(writer.failure(reply).decode())
        finally:
            self.turn.close()
        if self._is_wanted:
            self.keep(ended[-1], events=log.events)
        log.end()

    @property
    def _is_wanted(self) -> bool:
        """It has not been deleted, nor had it to make way."""
        return self.store is not None and self.answer.response_id in self.store


async def start_response(
    services: Services, body: ResponsesRequest, *, request_id: str
) -> ResponseRun:
    """Raises before anything runs if the response cannot be made."""
    store = _wanted_store(services.responses, body)
    earlier = earlier_items(services.responses, body)
    with own_field_names():
        turn = responses_turn(body, earlier)
        prepared = await prepare_within_context(
            services.turns, turn, truncates=body.truncation == "auto"
        )
        services.log_prompts([prepared.prompt], request_id=request_id)
        head = services.answer_head("resp", separator="_")
        running = services.turns.start(prepared, answer_id=head.answer_id)
    return ResponseRun(
        answer=ResponsesAnswer(
            head,
            body,
            services.model,
            stores=store is not None,
            loose_tools=[tool.name for tool in prepared.turn.tools.tools if not tool.strict],
        ),
        turn=running,
        items=(*earlier, *_with_ids(body.input or ())),
        store=store,
        is_background=bool(body.background),
    )


def earlier_items(store: ResponseStore, body: InputTokensRequest) -> tuple[InputItem, ...]:
    """Those of the response that this one continues."""
    if body.previous_response_id is None:
        return ()
    return store.previous(body.previous_response_id).conversation


def _wanted_store(store: ResponseStore, body: ResponsesRequest) -> ResponseStore | None:
    if body.store and not store.enabled:
        message = "store: this server stores no responses; see --stored_responses."
        raise RefusedError(ErrorReply(400, message, "unsupported_value", "store"))
    wanted = store if body.store is not False and store.enabled else None
    if body.background and wanted is None:
        message = "background: nobody could ask for the response later, as it is not stored."
        raise RefusedError(ErrorReply(400, message, "invalid_value", "background"))
    return wanted


def _with_ids(items: Sequence[InputItem]) -> list[InputItem]:
    return [
        item if item.id else item.model_copy(update={"id": f"item_{secrets.token_hex(16)}"})
        for item in items
    ]
