from __future__ import annotations

import pytest

from ftllm.engine.request import Request
from ftllm.errors import ContextLengthError
from ftllm.server.app import create_app
from ftllm.server.settings import ServerSettings

from .api import Api, chunks_of, error_of
from .fake_engine import CACHED_TOKENS, FakeEngine
from .fake_model import BOS, FIRST_MARKER, HELLO, FakeModel, byte_tokenizer, says


def test_a_whole_answer(api: Api, engine: FakeEngine) -> None:
    body = api.complete("Hi").json()
    assert body["id"].startswith("cmpl-")
    assert body["object"] == "text_completion"
    assert body["choices"] == [
        {"index": 0, "text": "Hello world!", "logprobs": None, "finish_reason": "stop"}
    ]
    assert body["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "total_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": CACHED_TOKENS},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    assert engine.requests[0].prompt_ids == (BOS, *b"Hi")
    assert engine.requests[0].params.max_tokens == 16


def test_a_stream(api: Api) -> None:
    chunks = chunks_of(api.complete(stream=True, stream_options={"include_usage": True}))
    usage = chunks.pop()
    assert (usage["choices"], usage["usage"]["completion_tokens"]) == ([], 4)
    choices = [chunk["choices"][0] for chunk in chunks]
    assert "".join(choice["text"] for choice in choices) == "Hello world!"
    assert [c["finish_reason"] for c in choices if c["finish_reason"]] == ["stop"]
    assert choices[-1]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("ab", [(BOS, 97, 98)]),
        (["ab", "c"], [(BOS, 97, 98), (BOS, 99)]),
        ([97, 98], [(97, 98)]),
        ([[97], [98, 99]], [(97,), (98, 99)]),
        ("a<eos>b", [(BOS, 97, 257, 98)]),
    ],
)
def test_every_form_of_prompt(
    api: Api, engine: FakeEngine, prompt: object, expected: list[tuple[int, ...]]
) -> None:
    assert len(api.complete(prompt).json()["choices"]) == len(expected)
    assert [request.prompt_ids for request in engine.requests] == expected


@pytest.mark.parametrize(
    "prompt",
    [5, None, {}, [1.5], [True], ["a", 1], [["a"]], [[1, "a"]], [], [[]], [-1], [260], [[10**30]]],
)
def test_bad_prompts(api: Api, engine: FakeEngine, prompt: object) -> None:
    assert error_of(api.complete(prompt), 400)["param"] == "prompt"
    assert engine.requests == []


def test_several_prompts_and_choices(api: Api, engine: FakeEngine) -> None:
    def script(request: Request) -> list[int]:
        return says(f"{bytes(request.prompt_ids[1:]).decode()}{request.params.seed}")

    engine.script = script
    body = api.complete(["a", "b"], n=2, seed=1).json()
    assert [choice["text"] for choice in body["choices"]] == ["a1", "a2", "b1", "b2"]
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2, 3]
    assert body["usage"]["prompt_tokens"] == 4
    assert body["usage"]["completion_tokens"] == 12
    assert body["usage"]["prompt_tokens_details"]["cached_tokens"] == 2 * CACHED_TOKENS


def test_too_many_choices(model: FakeModel) -> None:
    api = Api(create_app(model, ServerSettings(max_choices=4)))
    assert api.complete(["a", "b"], n=2).status_code == 200
    error = error_of(api.complete(["a", "b", "c"], n=2), 400)
    assert error["param"] == "prompt"
    assert "6 choices" in error["message"]


def test_best_of_returns_the_likeliest(api: Api, engine: FakeEngine) -> None:
    def script(request: Request) -> list[int]:
        return says(chr(ord("a") + (request.params.seed or 0)) * 3)

    engine.script = script
    engine.logprob_of = lambda token_id: {"b": -0.1, "d": -0.2}.get(chr(token_id), -3.0)
    body = api.complete(n=2, best_of=4, seed=0).json()
    assert [choice["text"] for choice in body["choices"]] == ["bbb", "ddd"]
    assert [choice["index"] for choice in body["choices"]] == [0, 1]
    assert body["choices"][0]["logprobs"] is None
    assert body["usage"]["completion_tokens"] == 4 * 4  # what was generated, not what was kept
    two = api.complete(["x", "y"], best_of=4, seed=0, logprobs=1).json()["choices"]
    assert [choice["text"] for choice in two] == ["bbb", "bbb"]
    assert two[0]["logprobs"]["token_logprobs"] == [-0.1] * 3


