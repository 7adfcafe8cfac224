"""Which dialects a model is taken to speak, by parts of real chat templates."""

from __future__ import annotations

import pytest

from ftllm.tool_parsers import (
    REASONING_DIALECTS,
    TOOL_DIALECTS,
    detect_dialects,
    starts_in_reasoning,
)

HERMES = (
    '<tool_call>\n{\\"name\\": <function-name>, \\"arguments\\": <args-json-object>}\n</tool_call>'
)
CASES = [
    (HERMES, "qwen2", "hermes", None),
    (HERMES + "{{ '<think>\\n\\n</think>' }}", "qwen3", "hermes", "qwen3"),
    ("<tool_call>\n<function=f>\n<parameter=k> </think>", "qwen3_next", "qwen3_coder", "qwen3"),
    ("<function=f>\n<parameter=k> </think>", "step3p5", "step3p5", "step3p5"),
    ("<|start|>assistant<|channel|>analysis<|message|>", "gpt_oss", "openai", "openai_gptoss"),
    ("<|channel>thought <|tool_call>call:", "gemma4", "gemma4", "gemma4"),
    ("<start_function_call>call:", "gemma3_text", "functiongemma", None),
    ("<|tool_calls_section_begin|> <think></think>", "deepseek_v3", "kimi_k2", "kimi_k2"),
    ("<｜tool▁calls▁begin｜> ```json", "deepseek_v3", "deepseek_v3", None),
    ("<｜tool▁calls▁begin｜> <｜tool▁sep｜></think>", "deepseek_v3", "deepseek_v31", "deepseek_v3"),
    ("<tool_call>{f}\n<arg_key>k</arg_key>\n<arg_value></think>", "glm4_moe", "glm45", "glm45"),
    ("<tool_call>{f}<arg_key>k</arg_key><arg_value></think>", "glm4_moe", "glm47", "glm47"),
    ("<minimax:tool_call>\n<invoke <think>\n</think>", "minimax_m2", "minimax_m2", "minimax_m2"),
    ("<seed:tool_call><function=f><parameter= <seed:think>", "seed_oss", "seed_oss", "seed_oss"),
    ("[TOOL_CALLS] [THINK]", "mistral3", "mistral", "mistral"),
    ('{{- "<|python_tag|>" + tool_call.name }}', "llama", "llama3_json", None),
    ("""{{ '", "parameters": ' }}""", "llama", "llama3_json", None),
    ("<|python_start|>[f()]<|python_end|>", "llama4", "llama4_pythonic", None),
    ("functools[{", "phi3", "phi4_mini_json", None),
    ("<tool_calls>[", "jamba", "jamba", None),
    ("<tool_calls>[ <think></think><answer>", "hunyuan_v1_moe", "hunyuan_a13b", "hunyuan_a13b"),
    (
        "<|start_of_role|> <|tool_call|>[ Here is my thought process:",
        "granite",
        "granite",
        "granite",
    ),
    ("<|start_of_role|> <tool_call>\n", "granitemoehybrid", "granite4", None),
    ("<tool_call>\n arguments </think><response>", "ernie4_5_moe", "ernie45", "ernie45"),
    ("<think> </think>", "llama", None, "deepseek_r1"),
    ("{{ message.content }}", "qwen2", None, None),
]


@pytest.mark.parametrize(("template", "model_type", "tool", "reasoning"), CASES)
def test_the_template_tells(
    template: str, model_type: str, tool: str | None, reasoning: str | None
) -> None:
    found = detect_dialects(template, model_type, frozenset())
    assert (found.tool, found.reasoning) == (tool, reasoning), found
    assert tool is None or tool in TOOL_DIALECTS
    assert reasoning is None or reasoning in REASONING_DIALECTS
    assert found.tool_reason.startswith("the chat template")
    assert found.reasoning_reason


def test_without_a_template_the_vocabulary_or_the_type_tells() -> None:
    found = detect_dialects(None, "deepseek_v3", {"<|tool_calls_section_begin|>"})
    assert (found.tool, found.tool_reason) == (
        "kimi_k2",
        "the vocabulary has <|tool_calls_section_begin|>",
    )
    found = detect_dialects(None, "mistral", {"[TOOL_CALLS]", "[THINK]"})
    assert (found.tool, found.reasoning) == ("mistral", "mistral")
    found = detect_dialects(None, "deepseek_v32", frozenset())
    assert (found.tool, found.reasoning) == ("deepseek_v32", "deepseek_v3")
    assert found.tool_reason == "model_type is deepseek_v32, and there is no chat template"
    found = detect_dialects(None, "qwen2", frozenset())
    assert (found.tool, found.tool_reason) == (None, "there is no chat template")


@pytest.mark.parametrize(
    ("dialect", "prompt", "inside"),
    [
        ("qwen3", "<|im_start|>assistant\n<think>\n", True),
        ("qwen3", "<|im_start|>assistant\n<think>\n\n</think>\n\n", False),
        ("qwen3", "<|im_start|>assistant\n", False),
        ("seed_oss", "<seed:bos>assistant\n<seed:think>", True),
        ("gemma4", "<|turn>model\n<|channel>thought\n", True),
        ("openai_gptoss", "<|start|>assistant", False),
        ("openai_gptoss", "<|start|>assistant<|channel|>analysis<|message|>", True),
        (None, "<think>", False),
    ],
)
def test_the_prompt_tells_where_an_answer_starts(
    dialect: str | None, prompt: str, *, inside: bool
) -> None:
    assert starts_in_reasoning(dialect, prompt) is inside
