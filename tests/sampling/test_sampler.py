"""Masks, penalties, order and randomness of the sampler against the NumPy oracle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from ftllm import _core
from tests.sampling.oracle import Float32Array, Options, adjusted, probabilities

VOCAB = 40


def row(seed: int, vocab: int = VOCAB, scale: float = 2.0) -> Float32Array:
    values = np.random.default_rng(seed).normal(size=vocab) * scale
    return values.astype(np.float32)


def draw_many(
    logits: Float32Array, options: Options, count: int, accepted: Sequence[int] = ()
) -> npt.NDArray[np.int64]:
    """How often each token is drawn, (V,): draw i is the next token under seed i."""
    counts = np.zeros(len(logits), np.int64)
    for seed in range(count):
        sampler = options_with_seed(options, seed).sampler(accepted)
        counts[_core.sample_row(sampler, logits)] += 1
    return counts


def options_with_seed(options: Options, seed: int) -> Options:
    fields = {name: getattr(options, name) for name in Options.__slots__}
    return Options(**{**fields, "seed": seed})


def greedy_choice(logits: Float32Array, options: Options, accepted: Sequence[int] = ()) -> int:
    return _core.sample_row(options.sampler(accepted), logits)


# --- greedy ------------------------------------------------------------------------------------


@pytest.mark.parametrize("vocab", [1, 2, 3, 7, 8, 9, 255, 1023, 1024, 1025, 5003])
def test_greedy_takes_the_argmax_at_every_size(vocab: int) -> None:
    for seed in range(20):
        logits = row(seed, vocab)
        assert greedy_choice(logits, Options(temperature=0)) == int(logits.argmax())


def test_greedy_takes_the_lowest_id_among_equals() -> None:
    logits = np.zeros(3000, np.float32)
    logits[[1500, 1502, 2900]] = 7.0
    assert greedy_choice(logits, Options(temperature=0)) == 1500
    assert greedy_choice(np.zeros(3000, np.float32), Options(temperature=0)) == 0


@pytest.mark.parametrize("temperature", [0.0, 1e-6, 1.0])
def test_nan_logits_are_never_chosen(temperature: float) -> None:
    logits = np.full(100, np.nan, np.float32)
    logits[57] = -3.0
    assert greedy_choice(logits, Options(temperature=temperature)) == 57


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_row_without_any_usable_logit_is_reported(value: float, temperature: float) -> None:
    with pytest.raises(ValueError, match="-inf"):
        greedy_choice(np.full(50, value, np.float32), Options(temperature=temperature))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_infinite_and_huge_logits_are_the_likeliest(temperature: float) -> None:
    logits = row(1)
    logits[9] = np.inf
    assert greedy_choice(logits, Options(temperature=temperature)) == 9
    logits[9] = np.finfo(np.float32).max
    assert greedy_choice(logits, Options(temperature=temperature)) == 9


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_penalty_that_overflows_keeps_a_logit_usable(temperature: float) -> None:
    logits = np.full(VOCAB, -np.finfo(np.float32).max, np.float32)
    logits[3] = np.finfo(np.float32).max
    options = Options(temperature=temperature, repetition_penalty=0.01, prompt_ids=[3])
    assert greedy_choice(logits, options) == 3


# --- penalties, biases, masks ------------------------------------------------------------------

ADJUSTMENTS = {
    "bias": Options(temperature=0, logit_bias={3: 2.5, 7: -100.0, 11: 0.25}),
    "repetition": Options(temperature=0, repetition_penalty=1.7, prompt_ids=[1, 2, 3, 3, 8]),
    "rewarded repetition": Options(temperature=0, repetition_penalty=0.4, prompt_ids=[5, 6]),
    "presence": Options(temperature=0, presence_penalty=1.5, prompt_ids=[1, 2, 3]),
    "frequency": Options(temperature=0, frequency_penalty=0.9, prompt_ids=[1, 2, 3]),
    "negative": Options(temperature=0, presence_penalty=-2.0, frequency_penalty=-0.5),
    "min_tokens": Options(temperature=0, min_tokens=4, stop_token_ids=[0, 5, 9, 10, 20]),
    "allowed": Options(temperature=0, allowed_token_ids=[30, 4, 4, 9, 31, VOCAB - 1]),
    "bad words": Options(temperature=0, bad_words=[[4], [11, 4], [8, 8], [4, 4, 9], [9, 8, 5]]),
    "all": Options(
        temperature=0,
        logit_bias={4: 3.0, 5: -1.0},
        repetition_penalty=1.3,
        presence_penalty=0.7,
        frequency_penalty=0.4,
        min_tokens=9,
        stop_token_ids=[2, 30],
        allowed_token_ids=range(1, 35),
        bad_words=[[3], [4, 11], [9, 8, 31]],
        prompt_ids=[4, 9, 12],
    ),
}


@pytest.mark.parametrize("name", ADJUSTMENTS)
@pytest.mark.parametrize("accepted", [[], [4], [4, 4, 11, 4], [8, 9, 8, 30, 31, 8]])
def test_adjusted_logits_match_the_oracle_token_by_token(name: str, accepted: list[int]) -> None:
    """With every other token masked, the sign of each pair's difference is what is sampled."""
    options = ADJUSTMENTS[name]
    for seed in range(10):
        logits = row(seed)
        wanted = adjusted(logits, options, accepted)
        assert greedy_choice(logits, options, accepted) == int(wanted.argmax())
        for token in range(VOCAB):
            rival = (token * 7 + seed) % VOCAB
            masked = np.full(VOCAB, -np.inf, np.float32)
            masked[[token, rival]] = logits[[token, rival]]
            pair = wanted[[token, rival]]
            if np.isfinite(pair).any() and abs(pair[0] - pair[1]) > 1e-4:
                choice = token if pair[0] > pair[1] else rival
                assert greedy_choice(masked, options, accepted) == choice


