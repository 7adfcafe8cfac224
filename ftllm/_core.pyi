"""The C++ engine: kernels, graph executor, KV cache and sampler."""

from collections.abc import Mapping, Sequence

class Sampler:
    """Sampling state of one request: its parameters, token counts and random stream.

    The n-th token depends only on the logits, the parameters, the seed and n. `accept` counts a
    token as generated; `step` never changes a sampler, so a failed step needs no undoing.
    """

    def __init__(
        self,
        *,
        temperature: float,
        top_k: int,
        top_p: float,
        min_p: float,
        repetition_penalty: float,
        presence_penalty: float,
        frequency_penalty: float,
        logit_bias: Mapping[int, float],
        seed: int,
        min_tokens: int,
        stop_token_ids: Sequence[int],
        prompt_ids: Sequence[int],
    ) -> None: ...
    def accept(self, token_id: int) -> None: ...
    @property
    def num_accepted(self) -> int: ...
