"""Model configuration from GGUF metadata, in the spelling of a Hugging Face config.json.

Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from ftllm.errors import CheckpointError, UnsupportedModelError

_MAX_INT = 1 << 31  # no dimension, count or id of a model comes near


def config_from_metadata(
    metadata: Mapping[str, object], *, tie_word_embeddings: bool, where: str
) -> dict[str, object]:
    """The config of a GGUF model; keys that the file does not give are left out.

    "model_type" is general.architecture unchanged. Raises `CheckpointError` naming the GGUF key
    that is missing or out of range, `UnsupportedModelError` for a value that differs by layer.
    """
    reader = _Reader(metadata, where)
    hidden = reader.required_integer("embedding_length")
    heads = reader.required_integer("attention.head_count")
    head_dim = reader.integer("attention.key_length")
    if head_dim is None:
        if hidden % heads:
            raise reader.error(f"embedding_length {hidden} is not a multiple of {heads} heads")
        head_dim = hidden // heads
    expert_width = reader.integer("expert_feed_forward_length")
    width = reader.integer("feed_forward_length")
    if width is None and expert_width is None:
        width = reader.required_integer("feed_forward_length")
    config: dict[str, object | None] = {
        "model_type": reader.architecture,
        "hidden_size": hidden,
        "num_hidden_layers": reader.required_integer("block_count"),
        "intermediate_size": width,
        "num_attention_heads": heads,
        "num_key_value_heads": reader.integer("attention.head_count_kv") or heads,
        "head_dim": head_dim,
        "rms_norm_eps": reader.required_real("attention.layer_norm_rms_epsilon"),
        "vocab_size": reader.vocabulary_size(),
        "max_position_embeddings": reader.required_integer("context_length"),
        "rope_theta": reader.real("rope.freq_base") or 10000.0,
        "rope_local_base_freq": reader.real("rope.freq_base_swa"),
        "rope_dim": reader.integer("rope.dimension_count"),
        "sliding_window": reader.integer("attention.sliding_window", least=0) or None,
        "num_experts": reader.integer("expert_count", least=0) or None,
        "num_experts_per_tok": reader.integer("expert_used_count", least=0) or None,
        "moe_intermediate_size": expert_width,
        "attn_logit_softcapping": reader.real("attn_logit_softcapping"),
        "final_logit_softcapping": reader.real("final_logit_softcapping"),
        "bos_token_id": reader.token_id("bos_token_id"),
        "eos_token_id": reader.token_id("eos_token_id"),
    }
    known = {key: value for key, value in config.items() if value is not None}
    known["rope_scaling"] = _rope_scaling(reader)
    known["tie_word_embeddings"] = tie_word_embeddings
    return known


def generation_from_metadata(metadata: Mapping[str, object]) -> dict[str, object]:
    """What a generation_config.json would say: end-of-generation ids and suggested sampling."""
    ends = [metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
    generation: dict[str, object] = {}
    ids = list(dict.fromkeys(i for i in ends if isinstance(i, int) and i < _MAX_INT))
    if ids:
        generation["eos_token_id"] = ids
    for key, name in (
        ("temp", "temperature"),
        ("top_p", "top_p"),
        ("top_k", "top_k"),
        ("min_p", "min_p"),
        ("penalty_repeat", "repetition_penalty"),
    ):
        value = metadata.get(f"general.sampling.{key}")
        if isinstance(value, int | float) and math.isfinite(value):
            generation[name] = value
    return generation


def _rope_scaling(reader: _Reader) -> dict[str, object] | None:
    """None without scaling; "linear" and "yarn" in config.json's spelling; another type by name."""
    rope_type = reader.text("rope.scaling.type")
    factor = reader.real("rope.scaling.factor")
    if rope_type is None and factor is None:
        factor = reader.real("rope.scale_linear")  # the old key for linear
    if rope_type in (None, "linear"):
        if factor in (None, 1.0):
            return None
        rope_type = "linear"
    if rope_type == "none":
        return None
    scaling: dict[str, object] = {"rope_type": rope_type}
    if factor is not None:
        scaling["factor"] = factor
    original = reader.integer("rope.scaling.original_context_length")
    if original is not None:
        scaling["original_max_position_embeddings"] = original
    if rope_type == "yarn":
        if factor is None:
            raise reader.error("rope.scaling.type is yarn, but rope.scaling.factor is missing")
        attention = reader.real("rope.scaling.attn_factor")
        if attention is not None:  # GGUF multiplies YaRN's own factor, config.json replaces it
            scaling["attention_factor"] = attention * (0.1 * math.log(factor) + 1.0)
        for key, name in (("yarn_beta_fast", "beta_fast"), ("yarn_beta_slow", "beta_slow")):
            value = reader.real(f"rope.scaling.{key}")
            if value is not None:
                scaling[name] = value
    return scaling


class _Reader:
    """Typed access to the architecture's own keys."""

    def __init__(self, metadata: Mapping[str, object], where: str) -> None:
        self._metadata = metadata
        self._where = where
        architecture = metadata.get("general.architecture")
        if not isinstance(architecture, str) or not architecture:
            raise self.error(f"general.architecture is {architecture!r}; a name is expected")
        self.architecture = architecture

    def error(self, message: str) -> CheckpointError:
        return CheckpointError(f"{self._where}: {message}")

    def integer(self, key: str, *, least: int = 1) -> int | None:
        value = self._scalar(f"{self.architecture}.{key}")
        return None if value is None else self._checked(f"{self.architecture}.{key}", value, least)

    def required_integer(self, key: str) -> int:
        value = self.integer(key)
        if value is None:
            raise self._missing(key)
        return value

    def real(self, key: str) -> float | None:
        """A positive finite number."""
        full = f"{self.architecture}.{key}"
        value = self._scalar(full)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(f"{full} is {value!r}; a number is expected")
        if not math.isfinite(value) or value <= 0:
            raise self.error(f"{full} is {value}; a positive number is expected")
        return float(value)

    def required_real(self, key: str) -> float:
        value = self.real(key)
        if value is None:
            raise self._missing(key)
        return value

    def text(self, key: str) -> str | None:
        value = self._metadata.get(f"{self.architecture}.{key}")
        if value is not None and not isinstance(value, str):
            raise self.error(f"{self.architecture}.{key} is {value!r}; a string is expected")
        return value

    def token_id(self, name: str) -> int | None:
        key = f"tokenizer.ggml.{name}"
        value = self._metadata.get(key)
        return None if value is None else self._checked(key, value, 0)

    def vocabulary_size(self) -> int:
        size = self.integer("vocab_size")
        if size is not None:
            return size
        tokens = self._metadata.get("tokenizer.ggml.tokens")
        if not isinstance(tokens, list) or not tokens:
            raise self.error(
                f"neither {self.architecture}.vocab_size nor tokenizer.ggml.tokens is in the file"
            )
        return len(tokens)

    def _scalar(self, full: str) -> object | None:
        """A value; an array with one value per layer counts when all are the same."""
        value = self._metadata.get(full)
        if not isinstance(value, list):
            return value
        if value and all(item == value[0] for item in value):
            first: object = value[0]
            return first
        raise UnsupportedModelError(
            f"{self._where}: {full} differs by layer, which is not supported"
        )

    def _checked(self, full: str, value: object, least: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(f"{full} is {value!r}; an integer is expected")
        if not least <= value < _MAX_INT:
            raise self.error(f"{full} is {value}; it must be from {least} to {_MAX_INT - 1}")
        return value

    def _missing(self, key: str) -> CheckpointError:
        return self.error(f"the metadata key {self.architecture}.{key} is missing")