def test_stop_tokens_are_possible_from_min_tokens_on() -> None:
    logits = row(2)
    stop = int(logits.argmax())
    options = Options(temperature=0, min_tokens=2, stop_token_ids=[stop])
    assert greedy_choice(logits, options, []) != stop
    assert greedy_choice(logits, options, [1]) != stop
    assert greedy_choice(logits, options, [1, 2]) == stop


def test_a_bad_word_is_barred_where_it_would_be_completed() -> None:
    logits = row(2)
    best, second = (int(token) for token in np.argsort(-logits)[:2])
    options = Options(temperature=0, bad_words=[[7, 8, best]])
    assert greedy_choice(logits, options, [7, 8]) == second
    for accepted in ([], [8], [7], [8, 7], [7, 8, 9], [9, 8]):
        assert greedy_choice(logits, options, accepted) == best
    assert greedy_choice(logits, options, [1, 7, 8]) == second


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_row_whose_tokens_are_all_excluded_is_reported(temperature: float) -> None:
    for allowed, bad in (([], []), ([VOCAB + 1], []), ([5, 6], [[5], [6]])):
        options = Options(temperature=temperature, allowed_token_ids=allowed, bad_words=bad)
        with pytest.raises(ValueError, match="exclude every token"):
            greedy_choice(row(4), options)


def test_ids_beyond_the_vocabulary_have_no_effect() -> None:
    logits = row(3)
    options = Options(
        temperature=0,
        logit_bias={VOCAB: 9.0, 2**31 - 1: 9.0},
        stop_token_ids=[VOCAB],
        bad_words=[[VOCAB + 1]],
        min_tokens=5,
        repetition_penalty=2.0,
        prompt_ids=[VOCAB + 7],
    )
    assert greedy_choice(logits, options, [VOCAB]) == int(logits.argmax())


# --- the distribution --------------------------------------------------------------------------

