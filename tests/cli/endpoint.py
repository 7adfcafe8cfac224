"""An OpenAI-compatible endpoint without a model, which streams a fixed number of words."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


class FakeEndpoint:
    """Serves on a free port inside a `with` block. A token is a word; a chat adds 7 tokens."""

    def __init__(self, *, key: str | None = None, fail_every: int = 0, usage: bool = True) -> None:
        self.bodies: list[dict[str, object]] = []  # of streamed requests
        self.key = key
        self.fail_every = fail_every
        self.usage = usage
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                endpoint.answer(self, {"data": [{"id": "first"}, {"id": "second"}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.complete(self, body)

            def log_message(self, format: str, *values: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FakeEndpoint:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler, content: object, status: int = 200) -> None:
        data = json.dumps(content).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def complete(self, handler: BaseHTTPRequestHandler, body: dict[str, object]) -> None:
        if self.key is not None and handler.headers["Authorization"] != f"Bearer {self.key}":
            self.answer(handler, {"error": {"message": "wrong key"}}, 401)
            return
        messages = body.get("messages")
        if isinstance(messages, list):
            prompt = len(str(messages[0]["content"]).split()) + 7
        else:
            prompt = len(str(body["prompt"]).split())
        tokens = body["max_tokens"]
        assert isinstance(tokens, int)
        usage = {"prompt_tokens": prompt, "completion_tokens": tokens} if self.usage else None
        if body["stream"] != ("stream_options" in body):
            self.answer(handler, {"error": {"message": "stream_options needs stream"}}, 400)
            return
        if not body["stream"]:
            self.answer(handler, {"usage": usage})
            return
        self.bodies.append(body)
        if self.fail_every and len(self.bodies) % self.fail_every == 0:
            self.answer(handler, {"error": {"message": "too busy"}}, 503)
            return
        handler.send_response(200)
        handler.end_headers()
        piece = "delta" if isinstance(messages, list) else "text"
        for number in range(tokens):
            value: object = {"content": f"w{number}"} if piece == "delta" else f"w{number}"
            self._send(handler, {"choices": [{piece: value}]})
        self._send(handler, {"choices": [], "usage": usage})
        handler.wfile.write(b"data: [DONE]\n\n")

    def _send(self, handler: BaseHTTPRequestHandler, event: object) -> None:
        handler.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")
