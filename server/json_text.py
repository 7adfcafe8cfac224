"""JSON out: one encoder, made once, because making one costs more than a small answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Final

from starlette.responses import Response

# json.dumps() with options builds a new encoder per call; this one is reused.
encode_json: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode

# The same for a string alone, without asking first what it is.
encode_string: Final = json.encoder.encode_basestring

# Items that one call encodes: it holds the GIL, and so the event loop, for about a millisecond.
CHUNK = 8192
INLINE_ENTRIES = 64  # so many log-probabilities are written in about a millisecond


def encode_list(items: Sequence[object]) -> str:
    """A long list as JSON, on a thread that gives way to others in between."""
    chunks = [
        encode_json(items[start : start + CHUNK])[1:-1] for start in range(0, len(items), CHUNK)
    ]
    return f"[{','.join(chunks)}]"


async def json_answer(build: Callable[[], object], *, entries: int) -> Response:
    """What `build` makes, as JSON. With many `entries` (log-probabilities of a token and the
    likeliest at its place) that is done beside the event loop."""
    if entries <= INLINE_ENTRIES:
        return json_response(build())
    text = await asyncio.to_thread(lambda: encode_json(build()))
    return Response(text, media_type="application/json")


def json_response(content: object, *, status: int = 200) -> Response:
    return Response(encode_json(content), status_code=status, media_type="application/json")
