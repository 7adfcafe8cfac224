from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ftllm.errors import OptionError, RequestError
from ftllm.text.chat_template import ChatTemplate
from tests.text.conversations import CONVERSATIONS

_GOLDEN = json.loads((Path(__file__).parent / "golden" / "chats.json").read_text("utf-8"))
_CALL = {
    "id": "c",
    "type": "function",
    "function": {"name": "f", "arguments": '{"b": 1, "a": "é"}'},
}


def _render(source: str, messages: list[dict[str, Any]] | None = None, **options: Any) -> str:
    template = ChatTemplate(source, bos_token="<s>", eos_token=None)
    return template.render(messages or [{"role": "user", "content": "hi"}], **options)


class TestRealTemplates:
    @pytest.mark.parametrize("name", sorted(_GOLDEN))
    def test_equal_to_the_reference(
        self, name: str, real_metadata: Callable[[str], Mapping[str, object]]
    ) -> None:
        source = str(real_metadata(name)["tokenizer.chat_template"])
        template = ChatTemplate(source, bos_token=None, eos_token="<|im_end|>")
        for conversation, expected in zip(CONVERSATIONS, _GOLDEN[name], strict=True):
            assert template.render(**conversation) == expected

    @pytest.mark.parametrize("name", sorted(_GOLDEN))
    def test_openai_forms_give_the_same(
        self, name: str, real_metadata: Callable[[str], Mapping[str, object]]
    ) -> None:
        """Null content, content parts and arguments as a string, as OpenAI's clients send them."""
        source = str(real_metadata(name)["tokenizer.chat_template"])
        template = ChatTemplate(source, bos_token=None, eos_token="<|im_end|>")
        for conversation, expected in zip(CONVERSATIONS, _GOLDEN[name], strict=True):
            messages = json.loads(json.dumps(conversation["messages"]))
            for message in messages:
                text = message["content"]
                message["content"] = [{"type": "text", "text": text}] if text else None
                for call in message.get("tool_calls", ()):
                    call["function"]["arguments"] = json.dumps(call["function"]["arguments"])
            assert template.render(**{**conversation, "messages": messages}) == expected


class TestContinuedMessage:
    SOURCE = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</s>{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )

    @pytest.mark.parametrize("text", ["Once", "Once upon ", "", "a</s>a", "é\n"])
    def test_the_prompt_ends_where_the_text_does(self, text: str) -> None:
        messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": text}]
        for source in (self.SOURCE, self.SOURCE.replace(" | trim", "")):
            prompt = _render(source, messages, continue_final_message=True)
            assert prompt == f"<user>hi</s><assistant>{text}"

    @pytest.mark.parametrize("name", sorted(_GOLDEN))
    def test_real_templates(
        self, name: str, real_metadata: Callable[[str], Mapping[str, object]]
    ) -> None:
        source = str(real_metadata(name)["tokenizer.chat_template"])
        messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "One, "}]
        prompt = _render(source, messages, continue_final_message=True)
        begun = _render(source, messages[:1])
        assert prompt.startswith(begun)
        assert prompt.endswith("One, ")

    def test_what_cannot_be_continued(self) -> None:
        for last in (
            {"role": "assistant", "content": None, "tool_calls": [_CALL]},
            {"role": "assistant", "content": [{"type": "text", "text": "a"}]},
        ):
            messages = [{"role": "user", "content": "hi"}, last]
            with pytest.raises(RequestError, match="cannot be continued"):
                _render(self.SOURCE, messages, continue_final_message=True)
        with pytest.raises(RequestError, match="leaves out the text"):
            _render("{{ messages[0].role }}", continue_final_message=True)


