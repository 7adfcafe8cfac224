"""Responses that a restart finds again."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from ftllm.errors import OptionError
from ftllm.server.response_database import DatabaseShelf
from ftllm.server.response_store import ResponseStore
from ftllm.server.schemas.responses import InputItem
from ftllm.server.stored_response import StoredResponse

MESSAGE = {
    "type": "message",
    "role": "user",
    "content": [{"type": "input_text", "text": "H\u00e9 \U0001f600"}],
    "id": "item_1",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "responses.db"


def whole() -> StoredResponse:
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    return StoredResponse(
        text='{"id":"a","status":"completed"}',
        items=(InputItem.model_validate(MESSAGE),),
        output=(InputItem.model_validate(call),),
        events=("event: x\ndata: {}\n\n",),
        is_background=True,
    )


def test_what_is_kept_comes_back(path: Path) -> None:
    shelf = DatabaseShelf(path)
    shelf.put("a", whole())
    assert shelf.find("a") == whole()
    files = list(path.parent.iterdir())
    assert len(files) > 1, "the journal is there"
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)
    size = shelf.size
    shelf.close()
    again = DatabaseShelf(path)
    assert (len(again), again.size, "a" in again, "b" in again) == (1, size, True, False)
    assert again.find("a") == whole()
    again.discard("a")
    assert (len(again), again.size) == (0, 0)
    again.close()


def test_the_order_of_use_comes_back(path: Path) -> None:
    shelf = DatabaseShelf(path)
    for name in "abc":
        shelf.put(name, whole())
    shelf.find("a")
    shelf.close()
    again = DatabaseShelf(path)
    store = ResponseStore(max_count=2, max_bytes=10_000, shelf=again)  # of less than before
    store.check()
    assert ("a" in store, "b" in store, "c" in store) == (True, False, True)
    store.close()


def test_one_that_was_being_made_has_failed(path: Path) -> None:
    shelf = DatabaseShelf(path)
    text = json.dumps({"id": "a", "status": "in_progress", "error": None})
    shelf.put("a", StoredResponse(text=text, items=(), is_background=True, is_running=True))
    shelf.close()
    again = DatabaseShelf(path)
    found = again.find("a")
    assert found is not None
    assert not found.is_running
    response = json.loads(found.text)
    assert (response["status"], response["error"]["code"]) == ("failed", "server_error")
    again.close()


def test_files_that_cannot_be_used(path: Path, tmp_path: Path) -> None:
    shelf = DatabaseShelf(path)
    with pytest.raises(OptionError, match=r"response_store: .*locked.*no other has open"):
        DatabaseShelf(path)
    shelf.close()
    foreign = tmp_path / "text"
    foreign.write_text("no database " * 100)
    with pytest.raises(OptionError, match="not a database"):
        DatabaseShelf(foreign)
    with pytest.raises(OptionError, match="No such file"):
        DatabaseShelf(tmp_path / "no folder" / "responses.db")
    later = sqlite3.connect(tmp_path / "later.db")
    later.execute("PRAGMA user_version = 99")
    later.close()
    with pytest.raises(OptionError, match="its version is 99"):
        DatabaseShelf(tmp_path / "later.db")
