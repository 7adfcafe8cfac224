"""The fields about tools of /v1/responses, as an offer of tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from ftllm.errors import RequestError
from ftllm.server.conversation import FunctionTool, ToolOffer
from ftllm.server.schemas.responses import InputTokensRequest
from ftllm.server.tool_choice import known_function

_CHOICES = (
    'It must be "none", "auto", "required", {"type": "function", "name": …} or'
    ' {"type": "allowed_tools", "mode": …, "tools": […]}'
)


def read_response_tools(body: InputTokensRequest) -> ToolOffer:
    """Raises `RequestError` naming the field that cannot be honoured."""
    tools = _functions(body)
    choice = body.tool_choice
    if choice == "none" or (choice in (None, "auto") and not tools):
        return ToolOffer()
    if not tools:
        _refuse("tool_choice", "it asks for a tool, but tools is empty or missing")
    names = frozenset(tool.name for tool in tools)
    required, allowed, is_named = _choice(choice, names)
    return ToolOffer(
        tools=tools,
        required=required,
        allowed=allowed,
        # Whoever names a function wants it called, not called again and again.
        parallel=body.parallel_tool_calls is not False and not is_named,
    )


def _functions(body: InputTokensRequest) -> tuple[FunctionTool, ...]:
    tools: dict[str, FunctionTool] = {}
    for at, tool in enumerate(body.tools or ()):
        if tool.name in tools:
            _refuse(f"tools[{at}].name", f"{tool.name!r} is also the name of another tool")
        if tool.defer_loading:
            _refuse(f"tools[{at}].defer_loading", "there is no search for tools")
        if tool.allowed_callers not in (None, [], ["direct"]):
            _refuse(f"tools[{at}].allowed_callers", "tools can only be called directly")
        tools[tool.name] = FunctionTool(
            name=tool.name,
            description=tool.description,
            parameters=tool.parameters,
            strict=tool.strict,  # by default strict, as OpenAI has it
        )
    return tuple(tools.values())


def _choice(choice: object, names: frozenset[str]) -> tuple[bool, frozenset[str] | None, bool]:
    """(a call is required, the functions that may be called or None for all, it names one)."""
    if choice in (None, "auto"):
        return False, None, False
    if choice == "required":
        return True, None, False
    if isinstance(choice, Mapping) and choice.get("type") == "function":
        name = choice.get("name")
        if isinstance(name, str):
            return True, known_function(name, names, "tool_choice.name"), True
    if isinstance(choice, Mapping) and choice.get("type") == "allowed_tools":
        return _allowed(choice, names)
    raise RequestError(f"tool_choice: {_CHOICES}.", param="tool_choice")


def _allowed(
    choice: Mapping[str, object], names: frozenset[str]
) -> tuple[bool, frozenset[str], bool]:
    if choice.get("mode") not in ("auto", "required"):
        _refuse("tool_choice.mode", 'it must be "auto" or "required"')
    listed = choice.get("tools")
    if not isinstance(listed, list) or not listed:
        _refuse("tool_choice.tools", "it must be an array of at least one tool")
    allowed: frozenset[str] = frozenset()
    for at, tool in enumerate(listed):
        name = tool.get("name") if isinstance(tool, Mapping) else None
        place = f"tool_choice.tools[{at}]"
        allowed |= known_function(name if isinstance(name, str) else "", names, place)
    return choice["mode"] == "required", allowed, False


def _refuse(param: str, why: str) -> NoReturn:
    raise RequestError(f"{param}: {why}.", param=param)
