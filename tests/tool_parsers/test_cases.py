"""Every case of cases/*.jsonl, whole and in every cut: what streams adds up to the whole."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftllm.tool_parsers import REASONING_DIALECTS, TOOL_DIALECTS
from tests.tool_parsers.case_files import FILES, Case, all_cases
from tests.tool_parsers.stream_collector import split, stream, without_ids

CASES = all_cases()
FEWEST = 12  # cases of a dialect
# What the dialects without ids of their own have to make up.
ID_FORMS = {"mistral": r"[A-Za-z0-9]{9}", "kimi_k2": r"(functions\.)?[\w-]+:\d+"}

every_case = pytest.mark.parametrize("case", CASES, ids=str)


@every_case
def test_whole(case: Case) -> None:
    case.check(case.parse())


@every_case
def test_split_at_every_character(case: Case) -> None:
    whole = without_ids(case.parse())
    for place in range(1, len(case.text)):
        pieces = [case.text[:place], case.text[place:]]
        assert without_ids(stream(case.parser(), pieces, case.finish_reason)) == whole, pieces


@every_case
def test_character_by_character(case: Case) -> None:
    case.check(stream(case.parser(), case.text, case.finish_reason))


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_random_splits(file: object) -> None:
    cases = [case for case in CASES if case.file == getattr(file, "stem", None)]

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=st.sampled_from(cases), data=st.data())
    def run(case: Case, data: st.DataObject) -> None:
        size = len(case.text)
        places = data.draw(st.lists(st.integers(0, size), max_size=30))
        pieces = split(case.text, places)  # empty pieces among them
        case.check(stream(case.parser(), pieces, case.finish_reason))

    run()


@every_case
def test_ids(case: Case) -> None:
    form = re.compile(ID_FORMS.get(case.tool_dialect or "", r"call_\w{8,}"))
    for call in case.parse().tool_calls:
        assert form.fullmatch(call.id), call.id


def test_every_dialect_has_enough_cases() -> None:
    tools = Counter(case.tool_dialect for case in CASES)
    reasoning = Counter(case.reasoning_dialect for case in CASES)
    few = {name: tools[name] for name in TOOL_DIALECTS if tools[name] < FEWEST}
    few |= {name: reasoning[name] for name in REASONING_DIALECTS if reasoning[name] < FEWEST}
    assert not few, f"at least {FEWEST} cases each, in tests/tool_parsers/cases/<dialect>.jsonl"


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_cases_stand_in_the_file_of_their_dialect(file: object) -> None:
    stem = getattr(file, "stem", "")
    strangers = [
        str(case)
        for case in CASES
        if case.file == stem and stem not in (case.tool_dialect, case.reasoning_dialect)
    ]
    assert not strangers


def test_a_wrong_expectation_is_seen() -> None:
    """The comparison can fail: every expectation of a case, changed, is objected to."""
    case = next(each for each in CASES if each.tool_calls)
    found = case.parse()
    case.check(found)
    for wrong in (
        {"content": "?"},
        {"reasoning": "?"},
        {"tool_calls": ()},
        {"tool_calls": (*case.tool_calls, case.tool_calls[0])},
    ):
        with pytest.raises(AssertionError):
            Case(**{**case.__dict__, **wrong}).check(found)
