"""Parameters beyond OpenAI's, through both endpoints where they share them."""

from __future__ import annotations

import json

import pytest

from ftllm.engine.request import Request
from ftllm.server.app import create_app
from ftllm.server.settings import ServerSettings

from .api import Api, chunks_of, error_of
from .fake_engine import FakeEngine
from .fake_model import BOS, EOS, HELLO, WORLD, FakeModel, says


def texts(api: Api, **fields: object) -> list[str]:
    """The answer of each endpoint, whole and streamed: all must be the same four times."""
    chat, completion = api.chat(**fields).json(), api.complete(**fields).json()
    streamed_chat = chunks_of(api.chat(stream=True, **fields))
    streamed = chunks_of(api.complete(stream=True, **fields))
    return [
        chat["choices"][0]["message"]["content"],
        completion["choices"][0]["text"],
        "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in streamed_chat),
        "".join(chunk["choices"][0]["text"] for chunk in streamed),
    ]


def test_allowed_tokens_and_bad_words_reach_the_engine(api: Api, engine: FakeEngine) -> None:
    api.chat(allowed_token_ids=[5, 7, 5], bad_words=["ab", " c"])
    api.complete(allowed_token_ids=None, bad_words=[])
    chat, completion = (request.params for request in engine.requests)
    assert chat.allowed_token_ids == {5, 7}
    assert chat.bad_words == ((97, 98), (32, 97, 98), (99,), (32, 99))
    assert (completion.allowed_token_ids, completion.bad_words) == (None, ())


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"allowed_token_ids": []}, "allowed_token_ids"),
        ({"allowed_token_ids": [260]}, "allowed_token_ids"),
        ({"allowed_token_ids": [97], "bad_words": ["a"]}, "allowed_token_ids"),
        ({"allowed_token_ids": [EOS], "min_tokens": 1}, "allowed_token_ids"),
        ({"bad_words": [""]}, "bad_words[0]"),
        ({"bad_words": ["  "]}, "bad_words"),
        ({"bad_words": ["x" * 65]}, "bad_words"),
        ({"bad_words": ["x" * 300]}, "bad_words[0]"),
        ({"bad_words": "x"}, "bad_words"),
        ({"bad_words": [str(number) for number in range(600)]}, "bad_words"),
        ({"truncate_prompt_tokens": 0}, "truncate_prompt_tokens"),
        ({"truncate_prompt_tokens": -2}, "truncate_prompt_tokens"),
        ({"truncation_side": "middle"}, "truncation_side"),
        ({"prompt_logprobs": 21}, "prompt_logprobs"),
        ({"prompt_logprobs": -1}, "prompt_logprobs"),
        ({"prompt_logprobs": 1, "stream": True}, "prompt_logprobs"),
        ({"priority": 2**63}, "priority"),
        ({"cache_salt": ""}, "cache_salt"),
        ({"cache_salt": "x" * 1025}, "cache_salt"),
        ({"use_beam_search": True}, "use_beam_search"),
        ({"length_penalty": 0.5}, "length_penalty"),
        ({"no_stop_trim": True}, "no_stop_trim"),
        ({"return_hidden_states": True}, "return_hidden_states"),
        ({"skip_special_tokens": 1}, "skip_special_tokens"),
    ],
)
def test_what_cannot_be_had_is_named(
    api: Api, engine: FakeEngine, fields: dict[str, object], param: str
) -> None:
    for response in (api.chat(**fields), api.complete(**fields)):
        assert error_of(response, 400)["param"] == param
    assert engine.requests == []


def test_what_changes_nothing_is_accepted(api: Api) -> None:
    fields: dict[str, object] = {
        "use_beam_search": False,
        "length_penalty": 1.0,
        "no_stop_trim": False,
        "return_hidden_states": False,
        "spaces_between_special_tokens": True,
        "truncation_side": "left",
    }
    assert texts(api, **fields) == ["Hello world!"] * 4


def test_special_tokens_can_be_kept(api: Api, engine: FakeEngine) -> None:
    engine.script = lambda _: [HELLO, BOS, *says("!")]
    assert texts(api) == ["Hello!"] * 4
    assert texts(api, skip_special_tokens=False) == ["Hello<bos>!"] * 4


def test_the_stop_can_be_kept(api: Api, engine: FakeEngine) -> None:
    keep = {"include_stop_str_in_output": True}
    assert texts(api, stop="wor") == ["Hello "] * 4
    assert texts(api, stop="wor", **keep) == ["Hello wor"] * 4
    assert texts(api, stop_token_ids=[WORLD]) == ["Hello"] * 4
    assert texts(api, stop_token_ids=[WORLD], **keep) == ["Hello world"] * 4
    assert texts(api, **keep) == ["Hello world!"] * 4
    assert texts(api, skip_special_tokens=False, **keep) == ["Hello world!<eos>"] * 4


