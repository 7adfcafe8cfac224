"""Where the value grammars write the calls that they find."""

from __future__ import annotations

from collections.abc import Callable

from ftllm.tool_parsers.call_ids import IdSource
from ftllm.tool_parsers.deltas import Outbox
from ftllm.tool_parsers.tool_schemas import ToolSchemas


class CallWriter:
    """Opens calls, writes their arguments and closes them; one call at a time.

    `on_open` is told before each call: the text so far was none, and this is one.
    """

    def __init__(
        self,
        tools: ToolSchemas,
        outbox: Outbox,
        new_id: IdSource,
        on_open: Callable[[], None] = lambda: None,
    ) -> None:
        self.tools = tools
        self.outbox = outbox
        self.is_open = False
        self._new_id = new_id
        self._on_open = on_open
        self._ids: set[str] = set()
        self._empty = True

    def is_used(self, call_id: str) -> bool:
        """A call of this answer has that id."""
        return call_id in self._ids

    def open(self, name: str, call_id: str | None = None) -> None:
        """Begin a call; `call_id` is the id that the model wrote, if it wrote one."""
        assert not self.is_open
        self._on_open()
        if not call_id or call_id in self._ids:
            call_id = self._new_id()
        self._ids.add(call_id)
        self.outbox.open_call(call_id, name)
        self.is_open = True
        self._empty = True

    def write(self, json_text: str) -> None:
        """A piece of the arguments, which is JSON text of an object."""
        assert self.is_open
        if json_text:
            self._empty = False
            self.outbox.arguments(json_text)

    def close(self) -> None:
        """End the call; without arguments they are an empty object."""
        assert self.is_open
        if self._empty:
            self.outbox.arguments("{}")
        self.is_open = False

    def abandon(self) -> None:
        """The text was cut off inside the call."""
        self.is_open = False
