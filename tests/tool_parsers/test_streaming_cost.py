"""What a stream parser may cost: text comes out as it comes in, and work grows with its length.

Work is counted, not timed: the lines of Python that run, and the text that a parser keeps, which
bounds what the library's own loops (find, match, join) can go over for each piece that is fed.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import pytest

from ftllm.tool_parsers import OutputParser
from tests.tool_parsers.case_files import Case, all_cases
from tests.tool_parsers.stream_collector import Collector

GROWING = [case for case in all_cases() if case.grow is not None]
PIECE = 5  # characters, about a token
FILLER = "Words, (numbers) 1.5 and signs: é 東 % # ; - + = ! ? " * 40
MOST_HELD = 64  # characters that may be waiting: the longest marker, and some
MOST_KEPT = 1024  # characters

every_growing = pytest.mark.parametrize("case", GROWING, ids=str)


def _pieces(text: str) -> Iterable[str]:
    return (text[at : at + PIECE] for at in range(0, len(text), PIECE))


@every_growing
def test_long_text_streams(case: Case) -> None:
    """Thinking and string arguments come out while they are written."""
    assert case.grow is not None
    before = case.text.index(case.grow)
    parser, collector = case.parser(), Collector()
    collector.add(parser.feed(case.text[:before]))
    start = collector.length
    fed = 0
    for piece in _pieces(FILLER):
        collector.add(parser.feed(piece))
        fed += len(piece)
        assert collector.length - start >= fed - MOST_HELD


@every_growing
def test_work_grows_with_the_length(case: Case) -> None:
    short, long = (_lines_run(case.grown(FILLER * times)) for times in (1, 3))
    pieces = len(FILLER) // PIECE
    assert short / pieces < 200
    # Twice the filler more is twice the work more, with a little room for where the pieces fall.
    assert long - short <= 2.1 * short


@every_growing
def test_what_is_kept_is_bounded(case: Case) -> None:
    assert case.grow is not None
    before = case.text.index(case.grow)
    parser = case.parser()
    parser.feed(case.text[:before])
    at_start = _characters_kept(parser)
    for piece in _pieces(FILLER * 5):
        parser.feed(piece)
    assert _characters_kept(parser) - at_start <= MOST_KEPT


def test_plain_text_is_linear_and_not_kept() -> None:
    for case in GROWING:
        parser = case.parser()
        at_start = _characters_kept(parser)
        for piece in _pieces(FILLER * 3):
            parser.feed(piece)
        assert _characters_kept(parser) - at_start <= MOST_KEPT, case


def test_what_is_kept_is_seen() -> None:
    """The measure can fail: text behind closures, generators and objects counts."""

    class Hoarder:
        def __init__(self) -> None:
            self.texts: list[str] = []
            self.run = self._run()
            next(self.run)

        def _run(self) -> Any:
            text = ""
            while True:
                text += yield

    hoarder = Hoarder()
    nothing = _characters_kept(hoarder)
    hoarder.texts.append("".join(str(n) for n in range(500)))
    hoarder.run.send("".join(str(n) for n in range(500, 999)))
    assert _characters_kept(hoarder) - nothing > 2 * MOST_KEPT


def _lines_run(case: Case) -> int:
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += 1
        return trace

    parser = case.parser()
    pieces = list(_pieces(case.text))
    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        for piece in pieces:
            parser.feed(piece)
        parser.finish("stop")
    finally:
        sys.settrace(previous)
    return count


def _characters_kept(root: object) -> int:
    """Characters of all strings that can be reached from `root`, each once."""
    seen: set[int] = set()
    waiting = [root]
    total = 0
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, type | ModuleType | CodeType | BuiltinFunctionType):
            continue
        seen.add(id(each))
        if isinstance(each, str):
            total += len(each)
        elif isinstance(each, FunctionType):
            waiting += [*(each.__closure__ or ()), *(each.__defaults__ or ())]
        elif not (isinstance(each, dict) and "__builtins__" in each):  # globals of a frame
            waiting += gc.get_referents(each)
    return total


def test_a_parser_without_dialects_passes_everything_on() -> None:
    parser, collector = OutputParser(), Collector()
    for piece in _pieces(FILLER):
        before = collector.length
        collector.add(parser.feed(piece))
        assert collector.length == before + len(piece)
