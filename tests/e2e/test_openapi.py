"""Requests made up from the OpenAPI document, with the real engine behind."""

from __future__ import annotations

import pytest
from openapi_cases import explore

from .servers import ServerFactory, errors_in, wait_until_idle

pytestmark = pytest.mark.e2e


def test_no_made_up_request_makes_the_server_fail(serving: ServerFactory) -> None:
    """Short answers: a request may ask for many of them."""
    with serving("smollm2-135m", "--max_model_len", "64", "--tokens", "4096") as server:
        findings = explore(server.url, examples=30, seconds=35, patience=5)
        wait_until_idle(server)
        assert errors_in(server.log()) == []
    assert not findings.faults, findings.faults[0]
    asked = {operation for operation, _ in findings.statuses}
    assert {"POST /v1/chat/completions", "POST /v1/completions", "POST /tokenize"} <= asked
    assert {status // 100 for _, status in findings.statuses} >= {2, 4}
