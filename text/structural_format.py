"""The newer form of structural tags, a tree of formats, in Lark.

{"type": "structural_tag", "format": …} with formats as in XGrammar and vLLM: const_string,
json_schema, regex, any_text, sequence, or, optional, star, plus, tag, tags_with_separator; and at
the top also grammar, and triggered_tags, which may be the last of a sequence there. What has no
sound counterpart is refused by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence

from ftllm.errors import RequestError
from ftllm.text.schema_limits import check_schema

MAX_DEPTH = 32
MAX_FORMATS = 1024
_KEYS: Mapping[str, frozenset[str]] = {
    "const_string": frozenset({"value"}),
    "json_schema": frozenset({"json_schema", "style"}),
    "regex": frozenset({"pattern"}),
    "grammar": frozenset({"grammar"}),
    "any_text": frozenset({"excludes"}),
    "sequence": frozenset({"elements"}),
    "or": frozenset({"elements"}),
    "optional": frozenset({"content"}),
    "star": frozenset({"content"}),
    "plus": frozenset({"content"}),
    "tag": frozenset({"begin", "content", "end"}),
    "triggered_tags": frozenset({"triggers", "tags", "at_least_one", "stop_after_first"}),
    "tags_with_separator": frozenset({"tags", "separator", "at_least_one", "stop_after_first"}),
}
_REPEATS = {"optional": "?", "star": "*", "plus": "+"}
_REGEX_PART = re.compile(r"(\\.)|([/\n])", re.DOTALL)

SpecialId = Callable[[str], int | None]
Format = Mapping[str, object]


class StructuralFormat:
    """One such tree. `json_options` go into its JSON Schemas; `special_id` tells texts that are
    tokens of their own."""

    def __init__(self, json_options: Mapping[str, object], special_id: SpecialId) -> None:
        self._json_options = json_options
        self._special_id = special_id
        self._terminals: list[str] = []
        self._count = 0

    def sources(self, tree: object) -> dict[str, str]:
        """Lark of what follows each trigger; under "" of what begins the answer. Raises
        `RequestError` naming the place of what is wrong."""
        form = self._format(tree, "format")
        if form["type"] == "grammar":
            return {"": _text(form, "grammar", "format")}
        before: list[str] = []
        last, place = form, "format"
        if form["type"] == "sequence":
            *first, final = _elements(form, place)
            place = f"format.elements[{len(first)}]"
            if isinstance(final, dict) and final.get("type") == "triggered_tags":
                last = self._format(final, place)
                before = [
                    self._expression(each, f"format.elements[{at}]", 1)
                    for at, each in enumerate(first)
                ]
        if last["type"] != "triggered_tags":
            return {"": self._lark(self._expression(form, "format", 0, is_last=True))}
        return self._triggered(last, place, before)

    def _triggered(self, form: Format, place: str, before: list[str]) -> dict[str, str]:
        triggers = _texts(form.get("triggers"), f"{place}.triggers")
        tags = self._tags(form, place)
        stops = _flag(form, "stop_after_first", place)
        if _flag(form, "at_least_one", place):
            whole = [self._tag(tag, f"{place}.tags[{at}]", 1) for at, tag in enumerate(tags)]
            before.append(f"({' | '.join(whole)})")
        elif stops and before:
            raise _refusal(
                f"{place}.stop_after_first without at_least_one is not supported in a sequence"
            )
        sources = {"": self._lark(" ".join(before))} if before else {}
        branches: dict[str, list[str]] = {trigger: [] for trigger in triggers}
        for at, tag in enumerate(tags):
            here = f"{place}.tags[{at}]"
            begin = _text(tag, "begin", here)
            found = max((text for text in triggers if begin.startswith(text)), key=len, default="")
            if not found:
                raise _refusal(f"{here}.begin starts with none of the triggers")
            branches[found].append(self._tag(tag, here, 1, skip=len(found)))
        if stops and before:
            return sources
        for trigger, found_tags in branches.items():
            if not found_tags:
                raise _refusal(f"{place}: no tag begins with the trigger {trigger[:50]!r}")
            sources[trigger] = self._lark("\n  | ".join(found_tags))
        return sources

    def _lark(self, expression: str) -> str:
        return "\n".join((f"start: {expression}", *self._terminals))

    def _format(self, form: object, place: str) -> Format:
        """A format with a type that is known and nothing that is not."""
        self._count += 1
        if self._count > MAX_FORMATS:
            raise _refusal(f"there are more than {MAX_FORMATS} formats in it")
        if not isinstance(form, dict) or not isinstance(form.get("type"), str):
            raise _refusal(f"{place} must be an object with a type")
        known = _KEYS.get(form["type"])
        if known is None:
            raise _refusal(
                f"{place}: the format {form['type'][:50]!r} is not supported; there are"
                f" {', '.join(_KEYS)}"
            )
        for key, value in form.items():
            if key not in known and key != "type" and value:
                raise _refusal(f"{place}.{key[:50]} is not supported")
        return form

    def _expression(self, tree: object, place: str, depth: int, *, is_last: bool = False) -> str:
        """`is_last`: nothing has to follow it, so that it may be text without an end."""
        form = self._format(tree, place)
        if depth > MAX_DEPTH:
            raise _refusal(f"{place} lies deeper than {MAX_DEPTH} formats")
        match form["type"]:
            case "const_string":
                return _literal(_text(form, "value", place))
            case "json_schema":
                return self._json(form, place)
            case "regex":
                pattern = _REGEX_PART.sub(_slash, _text(form, "pattern", place))
                return self._terminal(f"/{pattern}/")
            case "any_text" if is_last:
                excludes = form.get("excludes")
                texts = _texts(excludes, f"{place}.excludes") if excludes else []
                unwanted = "".join(f" & ~/(?s:.*{_escaped(text)}.*)/" for text in texts)
                return f"({self._terminal(f'/(?s:.*)/{unwanted}')})?"
            case "sequence":
                parts = _elements(form, place)
                return " ".join(
                    self._expression(
                        part,
                        f"{place}.elements[{at}]",
                        depth + 1,
                        is_last=is_last and at == len(parts) - 1,
                    )
                    for at, part in enumerate(parts)
                )
            case "or":
                choices = [
                    self._expression(part, f"{place}.elements[{at}]", depth + 1, is_last=is_last)
                    for at, part in enumerate(_elements(form, place))
                ]
                return f"({' | '.join(choices)})"
            case "optional" | "star" | "plus" as kind:
                inner = self._expression(form.get("content"), f"{place}.content", depth + 1)
                return f"({inner}){_REPEATS[kind]}"
            case "tag":
                return self._tag(form, place, depth)
            case "tags_with_separator":
                return self._separated(form, place, depth)
        raise _refusal(
            f"{place}: {form['type']} is supported only where nothing follows it: {_PLACES}"
        )

    def _tag(self, form: Format, place: str, depth: int, *, skip: int = 0) -> str:
        """`skip` characters of its beginning have been written."""
        begin = _text(form, "begin", place)[skip:]
        end = form.get("end")
        ends = [end] if isinstance(end, str) else end
        if not isinstance(ends, list) or not all(isinstance(text, str) for text in ends):
            raise _refusal(f"{place}.end must be a text or an array of texts")
        inner = self._format(form.get("content"), f"{place}.content")
        if inner["type"] == "any_text":
            content = self._text_up_to(inner, ends, place)
        else:
            content = self._expression(inner, f"{place}.content", depth + 1)
            if any(ends):
                choices = " | ".join(_literal(text) for text in ends if text)
                content += f" ({choices}){'' if all(ends) else '?'}"
        return f"{_literal(begin)} {content}" if begin else content

    def _text_up_to(self, form: Format, ends: Sequence[str], place: str) -> str:
        """Any text and the first of `ends` in it."""
        if not ends or not all(ends):
            raise _refusal(f"{place}.end is empty, but its content is any_text; give it an end")
        if form.get("excludes"):
            raise _refusal(f"{place}.content.excludes is not supported in a tag")
        tokens = [self._special_id(text) is not None for text in ends]
        if all(tokens):  # no text has such a token in it
            choices = " | ".join(map(_literal, ends))
            return f"({self._terminal('/(?s:.*)/')})? ({choices})"
        if any(tokens):
            raise _refusal(f"{place}.end: special tokens and other texts cannot be mixed")
        name = f"t{len(self._terminals)}"
        choices = "|".join(map(_escaped, ends))
        self._terminals.append(f"{name}[lazy]: /(?s:.*({choices}))/")
        return name

    def _separated(self, form: Format, place: str, depth: int) -> str:
        tags = [
            self._tag(tag, f"{place}.tags[{at}]", depth + 1)
            for at, tag in enumerate(self._tags(form, place))
        ]
        separator = form.get("separator")
        if not isinstance(separator, str):
            raise _refusal(f"{place}.separator must be a text")
        one = f"({' | '.join(tags)})"
        if not _flag(form, "stop_after_first", place):
            one = f"{one} ({_literal(separator)} {one})*" if separator else f"{one}+"
        return one if _flag(form, "at_least_one", place) else f"({one})?"

    def _tags(self, form: Format, place: str) -> list[Format]:
        tags = form.get("tags")
        if not isinstance(tags, list) or not tags:
            raise _refusal(f"{place}.tags must be an array of at least one tag")
        found = []
        for at, tag in enumerate(tags):
            typed = {"type": "tag", **tag} if isinstance(tag, dict) else tag
            form = self._format(typed, f"{place}.tags[{at}]")
            if form["type"] != "tag":
                raise _refusal(f"{place}.tags[{at}] must be a tag")
            found.append(form)
        return found

    def _json(self, form: Format, place: str) -> str:
        if form.get("style") not in (None, "json"):
            raise _refusal(f"{place}.style {str(form['style'])[:50]!r} is not supported; json is")
        schema = form.get("json_schema")
        if schema is True or schema is None:
            schema = {}
        if not isinstance(schema, dict):
            raise _refusal(f"{place}.json_schema must be a JSON Schema")
        check_schema(schema)
        return f"%json {json.dumps({**schema, 'x-guidance': dict(self._json_options)})}"

    def _terminal(self, pattern: str) -> str:
        name = f"T{len(self._terminals)}"
        self._terminals.append(f"{name}: {pattern}")
        return name


_PLACES = "in a tag, any_text alone; at the end of the whole, any_text and triggered_tags"


def _slash(match: re.Match[str]) -> str:
    """What would end the pattern between its slashes."""
    return match[1] or (r"\/" if match[2] == "/" else r"\n")


def _escaped(text: str) -> str:
    return _REGEX_PART.sub(_slash, re.escape(text).replace("\\\n", r"\n"))


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _elements(form: Format, place: str) -> list[object]:
    elements = form.get("elements")
    if not isinstance(elements, list) or not elements:
        raise _refusal(f"{place}.elements must be an array of at least one format")
    return elements


def _text(form: Format, key: str, place: str) -> str:
    value = form.get(key)
    if not isinstance(value, str) or not value:
        raise _refusal(f"{place}.{key} must be a text that is not empty")
    return value


def _texts(value: object, place: str) -> list[str]:
    if not isinstance(value, list) or not value:
        raise _refusal(f"{place} must be an array of texts")
    if not all(isinstance(text, str) and text for text in value):
        raise _refusal(f"{place} must be an array of texts, none empty")
    return list(dict.fromkeys(value))


def _flag(form: Format, key: str, place: str) -> bool:
    value = form.get(key, False)
    if not isinstance(value, bool):
        raise _refusal(f"{place}.{key} must be true or false")
    return value


def _refusal(reason: str) -> RequestError:
    return RequestError(f"structural_tag: {reason}.", param="structural_tag")
