"""Brings a conversation into the form that a chat template expects."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Environment, nodes

from ftllm.errors import RequestError

_NONE_TEST = re.compile(r"(?<!\w)content['\"\]]*\s+is\s+(not\s+)?none", re.IGNORECASE)
_STRING_TEST = re.compile(r"(?<!\w)content['\"\]]*\s+is\s+(not\s+)?string", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateForm:
    """What a template does with a message, as far as that can be told from its source.

    Templates differ: most add the content to a string, some walk through a list of content parts,
    some tell a call without text by `content is none`.
    """

    walks_parts: bool  # content may be a list of {"type": "text", "text": …}
    takes_strings: bool  # content may be a string
    tests_none: bool  # content may be null
    text_arguments: bool  # a tool call's arguments are a JSON string rather than an object

    def messages(self, messages: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
        """Copies of `messages` in this form. Raises `RequestError` for content of another type."""
        return [self._message(message, place) for place, message in enumerate(messages)]

    def _message(self, message: Mapping[str, object], place: int) -> dict[str, object]:
        adapted = dict(message)
        content = message.get("content")
        keeps_none = content is None and self.tests_none
        adapted["content"] = None if keeps_none else self._content(content, place)
        calls = message.get("tool_calls")
        if isinstance(calls, Sequence) and not isinstance(calls, str):
            adapted["tool_calls"] = [self._call(call) for call in calls]
        return adapted

    def _content(self, content: object, place: int) -> object:
        if content is None:
            content = ""
        if isinstance(content, str):
            if self.walks_parts and not self.takes_strings:
                return [{"type": "text", "text": content}]
            return content
        if not isinstance(content, Sequence):
            raise _bad_message(place, f"content must be a string or a list of parts, {content!r}")
        texts = [_part_text(part, place) for part in content]
        if self.walks_parts:
            return [{"type": "text", "text": text} for text in texts]
        return "\n".join(texts)

    def _call(self, call: object) -> object:
        """OpenAI's clients send arguments as a JSON string, most templates want the object."""
        if not isinstance(call, Mapping):
            return call
        function = call.get("function")
        if not isinstance(function, Mapping) or "arguments" not in function:
            return dict(call)
        adapt = _as_text if self.text_arguments else _as_object
        return {**call, "function": {**function, "arguments": adapt(function["arguments"])}}


def walks_content_parts(environment: Environment, source: str) -> bool:
    """The template loops over a message's content (or over a variable set from it)."""
    tree = environment.parse(source)
    names = {"content"}
    for assignment in tree.find_all(nodes.Assign):
        if isinstance(assignment.target, nodes.Name) and _is_content(assignment.node, frozenset()):
            names.add(assignment.target.name)
    return any(_is_content(loop.iter, names) for loop in tree.find_all(nodes.For))


def tests_for_none(source: str) -> bool:
    return _NONE_TEST.search(source) is not None


def tests_for_string(source: str) -> bool:
    return _STRING_TEST.search(source) is not None


def _is_content(node: nodes.Node, names: frozenset[str] | set[str]) -> bool:
    if isinstance(node, nodes.Filter) and node.node is not None:
        return _is_content(node.node, names)
    if isinstance(node, nodes.Getattr):
        return node.attr == "content"
    if isinstance(node, nodes.Getitem):
        if isinstance(node.arg, nodes.Slice):
            return _is_content(node.node, names)
        return isinstance(node.arg, nodes.Const) and node.arg.value == "content"
    return isinstance(node, nodes.Name) and node.name in names


def _part_text(part: object, place: int) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
    text = part.get("text") if isinstance(part, Mapping) else None
    if kind not in ("text", "input_text", "output_text") or not isinstance(text, str):
        raise _bad_message(
            place, f"a content part of type {kind!r}; this model reads text parts only"
        )
    return text


def _as_object(arguments: object) -> object:
    if not isinstance(arguments, str):
        return arguments
    try:
        parsed = json.loads(arguments)
    except ValueError:
        return arguments  # the model's own malformed call, shown to it as it was
    return parsed if isinstance(parsed, dict) else arguments


def _as_text(arguments: object) -> object:
    if isinstance(arguments, str):
        return arguments
    return json.dumps(arguments, ensure_ascii=False)


def _bad_message(place: int, fault: str) -> RequestError:
    return RequestError(
        f"messages[{place}] cannot be used: {fault}", param="messages", code="invalid_messages"
    )
