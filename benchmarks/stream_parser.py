"""What parsing a stream costs: time for each piece of about a token, and the share of a core.

    python benchmarks/stream_parser.py [--rate 2000] [--json]

Answers of three kinds go through the parser in pieces of four characters: prose, reasoning with
prose behind it, and a call with a long argument.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence

from report import print_report

from ftllm.tool_parsers import OutputParser

PIECE = 4  # characters, about a token
LENGTH = 100_000  # characters of prose or code in an answer
REPEATS = 3
PROSE = "A model writes text, and some of it (say, 3 < 4) looks like a tag: <b> or <tool.\n\n"
CODE = 'def f(x):\n    return {"a": [x, 1.5], \'b\': "two"}  # <tag> & more\n'
TOOL: Mapping[str, object] = {
    "type": "function",
    "function": {
        "name": "write_file",
        "parameters": {
            "type": "object",
            "properties": {"path": {"type": "string"}, "content": {"type": "string"}},
        },
    },
}


def _json_string(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _calls() -> dict[str, str]:
    """One call by dialect, with `{}` in the place of a long string."""
    code = CODE * (LENGTH // len(CODE))
    json_code = _json_string(code)
    return {
        "hermes": '<tool_call>\n{"name": "write_file", "arguments": {"path": "a", "content": "'
        + json_code
        + '"}}\n</tool_call>',
        "qwen3_coder": "<tool_call>\n<function=write_file>\n<parameter=content>\n"
        + code
        + "\n</parameter>\n</function>\n</tool_call>",
        "llama3_json": '{"name": "write_file", "parameters": {"content": "' + json_code + '"}}',
        "mistral": '[TOOL_CALLS]write_file[ARGS]{"content": "' + json_code + '"}',
        "pythonic": '[write_file(content="' + json_code + '")]',
        "gemma4": '<|tool_call>call:write_file{content:<|"|>' + code + '<|"|>}<tool_call|>',
        "openai": "<|channel|>commentary to=functions.write_file <|constrain|>json<|message|>"
        '{"content": "' + json_code + '"}<|call|>',
    }


def _seconds_per_piece(text: str, tool_dialect: str, reasoning_dialect: str | None) -> float:
    """Time of the processor to feed one piece, in the best of some runs."""
    pieces = [text[at : at + PIECE] for at in range(0, len(text), PIECE)]
    runs = []
    for _ in range(REPEATS):
        parser = OutputParser(
            tools=[TOOL], tool_dialect=tool_dialect, reasoning_dialect=reasoning_dialect
        )
        start = time.process_time()
        for piece in pieces:
            parser.feed(piece)
        parser.finish("stop")
        runs.append(time.process_time() - start)
    return min(runs) / len(pieces)


def _row(
    kind: str, dialect: str, text: str, reasoning: str | None, rate: float
) -> dict[str, object]:
    seconds = _seconds_per_piece(text, dialect, reasoning)
    return {
        "answer": f"{kind}, {dialect}",
        "µs a piece": seconds * 1e6,
        f"% of a core at {rate:.0f}/s": 100 * seconds * rate,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    options.add_argument("--rate", type=float, default=2000, help="tokens a second of one stream")
    options.add_argument("--json", action="store_true", help="JSON on stdout, the table on stderr")
    chosen = options.parse_args(arguments)
    prose = PROSE * (LENGTH // len(PROSE))
    rows = []
    for dialect, call in _calls().items():
        channels = dialect == "openai"
        reasoning = "openai_gptoss" if channels else None
        final = "<|channel|>final<|message|>" if channels else ""
        rows.append(_row("prose", dialect, final + prose, reasoning, chosen.rate))
        if dialect == "hermes":
            text = f"<think>\n{prose}\n</think>\n\n{prose}"
            rows.append(_row("reasoning and prose", dialect, text, "qwen3", chosen.rate))
        rows.append(_row("call", dialect, call, reasoning, chosen.rate))
    print_report(
        f"Stream parser, pieces of {PIECE} characters",
        rows,
        as_json=chosen.json,
        notes=[f"One stream; time of the processor; the best of {REPEATS} runs."],
    )


if __name__ == "__main__":
    main()