DISTRIBUTIONS = {
    "plain": Options(),
    "cold": Options(temperature=0.4),
    "hot": Options(temperature=3.0),
    "top_k": Options(top_k=5),
    "top_k 1": Options(top_k=1),
    "top_k beyond the vocabulary": Options(top_k=10_000),
    "top_p": Options(top_p=0.8),
    "tiny top_p": Options(top_p=1e-9),
    "top_p near 1": Options(top_p=0.999),
    "min_p": Options(min_p=0.1),
    "min_p 1": Options(min_p=1.0),
    "top_k and top_p": Options(top_k=8, top_p=0.7, temperature=1.5),
    "min_p and top_p": Options(min_p=0.15, top_p=0.6, temperature=1.5),
    "all": Options(
        temperature=1.2,
        top_k=20,
        min_p=0.02,
        top_p=0.9,
        logit_bias={3: 1.0},
        repetition_penalty=1.2,
        presence_penalty=0.3,
        frequency_penalty=0.2,
        prompt_ids=[1, 2],
    ),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_draws_follow_the_distribution(name: str) -> None:
    """Pearson's chi-square over 20,000 draws; cells that expect under 5 are pooled."""
    options, accepted, draws = DISTRIBUTIONS[name], [2, 9, 9], 20_000
    logits = row(17)
    expected = probabilities(logits, options, accepted) * draws
    counts = draw_many(logits, options, draws, accepted)
    assert counts[expected == 0].sum() == 0
    common = expected >= 5
    cells = [*zip(counts[common], expected[common], strict=True)]
    if (rare := expected[~common].sum()) > 0:
        cells.append((counts[~common].sum(), max(rare, 5.0)))
    chi_square = sum((seen - wanted) ** 2 / wanted for seen, wanted in cells)
    freedom = max(len(cells) - 1, 1)
    # Wilson-Hilferty: the 99.9% point of a chi-square distribution; seeds are fixed.
    limit = freedom * (1 - 2 / (9 * freedom) + 3.1 * np.sqrt(2 / (9 * freedom))) ** 3
    assert chi_square <= limit


@pytest.mark.parametrize("scale", [0.5, 3.0, 8.0])
@pytest.mark.parametrize(
    "options",
    [
        Options(),
        Options(temperature=0.7, top_k=20, top_p=0.8),
        Options(top_p=0.9),
        Options(top_p=0.3),
        Options(top_k=3000),
        Options(top_k=20_000, top_p=0.95),
        Options(min_p=0.05),
        Options(min_p=1e-4, top_p=0.99),
    ],
    ids=str,
)
def test_a_large_vocabulary_draws_by_inverse_cdf(options: Options, scale: float) -> None:
    """Exact: the token is where the cumulative probability passes the stream's number."""
    logits = row(5, 50_001, scale)
    wanted = probabilities(logits, options)
    total = np.cumsum(wanted)
    for seed in range(25):
        token = _core.sample_row(options_with_seed(options, seed).sampler(), logits)
        number = _core.sampler_uniform(seed=seed, n=0)
        assert wanted[token] > 0
        slack = 2e-6  # float32 weights against float64
        assert total[token] - wanted[token] - slack <= number <= total[token] + slack


@pytest.mark.parametrize("top_k", [1, 2, 39, 300, 301, 4000, 9999])
def test_top_k_keeps_exactly_k_the_lower_ids_among_equals(top_k: int) -> None:
    logits = np.repeat(np.array([3.0, 1.0, 2.0, 0.0], np.float32), 2500)
    order = np.argsort(-logits, kind="stable")
    kept = set(order[:top_k].tolist())
    drawn = set()
    for seed in range(400):
        sampler = Options(top_k=top_k, temperature=20.0, seed=seed).sampler()
        drawn.add(_core.sample_row(sampler, logits))
    assert drawn <= kept
    assert len(drawn) >= min(top_k, 400) * 0.6


@pytest.mark.parametrize(("top_p", "count"), [(1e-6, 1), (0.1, 1000), (0.25, 2500), (0.9, 9000)])
def test_top_p_of_equal_tokens_keeps_the_lower_ids(top_p: float, count: int) -> None:
    logits = np.full(10_000, 1.5, np.float32)
    drawn = [_core.sample_row(Options(top_p=top_p, seed=s).sampler(), logits) for s in range(2000)]
    assert max(drawn) <= count
    assert max(drawn) >= count * 0.99 - 1


def test_low_temperature_ends_in_argmax_and_high_in_uniform() -> None:
    logits = row(23)
    cold = draw_many(logits, Options(temperature=1e-4), 200)
    assert cold[logits.argmax()] == 200
    hot = draw_many(logits, Options(temperature=1e6), 8000)
    assert hot.min() > 120  # 200 expected
    assert hot.max() < 290


def test_minus_infinity_is_never_drawn() -> None:
    logits = row(29)
    logits[::2] = -np.inf
    assert draw_many(logits, Options(temperature=100.0), 500)[::2].sum() == 0


# --- the random stream -------------------------------------------------------------------------


def philox(counter: Sequence[int], key: Sequence[int]) -> list[int]:
    """Philox4x32-10 as the paper's figure states it."""
    words, (k0, k1) = list(counter), key
    for _ in range(10):
        a, b = 0xD2511F53 * words[0], 0xCD9E8D57 * words[2]
        words = [
            (b >> 32) ^ words[1] ^ k0,
            b & 0xFFFFFFFF,
            (a >> 32) ^ words[3] ^ k1,
            a & 0xFFFFFFFF,
        ]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return words


def test_the_reference_philox_meets_its_published_vectors() -> None:
    zeros, ones = [0] * 4, [0xFFFFFFFF] * 4
    assert philox(zeros, zeros[:2]) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox(ones, ones[:2]) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]


