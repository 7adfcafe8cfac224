"""Masks as the engine hands them out, in plain memory."""

from __future__ import annotations

import ctypes


class MaskArray:
    def __init__(self, rows: int, vocab_size: int) -> None:
        self.rows = rows
        self.row_bytes = -(-vocab_size // 32) * 4
        self._memory = (ctypes.c_uint8 * (rows * self.row_bytes))()

    @property
    def address(self) -> int:
        return ctypes.addressof(self._memory)

    @property
    def data(self) -> memoryview:
        return memoryview(self._memory).cast("B")

    def allowed(self, row: int) -> set[int]:
        data = self.data[row * self.row_bytes : (row + 1) * self.row_bytes]
        return {8 * n + bit for n, byte in enumerate(data) for bit in range(8) if byte >> bit & 1}
