"""The text of an answer while it comes: a cursor that parsers move forward and never back.

A parser is a generator. It reads `Source.text` from `Source.pos` on and yields when it needs more
than there is; it goes on when there is more, or when there will be none (`ended`). What it has
moved past is dropped with the next text, so nothing is looked at twice: a parser that has to wait
for something far away keeps what it needs itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable
from functools import lru_cache
from typing import Literal, TypeVar

T = TypeVar("T")
Parse = Generator[None, None, T]
"""A parser that yields for more text and returns a T."""

FinishReason = Literal["stop", "length"]

MAX_HEADER = 256  # characters of the name and the attributes in a tag
_SOME_SPACE = re.compile(r"\s{0,64}")
_SPACE = re.compile(r"\s*")


class _Record:
    """Text from a place on, kept while the source drops it."""

    __slots__ = ("parts", "start")

    def __init__(self, start: int) -> None:
        self.start = start  # in `Source.text`
        self.parts: list[str] = []  # what of it is no longer there


class Source:
    """Text that has come and has not been moved past, with primitives to read it."""

    __slots__ = (
        "_mark",
        "_passed",
        "_records",
        "_skipped",
        "_skipped_to",
        "cut",
        "ended",
        "pos",
        "text",
    )

    def __init__(self) -> None:
        self.text = ""
        self.pos = 0
        self.ended = False
        self.cut = False  # ended by a limit of tokens, not by the model
        self._passed = 0  # characters before `text`
        self._records: list[_Record] = []
        self._mark: _Record | None = None
        self._skipped = ""
        self._skipped_to = -1  # the position behind it

    def feed(self, text: str) -> None:
        pos = self.pos
        for record in self._records:
            record.parts.append(self.text[record.start : pos])
            record.start = 0
        self._passed += pos
        self.text = self.text[pos:] + text if pos < len(self.text) else text
        self.pos = 0

    def end(self, reason: FinishReason) -> None:
        self.ended = True
        self.cut = reason == "length"

    @property
    def position(self) -> int:
        """Characters moved past since the beginning."""
        return self._passed + self.pos

    @property
    def exhausted(self) -> bool:
        """Everything has come and has been moved past."""
        return self.ended and self.pos >= len(self.text)

    def record(self, start: int) -> _Record:
        """Keep the text from `start` (in `text`) on."""
        record = _Record(start)
        self._records.append(record)
        return record

    def recorded(self, record: _Record) -> str:
        """The text of a record up to the cursor; it ends here."""
        self._records.remove(record)
        return "".join(record.parts) + self.text[record.start : self.pos]

    def mark(self, start: int) -> None:
        """Keep the text from `start` (in `text`) on, to have it back should it be no call."""
        self.unmark()
        self._mark = self.record(start)

    def unmark(self) -> None:
        if self._mark is not None:
            self._records.remove(self._mark)
            self._mark = None

    @property
    def is_marked(self) -> bool:
        return self._mark is not None

    def marked_text(self) -> str:
        """From the mark, which is taken away, to the cursor."""
        assert self._mark is not None
        mark, self._mark = self._mark, None
        return self.recorded(mark)

    def peek(self) -> Parse[str]:
        """The next character; "" at the end."""
        while self.pos >= len(self.text):
            if self.ended:
                return ""
            yield
        return self.text[self.pos]

    def next_visible(self) -> Parse[str]:
        """Skip white space, then peek."""
        yield from self.space(None)
        return self.text[self.pos : self.pos + 1]

    def space(self, keep: Callable[[str], None] | None) -> Parse[None]:
        """Skip white space up to a visible character or the end; `keep` gets it."""
        if self._skipped_to != self.position:
            self._skipped = ""
        while True:
            match = _SPACE.match(self.text, self.pos)
            assert match is not None
            if match.end() > self.pos:
                self._skipped += match[0]
                if keep is not None:
                    keep(match[0])
                self.pos = match.end()
            if self.pos < len(self.text) or self.ended:
                self._skipped_to = self.position
                return
            yield

    def skipped_space(self) -> str:
        """White space in front of the cursor that `space` has skipped."""
        return self._skipped if self._skipped_to == self.position else ""

    def literal(self, *choices: str) -> Parse[str]:
        """Move past the one of `choices` that stands here, the longest; "" if none does."""
        while True:
            text, pos = self.text, self.pos
            found = max(
                (each for each in choices if text.startswith(each, pos)), key=len, default=""
            )
            rest = len(text) - pos
            undecided = not self.ended and any(
                len(each) > max(rest, len(found)) and text.startswith(each[:rest], pos)
                for each in choices
            )
            if not undecided:
                self.pos = pos + len(found)
                return found
            yield

    def closer(self, *choices: str) -> Parse[str]:
        """As `literal`, but one that the end of the text cuts short counts, and is returned."""
        found = yield from self.literal(*choices)
        if not found and self.pos < len(self.text) and self.ended:
            rest = self.text[self.pos :]
            found = next((each for each in choices if each.startswith(rest)), "")
            if found:
                self.pos = len(self.text)
        return found

    def run(self, pattern: re.Pattern[str]) -> Parse[str]:
        """Move past as many characters as `pattern`, a repeated class of them, matches."""
        parts = []
        while True:
            match = pattern.match(self.text, self.pos)
            if match is not None:
                parts.append(match[0])
                self.pos = match.end()
            if self.pos < len(self.text) or self.ended:
                return "".join(parts)
            yield

    def header(self, end: str) -> Parse[str | None]:
        """Move behind `end` in this line and return what is before it; None, unmoved, if `end` is
        not within reach."""
        found = yield from self.header_ahead(0, end)
        if found is not None:
            self.pos += len(found) + len(end)
        return found

    def header_ahead(self, skip: int, end: str) -> Parse[str | None]:
        """As `header`, `skip` characters on, and without moving."""
        while True:
            text, first = self.text, self.pos + skip
            last = first + MAX_HEADER
            place = text.find(end, first, last)
            if text.find("\n", first, last if place < 0 else place) >= 0:
                return None
            if place >= 0:
                return text[first:place]
            if self.ended or len(text) > last:
                return None
            yield

    def is_followed(self, skip: int, followers: tuple[str, ...]) -> Parse[bool]:
        """Whether, `skip` characters on, one of `followers` or the end comes after white space.

        Does not move. A follower that the end of the text cuts short is one.
        """
        while True:
            text = self.text
            match = _SOME_SPACE.match(text, self.pos + skip)
            assert match is not None
            place = match.end()
            if any(text.startswith(each, place) for each in followers):
                return True
            rest = text[place : place + MAX_HEADER]
            begun = not rest or any(each.startswith(rest) for each in followers)
            if not begun or self.ended:
                return begun
            yield

    def until(
        self,
        markers: Markers,
        write: Callable[[str], None],
        write_cut: Callable[[str], None] | None = None,
    ) -> Parse[str]:
        """Hand text to `write` up to the first marker and stop in front of it; "" at the end.

        Only what may still become a marker is held back; should the text end there, `write_cut`
        gets it.
        """
        while True:
            text, pos = self.text, self.pos
            start, marker = markers.find(text, pos)
            if start > pos:
                write(text[pos:start] if pos or start < len(text) else text)
                self.pos = start
            if marker:
                return marker
            if self.ended:
                if start < len(text):
                    (write_cut or write)(text[start:])
                    self.pos = len(text)
                return ""
            yield


class Markers:
    """Finds the first of some texts, or the beginning of one at the end of what has come."""

    __slots__ = ("_first", "_pattern", "texts")

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = frozenset(texts)
        assert self.texts
        assert "" not in self.texts
        firsts = {text[0] for text in self.texts}
        self._first = firsts.pop() if len(firsts) == 1 else ""
        # One that begins another counts only where the other can no longer come.
        short = {
            text for text in self.texts if any(text != o and o.startswith(text) for o in texts)
        }
        whole = [re.escape(text) for text in sorted(self.texts - short)]
        cut = "|".join(_beginnings(text) for text in sorted(self.texts) if len(text) > 1)
        cuts = [f"(?P<cut>{cut})"] if cut else []
        self._pattern = re.compile("|".join([*whole, *cuts, *map(re.escape, sorted(short))]))

    def find(self, text: str, pos: int) -> tuple[int, str]:
        """(where, marker), (where, "") of one that may be cut off by the end, or (length, "")."""
        if self._first and text.find(self._first, pos) < 0:
            return len(text), ""
        match = self._pattern.search(text, pos)
        if match is None:
            return len(text), ""
        return match.start(), "" if match.lastgroup else match[0]


@lru_cache(maxsize=256)
def markers_of(*texts: str) -> Markers:
    """As `Markers`, which is costly to make; parsers of one dialect share it."""
    return Markers(texts)


def _beginnings(text: str) -> str:
    """A pattern for the beginnings of `text` that stand at the very end, the longest there is."""
    pattern = ""
    for character in reversed(text[1:-1]):
        pattern = f"(?:{re.escape(character)}{pattern})?"
    return re.escape(text[0]) + pattern + r"\Z"
