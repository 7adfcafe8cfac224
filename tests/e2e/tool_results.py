"""What the functions that tests offer to a model give back."""

from __future__ import annotations

from collections.abc import Mapping


def tool_result(name: str, arguments: Mapping[str, object]) -> str:
    """Checks the arguments as a real function would."""
    assert arguments["city"] == "Paris"
    if name == "get_weather":
        assert arguments["unit"] in ("C", "F")
        return "Snow and 3 degrees."
    assert name == "get_population"
    return "2,102,650 people."
