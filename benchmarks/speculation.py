"""Decode tokens/s with and without drafts (`--speculative ngram`), on text that repeats itself and
on text that does not.

    python benchmarks/speculation.py [MODEL] [--models_file tests/models.yaml] [--rounds 3] [--json]

Greedy; both ways give the same tokens, which is checked. "steps" are the decode steps that the
tokens took, "accepted" the share of drafts that were right.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from report import print_report

from ftllm import LLM, SamplingParams
from ftllm.llm import Message
from ftllm.outputs import RequestOutput

CODE = Path(__file__).with_name("report.py")
EDITS = (
    "Rename the function `percentile` to `quantile`.",
    "Rename the function `machine` to `hardware`.",
)
QUESTIONS = (
    "Write a short story about a lighthouse keeper who finds a letter.",
    "What are the main causes of the First World War?",
)
METHODS = ("off", "ngram")


@dataclass(frozen=True, slots=True)
class Task:
    """Conversations that are answered at the same time."""

    name: str
    prompts: tuple[list[Message], ...]
    temperature: float


@dataclass(frozen=True, slots=True)
class Run:
    """Of the tokens after the first of each answer."""

    rate: float  # tokens a second, all answers together
    steps: int
    results: list[RequestOutput]


def edit(instruction: str) -> list[Message]:
    text = f"Here is a file:\n```python\n{CODE.read_text()}```\n{instruction} Answer with the file."
    return [{"role": "user", "content": text}]


def question(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]


def tasks(streams: int) -> list[Task]:
    """One conversation at a time, and `streams` at once."""
    made = []
    for name, build, texts, temperature in (
        ("code with one change", edit, EDITS, 0.0),
        ("ordinary text, greedy", question, QUESTIONS, 0.0),
        ("ordinary text, sampled", question, QUESTIONS, 0.8),
    ):
        made += [
            Task(f"{name} ({number})", (build(text),), temperature)
            for number, text in enumerate(texts, 1)
        ]
        many = tuple(build(texts[place % len(texts)]) for place in range(streams))
        made.append(Task(f"{name}, {streams} streams", many, temperature))
    return made


def run(llm: LLM, task: Task, max_tokens: int) -> Run:
    """Prompts are in the prefix cache after a first answer of one token, so that nearly all of
    what is timed is decoding."""
    params = SamplingParams(temperature=task.temperature, seed=1, max_tokens=max_tokens)
    prompts = list(task.prompts)
    llm.chat(prompts, SamplingParams(max_tokens=1), progress=False)
    before, begin = llm.loaded.engine.stats().steps, time.perf_counter()
    results = llm.chat(prompts, params, progress=False)
    seconds = time.perf_counter() - begin
    steps = llm.loaded.engine.stats().steps - before
    return Run(sum(result.output_tokens for result in results) / seconds, steps, results)


def compare(llms: dict[str, LLM], task: Task, rounds: int, max_tokens: int) -> dict[str, object]:
    """Both in turn, and which goes first alternates."""
    runs: dict[str, list[Run]] = {method: [] for method in METHODS}
    for number in range(rounds):
        for method in METHODS if number % 2 == 0 else METHODS[::-1]:
            runs[method].append(run(llms[method], task, max_tokens))
    plain, drafted = (runs[method] for method in METHODS)
    answers = [[r.outputs[0].token_ids for r in one.results] for one in (*plain, *drafted)]
    if any(answer != answers[0] for answer in answers):
        raise RuntimeError(f"{task.name}: drafts changed an answer")
    ratios = [new.rate / old.rate for old, new in zip(plain, drafted, strict=True)]
    results = drafted[0].results
    proposed = sum(result.drafted_tokens for result in results)
    accepted = sum(result.accepted_tokens for result in results)
    return {
        "task": task.name,
        "tokens": sum(result.output_tokens for result in results),
        "tokens/s off": round(statistics.median(one.rate for one in plain), 1),
        "tokens/s ngram": round(statistics.median(one.rate for one in drafted), 1),
        "ratio": round(statistics.median(ratios), 3),
        "worst": round(min(ratios), 3),
        "best": round(max(ratios), 3),
        "steps off": plain[0].steps,
        "steps ngram": drafted[0].steps,
        "accepted": f"{accepted}/{proposed}",
    }


@contextmanager
def loaded(
    model: str | None, models_file: Path | None, threads: int | None
) -> Iterator[dict[str, LLM]]:
    llms = {
        method: LLM(
            model,
            models_file=models_file,
            threads=threads,
            tokens=16384,
            speculative=method,
            progress=False,
        )
        for method in METHODS
    }
    try:
        yield llms
    finally:
        for llm in llms.values():
            llm.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", nargs="?", help="a MODEL; default: the default small model")
    parser.add_argument("--models_file", type=Path)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max_tokens", type=int, default=256)
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--task", default="", help="only tasks whose names begin so")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    chosen = [task for task in tasks(options.streams) if task.name.startswith(options.task)]
    if not chosen:
        parser.error(f"no task begins with {options.task!r}")
    with loaded(options.model, options.models_file, options.threads) as llms:
        rows = [compare(llms, task, options.rounds, options.max_tokens) for task in chosen]
    print_report("Decoding with drafts", rows, as_json=options.json)


if __name__ == "__main__":
    main()
