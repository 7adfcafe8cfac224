"""SIGKILL in the middle of streams: nobody takes what came for a whole answer, and the next start
finds nothing in its way."""

from __future__ import annotations

import signal

import pytest

from .clients import DONE, StreamReader
from .faulty import StartServer

pytestmark = pytest.mark.e2e


def test_a_killed_server_breaks_its_streams_and_starts_again(start_server: StartServer) -> None:
    with start_server("--pack_cache", "on") as server:
        text = server.text()
        port = server.address[1]
        cache = server.folder / "cache"
        (pack,) = cache.rglob("*.pack")
        readers = [StreamReader(server, f"{n}", max_tokens=60_000) for n in range(4)]
        for reader in readers:
            reader.wait_for_chunks(20)
        server.process.send_signal(signal.SIGKILL)
        for reader in readers:
            reader.wait_for_end(seconds=10)
        assert server.process.stop() == -signal.SIGKILL
    for reader in readers:
        assert DONE.decode() not in reader.text
        assert '"finish_reason":"' not in reader.text
        assert not reader.is_whole
    options = ("--pack_cache", "on", "--cache_dir", str(cache))
    with start_server(*options, port=port) as again:
        assert again.address[1] == port
        assert f"read from {pack}" in again.process.log()
        assert again.text() == text
        again.wait_until_idle()
        assert again.process.stop() == 0
        assert "Traceback" not in again.process.log()
