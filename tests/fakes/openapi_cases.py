"""Requests made up from a server's own OpenAPI document, valid and invalid, and what is wrong with
its answers."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings, strategies
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]

REQUIRED = (
    *("prompt", "messages", "tokens", "level"),
    *("input", "query", "documents", "text_1", "text_2"),
)
MOST_FIELDS = 4
LEAST = 3  # requests of a kind, however slow the machine


class _TimeIsUpError(Exception):
    """Ends the search at one operation."""


@dataclass(slots=True)
class Findings:
    """`statuses` counts answers by operation and status; 0 = the client stopped waiting."""

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def explore(url: str, *, examples: int, seconds: float, patience: float) -> Findings:
    """Up to `examples` requests of each kind to each operation: LEAST, and more while `seconds`
    last. One that takes longer than `patience` seconds is given up, as by a client."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    findings = Findings()
    end = time.monotonic() + seconds
    for place, operation in enumerate(operations):
        share = (end - time.monotonic()) / (len(operations) - place)
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            deadline = time.monotonic() + share / 2
            _explore(operation, mode, findings, examples, deadline, patience)
    return findings


def _explore(
    operation: APIOperation,
    mode: GenerationMode,
    findings: Findings,
    examples: int,
    deadline: float,
    patience: float,
) -> None:
    sent = 0

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), data=strategies.data())
    def run(case: Case, data: strategies.DataObject) -> None:
        if mode is GenerationMode.POSITIVE and isinstance(case.body, dict) and case.body:
            case.body = data.draw(_few_fields(case.body))
        nonlocal sent
        sent += 1
        _send(case, findings, patience)
        if sent >= LEAST and time.monotonic() >= deadline:  # making up another one takes long, too
            raise _TimeIsUpError

    # Unsatisfiable: where nothing can be wrong, as in a GET without parameters.
    with suppress(Unsatisfiable, _TimeIsUpError):
        run()


@strategies.composite
def _few_fields(draw: strategies.DrawFn, body: dict[str, object]) -> dict[str, object]:
    """Of a body with all fields at once hardly one is served: what is required, and a few more."""
    kept = draw(strategies.sets(strategies.sampled_from(sorted(body)), max_size=MOST_FIELDS))
    return {name: value for name, value in body.items() if name in kept or name in REQUIRED}


def _send(case: Case, findings: Findings, patience: float) -> None:
    name = f"{case.method} {case.operation.path}"
    try:
        response = case.call(timeout=patience)
    except (OSError, httpx.TimeoutException):
        findings.statuses[name, 0] += 1
        return
    findings.statuses[name, response.status_code] += 1
    try:
        case.validate_response(response, checks=CHECKS)
    except (Failure, FailureGroup) as failure:
        findings.faults.append(f"{name}: {failure}\n{case.as_curl_command()}")
