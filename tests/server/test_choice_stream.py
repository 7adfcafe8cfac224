from __future__ import annotations

from ftllm.engine.params import SamplingParams
from ftllm.engine.request import (
    Event,
    FinishedEvent,
    FinishReason,
    PromptLogprobsEvent,
    Request,
    TokensEvent,
)
from ftllm.errors import EngineStoppedError
from ftllm.server.choice_stream import ChoiceDelta, ChoicePlan, ChoiceStream
from ftllm.server.errors import EngineFailureError
from ftllm.server.prompts import EchoedPrompt, Prompt

from .fake_engine import logprobs_of
from .fake_model import EOS, HELLO, WORLD, byte_tokenizer

TOKENIZER = byte_tokenizer()


def stream(
    *, stops: tuple[str, ...] = (), echo: EchoedPrompt | None = None, **params: object
) -> ChoiceStream:
    defaults = {"stop_token_ids": frozenset({EOS})}
    sampling = SamplingParams(**{**defaults, **params})  # type: ignore[arg-type]
    request = Request(request_id="r", prompt_ids=(65, 66), params=sampling)
    return ChoiceStream(ChoicePlan(0, request, Prompt((65, 66), echo), stops), TOKENIZER)


def tokens(*ids: int, top: int | None = None) -> TokensEvent:
    logprobs = None if top is None else tuple(logprobs_of(token_id, top) for token_id in ids)
    return TokensEvent("r", ids, logprobs)


def finished(reason: FinishReason, error: str | None = None) -> FinishedEvent:
    return FinishedEvent("r", reason, 2, 1, 9, error)


def feed(choice: ChoiceStream, *events: Event) -> list[ChoiceDelta]:
    """Each event by itself, as from a step each."""
    return [delta for event in events for delta in choice.feed([event])]


def test_text_and_finish_reason() -> None:
    choice = stream()
    deltas = feed(choice, tokens(HELLO), tokens(WORLD, EOS), finished(FinishReason.STOP))
    assert [delta.text for delta in deltas] == ["Hello", " world", ""]
    assert [delta.finish_reason for delta in deltas] == [None, None, "stop"]
    assert choice.finished
    assert (choice.output_tokens, choice.cached_tokens) == (3, 1)


def test_drafts_are_told_at_the_end() -> None:
    choice = stream()
    feed(choice, tokens(HELLO), FinishedEvent("r", FinishReason.LENGTH, 2, 1, 9, None, 7, 4))
    assert (choice.drafted_tokens, choice.accepted_tokens) == (7, 4)


def test_one_delta_for_a_backlog() -> None:
    choice = stream()
    (delta,) = choice.feed([tokens(HELLO), tokens(WORLD), finished(FinishReason.LENGTH)])
    assert (delta.text, delta.finish_reason) == ("Hello world", "length")


def test_a_stop_string_within_the_tokens_of_one_step() -> None:
    choice = stream(stops=("o w",), logprobs=1)
    deltas = choice.feed([tokens(HELLO, WORLD, HELLO, top=1)])
    assert [delta.text for delta in deltas] == ["Hell"]
    assert [entry.token_id for delta in deltas for entry in delta.logprobs] == [HELLO]
    assert choice.stopped
    assert choice.output_tokens == 2


def test_several_tokens_a_step_are_the_same_answer() -> None:
    ids = [HELLO, WORLD, 0xC3, 0xA9, HELLO]
    one, many = stream(logprobs=2), stream(logprobs=2)
    singly = feed(one, *(tokens(token_id, top=2) for token_id in ids), tokens(EOS, top=2))
    together = feed(many, tokens(*ids[:3], top=2), tokens(*ids[3:], EOS, top=2))
    for deltas in (singly, together):
        assert "".join(delta.text for delta in deltas) == "Hello worldéHello"
    entries = [
        [entry for delta in deltas for entry in delta.logprobs] for deltas in (singly, together)
    ]
    assert entries[0] == entries[1]
    assert len(entries[0]) == len(ids)
    assert one.output_tokens == many.output_tokens == len(ids) + 1


def test_a_stop_token_is_not_text() -> None:
    choice = stream(stop_token_ids=frozenset({ord("!")}), logprobs=0)
    (delta,) = choice.feed([tokens(HELLO, ord("!"), top=0), finished(FinishReason.STOP)])
    assert delta.text == "Hello"
    assert [entry.token_id for entry in delta.logprobs] == [HELLO]
    assert choice.output_tokens == 2


