"""Rotary embedding: frequencies from a config's rope_parameters, or rope_theta + rope_scaling.

Su et al. 2021 (arXiv:2104.09864). Scalings as Hugging Face transformers defines them: linear
(position interpolation, arXiv:2306.15595), dynamic NTK, llama3 (by wavelength), yarn
(arXiv:2309.00071).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ftllm.engine.config import ConfigReader, ModelConfig
from ftllm.errors import UnsupportedModelError

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RopeFrequencies:
    """Position p turns pair i by p · frequencies[i]; cos and sin are multiplied by `factor`."""

    frequencies: npt.NDArray[np.float32]  # (pairs,)
    factor: float


def rope_frequencies(
    c: ModelConfig, parameters: ConfigReader, *, divisors: Float64Array | None = None
) -> RopeFrequencies:
    """Frequencies of one kind of layer.

    `parameters` holds rope_theta and, when scaled, rope_type (or type), factor and so on.
    `divisors` (pairs,): per-frequency divisors that a checkpoint carries as a tensor.
    Raises `CheckpointError` for parameters that are out of range or give no finite frequencies.
    """
    try:
        with np.errstate(all="ignore"):
            found = _frequencies(c, parameters, divisors)
    except (ArithmeticError, ValueError) as problem:
        raise parameters.error(f"no frequencies follow from these values: {problem}") from problem
    if not (np.isfinite(found.frequencies).all() and math.isfinite(found.factor)):
        raise parameters.error("the frequencies that follow from these values are not finite")
    return found


def _frequencies(
    c: ModelConfig, parameters: ConfigReader, divisors: Float64Array | None
) -> RopeFrequencies:
    theta = parameters.number("rope_theta", default=10000.0, above=1.0)
    share = parameters.number("partial_rotary_factor", default=1.0)
    dim = int(c.head_dim * share)
    if dim < 2 or dim % 2:
        raise parameters.error(
            f"partial_rotary_factor {share} rotates {dim} of {c.head_dim} values"
        )
    base = _plain(theta, dim)
    if divisors is not None:
        if divisors.shape != base.shape:
            raise parameters.error(
                f"there are {divisors.size} rope divisors for {base.size} frequencies"
            )
        return _result(base / divisors, 1.0)
    kind = parameters.text("rope_type", "type", default="default")
    if kind == "default":
        return _result(base, 1.0)
    if kind == "linear":
        return _result(base / parameters.number("factor", above=0.0), 1.0)
    if kind == "dynamic":
        return _result(_dynamic(c, parameters, theta, dim), 1.0)
    if kind == "llama3":
        return _result(_by_wavelength(parameters, base), 1.0)
    if kind == "yarn":
        return _yarn(c, parameters, theta, dim)
    raise UnsupportedModelError(
        f"rope_type is {kind!r}; supported are default, linear, dynamic, llama3, yarn"
    )


def rope_parameters(c: ModelConfig, layer_type: str = "full_attention") -> ConfigReader:
    """The rope keys of one layer type, from either spelling of the config."""
    new = c.extra.mapping("rope_parameters")
    if new is not None:
        nested = new.get(layer_type)
        return ConfigReader(nested if isinstance(nested, dict) else new, "rope_parameters")
    merged: dict[str, object] = dict(c.extra.mapping("rope_scaling") or {})
    merged["rope_theta"] = c.extra.number("rope_theta", default=10000.0)
    if c.extra.has("partial_rotary_factor"):
        merged["partial_rotary_factor"] = c.extra.number("partial_rotary_factor")
    return ConfigReader(merged, "rope_scaling")


def _plain(theta: float, dim: int) -> Float64Array:
    exponents = np.arange(0, dim, 2, dtype=np.float64) / dim
    return 1.0 / theta**exponents


def _result(frequencies: Float64Array, factor: float) -> RopeFrequencies:
    return RopeFrequencies(frequencies.astype(np.float32), factor)


def _dynamic(c: ModelConfig, parameters: ConfigReader, theta: float, dim: int) -> Float64Array:
    """NTK-aware base for the served context as a whole.

    transformers recomputes the base as a sequence grows, which would make a token's logits depend
    on how its prompt was cut into chunks; one base for the longest sequence does not.
    """
    factor = parameters.number("factor", above=0.0)
    original = parameters.integer("original_max_position_embeddings", default=c.max_position)
    length = max(c.max_model_len, original)
    stretch = factor * length / original - (factor - 1.0)
    return _plain(theta * stretch ** (dim / (dim - 2)), dim)


def _by_wavelength(parameters: ConfigReader, base: Float64Array) -> Float64Array:
    """Long wavelengths divided by `factor`, short ones kept, a smooth blend between."""
    factor = parameters.number("factor", above=0.0)
    low = parameters.number("low_freq_factor")
    high = parameters.number("high_freq_factor")
    context = parameters.integer("original_max_position_embeddings")
    turns = context * base / (2.0 * math.pi)
    blend = np.clip((turns - low) / (high - low), 0.0, 1.0)
    scaled: Float64Array = base * blend + base / factor * (1.0 - blend)
    return scaled


def _yarn(c: ModelConfig, parameters: ConfigReader, theta: float, dim: int) -> RopeFrequencies:
    factor = parameters.number("factor", above=0.0)
    context = parameters.integer("original_max_position_embeddings", default=c.max_position)
    fast = parameters.number("beta_fast", default=32.0)
    slow = parameters.number("beta_slow", default=1.0)

    def dimension_of(turns: float) -> float:
        return dim * math.log(context / (turns * 2.0 * math.pi)) / (2.0 * math.log(theta))

    low, high = dimension_of(fast), dimension_of(slow)
    if parameters.flag("truncate", default=True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0.0), min(high, dim - 1.0)
    if low == high:
        high += 0.001  # the ramp becomes a step
    ramp = np.clip((np.arange(dim // 2, dtype=np.float64) - low) / (high - low), 0.0, 1.0)
    base = _plain(theta, dim)
    return _result(base / factor * ramp + base * (1.0 - ramp), _yarn_factor(parameters, factor))


def _yarn_factor(parameters: ConfigReader, factor: float) -> float:
    def mscale(weight: float) -> float:
        return 1.0 if factor <= 1.0 else 0.1 * weight * math.log(factor) + 1.0

    if parameters.has("attention_factor"):
        return parameters.number("attention_factor")
    if parameters.has("mscale") and parameters.has("mscale_all_dim"):
        return mscale(parameters.number("mscale")) / mscale(parameters.number("mscale_all_dim"))
    return mscale(1.0)
