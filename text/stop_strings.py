"""Finds stop strings in streamed text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ftllm.errors import RequestError


@dataclass(slots=True)
class _Node:
    """A state of the automaton: the text so far ends with this prefix of some stop string."""

    depth: int  # characters of the prefix, hence of text that may still become a stop
    stop: str = ""  # the longest stop string that ends here
    next: dict[str, _Node] = field(default_factory=dict)
    fallback: _Node | None = None  # the longest proper suffix that is a prefix; None at the root


class StopStrings:
    """Cuts a stream of text at the first stop string.

    The first match is the one that ends first; of several that end together, the longest. So the
    result does not depend on how the text is split. Text is held back only while it may become
    part of a stop: the longest suffix that is a proper prefix of one. Linear time for any number
    of stops (Aho and Corasick, 1975). With `include_in_output` the text ends with the stop
    string, and nothing needs to be held back.
    """

    def __init__(self, stops: Sequence[str], *, include_in_output: bool = False) -> None:
        if "" in stops:
            raise RequestError("a stop string is empty; each needs a character", param="stop")
        self.found: str | None = None  # the stop that cut the text
        self._include = include_in_output
        self._root = _automaton(stops)
        self._node = self._root
        self._held = ""

    def feed(self, text: str) -> tuple[str, bool]:
        """(text that is safe to emit, whether a stop was found). After a stop, feed no more."""
        if not self._root.next:
            return text, False
        node = self._node
        for place, character in enumerate(text):
            node = _advance(node, character)
            if node.stop:
                self._node = self._root
                self.found = node.stop
                return self._cut(text[: place + 1], len(node.stop)), True
        self._node = node
        if self._include:
            return text, False
        pending = self._held + text
        safe = len(pending) - node.depth
        self._held = pending[safe:]
        return pending[:safe], False

    def finish(self) -> str:
        """The text held back, which no stop can complete any more."""
        held, self._held = self._held, ""
        self._node = self._root
        return held

    def _cut(self, text: str, stop_length: int) -> str:
        if self._include:
            return text
        pending, self._held = self._held + text, ""
        return pending[: len(pending) - stop_length]


def _advance(node: _Node, character: str) -> _Node:
    while True:
        following = node.next.get(character)
        if following is not None:
            return following
        if node.fallback is None:
            return node
        node = node.fallback


def _automaton(stops: Sequence[str]) -> _Node:
    root = _Node(0)
    for stop in stops:
        node = root
        for character in stop:
            node = node.next.setdefault(character, _Node(node.depth + 1))
        node.stop = stop
    level = [root]
    while level:  # breadth first: a fallback is always of a smaller depth
        for node in level:
            for character, child in node.next.items():
                child.fallback = (
                    root if node.fallback is None else _advance(node.fallback, character)
                )
                child.stop = child.stop or child.fallback.stop
        level = [child for node in level for child in node.next.values()]
    return root
