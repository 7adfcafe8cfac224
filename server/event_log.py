"""The events of one stream, which may be read from any place while it is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence


class EventLog:
    """Used on the event loop alone. An event is an `event: …` block; its number is its place."""

    def __init__(self, events: Sequence[str] | None = None) -> None:
        """`events` are all of a stream that is over."""
        self.events = list(events or ())
        self.ended = events is not None
        self._readers: set[LogReader] = set()

    def write(self, block: str) -> None:
        """One or more events."""
        self.events += [f"{event}\n\n" for event in block.split("\n\n") if event]
        self._wake()

    def end(self) -> None:
        self.ended = True
        self._wake()

    def reader(self, start: int) -> LogReader:
        """Of the events from number `start` on."""
        reader = LogReader(self, start)
        self._readers.add(reader)
        return reader

    def leave(self, reader: LogReader) -> None:
        self._readers.discard(reader)

    def _wake(self) -> None:
        for reader in self._readers:
            reader.wake()


class LogReader:
    """Reads to the end of the log, or until it is closed."""

    def __init__(self, log: EventLog, place: int) -> None:
        self._log = log
        self._place = place
        self._closed = False
        self._news = asyncio.Event()

    def wake(self) -> None:
        self._news.set()

    def close(self) -> None:
        self._closed = True
        self._log.leave(self)
        self.wake()

    async def frames(self) -> AsyncIterator[bytes]:
        """What there is, and then what comes."""
        log = self._log
        while not self._closed:
            self._news.clear()
            if self._place < len(log.events):
                block = "".join(log.events[self._place :])
                self._place = len(log.events)
                yield block.encode()
            elif log.ended:
                return
            else:
                await self._news.wait()
