"""A scripted model whose template knows tools and thinking, and the requests that use them."""

from __future__ import annotations

import json
from typing import Any

from ftllm.server.app import create_app
from ftllm.server.settings import ServerSettings
from ftllm.text.chat_template import ChatTemplate

from .api import Api
from .fake_engine import FakeEngine
from .fake_model import FakeModel

Json = dict[str, Any]

# As usual: calls as JSON between tags, results in turns of their own, a switch for thinking.
TEMPLATE = """\
{%- for tool in tools or [] %}(tool){{ tool | tojson }}
{% endfor -%}
{%- for m in messages %}[{{ m.role }}]
{%- if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif -%}
{{ m.content or "" }}
{%- for call in m.tool_calls or [] -%}
<tool_call>{{ call.function | tojson }}</tool_call>
{%- endfor -%}
{%- if m.tool_call_id %}({{ m.tool_call_id }} {{ m.name }}){% endif -%}
{{ "\\n" }}
{%- endfor -%}
{%- if add_generation_prompt %}[assistant]
{%- if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}
{%- endif %}"""

WEATHER: Json = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Today's weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}
TIME: Json = {"type": "function", "function": {"name": "get_time"}}


def tool_model(engine: FakeEngine, *, template: str = TEMPLATE) -> FakeModel:
    return FakeModel(
        engine,
        chat_template=ChatTemplate(template, bos_token="<bos>", eos_token="<eos>"),
        max_model_len=20_000,
    )


def tool_api(
    engine: FakeEngine,
    *,
    template: str = TEMPLATE,
    tool_call_parser: str = "hermes",
    reasoning_parser: str = "qwen3",
    think: str = "auto",
) -> Api:
    settings = ServerSettings(
        tool_call_parser=tool_call_parser, reasoning_parser=reasoning_parser, think=think
    )
    return Api(create_app(tool_model(engine, template=template), settings))


def call_text(name: str, **arguments: object) -> str:
    """A call as the model writes it."""
    return f'<tool_call>\n{{"name": "{name}", "arguments": {json.dumps(arguments)}}}\n</tool_call>'


def streamed_message(chunks: list[Json]) -> tuple[Json, str | None]:
    """(message of choice 0 put together from its deltas, finish reason). Checks the framing."""
    message: Json = {}
    calls: list[Json] = []
    reasons = []
    for chunk in chunks:
        (choice,) = chunk["choices"]
        delta = choice["delta"]
        for key in ("role", "content", "reasoning", "reasoning_content"):
            if delta.get(key) is not None:
                message[key] = message.get(key, "") + delta[key]
        for call in delta.get("tool_calls", []):
            if call["index"] == len(calls):
                assert call["type"] == "function"
                assert call["function"]["arguments"] == ""
                calls.append(call)
            else:
                assert call["index"] == len(calls) - 1, "calls do not interleave"
                assert set(call) == {"index", "function"}
                assert set(call["function"]) == {"arguments"}
                calls[-1]["function"]["arguments"] += call["function"]["arguments"]
        if choice["finish_reason"] is not None:
            reasons.append(choice["finish_reason"])
    assert len(reasons) == 1
    if calls:
        message["tool_calls"] = [
            {key: value for key, value in call.items() if key != "index"} for call in calls
        ]
    return message, reasons[0]


def prompt_of(engine: FakeEngine, number: int = -1) -> str:
    return bytes(engine.requests[number].prompt_ids).decode()
