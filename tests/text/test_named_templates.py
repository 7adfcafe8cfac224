from __future__ import annotations

from ftllm.text.chat_template import ChatTemplate
from ftllm.text.named_templates import join_templates

_USER = [{"role": "user", "content": "hi"}]


def _render(source: str | None, tools: list[dict[str, object]] | None = None) -> str:
    assert source is not None
    return ChatTemplate(source, bos_token=None, eos_token=None).render(_USER, tools=tools)


def test_one_template_is_itself() -> None:
    assert join_templates({"default": "a"}) == "a"
    assert join_templates({"rag": "b"}) == "b"
    assert join_templates({"tool_use": "c"}) == "c"
    assert join_templates({}) is None


def test_with_tools_the_other_one_is_used() -> None:
    plain = "{% for m in messages %}\n{{ m.content }}\n{% endfor %}\n"
    with_tools = "\n{% if true %}\nT{{ tools | length }}\n{% endif %}\n"
    joined = join_templates({"default": plain, "tool_use": with_tools, "rag": "x"})
    assert _render(joined) == _render(plain)
    assert _render(joined, [{}]) == _render(with_tools, [{}])
