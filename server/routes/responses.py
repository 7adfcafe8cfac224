"""/v1/responses: create, stream, look up, list the input of, cancel, delete; count tokens."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ftllm.errors import RequestError
from ftllm.server.errors import ErrorReply, RefusedError
from ftllm.server.event_log import EventLog
from ftllm.server.json_text import json_response
from ftllm.server.openapi import answers, json_body
from ftllm.server.refusals import refuse_stream_options
from ftllm.server.response_items import item_page
from ftllm.server.responses_frames import ResponseFrames
from ftllm.server.responses_run import ResponseRun, earlier_items, start_response
from ftllm.server.responses_turn import input_turn, own_field_names
from ftllm.server.schemas.answers import DeletedResponse, InputItems, InputTokens
from ftllm.server.schemas.answers import Response as ResponseObject
from ftllm.server.schemas.responses import InputTokensRequest, ResponsesRequest
from ftllm.server.services import Services
from ftllm.server.sse import StreamForm, on_disconnect


def create_router(services: Services) -> APIRouter:
    router = APIRouter()
    store = services.responses

    @router.post(
        "/v1/responses",
        openapi_extra=json_body(ResponsesRequest),
        responses=answers(ResponseObject, streams=True),
    )
    async def create_response(request: Request) -> Response:
        body = await services.bodies.read(request, ResponsesRequest)
        services.check_model(body.model)
        refuse_stream_options(body.stream_options, stream=body.stream)
        request_id = request.state.request_id
        run = await start_response(services, body, request_id=request_id)
        if body.background:
            return _in_background(run, request_id=request_id, streams=bool(body.stream))
        if body.stream:
            writer = ResponseFrames(run.answer)
            form = StreamForm(error=writer.failure, end=b"")
            return services.event_stream(
                writer.frames(run.turn, run.keep), run.turn.close, form=form
            )
        async with on_disconnect(request.receive, run.turn.close):
            return json_response(await run.whole())

    @router.post(
        "/v1/responses/input_tokens",
        openapi_extra=json_body(InputTokensRequest),
        responses=answers(InputTokens),
    )
    async def count_input_tokens(request: Request) -> Response:
        body = await services.bodies.read(request, InputTokensRequest)
        services.check_model(body.model)
        with own_field_names():
            turn = input_turn(body, earlier_items(store, body))
            prompt = await services.turns.rendered(turn)
        return json_response({"object": "response.input_tokens", "input_tokens": len(prompt.ids)})

    @router.get("/v1/responses/{response_id}", responses=answers(ResponseObject))
    async def retrieve_response(request: Request, response_id: str) -> Response:
        """With `stream=true` its events, those after number `starting_after`; they are there if it
        was made with `background` and `stream`."""
        if request.query_params.get("stream", "false").lower() != "true":
            return _stored(response_id)
        start = _starting_after(request.query_params.get("starting_after")) + 1
        stored = store.get(response_id)
        log = services.background.log(response_id)
        if log is None:
            if not stored.events:
                raise RequestError(
                    "stream: there are no events of this response, as it was not made with"
                    " background and stream; set stream to false.",
                    param="stream",
                    code="unsupported_value",
                )
            log = EventLog(stored.events)
        return _stream(log, start)

    @router.delete("/v1/responses/{response_id}", responses=answers(DeletedResponse))
    async def delete_response(response_id: str) -> Response:
        store.get(response_id)
        store.discard(response_id)
        await services.background.cancel(response_id)
        return json_response({"id": response_id, "object": "response", "deleted": True})

    @router.post("/v1/responses/{response_id}/cancel", responses=answers(ResponseObject))
    async def cancel_response(response_id: str) -> Response:
        if not store.get(response_id).is_background:
            message = (
                f"The response {response_id[:200]!r} was not made in the background, so there is"
                " nothing to cancel; hang up to end one that is being streamed."
            )
            raise RefusedError(ErrorReply(400, message, "invalid_value", "response_id"))
        await services.background.cancel(response_id)
        return _stored(response_id)

    @router.get("/v1/responses/{response_id}/input_items", responses=answers(InputItems))
    async def list_input_items(request: Request, response_id: str) -> Response:
        """Newest first, unless with `order=asc`."""
        return json_response(item_page(store.get(response_id).items, request.query_params))

    def _in_background(run: ResponseRun, *, request_id: str, streams: bool) -> Response:
        response = run.answer.running()
        run.keep(response, is_running=True)
        hide_input = services.settings.hide_input
        response_id, stop = run.answer.response_id, run.turn.close
        if not streams:
            work = run.in_background(request_id=request_id, hide_input=hide_input)
            services.background.start(response_id, work, stop)
            return json_response(response)
        log = EventLog()
        writer = ResponseFrames(run.answer)
        work = run.in_log(writer, log, request_id=request_id, hide_input=hide_input)
        services.background.start(response_id, work, stop, log)
        return _stream(log, 0)

    def _stream(log: EventLog, start: int) -> Response:
        """Whoever hangs up ends the reading, not the response."""
        reader = log.reader(start)
        return services.event_stream(reader.frames(), reader.close, form=StreamForm(end=b""))

    def _stored(response_id: str) -> Response:
        return Response(store.get(response_id).text, media_type="application/json")

    return router


def _starting_after(value: str | None) -> int:
    """The number of an event; -1 stands in front of all."""
    if value is None:
        return -1
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise RequestError(
            f"starting_after: {value[:50]!r} is no number of an event; they count from 0.",
            param="starting_after",
        )
    return int(value)
