"""Brings a conversation into the form that a chat template expects."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import nodes

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
    single_calls: bool = False  # only one call of a message is rendered
    reasoning_names: frozenset[str] = frozenset()  # other names of `reasoning_content`

    def messages(self, messages: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
        """Copies of `messages` in this form. Raises `RequestError` for content of another type."""
        adapted = [self._message(message, place) for place, message in enumerate(messages)]
        return _split_calls(adapted) if self.single_calls else adapted

    def _message(self, message: Mapping[str, object], place: int) -> dict[str, object]:
        adapted = dict(message)
        content = message.get("content")
        keeps_none = content is None and self.tests_none
        adapted["content"] = None if keeps_none else self._content(content, place)
        calls = message.get("tool_calls")
        if isinstance(calls, Sequence) and not isinstance(calls, str):
            adapted["tool_calls"] = [self._call(call) for call in calls]
        reasoning = message.get("reasoning_content")
        # Templates with "thinking" refuse a message that has it beside content and calls.
        is_full = bool(calls) and bool(content)
        for name in self.reasoning_names if reasoning is not None else ():
            if not (name == "thinking" and is_full):
                adapted.setdefault(name, reasoning)
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


def reasoning_names(tree: nodes.Template) -> frozenset[str]:
    """Names other than `reasoning_content` by which the template asks for a message's thinking."""
    asked = {node.attr for node in tree.find_all(nodes.Getattr)}
    asked |= {node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str)}
    return frozenset({"reasoning", "thinking"} & asked)


def walks_content_parts(tree: nodes.Template) -> bool:
    """The template loops over a message's content (or over a variable set from it)."""
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


def _split_calls(messages: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """One message for each call, followed by its own results."""
    split: list[dict[str, object]] = []
    place = 0
    while place < len(messages):
        message = messages[place]
        place += 1
        calls = message.get("tool_calls")
        if not isinstance(calls, list) or len(calls) < 2:
            split.append(message)
            continue
        results = []
        while place < len(messages) and messages[place].get("role") == "tool":
            results.append(messages[place])
            place += 1
        ids = [call.get("id") if isinstance(call, Mapping) else None for call in calls]
        for call, call_id in zip(calls, ids, strict=True):
            split.append({**message, "tool_calls": [call]})
            split += [result for result in results if result.get("tool_call_id") == call_id]
            # Content and thinking come before the first call.
            message = {"role": message["role"], "content": _emptied(message["content"])}
        split += [result for result in results if result.get("tool_call_id") not in ids]
    return split


def _emptied(content: object) -> object:
    if content is None:
        return None
    return "" if isinstance(content, str) else []


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