def test_best_of_that_cannot_be_had(api: Api, engine: FakeEngine) -> None:
    assert api.complete(n=2, best_of=2, stream=True).status_code == 200
    assert error_of(api.complete(n=3, best_of=2), 400)["param"] == "best_of"
    assert error_of(api.complete(best_of=129), 400)["param"] == "best_of"
    error = error_of(api.complete(best_of=2, stream=True), 400)
    assert error["param"] == "best_of"
    assert "streamed" in error["message"]
    assert len(engine.requests) == 2


def test_a_suffix_needs_a_vocabulary_with_markers(api: Api) -> None:
    assert api.complete(suffix="").status_code == 200
    error = error_of(api.complete(suffix="end"), 400)
    assert (error["param"], error["code"]) == ("suffix", "unsupported_value")


def test_a_suffix(engine: FakeEngine) -> None:
    markers = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>")
    model = FakeModel(engine, tokenizer=byte_tokenizer(*markers))
    api = Api(create_app(model, ServerSettings()))
    prefix, suffix, middle, pad = range(FIRST_MARKER, FIRST_MARKER + 4)
    engine.script = lambda _: [*b"mid", pad, *b"past it"]
    (choice,) = api.complete("ab", suffix="yz").json()["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("mid", "stop")
    api.complete([97, 98], suffix="yz", stream=True)
    first, second = engine.requests
    assert first.prompt_ids == (BOS, prefix, *b"ab", suffix, *b"yz", middle)
    assert second.prompt_ids == first.prompt_ids[1:]
    assert {prefix, suffix, middle, pad} < first.params.stop_token_ids
    assert error_of(api.complete("ab", suffix="yz", echo=True), 400)["param"] == "echo"
    error = error_of(api.complete("ab", suffix="yz", truncate_prompt_tokens=5), 400)
    assert error["param"] == "truncate_prompt_tokens"


def test_logprobs(api: Api) -> None:
    (choice,) = api.complete(logprobs=2).json()["choices"]
    logprobs = choice["logprobs"]
    assert logprobs["tokens"] == ["Hello", " world", "!"]
    assert logprobs["token_logprobs"] == [-0.5, -0.5, -0.5]
    assert logprobs["text_offset"] == [0, 5, 11]
    assert logprobs["top_logprobs"][0] == {"Hello": -0.5, " world": -1.5}
    (choice,) = api.complete(logprobs=0).json()["choices"]
    assert choice["logprobs"]["top_logprobs"][0] == {"Hello": -0.5}


def test_offsets_are_true(api: Api, engine: FakeEngine) -> None:
    engine.script = lambda _: [HELLO, *"é x".encode(), HELLO, *says("z")]
    (choice,) = api.complete("a🙂b", logprobs=0, echo=True).json()["choices"]
    text, logprobs = choice["text"], choice["logprobs"]
    assert text == "a🙂bHelloé xHelloz"
    for token, offset in zip(logprobs["tokens"], logprobs["text_offset"], strict=True):
        if "\ufffd" not in token and token != "<bos>":
            assert text.startswith(token, offset)
    assert logprobs["text_offset"] == [0, 0, 1, 1, 1, 1, 2, 3, 8, 8, 9, 10, 11, 16]


def test_a_long_echo_with_logprobs(api: Api) -> None:
    """Long enough to be written beside the event loop, whole and streamed."""
    (choice,) = api.complete("x" * 300, echo=True, logprobs=1).json()["choices"]
    assert len(choice["logprobs"]["tokens"]) == 304
    chunks = chunks_of(api.complete("x" * 300, echo=True, logprobs=1, stream=True))
    assert chunks[0]["choices"][0]["logprobs"]["tokens"] == ["<bos>", *["x"] * 300]


def test_echo(api: Api) -> None:
    assert api.complete("Say: ", echo=True).json()["choices"][0]["text"] == "Say: Hello world!"
    ids = [BOS, *b"Say: "]
    assert api.complete(ids, echo=True).json()["choices"][0]["text"] == "<bos>Say: Hello world!"


@pytest.mark.parametrize("logprobs", [None, 1])
def test_streamed_echo_adds_up(api: Api, logprobs: int | None) -> None:
    fields: dict[str, object] = {"echo": True, "logprobs": logprobs, "n": 2}
    whole = api.complete(["ab", "c"], **fields).json()["choices"]
    texts = [""] * 4
    tokens: list[list[str]] = [[], [], [], []]
    offsets: list[list[int]] = [[], [], [], []]
    for chunk in chunks_of(api.complete(["ab", "c"], stream=True, **fields)):
        (choice,) = chunk["choices"]
        texts[choice["index"]] += choice["text"]
        if choice["logprobs"]:
            tokens[choice["index"]] += choice["logprobs"]["tokens"]
            offsets[choice["index"]] += choice["logprobs"]["text_offset"]
    assert texts == [choice["text"] for choice in whole]
    if logprobs is not None:
        assert tokens == [choice["logprobs"]["tokens"] for choice in whole]
        assert offsets == [choice["logprobs"]["text_offset"] for choice in whole]


def test_echo_with_logprobs(api: Api) -> None:
    (choice,) = api.complete("ab", echo=True, logprobs=1, max_tokens=1).json()["choices"]
    assert choice["text"] == "abHello"
    logprobs = choice["logprobs"]
    assert logprobs["tokens"] == ["<bos>", "a", "b", "Hello"]
    assert logprobs["text_offset"] == [0, 0, 1, 2]
    assert logprobs["token_logprobs"] == [None, -0.5, -0.5, -0.5]
    assert logprobs["top_logprobs"] == [None, {"a": -0.5}, {"b": -0.5}, {"Hello": -0.5}]


@pytest.mark.parametrize("logprobs", [None, 1])
def test_only_the_prompt(api: Api, logprobs: int | None) -> None:
    body = api.complete([97, 98], echo=True, logprobs=logprobs, max_tokens=0).json()
    (choice,) = body["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("ab", "length")
    assert body["usage"]["completion_tokens"] == 0
    if logprobs is not None:
        assert choice["logprobs"]["token_logprobs"] == [None, -0.5]


def test_max_tokens_0_needs_something_else_to_tell(api: Api) -> None:
    assert error_of(api.complete(max_tokens=0), 400)["param"] == "max_tokens"
    (choice,) = api.complete("a", max_tokens=0, prompt_logprobs=0).json()["choices"]
    assert choice["text"] == ""
    assert choice["prompt_logprobs"][1] == {
        "97": {"logprob": -0.5, "rank": 1, "decoded_token": "a"}
    }


def test_logprobs_have_a_limit(api: Api) -> None:
    assert error_of(api.complete(logprobs=21), 400)["param"] == "logprobs"
    assert error_of(api.complete(logprobs=True), 400)["param"] == "logprobs"


def test_context_length(api: Api, engine: FakeEngine) -> None:
    error = error_of(api.complete("x" * 600), 400)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")
    assert "500" in error["message"]
    assert "601" in error["message"]
    engine.refuse = ContextLengthError("This model's limit is 500; the request asks for 900.")
    error = error_of(api.complete("x", max_tokens=899), 400)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")


def test_an_empty_prompt(engine: FakeEngine) -> None:
    api = Api(create_app(FakeModel(engine), ServerSettings()))
    error = error_of(api.complete([[]]), 400)
    assert error["code"] == "empty_prompt"
    assert api.complete("").status_code == 200  # BOS alone is a prompt


def test_one_bad_prompt_refuses_all(api: Api, engine: FakeEngine) -> None:
    error_of(api.complete(["fine", "x" * 600], stream=True), 400)
    assert engine.requests == []


def test_an_engine_error_in_a_stream(api: Api, engine: FakeEngine) -> None:
    engine.fail_after = 1
    chunks = chunks_of(api.complete(stream=True))
    assert chunks[0]["choices"][0]["text"] == "Hello"
    assert chunks[-1]["error"]["code"] == "internal_error"
