"""A model's hyperparameters, from the keys of a Hugging Face config.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ftllm.errors import CheckpointError, UnsupportedModelError

MAX_DIMENSION = 1 << 24  # no width, vocabulary or context of a model comes near
_LARGEST = 1e30  # nor does a number of a model's configuration come near this


class ConfigReader:
    """Typed access to config keys; every complaint names the key, the value and what is allowed."""

    def __init__(self, values: Mapping[str, object], where: str = "config.json") -> None:
        self._values = values
        self._where = where

    def error(self, message: str) -> CheckpointError:
        return CheckpointError(f"{self._where}: {message}")

    def has(self, key: str) -> bool:
        return self._values.get(key) is not None

    def integer(self, *keys: str, default: int | None = None, least: int = 1) -> int:
        """The first of `keys` that is set."""
        for key in keys:
            value = self._values.get(key)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                raise self.error(f"{key} is {value!r}; an integer is expected")
            if not least <= value <= MAX_DIMENSION:
                raise self.error(f"{key} is {value}; it must be from {least} to {MAX_DIMENSION}")
            return value
        if default is None:
            raise self.error(f"the key {keys[0]} is missing")
        return default

    def number(self, *keys: str, default: float | None = None, above: float = -math.inf) -> float:
        for key in keys:
            value = self._values.get(key)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise self.error(f"{key} is {value!r}; a number is expected")
            if not -_LARGEST <= value <= _LARGEST:
                raise self.error(f"{key} is {value}; a finite number is expected")
            if not value > above:
                raise self.error(f"{key} is {value}; it must be above {above:g}")
            return float(value)
        if default is None:
            raise self.error(f"the key {keys[0]} is missing")
        return default

    def flag(self, key: str, *, default: bool) -> bool:
        value = self._values.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(f"{key} is {value!r}; true or false is expected")
        return value

    def text(self, *keys: str, default: str | None = None) -> str:
        for key in keys:
            value = self._values.get(key)
            if value is None:
                continue
            if not isinstance(value, str):
                raise self.error(f"{key} is {value!r}; a string is expected")
            return value
        if default is None:
            raise self.error(f"the key {keys[0]} is missing")
        return default

    def mapping(self, key: str) -> Mapping[str, object] | None:
        value = self._values.get(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.error(f"{key} is {value!r}; an object is expected")
        return value

    def sequence(self, key: str) -> Sequence[object] | None:
        value = self._values.get(key)
        if value is None:
            return None
        if not isinstance(value, list | tuple):
            raise self.error(f"{key} is {value!r}; a list is expected")
        return value


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What every family needs. Keys of one family alone are read from `extra` by its own file."""

    model_type: str
    from_gguf: bool
    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    rms_norm_eps: float
    max_position: int
    max_model_len: int  # the context that this process serves; rope scaling may depend on it
    activation: str  # "silu", "gelu_tanh" or "gelu"
    tie_word_embeddings: bool
    extra: ConfigReader

    @property
    def classifies(self) -> bool:
        """The model ends in a classifier of whole sequences."""
        names = self.extra.sequence("architectures") or ()
        return any(str(name).endswith("ForSequenceClassification") for name in names)

    def sliding_layers(self) -> tuple[bool, ...] | None:
        """Which layers attend within a window, by layer_types; None when the config has none."""
        types = self.extra.sequence("layer_types")
        if types is None:
            return None
        if len(types) != self.num_layers:
            raise self.extra.error(
                f"layer_types has {len(types)} entries for {self.num_layers} layers"
            )
        for kind in types:
            if kind not in ("full_attention", "sliding_attention"):
                raise UnsupportedModelError(
                    f"layer_types has {kind!r}; supported are full_attention, sliding_attention"
                )
        return tuple(kind == "sliding_attention" for kind in types)


_ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu": "gelu",
}


def parse_config(
    values: Mapping[str, object], *, from_gguf: bool, max_model_len: int | None
) -> ModelConfig:
    """Check `values` and fill in defaults; `max_model_len` None takes the model's own context."""
    reader = ConfigReader(values, "GGUF metadata" if from_gguf else "config.json")
    heads = reader.integer("num_attention_heads")
    kv_heads = reader.integer("num_key_value_heads", default=heads)
    hidden = reader.integer("hidden_size")
    head_dim = reader.integer("head_dim", default=max(1, hidden // heads))
    if heads % kv_heads:
        raise reader.error(
            f"num_attention_heads {heads} is not a multiple of num_key_value_heads {kv_heads}"
        )
    max_position = reader.integer("max_position_embeddings")
    activation = reader.text("hidden_act", "hidden_activation", default="silu")
    if activation not in _ACTIVATIONS:
        raise UnsupportedModelError(
            f"hidden_act is {activation!r}; supported are {', '.join(_ACTIVATIONS)}"
        )
    return ModelConfig(
        model_type=reader.text("model_type"),
        from_gguf=from_gguf,
        vocab_size=reader.integer("vocab_size"),
        hidden_size=hidden,
        num_layers=reader.integer("num_hidden_layers"),
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        intermediate_size=reader.integer("intermediate_size", "moe_intermediate_size"),
        rms_norm_eps=reader.number("rms_norm_eps", default=1e-6, above=0.0),
        max_position=max_position,
        max_model_len=max_model_len or max_position,
        activation=_ACTIVATIONS[activation],
        tie_word_embeddings=reader.flag("tie_word_embeddings", default=False),
        extra=reader,
    )
