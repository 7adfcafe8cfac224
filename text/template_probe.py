"""What a chat template does with tool calls, found out by rendering some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jinja2 import Template

_IDS = ("call00001", "call00002")  # nine letters and digits: some templates insist


class TemplateProbe:
    """Renders conversations with calls. A template that knows no calls may fail in any way."""

    def __init__(
        self, template: Template, tokens: Mapping[str, str], *, text_content: bool
    ) -> None:
        self._template = template
        self._tokens = tokens
        self._text_content = text_content

    def wants_text_arguments(self) -> bool:
        """The template prints a call's arguments as they are, so they must be JSON text.

        Told by rendering a call with an object: it fails, or a Python dictionary gets printed.
        """
        as_object = self._render(self._turn({"probe_key": 1}))
        if "probe_key" in as_object and "{'probe_key'" not in as_object:
            return False
        return '{"probe_key"' in self._render(self._turn('{"probe_key": 1}'))

    def drops_second_call(self) -> bool:
        """The template refuses or ignores all but the first call of a message, though it renders
        the same calls one after the other."""
        arguments: object = '{"probe_key": 1}' if self.wants_text_arguments() else {"probe_key": 1}
        together = self._render(self._turn(arguments, names=("probe_one", "probe_two")))
        if "probe_two" in together:
            return False
        first = self._turn(arguments, names=("probe_one",))
        second = self._turn(arguments, names=("probe_two",))
        return "probe_two" in self._render([*first, *second])

    def _turn(self, arguments: object, *, names: Sequence[str] = ("probe",)) -> list[object]:
        """An assistant's message that calls, with the results."""
        ids = _IDS[: len(names)]
        calls = [
            {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
            for call_id, name in zip(ids, names, strict=True)
        ]
        results = [
            {"role": "tool", "content": self._content("1"), "tool_call_id": call_id, "name": "it"}
            for call_id in ids
        ]
        return [
            {"role": "assistant", "content": self._content(""), "tool_calls": calls},
            *results,
        ]

    def _content(self, text: str) -> object:
        return text if self._text_content else [{"type": "text", "text": text}]

    def _render(self, turns: Sequence[object]) -> str:
        messages = [{"role": "user", "content": self._content("probe")}, *turns]
        try:
            return self._template.render(
                {
                    **self._tokens,
                    "messages": messages,
                    "tools": None,
                    "add_generation_prompt": False,
                }
            )
        except Exception:
            return ""