@pytest.mark.parametrize("seed", [0, 1, 42, 2**32 + 5, 2**64 - 1])
@pytest.mark.parametrize("n", [0, 1, 1000, 2**32 + 9])
def test_the_stream_is_philox(seed: int, n: int) -> None:
    low, high = seed & 0xFFFFFFFF, seed >> 32
    words = philox([n & 0xFFFFFFFF, n >> 32, 0, 0], [low, high])
    assert _core.sampler_uniform(seed=seed, n=n) == ((words[1] << 32 | words[0]) >> 11) * 2.0**-53


def test_a_draw_depends_on_seed_and_position_alone() -> None:
    logits = [row(seed, 500) for seed in range(30)]
    options = Options(temperature=1.3, top_p=0.95, seed=1234)

    def tokens(*, disturbed: bool) -> list[int]:
        sampler, drawn = options.sampler(), []
        for step, step_logits in enumerate(logits):
            if disturbed:
                _core.sample_row(sampler, step_logits)  # a failed step that is run again
                other = Options(seed=step).sampler()
                other.accept(_core.sample_row(other, logits[0]))
            drawn.append(_core.sample_row(sampler, step_logits))
            sampler.accept(drawn[-1])
        return drawn

    first = tokens(disturbed=False)
    assert tokens(disturbed=True) == first
    late = options.sampler(accepted=first[:20])
    assert late.num_accepted == 20
    assert _core.sample_row(late, logits[20]) == first[20]


@pytest.mark.parametrize("temperature", [0.0, 1.3])
@pytest.mark.parametrize("name", ADJUSTMENTS)
def test_drafts_count_as_accepted_and_leave_no_trace(name: str, temperature: float) -> None:
    fields = {field: getattr(ADJUSTMENTS[name], field) for field in Options.__slots__}
    options = Options(**{**fields, "temperature": temperature, "seed": 11})
    rng = np.random.default_rng(5)
    for seed in range(60):
        accepted = rng.integers(0, VOCAB, rng.integers(0, 6)).tolist()
        drafts = rng.integers(0, 12, rng.integers(0, 9)).tolist()  # few ids: some come twice
        logits, sampler = row(seed, scale=0.7), options.sampler(accepted)
        plain = _core.sample_row(sampler, logits)
        wanted = _core.sample_row(options.sampler([*accepted, *drafts]), logits)
        assert _core.sample_row(sampler, logits, drafts) == wanted
        assert _core.sample_row(sampler, logits) == plain
        assert sampler.num_accepted == len(accepted)


def test_seeds_and_positions_give_different_draws() -> None:
    logits = np.zeros(100_000, np.float32)
    seeds = {_core.sample_row(Options(seed=seed).sampler(), logits) for seed in range(200)}
    assert len(seeds) > 190
    sampler, positions = Options(seed=7).sampler(), set()
    for _ in range(200):
        positions.add(_core.sample_row(sampler, logits))
        sampler.accept(0)
    assert len(positions) > 190


def test_negative_seeds_are_taken_modulo_2_to_the_64() -> None:
    logits = row(3, 1000)
    for n in range(5):
        signed, unsigned = Options(seed=-5 - n).sampler(), Options(seed=2**64 - 5 - n).sampler()
        assert _core.sample_row(signed, logits) == _core.sample_row(unsigned, logits)


# --- options -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -1.0),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.5),
        ("top_p", float("nan")),
        ("min_p", -0.1),
        ("min_p", 1.1),
        ("repetition_penalty", 0.0),
        ("repetition_penalty", float("nan")),
        ("presence_penalty", float("inf")),
        ("frequency_penalty", float("nan")),
        ("min_tokens", -1),
        ("logit_bias", {-1: 1.0}),
        ("logit_bias", {1: float("nan")}),
        ("stop_token_ids", [-1]),
        ("allowed_token_ids", [3, -1]),
        ("bad_words", [[1], [2, -1]]),
        ("bad_words", [[]]),
        ("prompt_ids", [-2]),
        ("seed", 2**64),
        ("seed", -(2**63) - 1),
    ],
)
def test_values_out_of_range_are_refused_by_name(name: str, value: object) -> None:
    fields: Mapping[str, object] = {name: value}
    with pytest.raises(ValueError, match=name):
        Options(**fields).sampler()  # type: ignore[arg-type]


def test_accept_refuses_a_negative_id_and_counts_the_others() -> None:
    sampler = Options().sampler()
    with pytest.raises(ValueError, match="token_id"):
        sampler.accept(-1)
    for token in (0, 5, 5):
        sampler.accept(token)
    assert sampler.num_accepted == 3
