"""What the functions that tests offer to a model give back, and the report made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

REPORT: dict[str, Any] = {
    "type": "object",
    "properties": {"weather": {"type": "string"}, "inhabitants": {"type": "string"}},
    "required": ["weather", "inhabitants"],
    "additionalProperties": False,
}


def tool_result(name: str, arguments: Mapping[str, object]) -> str:
    """Checks the arguments as a real function would."""
    assert arguments["city"] == "Paris"
    if name == "get_weather":
        assert arguments["unit"] in ("C", "F")
        return "Snow and 3 degrees."
    assert name == "get_population"
    return "2,102,650 people."


def check_report(text: str) -> None:
    """It can only be known from the results."""
    report = json.loads(text)
    assert "snow" in report["weather"].lower()
    assert "2,102,650" in report["inhabitants"]
