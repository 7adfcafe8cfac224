"""A folder that stands for an image: instructions change it, processes run in it as their root."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .dockerfile import Stage, copy_parts

STEP_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Step:
    text: str
    seconds: float


class ImageRoot:
    """Needs root. `binds` are files and folders of this machine that processes see as well: how
    this machine reaches its package archives is no part of an image."""

    def __init__(
        self, root: Path, *, binds: Sequence[Path], environment: Mapping[str, str]
    ) -> None:
        self.root = root
        self._binds = tuple(binds)
        self._environment = dict(environment)

    def begin(self, base: Path) -> None:
        """Becomes a copy of `base`."""
        subprocess.run(["cp", "-a", "--reflink=auto", base, self.root], check=True)

    def carry_out(self, stage: Stage, *, context: Path, others: Mapping[str, Path]) -> list[Step]:
        """All that changes files; `others` are the roots of the stages before."""
        steps = []
        folder = "/"
        for each in stage.instructions:
            started = time.monotonic()
            if each.name == "WORKDIR":
                folder = each.text
                self._inside(folder).mkdir(parents=True, exist_ok=True)
            elif each.name == "COPY":
                self._copy(each.text, folder, context=context, others=others)
            elif each.name == "RUN":
                with self._mounted(read_only=False):
                    command = ["chroot", self.root, "sh", "-c", f"cd {folder} && {each.text}"]
                    environment = stage.environment | self._environment | {"HOME": "/root"}
                    subprocess.run(command, env=environment, check=True, timeout=STEP_SECONDS)
            else:
                continue
            steps.append(Step(f"{each.name} {each.text}", time.monotonic() - started))
        return steps

    @contextmanager
    def container(self, stage: Stage, *, cache: Path) -> Iterator[Container]:
        """The runtime stage as `docker run --read-only --tmpfs /tmp -v cache:/cache` has it."""
        with self._mounted(read_only=True, cache=cache):
            yield Container(self.root, stage, stage.environment | self._environment)

    def size(self) -> int:
        """Bytes on disk."""
        done = subprocess.run(
            ["du", "-sx", "-B1", self.root], capture_output=True, text=True, check=True
        )
        return int(done.stdout.split()[0])

    def remove(self) -> None:
        """Not with something of this machine mounted in it."""
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        left = [place for place in mounts if Path(place).is_relative_to(self.root)]
        if left:
            raise RuntimeError(f"{left[0]} is still mounted, so {self.root} stays.")
        shutil.rmtree(self.root)

    def _inside(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def _copy(self, text: str, folder: str, *, context: Path, others: Mapping[str, Path]) -> None:
        stage, sources, destination = copy_parts(text)
        target = self._inside(
            destination if destination.startswith("/") else f"{folder}/{destination}"
        )
        for source in sources:
            path = context / source if stage is None else others[stage] / source.lstrip("/")
            if path.is_dir():
                shutil.copytree(
                    path,
                    target,
                    symlinks=True,
                    dirs_exist_ok=True,
                    ignore=shutil.ignore_patterns("__pycache__") if stage is None else None,
                )
            else:
                shutil.copy2(path, target)

    @contextmanager
    def _mounted(self, *, read_only: bool, cache: Path | None = None) -> Iterator[None]:
        made: list[Path] = []

        def mount(*arguments: str | Path) -> None:
            subprocess.run(["mount", *arguments], check=True)
            made.append(Path(arguments[-1]))

        try:
            mount("--bind", self.root, self.root)
            for bind in self._binds:
                place = self._inside(str(bind))
                if bind.is_dir():
                    place.mkdir(parents=True, exist_ok=True)
                else:
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.touch()
                mount("--bind", bind, place)
            mount("-t", "proc", "proc", self.root / "proc")
            mount("--bind", "/dev", self.root / "dev")
            if read_only:
                subprocess.run(["mount", "-o", "remount,ro,bind", self.root], check=True)
                mount("-t", "tmpfs", "tmpfs", self.root / "tmp")
            if cache is not None:
                mount("--bind", cache, self.root / "cache")
            yield
        finally:
            for place in reversed(made):
                subprocess.run(["umount", "--lazy", place], check=False)


@dataclass(frozen=True, slots=True)
class Container:
    root: Path
    stage: Stage
    environment: Mapping[str, str]

    def command(self, arguments: Sequence[str]) -> list[str]:
        """As the stage's user."""
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        user = self.stage.last("USER")
        chroot = ["chroot", f"--userspec={user}", str(self.root)]
        return [*chroot, "env", "-i", *variables, *arguments]

    def run(self, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(arguments), capture_output=True, text=True, timeout=120, check=False
        )
