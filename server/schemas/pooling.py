"""POST /v1/embeddings, /v1/rerank and /v1/score."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from ftllm.server.schemas.base import Int, Schema
from ftllm.server.schemas.completions import PromptInput, prompt_list

MAX_INPUTS = 2048  # OpenAI's limit of an embedding request


def _input_list(value: object) -> list[PromptInput]:
    inputs = prompt_list(value)
    if len(inputs) > MAX_INPUTS:
        raise _too_many(len(inputs))
    if not inputs or any(not item for item in inputs):
        raise PydanticCustomError("empty", "It is empty, or one of its texts is")
    return inputs


def _text_list(value: object) -> list[str]:
    """One text or many; a document may also be {"text": …}."""
    items = value if isinstance(value, list) else [value]
    if len(items) > MAX_INPUTS:
        raise _too_many(len(items))
    if not items:
        raise PydanticCustomError("empty", "It is empty; at least one text is needed")
    return [_text(item) for item in items]


def _text(item: object) -> str:
    text = item["text"] if isinstance(item, dict) and item.keys() == {"text"} else item
    if not isinstance(text, str):
        raise PydanticCustomError(
            "text_type", "It must be a string or an array of strings (or of objects with a text)"
        )
    return text


def _too_many(count: int) -> PydanticCustomError:
    return PydanticCustomError(
        "too_many",
        "It has {count} texts; at most {limit} are allowed",
        {"count": count, "limit": MAX_INPUTS},
    )


Inputs = Annotated[
    list[PromptInput],
    BeforeValidator(
        _input_list, json_schema_input_type=str | list[str] | list[int] | list[list[int]]
    ),
]
Texts = Annotated[
    list[str],
    BeforeValidator(_text_list, json_schema_input_type=str | list[str] | list[dict[str, str]]),
]


class PoolingFields(Schema):
    """What all three have in common."""

    model: str | None = None  # None = the served model
    # vLLM's: longer texts lose their end; -1 = as long as the model reads, None = refused
    truncate_prompt_tokens: Annotated[Int, Field(ge=-1)] | None = None
    user: str | None = None


class EmbeddingRequest(PoolingFields):
    input: Inputs
    encoding_format: Literal["float", "base64"] | None = None  # None = float
    dimensions: Annotated[Int, Field(ge=1)] | None = None  # None = all


class RerankRequest(PoolingFields):
    """Cohere's and Jina's fields."""

    query: str
    documents: Texts
    top_n: Annotated[Int, Field(ge=1)] | None = None  # None = all
    return_documents: bool | None = None  # None = true


class ScoreRequest(PoolingFields):
    """vLLM's fields. One text_1 goes with every text_2; several go with as many, in order."""

    text_1: Texts
    text_2: Texts
