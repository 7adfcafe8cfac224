"""Which tokens' log-probabilities belong to an answer's content, when there is more in its text."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from ftllm.server.aligned_logprobs import PlacedLogprob
from ftllm.tool_parsers import Delta


class ContentPlaces:
    """Finds again in the generated text what a parser took for content.

    A token belongs to the content when its text begins in it. Offsets are in characters of the
    whole generated text, markup included, as those of the entries are.
    """

    def __init__(self) -> None:
        self._window = ""  # text that has been generated and not found to be anything yet
        self._start = 0  # where the window begins
        self._found: deque[tuple[int, int]] = deque()  # [begin, end) of pieces of content
        self._held: deque[PlacedLogprob] = deque()

    def hold(self, entries: Iterable[PlacedLogprob]) -> None:
        self._held.extend(entries)

    def follow(self, text: str, deltas: Sequence[Delta], *, position: int) -> None:
        """`deltas` is what the parser made of `text` and of what it held back before; it has
        decided, or put aside, everything before `position`."""
        self._window += text
        for delta in deltas:
            if delta.content:
                self._find(delta.content, position - self._start)
            else:
                self._move(position)

    def release(self, *, final: bool) -> list[PlacedLogprob]:
        """Entries of content that is known to be such."""
        released = []
        total = self._start + len(self._window)
        while self._held and (final or self._held[0].offset < self._start):
            entry = self._held.popleft()
            # A token without text at the very end belongs to what it follows.
            bound = entry.offset - (final and entry.offset == total)
            while self._found and self._found[0][1] <= bound:
                self._found.popleft()
            if self._found and self._found[0][0] <= entry.offset:
                released.append(entry)
        return released

    def _find(self, content: str, limit: int) -> None:
        """What was put aside comes after what was decided: so the last place is the right one."""
        at = self._window.rfind(content, 0, limit)
        if at < 0:  # put together from several places
            at, length = 0, limit
        else:
            length = len(content)
        begin = self._start + at
        self._found.append((begin, begin + length))
        self._move(begin + length)

    def _move(self, position: int) -> None:
        self._window = self._window[position - self._start :]
        self._start = position
