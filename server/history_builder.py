"""Puts a conversation together from its pieces, as the APIs send it that know no messages of tools.

Neighbouring pieces of one role become one message: many templates want the roles to alternate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NoReturn

from ftllm.errors import RequestError
from ftllm.server.conversation import Message, Role, ToolCall


@dataclass(slots=True)
class _Draft:
    role: Role
    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    name: str | None = None
    call_id: str | None = None

    def message(self) -> Message:
        return Message(
            role=self.role,
            content="\n".join(self.texts) if self.texts else None,
            name=self.name,
            reasoning="\n".join(self.thoughts) or None,
            tool_calls=tuple(self.calls),
            tool_call_id=self.call_id,
        )


class HistoryBuilder:
    """Takes pieces in order. Each has its place in the request, which errors name; they are
    `RequestError`s. Every call must get its result before anything else is said."""

    def __init__(self) -> None:
        self._drafts: list[_Draft] = []
        self._open: dict[str, str] = {}  # places of calls without a result
        self._names: dict[str, str] = {}  # functions of the calls that may get results now

    def say(self, role: Role, text: str, place: str) -> None:
        self._turn(role, place).texts.append(text)

    def think(self, text: str, place: str) -> None:
        self._turn("assistant", place).thoughts.append(text)

    def call(self, call: ToolCall, place: str) -> None:
        draft = self._turn("assistant", place)
        if not draft.calls:
            self._names = {}
        if call.call_id in self._names:
            _refuse(place, f"{call.call_id[:64]!r} is also the id of the call before")
        draft.calls.append(call)
        self._open[call.call_id] = place
        self._names[call.call_id] = call.name

    def result(self, call_id: str, text: str, place: str) -> None:
        if call_id not in self._names:
            _refuse(
                place,
                f"{call_id[:64]!r} is the id of no call before it; results must follow the"
                " assistant's turn whose calls they answer",
            )
        if call_id not in self._open:
            _refuse(place, f"the call {call_id[:64]!r} has its result already")
        del self._open[call_id]
        name = self._names[call_id]
        self._drafts.append(_Draft("tool", [text], name=name, call_id=call_id))

    def messages(self, place: str) -> list[Message]:
        """All of them; `place` is where the conversation ends."""
        self._expect_results(place)
        return [draft.message() for draft in self._drafts]

    def _turn(self, role: Role, place: str) -> _Draft:
        if self._drafts and self._drafts[-1].role == role:
            return self._drafts[-1]
        self._expect_results(place)
        self._names = {}
        self._drafts.append(_Draft(role))
        return self._drafts[-1]

    def _expect_results(self, place: str) -> None:
        if not self._open:
            return
        raise RequestError(
            f"{next(iter(self._open.values()))}: the calls {_listed(self._open)} have no result."
            f" Each must be followed by one that names its id; up to {place} there is none.",
            param=next(iter(self._open.values())),
        )


def _listed(ids: Iterable[str]) -> str:
    return ", ".join(repr(call_id[:64]) for call_id in list(ids)[:10])


def _refuse(param: str, why: str) -> NoReturn:
    raise RequestError(f"{param}: {why}.", param=param)
