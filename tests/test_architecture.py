"""The arrows of docs/architecture.md, held by reading every import and every #include.

Each check is a function from a source tree to its violations, so that the same code that passes
the repository is shown a small bad tree and has to object.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# The folders of the import namespace. "face" is ftllm/ itself: ftllm.llm, ftllm.loading …
PACKAGES = {
    "cli": "cli",
    "deploy": "deploy",
    "server": "server",
    "face": "ftllm",
    "sources": "sources",
    "text": "text",
    "tool_parsers": "tool_parsers",
    "engine": "engine",
}
# Package -> the others that it may import. `ftllm.errors` is a leaf that all may import.
ARROWS = {
    "cli": {"server", "face", "sources", "text", "tool_parsers", "engine"},
    "deploy": {"server", "face"},
    "server": {"face", "text", "tool_parsers", "engine"},
    "face": {"sources", "text", "tool_parsers", "engine", "_core"},
    "sources": set(),
    "text": set(),
    "tool_parsers": set(),
    "engine": {"_core"},
}
# Libraries that would carry a concept over a border -> the packages that may import them.
LIBRARY_HOMES = {
    "fastapi": {"server"},
    "starlette": {"server", "deploy"},
    "uvicorn": {"server"},
    "pydantic": {"server", "deploy"},
    "ray": {"deploy"},
    "typer": {"cli"},
    "rich": {"cli", "face"},
    "numpy": {"engine", "face"},  # the server never sees a tensor
    "tokenizers": {"text"},  # the engine never sees a text
    "llguidance": {"text"},
    "jinja2": {"text"},
    "huggingface_hub": {"sources"},
    "opentelemetry": {"server"},
}

# csrc/<layer> -> the layers below it.
CPP_ARROWS = {
    "base": set(),
    "formats": {"base"},
    "kernels": {"base", "formats"},
    "isa": {"base", "formats", "kernels"},
    "cache": {"base", "formats", "kernels"},
    "sampling": {"base"},
    "graph": {"base", "formats", "kernels", "cache", "sampling"},
    "bindings": {
        "base",
        "formats",
        "kernels",
        "isa",
        "cache",
        "sampling",
        "graph",
    },
}
# What a unit of csrc/isa may reach, through any number of headers: no containers or streams, whose
# inline functions the linker could keep in the copy compiled with AVX-512. (scripts/lint looks for
# such symbols in the objects, too.) dispatch.cc chooses among the units, without their flags.
ISA_SYSTEM_HEADERS = {"immintrin.h", "arm_neon.h", "cstdint", "cstddef", "cstring", "cmath"}
ISA_DISPATCH = "dispatch.cc"

FAMILY_NAME = re.compile(
    r"(qwen|llama(?![-_.]?cpp)|gemma|mistral|mixtral|deepseek|kimi|minimax)", re.IGNORECASE
)
FAMILY_HOMES = (
    "engine/models/",
    "engine/checkpoints/",
    "tool_parsers/",
    "text/pretokenizers.py",  # the names that GGUF gives to pre-tokenizers
    "engine/rope.py",  # rope_type values of config.json: one is called after a family
)
SOURCE_FOLDERS = (*PACKAGES.values(), "csrc")
SOURCE_SUFFIXES = {".py", ".pyi", ".h", ".cc"}
MAX_LINES = 600
NAMELESS = {"util", "utils", "common", "misc", "helper", "helpers"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


@dataclass(frozen=True)
class Import:
    """A dotted name that is imported, absolute, and where."""

    name: str
    line: int


def imports_of(source: str, package: str) -> Iterator[Import]:
    """Every import of a module that belongs to `package` (dotted), wherever it stands in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                above = parents[: len(parents) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                yield Import(f"{base}.{alias.name}", node.lineno)


def target_of(name: str) -> str | None:
    """The package of PACKAGES, or "_core", that a dotted name belongs to; None = not ours."""
    top, *rest = name.split(".")
    if top != "ftllm":
        return None
    if rest and rest[0] == "errors":
        return None
    if rest and (rest[0] in PACKAGES or rest[0] == "_core"):
        return rest[0]
    return "face"


def python_files(root: Path) -> Iterator[tuple[str, Path]]:
    for package, folder in PACKAGES.items():
        for path in sorted((root / folder).rglob("*.py")):
            yield package, path


def dotted_package(package: str, folder: Path, path: Path) -> str:
    inner = path.relative_to(folder).parent.parts
    return ".".join(["ftllm", *(() if package == "face" else (package,)), *inner])


def back_edges(root: Path) -> list[str]:
    """Imports that go against an arrow."""
    found = []
    for package, path in python_files(root):
        where = dotted_package(package, root / PACKAGES[package], path)
        allowed = ARROWS[package] | {package}
        for each in imports_of(path.read_text(encoding="utf-8"), where):
            place = f"{path.relative_to(root)}:{each.line}"
            target = target_of(each.name)
            if target is not None and target not in allowed:
                found.append(f"{place}: {package} may not import {target} ({each.name})")
            library = each.name.split(".")[0]
            homes = LIBRARY_HOMES.get(library)
            if homes is not None and package not in homes:
                found.append(f"{place}: {library} belongs to {', '.join(sorted(homes))}")
    leaf = root / "ftllm" / "errors.py"
    if leaf.exists():
        found += [
            f"ftllm/errors.py:{each.line}: a leaf imports nothing of ftllm ({each.name})"
            for each in imports_of(leaf.read_text(encoding="utf-8"), "ftllm")
            if each.name.split(".")[0] == "ftllm"
        ]
    return found


def cpp_files(root: Path) -> list[Path]:
    return sorted(path for path in (root / "csrc").rglob("*") if path.suffix in {".h", ".cc"})


def includes_of(path: Path, root: Path) -> tuple[list[Path], list[str], list[str]]:
    """(project files, system headers, quoted names that lead nowhere)."""
    project, system, lost = [], [], []
    for mark, name in INCLUDE.findall(path.read_text(encoding="utf-8")):
        if mark == "<":
            system.append(name)
            continue
        places = (path.parent / name, root / "csrc" / name)
        target = next((place.resolve() for place in places if place.exists()), None)
        if target is None:
            lost.append(name)
        else:
            project.append(target)
    return project, system, lost


def cpp_layer(path: Path, root: Path) -> str | None:
    try:
        return path.relative_to(root / "csrc").parts[0]
    except ValueError:
        return None


def cpp_back_edges(root: Path) -> list[str]:
    """Includes that go against an arrow, and layers without one."""
    root = root.resolve()
    found = []
    for path in cpp_files(root):
        place = path.relative_to(root)
        layer = cpp_layer(path, root)
        if layer not in CPP_ARROWS:
            found.append(f"{place}: csrc/{layer} is not a layer; add its arrows to CPP_ARROWS")
            continue
        project, _, lost = includes_of(path, root)
        found += [f'{place}: "{name}" is not a file of csrc' for name in lost]
        for target in project:
            other = cpp_layer(target, root)
            if other != layer and other not in CPP_ARROWS[layer]:
                found.append(f"{place}: {layer} may not include {other} ({target.name})")
    return found


def isa_leaks(root: Path) -> list[str]:
    """System headers beyond the list that an ISA unit reaches, with the way there."""
    root = root.resolve()
    found = []
    for unit in cpp_files(root):
        if cpp_layer(unit, root) != "isa" or unit.suffix != ".cc" or unit.name == ISA_DISPATCH:
            continue
        ways = {unit: str(unit.relative_to(root))}
        waiting = [unit]
        while waiting:
            path = waiting.pop()
            project, system, _ = includes_of(path, root)
            found += [
                f"{ways[path]} -> <{name}>" for name in system if name not in ISA_SYSTEM_HEADERS
            ]
            for target in project:
                if target not in ways:
                    ways[target] = f"{ways[path]} -> {target.name}"
                    waiting.append(target)
    return found


def source_files(root: Path) -> list[Path]:
    return sorted(
        path
        for folder in SOURCE_FOLDERS
        for path in (root / folder).rglob("*")
        if path.suffix in SOURCE_SUFFIXES
    )


def family_names(root: Path) -> list[str]:
    """Model families named outside the places that know them."""
    found = []
    for path in source_files(root):
        place = path.relative_to(root).as_posix()
        if place.startswith(FAMILY_HOMES):
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        found += [
            f"{place}:{number}: names the model family {match[1]}"
            for number, line in enumerate(lines, 1)
            if (match := FAMILY_NAME.search(line))
        ]
    return found


def shapeless_files(root: Path) -> list[str]:
    """Files that are too long, or named after nothing."""
    found = []
    tests = (root / "tests").rglob("*.py")
    for path in [*source_files(root), *sorted(tests)]:
        place = path.relative_to(root).as_posix()
        lines = path.read_text(encoding="utf-8").count("\n")
        if lines > MAX_LINES:
            found.append(f"{place}: {lines} lines, at most {MAX_LINES}; split it by concept")
        if NAMELESS & set(path.stem.lower().split("_")):
            found.append(f"{place}: name it by the concept that it holds")
    return found


CHECKS = [back_edges, cpp_back_edges, isa_leaks, family_names, shapeless_files]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_repository(check: object) -> None:
    assert callable(check)
    violations = check(ROOT)
    assert not violations, "\n" + "\n".join(violations)


def test_every_layer_has_files_to_check() -> None:
    assert {package for package, _ in python_files(ROOT)} == set(PACKAGES)
    assert {cpp_layer(path, ROOT) for path in cpp_files(ROOT)} == set(CPP_ARROWS)


def plant(root: Path, files: dict[str, str]) -> Path:
    for place, content in files.items():
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("place", "source", "complaint"),
    [
        ("engine/a.py", "from ftllm.text.tokenizer import Tokenizer", "may not import text"),
        ("engine/a.py", "def f():\n    import ftllm.server.app", "a.py:2: engine may not import"),
        ("engine/models/a.py", "from ...text import tokenizer", "may not import text"),
        ("engine/a.py", "from ftllm import LLM", "may not import face"),
        ("engine/a.py", "import tokenizers", "tokenizers belongs to text"),
        ("text/a.py", "from ftllm import engine", "may not import engine"),
        ("sources/a.py", "from ftllm.engine.params import X", "may not import engine"),
        ("tool_parsers/a.py", "from ftllm.text import stream", "may not import text"),
        ("server/a.py", "from ftllm import _core", "may not import _core"),
        ("server/a.py", "import numpy as np", "numpy belongs to engine, face"),
        ("server/a.py", "from ftllm.cli import main", "may not import cli"),
        ("ftllm/llm.py", "import ftllm.server", "may not import server"),
        ("ftllm/errors.py", "from ftllm.engine import params", "a leaf imports nothing"),
        ("ftllm/errors.py", "import ftllm.llm", "a leaf imports nothing"),
    ],
)
def test_back_edges_are_seen(tmp_path: Path, place: str, source: str, complaint: str) -> None:
    violations = back_edges(plant(tmp_path, {place: source}))
    assert any(complaint in each for each in violations), violations


