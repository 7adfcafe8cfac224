"""Finds a marker in generated tokens."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from ftllm.text.grammar_vocabulary import GrammarVocabulary


class Trigger:
    """A marker, searched in the bytes of tokens (Knuth, Morris, Pratt 1977). A state is how many of
    the marker's first bytes are the last of the text.

    A token may hold the marker's end and more. Where what follows is constrained, such a token is
    excluded if the `follows` predicate refuses the rest.
    """

    def __init__(
        self,
        marker: str,
        vocabulary: GrammarVocabulary,
        follows: Callable[[bytes], bool],
    ) -> None:
        self.marker = marker.encode()
        self.ids = tuple(vocabulary.encode(marker))
        self._fallback = _prefix_function(self.marker)
        # Python's cache is safe to fill from several threads.
        self.excluded = cache(lambda state: self._excluded(vocabulary, follows, state))

    def advance(self, state: int, data: bytes) -> tuple[int, bytes | None]:
        """The state after `data`; once the marker is complete, with what follows it there."""
        marker = self.marker
        for place, byte in enumerate(data, 1):
            while state and marker[state] != byte:
                state = self._fallback[state - 1]
            if marker[state] == byte:
                state += 1
            if state == len(marker):
                return 0, data[place:]
        return state, None

    def _excluded(
        self, vocabulary: GrammarVocabulary, follows: Callable[[bytes], bool], state: int
    ) -> tuple[int, ...]:
        """Tokens that must not come next in `state`."""
        reached: dict[int, bytes] = {}
        matched = state
        while True:  # the marker may begin at any of these places
            for token_id, rest in vocabulary.tokens_that_pass(self.marker, matched):
                # The longest match completes first, so its rest is the one that counts.
                reached.setdefault(token_id, rest)
            if matched == 0:
                break
            matched = self._fallback[matched - 1]
        return tuple(token_id for token_id, rest in reached.items() if not follows(rest))


def _prefix_function(marker: bytes) -> list[int]:
    """For each prefix, the length of its longest proper suffix that is a prefix too."""
    lengths = [0] * len(marker)
    for place in range(1, len(marker)):
        length = lengths[place - 1]
        while length and marker[length] != marker[place]:
            length = lengths[length - 1]
        lengths[place] = length + (marker[length] == marker[place])
    return lengths
