"""An executor and a sampler without a model, for tests of everything around them.

A "key/value" is a 64-bit digest of the token, its position and the digest before it, kept in a
simulated paged store. Each row reads all earlier positions back through its block table, and the
logits of a row are a digest of everything it read. A wrong table, a stale block, a bad prefix hit
or a lost token therefore changes the output. `expected_tokens` computes the same without pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ftllm.engine.matcher import MaskRows
from ftllm.engine.params import SamplingParams
from ftllm.engine.plan import ALL_EXCLUDED, StepPlan, StepResult

MASK = 2**64 - 1
HIDDEN = 4  # values of a hidden state


def mix(*values: int) -> int:
    """A 64-bit digest (splitmix64's finaliser after each value)."""
    state = 0x9E3779B97F4A7C15
    for value in values:
        state = (state ^ (value & MASK)) * 0xBF58476D1CE4E5B9 & MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & MASK
        state ^= state >> 31
    return state


class FakeSampler:
    """Same contract as `_core.Sampler`: depends on logits, parameters, seed and what it counted."""

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
        allowed_token_ids: Sequence[int] | None = None,
        bad_words: Sequence[Sequence[int]] = (),
    ) -> None:
        if not 0 <= seed < 2**64:
            raise ValueError(f"seed {seed} is not an unsigned 64-bit number")
        self.seed = 0 if temperature == 0 else seed
        self.min_tokens = min_tokens
        self.stop_token_ids = frozenset(stop_token_ids)
        self.allowed_token_ids = allowed_token_ids
        self.bad_words = bad_words
        self.accepted: list[int] = []
        self._history = 0

    def accept(self, token_id: int) -> None:
        self.accepted.append(token_id)
        self._history = mix(self._history, token_id)

    @property
    def num_accepted(self) -> int:
        return len(self.accepted)

    def sample(
        self,
        logits: int,
        vocab_size: int,
        drafts: Sequence[int] = (),
        mask: Sequence[int] | None = None,
    ) -> int:
        """`mask`: the tokens that a grammar allows."""
        number, history = self.num_accepted + len(drafts), self._history
        for draft in drafts:
            history = mix(history, draft)
        if self.allowed_token_ids is not None:
            output = [*self.accepted, *drafts]
            bad = {
                last
                for *first, last in self.bad_words
                if output[len(output) - len(first) :] == first
            }
            left = [token for token in self.allowed_token_ids if token not in bad]
            return left[mix(logits, number) % len(left)] if left else ALL_EXCLUDED
        if mask is not None:
            left = [token for token in mask if token not in self._stops_at(number)]
            return (
                left[mix(logits, self.seed, number, history) % len(left)] if left else ALL_EXCLUDED
            )
        token = mix(logits, self.seed, number, history) % vocab_size
        while token in self._stops_at(number):
            token = (token + 1) % vocab_size
        return token

    def _stops_at(self, number: int) -> frozenset[int]:
        """Stop tokens that cannot be sampled yet."""
        return self.stop_token_ids if number < self.min_tokens else frozenset()


def allowed_tokens(masks: MaskRows, row: int) -> list[int]:
    """The ids whose bits are set."""
    data = masks.data[row * masks.row_bytes : (row + 1) * masks.row_bytes]
    return [
        8 * place + bit for place, byte in enumerate(data) for bit in range(8) if byte >> bit & 1
    ]


def logprob(logits: int, token_id: int) -> float:
    return -float(np.float32((mix(logits, token_id) % 100_000) / 7_919))


def most_likely(logits: int, count: int, vocab_size: int) -> list[int]:
    order = sorted(range(vocab_size), key=lambda token: -logprob(logits, token))
    return order[: max(count, 0)]


def hidden_state(logits: int) -> npt.NDArray[np.float32]:
    """(HIDDEN,) of the row with these logits; so uneven that the order of sums matters."""
    return np.array([mix(logits, place) % 99_991 / 7919 for place in range(HIDDEN)], np.float32)


