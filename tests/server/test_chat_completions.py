from __future__ import annotations

import pytest

from ftllm.engine.request import FinishReason, Request
from ftllm.errors import EngineStoppedError, QueueFullError
from ftllm.server.app import create_app
from ftllm.server.settings import ServerSettings

from .api import Api, chunks_of, error_of
from .fake_engine import CACHED_TOKENS, FakeEngine
from .fake_model import BOS, EOS, HELLO, MAX_MODEL_LEN, WORLD, FakeDefaults, FakeModel, says


def prompt_text(engine: FakeEngine, number: int = -1) -> str:
    ids = engine.requests[number].prompt_ids
    assert ids[0] == BOS
    assert BOS not in ids[1:]
    return bytes(ids[1:]).decode()


def test_a_whole_answer(api: Api, engine: FakeEngine) -> None:
    body = api.chat("Hi").json()
    assert body["id"].startswith("chatcmpl-")
    assert body["object"] == "chat.completion"
    assert isinstance(body["created"], int)
    assert body["model"] == "tiny/model"
    (choice,) = body["choices"]
    assert choice["message"] == {"role": "assistant", "content": "Hello world!", "refusal": None}
    assert (choice["index"], choice["finish_reason"]) == (0, "stop")
    assert choice["logprobs"] is None
    prompt = len("[user]Hi\n[assistant]") + 1
    assert body["usage"] == {
        "prompt_tokens": prompt,
        "completion_tokens": 4,
        "total_tokens": prompt + 4,
        "prompt_tokens_details": {"cached_tokens": CACHED_TOKENS},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    assert prompt_text(engine) == "[user]Hi\n[assistant]"
    assert engine.aborted == []


def test_drafts_are_reported_as_predictions(api: Api, engine: FakeEngine) -> None:
    engine.drafts = (9, 5)
    body = api.chat(n=2).json()
    assert body["usage"]["completion_tokens"] == 2 * 4
    assert body["usage"]["completion_tokens_details"] == {
        "reasoning_tokens": 0,
        "accepted_prediction_tokens": 10,
        "rejected_prediction_tokens": 8,
    }


def test_a_stream(api: Api) -> None:
    chunks = chunks_of(api.chat(stream=True))
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert all(chunk["object"] == "chat.completion.chunk" for chunk in chunks)
    assert all("usage" not in chunk for chunk in chunks)
    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(c["delta"].get("content", "") for c in choices) == "Hello world!"
    assert [c["finish_reason"] for c in choices[:-1]] == [None] * (len(choices) - 1)
    assert choices[-1]["delta"] == {}
    assert choices[-1]["finish_reason"] == "stop"


def test_stream_usage(api: Api) -> None:
    chunks = chunks_of(api.chat(stream=True, stream_options={"include_usage": True}))
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == api.chat().json()["usage"]
    assert "usage" not in chunks_of(api.chat(stream=True, stream_options={}))[-1]


def test_stream_text_needs_escaping(api: Api, engine: FakeEngine) -> None:
    text = 'a"b\\c\n\r\t\u2028\x00{"x": [1]}data: é🙂\n\n'
    engine.script = lambda _: says(text)
    chunks = chunks_of(api.chat(stream=True))
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == text
    assert api.chat().json()["choices"][0]["message"]["content"] == text


def test_n_choices_are_independent(api: Api, engine: FakeEngine) -> None:
    engine.script = lambda request: says(f"seed {request.params.seed}")
    body = api.chat(n=3, seed=7).json()
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    texts = [choice["message"]["content"] for choice in body["choices"]]
    assert texts == ["seed 7", "seed 8", "seed 9"]
    assert len({request.prompt_ids for request in engine.requests}) == 1
    assert body["usage"]["completion_tokens"] == 3 * 7
    assert body["usage"]["prompt_tokens"] == len(engine.requests[0].prompt_ids)
    assert body["usage"]["prompt_tokens_details"]["cached_tokens"] == CACHED_TOKENS


def test_n_choices_streamed(api: Api, engine: FakeEngine) -> None:
    engine.script = lambda request: says(f"seed {request.params.seed}")
    chunks = chunks_of(api.chat(n=3, seed=7, stream=True))
    texts = ["", "", ""]
    reasons: list[list[str]] = [[], [], []]
    for chunk in chunks:
        (choice,) = chunk["choices"]
        texts[choice["index"]] += choice["delta"].get("content", "")
        if choice["finish_reason"]:
            reasons[choice["index"]].append(choice["finish_reason"])
    assert texts == ["seed 7", "seed 8", "seed 9"]
    assert reasons == [["stop"]] * 3


def test_without_a_seed_the_engine_draws_one(api: Api, engine: FakeEngine) -> None:
    api.chat(n=2)
    assert [request.params.seed for request in engine.requests] == [None, None]


@pytest.mark.parametrize("stream", [False, True])
def test_stop_strings_across_tokens(api: Api, engine: FakeEngine, stream: bool) -> None:
    engine.script = lambda _: says("One two three four")
    response = api.chat(stop=["never", "o th"], stream=stream)
    if stream:
        choices = [chunk["choices"][0] for chunk in chunks_of(response)]
        text = "".join(choice["delta"].get("content", "") for choice in choices)
        reason = choices[-1]["finish_reason"]
    else:
        (choice,) = response.json()["choices"]
        text, reason = choice["message"]["content"], choice["finish_reason"]
    assert (text, reason) == ("One tw", "stop")
    assert engine.aborted == [engine.requests[0].request_id]
    assert engine.wait_idle()


def test_usage_after_a_stop_string(api: Api, engine: FakeEngine) -> None:
    engine.script = lambda _: says("abcdefgh" * 10)
    usage = api.chat(stop="cd").json()["usage"]
    assert usage["completion_tokens"] == 4
    assert usage["prompt_tokens_details"]["cached_tokens"] == CACHED_TOKENS


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_token_limit(api: Api, engine: FakeEngine, field: str) -> None:
    (choice,) = api.chat(**{field: 2}).json()["choices"]
    assert choice["message"]["content"] == "Hello world"
    assert choice["finish_reason"] == "length"
    assert engine.requests[0].params.max_tokens == 2


def test_both_token_limits(api: Api) -> None:
    assert api.chat(max_tokens=3, max_completion_tokens=3).status_code == 200
    assert error_of(api.chat(max_tokens=3, max_completion_tokens=4), 400)["param"] == "max_tokens"


def test_sampling_reaches_the_engine(api: Api, engine: FakeEngine) -> None:
    api.chat(
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        min_p=0.1,
        repetition_penalty=1.1,
        presence_penalty=0.2,
        frequency_penalty=-0.3,
        logit_bias={"65": 5, "66": -100},
        seed=-3,
        min_tokens=2,
        stop_token_ids=[66],
    )
    params = engine.requests[0].params
    assert (params.temperature, params.top_p, params.top_k, params.min_p) == (0.5, 0.9, 40, 0.1)
    assert params.repetition_penalty == 1.1
    assert (params.presence_penalty, params.frequency_penalty) == (0.2, -0.3)
    assert params.logit_bias == {65: 5.0, 66: -100.0}
    assert (params.seed, params.min_tokens, params.max_tokens) == (-3, 2, None)
    assert params.stop_token_ids == {66, EOS}
    assert params.logprobs is None


def test_ignore_eos(api: Api, engine: FakeEngine) -> None:
    api.chat(ignore_eos=True, stop_token_ids=[66])
    assert engine.requests[0].params.stop_token_ids == {66}


def test_defaults_are_the_models(engine: FakeEngine) -> None:
    defaults = FakeDefaults(0.6, 0.95, 20, 0.01, 1.05)
    api = Api(create_app(FakeModel(engine, defaults=defaults), ServerSettings()))
    api.chat()
    api.complete()
    api.chat(temperature=0, top_p=1, top_k=-1, min_p=0, repetition_penalty=1)
    values = [
        (p.temperature, p.top_p, p.top_k, p.min_p, p.repetition_penalty)
        for p in (request.params for request in engine.requests)
    ]
    assert values == [(0.6, 0.95, 20, 0.01, 1.05)] * 2 + [(0, 1, 0, 0, 1)]


def test_neutral_defaults_are_openais(api: Api, engine: FakeEngine) -> None:
    api.chat()
    params = engine.requests[0].params
    assert (params.temperature, params.top_p, params.top_k) == (1.0, 1.0, 0)


def test_logprobs(api: Api) -> None:
    (choice,) = api.chat(logprobs=True, top_logprobs=2).json()["choices"]
    assert choice["logprobs"]["refusal"] is None
    content = choice["logprobs"]["content"]
    assert [entry["token"] for entry in content] == ["Hello", " world", "!"]
    assert content[1] == {
        "token": " world",
        "logprob": -0.5,
        "bytes": list(b" world"),
        "top_logprobs": [
            {"token": " world", "logprob": -0.5, "bytes": list(b" world")},
            {"token": "", "logprob": -1.5, "bytes": []},
        ],
    }


def test_logprobs_without_top(api: Api, engine: FakeEngine) -> None:
    (choice,) = api.chat(logprobs=True).json()["choices"]
    assert [entry["top_logprobs"] for entry in choice["logprobs"]["content"]] == [[], [], []]
    assert engine.requests[0].params.logprobs == 0


def test_streamed_logprobs_add_up(api: Api, engine: FakeEngine) -> None:
    engine.script = lambda _: [HELLO, *"é🙂".encode(), WORLD, *says("stop here")]
    fields: dict[str, object] = {"logprobs": True, "top_logprobs": 1, "stop": ["p h"]}
    (whole,) = api.chat(**fields).json()["choices"]
    content = []
    text = ""
    for chunk in chunks_of(api.chat(stream=True, **fields)):
        (choice,) = chunk["choices"]
        text += choice["delta"].get("content", "")
        content += (choice["logprobs"] or {"content": []})["content"]
    assert text == whole["message"]["content"] == "Helloé🙂 worldsto"
    assert content == whole["logprobs"]["content"]
    assert bytes(byte for entry in content for byte in entry["bytes"]).decode() == text


def test_top_logprobs_need_logprobs(api: Api) -> None:
    assert error_of(api.chat(top_logprobs=2), 400)["param"] == "top_logprobs"
    assert error_of(api.chat(logprobs=True, top_logprobs=21), 400)["param"] == "top_logprobs"
    assert api.chat(top_logprobs=0).status_code == 200
    assert error_of(api.chat(logprobs=3), 400)["param"] == "logprobs"


def test_messages_of_every_accepted_shape(api: Api, engine: FakeEngine) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    answer: dict[str, object] = {
        "role": "assistant",
        "content": "yes",
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "tool_calls": None,
    }
    messages = [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": parts, "name": "bob"},
        answer,
        {"role": "assistant", "content": None},
        {"role": "user", "content": ""},
    ]
    assert api.chat(messages=messages).status_code == 200
    assert prompt_text(engine) == (
        "[system]Be short.\n[user]a\nb\n[assistant]yes\n[assistant]\n[user]\n[assistant]"
    )


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([], "messages"),
        ("hi", "messages"),
        ([1], "messages[0]"),
        ([{"role": "king", "content": "x"}], "messages[0].role"),
        ([{"role": "user", "content": 5}], "messages[0].content"),
        ([{"role": "user", "content": [5]}], "messages[0].content"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "messages[0].content"),
        ([{"role": "user"}], "messages[0].content"),
    ],
)
def test_bad_messages(api: Api, engine: FakeEngine, messages: object, param: str) -> None:
    assert error_of(api.chat(messages=messages), 400)["param"] == param
    assert engine.requests == []


