"""Structured output of a real model at temperature 1, through the real SDK."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import httpx
import pytest
from json_schemas import Schema, format_checker, schemas
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field
from running_server import RunningServer

from .servers import sdk, wait_until_idle

pytestmark = pytest.mark.e2e

MODEL = "smollm2-135m"
CLIENTS = 5
SCHEMAS = 10  # of growing size; benchmarks/structured_output.py asks for 300


class Person(BaseModel):
    name: str = Field(max_length=20)
    age: int = Field(ge=0, le=120)
    pets: list[Literal["dog", "cat", "größter Fisch"]] = Field(max_length=3)


def test_pydantic_models_through_the_sdk(smollm2: RunningServer) -> None:
    with sdk(smollm2) as client:
        for seed in range(3):
            answer = client.beta.chat.completions.parse(
                model=MODEL,
                messages=[{"role": "user", "content": "Describe a person with pets, as JSON."}],
                response_format=Person,
                temperature=1.0,
                seed=seed,
                max_tokens=300,
            )
            assert answer.choices[0].finish_reason == "stop"
            assert isinstance(answer.choices[0].message.parsed, Person)


def test_schemas_of_growing_size(smollm2: RunningServer) -> None:
    """Whole and streamed in turn, at most CLIENTS at a time; one question a schema."""
    with sdk(smollm2) as client:

        def ask(number: int, schema: Schema) -> tuple[str, str | None]:
            named = {"name": f"schema_{number}", "schema": schema, "strict": True}
            parts = client.chat.completions.create(  # type: ignore[call-overload]
                model=MODEL,
                messages=[{"role": "user", "content": f"An example of {json.dumps(schema)[:400]}"}],
                response_format={"type": "json_schema", "json_schema": named},
                temperature=1.0,
                seed=number,
                max_tokens=300,
                stream=bool(number % 2),
            )
            if number % 2 == 0:
                return parts.choices[0].message.content, parts.choices[0].finish_reason
            chunks = [chunk.choices[0] for chunk in parts]
            text = "".join(chunk.delta.content or "" for chunk in chunks)
            return text, chunks[-1].finish_reason

        made = schemas(SCHEMAS, seed=11)
        with ThreadPoolExecutor(CLIENTS) as threads:
            answers = list(threads.map(ask, range(SCHEMAS), made))
    complete = 0
    for schema, (text, reason) in zip(made, answers, strict=True):
        if reason == "stop":
            complete += 1
            checker = Draft202012Validator(schema, format_checker=format_checker())
            checker.validate(json.loads(text))
    assert complete > SCHEMAS // 2
    wait_until_idle(smollm2)


@pytest.mark.parametrize(
    ("constraint", "pattern"),
    [
        ({"regex": r"[A-Z]{3}-\d{4}"}, r"[A-Z]{3}-\d{4}"),
        ({"choice": ["positive", "negative", "😐 neutral"]}, "positive|negative|😐 neutral"),
        ({"grammar": 'start: "<" WORD ("," WORD)* ">"\nWORD: /[a-z]{1,5}/'}, "<[a-z,]+>?"),
    ],
)
def test_other_constraints_with_several_choices(
    smollm2: RunningServer, constraint: dict[str, object], pattern: str
) -> None:
    body = {
        "prompt": "Something:",
        "n": 3,
        "temperature": 1.0,
        "logprobs": 1,
        "max_tokens": 40,
        "structured_outputs": constraint,
    }
    with httpx.Client(base_url=smollm2.url, timeout=60) as http:
        answer = http.post("/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    for choice in answer.json()["choices"]:
        assert re.fullmatch(pattern, choice["text"])
        assert len(choice["logprobs"]["tokens"]) > 0


def test_a_schema_that_cannot_be_honoured_is_refused(smollm2: RunningServer) -> None:
    named = {"name": "a", "schema": {"not": {"type": "string"}}}
    body = {
        "messages": [{"role": "user", "content": "Hi"}],
        "response_format": {"type": "json_schema", "json_schema": named},
    }
    with httpx.Client(base_url=smollm2.url, timeout=60) as http:
        answer = http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "response_format"
    assert "not" in answer.json()["error"]["message"]
