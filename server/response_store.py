"""The responses of /v1/responses that can be asked for again."""

from __future__ import annotations

from ftllm.server.errors import ErrorReply, RefusedError
from ftllm.server.stored_response import MemoryShelf, ResponseShelf, StoredResponse


class ResponseStore:
    """Holds a limited number of responses of a limited size; the least recently used make way.
    `shelf` says where; by default in memory."""

    def __init__(
        self, *, max_count: int, max_bytes: int, shelf: ResponseShelf | None = None
    ) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._shelf: ResponseShelf = MemoryShelf() if shelf is None else shelf
        self._make_room()  # what is found there may have been kept under other limits

    def __len__(self) -> int:
        return len(self._shelf)

    def __contains__(self, response_id: str) -> bool:
        return response_id in self._shelf

    @property
    def enabled(self) -> bool:
        return self._max_count > 0

    def put(self, response_id: str, response: StoredResponse) -> None:
        """Stores, or replaces. One that is larger than the limit is not kept."""
        self._shelf.put(response_id, response)
        self._make_room()

    def get(self, response_id: str) -> StoredResponse:
        """Raises a 404 for one that is not there, or no longer."""
        found = self._shelf.find(response_id)
        if found is None:
            message = f"Response with id {response_id[:200]!r} not found."
            raise RefusedError(ErrorReply(404, message, "response_not_found", "response_id"))
        return found

    def previous(self, response_id: str) -> StoredResponse:
        """The one to go on from. Raises a 400 when that cannot be."""
        found = self._shelf.find(response_id)
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
        self._shelf.discard(response_id)

    def close(self) -> None:
        self._shelf.close()

    def check(self) -> None:
        """Its invariants."""
        assert self._shelf.size <= self._max_bytes
        assert len(self._shelf) <= self._max_count

    def _make_room(self) -> None:
        while self._shelf.size > self._max_bytes or len(self._shelf) > self._max_count:
            self._shelf.drop_oldest()
