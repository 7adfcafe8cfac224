"""Structured output with a real model: are all answers valid, and what do the masks cost?

    python benchmarks/structured_output.py [MODEL] [--models_file tests/models.yaml]
        [--schemas 300] [--streams 8] [--rounds 5] [--json]

Answers to made-up schemas are sampled at temperature 1 and checked by the `jsonschema` package.
Then tokens/s of `--streams` streams are compared, free and under a JSON Schema that nothing ends
before max_tokens, in turns; `--schemas 0` or `--rounds 0` leaves one of the two out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

from json_schemas import Schema, format_checker, schemas
from jsonschema import Draft202012Validator
from report import print_report

from ftllm import LLM, Grammar, RequestOutput, SamplingParams

SEED = 7
MAX_TOKENS = 1500
SPEED_TOKENS = 128
GROUPS = 6  # of schemas, by size
PEOPLE = {
    "type": "array",
    "minItems": 500,
    "items": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 30},
            "age": {"type": "integer", "minimum": 0, "maximum": 120},
            "color": {"enum": ["red", "green", "blue"]},
            "email": {"type": "string", "pattern": "^[a-z.]{1,20}@[a-z]{1,10}\\.com$"},
        },
        "required": ["name", "age", "color", "email"],
        "additionalProperties": False,
    },
}


def ask(llm: LLM, made: list[Schema]) -> list[RequestOutput]:
    """All at once; the prompt shows the schema."""
    prompts = [
        [{"role": "user", "content": f"Make up an example of:\n{json.dumps(s)[:300]}"}]
        for s in made
    ]
    params = [
        SamplingParams(
            temperature=1.0, seed=number, max_tokens=MAX_TOKENS, grammar=Grammar.json_schema(schema)
        )
        for number, schema in enumerate(made)
    ]
    return llm.chat(prompts, params, progress=False)


def fault(schema: Schema, text: str) -> str | None:
    """What is wrong with an answer."""
    try:
        value = json.loads(text)
    except ValueError as error:
        return f"no JSON: {error}"
    checker = Draft202012Validator(schema, format_checker=format_checker())
    error = next(iter(checker.iter_errors(value)), None)
    return None if error is None else error.message


def validity(llm: LLM, count: int) -> list[dict[str, object]]:
    """A row for each group of schemas."""
    made = schemas(count, seed=SEED)
    outputs = ask(llm, made)
    rows = []
    size = -(-count // GROUPS)
    for start in range(0, count, size):
        group = list(zip(made, outputs, strict=True))[start : start + size]
        stopped = [(s, o.outputs[0]) for s, o in group if o.outputs[0].finish_reason == "stop"]
        faults = [found for s, o in stopped if (found := fault(s, o.text)) is not None]
        for found in faults:
            print(f"invalid: {found[:200]}")
        rows.append(
            {
                "schemas": f"{start + 1}-{start + len(group)}",
                "characters": round(statistics.mean(len(json.dumps(s)) for s, _ in group)),
                "tokens": round(statistics.mean(o.output_tokens for _, o in group)),
                "complete": len(stopped),
                "valid": len(stopped) - len(faults),
                "cut by max_tokens": len(group) - len(stopped),
            }
        )
    return rows


def compile_times(llm: LLM, count: int) -> dict[str, object]:
    """Of a few of the schemas, each new to the compiler."""
    compiler = llm.loaded.grammars
    compiler.compile(Grammar.regex("a"))  # makes the vocabulary
    times = []
    for schema in schemas(count, seed=SEED + 1)[:: max(1, count // 30)]:
        begin = time.perf_counter()
        compiler.compile(Grammar.json_schema(schema))
        times.append(1000 * (time.perf_counter() - begin))
    return {
        "schemas": len(times),
        "median ms": round(statistics.median(times), 1),
        "worst ms": round(max(times), 1),
    }


def rate(llm: LLM, streams: int, grammar: Grammar | None) -> float:
    """Tokens a second; prompts are in the prefix cache."""
    prompts = [
        [{"role": "user", "content": f"List {number + 100} people as JSON, with all fields."}]
        for number in range(streams)
    ]
    warm_up = SamplingParams(max_tokens=1)
    params = SamplingParams(
        temperature=1.0,
        seed=1,
        max_tokens=SPEED_TOKENS,
        ignore_eos=grammar is None,
        grammar=grammar,
    )
    llm.chat(prompts, warm_up, progress=False)
    begin = time.perf_counter()
    outputs = llm.chat(prompts, params, progress=False)
    seconds = time.perf_counter() - begin
    tokens = sum(output.output_tokens for output in outputs)
    if tokens != streams * SPEED_TOKENS:
        raise RuntimeError(f"{tokens} tokens, not {streams} x {SPEED_TOKENS}")
    return tokens / seconds


def speed(llm: LLM, streams: int, rounds: int) -> list[dict[str, object]]:
    """Both in turn, and which goes first alternates."""
    grammar = Grammar.json_schema(PEOPLE)
    rate(llm, streams, None)
    rate(llm, streams, grammar)
    free: list[float] = []
    masked: list[float] = []
    for number in range(rounds):
        pair = [(free, None), (masked, grammar)]
        for rates, chosen in pair if number % 2 == 0 else pair[::-1]:
            rates.append(rate(llm, streams, chosen))
    ratios = [new / old for old, new in zip(free, masked, strict=True)]
    return [
        {
            "case": f"decode, {streams} streams, tokens/s",
            "free": round(statistics.median(free), 1),
            "masked": round(statistics.median(masked), 1),
            "ratio": round(statistics.median(ratios), 3),
            "worst": round(min(ratios), 3),
            "best": round(max(ratios), 3),
        }
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", nargs="?", help="a MODEL; default: the default small model")
    parser.add_argument("--models_file", type=Path)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--schemas", type=int, default=300)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with LLM(
        options.model,
        models_file=options.models_file,
        threads=options.threads,
        tokens=32768,
        max_batch=32,
        progress=False,
    ) as llm:
        if options.rounds:
            rows = speed(llm, options.streams, options.rounds)
            print_report("Cost of masks", rows, as_json=options.json)
            print_report("Compiling", [compile_times(llm, 300)], as_json=options.json)
        if options.schemas:
            rows = validity(llm, options.schemas)
            print_report("Answers to JSON Schemas", rows, as_json=options.json)


if __name__ == "__main__":
    main()
