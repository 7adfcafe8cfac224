"""Renders a conversation with a model's chat template."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.meta import find_undeclared_variables
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ftllm.errors import OptionError, RequestError
from ftllm.text.template_messages import (
    TemplateForm,
    reasoning_names,
    tests_for_none,
    tests_for_string,
    walks_content_parts,
)
from ftllm.text.template_probe import TemplateProbe
from ftllm.text.thinking_switches import ThinkingSwitches, find_thinking_switches

# Stands for the end of a message that is to be continued; templates may trim a text, and this
# keeps what is before it. (Private-use characters, which no conversation should hold.)
_END_MARK = "\uf8ff\uf8fe\uf8ff"


class ChatTemplate:
    """A chat template, compiled once. Immutable, safe to use from any thread.

    Templates come with models from anywhere, so they run in Jinja's sandbox: no attribute that
    leads out of the data, no change of the data, no loop over more than 100,000 numbers. The
    environment is the one that templates are written for (transformers' `apply_chat_template`).
    """

    def __init__(self, source: str, *, bos_token: str | None, eos_token: str | None) -> None:
        environment = _environment()
        try:
            self._template = environment.from_string(source)
            tree = environment.parse(source)
            walks_parts = walks_content_parts(tree)
            names = find_undeclared_variables(environment.parse(source))  # it changes the tree
            self._thinking = find_thinking_switches(tree, names)
            self._takes_tools = "tools" in names
        except (TemplateError, RecursionError) as error:
            where = f" in line {line}" if (line := getattr(error, "lineno", None)) else ""
            raise OptionError(
                f"the chat template does not compile{where}: {error}; "
                "correct it or give another with --chat_template FILE"
            ) from error
        self._source = source
        named = {"bos_token": bos_token, "eos_token": eos_token}
        self._tokens = {name: text for name, text in named.items() if text is not None}
        takes_strings = not walks_parts or tests_for_string(source)
        probe = TemplateProbe(self._template, self._tokens, text_content=takes_strings)
        self._form = TemplateForm(
            walks_parts=walks_parts,
            takes_strings=takes_strings,
            tests_none=tests_for_none(source),
            text_arguments=probe.wants_text_arguments(),
            single_calls=probe.drops_second_call(),
            reasoning_names=reasoning_names(tree),
        )

    @property
    def source(self) -> str:
        return self._source

    @property
    def thinking(self) -> ThinkingSwitches:
        """How the template turns thinking on and off."""
        return self._thinking

    @property
    def takes_tools(self) -> bool:
        """It tells the model about tools."""
        return self._takes_tools

    def render(
        self,
        messages: Sequence[Mapping[str, object]],
        *,
        tools: Sequence[Mapping[str, object]] | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        variables: Mapping[str, object] = {},
    ) -> str:
        """The prompt for `messages`, which follow OpenAI's chat format.

        With `continue_final_message` it ends where the text of the last message does, so that the
        model goes on with that message. `variables` are further names for the template
        (chat_template_kwargs); they do not replace the ones it always gets. Raises `RequestError`
        when the template refuses the messages.
        """
        if continue_final_message:
            marked = _mark_end(messages)
            text = self.render(
                marked, tools=tools, add_generation_prompt=False, variables=variables
            )
            prompt, mark, _ = text.rpartition(_END_MARK)
            if not mark:
                raise _invalid("the model's chat template leaves out the text of the last message")
            return prompt
        context = {
            "documents": None,
            **variables,
            **self._tokens,
            "messages": self._form.messages(messages),
            "tools": list(tools) if tools else None,
            "add_generation_prompt": add_generation_prompt,
        }
        try:
            return self._template.render(context)
        except _Refusal as error:
            raise _invalid(f"the model's chat template refused the messages: {error}") from error
        except Exception as error:  # a template is a program; it can fail in any way
            raise _invalid(
                "the model's chat template failed on these messages "
                f"({type(error).__name__}: {error}); it may not know a role or a field used here"
            ) from error


def _mark_end(messages: Sequence[Mapping[str, object]]) -> list[Mapping[str, object]]:
    """The messages with a mark at the end of the last one's text."""
    last = messages[-1] if messages else {}
    content = last.get("content") or ""
    if last.get("tool_calls") or not isinstance(content, str):
        raise _invalid("the last message cannot be continued: it needs text, and no tool calls")
    return [*messages[:-1], {**last, "content": content + _END_MARK}]


class _Refusal(TemplateError):
    """The template called raise_exception."""


class _GenerationTag(Extension):
    """`{% generation %}…{% endgeneration %}` marks what a model wrote, for training; no effect."""

    tags = {"generation"}  # noqa: RUF012 (Jinja's own protocol)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Plain JSON: Jinja's own filter would escape HTML."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: object) -> None:
    raise _Refusal(str(message))


def _strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)


def _invalid(message: str) -> RequestError:
    return RequestError(message, param="messages", code="invalid_messages")