class TestEnvironment:
    def test_blocks_are_trimmed(self) -> None:
        source = "a\n  {% if true %}\nb\n  {% endif %}\nc\n"
        assert _render(source) == "a\nb\nc"

    def test_loop_controls(self) -> None:
        assert (
            _render(
                "{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}"
            )
            == "01"
        )

    def test_generation_tag_has_no_effect(self) -> None:
        assert _render("{% generation %}x{{ bos_token }}{% endgeneration %}y") == "x<s>y"

    def test_tojson_is_plain_json(self) -> None:
        tools = [{"b": "<é&'>", "a": None}]
        assert _render("{{ tools | tojson }}", tools=tools) == '[{"b": "<é&\'>", "a": null}]'
        source = "{{ tools[0] | tojson(indent=1, sort_keys=true, separators=(',', ':')) }}"
        assert _render(source, tools=tools) == '{\n "a":null,\n "b":"<é&\'>"\n}'
        assert _render("{{ 'é' | tojson(ensure_ascii=true) }}") == '"\\u00e9"'

    def test_strftime_now(self) -> None:
        before = datetime.now().year
        assert before <= int(_render("{{ strftime_now('%Y') }}")) <= datetime.now().year
        assert re.fullmatch(r"\d\d \w{3} \d{4}", _render("{{ strftime_now('%d %b %Y') }}"))

    def test_names_of_the_context(self) -> None:
        source = "{{ bos_token }}|{{ eos_token }}|{{ tools is none }}|{{ add_generation_prompt }}"
        assert _render(source) == "<s>||True|True"
        assert _render(source, tools=[], add_generation_prompt=False) == "<s>||True|False"

    def test_variables_do_not_replace_the_fixed_names(self) -> None:
        source = "{{ enable_thinking }} {{ bos_token }} {{ messages | length }}"
        variables = {"enable_thinking": False, "bos_token": "x", "messages": []}
        assert _render(source, variables=variables) == "False <s> 1"


class TestMessages:
    _PLAIN = "{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}"
    _PARTS = (
        "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}"
        "{% for part in m['content'] %}<{{ part.text }}>{% endfor %}{% endif %}{% endfor %}"
    )

    def test_null_and_missing_content_are_empty(self) -> None:
        messages: list[dict[str, Any]] = [
            {"role": "assistant", "content": None},
            {"role": "assistant"},
        ]
        assert _render(self._PLAIN, messages) == "[assistant:][assistant:]"

    def test_null_stays_where_the_template_asks_for_it(self) -> None:
        source = "{% if messages[0]['content'] is none %}call{% else %}text{% endif %}"
        assert _render(source, [{"role": "assistant", "content": None}]) == "call"
        assert _render(source, [{"role": "assistant", "content": ""}]) == "text"

    def test_asking_for_reasoning_content_is_not_asking_for_content(self) -> None:
        source = (
            "{% if messages[0].reasoning_content is not none %}{% endif %}"
            "{{ 'x' in messages[0].content }}"
        )
        assert _render(source, [{"role": "assistant", "content": None}]) == "False"

    def test_parts_are_joined(self) -> None:
        parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
        assert _render(self._PLAIN, [{"role": "user", "content": parts}]) == "[user:a\nb]"

    def test_parts_stay_where_the_template_walks_them(self) -> None:
        parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
        assert _render(self._PARTS, [{"role": "user", "content": parts}]) == "<a><b>"
        assert _render(self._PARTS, [{"role": "user", "content": "a"}]) == "a"

    def test_a_string_becomes_a_part_where_only_parts_are_read(self) -> None:
        source = (
            "{% for m in messages %}{% set c = m.content %}"
            "{% for part in c %}<{{ part.text }}>{% endfor %}{% endfor %}"
        )
        assert _render(source, [{"role": "user", "content": "ab"}]) == "<ab>"

    @pytest.mark.parametrize(
        "content", [[{"type": "image_url", "image_url": {"url": "x"}}], [{"type": "text"}], [3], 3]
    )
    def test_other_content_is_refused(self, content: object) -> None:
        with pytest.raises(RequestError, match=r"messages\[0\]") as raised:
            _render(self._PLAIN, [{"role": "user", "content": content}])
        assert (raised.value.param, raised.value.code) == ("messages", "invalid_messages")

    def test_the_callers_messages_are_left_alone(self) -> None:
        messages: list[dict[str, Any]] = [
            {"role": "assistant", "content": None, "tool_calls": [json.loads(json.dumps(_CALL))]}
        ]
        before = json.dumps(messages)
        _render("{{ messages }}", messages)
        assert json.dumps(messages) == before


