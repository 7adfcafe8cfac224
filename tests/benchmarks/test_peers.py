"""The measuring of benchmarks/peers.py, with workers whose speed is known."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import peer_models
import peer_records
import peers
import pytest
from peer_rounds import RSS, Samples, compare, compare_starts
from peer_rows import rows
from peer_worker import Engine, Worker, WorkerError
from peer_works import Sizes, decode_rate, works_of

SCRIPT = """
import json, sys, time
job = json.loads(sys.argv[1])
if job.get("broken"):
    sys.exit("no such model")
time.sleep(job.get("load", 0))
print(json.dumps({"name": job["name"]}), flush=True)
kept = None
for line in sys.stdin:
    request = json.loads(line)
    prompts = request["prompts"]
    new = 1 if request["keep"] and kept == prompts[0] else sum(map(len, prompts))
    kept = prompts[0] if request["keep"] else None
    if len(prompts) > job.get("streams", 16):
        time.sleep(60)
    first = new / job["prefill"]
    gap = 1 / job["decode"]
    stream = [first + gap * place for place in range(request["max_tokens"])]
    print(json.dumps({"times": [stream[: job.get("most", 999)] for _ in prompts]}), flush=True)
"""
FAST = {"name": "fast", "prefill": 2048, "decode": 100}
SLOW = {"name": "slow", "prefill": 512, "decode": 50}
SIZES = Sizes(streams=(4, 8), depth=64)
MODEL = peer_models.PeerModel("0.6b-q8_0", Path("a.gguf"), "auto", Path("a.gguf"), "8-bit")


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "worker.py"
    path.write_text(SCRIPT)
    return str(path)


def engine(name: str, script: str, job: dict[str, object], limit: float = 20) -> Engine:
    return Engine(name, sys.executable, script, job, limit)


def measure(*engines: Engine, names: tuple[str, ...], deadline: float = 9e9) -> Samples:
    samples = Samples()
    works = works_of(names, SIZES)
    compare(engines, works, random.Random(1), samples, rounds=3, deadline=deadline)
    return samples


def test_ratios_above_1_mean_ahead(script: str) -> None:
    names = ("prefill", "decode", "streams", "depth")
    samples = measure(
        engine("ftllm", script, FAST),
        engine("llama.cpp", script, SLOW),
        engine("ik", script, {**FAST, "prefill": 1024}),
        names=names,
    )
    table = rows(MODEL, samples, ["ftllm", "llama.cpp", "ik", "ftllm 1.9"])
    assert [row["work"] for row in table] == [
        "prefill 512, tokens/s",
        "decode 128, tokens/s",
        "decode 4 streams, tokens/s",
        "decode 8 streams, tokens/s",
        "decode at 64 tokens, tokens/s",
    ]
    assert [row["ftllm"] for row in table] == [2048.0, 100.0, 400.0, 800.0, 100.0]
    assert [row["x llama.cpp"] for row in table] == [4.0, 2.0, 2.0, 2.0, 2.0]
    assert [row["x best here"] for row in table] == [2.0, 1.0, 1.0, 1.0, 1.0]
    assert [row["met"] for row in table] == ["yes", "yes", "-", "no", "no"]
    assert [row["rounds"] for row in table] == [3] * 5
    assert {row["ftllm 1.9"] for row in table} == {"-"}
    record = peer_records.RECORDS["0.6b-q8_0", "prefill"]
    assert table[0]["x best recorded"] == pytest.approx(4.0 / record.ratio, abs=0.01)


def test_without_ik_a_target_is_held_against_the_recorded_ratio(script: str) -> None:
    job = {**SLOW, "prefill": 900}  # 2.28 behind; 2.28 / 1.43 is 1.6
    samples = measure(
        engine("ftllm", script, FAST), engine("llama.cpp", script, job), names=("prefill",)
    )
    (row,) = rows(MODEL, samples, ["ftllm", "llama.cpp"])
    assert (row["x llama.cpp"], row["x best recorded"], row["met"]) == (2.28, 1.6, "yes")


def test_every_engine_gets_its_own_job(monkeypatch: pytest.MonkeyPatch) -> None:
    model = replace(MODEL, dtype="int4g", gguf=Path("b.gguf"), original_dtype="int4g")
    monkeypatch.setattr(peer_models.PeerModel, "original_folder", lambda self: Path("folder"))
    found = [peers.Peer("llama.cpp", ("nofa",), "p"), peers.Peer("ftllm 1.9", (), "o")]
    monkeypatch.setattr(sys, "argv", ["peers.py"])
    options = peers._parser().parse_args([])
    ours, llama, original = peers.engines(model, found, options, context=99)
    assert (ours.job["model"], ours.job["dtype"], ours.lazy_kv) == ("a.gguf", "int4g", True)
    assert (llama.name, llama.python, llama.job["model"]) == ("llama.cpp:nofa", "p", "b.gguf")
    assert llama.job["options"] == ["nofa"]
    assert (original.job["model"], original.job["threads"]) == ("folder", 1)
    assert original.limit < llama.limit
    assert original.once
    others = [*peers.engines(replace(model, original_dtype=None), found, options, context=99)]
    assert [engine.name for engine in others] == ["ftllm", "llama.cpp:nofa"]


def test_the_best_configuration_of_a_peer_counts(script: str) -> None:
    samples = measure(
        engine("ftllm", script, FAST),
        engine("llama.cpp", script, SLOW),
        engine("llama.cpp:nofa", script, {**SLOW, "prefill": 1024}),
        names=("prefill",),
    )
    (row,) = rows(MODEL, samples, ["ftllm", "llama.cpp", "llama.cpp:nofa"])
    assert row["x llama.cpp"] == 2.0


def test_a_peer_that_fails_or_hangs_is_a_cell_and_not_the_end(script: str) -> None:
    samples = measure(
        engine("ftllm", script, FAST),
        engine("gone", script, {"broken": True}),
        engine("hangs", script, {**SLOW, "streams": 3}, limit=0.7),
        engine("short", script, {**SLOW, "most": 8}),
        names=("streams", "decode"),
    )
    table = rows(MODEL, samples, ["ftllm", "gone", "hangs", "short"])
    assert [row["ftllm"] for row in table] == [400.0, 800.0, 100.0]
    assert [row["gone"] for row in table] == ["stopped, code 1"] * 3
    hung = "no answer in 1 s"
    assert [row["hangs"] for row in table] == [hung, hung, 50.0]
    assert [row["short"] for row in table] == ["8 of 33 tokens"] * 2 + ["8 of 129 tokens"]
    assert any("no such model" in note for note in samples.notes)


def test_rounds_are_left_out_when_time_is_up(script: str) -> None:
    samples = measure(engine("ftllm", script, FAST), names=("prefill",), deadline=time.monotonic())
    assert samples.rounds("prefill") == 1


def test_one_round_is_enough_of_some(script: str) -> None:
    slow = replace(engine("ftllm 1.9", script, SLOW), once=True)
    samples = measure(engine("ftllm", script, FAST), slow, names=("prefill",))
    figures = {name: len(found) for (_, name), found in samples.figures.items()}
    assert figures == {"ftllm": 3, "ftllm 1.9": 1}


def test_starts_and_memory(script: str) -> None:
    samples = Samples()
    seats = [engine("ftllm", script, FAST), engine("llama.cpp", script, {**SLOW, "load": 0.6})]
    seats = [replace(seat, job={**seat.job, "context": 1024}) for seat in seats]
    seats[0] = replace(seats[0], lazy_kv=True)
    compare_starts(seats, random.Random(1), samples, rounds=1, names=("start", "rss"))
    peak, start = rows(MODEL, samples, ["ftllm", "llama.cpp"])
    assert start["llama.cpp"] > start["ftllm"]  # type: ignore[operator]
    assert start["x llama.cpp"] > 1.5  # type: ignore[operator]
    assert peak["work"] == RSS
    assert 2 < peak["ftllm"] < 100  # type: ignore[operator]
    assert samples.rounds("start") == 1  # the round that fills the page cache does not count
    assert samples.rounds("rss") == 1


def test_streams_count_while_all_decode() -> None:
    assert decode_rate([[1.0, 2.0, 3.0, 4.0], [2.0, 3.0, 4.0, 5.0]]) == 2.0
    with pytest.raises(ValueError, match="did not decode together"):
        decode_rate([[1.0, 2.0], [3.0, 4.0]])


def test_a_worker_that_cannot_start_is_an_error(script: str) -> None:
    with Worker(engine("x", script, {"broken": True})) as worker:
        with pytest.raises(WorkerError, match="stopped with code 1: no such model") as caught:
            worker.generate([[1, 2]], 1)
        assert caught.value.cell == "stopped, code 1"


@pytest.mark.parametrize("flags", [["--work", "x"], ["--peers", "x"], ["--models", "x"]])
def test_unknown_names_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["peers.py", "--peers", "", *flags])
    with pytest.raises(SystemExit) as stopped:
        peers.main()
    assert stopped.value.code == 2
    assert f"{flags[0]} has 'x'" in capsys.readouterr().err


def test_a_whole_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], script: str
) -> None:
    scripts = {"ftllm": FAST, "llama.cpp": SLOW, "ik:rtr": SLOW}

    def fake(model: object, found: list[peers.Peer], *rest: object, context: int) -> list[Engine]:
        return [engine(name, script, scripts[name]) for name in ["ftllm", *(p.name for p in found)]]

    monkeypatch.setattr(peers, "engines", fake)
    monkeypatch.setattr(peers, "peer_model", lambda name, file: MODEL)
    flags = ["--peers", "llama.cpp,ik:rtr", "--peer_python", "x", "--ik_python", "x"]
    flags += ["--models", "0.6b-q8_0", "--work", "prefill,depth", "--markdown", "--json"]
    monkeypatch.setattr(sys, "argv", ["peers.py", *flags])
    peers.main()
    output = capsys.readouterr()
    assert [row["x llama.cpp"] for row in json.loads(output.out)["rows"]] == [2.0, 4.0]
    assert "| model | work | ftllm | llama.cpp | ik:rtr | rounds |" in output.err


@pytest.mark.e2e
def test_our_worker_speaks_the_same_lines(model_file: Callable[[str], Path]) -> None:
    job = {"model": str(model_file("smollm2-135m")), "dtype": "auto", "threads": 2, "context": 512}
    with Worker(Engine("ftllm", sys.executable, "token_worker_ftllm.py", job, 120)) as worker:
        assert worker.name.startswith("ftllm ")
        times = worker.generate([[1000, 2000, 3000], [1000, 2000]], 4)
        assert [len(stream) for stream in times] == [4, 4]
        assert all(stream == sorted(stream) for stream in times)
        assert worker.peak_bytes() > 50e6


def test_a_worker_keeps_its_lines_for_itself(tmp_path: Path) -> None:
    code = "from worker_lines import take_stdout\nlines = take_stdout()\n"
    code += "import os\nos.write(1, b'noise\\n')\nprint('more')\nprint('line', file=lines)\n"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(peers.__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "line\n"
    assert "noise" in run.stderr


def test_a_worker_keeps_its_input_for_itself() -> None:
    code = "from worker_lines import take_stdin\nlines = take_stdin()\n"
    code += "import os\nprint(os.read(0, 9), lines.readline().strip())\n"
    run = subprocess.run(
        [sys.executable, "-c", code],
        input="request\n",
        cwd=Path(peers.__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "b'' request\n"
