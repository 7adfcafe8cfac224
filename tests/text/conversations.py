"""Conversations that chat templates get wrong: one list for every template test."""

from __future__ import annotations

from typing import Any

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather, <b>in °C</b> & more",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "e.g. 東京"}},
            "required": ["city"],
        },
    },
}

CONVERSATIONS: tuple[dict[str, Any], ...] = (
    {"messages": [{"role": "user", "content": "What is the capital of France?"}]},
    {
        "messages": [
            {"role": "system", "content": "Answer in verse."},
            {"role": "user", "content": "  Hi!\n\n"},
            {"role": "assistant", "content": "Hello — 你好 <b>&amp;</b> {{ x }} {% if %}"},
            {"role": "user", "content": "Again"},
        ]
    },
    {
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
        ],
        "add_generation_prompt": False,
    },
    {"messages": [{"role": "user", "content": "Weather in Paris?"}], "tools": [WEATHER]},
    {
        "messages": [
            {"role": "user", "content": "Weather in Paris and Rome?"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "get_weather", "arguments": {"city": "Paris"}},
                    },
                    {
                        "id": "call_2",
                        "type": "function",
                        "function": {
                            "name": "get_weather",
                            "arguments": {"city": "東京", "n": None},
                        },
                    },
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": '{"t": 20}'},
            {"role": "tool", "tool_call_id": "call_2", "content": '{"t": 25}'},
        ],
        "tools": [WEATHER],
    },
)
