"""Grammars keep the engine's promise: the same bits alone, among others, with and without drafts.

Every request runs alone without drafts; then with them alone, and among all others in an engine
that is too small for them, on two threads. The vocabulary is a character a token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers.models import BPE

from ftllm.engine.build import BuildOptions
from ftllm.engine.engine import Engine
from ftllm.engine.engine_config import EngineConfig
from ftllm.engine.params import SamplingParams
from ftllm.engine.request import FinishReason, Request
from ftllm.text.grammar import Grammar, Thinking
from ftllm.text.grammar_compiler import GrammarCompiler
from ftllm.text.tokenizer import SpecialTokens, Tokenizer
from ftllm.text.vocabulary import Spelling, Vocabulary
from tests.engine.models.quantized_llama import write_quantized_llama
from tests.engine.models.steps import build
from tests.test_speculation_invariance import Runner

_ROOMY = BuildOptions(
    dtype="auto", threads=1, tokens=4096, max_batch=16, max_batched_tokens=256, max_model_len=256
)
_CROWDED = replace(_ROOMY, threads=2, tokens=256, max_batched_tokens=40)
_CHARACTERS = 'abcdefghijklmnopqrstuvwxyz0123456789{}[]":,.-+<>/=!?()_#$%&*;@|'
_EOS = len(_CHARACTERS)

LIST = {
    "type": "array",
    "minItems": 3,
    "maxItems": 6,
    "items": {
        "type": "object",
        "properties": {"name": {"enum": ["ab", "abc", "b"]}, "n": {"type": "integer"}},
        "required": ["name"],
        "additionalProperties": False,
    },
}
CALL = r"\([a-c]{2,5}\)"


def tokenizer() -> Tokenizer:
    pieces = [*_CHARACTERS, "~"]
    assert len(pieces) == 64
    backend = tokenizers.Tokenizer(
        BPE(vocab={piece: place for place, piece in enumerate(pieces)}, merges=[])
    )
    special = SpecialTokens(
        eos_token_id=_EOS, eos_token_ids=frozenset({_EOS}), special_ids=frozenset({_EOS})
    )
    vocabulary = Vocabulary(pieces, spelling=Spelling.BYTE_LEVEL, literal_ids={_EOS})
    return Tokenizer(backend, vocabulary, special)


def grammars() -> dict[str, Grammar | None]:
    schema = Grammar.json_schema(LIST, whitespace="")
    thinking = Thinking(ends=("!", "?"), limit=9)
    return {
        "schema": schema,
        "regex": Grammar.regex("(abc|de)*f"),
        "choice": Grammar.choice(["aaaaaaaaaaaaaaaaaaaab", "aaaaaaaaaaaac", "b"]),
        "thinking": replace(schema, thinking=thinking),
        "maybe thinking": replace(schema, thinking=replace(thinking, starts=("<a>", "b"))),
        "calls": replace(Grammar.regex(CALL), triggers=("a", "=b")),
        "one call": replace(Grammar.regex(CALL), triggers=("a", "=b"), repeats=False),
        "free": None,
    }


def requests_of(compiler: GrammarCompiler) -> list[Request]:
    rng = np.random.default_rng(5)
    shared = rng.integers(0, 62, 37).tolist()
    made = []
    for number, (name, grammar) in enumerate(grammars().items()):
        for temperature in (0.0, 1.2):
            params = SamplingParams(
                temperature=temperature,
                seed=number,
                max_tokens=80,
                stop_token_ids=frozenset({_EOS}),
                logprobs=2 if number % 2 else None,
                frequency_penalty=0.2 if number % 3 == 1 else 0.0,
                logit_bias={_CHARACTERS.index("a"): 4.0, _CHARACTERS.index("!"): 3.0},
                grammar=None if grammar is None else compiler.compile(grammar),
            )
            own = rng.integers(0, 62, 5 + number).tolist()
            prompt = (*shared, *own, *shared[: 3 * number], *own)
            made.append(
                Request(request_id=f"{name} {temperature}", prompt_ids=prompt, params=params)
            )
    return made


@contextmanager
def running(
    path: Path, options: BuildOptions, speculative: str, compiler: GrammarCompiler
) -> Iterator[Runner]:
    built = build(path, options)
    config = EngineConfig(
        max_model_len=built.config.max_model_len,
        max_batch=options.max_batch,
        max_batched_tokens=options.max_batched_tokens,
        vocab_size=built.config.vocab_size,
        speculative=speculative,
    )
    engine = Engine(built.executor, config, mask_filler=compiler)
    engine.start()
    try:
        yield Runner(engine)
    finally:
        engine.shutdown()
        engine.check()


def keeps_to(name: str, text: str) -> bool:
    """Whether a complete answer is one of its grammar's."""
    if "thinking" in name and not text.startswith("["):
        text = re.split("[!?]", text, maxsplit=1)[1]
    match name.split()[0]:
        case "schema" | "thinking" | "maybe":
            return 3 <= len(json.loads(text)) <= 6
        case "regex":
            return re.fullmatch("(abc|de)*f", text) is not None
        case "choice":
            return text.strip("a") in ("b", "c")
        case "calls" | "one":
            return calls_match(text)
    return True


def calls_match(text: str) -> bool:
    """Behind each trigger that is in no call comes a call."""
    place = 0
    while (trigger := re.search("a|=b", text[place:])) is not None:
        place += trigger.end()
        call = re.match(CALL, text[place:])
        if call is None:
            return False
        place += call.end()
    return True


@pytest.mark.parametrize("weights", ["f32", "q4_k"])
def test_alone_among_others_and_with_drafts(weights: str, tmp_path: Path) -> None:
    path = write_quantized_llama(tmp_path / "model.gguf", weights)
    spelling = tokenizer()
    vocab_size = build(path, _ROOMY).config.vocab_size  # more than there are characters
    compiler = GrammarCompiler(spelling, vocab_size=vocab_size, eos_token_ids=frozenset({_EOS}))
    requests = requests_of(compiler)
    with running(path, _ROOMY, "off", compiler) as plain:
        expected = [plain.run([request])[0] for request in requests]
    for request, answer in zip(requests, expected, strict=True):
        text = spelling.decode(answer.token_ids)
        assert answer.reason in (FinishReason.STOP, FinishReason.LENGTH)
        complete = answer.reason is FinishReason.STOP
        assert not complete or keeps_to(request.request_id, text), (request.request_id, text)
    assert sum(answer.reason is FinishReason.STOP for answer in expected) >= 6
    with running(path, _ROOMY, "ngram", compiler) as alone:
        for request, wanted in zip(requests, expected, strict=True):
            assert alone.run([request])[0] == wanted
        assert alone.stats().accepted_tokens > 30
    with running(path, _CROWDED, "ngram", compiler) as together:
        for _ in range(2):
            assert together.run(requests) == expected
        assert together.stats().preemptions > 0
        assert together.stats().prefix_hit_tokens > 0
