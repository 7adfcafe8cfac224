"""How many of the calls that a real model is asked for can be used as they are.

    python benchmarks/tool_calls.py [MODEL] [--models_file FILE] [--rounds 100] [--json]

Starts `ftllm server`, or asks the one at --url, through the OpenAI SDK. At temperature 1 and with a
seed of its own, each round asks for any call (`tool_choice: required`) and for a named one, about
something that no tool is for. A call counts when it ended by itself, its arguments are JSON, and
they fit the schema of its tool.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openai import OpenAI
from openai.types.chat.chat_completion import Choice
from report import print_report
from running_server import RunningServer

TOPICS = ("Łódź", "a broken bicycle", "prime numbers", "tea", "the letter Q", "your day")
BOOK = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "year": {"type": "integer", "minimum": 1450, "maximum": 2100},
        "genres": {"type": "array", "items": {"enum": ["novel", "poetry", "science"]}},
        "author": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "is_alive": {"type": "boolean"}},
            "required": ["name"],
            "additionalProperties": False,
        },
    },
    "required": ["title", "year", "author"],
    "additionalProperties": False,
}
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
    "required": ["city", "unit"],
}
SCHEMAS: dict[str, dict[str, Any]] = {"store_book": BOOK, "get_weather": WEATHER}
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": schema}}
    for name, schema in SCHEMAS.items()
]
NAMED = {"type": "function", "function": {"name": "store_book"}}


def fits(value: object, schema: dict[str, Any]) -> bool:
    """By the keywords that the schemas above use."""
    match schema.get("type"):
        case "object":
            if not isinstance(value, dict) or set(schema["required"]) - set(value):
                return False
            members = schema["properties"]
            return all(key in members and fits(value[key], members[key]) for key in value)
        case "array":
            return isinstance(value, list) and all(fits(item, schema["items"]) for item in value)
        case "integer":
            low, high = schema["minimum"], schema["maximum"]
            return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        case "boolean":
            return isinstance(value, bool)
        case "string":
            return isinstance(value, str)
    return value in schema["enum"]


def is_usable(choice: Choice, name: str | None) -> bool:
    """One call, complete, of the tool that was named."""
    calls = choice.message.tool_calls or []
    if choice.finish_reason != "tool_calls" or len(calls) != 1 or calls[0].type != "function":
        return False
    function = calls[0].function
    if name is not None and function.name != name:
        return False
    try:
        return fits(json.loads(function.arguments), SCHEMAS[function.name])
    except (ValueError, KeyError):
        return False


def run(client: OpenAI, *, rounds: int) -> list[dict[str, object]]:
    (model,) = client.models.list()
    rows = []
    for label, choice, name in (("required", "required", None), ("named", NAMED, "store_book")):
        usable, tokens = 0, 0
        reasons: dict[str, int] = {}
        begin = time.perf_counter()
        for number in range(rounds):
            topic = TOPICS[number % len(TOPICS)]
            answer = client.chat.completions.create(
                model=model.id,
                messages=[{"role": "user", "content": f"Tell me something about {topic}."}],
                tools=TOOLS,
                tool_choice=choice,
                parallel_tool_calls=False,
                temperature=1,
                seed=number,
                max_tokens=1024,
            )  # type: ignore[call-overload]
            usable += is_usable(answer.choices[0], name)
            tokens += answer.usage.completion_tokens
            reason = answer.choices[0].finish_reason
            reasons[reason] = reasons.get(reason, 0) + 1
        rows.append(
            {
                "tool_choice": label,
                "usable": f"{usable} of {rounds}",
                "finish reasons": ", ".join(f"{key} {count}" for key, count in reasons.items()),
                "tokens a call": round(tokens / rounds, 1),
                "seconds": round(time.perf_counter() - begin, 1),
            }
        )
    return rows


@contextmanager
def server(options: argparse.Namespace) -> Iterator[str]:
    if options.url is not None:
        yield options.url
        return
    arguments = [options.model] if options.model is not None else []
    if options.models_file is not None:
        arguments += ["--models_file", str(options.models_file.resolve())]
    with RunningServer([*arguments, "--tokens", "8192"]) as started:
        yield started.url


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", nargs="?", help="a MODEL whose template knows tools")
    parser.add_argument("--models_file", type=Path)
    parser.add_argument("--url", help="a server that runs already")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with server(options) as url, OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        rows = run(client, rounds=options.rounds)
    print_report("Calls of a model at temperature 1", rows, as_json=options.json)


if __name__ == "__main__":
    main()
