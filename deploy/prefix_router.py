"""Ray Serve's request router with an eye for prompts: a request goes where its beginning has been
read before, unless that replica has much more to do than another."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ray.serve.request_router import PendingRequest, ReplicaID, RequestRouter, RunningReplica

from ftllm.deploy.asgi_exchange import HttpRequest
from ftllm.deploy.prefix_index import DEFAULT_BLOCKS, PrefixIndex


class PrefixRouter(RequestRouter):
    """Lives in the process of each ingress replica, which knows only what it has sent itself."""

    def initialize_state(
        self,
        min_match: float = 0.3,
        max_imbalance: int = 8,
        max_blocks: int = DEFAULT_BLOCKS,
    ) -> None:
        """A replica is preferred when it has read `min_match` (0 to 1) of a prompt and has at most
        `max_imbalance` requests more than the one with the fewest."""
        self._min_match = min_match
        self._max_imbalance = max_imbalance
        self._index: PrefixIndex[ReplicaID] = PrefixIndex(max_blocks=max_blocks)

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """The replicas in order of preference, each a rank of its own."""
        if pending_request is not None:
            pending_request.routing_context.should_backoff = True  # all replicas are in the ranks
        keys = routing_keys(pending_request)
        loads = {each.replica_id: self._load(each) for each in candidate_replicas}
        least = min(loads.values(), default=0)

        def preference(replica: RunningReplica) -> tuple[int, int, float]:
            known = self._index.matched(replica.replica_id, keys)
            load = loads[replica.replica_id]
            fits = known and known >= self._min_match * len(keys)
            if not fits or load > least + self._max_imbalance:
                known = 0
            size = self._index.size(replica.replica_id) if keys else random.random()
            return (-known, load, size)

        return [[replica] for replica in sorted(candidate_replicas, key=preference)]

    def on_request_routed(
        self, pending_request: PendingRequest, replica_id: ReplicaID, result: object
    ) -> None:
        self._index.add(replica_id, routing_keys(pending_request))

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        super().update_replicas(replicas)
        self._index.keep_only([replica.replica_id for replica in replicas])

    def _load(self, replica: RunningReplica) -> int:
        """Requests that the replica was seen to have; 0 where that is not known."""
        return self.replica_queue_len_cache.get(replica.replica_id) or 0


def routing_keys(pending_request: PendingRequest | None) -> Sequence[bytes]:
    if pending_request is None or not pending_request.args:
        return ()
    request = pending_request.args[0]
    return request.routing_keys if isinstance(request, HttpRequest) else ()
