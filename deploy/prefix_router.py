"""Ray Serve's request router with an eye for prompts."""

from __future__ import annotations

from collections.abc import Sequence

from ray.serve.request_router import PendingRequest, ReplicaID, RequestRouter, RunningReplica

from ftllm.deploy.asgi_exchange import HttpRequest
from ftllm.deploy.prefix_choice import PrefixChoice
from ftllm.deploy.prefix_index import DEFAULT_BLOCKS


class PrefixRouter(RequestRouter):
    """Lives in the process of each ingress replica, which knows only what it has sent itself."""

    def initialize_state(
        self,
        min_match: float = 0.3,
        max_imbalance: int = 8,
        max_blocks: int = DEFAULT_BLOCKS,
    ) -> None:
        """Ray gives `request_router_kwargs`; see `PrefixChoice`."""
        self._choice: PrefixChoice[ReplicaID] = PrefixChoice(
            min_match=min_match, max_imbalance=max_imbalance, max_blocks=max_blocks
        )

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """The replicas in order of preference, each a rank of its own."""
        if pending_request is not None:
            pending_request.routing_context.should_backoff = True  # all replicas are in the ranks
        replicas = {each.replica_id: each for each in candidate_replicas}
        # Requests that Ray has lately seen a replica to have; 0 where that is not known.
        loads = {each: self.replica_queue_len_cache.get(each) or 0 for each in replicas}
        ranked = self._choice.ranked(loads, routing_keys(pending_request))
        return [[replicas[each]] for each in ranked]

    def on_request_routed(
        self, pending_request: PendingRequest, replica_id: ReplicaID, result: object
    ) -> None:
        self._choice.sent(replica_id, routing_keys(pending_request))

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        super().update_replicas(replicas)
        self._choice.keep_only([replica.replica_id for replica in replicas])


def routing_keys(pending_request: PendingRequest | None) -> Sequence[bytes]:
    if pending_request is None or not pending_request.args:
        return ()
    request = pending_request.args[0]
    return request.routing_keys if isinstance(request, HttpRequest) else ()
