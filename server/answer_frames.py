"""The text of stream frames, prepared once per answer.

A frame differs from the one before in a few characters. So everything else is built when the
answer starts, and a token costs one string encoding and one concatenation.
"""

from __future__ import annotations

from dataclasses import dataclass

from ftllm.server.generation import Usage
from ftllm.server.json_text import encode_json


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """What every frame and the whole answer begin with."""

    answer_id: str
    created: int  # seconds since the epoch
    model: str

    def fields(self, kind: str) -> dict[str, object]:
        """`kind` is OpenAI's `object`."""
        return {
            "id": self.answer_id,
            "object": kind,
            "created": self.created,
            "model": self.model,
        }


class FrameWriter:
    """Wraps one choice's JSON into a whole frame."""

    def __init__(self, head: AnswerHead, kind: str, *, include_usage: bool) -> None:
        opened = encode_json(head.fields(kind))[:-1]
        self._head = f'data: {opened},"choices":['
        # OpenAI: with include_usage every chunk but the last carries a null.
        self._tail = ',"usage":null}\n\n' if include_usage else "}\n\n"

    def choice(self, choice_json: str, *, fields: str = "", usage: Usage | None = None) -> str:
        """`fields` are further members of the frame, each with a comma in front; `usage` is what
        has been used so far, where it is wanted in every chunk."""
        if usage is not None:
            return f'{self._head}{choice_json}]{fields},"usage":{encode_json(usage.body())}}}\n\n'
        return f"{self._head}{choice_json}]{fields}{self._tail}"

    def usage(self, usage: Usage) -> str:
        return f'{self._head}],"usage":{encode_json(usage.body())}}}\n\n'
