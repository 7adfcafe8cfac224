from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftllm.errors import RequestError
from ftllm.text.stop_strings import StopStrings

_STOPS = st.lists(st.text("ab\u00e9", min_size=1, max_size=5), max_size=6)
_CHUNKS = st.lists(st.text("ab\u00e9", max_size=6), max_size=10)


def _naive(text: str, stops: list[str], *, include: bool) -> tuple[str, bool]:
    """The first end of a match; of several there, the longest stop."""
    for end in range(1, len(text) + 1):
        hits = [stop for stop in stops if text[:end].endswith(stop)]
        if hits:
            return text[: end if include else end - len(max(hits, key=len))], True
    return text, False


@given(stops=_STOPS, chunks=_CHUNKS, include=st.booleans())
def test_equal_to_a_naive_search_however_the_text_is_split(
    stops: list[str], chunks: list[str], include: bool
) -> None:
    searcher = StopStrings(stops, include_in_output=include)
    emitted, seen, stopped = "", "", False
    for chunk in chunks:
        safe, stopped = searcher.feed(chunk)
        emitted += safe
        seen += chunk
        if stopped:
            break
        tails = [seen[at:] for at in range(len(seen))]
        possible = (t for t in tails if any(s.startswith(t) and s != t for s in stops))
        held = "" if include else next(possible, "")
        assert emitted + held == seen  # no more is held back than may become a stop
    if not stopped:
        emitted += searcher.finish()
    assert (emitted, stopped) == _naive("".join(chunks), stops, include=include)


def test_found_across_borders() -> None:
    searcher = StopStrings(["\nUser:"])
    assert [searcher.feed(part) for part in ("Hi", "\n", "Us", "e", "r: x")] == [
        ("Hi", False),
        ("", False),
        ("", False),
        ("", False),
        ("", True),
    ]


def test_text_that_does_not_become_a_stop_is_released() -> None:
    searcher = StopStrings(["abc"])
    assert searcher.feed("ab") == ("", False)
    assert searcher.feed("ab") == ("ab", False)
    assert searcher.finish() == "ab"
    assert searcher.finish() == ""


def test_the_first_to_end_wins_then_the_longest() -> None:
    assert StopStrings(["abcd", "bc"]).feed("abcd") == ("a", True)
    assert StopStrings(["b", "ab"]).feed("xab") == ("x", True)


def test_the_stop_can_be_shown() -> None:
    searcher = StopStrings(["</end>"], include_in_output=True)
    assert searcher.feed("x</e") == ("x</e", False)
    assert searcher.feed("nd>y") == ("nd>", True)


def test_without_stops_nothing_is_held() -> None:
    assert StopStrings([]).feed("abc") == ("abc", False)


def test_an_empty_stop_is_refused() -> None:
    with pytest.raises(RequestError, match="empty") as raised:
        StopStrings(["a", ""])
    assert raised.value.param == "stop"


def test_time_is_linear_with_two_hundred_stops_of_one_letter() -> None:
    searcher = StopStrings(["a" * length + "b" for length in range(100, 300)])
    start = time.process_time()
    for _ in range(2000):
        searcher.feed("a" * 50)
    assert time.process_time() - start < 5  # 100,000 characters take about 0.05 s
