"""`ftllm` with faults that a test turns on while it runs: `faulty_server.py FOLDER server …`.

FOLDER holds the switches, a file each: `fail` (how many steps are still to raise), `seconds` (how
long each step takes at least) and `clock` (seconds by which the time of day is wrong). The engine,
its executor and the server are the real ones.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import ftllm.loading
from ftllm.cli.main import main
from ftllm.engine.engine import Engine
from ftllm.engine.plan import Executor, StepPlan, StepResult
from ftllm.loading import LoadedModel, LoadOptions
from ftllm.progress import Progress

_load_model = ftllm.loading.load_model
_time = time.time


class Switches:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> float:
        try:
            return float((self._folder / name).read_text() or 0)
        except FileNotFoundError:
            return 0.0

    def count_down(self, name: str) -> bool:
        """True while it is above 0."""
        value = self.read(name)
        if value > 0:
            (self._folder / name).write_text(str(value - 1))
        return value > 0


class FaultyExecutor:
    """`plan.Executor` over the real one."""

    def __init__(self, inner: Executor, switches: Switches) -> None:
        self._inner = inner
        self._switches = switches
        self.block_size = inner.block_size
        self.num_blocks = inner.num_blocks
        self.max_batched_tokens = inner.max_batched_tokens
        self.max_batch = inner.max_batch

    def step(self, plan: StepPlan) -> StepResult:
        seconds = self._switches.read("seconds")
        while seconds > 0:  # in pieces: a process that was stopped goes on where it was
            time.sleep(min(seconds, 0.01))
            seconds -= 0.01
        result = self._inner.step(plan)
        if self._switches.count_down("fail"):
            raise RuntimeError("a fault of the test")
        return result


def run(folder: Path, arguments: list[str]) -> None:
    switches = Switches(folder)

    def load_model(options: LoadOptions, *, progress: Progress) -> LoadedModel:
        model = _load_model(options, progress=progress)
        executor = FaultyExecutor(model.engine._executor, switches)
        engine = Engine(executor, model.engine.config, mask_filler=model.grammars)
        return replace(model, engine=engine)

    ftllm.loading.load_model = load_model
    time.time = lambda: _time() + switches.read("clock")
    sys.argv = ["ftllm", *arguments]
    main()


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2:])
