"""Requests made up from the OpenAPI document, with the real engine behind."""

from __future__ import annotations

import pytest
from openapi_cases import explore

from .servers import ServerFactory, errors_in, wait_until_idle

pytestmark = pytest.mark.e2e


def test_no_made_up_request_makes_the_server_fail(serving: ServerFactory) -> None:
    """Short answers: a request may ask for many of them."""
    with serving("smollm2-135m", "--max_model_len", "64", "--tokens", "4096") as server:
        findings = explore(server.url, examples=30, seconds=40, patience=5)
        wait_until_idle(server)
        assert errors_in(server.log()) == []
    assert not findings.faults, findings.faults[0]
    assert sum(findings.statuses.values()) > 100
    assert {status // 100 for _, status in findings.statuses} >= {2, 4}
