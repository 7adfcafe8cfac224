"""Which replica should answer a prompt."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Generic

from ftllm.deploy.prefix_index import DEFAULT_BLOCKS, PrefixIndex, Replica


class PrefixChoice(Generic[Replica]):
    """One that has read the prompt's beginning, unless it has much more to do than another."""

    def __init__(
        self,
        *,
        min_match: float = 0.3,
        max_imbalance: int = 8,
        max_blocks: int = DEFAULT_BLOCKS,
    ) -> None:
        """A replica is preferred when it has read `min_match` (0 to 1) of a prompt and has at most
        `max_imbalance` requests more than the one with the fewest."""
        self._min_match = min_match
        self._max_imbalance = max_imbalance
        self._index: PrefixIndex[Replica] = PrefixIndex(max_blocks=max_blocks)

    def ranked(self, loads: Mapping[Replica, int], keys: Sequence[bytes]) -> list[Replica]:
        """The replicas, best first. `loads` are their requests, `keys` those of the prompt's
        blocks; among equals a prompt goes where least has been read, and what has no prompt
        anywhere."""
        least = min(loads.values(), default=0)

        def preference(replica: Replica) -> tuple[int, int, float]:
            known = self._index.matched(replica, keys)
            load = loads[replica]
            if known < self._min_match * len(keys) or load > least + self._max_imbalance:
                known = 0
            return (-known, load, self._index.size(replica) if keys else random.random())

        return sorted(loads, key=preference)

    def sent(self, replica: Replica, keys: Sequence[bytes]) -> None:
        self._index.add(replica, keys)

    def keep_only(self, replicas: Sequence[Replica]) -> None:
        """Forgets the others, which are gone."""
        self._index.keep_only(replicas)