def test_offsets_count_kept_special_tokens(api: Api, engine: FakeEngine) -> None:
    engine.script = lambda _: [HELLO, BOS, *says("!")]
    (choice,) = api.complete(logprobs=0, skip_special_tokens=False).json()["choices"]
    assert choice["logprobs"]["tokens"] == ["Hello", "<bos>", "!"]
    assert choice["logprobs"]["text_offset"] == [0, 5, 10]


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"truncate_prompt_tokens": 3}, b"789"),
        ({"truncate_prompt_tokens": 3, "truncation_side": "right"}, b"012"),
        ({"truncate_prompt_tokens": 100}, b"0123456789"),
        ({"truncate_prompt_tokens": 1}, b"9"),
        ({"truncate_prompt_tokens": -1}, b"0123456789"),
        ({"truncate_prompt_tokens": -1, "max_tokens": 495}, b"56789"),
    ],
)
def test_prompts_are_truncated(
    api: Api, engine: FakeEngine, fields: dict[str, object], kept: bytes
) -> None:
    api.complete("0123456789", add_special_tokens=False, **fields)
    assert engine.requests[0].prompt_ids == tuple(kept)


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"truncate_prompt_tokens": 3}, [BOS, *b"89"]),
        ({"truncate_prompt_tokens": 3, "truncation_side": "right"}, [BOS, *b"01"]),
        ({"truncate_prompt_tokens": 1}, [BOS]),
        ({"truncate_prompt_tokens": 11}, [BOS, *b"0123456789"]),
    ],
)
def test_truncation_keeps_the_tokens_around(
    api: Api, engine: FakeEngine, fields: dict[str, object], kept: list[int]
) -> None:
    api.complete("0123456789", **fields)
    assert list(engine.requests[0].prompt_ids) == kept


def test_a_chat_is_truncated_and_so_fits(api: Api, engine: FakeEngine) -> None:
    text = "x" * 600
    assert error_of(api.chat(text), 400)["code"] == "context_length_exceeded"
    assert api.chat(text, truncate_prompt_tokens=-1, max_tokens=10).status_code == 200
    assert len(engine.requests[0].prompt_ids) == 490
    assert bytes(engine.requests[0].prompt_ids).endswith(b"x\n[assistant]")


def test_an_echo_is_of_what_was_kept(api: Api) -> None:
    fields = {"truncate_prompt_tokens": 3, "logprobs": 0, "echo": True}
    for prompt in ("abcd", [97, 98, 99, 100]):
        (choice,) = api.complete(prompt, **fields).json()["choices"]
        whole = "cd" if prompt == "abcd" else "bcd"
        assert choice["text"] == f"{whole}Hello world!"
        offsets = [0, 0, 1, 2] if prompt == "abcd" else [0, 1, 2, 3]
        assert choice["logprobs"]["text_offset"][:4] == offsets


def test_special_tokens_around_the_prompt(api: Api, engine: FakeEngine) -> None:
    api.complete("a")
    api.complete("a", add_special_tokens=False)
    api.chat("a", add_special_tokens=True)
    plain, bare, chat = (request.prompt_ids for request in engine.requests)
    assert (plain, bare) == ((BOS, 97), (97,))
    assert chat[:2] == (BOS, BOS)  # the template writes one, too


def test_prompt_logprobs(api: Api, engine: FakeEngine) -> None:
    body = api.complete(["ab", [99, 100]], prompt_logprobs=2, n=2, logprobs=0).json()
    first, second, third, _ = body["choices"]
    assert first["prompt_logprobs"] == second["prompt_logprobs"]
    assert first["prompt_logprobs"] == [
        None,
        {
            "97": {"logprob": -0.5, "rank": 1, "decoded_token": "a"},
            "98": {"logprob": -1.5, "rank": 2, "decoded_token": "b"},
        },
        {
            "98": {"logprob": -0.5, "rank": 1, "decoded_token": "b"},
            "99": {"logprob": -1.5, "rank": 2, "decoded_token": "c"},
        },
    ]
    assert len(third["prompt_logprobs"]) == 2
    asked = [request.params.prompt_logprobs for request in engine.requests]
    assert asked == [2, None, 2, None]  # once a prompt

    body = api.chat("a", prompt_logprobs=0).json()
    assert body["prompt_logprobs"][0] is None
    assert len(body["prompt_logprobs"]) == body["usage"]["prompt_tokens"]


def test_echo_and_prompt_logprobs_each_have_their_count(api: Api, engine: FakeEngine) -> None:
    fields = {"echo": True, "logprobs": 1, "prompt_logprobs": 3, "add_special_tokens": False}
    (choice,) = api.complete("ab", **fields).json()["choices"]
    assert choice["logprobs"]["top_logprobs"][1] == {"b": -0.5}
    assert list(choice["prompt_logprobs"][1]) == ["98", "99", "100"]
    assert engine.requests[0].params.prompt_logprobs == 3


def test_every_choice_echoes_with_logprobs(api: Api) -> None:
    choices = api.complete("ab", echo=True, logprobs=0, n=2).json()["choices"]
    assert choices[0]["logprobs"] == choices[1]["logprobs"]
    assert choices[1]["logprobs"]["tokens"][:3] == ["<bos>", "a", "b"]


