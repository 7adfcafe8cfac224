"""Groups of threads on NUMA nodes: where they run, what they own, and that no bit depends on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ftllm.engine import build as build_module
from ftllm.engine.numa import Node, numa_nodes, thread_places
from ftllm.errors import OptionError
from tests.engine.machine_files import write_cores, write_node
from tests.engine.models.steps import DEFAULTS, Part, build, logits
from tests.golden.rows import load_row, write_model

Machine = Callable[..., Path]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine whose node n has the processors cpulists[n], each a core of its own; gives the
    root of its /proc and /sys."""

    def make(cpulists: Sequence[str], *, processors: int, allowed: Sequence[int] = ()) -> Path:
        root = tmp_path / f"{len(cpulists)} nodes"
        for node, cpus in enumerate(cpulists):
            write_node(root, node, cpus)
        write_cores(root, processors, processors)
        monkeypatch.setattr(os, "cpu_count", lambda: processors)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(allowed or range(processors)))
        return root

    return make


def allow_memory(root: Path, nodes: str) -> None:
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    status = f"Name:\tx\nMems_allowed:\t3\nMems_allowed_list:\t{nodes}\nThreads:\t1\n"
    (root / "proc/self/status").write_text(status)


def test_threads_are_tied_to_their_node(machine: Machine) -> None:
    root = machine(["0-3", "4-7"], processors=8)
    places = thread_places(4, pin="auto", device="numa", root=root)
    assert places.groups == (0, 0, 1, 1)
    assert places.cpus == ((0, 1, 2, 3),) * 2 + ((4, 5, 6, 7),) * 2
    assert places.notes == ("numa     node 0 with 2, node 1 with 2 threads",)


def test_pinned_threads_have_a_core_each_on_their_node(machine: Machine) -> None:
    root = machine(["0,2,4,6", "1,3,5,7"], processors=8)
    places = thread_places(4, pin="on", device="numa", root=root)
    assert places.cpus == ((0,), (2,), (1,), (3,))


def test_the_affinity_mask_decides_how_many_threads_a_node_has(machine: Machine) -> None:
    root = machine(["0-3", "4-7"], processors=8, allowed=(1, 4, 5, 6))
    places = thread_places(4, pin="off", device="numa", root=root)
    assert places.groups == (0, 1, 1, 1)
    assert places.cpus == ((1,), (4, 5, 6), (4, 5, 6), (4, 5, 6))


@pytest.mark.parametrize(
    ("threads", "groups"),
    [(2, (0, 1)), (3, (0, 1, 2)), (4, (0, 1, 1, 2)), (8, (0, 0, 1, 1, 1, 1, 2, 2))],
)
def test_threads_in_proportion_to_cores(
    machine: Machine, threads: int, groups: tuple[int, ...]
) -> None:
    root = machine(["0-1", "2-5", "6-7"], processors=8)
    assert thread_places(threads, pin="off", device="numa", root=root).groups == groups


def test_fewer_threads_than_nodes_take_the_largest(machine: Machine) -> None:
    root = machine(["0", "1-3", "4-6"], processors=7)
    places = thread_places(2, pin="off", device="numa", root=root)
    assert places.cpus == ((1, 2, 3), (4, 5, 6))


@pytest.mark.parametrize(
    ("cpulists", "allowed"), [([], ()), (["0-3"], ()), (["0-1", "2-3"], (0, 1))]
)
def test_one_node_is_as_without(
    machine: Machine, cpulists: list[str], allowed: tuple[int, ...]
) -> None:
    root = machine(cpulists, processors=4, allowed=allowed)
    places = thread_places(2, pin="auto", device="numa", root=root)
    plain = thread_places(2, pin="auto", device="cpu", root=root)
    assert (places.cpus, places.groups) == (plain.cpus, plain.groups)
    assert plain.notes == ()
    assert "one NUMA node with processors and memory: --device numa changes" in places.notes[0]


def test_one_thread_is_as_without(machine: Machine) -> None:
    root = machine(["0-3", "4-7"], processors=8)
    places = thread_places(1, pin="auto", device="numa", root=root)
    assert places.groups == ()
    assert "one thread: --device numa changes nothing" in places.notes[0]


def test_an_unknown_device_lists_the_known() -> None:
    with pytest.raises(OptionError, match="device is 'gpu'; supported are cpu, numa"):
        replace(DEFAULTS, device="gpu").check()


def test_a_cpuset_without_a_nodes_memory(machine: Machine) -> None:
    root = machine(["0-1", "2-3"], processors=4)
    allow_memory(root, "0")
    assert numa_nodes(range(4), root) == (Node(0, (0, 1, 2, 3)),)
    allow_memory(root, "0-1")
    assert numa_nodes(range(4), root) == (Node(0, (0, 1)), Node(1, (2, 3)))


def test_processors_without_memory_join_the_nearest_node(tmp_path: Path) -> None:
    write_node(tmp_path, 0, "0-1", "10 40 20")
    write_node(tmp_path, 1, "2-3", "40 10 20")
    write_node(tmp_path, 2, "4-5", "30 20 10")
    (tmp_path / "sys/devices/system/node/has_memory").write_text("0-1\n")
    assert numa_nodes(range(6), tmp_path) == (Node(0, (0, 1)), Node(1, (2, 3, 4, 5)))


def test_nodes_without_processors_have_no_threads(tmp_path: Path) -> None:
    """Memory of its own only: a CXL card, or the fast memory of an accelerator."""
    write_node(tmp_path, 0, "0-3")
    write_node(tmp_path, 1, "")
    assert numa_nodes(range(4), tmp_path) == (Node(0, (0, 1, 2, 3)),)


@pytest.mark.parametrize("name", ["llama_gqa", "gemma3", "qwen3_moe"])
@pytest.mark.parametrize("dtype", ["float32", "int8", "int4g32"])
def test_logits_do_not_depend_on_the_nodes(
    name: str, dtype: str, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = load_row(name)
    path = write_model(row, tmp_path / "model")
    options = replace(DEFAULTS, dtype=dtype, threads=8)

    def answers(options: build_module.BuildOptions) -> list[np.ndarray]:
        core = build(path, options).core
        long = logits(core, [Part(row.prompt_ids, range(8))])[0]
        both = logits(core, [Part((5,), [8]), Part((6, 7), [9])])
        return [long, *both]

    expected = answers(replace(options, threads=1))
    for nodes in (["0-7"], ["0-3", "4-7"], ["0", "1-2", "3-4", "5-7"]):
        root = machine(nodes, processors=8)
        places = thread_places(8, pin="auto", device="numa", root=root)
        assert len(set(places.groups)) == (0 if len(nodes) == 1 else len(nodes))
        monkeypatch.setattr(build_module, "thread_places", partial(thread_places, root=root))
        for found, wanted in zip(answers(replace(options, device="numa")), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
        monkeypatch.undo()


def test_the_start_says_what_numa_does(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_model(load_row("llama"), tmp_path / "model")
    options = replace(DEFAULTS, device="numa", threads=2)
    for nodes, expected in ((["0-1"], "changes nothing"), (["0", "1"], "node 0 with 1, node 1")):
        root = machine(nodes, processors=2)
        monkeypatch.setattr(build_module, "thread_places", partial(thread_places, root=root))
        assert expected in build(path, options).notes[0]