@dataclass
class FakeExecutor:
    """Checks every plan against the contract of `StepPlan`, then computes it."""

    block_size: int = 4
    num_blocks: int = 16
    max_batched_tokens: int = 64
    max_batch: int = 8
    vocab_size: int = 50
    steps: int = 0
    plans: list[StepPlan] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Never zero: what was not written must not look like anything.
        self.store = [
            [mix(block, slot, 777) for slot in range(self.block_size)]
            for block in range(self.num_blocks)
        ]

    def step(self, plan: StepPlan) -> StepResult:
        self.steps += 1
        self.plans.append(plan)
        self._check(plan)
        logits = self._write(plan)
        tokens: list[int] = []
        logprobs: list[float] = []
        ranks: list[int] = []
        width = max([0, *plan.output_top.tolist()])
        top_ids = np.full((len(plan.output_rows), width), -1, np.int32)
        top_logprobs = np.zeros((len(plan.output_rows), width), np.float32)
        for index, row in enumerate(plan.output_rows.tolist()):
            target, top = int(plan.output_targets[index]), int(plan.output_top[index])
            sampler: object = plan.samplers[index]
            if target < 0:
                assert isinstance(sampler, FakeSampler)
                drafts = plan.token_ids[row + 1 - int(plan.output_drafts[index]) : row + 1]
                mask = self._mask(plan, index)
                target = sampler.sample(logits[row], self.vocab_size, drafts.tolist(), mask)
            else:
                assert sampler is None
            tokens.append(target)
            logprobs.append(0.0 if top < 0 else logprob(logits[row], target))
            order = most_likely(logits[row], self.vocab_size if top >= 0 else 0, self.vocab_size)
            ranks.append(order.index(target) + 1 if top >= 0 else 0)
            for place, token in enumerate(most_likely(logits[row], top, self.vocab_size)):
                top_ids[index, place] = token
                top_logprobs[index, place] = logprob(logits[row], token)
        hidden = [hidden_state(logits[row]) for row in plan.pooled_rows.tolist()]
        return StepResult(
            np.array(tokens, np.int32),
            np.array(logprobs, np.float32),
            np.array(ranks, np.int32),
            top_ids,
            top_logprobs,
            np.array(hidden, np.float32).reshape(-1, HIDDEN),
        )

    def _mask(self, plan: StepPlan, index: int) -> list[int] | None:
        row = int(plan.output_masks[index])
        if row < 0:
            return None
        assert plan.masks is not None
        plan.masks.wait()
        return allowed_tokens(plan.masks, row)

    def _write(self, plan: StepPlan) -> dict[int, int]:
        """Store each row's digest; returns the logits of the output rows."""
        wanted = {*plan.output_rows.tolist(), *plan.pooled_rows.tolist()}
        logits: dict[int, int] = {}
        size = self.block_size
        for seq, start in enumerate(plan.context_lens.tolist()):
            table = plan.block_tables[seq].tolist()
            first, last = plan.row_starts[seq : seq + 2].tolist()
            for position, row in enumerate(range(first, last), start):
                before = 0
                if position:
                    before = self.store[table[(position - 1) // size]][(position - 1) % size]
                block = table[position // size]
                self.store[block][position % size] = mix(int(plan.token_ids[row]), position, before)
                if row in wanted:
                    seen = [
                        self.store[table[place // size]][place % size]
                        for place in range(position + 1)
                    ]
                    logits[row] = mix(*seen)
        return logits

    def _check(self, plan: StepPlan) -> None:
        arrays = (
            plan.token_ids,
            plan.row_starts,
            plan.context_lens,
            plan.block_tables,
            plan.output_rows,
            plan.output_targets,
            plan.output_top,
            plan.output_drafts,
            plan.pooled_rows,
            plan.output_masks,
        )
        for array in arrays:
            assert array.dtype == np.int32
            assert array.flags.c_contiguous
            assert not array.flags.writeable
        rows, sequences = len(plan.token_ids), len(plan.context_lens)
        assert 1 <= rows <= self.max_batched_tokens
        assert 1 <= sequences <= self.max_batch
        assert plan.row_starts.shape == (sequences + 1,)
        assert plan.row_starts[0] == 0
        assert plan.row_starts[-1] == rows
        assert (np.diff(plan.row_starts) > 0).all()
        assert ((plan.token_ids >= 0) & (plan.token_ids < self.vocab_size)).all()
        outputs = len(plan.output_rows)
        assert plan.output_targets.shape == plan.output_top.shape == (outputs,)
        assert plan.output_drafts.shape == (outputs,)
        assert plan.output_masks.shape == (outputs,)
        assert len(plan.samplers) == outputs
        again = np.diff(plan.output_rows) == 0  # a row with several targets
        assert (np.diff(plan.output_rows) >= 0).all()
        assert (plan.output_targets[1:][again] >= 0).all()
        assert (np.diff(plan.pooled_rows) > 0).all()
        assert ((plan.pooled_rows >= 0) & (plan.pooled_rows < rows)).all()
        assert ((plan.output_rows >= 0) & (plan.output_rows < rows)).all()
        assert ((plan.output_top >= -1) & (plan.output_top <= 20)).all()
        self._check_drafts(plan)
        self._check_tables(plan)
        self._check_masks(plan)

    def _check_masks(self, plan: StepPlan) -> None:
        """Each mask belongs to one sampled row, and each is asked for."""
        used = [row for row in plan.output_masks.tolist() if row >= 0]
        assert used == list(range(0 if plan.masks is None else plan.masks.rows))
        assert (plan.output_targets[plan.output_masks >= 0] < 0).all()
        asked = [
            row
            for request in plan.mask_requests
            for row in range(request.row, request.row + 1 + len(request.drafts))
        ]
        assert asked == used

    def _check_drafts(self, plan: StepPlan) -> None:
        """A sequence samples at its last rows alone, one after the other, with its own sampler."""
        outputs = zip(
            plan.output_rows.tolist(),
            plan.output_targets.tolist(),
            plan.output_drafts.tolist(),
            plan.samplers,
            strict=True,
        )
        sampled = {row: (drafts, sampler) for row, goal, drafts, sampler in outputs if goal < 0}
        for first, end in pairwise(plan.row_starts.tolist()):
            rows = [row for row in range(first, end) if row in sampled]
            assert rows == list(range(end - len(rows), end)), "a row between drafts is not sampled"
            assert [sampled[row][0] for row in rows] == list(range(len(rows))), "drafts"
            assert len({id(sampled[row][1]) for row in rows}) <= 1, "drafts of another sequence"
        targets = plan.output_targets >= 0
        assert not plan.output_drafts[targets].any(), "a scored row has drafts"

    def _check_tables(self, plan: StepPlan) -> None:
        holders: dict[int, list[int]] = {}
        written: dict[int, int] = {}
        assert plan.block_tables.shape[0] == len(plan.context_lens)
        for seq, start in enumerate(plan.context_lens.tolist()):
            end = start + int(plan.row_starts[seq + 1] - plan.row_starts[seq])
            row = plan.block_tables[seq].tolist()
            used = [block for block in row if block >= 0]
            assert row == used + [-1] * (len(row) - len(used)), "blocks after a gap"
            assert len(set(used)) == len(used), "a block twice in one table"
            assert all(block < self.num_blocks for block in used)
            assert len(used) * self.block_size >= end, "no block for a row"
            for block in used:
                holders.setdefault(block, []).append(seq)
            for block in used[start // self.block_size : -(-end // self.block_size)]:
                assert block not in written, "two sequences write one block"
                written[block] = seq
        for block in written:
            assert len(holders[block]) == 1, f"block {block} is written while shared"


def expected_tokens(
    prompt: Sequence[int], params: SamplingParams, *, vocab_size: int, context_len: int
) -> list[int]:
    """What a request must produce whatever else is running. `params.seed` must be set."""
    assert params.seed is not None
    sampler = FakeSampler(
        temperature=params.temperature,
        top_k=params.top_k,
        top_p=params.top_p,
        min_p=params.min_p,
        repetition_penalty=params.repetition_penalty,
        presence_penalty=params.presence_penalty,
        frequency_penalty=params.frequency_penalty,
        logit_bias=params.logit_bias,
        seed=params.seed % 2**64,
        min_tokens=params.min_tokens,
        stop_token_ids=sorted(params.stop_token_ids),
        prompt_ids=prompt,
    )
    digests = prefix_digests(prompt)
    limit = context_len - len(prompt)
    if params.max_tokens is not None:
        limit = min(limit, params.max_tokens)
    matcher = None if params.grammar is None else params.grammar.matcher()
    while sampler.num_accepted < limit:
        mask = None
        if matcher is not None and not matcher.unconstrained:
            mask = [token for token in range(vocab_size) if matcher.count_allowed([token])]
        token = sampler.sample(mix(*digests), vocab_size, mask=mask)
        if token == ALL_EXCLUDED:
            break
        sampler.accept(token)
        digests.append(mix(token, len(digests), digests[-1]))
        if matcher is not None:
            matcher.accept(token)
            if matcher.finished:
                break
        if token in params.stop_token_ids:
            break
    return sampler.accepted


def prefix_digests(tokens: Sequence[int]) -> list[int]:
    """The stored digest of each position; `mix` of the first n are the logits after n tokens."""
    digests: list[int] = []
    for position, token in enumerate(tokens):
        digests.append(mix(token, position, digests[-1] if digests else 0))
    return digests
