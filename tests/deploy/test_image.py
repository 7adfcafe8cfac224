"""The Dockerfile's steps, carried out in a chroot, and the server started in what comes of it.

Long: it compiles the engine. It stands in for a container engine, which need not be there, and
takes a base that is at hand for the one that the file names:

    debootstrap --variant=minbase \
        --include=python3,python3-venv,python3-pip,python3-dev,python-is-python3,ca-certificates \
        bookworm BASE
    FTLLM_IMAGE_BASE=BASE pytest -s tests/deploy/test_image.py

as root. FTLLM_IMAGE_BINDS is a list of paths, between colons, that processes in the chroot see as
well, and the variables whose names begin with PIP_ are passed on.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from running_router import free_port

from .dockerfile import Stage, copy_parts, stages
from .image_root import Container, ImageRoot

ROOT = Path(__file__).parents[2]
BASE_VARIABLE = "FTLLM_IMAGE_BASE"
START_SECONDS = 900  # a model is fetched

pytestmark = pytest.mark.e2e


def test_stages_and_instructions_are_read() -> None:
    builder, runtime = stages((ROOT / "Dockerfile").read_text())
    assert (builder.name, runtime.name) == ("builder", "runtime")
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-bookworm", builder.base)
    assert copy_parts(builder.texts("COPY")[1]) == (None, ["csrc"], "csrc")
    assert copy_parts(runtime.texts("COPY")[0]) == ("builder", ["/opt/ftllm"], "/opt/ftllm")
    assert runtime.environment["PATH"].startswith("/opt/ftllm/bin:/usr/local/sbin")
    assert runtime.environment["FTLLM_CACHE"] == "/cache"
    assert json.loads(runtime.last("ENTRYPOINT"))[:2] == ["ftllm", "server"]
    assert len(runtime.texts("RUN")) == 1


@pytest.fixture(scope="module")
def base() -> Path:
    if os.environ.get(BASE_VARIABLE) is None:
        pytest.skip(f"long; set {BASE_VARIABLE} to the folder of a Debian with Python")
    if os.geteuid() != 0:
        pytest.skip("chroot needs root")
    return Path(os.environ[BASE_VARIABLE])


@pytest.fixture(scope="module")
def image(
    base: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ImageRoot, Stage]]:
    """The last stage's root. Prints what the steps took."""
    binds = [Path(path) for path in os.environ.get("FTLLM_IMAGE_BINDS", "").split(":") if path]
    passed = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    folder = tmp_path_factory.mktemp("image")
    roots: dict[str, ImageRoot] = {}
    found = stages((ROOT / "Dockerfile").read_text())
    for stage in found:
        root = ImageRoot(folder / stage.name, binds=binds, environment=passed)
        root.begin(base)
        before = root.size()
        others = {name: made.root for name, made in roots.items()}
        roots[stage.name] = root
        for step in root.carry_out(stage, context=ROOT, others=others):
            print(f"{step.seconds:7.1f} s  {stage.name}: {step.text[:80]}")
        print(f"{stage.name}: {(root.size() - before) / 2**20:.0f} MiB beyond the base")
    yield root, found[-1]
    for made in roots.values():
        made.remove()


@pytest.fixture(scope="module")
def container(
    image: tuple[ImageRoot, Stage], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Container]:
    root, stage = image
    cache = tmp_path_factory.mktemp("cache")
    user, group = map(int, stage.last("USER").split(":"))
    os.chown(cache, user, group)
    with root.container(stage, cache=cache) as container:
        yield container


def test_it_has_no_compiler_and_cannot_be_written_to(container: Container) -> None:
    for compiler in ("g++", "gcc", "cc", "ninja", "cmake"):
        assert container.run(["sh", "-c", f"command -v {compiler}"]).returncode != 0
    assert container.run(["id", "-u"]).stdout.strip() == "10001"
    for path in ("/x", "/opt/ftllm/x", "/etc/x"):
        assert "ead-only file system" in container.run(["touch", path]).stderr
    for path in ("/tmp/x", "/cache/x"):
        assert container.run(["touch", path]).returncode == 0


def test_the_server_answers_and_stops(container: Container, tmp_path: Path) -> None:
    port = free_port()
    arguments = [*json.loads(container.stage.last("ENTRYPOINT")), "--port", str(port)]
    log = tmp_path / "server.log"
    started = time.monotonic()
    with log.open("wb") as output:
        server = subprocess.Popen(
            container.command([*arguments, "--tokens", "2048"]), stdout=output, stderr=output
        )
    try:
        wait_until_ready(port, server, log)
        print(f"{time.monotonic() - started:7.1f} s  until the server is ready, model fetched")
        body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8}
        answer = httpx.post(
            f"http://127.0.0.1:{port}/v1/chat/completions", json=body, timeout=120, trust_env=False
        )
        assert answer.status_code == 200, answer.text
        assert health_check(container, port).returncode == 0
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0, log.read_text()[-2000:]
        assert health_check(container, port).returncode != 0
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()


def health_check(container: Container, port: int) -> subprocess.CompletedProcess[str]:
    """What the image's HEALTHCHECK runs, at this port."""
    command = container.stage.last("HEALTHCHECK").split("CMD ", 1)[1].replace("8080", str(port))
    return container.run(json.loads(command))


def wait_until_ready(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()[-4000:]
        try:
            url = f"http://127.0.0.1:{port}/ready"
            if httpx.get(url, timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise AssertionError(f"not ready in {START_SECONDS} s:\n{log.read_text()[-4000:]}")
