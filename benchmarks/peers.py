"""ftllm beside llama-cpp-python: the same GGUF file, the same threads, in the same run.

    python benchmarks/peers.py [MODEL] [--threads 2] [--rounds 5] [--peer_python PYTHON] [--json]

Each engine is a process that keeps its model loaded; a round asks both for the same thing, one
after the other, and which goes first alternates. So a slow minute of the machine hits both, and
the ratio of the medians is what to look at. Without --peer_python the peer is built in an
environment of its own in ftllm's cache folder, which takes a C++ compiler and several minutes.

A worker is told its job as JSON in its first argument. It prints a line when it is ready; then it
reads one request a line, {"prompt": token ids, "max_tokens": n}, and answers {"times": seconds
from the request to each token}. Decoding is greedy and stops at no token.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import venv
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from report import print_report

from ftllm.progress import SilentProgress
from ftllm.sources.cache import cache_root
from ftllm.sources.resolve import resolve

PEER = "llama-cpp-python==0.3.36"
PREFILL_TOKENS = 512
DECODE_TOKENS = 128
DECODE_PROMPT = 16  # tokens before a decode
CONTEXT = 2048
PROMPT_IDS = (1000, 20_000)  # ordinary tokens of every vocabulary
HERE = Path(__file__).parent


class Worker:
    """A process that generates tokens."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.name = str(self._read()["name"])

    def generate(self, prompt: Sequence[int], max_tokens: int) -> list[float]:
        """Seconds from the request to each token."""
        assert self._process.stdin is not None
        request = {"prompt": list(prompt), "max_tokens": max_tokens}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        times = self._read()["times"]
        assert isinstance(times, list)
        if len(times) < max_tokens:
            raise RuntimeError(f"{self.name} gave {len(times)} of {max_tokens} tokens.")
        return times

    def _read(self) -> dict[str, object]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"A worker stopped with code {self._process.wait()}.")
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer


@contextmanager
def worker(python: str, script: str, job: dict[str, object]) -> Iterator[Worker]:
    process = subprocess.Popen(
        [python, str(HERE / script), json.dumps(job)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Worker(process)
        finally:
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


@dataclass(slots=True)
class Samples:
    """What the rounds of one engine gave."""

    prefill_rates: list[float] = field(default_factory=list)  # tokens/s
    first_tokens: list[float] = field(default_factory=list)  # seconds
    decode_rates: list[float] = field(default_factory=list)  # tokens/s
    gaps: list[float] = field(default_factory=list)  # seconds, of all rounds


def prefill(worker: Worker, prompt: Sequence[int], samples: Samples) -> None:
    (first,) = worker.generate(prompt, 1)
    samples.first_tokens.append(first)
    samples.prefill_rates.append(len(prompt) / first)


def decode(worker: Worker, prompt: Sequence[int], samples: Samples) -> None:
    times = worker.generate(prompt, DECODE_TOKENS + 1)
    samples.decode_rates.append(DECODE_TOKENS / (times[-1] - times[0]))
    samples.gaps += [after - before for before, after in pairwise(times)]


def compare(ours: Worker, peer: Worker, rounds: int) -> tuple[Samples, Samples]:
    draw = random.Random(1)
    samples = {id(ours): Samples(), id(peer): Samples()}
    order = [ours, peer]
    for worker in order:  # warms up
        worker.generate(range(*PROMPT_IDS, 64), 8)
    for _ in range(rounds):
        order.reverse()
        for measure, length in ((prefill, PREFILL_TOKENS), (decode, DECODE_PROMPT)):
            prompt = [draw.randrange(*PROMPT_IDS) for _ in range(length)]
            for worker in order:
                measure(worker, prompt, samples[id(worker)])
    return samples[id(ours)], samples[id(peer)]


def rows(ours: Samples, peer: Samples) -> list[dict[str, object]]:
    """A ratio above 1 means that ftllm is ahead, for rates and for times."""
    cases = (
        (f"prefill {PREFILL_TOKENS}, tokens/s", ours.prefill_rates, peer.prefill_rates, 1.0),
        (f"decode {DECODE_TOKENS}, tokens/s", ours.decode_rates, peer.decode_rates, 1.0),
        ("time to first token, ms", ours.first_tokens, peer.first_tokens, 1e3),
        ("inter-token latency, ms", ours.gaps, peer.gaps, 1e3),
    )
    table: list[dict[str, object]] = []
    for name, mine, theirs, unit in cases:
        a, b = statistics.median(mine) * unit, statistics.median(theirs) * unit
        ahead = a / b if unit == 1.0 else b / a
        table.append(
            {
                "median of": name,
                "ftllm": round(a, 2),
                "llama-cpp-python": round(b, 2),
                "ratio": round(ahead, 2),
            }
        )
    return table


def peer_environment() -> str:
    """The Python of an environment that has the peer; built at the first use."""
    folder = cache_root(None) / "benchmarks" / PEER.replace("==", "-")
    python = folder / "bin" / "python"
    done = folder / "complete"
    if not done.exists():
        print(f"Building {PEER} in {folder}; this takes several minutes.", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", PEER], check=True)
        done.touch()
    return str(python)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", nargs="?", help="a MODEL that is one GGUF file")
    parser.add_argument("--models_file", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer_python", help="a Python that can import llama_cpp")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    files = resolve(
        options.model,
        cache_dir=None,
        revision=None,
        models_file=options.models_file,
        progress=SilentProgress(),
    )
    job: dict[str, object] = {
        "model": str(files.path),
        "threads": options.threads,
        "context": CONTEXT,
    }
    peer_python = options.peer_python or peer_environment()
    with ExitStack() as stack:
        ours = stack.enter_context(worker(sys.executable, "token_worker_ftllm.py", job))
        peer = stack.enter_context(worker(peer_python, "token_worker_llama_cpp.py", job))
        samples = compare(ours, peer, options.rounds)
        title = (
            f"{files.name}, {options.threads} threads, medians of {options.rounds} rounds:"
            f" {ours.name} beside {peer.name}"
        )
    print_report(title, rows(*samples), as_json=options.json)


if __name__ == "__main__":
    main()
