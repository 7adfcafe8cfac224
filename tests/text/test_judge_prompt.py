from __future__ import annotations

import pytest

from ftllm.errors import OptionError
from ftllm.text.judge_prompt import JudgePrompt


def test_texts_stand_in_their_places_as_they_are() -> None:
    prompt = JudgePrompt("{document}<{query}>{document}")
    assert prompt.render("a {document} {x}", "b {query}") == "b {query}<a {document} {x}>b {query}"


def test_the_published_prompt_ends_where_the_answer_begins() -> None:
    text = JudgePrompt().render("What?", "This.")
    assert "<Query>: What?\n<Document>: This.<|im_end|>\n" in text
    assert text.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")


@pytest.mark.parametrize("template", ["{query}", "{document}", ""])
def test_a_template_without_a_place(template: str) -> None:
    with pytest.raises(OptionError, match="has no"):
        JudgePrompt(template)
