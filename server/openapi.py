"""Bodies and answers in /openapi.json. Routes read and write them themselves, so FastAPI cannot
see them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from ftllm.server.errors import is_messages_path
from ftllm.server.schemas.answers import ErrorAnswer, MessagesError

REF_TEMPLATE = "#/components/schemas/{model}"


def answers(schema: type[BaseModel], *, streams: bool = False) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route that answers with `schema`; `DocumentedAPI` adds the errors."""
    good: dict[str, Any] = {"model": schema, "description": "The answer."}
    if streams:
        events = {"type": "string", "description": "Server-sent events, with stream: true."}
        good["content"] = {"text/event-stream": {"schema": events}}
    return {200: good}


def json_body(schema: type[BaseModel]) -> dict[str, object]:
    """`openapi_extra` of a route whose body is `schema`."""
    reference = {"$ref": REF_TEMPLATE.format(model=schema.__name__)}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": reference}}}
    }


class DocumentedAPI(FastAPI):
    """FastAPI whose OpenAPI document also has `body_schemas`, and the errors of every path."""

    body_schemas: tuple[type[BaseModel], ...] = ()
    public_paths: frozenset[str] | None = None  # that need no key; None = none does

    def openapi(self) -> dict[str, object]:
        if self.openapi_schema is None:
            document = super().openapi()
            documented: tuple[type[BaseModel], ...] = (
                *self.body_schemas,
                ErrorAnswer,
                MessagesError,
            )
            _, definitions = models_json_schema(
                [(schema, "validation") for schema in documented], ref_template=REF_TEMPLATE
            )
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas.update(definitions.get("$defs", {}))
            _add_errors(document)
            if self.public_paths is not None:
                _add_security(document, self.public_paths)
        assert self.openapi_schema is not None, "FastAPI.openapi() keeps its result"
        return self.openapi_schema


def _add_errors(document: dict[str, Any]) -> None:
    """In place of FastAPI's own error for parameters, which no client ever gets."""
    for path, operations in document["paths"].items():
        schema = MessagesError if is_messages_path(path) else ErrorAnswer
        reference = {"$ref": REF_TEMPLATE.format(model=schema.__name__)}
        error = {
            "description": "A refusal or failure.",
            "content": {"application/json": {"schema": reference}},
        }
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = error


def _add_security(document: dict[str, Any], public_paths: Collection[str]) -> None:
    """Either header opens every path but the public ones."""
    document["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    }
    document["security"] = [{"bearer": []}, {"header": []}]
    for path, operations in document["paths"].items():
        if path in public_paths:
            for operation in operations.values():
                operation["security"] = []
