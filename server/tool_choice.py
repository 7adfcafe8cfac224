"""The fields about tools of /v1/chat/completions, as an offer of tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

from ftllm.errors import RequestError
from ftllm.server.conversation import FunctionTool, ToolOffer
from ftllm.server.schemas.chat import ChatCompletionRequest
from ftllm.server.schemas.tools import FunctionDefinition

_CHOICES = (
    'It must be "none", "auto", "required", {"type": "function", "function": {"name": …}} or'
    ' {"type": "allowed_tools", "allowed_tools": {"mode": …, "tools": […]}}'
)


def read_tools(body: ChatCompletionRequest) -> ToolOffer:
    """Raises `RequestError` naming the field that cannot be honoured."""
    if body.uses_functions:
        return _older_offer(body)
    tools = read_functions([tool.function for tool in body.tools or ()])
    choice = body.tool_choice
    if choice == "none" or (choice in (None, "auto") and not tools):
        return ToolOffer()
    if not tools:
        _refuse("tool_choice", "it asks for a tool, but tools is empty or missing")
    names = frozenset(tool.name for tool in tools)
    required, allowed = _choice(choice, names)
    # Whoever names a function wants it called, not called again and again.
    is_named = isinstance(choice, dict) and choice["type"] == "function"
    parallel = body.parallel_tool_calls is not False and not is_named
    return ToolOffer(tools=tools, required=required, allowed=allowed, parallel=parallel)


def _older_offer(body: ChatCompletionRequest) -> ToolOffer:
    """OpenAI's older spelling: functions and function_call, one call an answer."""
    for new in ("tools", "tool_choice"):
        if getattr(body, new):
            _refuse(new, "it excludes functions and function_call, its older spelling; use tools")
    tools = read_functions(body.functions or (), place="functions[{}]")
    choice = body.function_call
    if choice == "none" or (choice in (None, "auto") and not tools):
        return ToolOffer()
    if choice in (None, "auto"):
        return ToolOffer(tools=tools, parallel=False)
    if not isinstance(choice, dict) or not isinstance(choice.get("name"), str):
        _refuse("function_call", 'it must be "none", "auto" or {"name": …}')
    allowed = known_function(
        choice["name"], frozenset(tool.name for tool in tools), "function_call.name"
    )
    return ToolOffer(tools=tools, required=True, allowed=allowed, parallel=False)


def read_functions(
    definitions: Sequence[FunctionDefinition], *, place: str = "tools[{}].function"
) -> tuple[FunctionTool, ...]:
    """Raises `RequestError` when two have one name; `place` is where they stand in the request."""
    tools: dict[str, FunctionTool] = {}
    for at, definition in enumerate(definitions):
        if definition.name in tools:
            param = f"{place.format(at)}.name"
            _refuse(param, f"{definition.name!r} is also the name of another tool; rename one")
        tools[definition.name] = FunctionTool(
            name=definition.name,
            description=definition.description,
            parameters=definition.parameters,
            strict=bool(definition.strict),
        )
    return tuple(tools.values())


def _choice(choice: object, names: frozenset[str]) -> tuple[bool, frozenset[str] | None]:
    """(a call is required, the functions that may be called or None for all)."""
    if choice in (None, "auto"):
        return False, None
    if choice == "required":
        return True, None
    if isinstance(choice, dict) and choice.get("type") == "function":
        function = choice.get("function")
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            return True, known_function(function["name"], names, "tool_choice.function.name")
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        return _allowed(choice.get("allowed_tools"), names)
    raise RequestError(f"tool_choice: {_CHOICES}.", param="tool_choice")


def _allowed(choice: object, names: frozenset[str]) -> tuple[bool, frozenset[str]]:
    place = "tool_choice.allowed_tools"
    if not isinstance(choice, dict) or choice.get("mode") not in ("auto", "required"):
        _refuse(f"{place}.mode", 'it must be "auto" or "required"')
    listed = choice.get("tools")
    if not isinstance(listed, list) or not listed:
        _refuse(f"{place}.tools", "it must be an array of at least one tool")
    allowed: frozenset[str] = frozenset()
    for at, tool in enumerate(listed):
        allowed |= known_function(_listed_name(tool), names, f"{place}.tools[{at}]")
    return choice["mode"] == "required", allowed


def _listed_name(tool: object) -> str:
    """Of {"type": "function", "function": {"name": …}}; "" for anything else."""
    function = tool.get("function") if isinstance(tool, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else ""


def known_function(name: str, names: frozenset[str], param: str) -> frozenset[str]:
    """The one of `names`. Raises `RequestError` naming `param` when it is none of them."""
    if name not in names:
        known = ", ".join(sorted(names)[:10]) or "none"
        _refuse(param, f"{name[:64]!r} is not one of the request's functions ({known})")
    return frozenset((name,))


def _refuse(param: str, why: str) -> NoReturn:
    raise RequestError(f"{param}: {why}.", param=param)