def test_many_bad_messages_give_a_short_answer(api: Api) -> None:
    response = api.chat(messages=[{"role": "x" * 1000, "content": 1}] * 1000)
    assert len(error_of(response, 400)["message"]) < 2500


def test_template_variables(api: Api, engine: FakeEngine) -> None:
    api.chat(chat_template_kwargs={"tail": "<think>"})
    assert prompt_text(engine).endswith("[assistant]<think>")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("reasoning_effort", "high"),
        ("separate_reasoning", False),
        ("stream_reasoning", False),
        ("verbosity", "low"),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "x"}),
        ("web_search_options", {}),
        ("chat_template_kwargs", {"messages": []}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_not_honoured_is_refused(
    api: Api, engine: FakeEngine, field: str, value: object, stream: bool
) -> None:
    error = error_of(api.chat(stream=stream, **{field: value}), 400)
    assert (error["param"], error["code"]) == (field, "unsupported_value")
    assert engine.requests == []


def test_what_asks_for_nothing_passes(api: Api) -> None:
    fields: dict[str, object] = {
        "tools": [],
        "tool_choice": "auto",
        "response_format": {"type": "text"},
        "modalities": ["text"],
        "separate_reasoning": True,
        "stream_reasoning": True,
    }
    assert api.chat(**fields).status_code == 200


def test_a_model_without_a_template(engine: FakeEngine) -> None:
    api = Api(create_app(FakeModel(engine, chat_template=None), ServerSettings()))
    error = error_of(api.chat(), 400)
    assert error["code"] == "no_chat_template"
    assert "/v1/completions" in error["message"]
    assert api.complete().status_code == 200


def test_an_unknown_model(api: Api, engine: FakeEngine) -> None:
    for response in (api.chat(model="gpt-9"), api.complete(model="gpt-9")):
        error = error_of(response, 404)
        assert (error["code"], error["param"]) == ("model_not_found", "model")
        assert "gpt-9" in error["message"]
        assert "tiny/model" in error["message"]
    assert api.chat(model=None).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_an_over_long_prompt(api: Api, engine: FakeEngine, stream: bool) -> None:
    error = error_of(api.chat("x" * 600, stream=stream), 400)
    assert error["code"] == "context_length_exceeded"
    assert error["param"] == "messages"
    assert str(MAX_MODEL_LEN) in error["message"]
    assert str(600 + len("[user]\n[assistant]") + 1) in error["message"]
    assert engine.requests == []


@pytest.mark.parametrize("stream", [False, True])
def test_a_full_queue(api: Api, engine: FakeEngine, stream: bool) -> None:
    engine.refuse = QueueFullError("The server is full: 12 requests.", retry_after=9)
    response = api.chat(stream=stream)
    error = error_of(response, 429)
    assert (error["type"], error["code"]) == ("rate_limit_error", "queue_full")
    assert response.headers["retry-after"] == "9"


def test_a_queue_that_fills_between_two_choices_leaves_nothing(
    api: Api, engine: FakeEngine
) -> None:
    engine.go.clear()
    engine.refuse, engine.refuse_from = QueueFullError("full"), 2
    error_of(api.chat(n=3), 429)
    assert sorted(engine.aborted) == sorted(request.request_id for request in engine.requests)
    assert len(engine.aborted) == 2
    engine.go.set()
    assert engine.wait_idle()


def test_a_stopped_engine(api: Api, engine: FakeEngine) -> None:
    engine.refuse = EngineStoppedError("internal words")
    response = api.chat()
    assert error_of(response, 503)["code"] == "engine_stopped"
    assert "retry-after" in response.headers


def test_an_engine_error_before_the_answer(api: Api, engine: FakeEngine) -> None:
    engine.fail_after = 0
    response = api.chat()
    error = error_of(response, 500)
    assert error["code"] == "internal_error"
    assert response.headers["x-request-id"] in error["message"]
    assert "secret" not in response.text


def test_an_engine_error_in_a_stream(api: Api, engine: FakeEngine) -> None:
    engine.fail_after = 2
    response = api.chat(n=2, stream=True)
    chunks = chunks_of(response)
    error = chunks.pop()["error"]
    assert (error["type"], error["code"]) == ("server_error", "internal_error")
    assert response.headers["x-request-id"] in error["message"]
    assert "secret" not in response.text
    assert "Hello" in response.text
    assert engine.wait_idle()


def test_a_grammar_that_fails_says_so(api: Api, engine: FakeEngine) -> None:
    engine.fails_with, engine.error_text = FinishReason.GRAMMAR, "too many lexer states"
    engine.fail_after = 2
    error = error_of(api.chat(), 500)
    assert error["code"] == "grammar_failed"
    assert "too many lexer states" in error["message"]
    response = api.chat(stream=True)
    chunks = chunks_of(response)  # [DONE] comes last
    error = chunks.pop()["error"]
    assert (error["type"], error["code"]) == ("server_error", "grammar_failed")
    assert "too many lexer states" in error["message"]
    assert "Hello" in response.text


def test_a_shutdown_in_a_stream(api: Api, engine: FakeEngine) -> None:
    def script(request: Request) -> list[int]:
        engine.aborted.append(request.request_id)  # not by the server: as a shutdown does
        return says("x")

    engine.script = script
    chunks = chunks_of(api.chat(stream=True))
    assert chunks[-1]["error"]["code"] == "engine_stopped"
