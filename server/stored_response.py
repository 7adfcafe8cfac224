"""A response of /v1/responses that can be asked for again, and where such are kept."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from ftllm.server.schemas.responses import InputItem


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResponse:
    """`items` are all that the answer was made from, those of the responses before it included;
    only instructions are not handed on."""

    text: str  # the response's JSON
    items: tuple[InputItem, ...]
    output: tuple[InputItem, ...] = ()
    events: tuple[str, ...] = ()  # of its stream in order, if they can be asked for again
    is_background: bool = False
    is_running: bool = False

    @property
    def conversation(self) -> tuple[InputItem, ...]:
        """What a response that continues this one begins with."""
        return self.items + self.output

    @property
    def size(self) -> int:
        """About how many characters it has. Items that several share count in each of them."""
        items = sum(item.size for item in self.conversation)
        return len(self.text) + items + sum(map(len, self.events))


class ResponseShelf(Protocol):
    """Keeps responses by id, in the order of their last use."""

    def __len__(self) -> int: ...

    def __contains__(self, response_id: object) -> bool: ...

    @property
    def size(self) -> int:
        """Of all together."""
        ...

    def put(self, response_id: str, response: StoredResponse) -> None:
        """Adds or replaces, as the one that was used last."""
        ...

    def find(self, response_id: str) -> StoredResponse | None:
        """It is the one that was used last, then."""
        ...

    def discard(self, response_id: str) -> None: ...

    def drop_oldest(self) -> None:
        """The one whose last use is longest ago."""
        ...

    def close(self) -> None: ...


class MemoryShelf:
    """Keeps them as long as the process lives."""

    def __init__(self) -> None:
        self._stored: OrderedDict[str, StoredResponse] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._stored)

    def __contains__(self, response_id: object) -> bool:
        return response_id in self._stored

    @property
    def size(self) -> int:
        return self._size

    def put(self, response_id: str, response: StoredResponse) -> None:
        self.discard(response_id)
        self._stored[response_id] = response
        self._size += response.size

    def find(self, response_id: str) -> StoredResponse | None:
        found = self._stored.get(response_id)
        if found is not None:
            self._stored.move_to_end(response_id)
        return found

    def discard(self, response_id: str) -> None:
        if (found := self._stored.pop(response_id, None)) is not None:
            self._size -= found.size

    def drop_oldest(self) -> None:
        _, dropped = self._stored.popitem(last=False)
        self._size -= dropped.size

    def close(self) -> None:
        pass