class TestToolCalls:
    _LOOP = "{% for m in messages %}{% for c in m.tool_calls or [] %}{% set f = c.function %}"
    _END = "{% endfor %}{% endfor %}"

    def _call(self, body: str, arguments: object = '{"b": 1, "a": "é"}') -> str:
        call = {**_CALL, "function": {"name": "f", "arguments": arguments}}
        messages = [{"role": "assistant", "content": None, "tool_calls": [call]}]
        return _render(self._LOOP + body + self._END, messages)

    def test_arguments_become_an_object(self) -> None:
        assert self._call("{{ f.arguments | tojson }}") == '{"b": 1, "a": "é"}'
        assert (
            self._call("{% for k, v in f.arguments.items() %}{{ k }}={{ v }};{% endfor %}")
            == "b=1;a=é;"
        )

    def test_arguments_stay_text_where_the_template_prints_them(self) -> None:
        assert self._call("{{ f.arguments }}") == '{"b": 1, "a": "é"}'
        assert self._call("{{ '<' + f['arguments'] + '>' }}", {"a": "é"}) == '<{"a": "é"}>'

    def test_either_is_taken_where_the_template_looks(self) -> None:
        body = (
            "{% if f.arguments is string %}{{ f.arguments }}"
            "{% else %}{{ f.arguments | tojson }}{% endif %}"
        )
        assert self._call(body) == '{"b": 1, "a": "é"}'

    def test_malformed_arguments_are_shown_as_they_are(self) -> None:
        assert self._call("{{ f.arguments | tojson }}", '{"a": ') == '"{\\"a\\": "'
        assert self._call("{{ f.arguments | tojson }}", "[1]") == '"[1]"'


class TestErrors:
    def test_raise_exception_is_the_clients_error(self) -> None:
        with pytest.raises(
            RequestError, match="refused the messages: roles must alternate"
        ) as raised:
            _render("{{ raise_exception('roles must alternate') }}")
        assert (raised.value.param, raised.value.code) == ("messages", "invalid_messages")

    @pytest.mark.parametrize(
        "source",
        [
            "{{ messages[0].nothing.more }}",
            "{{ 'a' + 1 }}",
            "{{ 1 // 0 }}",
            "{{ messages | tojson(3, 4, 5, 6, 7) }}",
        ],
    )
    def test_a_failing_template_too(self, source: str) -> None:
        with pytest.raises(RequestError, match="failed on these messages") as raised:
            _render(source)
        assert raised.value.code == "invalid_messages"

    def test_a_template_that_does_not_compile_is_a_wrong_option(self) -> None:
        with pytest.raises(OptionError, match=r"does not compile in line 2: .*--chat_template"):
            ChatTemplate("a\n{% if %}", bos_token=None, eos_token=None)
        with pytest.raises(OptionError, match="does not compile"):
            ChatTemplate("{{ " + "(" * 5000, bos_token=None, eos_token=None)


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.__class__ }}",
        "{{ (messages | attr('__init__')).__globals__ }}",
        "{{ raise_exception.__globals__ }}",
        "{{ '{0.__class__}'.format(messages) }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update({'role': 'system'}) }}",
        "{% for i in range(100000000) %}{% endfor %}",
        "{{ cycler.__init__.__globals__.os }}",
        "{% include '/etc/passwd' %}",
    ],
)
def test_the_sandbox_holds(source: str) -> None:
    try:
        rendered = _render(source)
    except RequestError:
        return
    assert rendered == ""  # an attribute out of reach is undefined
