"""Responses in a file of SQLite, where a restart finds them again."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Final

from ftllm.errors import OptionError
from ftllm.server.json_text import encode_json
from ftllm.server.schemas.responses import InputItem
from ftllm.server.stored_response import StoredResponse

_VERSION: Final = 1  # of the table
_TABLE = """
CREATE TABLE IF NOT EXISTS responses (
    id TEXT PRIMARY KEY, used INTEGER NOT NULL, size INTEGER NOT NULL, running INTEGER NOT NULL,
    response TEXT NOT NULL, rest TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_use ON responses (used);
"""


class DatabaseShelf:
    """A `ResponseShelf`. One process has the file at a time.

    Used on the event loop: a commit writes to the journal and waits for no disk, so that a crash of
    the machine, though not of the process, may lose the last of them.
    """

    def __init__(self, path: Path) -> None:
        """Raises `OptionError` for a file that cannot be used. A response that was being made when
        the server before ended has failed."""
        try:
            path.touch(mode=0o600)  # it holds conversations; the journal is as the file is
            # Made on one thread, and used on the event loop's.
            self._base = sqlite3.connect(
                path, timeout=1, isolation_level=None, check_same_thread=False
            )
            self._open()
            totals = (
                "SELECT coalesce(sum(size), 0), coalesce(max(used), 0), count(*) FROM responses"
            )
            size, last_use, count = self._base.execute(totals).fetchone()
            self._end_running()
        except (sqlite3.Error, OSError, ValueError) as error:
            raise OptionError(
                f"response_store: {path} cannot be used ({error}). It must be a file that this"
                " server has made and no other has open, or a new one in a folder that is there."
            ) from error
        self._size: int = size
        self._last_use: int = last_use
        self._count: int = count

    def _open(self) -> None:
        base = self._base
        base.execute("PRAGMA locking_mode = EXCLUSIVE")
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = NORMAL")
        (version,) = base.execute("PRAGMA user_version").fetchone()
        if version not in (0, _VERSION):
            raise ValueError(f"its version is {version}, not {_VERSION}")
        base.executescript(f"BEGIN IMMEDIATE; {_TABLE} PRAGMA user_version = {_VERSION}; COMMIT;")

    def __len__(self) -> int:
        return self._count

    def __contains__(self, response_id: object) -> bool:
        query = "SELECT 1 FROM responses WHERE id = ?"
        return self._base.execute(query, (response_id,)).fetchone() is not None

    @property
    def size(self) -> int:
        return self._size

    def put(self, response_id: str, response: StoredResponse) -> None:
        self.discard(response_id)
        self._last_use += 1
        row = (
            *(response_id, self._last_use, response.size, response.is_running),
            *(response.text, _rest(response)),
        )
        self._base.execute("INSERT INTO responses VALUES (?, ?, ?, ?, ?, ?)", row)
        self._size += response.size
        self._count += 1

    def find(self, response_id: str) -> StoredResponse | None:
        query = "SELECT response, rest, running FROM responses WHERE id = ?"
        row = self._base.execute(query, (response_id,)).fetchone()
        if row is None:
            return None
        self._last_use += 1
        touch = "UPDATE responses SET used = ? WHERE id = ?"
        self._base.execute(touch, (self._last_use, response_id))
        text, rest, is_running = row
        return _stored(text, rest, is_running=bool(is_running))

    def discard(self, response_id: str) -> None:
        query = "DELETE FROM responses WHERE id = ? RETURNING size"
        self._forget(self._base.execute(query, (response_id,)).fetchall())

    def drop_oldest(self) -> None:
        oldest = "SELECT id FROM responses ORDER BY used LIMIT 1"
        query = f"DELETE FROM responses WHERE id = ({oldest}) RETURNING size"
        self._forget(self._base.execute(query).fetchall())

    def close(self) -> None:
        self._base.close()

    def _forget(self, sizes: list[tuple[int]]) -> None:
        for (size,) in sizes:
            self._size -= size
            self._count -= 1

    def _end_running(self) -> None:
        query = "SELECT id, response FROM responses WHERE running"
        for response_id, text in self._base.execute(query).fetchall():
            message = "The server stopped before the response was complete."
            failed = {
                **json.loads(text),
                "status": "failed",
                "error": {"code": "server_error", "message": message},
            }
            self._base.execute(
                "UPDATE responses SET running = 0, response = ? WHERE id = ?",
                (encode_json(failed), response_id),
            )


def _rest(response: StoredResponse) -> str:
    rest = {
        "items": [_item(item) for item in response.items],
        "output": [_item(item) for item in response.output],
        "events": response.events,
        "is_background": response.is_background,
    }
    return encode_json(rest)


def _item(item: InputItem) -> dict[str, object]:
    return item.model_dump(by_alias=True, exclude_unset=True)


def _stored(text: str, rest: str, *, is_running: bool) -> StoredResponse:
    fields = json.loads(rest)
    return StoredResponse(
        text=text,
        items=tuple(map(InputItem.model_validate, fields["items"])),
        output=tuple(map(InputItem.model_validate, fields["output"])),
        events=tuple(fields["events"]),
        is_background=fields["is_background"],
        is_running=is_running,
    )
