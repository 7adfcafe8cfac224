"""JSON on its way through: valid text stays as it is, slips with one reading are mended."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftllm.tool_parsers.json_value import JsonPassage

finite = st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


def passed(text: str, size: int, *, close: bool = False) -> tuple[str, bool, str]:
    """(what comes out, whether the value was whole, what is left behind it)."""
    parts: list[str] = []
    passage = JsonPassage(parts.append)
    waiting = ""
    for at in range(0, len(text), size):
        waiting += text[at : at + size]
        waiting = waiting[passage.feed(waiting, 0) :]
    whole = passage.done
    if close and not whole:
        passage.close()
    return "".join(parts), whole, waiting


@settings(deadline=None)
@given(values, st.integers(1, 9), st.booleans(), st.sampled_from([None, 2]))
def test_valid_json_comes_out_as_it_went_in(
    value: object, size: int, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps([value], ensure_ascii=ascii_only, indent=indent)
    assert passed(f"{text} and more", size) == (text, True, " and more")


@pytest.mark.parametrize("size", [1, 2, 100])
@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ('{"a": "x\ny\tz"}', r'{"a": "x\ny\tz"}'),
        ("{'a': 'it\\'s \"so\"'}", '{"a": "it\'s \\"so\\""}'),
        ('{"a": True, "b": [None, False]}', '{"a": true, "b": [null, false]}'),
        ('{"a": NaN, "b": -Infinity}', '{"a": null, "b": null}'),
        ('{"a": [1, 2, ], }', '{"a": [1, 2 ] }'),
        (r'{"a": "\d \x41 \u12"}', r'{"a": "\\d \\x41 \\u12"}'),
        ('{"a": 12345678901234567890.10e+5}', '{"a": 12345678901234567890.10e+5}'),
    ],
)
def test_slips_with_one_reading_are_mended(text: str, mended: str, size: int) -> None:
    out, whole, left = passed(text, size)
    assert (out, whole, left) == (mended, True, "")
    json.loads(out)


@settings(deadline=None)
@given(values.filter(lambda value: isinstance(value, dict | list)), st.data())
def test_what_ends_early_is_closed_to_valid_json(value: object, data: st.DataObject) -> None:
    text = json.dumps({"key": value})
    cut = data.draw(st.integers(1, len(text)))
    out, whole, _ = passed(text[:cut], 3, close=True)
    assert isinstance(json.loads(out), dict)
    assert whole is (cut == len(text))


def test_other_text_is_passed_on_for_the_client_to_see() -> None:
    assert passed('{"a": x y}', 1) == ('{"a": x y}', True, "")
