"""ftllm's server beside llama.cpp's, and beside ftllm's own engine without a server.

    python benchmarks/peer_servers.py [--model 0.6b-q8_0] [--rounds 2] [--markdown]

Both servers hold the same GGUF file, with the same threads and the same tokens of KV cache, and
are loaded by the same client, `ftllm bench --url`, in turn: 8 streaming clients, prompts of 256
tokens, answers of 64. "engine" is the same load as token ids, straight into ftllm's engine: what
the server's rate is of that is what HTTP, text and Python cost.

Without --llama_server the server is compiled from a package at its first use: half an hour.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import peer_environments as environments
from peer_models import PeerModel, peer_model
from peer_worker import Engine, Worker
from peer_works import random_prompt
from report import print_report
from running_server import RunningServer, ftllm_command

START_SECONDS = 120
SERVER_TARGET = 0.95  # of the engine's own rate
FIGURES = {  # of `ftllm bench --url --json`: seconds become ms
    "output_rate": ("tokens/s", 1.0),
    "first_token_p50": ("TTFT p50 ms", 1e3),
    "first_token_p95": ("TTFT p95 ms", 1e3),
    "gap_p50": ("ITL p50 ms", 1e3),
    "gap_p95": ("ITL p95 ms", 1e3),
}


@dataclass(frozen=True, slots=True)
class Load:
    clients: int
    requests: int
    prompt_tokens: int
    max_tokens: int


def bench(url: str, load: Load) -> dict[str, float]:
    """What `ftllm bench` measures at a server, under the names of FIGURES."""
    command = [ftllm_command(), "bench", "--url", url, "--json"]
    command += ["--concurrency", str(load.clients), "--requests", str(load.requests)]
    command += ["--prompt_tokens", str(load.prompt_tokens), "--max_tokens", str(load.max_tokens)]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError(f"ftllm bench failed: {run.stderr.strip()}")
    (result,) = json.loads(run.stdout)["results"]
    if result["failed"]:
        raise RuntimeError(f"{result['failed']} requests failed: {result['first_error']}")
    expected = load.requests * load.max_tokens
    if result["output_tokens"] != expected:
        raise RuntimeError(f"{result['output_tokens']} tokens came; {expected} were asked for")
    return {name: float(result[name]) for name in FIGURES}


def engine_rate(worker: Worker, draw: random.Random, load: Load) -> float:
    """Output tokens/s of ftllm's engine, which takes `clients` requests at a time."""
    prompts = [random_prompt(draw, load.prompt_tokens) for _ in range(load.requests)]
    times = worker.generate(prompts, load.max_tokens)
    return load.requests * load.max_tokens / max(stream[-1] for stream in times)


@contextmanager
def llama_server(binary: Path, arguments: Sequence[str]) -> Iterator[str]:
    """Its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [str(binary), *arguments, "--host", "127.0.0.1", "--port", str(port)]
    with tempfile.TemporaryFile("w+b") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait(process, url)
            yield url
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read()[-2000:].decode(errors="replace"))
            raise
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"llama-server stopped with code {process.returncode}")
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/health", timeout=10).status_code == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"llama-server was not ready within {START_SECONDS} s")


def compare(
    urls: dict[str, str], worker: Worker, load: Load, rounds: int
) -> tuple[dict[str, dict[str, float]], float]:
    """Medians of each server's figures, and of the engine's rate."""
    draw = random.Random(1)
    short = Load(load.clients, load.clients, load.prompt_tokens, 4)
    for url in urls.values():
        bench(url, short)  # warms up
    engine_rate(worker, draw, short)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in urls}
    engine: list[float] = []
    order = list(urls)
    for _ in range(rounds):
        order.reverse()
        engine.append(engine_rate(worker, draw, load))
        for name in order:
            found[name].append(bench(urls[name], load))
    medians = {
        name: {figure: statistics.median(run[figure] for run in runs) for figure in FIGURES}
        for name, runs in found.items()
    }
    return medians, statistics.median(engine)


def rows(medians: dict[str, dict[str, float]], engine: float) -> list[dict[str, object]]:
    table: list[dict[str, object]] = []
    for name, figures in medians.items():
        row: dict[str, object] = {"server": name}
        for figure, (label, unit) in FIGURES.items():
            row[label] = round(figures[figure] * unit, 1)
        table.append(row)
    ours = medians["ftllm"]["output_rate"]
    for row, figures in zip(table, medians.values(), strict=True):
        row["x"] = round(ours / figures["output_rate"], 2)
    nothing = dict.fromkeys((label for label, _ in FIGURES.values()), "-")
    share = {"tokens/s": round(engine, 1), "x": round(ours / engine, 3)}
    return [*table, {"server": "ftllm's engine", **nothing, **share}]


def measure(
    model: PeerModel, load: Load, options: argparse.Namespace
) -> tuple[dict[str, dict[str, float]], float]:
    threads, tokens = str(options.threads), load.clients * options.context
    ours = [str(model.ours), "--dtype", model.dtype, "--threads", threads, "--tokens", str(tokens)]
    theirs = ["-m", str(model.gguf), "-t", threads, "-tb", threads, "-c", str(tokens)]
    theirs += ["-np", str(load.clients), *options.llama_server_arguments.split()]
    job = {
        "model": str(model.ours),
        "dtype": model.dtype,
        "threads": options.threads,
        "context": tokens,
        "max_batch": load.clients,
    }
    with ExitStack() as stack:
        urls = {"ftllm": stack.enter_context(RunningServer(ours)).url}
        if not options.alone:
            binary = options.llama_server or environments.llama_server()
            urls["llama-server"] = stack.enter_context(llama_server(binary, theirs))
        engine = Engine("ftllm", sys.executable, "token_worker_ftllm.py", job)
        worker = stack.enter_context(Worker(engine))
        return compare(urls, worker, load, options.rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="0.6b-q8_0", help="as --models of peers.py")
    parser.add_argument("--models_file", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=16, help="of all clients together")
    parser.add_argument("--prompt_tokens", type=int, default=256)
    parser.add_argument("--max_tokens", type=int, default=64)
    parser.add_argument("--context", type=int, default=1024, help="tokens of KV cache a client")
    parser.add_argument("--llama_server", type=Path, help="the binary")
    parser.add_argument("--llama_server_arguments", default="", help="more of its arguments")
    parser.add_argument("--alone", action="store_true", help="only ftllm: server beside engine")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    load = Load(options.clients, options.requests, options.prompt_tokens, options.max_tokens)
    try:
        model = peer_model(options.model, options.models_file)
    except ValueError as error:
        parser.error(str(error))
    medians, engine = measure(model, load, options)
    share = medians["ftllm"]["output_rate"] / engine
    print_report(
        f"{model.name}: {load.clients} streaming clients, {load.requests} requests,"
        f" {load.prompt_tokens} tokens in, {load.max_tokens} out, {options.threads} threads,"
        f" medians of {options.rounds} rounds",
        rows(medians, engine),
        as_json=options.json,
        as_markdown=options.markdown,
        notes=[
            "x: the rate of ftllm's server by that of the row; by its engine's it is"
            f" {share:.3f}, and should be {SERVER_TARGET} at least."
        ],
    )


if __name__ == "__main__":
    main()
