"""Which dialects a model speaks.

The marks in its chat template tell, else its vocabulary, else its type. No mark, no dialect: a
template that never writes a call is not made to look as if it did.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from ftllm.tool_parsers.dialect import ChannelDialect
from ftllm.tool_parsers.registry import REASONING_DIALECTS, reasoning_dialect_named


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedDialects:
    """Names of dialects, or None, each with the reason in words."""

    tool: str | None
    tool_reason: str
    reasoning: str | None
    reasoning_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """Applies where the template has all of `marks` and none of `but`.

    With `vocabulary`, marks that are tokens count too, even without a template. `types` are
    beginnings of model types: with marks, one of them is needed as well; without, one of them is
    enough where there is no template.
    """

    name: str
    marks: tuple[str, ...] = ()
    but: tuple[str, ...] = ()
    vocabulary: bool = False
    types: tuple[str, ...] = ()

    def reason(self, model: _Model) -> str | None:
        """Why the rule applies; None if it does not."""
        of_type = any(model.type.startswith(each) for each in self.types)
        if not self.marks:
            if not of_type or model.template:
                return None
            return f"model_type is {model.type}, and there is no chat template"
        if (self.types and not of_type) or any(each in model.template for each in self.but):
            return None
        shown = " and ".join(self.marks)
        if all(mark in model.template for mark in self.marks):
            return f"the chat template has {shown}"
        if self.vocabulary and all(mark in model.vocabulary for mark in self.marks):
            return f"the vocabulary has {shown}"
        return None


@dataclass(frozen=True, slots=True)
class _Model:
    template: str  # "" = none
    type: str
    vocabulary: Container[str]


# The order matters: a mark may also occur in the templates of families further down.
_TOOL_RULES = (
    _Rule(name="openai", marks=("<|channel|>",)),
    _Rule(name="openai", types=("gpt_oss",)),
    _Rule(name="gemma4", marks=("<|tool_call>",)),
    _Rule(name="gemma4", marks=("<|channel>",)),
    _Rule(name="functiongemma", marks=("<start_function_call>",)),
    _Rule(name="kimi_k2", marks=("<|tool_calls_section_begin|>",), vocabulary=True),
    _Rule(name="deepseek_v4", marks=("<｜DSML｜ calls>",)),
    _Rule(name="deepseek_v4", marks=("<｜DSML｜tool_calls>",)),
    _Rule(name="deepseek_v32", marks=("<｜DSML｜function_calls>",)),
    _Rule(name="deepseek_v4", types=("deepseek_v4",)),
    _Rule(name="deepseek_v32", types=("deepseek_v32",)),
    _Rule(name="deepseek_v3", marks=("<｜tool▁calls▁begin｜>", "```json")),
    _Rule(name="deepseek_v31", marks=("<｜tool▁calls▁begin｜>",)),
    _Rule(name="minimax_m2", marks=("<minimax:tool_call>",), but=("]<]minimax[>[",)),
    _Rule(name="seed_oss", marks=("<seed:tool_call>",)),
    _Rule(name="longcat", marks=("<longcat_tool_call>",)),
    _Rule(name="step3", marks=("<steptml:",)),
    _Rule(
        name="glm47",
        marks=("<arg_key>", "</arg_key><arg_value>"),
        but=("<tool_sep", "<tool_calls:"),
    ),
    _Rule(name="glm45", marks=("<arg_key>", "<arg_value>"), but=("<tool_sep", "<tool_calls:")),
    _Rule(name="step3p5", marks=("<function=", "<parameter="), types=("step3p5", "step3_5")),
    _Rule(name="qwen3_coder", marks=("<function=", "<parameter=")),
    _Rule(name="mistral", marks=("[TOOL_CALLS]",)),
    _Rule(name="phi4_mini_json", marks=("functools",), types=("phi3", "phi4")),
    _Rule(name="llama4_pythonic", marks=("<|python_start|>",)),
    _Rule(name="pythonic", marks=("func_name1(params",)),
    _Rule(name="llama3_json", marks=("<|python_tag|>",)),
    _Rule(name="llama3_json", marks=('"parameters": ',), types=("llama", "mllama")),
    _Rule(name="olmo3", marks=("<function_calls>",)),
    _Rule(name="lfm2", marks=("<|tool_call_start|>",)),
    _Rule(name="internlm", marks=("<|action_start|>",)),
    _Rule(name="hunyuan_a13b", marks=("<tool_calls>",), types=("hunyuan",)),
    _Rule(name="jamba", marks=("<tool_calls>",)),
    _Rule(name="granite", marks=("<|start_of_role|>", "<|tool_call|>")),
    _Rule(name="granite4", marks=("<|start_of_role|>", "<tool_call>")),
    _Rule(name="granite-20b-fc", marks=("<function_call>",)),
    _Rule(name="ernie45", marks=("<tool_call>", "arguments"), types=("ernie",)),
    _Rule(name="ernie45", marks=("<tool_call>", "arguments", "<response>")),
    _Rule(name="hermes", marks=("<tool_call>", "arguments")),
    _Rule(name="mistral", marks=("[TOOL_CALLS]",), vocabulary=True, types=("mistral", "pixtral")),
)
_THINK = ("<think>", "</think>")
_REASONING_RULES = (
    _Rule(name="openai_gptoss", marks=("<|channel|>",)),
    _Rule(name="openai_gptoss", types=("gpt_oss",)),
    _Rule(name="gemma4", marks=("<|channel>",)),
    _Rule(name="seed_oss", marks=("<seed:think>",)),
    _Rule(name="mistral", marks=("[THINK]",), vocabulary=True),
    _Rule(name="granite", marks=("Here is my thought process",)),
    _Rule(name="hunyuan_a13b", marks=("</think>",), types=("hunyuan",)),
    _Rule(name="ernie45", marks=("</think>",), types=("ernie",)),
    _Rule(name="ernie45", marks=("</think>", "<response>")),
    _Rule(name="deepseek_v4", types=("deepseek_v4",)),
    _Rule(name="deepseek_v3", types=("deepseek_v32",)),
)
_ANY_THINKING = (
    _Rule(name="qwen3", marks=("</think>",), types=("qwen",)),
    _Rule(name="deepseek_v3", marks=("</think>",), types=("deepseek_v3",)),
    _Rule(name="deepseek_r1", marks=("</think>",)),
    _Rule(name="deepseek_r1", marks=_THINK, vocabulary=True),
)


def detect_dialects(
    chat_template: str | None, model_type: str, vocabulary: Container[str]
) -> DetectedDialects:
    """The dialects of a model, by its chat template, `config.json`'s model_type and its tokens."""
    model = _Model(chat_template or "", model_type, vocabulary)
    tool, tool_reason = _first(_TOOL_RULES, model) or (
        None,
        "the chat template writes no tool calls that are known"
        if chat_template
        else "there is no chat template",
    )
    reasoning, reasoning_reason = _first(_REASONING_RULES, model) or _thinking(model, tool)
    return DetectedDialects(
        tool=tool,
        tool_reason=tool_reason,
        reasoning=reasoning,
        reasoning_reason=reasoning_reason,
    )


def _thinking(model: _Model, tool: str | None) -> tuple[str | None, str]:
    """Plain <think> tags, under the name that goes with the dialect of the calls."""
    found = _first(_ANY_THINKING, model)
    if found is None:
        return None, "neither the chat template nor the vocabulary has marks of reasoning"
    name, reason = found
    namesake = REASONING_DIALECTS.get(tool or "")
    if namesake is not None and namesake.starts == ("<think>",):
        name = namesake.name
    return name, reason


def _first(rules: Sequence[_Rule], model: _Model) -> tuple[str, str] | None:
    for rule in rules:
        reason = rule.reason(model)
        if reason is not None:
            return rule.name, reason
    return None


def starts_in_reasoning(reasoning_dialect: str | None, prompt: str) -> bool:
    """Whether an answer to `prompt`, the rendered text, begins inside reasoning."""
    if reasoning_dialect is None:
        return False
    dialect = reasoning_dialect_named(reasoning_dialect)
    end = prompt.rstrip()
    if isinstance(dialect, ChannelDialect):
        return end.endswith(dialect.starts)
    return end.endswith(tuple(start.rstrip() for start in dialect.starts))
