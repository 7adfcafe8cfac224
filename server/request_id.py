"""The id that ties a request, its answer and its log line together."""

from __future__ import annotations

import re
import uuid

_CLIENT_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


def choose_request_id(offered: str | None) -> str:
    """The client's X-Request-Id when it is safe to repeat in a header and a log, else a new one."""
    if offered is not None and _CLIENT_ID.fullmatch(offered):
        return offered
    return f"req-{uuid.uuid4().hex}"
