"""The offline API over a scripted engine."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from scripted_model import EOS, fake_model, no_defaults

import ftllm.llm
from ftllm import LLM, SamplingParams
from ftllm.engine.params import SamplingParams as EngineParams
from ftllm.engine.pooling import EmbeddingParams, PoolingMethod
from ftllm.engine.request import Request
from ftllm.errors import (
    ContextLengthError,
    EngineStoppedError,
    FtllmError,
    QueueFullError,
    RequestError,
)
from ftllm.llm import TokenIds
from ftllm.loading import LoadedModel, LoadOptions
from ftllm.progress import Progress, SilentProgress


@contextmanager
def opened(model: LoadedModel) -> Iterator[LLM]:
    with LLM.from_loaded(model, progress=SilentProgress()) as llm:
        yield llm


def text_of(llm: LLM, prompt: str | TokenIds, params: SamplingParams | None = None) -> str:
    return llm.generate(prompt, params)[0].outputs[0].text


def test_one_prompt() -> None:
    model, _ = fake_model()
    with opened(model) as llm:
        (result,) = llm.generate("abc")
    assert result.prompt == "abc"
    assert result.prompt_token_ids == tuple(b"abc")
    assert result.outputs[0].text == "<abc>"
    assert result.outputs[0].token_ids == (*b"<abc>", EOS)
    assert result.outputs[0].finish_reason == "stop"
    assert result.outputs[0].logprobs is None
    assert (result.prompt_tokens, result.cached_tokens, result.output_tokens) == (3, 1, 6)


def test_many_prompts_come_back_in_order_and_never_overfill_the_queue() -> None:
    model, engine = fake_model(lambda prompt: prompt * (7 - int(prompt) % 7))
    prompts = [str(number) for number in range(100)]
    with opened(model) as llm:
        results = llm.generate(prompts, SamplingParams(temperature=0))
    assert [result.outputs[0].text for result in results] == [
        prompt * (7 - int(prompt) % 7) for prompt in prompts
    ]
    assert engine.most_live == engine.config.max_batch + engine.config.max_queue
    assert engine.refusals == 0


def test_waits_while_others_fill_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    model, engine = fake_model()
    submit = engine.submit
    refusals = iter(range(3))

    def refuse_thrice(*args: object) -> None:
        if next(refusals, None) is not None:
            raise QueueFullError("The queue is full.")
        submit(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "submit", refuse_thrice)
    with opened(model) as llm:
        assert text_of(llm, "a") == "<a>"
    assert next(refusals, None) is None


@pytest.mark.parametrize(
    ("prompts", "answers"),
    [
        ("hi", ["<hi>"]),
        (["hi", "ho"], ["<hi>", "<ho>"]),
        ([104, 105], ["<hi>"]),
        ([[104, 105], [104]], ["<hi>", "<h>"]),
        (["hi", [104]], ["<hi>", "<h>"]),
        ([], []),
    ],
)
def test_prompts_are_texts_or_token_ids(prompts: list[str], answers: list[str]) -> None:
    model, _ = fake_model()
    with opened(model) as llm:
        assert [result.outputs[0].text for result in llm.generate(prompts)] == answers


def test_a_prompt_of_token_ids_has_no_text() -> None:
    model, _ = fake_model()
    with opened(model) as llm:
        assert llm.generate([104])[0].prompt is None


def test_stop_string_across_tokens_ends_the_answer_and_aborts() -> None:
    model, engine = fake_model(lambda prompt: "one two three" + "." * 150)
    with opened(model) as llm:
        (result,) = llm.generate("x", SamplingParams(stop="two"))
        assert result.outputs[0].text == "one "
        assert result.outputs[0].token_ids == tuple(b"one two")
        assert result.outputs[0].finish_reason == "stop"
        assert engine.aborted == [engine.requests[0].request_id]
        kept = SamplingParams(stop=["zzz", "two"], include_stop_str_in_output=True)
        assert text_of(llm, "x", kept) == "one two"


def test_stop_token_of_the_user_is_not_in_the_text_unless_asked_for() -> None:
    model, _ = fake_model(lambda prompt: "one.two")
    stop = (ord("."),)
    with opened(model) as llm:
        (result,) = llm.generate("x", SamplingParams(stop_token_ids=stop))
        assert result.outputs[0].text == "one"
        assert result.outputs[0].token_ids == tuple(b"one.")
        kept = SamplingParams(stop_token_ids=stop, include_stop_str_in_output=True)
        assert text_of(llm, "x", kept) == "one."


def test_allowed_tokens_and_bad_words_reach_the_engine() -> None:
    model, engine = fake_model(lambda prompt: "ok")
    with opened(model) as llm:
        llm.generate("x", SamplingParams(allowed_token_ids=[5, 7], bad_words=["no"]))
    (request,) = engine.requests
    assert request.params.allowed_token_ids == {5, 7}
    assert request.params.bad_words == (tuple(b"no"), tuple(b" no"))


def test_ignore_eos_and_special_tokens() -> None:
    model, _ = fake_model(lambda prompt: "ab")
    with opened(model) as llm:
        params = SamplingParams(ignore_eos=True, max_tokens=5)
        (result,) = llm.generate("x", params)
        assert result.outputs[0].text == "abab"
        assert result.outputs[0].finish_reason == "length"
        shown = dataclasses.replace(params, skip_special_tokens=False)
        assert text_of(llm, "x", shown) == "ab<eos>ab"


def test_incomplete_character_is_flushed_at_the_end() -> None:
    model, _ = fake_model(lambda prompt: "é")
    with opened(model) as llm:
        assert text_of(llm, "x", SamplingParams(max_tokens=1)) == "\ufffd"


def test_n_answers_are_requests_of_their_own_with_seeds_in_a_row() -> None:
    model, engine = fake_model()
    with opened(model) as llm:
        (result,) = llm.generate("x", SamplingParams(n=3, seed=2**64 - 2, prompt_logprobs=0))
    assert [output.index for output in result.outputs] == [0, 1, 2]
    assert [request.params.seed for request in engine.requests] == [2**64 - 2, 2**64 - 1, 0]
    assert [request.params.prompt_logprobs for request in engine.requests] == [0, None, None]
    assert len({request.request_id for request in engine.requests}) == 3


def test_drafts_are_summed_over_the_answers() -> None:
    with opened(fake_model(drafts=(9, 5))[0]) as llm:
        (result,) = llm.generate("hi", SamplingParams(n=2))
    assert (result.drafted_tokens, result.accepted_tokens) == (18, 10)


def test_logprobs_carry_the_tokens_text() -> None:
    model, _ = fake_model(lambda prompt: "z")
    with opened(model) as llm:
        (result,) = llm.generate("ab", SamplingParams(logprobs=2, prompt_logprobs=2))
    logprobs = result.outputs[0].logprobs
    assert logprobs is not None
    assert [entry.token for entry in logprobs] == ["z", "<eos>"]
    assert [(other.token, other.logprob) for other in logprobs[0].top] == [("z", -0.5), ("?", -1.5)]
    assert result.prompt_logprobs is not None
    assert result.prompt_logprobs[0] is None
    assert result.prompt_logprobs[1] is not None
    assert result.prompt_logprobs[1].token == "b"


def test_fields_left_out_take_the_models_defaults() -> None:
    defaults = dataclasses.replace(no_defaults(), temperature=0.25, top_k=7)
    model, engine = fake_model(defaults=defaults)
    with opened(model) as llm:
        llm.generate(["x", "x"], [SamplingParams(), SamplingParams(temperature=0.5, top_k=0)])
    first, second = (request.params for request in engine.requests)
    assert (first.temperature, first.top_k, first.top_p) == (0.25, 7, 1.0)
    assert (second.temperature, second.top_k) == (0.5, 0)
    assert first.stop_token_ids == {EOS}


def test_chat_renders_the_template_of_one_or_many_conversations() -> None:
    model, _ = fake_model()
    hello = [{"role": "user", "content": "hello"}]
    with opened(model) as llm:
        (one,) = llm.chat(hello)
        both = llm.chat([hello, [{"role": "user", "content": "bye"}]])
    assert one.outputs[0].text == "<user:hello;assistant:>"
    assert [result.outputs[0].text for result in both] == [
        "<user:hello;assistant:>",
        "<user:bye;assistant:>",
    ]


def test_chat_template_kwargs_reach_the_template() -> None:
    model, _ = fake_model(template="{{ mood }}{{ messages[0].content }}")
    with opened(model) as llm:
        (result,) = llm.chat(
            [{"role": "user", "content": "hi"}], chat_template_kwargs={"mood": "calm "}
        )
    assert result.outputs[0].text == "<calm hi>"


def test_chat_without_a_template_says_so() -> None:
    model, _ = fake_model(template=None)
    with (
        opened(model) as llm,
        pytest.raises(RequestError, match="scripted has no chat template") as caught,
    ):
        llm.chat([{"role": "user", "content": "hi"}])
    assert caught.value.param == "messages"


def test_stream_gives_deltas_and_then_the_result() -> None:
    model, _ = fake_model(lambda prompt: "añb")
    with opened(model) as llm:
        deltas = list(llm.stream_chat([{"role": "user", "content": "hi"}]))
        direct = "".join(delta.text for delta in llm.stream("hi"))
    assert "".join(delta.text for delta in deltas) == direct == "añb"
    assert [delta.text for delta in deltas][:4] == ["a", "", "ñ", "b"]
    assert [delta.result is None for delta in deltas] == [True] * (len(deltas) - 1) + [False]
    result = deltas[-1].result
    assert result is not None
    assert result.outputs[0].text == "añb"
    assert result.outputs[0].token_ids == tuple(
        token_id for delta in deltas for token_id in delta.token_ids
    )


def test_closing_a_stream_aborts_its_request() -> None:
    model, engine = fake_model(lambda prompt: "." * 10_000)
    with opened(model) as llm:
        stream = llm.stream("hi")
        next(stream)
        stream.close()
        assert engine.aborted == [engine.requests[0].request_id]


def test_a_stream_has_one_answer() -> None:
    model, engine = fake_model()
    with opened(model) as llm, pytest.raises(RequestError, match="n is 2"):
        next(llm.stream("hi", SamplingParams(n=2)))
    assert engine.requests == []


def test_a_prompt_that_does_not_fit_is_named_and_the_rest_aborted() -> None:
    model, engine = fake_model(lambda prompt: "." * 10_000, max_model_len=10)
    with opened(model) as llm:
        with pytest.raises(ContextLengthError, match=r"Prompt 1: 11 tokens"):
            llm.generate(["fine", "x" * 11])
        assert engine.aborted == [engine.requests[0].request_id]
        with pytest.raises(ContextLengthError, match=r"^11 tokens"):
            llm.generate("x" * 11)


def test_a_failed_request_raises_and_aborts_the_rest() -> None:
    model, engine = fake_model(lambda prompt: "." * 10_000, fail_on="bad")
    with opened(model) as llm, pytest.raises(FtllmError, match="out of luck"):
        llm.generate(["good", "bad"])
    assert engine.requests[0].request_id in engine.aborted


def test_params_must_match_the_prompts() -> None:
    model, _ = fake_model()
    with opened(model) as llm, pytest.raises(RequestError, match="2 entries for 1 prompts"):
        llm.generate("x", [SamplingParams(), SamplingParams()])


def test_closing_twice_and_using_it_afterwards() -> None:
    model, engine = fake_model()
    llm = LLM.from_loaded(model, progress=SilentProgress())
    llm.close()
    llm.close()
    with pytest.raises(EngineStoppedError):
        llm.generate("x")
    assert engine.live == 0


def test_an_llm_that_is_garbage_stops_its_engine() -> None:
    model, engine = fake_model()
    llm = LLM.from_loaded(model, progress=SilentProgress())
    del llm
    request = Request(request_id="late", prompt_ids=(1,), params=EngineParams())
    with pytest.raises(EngineStoppedError):
        engine.submit(request, print)


def test_options_reach_the_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[LoadOptions] = []

    def load(options: LoadOptions, *, progress: Progress) -> LoadedModel:
        seen.append(options)
        return fake_model()[0]

    monkeypatch.setattr(ftllm.llm, "load_model", load)
    LLM("some/model", dtype="int8", ori="there", max_batch=3, progress=False).close()
    (options,) = seen
    assert (options.model, options.dtype, options.max_batch) == ("some/model", "int8", 3)
    assert str(options.ori) == "there"


def test_every_load_option_is_a_parameter() -> None:
    names = {each.name for each in dataclasses.fields(LoadOptions)}
    assert names - {"model_name"} <= set(inspect.signature(LLM).parameters)


def test_embeddings_come_back_in_order_and_never_overfill_the_queue() -> None:
    model, engine = fake_model()
    texts = [f"{number:03}" for number in range(100)]
    with opened(model) as llm:
        results = llm.embed(texts, dimensions=2)
        (single,) = llm.embed(b"xyz")
    for text, result in zip(texts, results, strict=True):
        assert (result.prompt, result.prompt_token_ids) == (text, tuple(text.encode()))
        assert result.embedding == (ord(text[0]), ord(text[1]))
        assert result.cached_tokens == 1
    assert (single.prompt, single.embedding) == (None, (ord("x"), ord("y")))
    assert {request.pooling for request in engine.requests[:100]} == {
        EmbeddingParams(method=PoolingMethod.LAST, dimensions=2)
    }
    assert engine.most_live == engine.config.max_batch + engine.config.max_queue


def test_an_embedding_that_fails_aborts_the_rest() -> None:
    model, engine = fake_model(fail_on="bad", max_model_len=10)
    with opened(model) as llm:
        with pytest.raises(FtllmError, match="out of luck"):
            llm.embed(["good", "bad"])
        with pytest.raises(ContextLengthError, match="Prompt 1:"):
            llm.embed(["good", "x" * 20])
        assert engine.live == 0 or engine.aborted
        with pytest.raises(RequestError, match="dimensions is 0"):
            llm.embed("a", dimensions=0)


def test_scores_embed_each_text_once() -> None:
    model, engine = fake_model()
    with opened(model) as llm:
        scores = llm.score([("ab", "cd"), ("ab", "ab")])
    assert sorted(bytes(request.prompt_ids) for request in engine.requests) == [b"ab", b"cd"]
    a, b, c, d = b"abcd"
    assert scores == [a * c + b * d, a * a + b * b]
