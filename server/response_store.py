"""The responses of /v1/responses that can be asked for again, in memory."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from ftllm.server.errors import ErrorReply, RefusedError
from ftllm.server.schemas.responses import InputItem


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResponse:
    """`items` are all that the answer was made from, those of the responses before it included;
    only instructions are not handed on."""

    text: str  # the response's JSON
    items: tuple[InputItem, ...]
    output: tuple[InputItem, ...] = ()
    is_background: bool = False
    is_running: bool = False

    @property
    def conversation(self) -> tuple[InputItem, ...]:
        """What a response that continues this one begins with."""
        return self.items + self.output


class ResponseStore:
    """Holds a limited number of responses of a limited size; the least recently used make way."""

    def __init__(self, *, max_count: int, max_bytes: int) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._stored: OrderedDict[str, tuple[StoredResponse, int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._stored)

    def __contains__(self, response_id: str) -> bool:
        return response_id in self._stored

    @property
    def enabled(self) -> bool:
        return self._max_count > 0

    def put(self, response_id: str, response: StoredResponse) -> None:
        """Stores, or replaces. One that is larger than the limit is not kept."""
        self.discard(response_id)
        # Items that several responses share count in each of them.
        size = len(response.text) + sum(item.size for item in response.conversation)
        self._stored[response_id] = (response, size)
        self._bytes += size
        while self._bytes > self._max_bytes or len(self._stored) > self._max_count:
            _, (_, freed) = self._stored.popitem(last=False)
            self._bytes -= freed

    def get(self, response_id: str) -> StoredResponse:
        """Raises a 404 for one that is not there, or no longer."""
        found = self._find(response_id)
        if found is None:
            message = f"Response with id {response_id[:200]!r} not found."
            raise RefusedError(ErrorReply(404, message, "response_not_found", "response_id"))
        return found

    def previous(self, response_id: str) -> StoredResponse:
        """The one to go on from. Raises a 400 when that cannot be."""
        found = self._find(response_id)
        if found is None:
            message = (
                f"Previous response with id {response_id[:200]!r} not found. It was not stored, or"
                " had to make way for newer ones; send the whole conversation instead."
            )
            code = "previous_response_not_found"
            raise RefusedError(ErrorReply(400, message, code, "previous_response_id"))
        if found.is_running:
            message = f"The response {response_id[:200]!r} is not complete yet."
            raise RefusedError(ErrorReply(400, message, "invalid_value", "previous_response_id"))
        return found

    def discard(self, response_id: str) -> None:
        _, size = self._stored.pop(response_id, (None, 0))
        self._bytes -= size

    def check(self) -> None:
        """Its invariants."""
        assert self._bytes == sum(size for _, size in self._stored.values())
        assert self._bytes <= self._max_bytes
        assert len(self._stored) <= self._max_count

    def _find(self, response_id: str) -> StoredResponse | None:
        if response_id not in self._stored:
            return None
        self._stored.move_to_end(response_id)
        return self._stored[response_id][0]