def test_characters_come_whole() -> None:
    choice = stream()
    events = [tokens(byte) for byte in "é🙂".encode()]
    deltas = feed(choice, *events, finished(FinishReason.STOP))
    assert [delta.text for delta in deltas] == ["é", "🙂", ""]


def test_a_broken_character_at_the_end_is_marked() -> None:
    choice = stream()
    deltas = feed(choice, tokens("é".encode()[0]), finished(FinishReason.LENGTH))
    assert [delta.text for delta in deltas] == ["\ufffd"]


def test_a_stop_string_ends_the_text_at_once() -> None:
    choice = stream(stops=("lo w",))
    assert choice.feed([tokens(HELLO)])[0].text == "Hel"
    (delta,) = choice.feed([tokens(WORLD)])
    assert (delta.text, delta.finish_reason) == ("", "stop")
    assert (choice.stopped, choice.finished) == (True, False)
    # The abort takes a step: what comes meanwhile is not part of the answer.
    assert feed(choice, tokens(65), finished(FinishReason.ABORTED)) == []
    assert (choice.stopped, choice.finished) == (True, True)
    assert choice.output_tokens == 2


def test_an_error_after_the_stop_string_is_too_late_to_matter() -> None:
    choice = stream(stops=("Hello",))
    choice.feed([tokens(HELLO)])
    assert choice.feed([finished(FinishReason.ERROR, "boom")]) == []
    assert choice.failure is None


def test_text_that_only_began_a_stop_string_comes_at_the_end() -> None:
    choice = stream(stops=("lots",))
    deltas = feed(choice, tokens(HELLO), finished(FinishReason.LENGTH))
    assert [delta.text for delta in deltas] == ["Hel", "lo"]


def test_logprobs_travel_with_their_text() -> None:
    choice = stream(stops=("d?",), logprobs=2)
    ids = [HELLO, *"é".encode(), WORLD, EOS]
    deltas = feed(choice, *(tokens(i, top=2) for i in ids), finished(FinishReason.STOP))
    placed = [(delta.text, [(e.token_id, e.offset) for e in delta.logprobs]) for delta in deltas]
    first, second = "é".encode()
    assert placed == [
        ("Hello", [(HELLO, 0)]),
        ("é", [(first, 5), (second, 5)]),
        (" worl", [(WORLD, 6)]),
        ("d", []),
    ]


def test_logprobs_of_text_cut_off_are_not_sent() -> None:
    choice = stream(stops=(" wor",), logprobs=0)
    deltas = feed(choice, tokens(HELLO, top=0), tokens(WORLD, top=0))
    assert [e.token_id for delta in deltas for e in delta.logprobs] == [HELLO]
    choice = stream(stops=("rld",), logprobs=0)
    deltas = feed(choice, tokens(HELLO, top=0), tokens(WORLD, top=0))
    assert "".join(delta.text for delta in deltas) == "Hello wo"
    assert [e.token_id for delta in deltas for e in delta.logprobs] == [HELLO, WORLD]


def test_the_echo_comes_first_and_shifts_the_offsets() -> None:
    echo = EchoedPrompt("AB", (0, 1))
    choice = stream(echo=echo, logprobs=1, prompt_logprobs=1)
    prompt = PromptLogprobsEvent("r", (None, logprobs_of(66, 1)))
    deltas = choice.feed([prompt, tokens(HELLO, top=1)])
    assert [delta.text for delta in deltas] == ["AB", "Hello"]
    entries = [entry for delta in deltas for entry in delta.logprobs]
    assert [(e.token_id, e.offset, e.logprob) for e in entries] == [
        (65, 0, None),
        (66, 1, -0.5),
        (HELLO, 2, -0.5),
    ]


def test_bad_ends_are_told_after_the_text() -> None:
    choice = stream()
    (delta,) = choice.feed([tokens(HELLO), finished(FinishReason.ERROR, "kernel")])
    assert (delta.text, delta.finish_reason) == ("Hello", None)
    assert isinstance(choice.failure, EngineFailureError)
    choice = stream()
    assert choice.feed([finished(FinishReason.ABORTED)]) == []
    assert isinstance(choice.failure, EngineStoppedError)
