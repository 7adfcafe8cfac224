"""Text that is no call: none of it is lost, delayed or raised about, whatever the model writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ftllm.tool_parsers import REASONING_DIALECTS, TOOL_DIALECTS, OutputParser, parse_output
from ftllm.tool_parsers.dialect import ChannelDialect
from tests.tool_parsers.case_files import TOOLS
from tests.tool_parsers.stream_collector import Collector, split, stream, without_ids

# The pieces that a marker soup is cooked from.
_SOUP = Path(__file__).parent / "marker_soup.txt"
MARKERS = _SOUP.read_text("utf-8").split()
MARKERS += [
    "\n",
    "\n\n",
    " ",
    "\t",
    "Here is my thought process:",
    "Here is my response:",
    "é",
    "🙂",
]
WORDS = ["Zero ", "mild", "\n\nday\n", " 5 km ", "über", "東京", "🙂", ".", " - ", "\tsun"]

soup = st.lists(st.sampled_from(MARKERS) | st.text(max_size=6), max_size=40).map("".join)
cuts = st.lists(st.integers(0, 400), max_size=20)
reasons = st.sampled_from(["stop", "length"])
quick = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))

every_tool_dialect = pytest.mark.parametrize("dialect", sorted(TOOL_DIALECTS))
every_reasoning_dialect = pytest.mark.parametrize("dialect", sorted(REASONING_DIALECTS))


def _both_ways(text: str, places: list[int], reason: Any, **options: Any) -> tuple[object, ...]:
    whole = parse_output(text, finish_reason=reason, **options)
    pieces = split(text, [min(place, len(text)) for place in places])
    streamed = stream(OutputParser(**options), pieces, reason)
    assert without_ids(streamed) == without_ids(whole)
    if reason == "stop":
        _assert_objects(whole)
    return without_ids(whole)


def _assert_objects(output: Any) -> None:
    for call in output.tool_calls:
        assert isinstance(json.loads(call.arguments), dict), call


@every_tool_dialect
def test_soup_never_raises(dialect: str) -> None:
    @quick
    @given(soup, cuts, reasons)
    def run(text: str, places: list[int], reason: str) -> None:
        _both_ways(text, places, reason, tools=TOOLS, tool_dialect=dialect)

    run()


@every_reasoning_dialect
def test_soup_with_reasoning_never_raises(dialect: str) -> None:
    tool_dialect = dialect if dialect in TOOL_DIALECTS else "hermes"

    @quick
    @given(soup, cuts, reasons, st.booleans(), st.sampled_from([None, tool_dialect]))
    def run(text: str, places: list[int], reason: str, starts: bool, tool: str | None) -> None:
        _both_ways(
            text,
            places,
            reason,
            tools=TOOLS,
            tool_dialect=tool,
            reasoning_dialect=dialect,
            starts_in_reasoning=starts,
        )

    run()


@every_tool_dialect
@pytest.mark.parametrize("tools", [[], TOOLS], ids=["no tools", "tools and no dialect"])
def test_without_tools_all_text_is_content(dialect: str, tools: list[dict[str, Any]]) -> None:
    options = {"tools": tools, "tool_dialect": None if tools else dialect}

    @quick
    @given(soup, cuts, reasons)
    @example('<tool_call>\n{"name": "search", "arguments": {}}\n</tool_call>', [], "stop")
    def run(text: str, places: list[int], reason: str) -> None:
        content, reasoning, calls = _both_ways(text, places, reason, **options)
        assert (content or "") == text or not text.strip()
        assert reasoning is None
        assert calls == []

    run()


@every_reasoning_dialect
def test_words_around_think_tags_are_kept(dialect: str) -> None:
    known = REASONING_DIALECTS[dialect]
    tags = [*known.starts, *known.ends]

    @quick
    @given(st.lists(st.sampled_from(WORDS) | st.sampled_from(tags), max_size=20), cuts, reasons)
    def run(parts: list[str], places: list[int], reason: str) -> None:
        text = "".join(parts)
        for starts in (False, True):
            content, reasoning, _ = _both_ways(
                text, places, reason, reasoning_dialect=dialect, starts_in_reasoning=starts
            )
            found = f"{reasoning or ''}{content or ''}"
            # Reasoning comes first here, but messages in channels may take turns.
            order = sorted if isinstance(known, ChannelDialect) else list
            assert order(_words(found, tags)) == order(_words(text, tags))

    run()


def _words(text: str, tags: list[str]) -> str:
    for tag in tags:
        text = text.replace(tag, "")
    return "".join(text.split())


@every_tool_dialect
def test_plain_text_is_not_held_back(dialect: str) -> None:
    """Only white space waits, which a call would turn into framing."""
    parser, collector = OutputParser(tools=TOOLS, tool_dialect=dialect), Collector()
    text = "".join(WORDS) + "Zum Glück: 12 € / 3 = 4 €, \"ok\" & 'so'"
    for at, character in enumerate(text):
        collector.add(parser.feed(character))
        assert collector.content == text[: at + 1].rstrip()
    collector.add(parser.finish("stop"))
    assert collector.content == text


@every_tool_dialect
def test_a_beginning_of_a_marker_comes_out(dialect: str) -> None:
    for opening in TOOL_DIALECTS[dialect].openings:
        for end in range(1, len(opening)):
            for tail in ("", "Zed"):
                text = f"So: {opening[:end]}{tail}"
                output = parse_output(text, tools=TOOLS, tool_dialect=dialect)
                assert output.content == text
                assert not output.tool_calls
