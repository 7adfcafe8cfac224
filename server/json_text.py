"""JSON out: one encoder, made once, because making one costs more than a small answer."""

from __future__ import annotations

import json
from typing import Final

from starlette.responses import Response

# json.dumps() with options builds a new encoder per call; this one is reused.
encode_json: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode


def json_response(content: object, *, status: int = 200) -> Response:
    return Response(encode_json(content), status_code=status, media_type="application/json")
