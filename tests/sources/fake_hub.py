"""A Hugging Face endpoint on this machine: the few routes that huggingface_hub asks for."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_Files = Mapping[str, bytes]


@dataclass
class FakeHub:
    """`repositories` maps owner/name to its files; `gated` ids ask for a log-in."""

    url: str
    repositories: dict[str, _Files] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    downloads: list[str] = field(default_factory=list)  # owner/name/file, in order


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    hub = FakeHub(f"http://127.0.0.1:{server.server_port}")
    _Handler.hubs[server.server_port] = hub
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hubs: ClassVar[dict[int, FakeHub]] = {}
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, format: str, *args: object) -> None:
        """No log."""

    def _answer(self, *, body: bool) -> None:
        assert isinstance(self.server, ThreadingHTTPServer)
        hub = self.hubs[self.server.server_port]
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self._api("/".join(parts[2:4]), parts[4:], hub)
        elif len(parts) > 4 and parts[2] == "resolve":
            self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]), hub, body=body)
        else:
            self._send(404, b"", {})

    def _api(self, repository: str, rest: list[str], hub: FakeHub) -> None:
        if self._refused(repository, rest[1] if len(rest) > 1 else "main", hub):
            return
        files = hub.repositories[repository]
        answer: object = [
            {"type": "file", "path": name, "size": len(data), "oid": _etag(data)}
            for name, data in files.items()
        ]
        if rest[:1] != ["tree"]:
            siblings = [{"rfilename": name, "size": len(data)} for name, data in files.items()]
            answer = {"id": repository, "sha": COMMIT, "siblings": siblings}
        self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _file(self, repository: str, revision: str, name: str, hub: FakeHub, *, body: bool) -> None:
        if self._refused(repository, revision, hub):
            return
        data = hub.repositories[repository].get(name)
        if data is None:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        if body:
            hub.downloads.append(f"{repository}/{name}")
        headers = {"ETag": f'"{_etag(data)}"', "X-Repo-Commit": COMMIT}
        self._send(200, data, headers, body=body)

    def _refused(self, repository: str, revision: str, hub: FakeHub) -> bool:
        if repository in hub.gated:
            self._send(403, b"", {"X-Error-Code": "GatedRepo"})
        elif repository not in hub.repositories:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif revision not in ("main", COMMIT):
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        else:
            return False
        return True

    def _send(
        self, status: int, data: bytes, headers: Mapping[str, str], *, body: bool = True
    ) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body and self.command != "HEAD":
            self.wfile.write(data)


def _etag(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()
