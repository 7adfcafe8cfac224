"""POST /tokenize: the token ids of a prompt or of messages."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ftllm.errors import RequestError
from ftllm.server.chat_history import read_history
from ftllm.server.chat_turn import ChatTurn
from ftllm.server.conversation import ToolOffer
from ftllm.server.json_text import encode_list
from ftllm.server.openapi import answers, json_body
from ftllm.server.prompts import ChatOptions
from ftllm.server.schemas.answers import Tokenization
from ftllm.server.schemas.tokenize import TokenizeRequest
from ftllm.server.services import Services
from ftllm.server.tool_choice import read_functions

CHAT_FIELDS = (
    "add_generation_prompt",
    "continue_final_message",
    "chat_template_kwargs",
    "tools",
)


def create_router(services: Services) -> APIRouter:
    router = APIRouter()

    @router.post(
        "/tokenize", openapi_extra=json_body(TokenizeRequest), responses=answers(Tokenization)
    )
    async def tokenize(request: Request) -> Response:
        body = await services.bodies.read(request, TokenizeRequest)
        services.check_model(body.model)
        ids = await _ids(body, services)

        def answer() -> str:
            pieces = "null"
            if body.return_token_strs:
                piece_of = services.model.tokenizer.token_piece
                pieces = encode_list([piece_of(token_id) or "" for token_id in ids])
            return (
                f'{{"count":{len(ids)},"max_model_len":{services.model.max_model_len},'
                f'"tokens":{encode_list(ids)},"token_strs":{pieces}}}'
            )

        text = await services.prompts.run(answer, size=len(ids))
        return Response(text, media_type="application/json")

    return router


async def _ids(body: TokenizeRequest, services: Services) -> Sequence[int]:
    if (body.prompt is None) == (body.messages is None):
        raise RequestError("Give either prompt or messages.", param="prompt")
    if body.prompt is not None:
        for name in CHAT_FIELDS:
            if getattr(body, name) is not None:
                raise RequestError(f"{name} is for messages only; leave it out.", param=name)
        special = body.add_special_tokens is not False
        return await services.prompts.text_ids(body.prompt, add_special_tokens=special)
    continues = bool(body.continue_final_message)
    if continues and body.add_generation_prompt:
        raise RequestError(
            "continue_final_message and add_generation_prompt exclude each other; set one of them.",
            param="continue_final_message",
        )
    options = ChatOptions(
        variables=body.chat_template_kwargs or {},
        add_generation_prompt=body.add_generation_prompt is not False and not continues,
        continue_final_message=continues,
        add_special_tokens=bool(body.add_special_tokens),
    )
    turn = ChatTurn(
        messages=read_history(body.messages or []),
        tools=ToolOffer(tools=read_functions([tool.function for tool in body.tools or ()])),
        options=options,
    )
    return (await services.turns.rendered(turn)).ids