def test_forward_edges_are_fine(tmp_path: Path) -> None:
    files = {
        "cli/a.py": "from ftllm.server import run\nimport ftllm\nimport rich",
        "server/a.py": "from ftllm.engine import engine\nfrom ftllm.errors import FtllmError",
        "engine/models/a.py": "from ..plan import StepPlan\nfrom ftllm import _core, errors",
        "text/a.py": "from . import b\nimport json",
        "ftllm/llm.py": "from ftllm.loading import load_model",
        "ftllm/errors.py": "import enum",
    }
    assert back_edges(plant(tmp_path, files)) == []


@pytest.mark.parametrize(
    ("place", "include", "complaint"),
    [
        ("csrc/base/a.h", '"kernels/table.h"', "base may not include kernels"),
        ("csrc/kernels/a.h", '"../isa/avx2.h"', "kernels may not include isa"),
        ("csrc/sampling/a.cc", '"graph/graph.h"', "sampling may not include graph"),
        ("csrc/graph/ops/a.cc", '"isa/avx2.h"', "graph may not include isa"),
        ("csrc/graph/a.cc", '"nowhere.h"', "not a file of csrc"),
        ("csrc/tools/a.cc", "<vector>", "csrc/tools is not a layer"),
    ],
)
def test_cpp_back_edges_are_seen(tmp_path: Path, place: str, include: str, complaint: str) -> None:
    files = {
        "csrc/kernels/table.h": "",
        "csrc/isa/avx2.h": "",
        "csrc/graph/graph.h": '#include "kernels/table.h"\n#include <vector>',
        "csrc/sampling/sampler.h": "",
    }
    assert cpp_back_edges(plant(tmp_path, files)) == []
    violations = cpp_back_edges(plant(tmp_path, {place: f"  # include {include}\n"}))
    assert any(complaint in each for each in violations), violations


