"""The Dockerfile as data: stages and their instructions, as far as this project's file needs it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Instruction:
    name: str  # in capitals
    text: str  # what follows it, on one line


@dataclass(frozen=True, slots=True)
class Stage:
    name: str
    base: str  # an image, or the name of a stage above
    instructions: tuple[Instruction, ...]

    def texts(self, name: str) -> list[str]:
        return [each.text for each in self.instructions if each.name == name]

    def last(self, name: str) -> str:
        return self.texts(name)[-1]

    @property
    def environment(self) -> dict[str, str]:
        """What ENV sets, `$PATH` being what a base has."""
        known = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        for text in self.texts("ENV"):
            for name, value in re.findall(r"(\w+)=(\S+)", text):
                known[name] = value.replace("$PATH", known["PATH"])
        return known


def stages(text: str) -> list[Stage]:
    found: list[Stage] = []
    arguments: dict[str, str] = {}
    gathered: list[Instruction] = []
    for each in _instructions(text):
        if each.name == "ARG" and not found:
            name, _, value = each.text.partition("=")
            arguments[name] = value
        elif each.name == "FROM":
            base, _, name = _filled(each.text, arguments).partition(" AS ")
            gathered = []
            found.append(Stage(name, base, ()))
        else:
            gathered.append(each)
            found[-1] = Stage(found[-1].name, found[-1].base, tuple(gathered))
    return found


def _instructions(text: str) -> Iterator[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        name, _, rest = line.strip().partition(" ")
        yield Instruction(name.upper(), rest.strip())


def _filled(text: str, arguments: Mapping[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], text)


def copy_parts(text: str) -> tuple[str | None, Sequence[str], str]:
    """(stage to copy from, sources, destination) of a COPY."""
    words = text.split()
    stage = None
    if words[0].startswith("--from="):
        stage = words.pop(0).removeprefix("--from=")
    return stage, words[:-1], words[-1]
