"""The Dockerfile against hadolint and the tree, the compose file against what it mounts.

No container engine runs them here.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest's own dependency there
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_hadolint() -> None:
    beside = Path(sys.executable).parent / "hadolint"
    program = str(beside) if beside.exists() else shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not there: pip install '.[deploy-test]'")
    done = subprocess.run(
        [program, ROOT / "Dockerfile"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def copied() -> set[str]:
    """First path of every COPY from the context."""
    lines = re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
    return {path for line in lines for path in line.split()[:-1]}


def test_every_package_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = set(project["tool"]["scikit-build"]["wheel"]["packages"].values())
    assert (
        packages | {"csrc", "CMakeLists.txt", "pyproject.toml", "README.md", "LICENSE"} == copied()
    )


def test_context_is_what_is_copied() -> None:
    kept = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")
    }
    assert kept == copied()


def test_runtime_has_no_compiler_and_is_not_root() -> None:
    runtime = DOCKERFILE.split(" AS runtime")[1]
    assert "apt-get" not in runtime
    assert re.findall(r"^USER (.*)$", runtime, re.MULTILINE) == ["10001:10001"]


def test_compose_mounts_what_is_there() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]
    mounted = [
        volume.split(":")[0]
        for service in services.values()
        for volume in service["volumes"]
        if volume.startswith("./")
    ]
    assert len(mounted) == 5
    assert [path for path in mounted if not (ROOT / path).is_file()] == []


def test_images_are_pinned() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]
    images = [service["image"] for name, service in services.items() if name != "ftllm"]
    images += re.findall(r"^ARG \w+_IMAGE=(.*)$", DOCKERFILE, re.MULTILINE)
    assert all(re.search(r":v?\d+\.\d+\.\d+", image) for image in images), images


def test_variables_are_known() -> None:
    """So that the server does not warn of those that image and compose file set."""
    typer = pytest.importorskip("typer")
    app = pytest.importorskip("ftllm.cli.main").app
    configuration = pytest.importorskip("ftllm.cli.configuration")
    server = typer.main.get_command(app).commands["server"]
    environment = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]["ftllm"][
        "environment"
    ]
    names = {*environment, *re.findall(r"(FTLLM_\w+)=", DOCKERFILE)}
    assert len(names) >= 5
    keys = {setting.key for setting in configuration.settings_of(server)}
    ours = {name for name in names if name.startswith("FTLLM_")}
    assert ours <= configuration.known_variables(keys)