def test_an_isa_unit_may_not_reach_a_container_through_a_header(tmp_path: Path) -> None:
    files = {
        "csrc/isa/avx2.cc": '#include <immintrin.h>\n#include "kernels/gemm.h"',
        "csrc/kernels/gemm.h": '#include <cstdint>\n#include "base/span.h"',
        "csrc/base/span.h": "#include <cstddef>",
    }
    assert isa_leaks(plant(tmp_path, files)) == []
    plant(tmp_path, {"csrc/base/span.h": "#include <vector>"})
    assert isa_leaks(tmp_path) == ["csrc/isa/avx2.cc -> gemm.h -> span.h -> <vector>"]


def test_family_names_are_seen(tmp_path: Path) -> None:
    files = {
        "engine/models/qwen3.py": "QWEN = 1",
        "text/pretokenizers.py": '"llama-bpe"',
        "server/a.py": "# as llama.cpp does\n",
    }
    assert family_names(plant(tmp_path, files)) == []
    plant(tmp_path, {"csrc/graph/a.cc": "\n// for Gemma only\n"})
    assert family_names(tmp_path) == ["csrc/graph/a.cc:2: names the model family Gemma"]


def test_shapeless_files_are_seen(tmp_path: Path) -> None:
    files = {"server/sse.py": "\n" * 600, "csrc/base/commonplace.h": ""}
    assert shapeless_files(plant(tmp_path, files)) == []
    plant(tmp_path, {"server/sse.py": "\n" * 601, "text/string_utils.py": ""})
    first, second = shapeless_files(tmp_path)
    assert "601 lines" in first
    assert "string_utils.py: name it" in second
