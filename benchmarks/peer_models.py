"""The models that ftllm and its peers are compared with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from random_models import SAFETENSORS, SHAPES, random_model

from ftllm.progress import SilentProgress
from ftllm.sources.resolve import resolve

_REAL_MODELS_FILE = Path(__file__).parents[1] / "tests" / "models.yaml"
REAL = {"smollm2-135m": None, "qwen2.5-coder-0.5b": _REAL_MODELS_FILE}  # Q4_1, Q4_K_M
RANDOM = (
    *(f"0.6b-{recipe}" for recipe in ("bf16", "q8_0", "q4_0", "q4_k_m", "int4g")),
    *("moe-q8_0", "moe-q4_0"),
)
NAMES = (*REAL, *RANDOM)
# What the original, which reads no such GGUF file without the folder, is given for a format.
_ORIGINAL_DTYPES = {"bf16": "bfloat16", "q8_0": "int8", "int4g": "int4g"}


@dataclass(frozen=True, slots=True)
class PeerModel:
    """One model, as every engine gets it."""

    name: str
    ours: Path
    dtype: str  # ftllm's --dtype
    gguf: Path  # what the peers load
    kind: str  # of its targets: "4-bit", "8-bit", "bf16" or "moe"
    shape: str | None = None  # of random weights
    original_dtype: str | None = None  # None: no comparison with the original

    def original_folder(self) -> Path:
        """A safetensors folder of the same shape, made at its first use. Its output layer has
        weights of its own, without which the original stops; its work is the same."""
        assert self.shape is not None, "real models have no such folder"
        return random_model(replace(SHAPES[self.shape], tied=False), SAFETENSORS)


def peer_model(name: str, models_file: Path | None) -> PeerModel:
    """Makes or fetches a model. `name` is one of NAMES or a MODEL that is one GGUF file."""
    if name in RANDOM:
        return _random(name)
    if "/" not in name and name not in REAL and not Path(name).exists() and models_file is None:
        raise ValueError(f"--models has {name!r}; give a GGUF file, or of {', '.join(NAMES)}")
    files = resolve(
        name,
        cache_dir=None,
        revision=None,
        models_file=models_file or REAL.get(name),
        progress=SilentProgress(),
    )
    path = Path(files.path)
    if path.suffix != ".gguf":
        raise ValueError(f"--models has {name!r}, whose files are no single GGUF file: {path}")
    kind = "8-bit" if "q8" in path.name.lower() else "4-bit"
    return PeerModel(name if name in REAL else path.name, path, "auto", path, kind)


def _random(name: str) -> PeerModel:
    shape, recipe = name.split("-")
    kind = {"bf16": "bf16", "q8_0": "8-bit"}.get(recipe, "4-bit")
    if recipe == "int4g":  # the peers have no such format: Q4_0 is the nearest
        ours = random_model(SHAPES[shape], "bf16")
        gguf = random_model(SHAPES[shape], "q4_0")
        label, dtype = f"{name} (peers: Q4_0)", "int4g"
    else:
        ours = gguf = random_model(SHAPES[shape], recipe)
        label, dtype = name, "auto"
    return PeerModel(
        label,
        ours,
        dtype,
        gguf,
        "moe" if shape == "moe" else kind,
        shape,
        _ORIGINAL_DTYPES.get(recipe) if shape != "moe" else None,
    )
