"""Derives the merges of a BPE vocabulary that comes as a ranked list of pieces only."""

from __future__ import annotations

from collections.abc import Sequence


def derive_merges(pieces: Sequence[str]) -> list[tuple[str, str]]:
    """All pairs of pieces that join to a piece, first to be merged first.

    `pieces` come best first: by falling score (SentencePiece) or rising rank (tiktoken). Both
    algorithms join the neighbours whose union ranks best, whichever way that union is split, so
    every split of a piece into two others is a merge, and all splits of one piece stand together.
    Between two splits of one piece the longer left part goes first: where occurrences overlap,
    it nearly always is the one further left, which SentencePiece and tiktoken prefer.
    """
    known = frozenset(pieces)
    merges = []
    for piece in pieces:
        for cut in range(len(piece) - 1, 0, -1):
            left = piece[:cut]
            if left in known:
                right = piece[cut:]
                if right in known:
                    merges.append((left, right))
    return merges
