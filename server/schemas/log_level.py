"""POST /log_level."""

from __future__ import annotations

from typing import Literal

from ftllm.server.schemas.base import Schema


class LogLevelRequest(Schema):
    level: Literal["critical", "error", "warning", "info", "debug"]
