"""Clients that misbehave, and one that tells how a stream ended. All on plain sockets."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress

from .faulty import FaultyServer, body_of

DONE = b"data: [DONE]\n\n"


def connect(server: FaultyServer, *, receive_buffer: int = 0) -> socket.socket:
    connection = socket.socket()
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(60)
    connection.connect(server.address)
    return connection


def request_bytes(body: Mapping[str, object]) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def reset(connection: socket.socket) -> None:
    """Closes with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class StreamReader:
    """Reads one stream on a thread of its own."""

    def __init__(self, server: FaultyServer, prompt: str, *, max_tokens: int) -> None:
        self._connection = connect(server)
        self._connection.sendall(request_bytes(body_of(prompt, max_tokens=max_tokens, stream=True)))
        self._data = bytearray()
        self._arrived = threading.Condition()
        self._over = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._connection, suppress(OSError):
            while data := self._connection.recv(65536):
                with self._arrived:
                    self._data += data
                    self._arrived.notify_all()
                if data.endswith(b"0\r\n\r\n"):
                    break
        with self._arrived:
            self._over = True
            self._arrived.notify_all()

    def wait_for_chunks(self, count: int, *, seconds: float = 30) -> None:
        """Fails when the stream ends before it has so many."""
        with self._arrived:
            arrived = self._arrived.wait_for(lambda: self._over or self.chunks >= count, seconds)
        assert arrived, f"only {self.chunks} chunks"
        assert self.chunks >= count, self.text[-500:]

    def wait_for_end(self, *, seconds: float = 60) -> None:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the stream does not end"

    @property
    def chunks(self) -> int:
        return self._data.count(b'"text_completion"')

    @property
    def text(self) -> str:
        return self._data.decode()

    @property
    def is_whole(self) -> bool:
        """[DONE] came, and then the end of the body, as HTTP has it."""
        return DONE in self._data and self._data.endswith(b"0\r\n\r\n")

    @property
    def answer(self) -> str:
        """What it said."""
        text = ""
        for line in self.text.splitlines():
            if line.startswith("data: {"):
                chunk = json.loads(line.removeprefix("data: "))
                text += "".join(choice["text"] for choice in chunk.get("choices", ()))
        return text

    @property
    def error(self) -> dict[str, object] | None:
        for line in self.text.splitlines():
            if line.startswith('data: {"error"'):
                error: dict[str, object] = json.loads(line.removeprefix("data: "))["error"]
                return error
        return None
