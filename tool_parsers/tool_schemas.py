"""The tools of a request: their names and the JSON Schemas of their arguments."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

Schema = Mapping[str, object]


class ToolSchemas:
    """Looks up tools by name. Takes OpenAI's form, `{"type": "function", "function": {…}}`.

    The arguments of `strict` ones have to fit their schema, whoever writes them how.
    """

    def __init__(
        self, tools: Sequence[Mapping[str, object]], *, strict: Collection[str] = ()
    ) -> None:
        self.strict = frozenset(strict)
        self._parameters: dict[str, Schema] = {}
        for tool in tools:
            function = tool.get("function", tool)
            if not isinstance(function, Mapping):
                continue
            name = function.get("name")
            if isinstance(name, str):
                parameters = function.get("parameters")
                self._parameters[name] = parameters if isinstance(parameters, Mapping) else {}

    def __bool__(self) -> bool:
        return bool(self._parameters)

    def __contains__(self, name: str) -> bool:
        return name in self._parameters

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._parameters)

    def parameters(self, name: str) -> Schema:
        """The schema of a tool's arguments; empty, which allows everything, if there is none."""
        return self._parameters.get(name, {})

    def accepting(self, keys: Iterable[str]) -> str | None:
        """The first tool that has arguments of all these names."""
        for name, parameters in self._parameters.items():
            properties = parameters.get("properties")
            if set(keys) <= set(properties if isinstance(properties, Mapping) else ()):
                return name
        return None
