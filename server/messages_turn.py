"""The body of /v1/messages as a chat turn."""

from __future__ import annotations

from dataclasses import replace

from ftllm.errors import ContextLengthError, RequestError
from ftllm.sampling_params import SamplingParams
from ftllm.server.chat_turn import ChatTurn, ChatTurns, PreparedTurn
from ftllm.server.conversation import FunctionTool, ToolOffer
from ftllm.server.messages_history import read_messages
from ftllm.server.prompts import ChatOptions
from ftllm.server.schemas.messages import CountTokensRequest, MessagesRequest
from ftllm.server.thinking import ThinkingPlanner, ThinkingWish
from ftllm.server.tool_choice import known_function
from ftllm.server.turn_answer import TurnAnswer
from ftllm.text.grammar import Grammar


def messages_turn(body: MessagesRequest, planner: ThinkingPlanner) -> ChatTurn:
    """Raises `RequestError` for what cannot be honoured."""
    thinking = body.thinking
    if thinking is not None and (thinking.budget_tokens or 0) >= body.max_tokens:
        raise RequestError(
            f"thinking.budget_tokens is {thinking.budget_tokens} and max_tokens is"
            f" {body.max_tokens}; thinking is a part of the answer, so make max_tokens greater.",
            param="thinking.budget_tokens",
        )
    params = SamplingParams(
        max_tokens=body.max_tokens,
        stop=body.stop_sequences,
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=body.top_k,
        grammar=_format(body),
    )
    return replace(counted_turn(body, planner), params=params)


def counted_turn(body: CountTokensRequest, planner: ThinkingPlanner) -> ChatTurn:
    """The conversation alone."""
    _refuse_unsupported(body)
    messages = read_messages(body)
    goes_on = messages[-1].role == "assistant"  # the answer continues what was put in its mouth
    return ChatTurn(
        messages=messages,
        tools=_read_tools(body),
        thinking=_thinking(body, planner),
        options=ChatOptions(add_generation_prompt=not goes_on, continue_final_message=goes_on),
    )


def start_within_context(
    turns: ChatTurns, prepared: PreparedTurn, *, answer_id: str
) -> tuple[TurnAnswer, bool]:
    """(the answer, it may fill the context). As with Anthropic's, max_tokens may be more than there
    is room for."""
    try:
        return turns.start(prepared, answer_id=answer_id), False
    except ContextLengthError:
        params = replace(prepared.turn.params, max_tokens=None)
        unlimited = replace(prepared, turn=replace(prepared.turn, params=params))
        return turns.start(unlimited, answer_id=answer_id), True


def _thinking(body: CountTokensRequest, planner: ThinkingPlanner) -> ThinkingWish:
    """A model that does not think keeps every budget and effort, so these are no errors."""
    asked = body.thinking
    effort = body.output_config.effort if body.output_config is not None else None
    if asked is None:
        return ThinkingWish(effort=effort if planner.can_think else None)
    if asked.type == "disabled":
        return ThinkingWish(enabled=False)
    if asked.type == "enabled" and asked.budget_tokens is None:
        raise RequestError(
            "thinking.budget_tokens is missing: enabled thinking needs it.",
            param="thinking.budget_tokens",
            code="missing_required_parameter",
        )
    return ThinkingWish(
        enabled=True,
        effort=effort if planner.can_think else None,
        budget=asked.budget_tokens if planner.can_limit else None,
        visible=asked.display != "omitted",
    )


def _format(body: MessagesRequest) -> Grammar | None:
    config = body.output_config
    inner = config.format if config is not None else None
    if inner is not None and body.output_format is not None:
        raise RequestError(
            "output_format is the older place of output_config.format; give one of them.",
            param="output_format",
        )
    if inner is not None:
        return replace(Grammar.json_schema(inner.json_schema), param="output_config.format")
    if body.output_format is not None:
        return replace(Grammar.json_schema(body.output_format.json_schema), param="output_format")
    return None


def _read_tools(body: CountTokensRequest) -> ToolOffer:
    tools: dict[str, FunctionTool] = {}
    for at, tool in enumerate(body.tools or ()):
        if tool.name in tools:
            raise RequestError(
                f"tools[{at}].name: {tool.name!r} is also the name of another tool; rename one.",
                param=f"tools[{at}].name",
            )
        tools[tool.name] = FunctionTool(
            name=tool.name,
            description=tool.description,
            parameters=tool.input_schema,
            strict=bool(tool.strict),
        )
    choice = body.tool_choice
    if choice is None:
        return ToolOffer(tools=tuple(tools.values()))
    if (choice.type == "tool") != (choice.name is not None):
        raise RequestError(
            "tool_choice.name is there exactly when tool_choice.type is 'tool', but the type is"
            f" {choice.type!r}.",
            param="tool_choice.name",
        )
    if choice.type == "none" or (choice.type == "auto" and not tools):
        return ToolOffer()
    if not tools:
        raise RequestError(
            "tool_choice: it asks for a tool, but tools is empty or missing.", param="tool_choice"
        )
    allowed = None
    if choice.name is not None:
        allowed = known_function(choice.name, frozenset(tools), "tool_choice.name")
    return ToolOffer(
        tools=tuple(tools.values()),
        required=choice.type != "auto",
        allowed=allowed,
        parallel=not choice.disable_parallel_tool_use and allowed is None,
    )


def _refuse_unsupported(body: CountTokensRequest) -> None:
    for name in ("mcp_servers", "container"):
        if getattr(body, name):
            _refuse(name, "only Anthropic's service has it")
    edits = (body.context_management or {}).get("edits") or []
    for edit in edits if isinstance(edits, list) else [edits]:
        kind = edit.get("type") if isinstance(edit, dict) else None
        # What of earlier thinking is kept is the template's decision anyway.
        if not isinstance(kind, str) or not kind.startswith("clear_thinking_"):
            _refuse("context_management", "of its edits only the clearing of thinking is supported")
    for at, tool in enumerate(body.tools or ()):
        place = f"tools[{at}]"
        if tool.defer_loading:
            _refuse(f"{place}.defer_loading", "there is no search for tools")
        if tool.input_examples:
            _refuse(f"{place}.input_examples", "put the examples into the description")
        if tool.allowed_callers not in (None, [], ["direct"]):
            _refuse(f"{place}.allowed_callers", "tools can only be called directly")


def _refuse(param: str, why: str) -> None:
    raise RequestError(f"{param}: {why}.", param=param, code="unsupported_value")
