"""What is kept of responses, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ftllm.server.errors import RefusedError
from ftllm.server.response_database import DatabaseShelf
from ftllm.server.response_store import ResponseStore
from ftllm.server.schemas.responses import ITEM_SIZE, InputItem
from ftllm.server.stored_response import MemoryShelf, ResponseShelf, StoredResponse


@pytest.fixture(params=["memory", "database"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ResponseShelf]:
    made = MemoryShelf() if request.param == "memory" else DatabaseShelf(tmp_path / "responses")
    yield made
    made.close()


def response(size: int) -> StoredResponse:
    return StoredResponse(text="x" * size, items=())


def test_the_least_recently_used_make_way(shelf: ResponseShelf) -> None:
    store = ResponseStore(max_count=2, max_bytes=1000, shelf=shelf)
    store.put("a", response(10))
    store.put("b", response(10))
    store.get("a")
    store.put("c", response(10))
    store.check()
    assert ("a" in store, "b" in store, "c" in store) == (True, False, True)


def test_size_counts(shelf: ResponseShelf) -> None:
    store = ResponseStore(max_count=100, max_bytes=1000, shelf=shelf)
    for name in "abcd":
        store.put(name, response(300))
        store.check()
    assert len(store) == 3
    store.put("b", response(950))  # replaces, and leaves no room for others
    store.check()
    assert len(store) == 1
    store.put("e", response(2000))
    store.check()
    assert len(store) == 0


def test_items_count(shelf: ResponseShelf) -> None:
    item = InputItem.model_validate({"type": "function_call", "arguments": "x" * 500})
    store = ResponseStore(max_count=100, max_bytes=2 * (500 + ITEM_SIZE) + 20, shelf=shelf)
    for name in "abc":
        store.put(name, StoredResponse(text="0123456789", items=(item,)))
        store.check()
    assert len(store) == 2


def test_nothing_is_kept_without_room(shelf: ResponseShelf) -> None:
    store = ResponseStore(max_count=0, max_bytes=1000, shelf=shelf)
    assert not store.enabled
    store.put("a", response(1))
    store.check()
    with pytest.raises(RefusedError):
        store.get("a")


def test_one_that_runs_cannot_be_continued(shelf: ResponseShelf) -> None:
    store = ResponseStore(max_count=2, max_bytes=1000, shelf=shelf)
    store.put("a", StoredResponse(text="{}", items=(), is_running=True))
    with pytest.raises(RefusedError, match="not complete"):
        store.previous("a")
    with pytest.raises(RefusedError, match="not found"):
        store.previous("b")
