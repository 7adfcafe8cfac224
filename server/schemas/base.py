"""What all request schemas share: strictness, bounded errors, and fields with one error each.

A union in a schema gives one error per member; the validators here accept several spellings and
normalise them first, so a wrong value gives one error at the field itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from ftllm.errors import RequestError

MAX_STOP_STRINGS = 64
MAX_STOP_CHARS = 1000
MAX_LOGIT_BIAS = 1024

Model = TypeVar("Model", bound=BaseModel)


class Schema(BaseModel):
    """Strict: "1" is not 1, and NaN is not a number. Unknown fields are kept aside so that
    `refuse_unknown_fields` can name one; collecting an error for each would have no bound."""

    model_config = ConfigDict(
        strict=True,
        extra="allow",
        frozen=True,
        allow_inf_nan=False,
        json_schema_extra={"additionalProperties": False},
    )


def refuse_unknown_fields(model: BaseModel) -> None:
    """Raises `RequestError` naming the first field that no schema knows."""
    for name in _unknown_fields(model, ""):
        raise RequestError(
            f"Unknown field {name!r}: this endpoint does not know it, and would ignore it. Remove"
            " it, or start the server in lenient mode.",
            param=name,
            code="unknown_parameter",
        )


def _unknown_fields(model: BaseModel, prefix: str) -> Iterator[str]:
    for name in model.model_extra or ():
        yield f"{prefix}{name[:200]}"
    for name in model.model_fields_set:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _unknown_fields(value, f"{prefix}{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], BaseModel):
            for index, item in enumerate(value):
                yield from _unknown_fields(item, f"{prefix}{name}[{index}].")


def _check_finite(value: object) -> object:
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, float) and not math.isfinite(item):
            raise PydanticCustomError("finite_number", "It holds a number that is not finite")
    return value


def _stop_list(value: object) -> object:
    if value is None:
        return []
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list):
        raise PydanticCustomError("stop_type", "It must be a string or an array of strings")
    if len(stops) > MAX_STOP_STRINGS:
        raise PydanticCustomError(
            "too_many",
            "It has {count} strings; at most {limit} are allowed",
            {"count": len(stops), "limit": MAX_STOP_STRINGS},
        )
    for stop in stops:
        if not isinstance(stop, str):
            raise PydanticCustomError("stop_type", "It must be a string or an array of strings")
        if not stop:
            raise PydanticCustomError("empty", "An empty stop string would match anywhere")
        if len(stop) > MAX_STOP_CHARS:
            raise PydanticCustomError(
                "too_long",
                "One of its strings has {count} characters; at most {limit} are allowed",
                {"count": len(stop), "limit": MAX_STOP_CHARS},
            )
    return stops


def _bias_map(value: object) -> object:
    """Turns JSON's string keys into token ids."""
    if not isinstance(value, dict):
        return value
    if len(value) > MAX_LOGIT_BIAS:
        raise PydanticCustomError(
            "too_many",
            "It has {count} entries; at most {limit} are allowed",
            {"count": len(value), "limit": MAX_LOGIT_BIAS},
        )
    biases = {}
    for key, bias in value.items():
        digits = str(key)
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 10):
            raise PydanticCustomError("token_id", "Its keys must be token ids, such as 42")
        biases[int(digits)] = bias
    return biases


# 64 bits: enough for every field, and safe to convert to a float when a range is checked.
Int = Annotated[int, Field(ge=-(2**63), le=2**64 - 1)]
TokenIds = Annotated[list[Int], Field(fail_fast=True)]
JsonValue = Annotated[object, AfterValidator(_check_finite)]
JsonObject = Annotated[dict[str, object], AfterValidator(_check_finite)]
JsonObjects = Annotated[
    list[dict[str, object]], Field(fail_fast=True), AfterValidator(_check_finite)
]
StopStrings = Annotated[
    list[str], BeforeValidator(_stop_list, json_schema_input_type=str | list[str] | None)
]
LogitBias = Annotated[
    dict[int, float], BeforeValidator(_bias_map, json_schema_input_type=dict[str, float])
]
