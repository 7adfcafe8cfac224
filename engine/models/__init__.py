"""Model families, one file each. A file offers

MODEL_TYPES            values of config.json's model_type that it builds
GGUF_ARCHITECTURES     values of a GGUF's general.architecture
GGUF_TENSORS           canonical tensor names to GGUF's
build(g, c)            records the model, returns its logits; None when it has no output layer
configure(c)           optional: the config as this family means it
CAUSAL                 optional, True without it: no token attends to those after it
gguf_row_order(c, name)  optional: in which order rows of a GGUF matrix are wanted
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Protocol, cast

from ftllm.engine.config import ModelConfig
from ftllm.engine.graph import Graph, Value
from ftllm.engine.weights import RowOrder
from ftllm.errors import UnsupportedModelError


class Family(Protocol):
    """What a family's module has."""

    MODEL_TYPES: tuple[str, ...]
    GGUF_ARCHITECTURES: tuple[str, ...]
    GGUF_TENSORS: Mapping[str, str]

    def build(self, g: Graph, c: ModelConfig) -> Value | None: ...


def families() -> tuple[Family, ...]:
    """Every family in this package."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return tuple(cast(Family, module) for module in modules if hasattr(module, "MODEL_TYPES"))


def find_family(model_type: str, *, from_gguf: bool) -> Family:
    """The family that builds `model_type`; `UnsupportedModelError` lists the known ones."""
    known: list[str] = []
    for family in families():
        types = family.GGUF_ARCHITECTURES if from_gguf else family.MODEL_TYPES
        if model_type in types:
            return family
        known.extend(types)
    kind = "GGUF architecture" if from_gguf else "model_type"
    raise UnsupportedModelError(
        f"{kind} {model_type!r} is not supported; supported are {', '.join(sorted(known))}"
    )


def configure(family: Family, c: ModelConfig) -> ModelConfig:
    """The config as the family means it."""
    change = getattr(family, "configure", None)
    return c if change is None else cast(ModelConfig, change(c))


def is_causal(family: Family) -> bool:
    """Whether no token of the family's models attends to those after it."""
    return bool(getattr(family, "CAUSAL", True))


def row_order(family: Family, c: ModelConfig, name: str) -> RowOrder | None:
    """The family's wish for the rows of matrix `name`, None for the stored order."""
    wish = getattr(family, "gguf_row_order", None)
    if wish is None or not c.from_gguf:
        return None
    return cast("RowOrder | None", wish(c, name))
