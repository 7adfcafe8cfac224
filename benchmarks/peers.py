"""ftllm beside its peers: the same weights, the same threads, in the same run.

    python benchmarks/peers.py --quick --markdown              # under 6 minutes
    python benchmarks/peers.py --full --markdown               # under 35 minutes
    python benchmarks/peers.py --models 0.6b-q8_0,FILE.gguf --work prefill,decode --rounds 5 --json

Each engine is a process that keeps its model loaded; a round asks all of them for the same thing,
one after the other, and which goes first changes. So a slow minute of the machine hits all, and
the ratios of the medians are what to look at. Peers are llama.cpp and ik_llama.cpp through their C
interfaces (see token_worker_*.py), and with --original the ftllm 1.9 of before. Without a
--…_python they are installed in environments of their own in ftllm's cache folder; llama.cpp is
compiled there, which takes ten minutes.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import peer_environments as environments
from peer_models import NAMES, PeerModel, peer_model
from peer_rounds import Samples, compare, compare_starts
from peer_rows import rows
from peer_worker import Engine
from peer_works import WORKS, Sizes, works_of
from report import print_report

LLAMA_CPP = "llama.cpp"
IK = "ik"
ORIGINAL = "ftllm 1.9"
_CHEAP = ("prefill", "decode", "streams")
FULL_SLOW = ("0.6b-q8_0",)  # models that --full has all works for
# --models, --work, --streams and --minutes
PRESETS: Mapping[str, tuple[str, str, list[int], float]] = MappingProxyType(
    {
        "quick": ("smollm2-135m,0.6b-q8_0,0.6b-q4_0", ",".join(_CHEAP), [8], 5.0),
        "full": (",".join(NAMES), ",".join(WORKS), [8, 16], 31.0),
    }
)
ORIGINAL_LIMIT = 90.0  # seconds; it hangs on some of the work
ORIGINAL_THREADS = 1  # with two its spinning threads collide


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer and its options: "ik:rtr" is ik_llama.cpp with its run-time repack."""

    base: str
    options: tuple[str, ...]
    python: str

    @property
    def name(self) -> str:
        return ":".join([self.base, *self.options])


def engines(
    model: PeerModel, peers: Sequence[Peer], options: argparse.Namespace, *, context: int
) -> list[Engine]:
    """ftllm first. `context`: tokens of the KV cache."""
    job: dict[str, object] = {
        "model": str(model.ours),
        "dtype": model.dtype,
        "threads": options.threads,
        "context": context,
        "streams": max(options.streams),
    }
    ours = Engine(
        "ftllm", sys.executable, "token_worker_ftllm.py", job, options.limit, lazy_kv=True
    )
    found = [ours]
    for peer in peers:
        engine = Engine(peer.name, peer.python, _script(peer.base), job, options.limit)
        if peer.base != ORIGINAL:
            peer_job = {**job, "model": str(model.gguf), "options": list(peer.options)}
            found.append(replace(engine, job=peer_job))
        elif model.original_dtype is not None:
            own = {
                "model": str(model.original_folder()),
                "dtype": model.original_dtype,
                "threads": options.original_threads,
                "version": environments.ORIGINAL.partition("==")[2],
            }
            limit = min(ORIGINAL_LIMIT, options.limit)
            found.append(replace(engine, job={**job, **own}, limit=limit, once=True))
    return found


def _script(peer: str) -> str:
    scripts = {
        LLAMA_CPP: "token_worker_llama_cpp.py",
        IK: "token_worker_ik.py",
        ORIGINAL: "token_worker_original.py",
    }
    return scripts[peer]


def measure(
    model: PeerModel,
    names: Sequence[str],
    peers: Sequence[Peer],
    options: argparse.Namespace,
    *,
    deadline: float,
) -> Samples:
    """All works of one model. Prompts are the same for all engines, and new in each round."""
    draw = random.Random(1)
    sizes = Sizes(streams=tuple(options.streams), depth=options.depth)
    works = works_of([name for name in names if name != "depth"], sizes)
    samples = Samples()
    if {"start", "rss"} & set(names):
        seats = engines(model, peers, options, context=options.context)
        compare_starts(seats, draw, samples, rounds=min(2, options.rounds), names=names)
    if "depth" in names:
        # With a KV cache as long as that, and so in processes of its own. The original is left
        # out: it reads a prompt anew each time.
        few = [peer for peer in peers if peer.base != ORIGINAL]
        seats = engines(model, few, options, context=sizes.depth + 256)
        deep = works_of(["depth"], sizes)
        compare(seats, deep, draw, samples, rounds=options.rounds, deadline=deadline)
    if works:
        seats = engines(model, peers, options, context=2048)
        compare(seats, works, draw, samples, rounds=options.rounds, deadline=deadline)
    return samples


