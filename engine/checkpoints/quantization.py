"""Which quantization scheme a config.json names."""

from __future__ import annotations

from collections.abc import Mapping

from ftllm.engine.checkpoints.awq import Awq
from ftllm.engine.checkpoints.converted import Scheme
from ftllm.engine.checkpoints.fp8 import Fp8
from ftllm.engine.checkpoints.gptq import Gptq
from ftllm.engine.checkpoints.nvfp4 import Nvfp4
from ftllm.errors import CheckpointError, UnsupportedModelError

_SUPPORTED = "awq, gptq, fp8, fbgemm_fp8, modelopt and compressed-tensors (float-quantized, nvfp4)"


def find_scheme(config: Mapping[str, object]) -> Scheme | None:
    """The scheme of "quantization_config" (or "compression_config"); None when there is none.

    Raises `UnsupportedModelError` for a scheme that is not supported.
    """
    settings = config.get("quantization_config", config.get("compression_config"))
    if settings is None:
        return None
    if not isinstance(settings, dict):
        raise CheckpointError(f"quantization_config is {settings!r}; an object is expected")
    method = str(settings.get("quant_method", "")).lower()
    if method == "awq":
        return Awq(settings)
    if method == "gptq":
        return Gptq(settings)
    if method in ("fp8", "fbgemm_fp8"):
        return Fp8(settings)
    if method == "modelopt":
        return _modelopt(settings)
    if method == "compressed-tensors":
        return _compressed_tensors(settings)
    raise UnsupportedModelError(
        f"quantization_config has quant_method {method!r}; supported are {_SUPPORTED}"
    )


def _modelopt(settings: Mapping[str, object]) -> Scheme:
    algorithm = str(settings.get("quant_algo", "")).upper()
    if algorithm == "FP8":
        return Fp8({})
    if algorithm == "NVFP4":
        return Nvfp4("weight")
    raise UnsupportedModelError(
        f"quantization_config has quant_algo {algorithm!r}; supported are FP8 and NVFP4"
    )


def _compressed_tensors(settings: Mapping[str, object]) -> Scheme:
    """https://github.com/vllm-project/compressed-tensors"""
    kind = str(settings.get("format", ""))
    if kind == "nvfp4-pack-quantized":
        return Nvfp4("weight_packed")
    if kind != "float-quantized":
        raise UnsupportedModelError(
            f"quantization_config has format {kind!r}; supported are float-quantized and"
            " nvfp4-pack-quantized"
        )
    groups = settings.get("config_groups")
    blocks = []
    for group in groups.values() if isinstance(groups, dict) else ():
        weights = group.get("weights") if isinstance(group, dict) else None
        if isinstance(weights, dict) and weights.get("block_structure") is not None:
            blocks.append(weights["block_structure"])
    if any(block != blocks[0] for block in blocks):
        raise UnsupportedModelError(f"config_groups have several block structures: {blocks}")
    return Fp8({"weight_block_size": blocks[0]} if blocks else {})