def test_token_ids(api: Api, engine: FakeEngine) -> None:
    answer = [HELLO, WORLD, 33, EOS]
    (choice,) = api.complete("ab", return_token_ids=True).json()["choices"]
    assert (choice["prompt_token_ids"], choice["token_ids"]) == ([BOS, 97, 98], answer)
    body = api.chat("ab", return_token_ids=True).json()
    assert body["prompt_token_ids"] == list(engine.requests[-1].prompt_ids)
    assert body["choices"][0]["token_ids"] == answer


def test_token_ids_in_streams(api: Api, engine: FakeEngine) -> None:
    answer = [HELLO, WORLD, 33, EOS]
    chunks = chunks_of(api.complete("ab", return_token_ids=True, stream=True, n=2))
    for index in (0, 1):
        own = [c["choices"][0] for c in chunks if c["choices"][0]["index"] == index]
        assert [i for choice in own for i in choice["token_ids"]] == answer
        prompts = [choice.get("prompt_token_ids") for choice in own]
        assert prompts == [[BOS, 97, 98], *[None] * (len(own) - 1)]
    chunks = chunks_of(api.chat("ab", return_token_ids=True, stream=True, stop="ld!"))
    ids = [i for chunk in chunks for i in chunk["choices"][0].get("token_ids", ())]
    assert ids == [HELLO, WORLD, 33]
    prompts = [chunk.get("prompt_token_ids") for chunk in chunks]
    assert prompts == [list(engine.requests[-1].prompt_ids), *[None] * (len(chunks) - 1)]


def test_tokens_can_be_named_by_id(api: Api) -> None:
    fields = {"return_tokens_as_token_ids": True}
    logprobs = api.complete(logprobs=1, **fields).json()["choices"][0]["logprobs"]
    assert logprobs["tokens"][0] == f"token_id:{HELLO}"
    assert list(logprobs["top_logprobs"][0]) == [f"token_id:{HELLO}"]
    chat = api.chat(logprobs=True, top_logprobs=1, **fields).json()
    entry = chat["choices"][0]["logprobs"]["content"][0]
    assert entry["token"] == entry["top_logprobs"][0]["token"] == f"token_id:{HELLO}"
    assert entry["bytes"] == list(b"Hello")


def test_usage_in_every_chunk(api: Api) -> None:
    options = {"continuous_usage_stats": True, "include_usage": True}
    for send in (api.chat, api.complete):
        *chunks, last = chunks_of(send(stream=True, stream_options=options))
        counts = [chunk["usage"]["completion_tokens"] for chunk in chunks]
        assert counts == sorted(counts)
        assert (counts[-1], last["usage"]["completion_tokens"]) == (4, 4)
        assert last["choices"] == []
        alone = chunks_of(send(stream=True, stream_options={"continuous_usage_stats": True}))
        assert all(chunk["choices"] and chunk["usage"] for chunk in alone)


def test_priority_and_salt(api: Api, engine: FakeEngine) -> None:
    api.chat(priority=-3, cache_salt="tenant")
    api.complete(n=2)
    chat, *completions = engine.requests
    assert (chat.priority, chat.cache_salt) == (-3, "tenant")
    assert {(request.priority, request.cache_salt) for request in completions} == {(0, "")}


def test_a_message_is_continued(api: Api, engine: FakeEngine) -> None:
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Once upon "},
    ]
    fields: dict[str, object] = {"messages": messages, "continue_final_message": True}
    assert api.chat(**fields).status_code == 200
    assert api.chat(add_generation_prompt=False, **fields).status_code == 200
    assert api.chat(add_generation_prompt=False, messages=messages).status_code == 200
    continued, same, whole = (bytes(request.prompt_ids[1:]) for request in engine.requests)
    assert continued == same == b"[user]Hi\n[assistant]Once upon "
    assert whole == b"[user]Hi\n[assistant]Once upon \n"
    error = error_of(api.chat(add_generation_prompt=True, **fields), 400)
    assert error["param"] == "continue_final_message"


def test_hosted_fields_are_accepted_by_completions_too(api: Api) -> None:
    fields = {"store": True, "metadata": {"a": "b"}, "user": "u", "service_tier": "flex"}
    more = {"safety_identifier": "x", "prompt_cache_key": "k", "prompt_cache_retention": "24h"}
    assert texts(api, **fields, **more) == ["Hello world!"] * 4


def test_lenient_mode_does_not_excuse_bad_values(engine: FakeEngine) -> None:
    api = Api(create_app(FakeModel(engine), ServerSettings(lenient=True)))
    assert api.complete(no_such_field=json.dumps({})).status_code == 200
    assert error_of(api.complete(truncate_prompt_tokens=0), 400)["param"]


def test_a_long_list_of_bad_words_is_encoded_off_the_loop(api: Api, engine: FakeEngine) -> None:
    def script(request: Request) -> list[int]:
        return says(str(len(request.params.bad_words)))

    engine.script = script
    words = [f"w{number}" for number in range(200)]
    assert api.complete(bad_words=words).json()["choices"][0]["text"] == "400"
