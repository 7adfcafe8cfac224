from __future__ import annotations

import logging
import resource

import pytest

from ftllm.server.open_files import OTHER_FILES, make_room

UNBOUNDED = resource.RLIM_INFINITY


class Limit:
    """Stands in for the process's limit, which other tests need."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, soft: int, hard: int) -> None:
        self.values = soft, hard
        monkeypatch.setattr(resource, "getrlimit", lambda _: self.values)
        monkeypatch.setattr(resource, "setrlimit", self._set)

    def _set(self, _: int, values: tuple[int, int]) -> None:
        self.values = values


@pytest.mark.parametrize(
    ("soft", "hard", "connections", "after", "warns"),
    [
        (1024, 4096, 2000, 2000 + OTHER_FILES, False),
        (1024, UNBOUNDED, 2000, 2000 + OTHER_FILES, False),
        (1024, 2048, 2000, 2048, True),
        (4096, 8192, 2000, 4096, False),
        (1024, 8192, 0, 8192, False),
        (1024, UNBOUNDED, 0, 1024, False),
        (UNBOUNDED, UNBOUNDED, 2000, UNBOUNDED, False),
    ],
)
def test_room_for_connections(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    soft: int,
    hard: int,
    connections: int,
    after: int,
    warns: bool,
) -> None:
    limit = Limit(monkeypatch, soft, hard)
    with caplog.at_level(logging.WARNING, "ftllm.server"):
        make_room(connections)
    assert limit.values == (after, hard)
    assert ("raise `ulimit -n` to 2256" in caplog.text) == warns
