"""Which mark decides where a template has those of several families, and what is no mark at all."""

from __future__ import annotations

import pytest

from ftllm.tool_parsers import detect_dialects

HERMES = '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
TAGS = "<tool_call>\n<function=f>\n<parameter=k>\nv\n</parameter>\n</function>\n</tool_call>"
V3 = "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>"


@pytest.mark.parametrize(
    ("template", "model_type", "tool"),
    [
        # 1: channels before everything
        ("<|channel|>commentary " + HERMES, "gpt_oss", "openai"),
        ("<|channel>thought " + HERMES, "gemma4", "gemma4"),
        ("<start_function_call>call:f{} functools", "gemma3_text", "functiongemma"),
        # 2: a Kimi on DeepSeek's architecture
        ("<|tool_calls_section_begin|> " + V3, "deepseek_v3", "kimi_k2"),
        ("<|tool_calls_section_begin|> " + HERMES, "kimi_k2", "kimi_k2"),
        # 3 and 4: DeepSeek by the newest mark
        ("<｜DSML｜ calls> <｜DSML｜tool_calls>", "deepseek_v4", "deepseek_v4"),
        ("<｜DSML｜tool_calls> <｜DSML｜function_calls>", "deepseek_v4", "deepseek_v4"),
        ("<｜DSML｜function_calls> " + V3, "deepseek_v32", "deepseek_v32"),
        (V3 + "f\n```json\n{}\n```", "deepseek_v2", "deepseek_v3"),
        (V3 + "f", "deepseek_v2", "deepseek_v31"),
        # 5 and 6: tags with a prefix before the plain ones
        ("<minimax:tool_call><invoke name=> <tool_calls>", "minimax", "minimax_m2"),
        ("<seed:tool_call> " + TAGS, "seed_oss", "seed_oss"),
        ("<longcat_tool_call> " + HERMES, "longcat_flash", "longcat"),
        ("<steptml:invoke name=> <tool_calls>", "step3_text", "step3"),
        # 8 and 9: what stands inside <tool_call>
        ("<tool_call>{f}\n<arg_key>k</arg_key>\n<arg_value>v arguments", "glm4v_moe", "glm45"),
        ("<tool_call>f<arg_key>k</arg_key><arg_value>v arguments", "glm_moe_dsa", "glm47"),
        (TAGS + HERMES, "qwen3_next", "qwen3_coder"),
        (TAGS, "nemotron_h", "qwen3_coder"),
        (TAGS, "step3p5", "step3p5"),
        # 10: markers of their own before <tool_call>
        ("[TOOL_CALLS] [{}] " + HERMES, "mistral", "mistral"),
        ("<|python_start|> <|python_tag|>", "llama4", "llama4_pythonic"),
        ("<|python_tag|> " + HERMES, "llama", "llama3_json"),
        ("<function_calls>f()</function_calls>", "olmo3", "olmo3"),
        ("<|tool_call_start|>[f()]<|tool_call_end|>", "lfm2", "lfm2"),
        # 11
        ("<|action_start|><|plugin|>", "internlm2", "internlm"),
        ("<tool_calls>[{}]</tool_calls>", "hunyuan_v1_moe", "hunyuan_a13b"),
        ("<tool_calls>[{}]</tool_calls>", "jamba", "jamba"),
        ("<|start_of_role|>assistant <|tool_call|>[{}] <tool_call>", "granite", "granite"),
        # 12
        (HERMES, "llama", "hermes"),
        (HERMES, "", "hermes"),
    ],
)
def test_the_first_mark_decides(template: str, model_type: str, tool: str) -> None:
    assert detect_dialects(template, model_type, frozenset()).tool == tool


@pytest.mark.parametrize(
    ("template", "model_type"),
    [
        ("{% for message in messages %}{{ message.content }}{% endfor %}", "qwen2"),
        ("a template that never writes a call", "deepseek_v32"),
        ("import functools", "llama"),
        ("<tool_call>", "qwen2"),
        ("<tools> are listed, calls are not", "llama"),
        ("<tool_sep> <arg_key>k</arg_key> <arg_value>v", "hunyuan_v3"),
        ("<tool_calls:opensource> <arg_key>k</arg_key> <arg_value>v", "hunyuan_v3"),
        ("", "qwen2"),
    ],
)
def test_without_a_mark_there_is_no_dialect(template: str, model_type: str) -> None:
    assert detect_dialects(template, model_type, frozenset()).tool is None


def test_the_template_goes_before_the_vocabulary() -> None:
    tokens = {"<|tool_calls_section_begin|>", "[TOOL_CALLS]"}
    found = detect_dialects("[TOOL_CALLS] [{}]", "mistral", {"[TOOL_CALLS]"})
    assert found.tool_reason == "the chat template has [TOOL_CALLS]"
    assert detect_dialects(None, "mistral", {"[TOOL_CALLS]"}).tool == "mistral"
    assert detect_dialects(None, "kimi_k2", tokens).tool == "kimi_k2"


def test_tool_calls_alone_are_no_reasoning() -> None:
    assert detect_dialects(HERMES, "qwen2", frozenset()).reasoning is None
    assert detect_dialects(None, "qwen2", frozenset()).reasoning is None