def find_peers(options: argparse.Namespace) -> list[Peer]:
    """Raises `ValueError` for a peer that is not known."""
    pythons = {
        LLAMA_CPP: (options.peer_python, environments.LLAMA_CPP),
        IK: (options.ik_python, environments.IK),
        ORIGINAL: (options.original_python, environments.ORIGINAL),
    }
    names = [name.strip() for name in options.peers.split(",") if name.strip()]
    if options.original:
        names.append(ORIGINAL)
    found: list[Peer] = []
    for name in names:
        base, *rest = name.split(":")
        if base not in pythons:
            raise ValueError(f"--peers has {base!r}; known are {LLAMA_CPP} and {IK}")
        python, package = pythons[base]
        found.append(Peer(base, tuple(rest), python or environments.environment(package)))
    return found


def main() -> None:
    parser = _parser()
    options = parser.parse_args()
    if preset := next((name for name in PRESETS if getattr(options, name)), None):
        options.models, options.work, options.streams, options.minutes = PRESETS[preset]
    names = [name.strip() for name in options.work.split(",")]
    if unknown := set(names) - set(WORKS):
        parser.error(f"--work has {sorted(unknown)[0]!r}; known are {', '.join(WORKS)}")
    try:
        peers = find_peers(options)
        models = [peer_model(name, options.models_file) for name in options.models.split(",")]
    except ValueError as error:
        parser.error(str(error))
    table: list[dict[str, object]] = []
    notes: list[str] = []
    columns = ["ftllm", *(peer.name for peer in peers)]
    end = time.monotonic() + 60 * (options.minutes or 60 * 24)
    for number, model in enumerate(models):
        print(f"{model.name} …", file=sys.stderr, flush=True)
        now = time.monotonic()
        works = names if not options.full else _affordable(model.name, names)
        share = now + (end - now) / (len(models) - number)
        samples = measure(model, works, peers, options, deadline=share)
        table += rows(model, samples, columns)
        notes += [f"{model.name}: {note}" for note in samples.notes]
    title = (
        f"ftllm beside its peers, {options.threads} threads,"
        f" medians of up to {options.rounds} rounds"
    )
    print_report(title, table, as_json=options.json, as_markdown=options.markdown, notes=notes)


def _affordable(model: str, names: Sequence[str]) -> list[str]:
    """For some works a peer needs minutes: --full has them for some models only."""
    return [name for name in names if name in _CHEAP or model in FULL_SLOW]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0] if __doc__ else None,
        epilog=f"Models: {', '.join(NAMES)}, or GGUF files. Work: {', '.join(WORKS)}.",
    )
    parser.add_argument("--models", default="0.6b-q8_0", help="separated by commas")
    parser.add_argument("--work", default="prefill,decode,streams", help="separated by commas")
    preset = parser.add_mutually_exclusive_group()
    preset.add_argument("--quick", action="store_true", help="a subset that takes < 6 minutes")
    preset.add_argument(
        "--full",
        action="store_true",
        help="all models and works (depth, start and memory with"
        f" {' and '.join(FULL_SLOW)}): < 35 minutes",
    )
    parser.add_argument(
        "--minutes", type=float, help="rounds after the first are left out to end by then"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streams", type=_numbers, default=[4, 8, 16], metavar="N,N…")
    parser.add_argument("--depth", type=int, default=4096, help="tokens of context, for `depth`")
    parser.add_argument(
        "--context", type=int, default=4096, help="tokens of the KV cache, for `start` and `rss`"
    )
    parser.add_argument(
        "--peers",
        default=f"{LLAMA_CPP},{IK},{IK}:rtr",
        help="with options after colons: llama.cpp[:fa|:nofa][:split], ik[:rtr][:fa]",
    )
    parser.add_argument("--original", action="store_true", help="beside ftllm 1.9 too")
    parser.add_argument("--original_threads", type=int, default=ORIGINAL_THREADS)
    parser.add_argument("--limit", type=float, default=240, help="seconds for one answer")
    parser.add_argument("--models_file", type=Path, help="short names of --models")
    parser.add_argument("--peer_python", help="a Python that can import llama_cpp")
    parser.add_argument("--ik_python", help="a Python that can import ik_llama_cpp")
    parser.add_argument("--original_python", help="a Python that has the ftllm of before")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--json", action="store_true")
    return parser


def _numbers(text: str) -> list[int]:
    numbers = [int(part) for part in text.split(",")]
    if not all(1 <= number <= 16 for number in numbers):
        raise argparse.ArgumentTypeError(f"{text!r} must be from 1 to 16")
    return numbers


if __name__ == "__main__":
    main()
