from __future__ import annotations

import pytest

from ftllm.text.lark_markers import mark_special_tokens

SPECIAL = {"[C]": 7, "<|a|>": 8, "</s>": 9}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('start: "[C]"', "start: <[7]>"),
        ('start: "x[C]\\n<|a|>" B', 'start: ("x" <[7]> "\\n" <[8]>) B'),
        ('start: "[D]" "<|b|>"', 'start: "[D]" "<|b|>"'),
        ('start: B\nB: "[C]"', 'start: B\nB: "[C]"'),  # a terminal holds no tokens
        ('B: "b"\n   | "[C]"\nstart: B\n   | "[C]"', 'B: "b"\n   | "[C]"\nstart: B\n   | <[7]>'),
        ('?start.1: "[C]"i', '?start.1: "[C]"i'),
        ("start: /[C]/ // [C]", "start: /[C]/ // [C]"),
        ('start: /"/ "[C]" /"/', 'start: /"/ <[7]> /"/'),
        ('start: a # "[C]"\na: "[C]"', 'start: a # "[C]"\na: <[7]>'),
        ('start: %json {"const": "[C]"} "[C]"', 'start: %json {"const": "[C]"} <[7]>'),
        ('start: %json {"a": {"b": "}"}}\n"</s>"', 'start: %json {"a": {"b": "}"}}\n<[9]>'),
        ('start: "a', 'start: "a'),  # for llguidance to complain about
        ("start: %json {", "start: %json {"),
        ('a[lazy, suffix="[C]"]: /x/\nb: "[C]"', 'a[lazy, suffix="[C]"]: /x/\nb: <[7]>'),
    ],
)
def test_markers(source: str, expected: str) -> None:
    assert mark_special_tokens(source, SPECIAL.get) == expected
